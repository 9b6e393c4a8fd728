/** One line of the table. */
export interface Row {
  readonly vm: string;
  readonly state: string;
  readonly cpus: string;
  readonly memory: string;
  readonly last: string;
}

/** Shows how a fleet stands: a table that is drawn again on a terminal, one line for each thing that happens elsewhere. */
export interface Table {
  row(row: Row): void;
  /** A line about the whole. */
  say(line: string): void;
  /** Leaves the table as it is; nothing is drawn over any more. */
  end(): void;
}

const columns = [
  ['vm', 'machine', 10],
  ['state', 'state', 9],
  ['cpus', 'cpus', 4],
  ['memory', 'memory', 8],
  ['last', 'last event', 44],
] as const;

const header: Row = { vm: 'machine', state: 'state', cpus: 'cpus', memory: 'memory', last: 'last event' };
const lineOf = (row: Row): string =>
  columns.map(([field, , width]) => row[field].slice(0, width).padEnd(width)).join('  ');

export function createTable(out: NodeJS.WriteStream): Table {
  return out.isTTY ? drawn(out) : plain(out);
}

function plain(out: NodeJS.WriteStream): Table {
  const startedMs = performance.now();
  const write = (line: string): void => {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(2).padStart(6);
    out.write(`${seconds} s  ${line.trimEnd()}\n`);
  };
  return { row: (row) => write(lineOf(row)), say: write, end: () => undefined };
}

/** Redrawn in place: up by as many lines as were drawn, each cleared and written anew. */
function drawn(out: NodeJS.WriteStream): Table {
  const rows = new Map<string, Row>();
  const said: string[] = [];
  let height = 0;
  const draw = (): void => {
    const lines = [lineOf(header), ...[...rows.values()].map(lineOf), '', ...said.slice(-6)];
    const width = out.columns || 80;
    const up = height > 0 ? `\u001B[${height}A` : '';
    out.write(up + lines.map((line) => `\u001B[2K${line.slice(0, width - 1)}\n`).join('') + '\u001B[J');
    height = lines.length;
  };
  return {
    row: (row) => {
      rows.set(row.vm, row);
      draw();
    },
    say: (line) => {
      said.push(line);
      draw();
    },
    end: () => {
      height = 0;
    },
  };
}
