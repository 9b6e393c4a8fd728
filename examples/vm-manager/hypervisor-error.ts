/**
 * `refused`: what was asked for cannot be had, now or later. `host`: the host would not or could not; trying again may
 * help. `unresponsive`: the machine's process is there and does not answer; trying again may help.
 */
export type HypervisorErrorCode = 'refused' | 'host' | 'unresponsive';

export class HypervisorError extends Error {
  readonly code: HypervisorErrorCode;

  constructor(code: HypervisorErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'HypervisorError';
    this.code = code;
  }
}
