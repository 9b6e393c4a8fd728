import eventemitter2 from 'eventemitter2';

const { EventEmitter2 } = eventemitter2;

export function openExact(event, handlers) {
  const emitter = new EventEmitter2({ maxListeners: 0 });
  for (const handler of handlers) emitter.on(event.type, handler);
  const { type } = event;
  return (count) => {
    for (let i = 0; i < count; i++) emitter.emit(type, event);
  };
}

/** `*` is one token, as in Carillon's patterns. */
export function openWildcard(events, patterns, handlers) {
  const emitter = new EventEmitter2({ wildcard: true, delimiter: '.', maxListeners: 0 });
  patterns.forEach((pattern, i) => emitter.on(pattern, handlers[i]));
  return (count) => {
    for (let i = 0, at = 0; i < count; i++) {
      const event = events[at];
      emitter.emit(event.type, event);
      if (++at === events.length) at = 0;
    }
  };
}
