import { parseArgs } from 'node:util';
import { type Event, type Logger, toError } from 'carillon';
import { requestEvents, VmDescribeRequested, VmListRequested, VmScreenshotRequested } from './events.ts';
import { openManager } from './open-manager.ts';

/**
 * The manager as a process of its own, which can be killed: what `fleet.ts` starts. It is told what to publish over the
 * channel that Node opens between parent and child, and tells what has come into the log.
 */

/** From the parent. */
export interface Asked {
  readonly id: number;
  /** `publish` is answered when the event is durable, `request` with what its handler returned. */
  readonly how: 'publish' | 'request';
  readonly type: string;
  readonly data: unknown;
}

/** To the parent. */
export type Told =
  | { readonly kind: 'ready'; readonly hypervisor: string }
  | { readonly kind: 'answer'; readonly id: number; readonly value?: unknown; readonly error?: string }
  | { readonly kind: 'event'; readonly position: number; readonly event: Event };

const definitions = [...requestEvents, VmListRequested, VmDescribeRequested, VmScreenshotRequested];

const quiet = (): void => undefined;
const log: Logger = {
  debug: quiet,
  info: quiet,
  warn: (message, fields) => console.error(`manager: ${message}`, fields ?? ''),
  error: (message, fields) => console.error(`manager: ${message}`, fields ?? ''),
  child: () => log,
};

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '' },
    hypervisor: { type: 'string' },
    accelerator: { type: 'string', default: 'auto' },
    after: { type: 'string', default: '0' },
  },
});
const { data, hypervisor, accelerator, after } = values;
if (hypervisor !== 'qemu' && hypervisor !== 'simulated') throw new Error('--hypervisor is qemu or simulated');
if (accelerator !== 'auto' && accelerator !== 'kvm' && accelerator !== 'tcg') {
  throw new Error('--accelerator is auto, kvm or tcg');
}

const tell = (told: Told): void => void process.send?.(told);
const manager = await openManager({ data, hypervisor, accelerator, log });

async function answer({ how, type, data: given }: Asked): Promise<unknown> {
  const definition = definitions.find((one) => one.type === type);
  if (!definition) throw new Error(`${type} is no request`);
  // The definition checks the data; what the parent sends is no more trusted than what comes over a network.
  const event = (definition as unknown as (data: unknown) => Event)(given);
  return how === 'publish' ? manager.bus.publish(event) : manager.bus.request(event);
}

process.on('message', (asked: Asked) => {
  answer(asked).then(
    (value) => tell({ kind: 'answer', id: asked.id, value }),
    (error: unknown) => tell({ kind: 'answer', id: asked.id, error: toError(error).message }),
  );
});

const following = new AbortController();
process.once('disconnect', () => {
  following.abort();
  void manager.stop();
});
tell({ kind: 'ready', hypervisor: await manager.hypervisor.describe() });
for await (const { position, event } of manager.bus.follow({ after: Number(after) }, following.signal)) {
  tell({ kind: 'event', position, event });
}
