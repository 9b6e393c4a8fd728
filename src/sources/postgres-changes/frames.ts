/**
 * Takes the bytes of a replication connection apart into frames: a letter, a length of four bytes that counts itself,
 * the body. Rows come as `d` (CopyData) and are handed on in place, without a copy, an object or an event each: that is
 * what makes the difference to `pg`'s own parser, which everything else is left to.
 *
 * States: `flowing` → (`onRow` says no) → `held` → (`resume`) → `flowing`. What comes while held is kept.
 */
const COPY_DATA = 0x64;
const HEADER = 5;

export interface FrameHandler {
  /** One CopyData body, valid for the time of the call. False: hand out no more until {@link Frames.resume}. */
  row(bytes: Buffer, start: number, end: number): boolean;
  /** Any other frame, whole. */
  other(frame: Buffer): void;
}

export class Frames {
  readonly handler: FrameHandler;
  rest: Buffer | null = null;
  /** Pieces of a frame that has not come whole yet, after `rest`. */
  pieces: Buffer[] = [];
  piecesLength = 0;
  /** Bytes that `rest` and the pieces need before there is anything to do. */
  wanted = 0;
  held = false;

  constructor(handler: FrameHandler) {
    this.handler = handler;
  }

  push(chunk: Buffer): void {
    if (this.rest === null && !this.held) return this.scan(chunk);
    this.pieces.push(chunk);
    this.piecesLength += chunk.length;
    // A large row comes in many chunks: they are put together once, not for each of them.
    if (!this.held && (this.rest?.length ?? 0) + this.piecesLength >= this.wanted) this.scan(this.gathered());
  }

  resume(): void {
    if (!this.held) return;
    this.held = false;
    const bytes = this.gathered();
    if (bytes.length > 0) this.scan(bytes);
  }

  gathered(): Buffer {
    const all = this.rest === null ? this.pieces : [this.rest, ...this.pieces];
    this.rest = null;
    this.pieces = [];
    this.piecesLength = 0;
    return all.length === 1 ? (all[0] as Buffer) : Buffer.concat(all);
  }

  scan(bytes: Buffer): void {
    const { handler } = this;
    const { length } = bytes;
    let at = 0;
    while (at + HEADER <= length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > length) break;
      const from = at;
      at = end;
      if (bytes[from] !== COPY_DATA) handler.other(bytes.subarray(from, end));
      else if (!handler.row(bytes, from + HEADER, end)) {
        this.held = true;
        break;
      }
    }
    if (at === length) return;
    this.rest = bytes.subarray(at);
    const left = length - at;
    this.wanted = left >= HEADER ? 1 + this.rest.readUInt32BE(1) : HEADER;
  }
}
