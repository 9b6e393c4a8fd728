import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

/** What must be undone however the harness ends: mounts, children, directories. The latest first. */
const undoings = new Set();

/** Registers `undo`, which must be synchronous. Returns a function that undoes it now, once. */
export function undoAtEnd(undo) {
  const once = () => {
    if (undoings.delete(once)) undo();
  };
  undoings.add(once);
  return once;
}

export function undoAll() {
  for (const undo of [...undoings].reverse()) {
    try {
      undo();
    } catch (error) {
      console.error(`crash: cleaning up failed: ${error.message}`);
    }
  }
}

process.on('exit', undoAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    undoAll();
    process.exit(128 + constants.signals[signal]);
  });
}

/** A directory of this run alone. `undo` removes it; not when it is to be kept. */
export function scratchDirectory(name, keep = () => false) {
  const directory = mkdtempSync(join(tmpdir(), `carillon-crash-${name}-`));
  const undo = undoAtEnd(() => {
    if (!keep()) rmSync(directory, { recursive: true, force: true });
  });
  return { directory, undo };
}
