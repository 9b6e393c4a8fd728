// Where PostgreSQL's own programs are on this machine: pgbench, pg_recvlogical and their like.
import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

async function debianFolders() {
  const base = '/usr/lib/postgresql';
  const versions = await readdir(base).catch(() => []);
  return versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(base, version, 'bin'));
}

async function configuredFolder() {
  const found = await run('pg_config', ['--bindir']).catch(() => undefined);
  return found === undefined ? [] : [found.stdout.trim()];
}

/** The program's path: on PATH, where `pg_config --bindir` says, or where Debian puts it; null where it is not. */
export async function findTool(name) {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const folders of [async () => onPath, configuredFolder, debianFolders]) {
    for (const folder of await folders()) {
      const path = join(folder, name);
      if (
        await access(path, constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return path;
    }
  }
  return null;
}
