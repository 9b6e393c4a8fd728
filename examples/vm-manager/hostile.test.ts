import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { catalogue, type Event, isCarillonError } from 'carillon';
import { afterEach, describe, expect, it } from 'vitest';
import { VmConfigureRequested, VmCreateRequested, VmSnapshotRequested, VmStartRequested } from './events.ts';
import { type OpenManager, openManager } from './open-manager.ts';
import { placesIn } from './qemu-arguments.ts';

/** What nobody means well with: paths, options, a shell's language, and much of it. */
const hostile = [
  '../x',
  '..',
  '/etc/passwd',
  './a',
  'a/b',
  'a,b=c',
  'a=b',
  '$(id)',
  '`id`',
  'a;reboot',
  'a|b',
  "a'b",
  'a"b',
  'a b',
  '-daemonize',
  '--help',
  'a\nb',
  'a\0b',
  'file:/dev/sda',
  'json:{"driver":"file"}',
  'ä',
  'A',
  '',
  'a'.repeat(37),
  'x'.repeat(1024 * 1024),
];

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function begin(): Promise<{ manager: OpenManager; data: string }> {
  const data = mkdtempSync(join(tmpdir(), 'carillon-vm-'));
  cleanups.push(() => Promise.resolve(rmSync(data, { recursive: true })));
  const manager = await openManager({ data, hypervisor: 'simulated' });
  cleanups.push(() => manager.stop());
  return { manager, data };
}

/** The code of what is thrown, which must be of the catalogue and say it in few words. */
async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (!isCarillonError(error)) throw error;
    if (!Object.hasOwn(catalogue, error.code)) return `${error.code}, which is not in the catalogue`;
    return error.message.length < 10_000 ? error.code : `${error.code}, in ${error.message.length} characters`;
  }
  return 'nothing was refused';
}

/** An event as somebody sends it who does not use the definitions. */
const raw = (type: string, data: unknown, id: string): Event => ({
  specversion: '1.0',
  id,
  source: '/evil',
  type,
  subject: 'x',
  data,
});

describe('what is hostile is refused with an error of the catalogue', () => {
  it.each(hostile.map((text) => [text.slice(0, 40), text]))('as a name: %j', async (_shown, text) => {
    expect(await codeOf(() => VmStartRequested({ vm: text }))).toBe('CARILLON_DATA_INVALID');
    expect(await codeOf(() => VmSnapshotRequested({ vm: 'a', snapshot: text }))).toBe('CARILLON_DATA_INVALID');
    const change = { disks: [{ name: text, sizeMiB: 1 }] };
    expect(await codeOf(() => VmConfigureRequested({ vm: 'a', change }))).toBe('CARILLON_DATA_INVALID');
  });

  it.each(
    [...hostile, 'a.vmdk', '.hidden.raw', 'a/../b.raw', 'a//b.raw', '/a.raw', 'a.raw,b', 'nbd:localhost:1.raw'].map(
      (text) => [text.slice(0, 40), text],
    ),
  )('as an image: %j', async (_shown, image) => {
    expect(await codeOf(() => VmCreateRequested({ vm: 'a', image }))).toBe('CARILLON_DATA_INVALID');
  });

  it.each([
    ['memory', { memoryMiB: 1e9 }],
    ['memory that is text', { memoryMiB: '64,slots=1' }],
    ['half a processor', { cpus: 1.5 }],
    ['no processor', { cpus: 0 }],
    ['a network', { network: 'tap,script=/bin/sh' }],
    ['a crash', { onCrash: 'reboot' }],
    ['a field of its own', { extra: 'x' }],
    ['the prototype', JSON.parse('{"__proto__":{"cpus":2}}')],
    ['nothing', {}],
    [
      'a disk twice',
      {
        disks: [
          { name: 'a', sizeMiB: 1 },
          { name: 'a', sizeMiB: 1 },
        ],
      },
    ],
    ['the boot disk', { disks: [{ name: 'boot', sizeMiB: 1 }] }],
    ['a disk without end', { disks: [{ name: 'a', sizeMiB: 1e12 }] }],
    ['many disks', { disks: Array.from({ length: 9 }, (_, index) => ({ name: `d${index}`, sizeMiB: 1 })) }],
  ])('as a configuration: %s', async (_what, change) => {
    expect(await codeOf(() => VmConfigureRequested({ vm: 'a', change }))).toBe('CARILLON_DATA_INVALID');
  });

  it('also when it comes raw, past the definitions; and nothing is stored or made', async () => {
    const { manager, data } = await begin();
    const before = readdirSync(join(data, 'simulated'));
    let sent = 0;
    for (const text of hostile) {
      for (const type of ['vm.create.requested', 'vm.start.requested', 'vm.delete.requested', 'vm.guest.shutdown']) {
        const code = await codeOf(() => manager.bus.publish(raw(type, { vm: text }, String(sent++))));
        expect(['CARILLON_DATA_INVALID', 'CARILLON_EVENT_TOO_LARGE']).toContain(code);
      }
    }
    const large = raw('vm.start.requested', { vm: 'a', more: 'x'.repeat(2 * 1024 * 1024) }, 'large');
    expect(await codeOf(() => manager.bus.publish(large))).toMatch(/^CARILLON_(DATA_INVALID|EVENT_TOO_LARGE)$/);
    expect((await manager.bus.ends()).last).toBe(0);
    expect(readdirSync(join(data, 'simulated'))).toEqual(before);
    expect(manager.machines()).toEqual([]);
  });

  it.each([
    ['a comma', '/srv/a,readonly=off'],
    ['a line end', '/srv/a\nb'],
    ['a path too long for a socket', `/srv/${'x'.repeat(80)}`],
  ])('as a data folder: %s', async (_what, folder) => {
    expect(await codeOf(() => placesIn(folder))).toBe('CARILLON_OPTION_INVALID');
  });
});
