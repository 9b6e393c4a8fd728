// PostgreSQL's own reader of replication slots, writing to /dev/null.
import { spawn } from 'node:child_process';
import { findTool } from '../../scripts/postgres-tools.mjs';

const slot = 'bench_peer';

export async function prepareChanges({ server, client, table }) {
  const program = await findTool('pg_recvlogical');
  await client.query(`CREATE PUBLICATION ${slot} FOR TABLE ${table}`);
  await client.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
  const url = new URL(server.url());
  const args = ['-h', url.hostname, '-p', url.port, '-U', url.username, '-d', url.pathname.slice(1), '-S', slot];
  args.push('--start', '--no-loop', '-f', '/dev/null', '-o', 'proto_version=1', '-o', `publication_names=${slot}`);
  return {
    inProcess: false,
    readTo: ({ lsn }) =>
      new Promise((resolve, reject) => {
        const env = { ...process.env, PGPASSWORD: decodeURIComponent(url.password) };
        const child = spawn(program, [...args, `--endpos=${lsn}`], { env, stdio: ['ignore', 'ignore', 'pipe'] });
        let output = '';
        child.stderr.on('data', (chunk) => (output += chunk));
        child.on('error', reject);
        child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`pg_recvlogical failed:\n${output}`))));
      }),
    close: async () => undefined,
  };
}
