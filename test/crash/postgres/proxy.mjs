import { connect, createServer } from 'node:net';
import { between } from '../random.mjs';

/**
 * A TCP proxy before the server that ends connections as a network does: at any byte. Each connection is `open` → (aimed:
 * what it does with the next piece that passes) → `cut`; or `open` → (stalled: passes nothing) → `open`; or `open` → (silent:
 * swallows everything, and neither side hears of the other's end for a while) → `cut`.
 */
export class Proxy {
  links = new Set();
  refusing = false;

  constructor(address, random) {
    this.address = address;
    this.random = random;
    this.server = createServer((client) => this.accept(client));
  }

  async listen() {
    await new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  get port() {
    return this.server.address().port;
  }

  accept(client) {
    if (this.refusing) return void client.destroy();
    this.links.add(new Link(client, connect(this.address), this));
  }

  /** Cuts one: at once, or within the next request or answer, or so that the request arrives and its answer does not. */
  cutOne() {
    const links = [...this.links];
    if (links.length === 0) return;
    const link = links[between(this.random, 0, links.length - 1)];
    link.aim(aims[between(this.random, 0, aims.length - 1)]);
  }

  /** Each connection goes silent with this probability. */
  silence(share) {
    for (const link of this.links) if (this.random() < share) link.silent = true;
  }

  cutAll() {
    for (const link of this.links) link.cut();
  }

  close() {
    this.server.close();
    this.cutAll();
  }
}

const aims = ['at once', 'within a request', 'within an answer', 'before the answer', 'stalled'];
const STALL_MS = [50, 800];
/** So long after one side has given up a silent connection the other finds out, by asking for a sign of life. */
const HALF_OPEN_MS = 3_000;
/** What nothing passes over any more is cut all the same. */
const AIMED_FOR_MS = 1_000;

class Link {
  aimed = null;
  silent = false;
  timer = null;

  constructor(client, server, proxy) {
    this.client = client;
    this.server = server;
    this.proxy = proxy;
    this.flow(client, server, 'request');
    this.flow(server, client, 'answer');
  }

  flow(from, to, what) {
    from.setNoDelay(true);
    // Its end follows.
    from.on('error', () => undefined);
    from.on('close', () => {
      if (!this.silent) return this.cut();
      this.timer ??= setTimeout(() => this.cut(), HALF_OPEN_MS);
    });
    from.on('data', (piece) => {
      if (this.silent) return;
      if (this.aimed === `within a ${what}` || this.aimed === `within an ${what}`) {
        to.write(piece.subarray(0, between(this.proxy.random, 0, piece.length - 1)), () => this.cut());
        from.pause();
      } else if (this.aimed === 'before the answer' && what === 'answer') this.cut();
      else if (!to.write(piece)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
  }

  aim(aimed) {
    if (aimed === 'at once') return this.cut();
    this.aimed = aimed;
    const { random } = this.proxy;
    if (aimed !== 'stalled') return void (this.timer = setTimeout(() => this.cut(), AIMED_FOR_MS));
    for (const side of [this.client, this.server]) side.pause();
    this.timer = setTimeout(
      () => {
        if (random() < 0.5) return this.cut();
        this.aimed = null;
        for (const side of [this.client, this.server]) side.resume();
      },
      between(random, ...STALL_MS),
    );
  }

  cut() {
    clearTimeout(this.timer);
    this.proxy.links.delete(this);
    this.client.destroy();
    this.server.destroy();
  }
}
