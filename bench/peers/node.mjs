import { EventEmitter } from 'node:events';

/** Emits the event again and again; the loop is the peer's own, so that nothing stands between it and its emit. */
export function openExact(event, handlers) {
  const emitter = new EventEmitter();
  emitter.setMaxListeners(0);
  for (const handler of handlers) emitter.on(event.type, handler);
  const { type } = event;
  return (count) => {
    for (let i = 0; i < count; i++) emitter.emit(type, event);
  };
}
