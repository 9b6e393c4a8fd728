import { EventEmitter } from 'eventemitter3';

export function openExact(event, handlers) {
  const emitter = new EventEmitter();
  for (const handler of handlers) emitter.on(event.type, handler);
  const { type } = event;
  return (count) => {
    for (let i = 0; i < count; i++) emitter.emit(type, event);
  };
}
