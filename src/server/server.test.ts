import { describe, expect, it } from 'vitest';
import { carillonError, defineModule, type Observation, toEvent } from '../core/index.ts';
import type { Engine, EngineHost } from '../engine/index.ts';
import { memory } from '../engines/memory/index.ts';
import { createServer, type Edge } from './server.ts';

const event = toEvent({ specversion: '1.0', id: '1', source: '/test', type: 'test.happened' });

function recording() {
  const calls: string[] = [];
  const module = defineModule('recorder', {
    onStart: () => void calls.push('module starts'),
    onStop: () => void calls.push('module stops'),
    setup: (m) => m.handle('test.happened', () => void calls.push('handled'), { name: 'record' }),
  });
  const edge: Edge = {
    name: 'edge',
    start: async () => void calls.push('edge starts'),
    stop: async () => void calls.push('edge stops'),
  };
  return { calls, module, edge };
}

describe('createServer', () => {
  it('starts the bus before the edges and stops in reverse order, once', async () => {
    const { calls, module, edge } = recording();
    const server = createServer({ modules: [module], engine: () => memory() }, { edges: () => [edge] });
    expect(() => server.bus).toThrow(expect.objectContaining({ code: 'CARILLON_STOPPED' }));
    await server.start();
    await server.bus.publish(event);
    await server.bus.drain();
    await Promise.all([server.stop(), server.stop()]);
    expect(calls).toEqual(['module starts', 'edge starts', 'handled', 'edge stops', 'module stops']);
  });

  it('stops the bus again when an edge cannot start', async () => {
    const { calls, module, edge } = recording();
    const broken: Edge = { ...edge, start: () => Promise.reject(new Error('the port is taken')) };
    const server = createServer({ modules: [module], engine: () => memory() }, { edges: () => [broken] });
    await expect(server.start()).rejects.toThrow('the port is taken');
    expect(calls).toEqual(['module starts', 'module stops']);
  });

  it('hands the configuration on: directory, limits, strategies', async () => {
    const { module } = recording();
    let directory = '';
    const server = createServer({
      modules: [module],
      engine: (given) => {
        directory = given;
        return memory();
      },
      dataDirectory: '/somewhere',
      limits: { eventBytesMax: 10 },
      strategies: { 'recorder.record': { timeoutMs: 5 } },
    });
    await server.start();
    expect(directory).toBe('/somewhere');
    expect((await server.bus.subscriptions())[0]?.strategy).toMatchObject({ timeoutMs: 5 });
    const large = toEvent({ ...event, data: 'x'.repeat(20) });
    await expect(server.bus.publish(large)).rejects.toMatchObject({ code: 'CARILLON_EVENT_TOO_LARGE' });
    await server.stop();
  });

  it('refuses to start with strategies for nobody', async () => {
    const server = createServer({ engine: () => memory(), strategies: { 'a.b': {} } });
    await expect(server.start()).rejects.toThrow(/"a\.b"/);
  });

  it('needs an engine', () => {
    expect(() => createServer({})).toThrow(expect.objectContaining({ details: { option: 'engine' } }));
  });

  it('observes what the bus does, and tells when the engine fails', async () => {
    const { module } = recording();
    const observed: Observation['kind'][] = [];
    let host: EngineHost | undefined;
    const engine = (): Engine => {
      const made = memory();
      const open = made.open.bind(made);
      made.open = (given) => {
        host = given;
        return open(given);
      };
      return made;
    };
    const server = createServer({ modules: [module], engine }, { observe: ({ kind }) => observed.push(kind) });
    await server.start();
    await server.bus.publish(event);
    await server.bus.drain();
    host?.onFailure(carillonError('CARILLON_ENGINE_FAILED', 'fsync failed'));
    expect((await server.failed).message).toBe('fsync failed');
    expect(await server.bus.health()).toMatchObject({ status: 'failed', reasons: ['fsync failed'] });
    expect(observed).toEqual(expect.arrayContaining(['published', 'delivery-start', 'delivery-end', 'engine-failed']));
    await server.stop();
  });
});
