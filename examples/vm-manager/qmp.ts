import { connect, type Socket } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { HypervisorError } from './hypervisor-error.ts';

/**
 * A client of QEMU's control protocol: one JSON object a line, over a socket of the file system
 * (https://www.qemu.org/docs/master/interop/qmp-spec.html).
 *
 * States: `greeting` (connected, QEMU has not said hello) → `ready` → `closed`; `greeting` → `closed`. Nothing leads back.
 * Closed by QEMU's end, by a reply that breaks a bound or is no JSON, or by `close`; every command in flight fails then.
 *
 * What comes from QEMU is not trusted: a guest that took it over may send anything. Lines, and what is told without
 * being asked, have bounds. What goes to it are commands of {@link QMP_COMMANDS} and no others; `human-monitor-command`,
 * which would open all the rest, is not among them.
 */
export const QMP_COMMANDS = [
  'qmp_capabilities',
  'query-uuid',
  'query-status',
  'query-hotpluggable-cpus',
  'query-memory-devices',
  'query-named-block-nodes',
  'stop',
  'cont',
  'system_reset',
  'system_powerdown',
  'quit',
  'device_add',
  'object-add',
  'blockdev-add',
  'netdev_add',
  'blockdev-snapshot-internal-sync',
  'screendump',
  'ringbuf-read',
] as const;
export type QmpCommand = (typeof QMP_COMMANDS)[number];
const allowed: ReadonlySet<string> = new Set(QMP_COMMANDS);

/** The longest line taken from QEMU, in bytes. */
export const REPLY_BYTES_MAX: number = 1024 * 1024;
/** Commands without a reply at once. */
const IN_FLIGHT_MAX = 64;
const REPLY_MS = 5_000;

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Qmp {
  /**
   * The reply's `return`. Fails with a {@link HypervisorError}: `refused` for QEMU's own errors and for a command that is
   * not on the list; `unresponsive` when there is no reply in time; `host` when the connection has closed.
   */
  execute(command: QmpCommand, parameters?: Readonly<Record<string, unknown>>): Promise<unknown>;
  readonly closed: boolean;
  close(): void;
}

export interface QmpListener {
  event(event: QmpEvent): void;
  /** The connection has closed, and not by `close`. */
  lost(why: string): void;
}

interface Waiting {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Connects, and resolves when commands can be sent. Fails with the socket's error, whose `code` says why, or as `execute`. */
export async function connectQmp(path: string, listener: QmpListener): Promise<Qmp> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const client = new QmpClient(socket, listener);
  await client.greeted;
  try {
    await client.execute('qmp_capabilities');
  } catch (error) {
    client.close();
    throw error;
  }
  return client;
}

class QmpClient implements Qmp {
  readonly socket: Socket;
  readonly listener: QmpListener;
  readonly waiting: Map<number, Waiting> = new Map();
  readonly decoder: StringDecoder = new StringDecoder('utf8');
  readonly greeted: Promise<void>;
  greet: (failure?: Error) => void = () => undefined;
  state: 'greeting' | 'ready' | 'closed' = 'greeting';
  lastId = 0;
  partial = '';

  constructor(socket: Socket, listener: QmpListener) {
    this.socket = socket;
    this.listener = listener;
    this.greeted = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => this.end('it did not say hello in time', new HypervisorError('unresponsive', 'QEMU did not say hello')),
        REPLY_MS,
      );
      this.greet = (failure) => {
        clearTimeout(timer);
        if (failure) reject(failure);
        else resolve();
      };
    });
    // The bus keeps its process alive; a machine does not.
    socket.unref();
    socket.on('data', (bytes) => this.read(bytes));
    socket.on('error', (error) => this.end(error.message));
    socket.on('close', () => this.end('QEMU has closed the connection'));
  }

  get closed(): boolean {
    return this.state === 'closed';
  }

  execute(command: QmpCommand, parameters?: Readonly<Record<string, unknown>>): Promise<unknown> {
    // The type says so already; a value that came from elsewhere might not.
    if (!allowed.has(command)) return refuse('refused', `the command ${JSON.stringify(command)} is not allowed`);
    if (this.state !== 'ready') return refuse('host', 'the connection to QEMU has closed');
    if (this.waiting.size >= IN_FLIGHT_MAX) return refuse('unresponsive', 'QEMU has too many commands to answer');
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new HypervisorError('unresponsive', `QEMU did not answer ${command} within ${REPLY_MS} ms`));
      }, REPLY_MS);
      this.waiting.set(id, { command, resolve, reject, timer });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`);
    });
  }

  close(): void {
    this.end('closed by the manager', undefined, false);
  }

  end(why: string, failure?: Error, tell = true): void {
    if (this.state === 'closed') return;
    const greeting = this.state === 'greeting';
    this.state = 'closed';
    this.partial = '';
    this.socket.destroy();
    for (const { command, reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(failure ?? new HypervisorError('host', `QEMU has not answered ${command}: ${why}`));
    }
    this.waiting.clear();
    if (greeting) this.greet(failure ?? new HypervisorError('host', why));
    else if (tell) this.listener.lost(why);
  }

  read(bytes: Buffer): void {
    // Decoded across chunks: a character may be cut in two.
    this.partial += this.decoder.write(bytes);
    for (let end = this.partial.indexOf('\n'); end >= 0; end = this.partial.indexOf('\n')) {
      const line = this.partial.slice(0, end);
      this.partial = this.partial.slice(end + 1);
      if (line.length > REPLY_BYTES_MAX) return this.tooLong();
      this.take(line);
      // Taking a line may have closed the connection.
      if (this.closed) return;
    }
    if (this.partial.length > REPLY_BYTES_MAX) this.tooLong();
  }

  tooLong(): void {
    this.end(`a line of more than ${REPLY_BYTES_MAX} bytes`);
  }

  take(line: string): void {
    if (line.trim() === '') return;
    const message = parseObject(line);
    if (message === undefined) return this.end('a line that is no JSON object');
    if (this.state === 'greeting') {
      if (!('QMP' in message)) return this.end('no greeting of QMP');
      this.state = 'ready';
      return this.greet();
    }
    if (typeof message['event'] === 'string') {
      return this.listener.event({ event: message['event'], data: asObject(message['data']) ?? {} });
    }
    const { id } = message;
    const waiting = typeof id === 'number' ? this.waiting.get(id) : undefined;
    // An answer that came too late, or that nobody asked for.
    if (typeof id !== 'number' || waiting === undefined) return;
    this.waiting.delete(id);
    clearTimeout(waiting.timer);
    if ('return' in message) return waiting.resolve(message['return']);
    const { desc } = asObject(message['error']) ?? {};
    const told = typeof desc === 'string' ? desc.slice(0, 500) : 'no reason given';
    waiting.reject(new HypervisorError('refused', `QEMU refused ${waiting.command}: ${told}`));
  }
}

const refuse = (code: HypervisorError['code'], message: string): Promise<never> =>
  Promise.reject(new HypervisorError(code, message));

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** The value as an object of unknown members, if it is one. */
export function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** The value as a list of such objects; what is none is left out. */
export function asObjects(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.map(asObject).filter((one) => one !== undefined) : [];
}
