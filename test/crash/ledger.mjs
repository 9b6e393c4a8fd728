const takers = {
  invoke: 'takeInvoke',
  ok: 'takeOk',
  no: 'takeNo',
  join: 'takeJoin',
  batch: 'takeBatch',
  begin: 'takeBegin',
  end: 'takeEnd',
  retried: 'takeRetried',
  dead: 'takeDead',
  redrive: 'takeRedrive',
  discard: 'takeDiscard',
  strike: 'takeStrike',
  fault: 'takeFault',
  settling: 'takeSettling',
  barrier: 'takeBarrier',
  stopped: 'takeStopped',
  ready: 'takeReady',
  effect: 'takeEffect',
  letter: 'takeLetter',
  state: 'takeState',
  log: 'takeLog',
  broken: 'takeBroken',
  'engine-failed': 'takeEngineFailed',
  ended: 'takeEnded',
};

const none = [];

/**
 * The history, indexed by what the checks ask for. Records are numbered in the order they came: within one life that is
 * the order in which things happened.
 */
export class Ledger {
  /** By id: `{ id, type, key, part, lot, life, hash, cause, calls, joins }`. */
  events = new Map();
  calls = new Map();
  lives = new Map();
  /** By subscription, then by event id: a list of `{ kind, index, life, t, unsure, ... }`. */
  deliveries = new Map();
  log = [];
  byId = new Map();
  letters = new Map();
  states = new Map();
  effects = new Map();
  broken = [];
  /** The latest event a running handler has joined to its acknowledgement, by life and cause. */
  openJoins = new Map();

  constructor(records) {
    records.forEach((entry, index) => {
      this.unsure = entry.unsure === true;
      this[takers[entry.op]]?.({ ...entry, index });
    });
  }

  life(no) {
    let life = this.lives.get(no);
    if (!life) {
      life = {
        no,
        epoch: 0,
        faultUs: Infinity,
        fault: null,
        failed: null,
        settling: -1,
        barrier: -1,
        struck: null,
        ended: null,
      };
      this.lives.set(no, life);
    }
    return life;
  }

  takeInvoke({ life, call, events, batch, delayMs, t, index }) {
    const made = {
      life,
      events,
      batch,
      scheduled: delayMs !== undefined,
      t,
      index,
      epoch: this.life(life).epoch,
      outcome: null,
    };
    this.calls.set(`${life}/${call}`, made);
    for (const event of events) {
      const known = this.events.get(event.id) ?? { ...event, calls: [], joins: [] };
      known.calls.push(made);
      this.events.set(event.id, known);
    }
  }

  takeOk({ life, call, results, t, index }) {
    const made = this.calls.get(`${life}/${call}`);
    Object.assign(made, { outcome: 'ok', results, endedUs: t, endIndex: index });
    const of = this.life(life);
    // One more link of the chain: this publish began after the acknowledgement that made the epoch.
    if (made.epoch === of.epoch) of.epoch++;
  }

  takeNo({ life, call, code, retryable, t, index }) {
    Object.assign(this.calls.get(`${life}/${call}`), { outcome: 'no', code, retryable, endedUs: t, endIndex: index });
  }

  takeJoin({ event, cause, life, index }) {
    this.events.set(event.id, { ...event, calls: [], joins: [{ cause, life, index, ok: null }] });
    this.openJoins.set(`${life}/${cause}`, event.id);
  }

  notesOf(sub, id) {
    return this.deliveries.get(sub)?.get(id) ?? none;
  }

  /** Adds `unsure`: it happened while the power was cut, so nothing of it may have lasted. */
  note(sub, id, made) {
    const note = { ...made, unsure: this.unsure };
    let ofSub = this.deliveries.get(sub);
    if (!ofSub) this.deliveries.set(sub, (ofSub = new Map()));
    const notes = ofSub.get(id);
    if (notes) notes.push(note);
    else ofSub.set(id, [note]);
  }

  takeBatch({ life, sub, ids, index }) {
    for (const id of ids) {
      const begin = this.notesOf(sub, id).findLast((note) => note.kind === 'begin' && note.life === life);
      if (begin) begin.group = index;
    }
  }

  takeBegin({ life, sub, id, at, attempt, hash, t, index }) {
    this.note(sub, id, { kind: 'begin', life, at, attempt, hash, t, index });
  }

  takeEnd({ life, sub, ids, ok, t, index }) {
    for (const id of ids) {
      this.note(sub, id, { kind: ok ? 'ok' : 'failed', life, t, index, epoch: this.life(life).epoch });
      const joined = this.openJoins.get(`${life}/${id}`);
      if (joined !== undefined && sub === 'joiner') this.events.get(joined).joins[0].ok = ok;
    }
  }

  /** The handler had ended well, and its commit failed: that end does not count. */
  takeRetried({ life, sub, id, index }) {
    this.undo(life, sub, id);
    this.note(sub, id, { kind: 'retried', life, index });
  }

  takeDead({ life, sub, id, index }) {
    this.undo(life, sub, id);
    this.note(sub, id, { kind: 'dead', life, index });
  }

  undo(life, sub, id) {
    const last = this.notesOf(sub, id).at(-1);
    if (last?.kind === 'ok' && last.life === life) last.kind = 'undone';
  }

  takeRedrive({ life, sub, id, index }) {
    this.note(sub, id, { kind: 'redrive', life, index });
  }

  takeDiscard({ life, sub, id, index }) {
    this.note(sub, id, { kind: 'discard', life, index });
  }

  takeStrike({ life, t }) {
    const of = this.life(life);
    of.struck = t;
    of.faultUs = Math.min(of.faultUs, t);
  }

  takeFault({ life, t, index }) {
    const of = this.life(life);
    of.fault = { t, index };
    of.faultUs = Math.min(of.faultUs, t);
  }

  takeEngineFailed({ life, t, code, index }) {
    const of = this.life(life);
    of.failed = { t, code, index };
    of.faultUs = Math.min(of.faultUs, t);
  }

  takeEnded({ life, code }) {
    this.life(life).ended = code;
  }

  takeSettling({ life, index }) {
    this.life(life).settling = index;
  }

  /** All that had ended when it was asked for is durable. */
  takeBarrier({ life }) {
    this.life(life).barrier = this.life(life).settling;
  }

  takeStopped({ life, index }) {
    this.life(life).barrier = index;
  }

  // What the last life that verified found.

  takeReady() {
    this.log = [];
    this.byId = new Map();
    this.letters = new Map();
    this.states = new Map();
    this.effects = new Map();
  }

  takeEffect({ id, times }) {
    this.effects.set(id, times);
  }

  takeLetter({ sub, id, at, attempts }) {
    this.letters.set(`${sub}/${id}`, { sub, id, at, attempts });
  }

  takeState(entry) {
    this.states.set(entry.sub, entry);
  }

  takeLog({ at, ms, id, type, key, part, hash, cause }) {
    const stored = { at, ms, id, type, key, part, hash, cause };
    this.log.push(stored);
    if (!this.byId.has(id)) this.byId.set(id, stored);
  }

  takeBroken({ life, what }) {
    this.broken.push({ life, what });
  }
}
