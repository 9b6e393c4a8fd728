import { readFile } from 'node:fs/promises';
import { BATCH_MEDIA_TYPE, EVENT_MEDIA_TYPE, toError, uuidv7 } from '../core/index.ts';
import type { Client } from './client.ts';
import { printable, type Terminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';

export interface PublishFlags {
  readonly data?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly id?: string;
  readonly delay?: number;
  readonly expectedRevision?: string;
  readonly json?: boolean;
}

interface Answer {
  readonly id: string;
  readonly position: number | null;
  readonly duplicate?: boolean;
  readonly scheduled?: string;
}

/** `carillon publish`: an event of a type, or the event or batch that a file or standard input holds. */
export async function publish(what: string, flags: PublishFlags, client: Client, terminal: Terminal): Promise<void> {
  const { contentType, body } = await messageOf(what, flags, terminal);
  const answer = await client.post(`/events${query(flags)}`, contentType, body);
  for (const published of [answer].flat() as readonly Answer[]) terminal.out(told(published, flags.json === true));
}

interface Message {
  readonly contentType: string;
  readonly body: string;
}

async function messageOf(what: string, flags: PublishFlags, terminal: Terminal): Promise<Message> {
  if (what !== '-' && !isFile(what))
    return { contentType: EVENT_MEDIA_TYPE, body: JSON.stringify(eventOf(what, flags)) };
  const alien = (['data', 'source', 'subject', 'id'] as const).find((name) => flags[name] !== undefined);
  if (alien !== undefined) {
    throw new UsageError(
      `--${alien} goes with a TYPE; an event from ${what === '-' ? 'standard input' : 'a file'} says it itself`,
    );
  }
  const body = what === '-' ? await terminal.input() : await read(what);
  return { contentType: body.trimStart().startsWith('[') ? BATCH_MEDIA_TYPE : EVENT_MEDIA_TYPE, body };
}

/** A type is dot-separated tokens; what has a path separator or ends in `.json` is a file. */
function isFile(what: string): boolean {
  return what.endsWith('.json') || what.includes('/') || what.includes('\\');
}

async function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`${file} cannot be read: ${toError(error).message}`);
  });
}

/** The id is made here, so that repeating this very request is safe. */
function eventOf(type: string, { data, id, source, subject }: PublishFlags): Record<string, unknown> {
  return {
    specversion: '1.0',
    id: id ?? uuidv7(Date.now()),
    source: source ?? '/carillon/cli',
    type,
    time: new Date().toISOString(),
    ...(subject === undefined ? {} : { subject }),
    ...(data === undefined ? {} : { datacontenttype: 'application/json', data: parseData(data) }),
  };
}

/** @param text what `--data` says */
export function parseData(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`--data must be JSON (a text in double quotes): ${toError(error).message}`);
  }
}

function query({ delay, expectedRevision }: PublishFlags): string {
  const parameters = new URLSearchParams();
  if (delay !== undefined) parameters.set('delayMs', String(delay));
  if (expectedRevision !== undefined) parameters.set('expectedRevision', expectedRevision);
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function told(answer: Answer, json: boolean): string {
  if (json) return JSON.stringify(answer);
  const id = printable(answer.id);
  if (answer.scheduled !== undefined) return `scheduled ${id} for ${answer.scheduled}`;
  return answer.duplicate ? `already there: ${id} #${answer.position}` : `published ${id} #${answer.position}`;
}
