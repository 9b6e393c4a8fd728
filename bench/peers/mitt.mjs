import mitt from 'mitt';

export function openExact(event, handlers) {
  const emitter = mitt();
  for (const handler of handlers) emitter.on(event.type, handler);
  const { type } = event;
  return (count) => {
    for (let i = 0; i < count; i++) emitter.emit(type, event);
  };
}
