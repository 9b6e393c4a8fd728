import type { GatewayAddress } from '../gateway/index.ts';
import { printable, table } from './terminal.ts';

/** A server that has just started, as it is told to whoever started it. */
export interface Started {
  readonly address: GatewayAddress;
  readonly engine: string;
  /** Null when nothing is kept. */
  readonly dataDirectory: string | null;
  readonly config: string | null;
  readonly modules: readonly string[];
  readonly handlers: readonly { readonly name: string; readonly target: string }[];
  /** How this program is called. */
  readonly command: string;
}

/** What `carillon serve` prints once it listens: where, what runs, and what to try. */
export function startedLines(started: Started, json: boolean): readonly string[] {
  if (json) {
    const { address, command: _command, ...rest } = started;
    return [JSON.stringify({ kind: 'listening', ...address, ...rest })];
  }
  const { address, engine, dataDirectory, config, modules, handlers } = started;
  return [
    `carillon listens on ${address.url}`,
    `  data      ${dataDirectory === null ? 'in memory, gone at the end' : printable(dataDirectory)} (${engine})`,
    `  config    ${config === null ? 'no carillon.config.ts here: events are kept, and nobody handles them' : printable(config)}`,
    `  modules   ${modules.join(', ') || 'none'}`,
    ...table(handlers.map(({ name, target }) => [`            ${name}`, target])).map((line, index) =>
      index === 0 ? `  handlers${line.slice('  handlers'.length)}` : line,
    ),
    '',
    ...whatToTry(started),
    '',
  ];
}

function whatToTry({ address: { port, url }, command }: Started): readonly string[] {
  const server = port === 4600 ? '' : ` --url ${url}`;
  const structured = '{"specversion":"1.0","id":"1","source":"/me","type":"greeting.requested","data":{"name":"Ada"}}';
  return [
    'Try in another terminal:',
    `  curl -i ${url}/events -H 'content-type: application/cloudevents+json' -d '${structured}'`,
    `  curl -i ${url}/events -H 'ce-specversion: 1.0' -H 'ce-id: 2' -H 'ce-source: /me' -H 'ce-type: greeting.requested' -H 'content-type: application/json' -d '{"name":"Grace"}'`,
    `  curl -N '${url}/events/stream?from=beginning'`,
    `  ${command} publish greeting.requested --data '{"name":"Alan"}'${server}`,
    `  ${command} tail --follow${server}`,
    `  ${command} handlers${server}`,
  ];
}
