import { carillonError, type DeadLetter, type DeadLetters, type DeadLetterSelection } from '../core/index.ts';
import type { Engine } from '../engine/index.ts';
import type { EventGate } from './event-gate.ts';

const LIST_LIMIT = 100;

/** The dead letters as the application sees them: the engine's, with what goes in checked. */
export function busDeadLetters(engine: Engine, gate: EventGate): DeadLetters {
  const get = async (subscription: string, position: number): Promise<DeadLetter> => {
    const letter = await engine.deadLetters.get(subscription, position);
    if (letter) return letter;
    throw carillonError(
      'CARILLON_DEAD_LETTER_UNKNOWN',
      `subscription "${subscription}" has no dead letter at position ${position}`,
      { subscription, positions: [position] },
    );
  };

  /** Those selected, a page at a time. */
  async function* selected({ subscription, positions }: DeadLetterSelection): AsyncIterable<DeadLetter> {
    if (positions) {
      for (const position of positions) yield await get(subscription, position);
      return;
    }
    for (let after = 0; ; ) {
      const page = await engine.deadLetters.list({ subscription, after, limit: LIST_LIMIT });
      yield* page;
      if (page.length < LIST_LIMIT) return;
      after = page.at(-1)?.position ?? after;
    }
  }

  /** Edited data as it is stored, once it suits each of the events whose data it is to replace. */
  const edited = async (selection: DeadLetterSelection, data: unknown): Promise<string> => {
    let checked = data;
    for await (const { event } of selected(selection)) checked = gate.checkData(event.type, data);
    if (checked instanceof Uint8Array) {
      throw carillonError('CARILLON_DATA_NOT_JSON', 'edited data must be JSON, not bytes', { path: 'data' });
    }
    return JSON.stringify(checked);
  };

  return {
    list: async ({ subscription, after = 0, limit = LIST_LIMIT } = {}) =>
      engine.deadLetters.list({ subscription, after, limit }),
    get,
    redrive: async (selection, edit) => {
      const data = edit && (await edited(selection, edit.data));
      return (await engine.deadLetters.redrive(selection, data)).length;
    },
    discard: async (selection) => (await engine.deadLetters.discard(selection)).length,
  };
}
