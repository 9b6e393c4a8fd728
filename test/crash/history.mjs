import { writeSync } from 'node:fs';

/** The file descriptor on which a process under test writes its history: a pipe, which no fault of the disk reaches. */
export const HISTORY_FD = 3;

/** Microseconds on the machine's monotonic clock, which all processes share. */
export const nowUs = () => Number(process.hrtime.bigint() / 1000n);

/**
 * Writes one record, before it returns: a record of what is about to happen must be there even when the process is
 * killed by its next instruction.
 */
export function record(entry) {
  const bytes = Buffer.from(`${JSON.stringify({ t: nowUs(), ...entry })}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(HISTORY_FD, bytes, at);
}

/** The history of one data directory: what all its processes wrote, in order, each record stamped with its life. */
export class History {
  records = [];
  lives = 0;

  /** Takes the records of one life from its pipe. `tell` is called with each. */
  collect(stream, life, tell) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      // A last line without its end was cut short by the kill.
      rest = lines.pop();
      for (const line of lines) tell(this.add({ ...JSON.parse(line), life }));
    });
  }

  add(entry) {
    this.records.push(entry);
    return entry;
  }

  note(life, entry) {
    return this.add({ t: nowUs(), ...entry, life });
  }
}
