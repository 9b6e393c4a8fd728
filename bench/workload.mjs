// What is published: the same for every peer. An order of 206 bytes of JSON; as a whole event about 370.
import { randomUUID } from 'node:crypto';

export const keyCount = 5000;
export const eventType = 'order.placed';
export const eventSource = '/bench';

/** The data of the nth event. `n` has room for seven digits, so that every order has the same size. */
export function orderOf(n) {
  return {
    orderId: `ord_${1_000_000 + n}`,
    customer: `c${100_000 + (n % keyCount)}`,
    amount: 1_000_000 + n,
    currency: 'EUR',
    items: [
      { sku: 'a-1042', quantity: 2 },
      { sku: 'b-7', quantity: 1 },
    ],
    note: 'please leave the parcel at the door, many thanks!',
  };
}

/** The event's number, back from its data. */
export const numberOf = (order) => order.amount - 1_000_000;
export const keyOf = (n) => `k${n % keyCount}`;

let idMs = 0;
let idCount = 0;
let idPrefix = '';

/** A UUIDv7 that rises within the process, as Carillon's do: random ids would make an index several times dearer. */
function nextId() {
  const nowMs = Date.now();
  if (nowMs > idMs || ++idCount === 4096) {
    idMs = Math.max(nowMs, idMs + 1);
    idCount = 0;
    const digits = idMs.toString(16).padStart(12, '0');
    idPrefix = `${digits.slice(0, 8)}-${digits.slice(8)}-7`;
  }
  return `${idPrefix}${idCount.toString(16).padStart(3, '0')}-${randomUUID().slice(19)}`;
}

/** The nth event, as peers without a maker of events of their own publish it. */
export function eventOf(n) {
  return {
    specversion: '1.0',
    id: nextId(),
    source: eventSource,
    type: eventType,
    subject: keyOf(n),
    time: new Date().toISOString(),
    data: orderOf(n),
  };
}
