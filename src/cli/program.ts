import { Command, InvalidArgumentError } from 'commander';
import { type Client, createClient } from './client.ts';
import { type DeadFlags, listDead, type SelectFlags, settleDead, showDead } from './dead.ts';
import { exitCodeHelp } from './exit-codes.ts';
import { handlers } from './handlers.ts';
import { publish, type PublishFlags } from './publish.ts';
import type { ServeFlags } from './serve.ts';
import { tail, type TailFlags } from './tail.ts';
import type { Terminal } from './terminal.ts';

/** What the program is made with; tests hand in stand-ins. */
export interface ProgramContext {
  readonly terminal: Terminal;
  readonly version: string;
  /** Default for `--url`. */
  readonly url: string;
  /** Starts a server and sees it through to its end. Loaded only when asked for: clients start faster without it. */
  readonly serve: (flags: ServeFlags) => Promise<void>;
}

interface ClientFlags {
  readonly url: string;
}

/** The command line. Throws commander's errors and those of the commands; {@link exitCodeOf} says what they end with. */
export function createProgram(context: ProgramContext): Command {
  const { terminal, version } = context;
  const program = new Command('carillon')
    .description('An event-driven platform: a durable event bus, served over HTTP.')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(--help tells more)')
    .addHelpText('after', exitCodeHelp)
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    });

  program
    .command('serve')
    .description('run the event server')
    .option('--port <number>', 'port to listen on, 0 for a free one (default: 4600)', parsePort)
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--data <directory>', 'where events are kept (default: .carillon)')
    .option('--memory', 'keep nothing: a throw-away bus')
    .option('--config <file>', 'configuration (default: carillon.config.ts in this directory, if there is one)')
    .option('--allow-public', 'allow an address that other machines reach; nothing authenticates them')
    .option('--quiet', 'print warnings and errors only')
    .option('--json', 'print JSON lines')
    .action((flags: ServeFlags) => context.serve(flags));

  addPublish(program, context);
  addTail(program, context);
  addDead(program, context);
  clientCommand(program, 'handlers', context)
    .description('how each handler stands')
    .action((flags: ClientFlags & { json?: boolean }) => handlers(flags, connect(flags), terminal));
  return program;
}

const connect = ({ url }: ClientFlags): Client => createClient(url);

function clientCommand(parent: Command, name: string, { url }: ProgramContext): Command {
  return parent
    .command(name)
    .option('--url <url>', 'the server to talk to (also: CARILLON_URL)', parseUrl, url)
    .option('--json', 'print JSON lines');
}

function addPublish(program: Command, context: ProgramContext): void {
  clientCommand(program, 'publish', context)
    .description('publish an event, or a batch')
    .argument(
      '<what>',
      'an event TYPE; or a FILE (a path with "/" or ending in .json), or - for standard input, with a CloudEvent or an array of them',
    )
    .option('--data <json>', 'the data of an event of TYPE')
    .option('--source <uri>', 'its source (default: /carillon/cli)')
    .option('--subject <text>', 'its subject')
    .option('--id <text>', 'its id; the same source and id are published once (default: a new one)')
    .option('--delay <ms>', 'publish it so much later', parseWhole)
    .option('--expected-revision <position>', "refuse when the subject's last event is another; none: has none")
    .action((what: string, flags: ClientFlags & PublishFlags) =>
      publish(what, flags, connect(flags), context.terminal),
    );
}

function addTail(program: Command, context: ProgramContext): void {
  clientCommand(program, 'tail', context)
    .description('print the events of the log')
    .option('--type <pattern>', 'only of this type; * stands for one token, > for the rest')
    .option('--subject <text>', 'only with this subject')
    .option(
      '--after <position>',
      'only behind this position (default: all; with --follow: what comes from now on)',
      parseWhole,
    )
    .option('--follow', 'go on with what comes, across restarts of the server')
    .action((flags: ClientFlags & TailFlags) => tail(flags, connect(flags), context.terminal));
}

function addDead(program: Command, context: ProgramContext): void {
  const { terminal } = context;
  const dead = program.command('dead').description('deliveries whose every attempt failed');
  clientCommand(dead, 'list', context)
    .description('list them')
    .option('--subscription <name>', 'only of this handler')
    .option('--limit <number>', 'at most so many (default: 100)', parseWhole)
    .action((flags: ClientFlags & DeadFlags) => listDead(flags, connect(flags), terminal));
  clientCommand(dead, 'show', context)
    .description('show one with the record of its attempts')
    .argument('<subscription>')
    .argument('<position>', '', parseWhole)
    .action((subscription: string, position: number, flags: ClientFlags & DeadFlags) =>
      showDead(subscription, position, flags, connect(flags), terminal),
    );
  for (const how of ['redrive', 'discard'] as const) {
    const command = clientCommand(dead, how, context)
      .description(how === 'redrive' ? 'deliver them again' : 'forget them for good')
      .argument('<subscription>')
      .argument('[positions...]', 'which ones', collectWhole)
      .option('--all', 'all of the subscription');
    if (how === 'redrive') command.option('--data <json>', 'deliver this data instead');
    command.action((subscription: string, given: readonly number[] | undefined, flags: ClientFlags & SelectFlags) => {
      const positions = given ?? [];
      if ((positions.length === 0) !== (flags.all === true)) {
        command.error('error: name the positions, or --all', { code: 'carillon.positions', exitCode: 2 });
      }
      return settleDead(how, subscription, positions, flags, connect(flags), terminal);
    });
  }
}

function parseWhole(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number from 0.');
  return value;
}

const collectWhole = (text: string, earlier: readonly number[] = []): readonly number[] => [
  ...earlier,
  parseWhole(text),
];

function parsePort(text: string): number {
  const port = parseWhole(text);
  if (port > 65_535) throw new InvalidArgumentError('It must be a whole number from 0 to 65535.');
  return port;
}

function parseUrl(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw new InvalidArgumentError('It must be an http URL.');
  return text;
}
