/** Where a command writes, and what it reads: the process's streams, or a stand-in in tests. */
export interface Terminal {
  /** A line of the result, on standard output. */
  out(line: string): void;
  /** A line about the result, on standard error. */
  err(line: string): void;
  /** All of standard input. */
  input(): Promise<string>;
}

const streamTerminal = (): Terminal => ({
  out: (line) => void process.stdout.write(`${line}\n`),
  err: (line) => void process.stderr.write(`${line}\n`),
  input: async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  },
});

/** The process's own streams. A reader that went away (`| head`) ends the output quietly. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  process.stdout.once('error', () => process.exit(0));
  return streamTerminal();
}

/** Control characters, line separators, and what turns the writing direction. */
const CONTROL = /[\p{Control}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Text of an event or an error, safe to show: what could move the cursor, start a new line or turn the writing
 * direction is shown as an escape.
 */
export function printable(text: string): string {
  return text.replaceAll(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Printable and no longer than `max`. */
export function shortened(text: string, max: number): string {
  return printable(text.length > max ? `${text.slice(0, max - 3)}...` : text);
}

/** Rows in columns, two spaces between. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
