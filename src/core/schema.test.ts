import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { assertSchema, type Schema, typed, validate } from './schema.ts';

const libraries: Readonly<Record<string, Schema>> = {
  zod: z.object({ vm: z.object({ name: z.string() }) }),
  valibot: v.object({ vm: v.object({ name: v.string() }) }),
  arktype: type({ vm: { name: 'string' } }),
};

const custom = (validate: Schema['~standard']['validate']): Schema => ({
  '~standard': { version: 1, vendor: 'test', validate },
});

describe.each(Object.entries(libraries))('a schema of %s', (_, schema) => {
  it('is one', () => {
    expect(() => assertSchema(schema, 'data')).not.toThrow();
  });

  it('lets through and refuses, with the path', () => {
    expect(validate(schema, { vm: { name: 'x' } }, 'vm.start', {})).toEqual({ vm: { name: 'x' } });
    expect(() => validate(schema, { vm: { name: 1 } }, 'vm.start', { type: 'vm.start' })).toThrow(
      expect.objectContaining({
        code: 'CARILLON_DATA_INVALID',
        message: expect.stringMatching(/^data of vm\.start is not valid: vm\.name: /),
        details: { type: 'vm.start', issues: [{ path: 'vm.name', message: expect.any(String) }] },
      }),
    );
  });
});

describe('validate', () => {
  it('gives the output, not the input', () => {
    expect(validate(z.string().transform(Number), '5', 'x', {})).toBe(5);
  });

  it('refuses an asynchronous schema, and its later failure ends nothing', async () => {
    for (const schema of [z.string().refine(async () => true), custom(() => Promise.reject(new Error('late')))]) {
      expect(() => validate(schema, 'x', 'x', {})).toThrow(expect.objectContaining({ code: 'CARILLON_SCHEMA_ASYNC' }));
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  });

  it('tells paths of objects, keys and symbols, and issues without one', () => {
    const schema = custom(() => ({
      issues: [{ message: 'whole' }, { message: 'part', path: ['a', { key: 0 }, Symbol('s')] }],
    }));
    expect(() => validate(schema, 'x', 'x', {})).toThrow('data of x is not valid: whole; a.0.Symbol(s): part');
  });
});

describe('assertSchema', () => {
  it.each([
    undefined,
    null,
    {},
    () => true,
    5,
    { '~standard': { version: 2, validate: () => 1 } },
    { '~standard': { version: 1 } },
  ])('refuses %s', (schema) => {
    expect(() => assertSchema(schema, 'data')).toThrow(expect.objectContaining({ code: 'CARILLON_SCHEMA_INVALID' }));
  });
});

describe('typed', () => {
  it('lets everything through as it is', () => {
    const value = { a: 1 };
    expect(validate(typed<{ a: number }>(), value, 'x', {})).toBe(value);
    expect(() => assertSchema(typed(), 'data')).not.toThrow();
  });
});
