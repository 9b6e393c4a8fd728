import { carillonError } from '../../core/index.ts';

/** A place in the server's write-ahead log: its 64 bits. */
export type Lsn = bigint;

/** As PostgreSQL writes it: `0/16B3748`. */
export function lsnText(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffff_ffffn).toString(16)}`.toUpperCase();
}

/** Fails with `CARILLON_CHANGES_PROTOCOL` for what is no such place. */
export function parseLsn(text: string): Lsn {
  const [, high, low] = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text) ?? [];
  if (high === undefined || low === undefined) {
    throw carillonError('CARILLON_CHANGES_PROTOCOL', `${JSON.stringify(text)} is no place in the write-ahead log`);
  }
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
