const takers = {
  invoke: 'takeInvoke',
  ok: 'takeOk',
  no: 'takeNo',
  'rolled-back': 'takeRolledBack',
  shared: 'takeShared',
  disturbed: 'takeDisturbed',
  paused: 'takePaused',
  continued: 'takeContinued',
  fenced: 'takeFenced',
  order: 'takeOrder',
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

/** A process finds out within this time that the others took it for dead. */
const FENCED_AFTER_US = 10_000_000;
/** What a process was about to begin when it was paused it begins when it goes on. */
const STARTED_BEFORE_US = 5_000;

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
  /** Events whose rows of the application's own are there. */
  orders = new Set();
  broken = [];
  /** The latest event a running handler has joined to its acknowledgement, by life, subscription and cause. */
  openJoins = new Map();
  /** Whether several lives go on at once. Their records are in the order of the clock then. */
  shared = false;
  /** By life: from when to when others had what it believed to have. */
  lost = new Map();

  constructor(records) {
    this.findLost(records);
    records.forEach((entry, index) => {
      this.unsure = entry.unsure === true;
      this.void = entry.late === true || this.isLost(entry);
      this[takers[entry.op]]?.({ ...entry, index });
    });
  }

  /**
   * When a process learns that it was taken for dead, it has been so since it was paused, or for some time since its
   * connections were disturbed. What it says of deliveries in that time is void.
   */
  findLost(records) {
    const since = new Map();
    for (const { op, life, t } of records) {
      if (op === 'paused') since.set(life, { paused: t });
      else if (op === 'disturbed') since.set(life, { first: t, ...since.get(life) });
      else if (op === 'fenced') {
        const { paused, first = t } = since.get(life) ?? none;
        const from = paused ?? Math.max(first, t - FENCED_AFTER_US);
        this.lost.set(life, [...(this.lost.get(life) ?? none), { from, until: t }]);
        since.delete(life);
      }
    }
  }

  isLost({ life, t }) {
    return this.lost.has(life) && this.lost.get(life).some(({ from, until }) => t >= from && t <= until);
  }

  /** When the others first had what this life believed to have, from that moment on; Infinity when they never did. */
  lostAfter(no, t) {
    return Math.min(...(this.lost.get(no) ?? none).map(({ from }) => from).filter((from) => from >= t), Infinity);
  }

  /** One life is several members of the log, one after the other: each begins with nothing when the others have taken what the one before it had. */
  memberOf({ life, t }) {
    const times = (this.lost.get(life) ?? none).filter(({ until }) => until <= t).length;
    return `${life}/${times}`;
  }

  life(no) {
    let life = this.lives.get(no);
    if (!life) {
      life = {
        no,
        epoch: 0,
        /** When each epoch began. */
        epochsUs: [],
        faultUs: Infinity,
        /** Until then it is sure to have had what it held. */
        aliveUs: this.lost.get(no)?.[0].from ?? Infinity,
        pausedUs: null,
        continuedUs: null,
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

  takeInvoke({ life, call, events, batch, delayMs, within = false, rollsBack = false, t, index }) {
    const made = {
      within,
      rollsBack,
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
    // A transaction of the application's is no commit of the engine's.
    if (made.within || made.epoch !== of.epoch) return;
    of.epoch++;
    of.epochsUs.push(t);
  }

  takeNo({ life, call, code, retryable, t, index }) {
    Object.assign(this.calls.get(`${life}/${call}`), { outcome: 'no', code, retryable, endedUs: t, endIndex: index });
  }

  takeRolledBack({ life, call, t, index }) {
    Object.assign(this.calls.get(`${life}/${call}`), { outcome: 'rolled-back', endedUs: t, endIndex: index });
  }

  takeJoin({ sub, event, cause, life, index }) {
    this.events.set(event.id, { ...event, calls: [], joins: [{ cause, life, index, ok: null }] });
    this.openJoins.set(`${life}/${sub}/${cause}`, event.id);
  }

  notesOf(sub, id) {
    return this.deliveries.get(sub)?.get(id) ?? none;
  }

  /**
   * Adds `unsure`: it happened while the power was cut, so nothing of it may have lasted; and `void`: the delivery was
   * another process's by then.
   */
  note(sub, id, made) {
    const note = { ...made, unsure: this.unsure, void: this.void };
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
    const { continuedUs } = this.life(life);
    const unleased = continuedUs !== null && t - continuedUs > STARTED_BEFORE_US;
    this.note(sub, id, { kind: 'begin', life, at, attempt, hash, t, index, unleased });
  }

  takeEnd({ life, sub, ids, ok, t, index }) {
    for (const id of ids) {
      this.note(sub, id, { kind: ok ? 'ok' : 'failed', life, t, index, epoch: this.life(life).epoch });
      const joined = this.openJoins.get(`${life}/${sub}/${id}`);
      if (joined !== undefined) this.events.get(joined).joins[0].ok = ok;
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
    const last = this.notesOf(sub, id).findLast((note) => note.life === life);
    if (last?.kind === 'ok') last.kind = 'undone';
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
    of.aliveUs = Math.min(of.aliveUs, t);
  }

  takeFault({ life, t, index }) {
    const of = this.life(life);
    of.fault = { t, index };
    of.faultUs = Math.min(of.faultUs, t);
  }

  takeShared() {
    this.shared = true;
  }

  takeDisturbed({ life, t }) {
    const of = this.life(life);
    of.faultUs = Math.min(of.faultUs, t);
  }

  takePaused({ life, t }) {
    const of = this.life(life);
    of.pausedUs = t;
    of.faultUs = Math.min(of.faultUs, t);
    of.aliveUs = Math.min(of.aliveUs, t);
  }

  takeContinued({ life, t }) {
    this.life(life).continuedUs = t;
  }

  takeFenced({ life }) {
    // What it begins from here on is its own again.
    this.life(life).continuedUs = null;
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
    this.orders = new Set();
  }

  takeOrder({ id }) {
    this.orders.add(id);
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
