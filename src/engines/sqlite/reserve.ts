import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';

/**
 * Disk space set aside for the day the disk is full. States: `kept` (the file is there) → `spent` (removed, so that
 * what must still be written has room) → `kept` again once there is room for it. While it is spent, new events are
 * refused and everything else goes on.
 */
export class Reserve {
  readonly path: string;
  readonly bytes: number;
  /** Tries to make it again at most this often: each try writes all of it. */
  readonly retryMs = 500;
  triedMs = 0;
  kept: boolean;

  constructor(path: string, bytes: number) {
    this.path = path;
    this.bytes = bytes;
    this.kept = bytes === 0 || this.exists() || this.write();
  }

  exists(): boolean {
    return statSync(this.path, { throwIfNoEntry: false })?.size === this.bytes;
  }

  spend(): void {
    // Spent already: the moment of the last try must stand, or refusals in a row would put off the next for ever.
    if (this.bytes === 0 || !this.kept) return;
    rmSync(this.path, { force: true });
    this.kept = false;
    this.triedMs = Date.now();
  }

  /** Whether there is room for new events: makes the reserve again if it can. */
  restore(): boolean {
    if (this.kept) return true;
    const nowMs = Date.now();
    if (nowMs - this.triedMs < this.retryMs) return false;
    this.triedMs = nowMs;
    this.kept = this.write();
    return this.kept;
  }

  /** Writes real bytes: a sparse file would set nothing aside. */
  write(): boolean {
    const chunk = Buffer.alloc(64 * 1024, 1);
    let file: number | null = null;
    try {
      file = openSync(this.path, 'w', 0o600);
      for (let written = 0; written < this.bytes; ) {
        // A full disk first shows as a short write, without an error.
        const step = writeSync(file, chunk, 0, Math.min(chunk.length, this.bytes - written));
        if (step === 0) throw new Error('nothing was written');
        written += step;
      }
      fsyncSync(file);
      return true;
    } catch (error) {
      // A flush that failed is no want of room: the disk is not to be believed any more.
      if ((error as { code?: string }).code === 'EIO') throw error;
      // There is no room, which is what the caller asks to know.
      rmSync(this.path, { force: true });
      return false;
    } finally {
      if (file !== null) closeSync(file);
    }
  }
}
