import { describe, expect, it } from 'vitest';
import { createLifecycle, type Part } from './lifecycle.ts';

function parts(failures: Readonly<Record<string, 'start' | 'stop'>> = {}) {
  const calls: string[] = [];
  const part = (name: string): Part => {
    const call = (what: 'start' | 'stop') => async () => {
      calls.push(`${what} ${name}`);
      if (failures[name] === what) throw new Error(`${what} ${name} failed`);
    };
    return { name, start: call('start'), stop: call('stop') };
  };
  return { calls, lifecycle: createLifecycle([part('a'), part('b'), part('c')]) };
}

describe('createLifecycle', () => {
  it('starts in order and stops in reverse order, once', async () => {
    const { calls, lifecycle } = parts();
    await lifecycle.start();
    await lifecycle.stop();
    await lifecycle.stop();
    expect(calls).toEqual(['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a']);
  });

  it('stops what was started when a start fails', async () => {
    const { calls, lifecycle } = parts({ c: 'start' });
    await expect(lifecycle.start()).rejects.toThrow('start c failed');
    expect(calls).toEqual(['start a', 'start b', 'start c', 'stop b', 'stop a']);
  });

  it('stops all although one stop fails, and tells the first failure', async () => {
    const { calls, lifecycle } = parts({ c: 'stop', a: 'stop' });
    await lifecycle.start();
    await expect(lifecycle.stop()).rejects.toThrow('stop c failed');
    expect(calls.slice(3)).toEqual(['stop c', 'stop b', 'stop a']);
  });
});
