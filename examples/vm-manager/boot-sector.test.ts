import { expect, it } from 'vitest';
import { bootCode, bootSector, GUEST_DOWN, GUEST_UP } from './boot-sector.ts';

it('makes a sector that a BIOS boots, with both lines in it', () => {
  const sector = Buffer.from(bootSector());
  expect(sector).toHaveLength(512);
  expect([...sector.subarray(510)]).toEqual([0x55, 0xaa]);
  expect(sector.toString('latin1')).toContain(`${GUEST_UP}\r\n\0`);
  expect(sector.toString('latin1')).toContain(`${GUEST_DOWN}\r\n\0`);
});

it('points at its two lines', () => {
  const sector = Buffer.from(bootSector());
  const lines = bootCode
    .filter(([, [opcode]]) => opcode === 0xbe)
    .map(([, [, low = 0, high = 0]]) => low + high * 256 - 0x7c00);
  expect(lines.map((at) => sector.toString('latin1', at, sector.indexOf(0, at)))).toEqual([
    `${GUEST_UP}\r\n`,
    `${GUEST_DOWN}\r\n`,
  ]);
});

it('jumps to the beginning of an instruction, the one that its comment names', () => {
  const starts = new Set(bootCode.map(([at]) => at));
  const labels = new Map(
    bootCode.flatMap(([at, , text]) => (/^(\w+):/.test(text) ? [[text.split(':')[0], at] as const] : [])),
  );
  let jumps = 0;
  for (const [at, bytes, text] of bootCode) {
    const [, name] = /^(?:\w+: )?(?:jz|jmp|call) (\w+)/.exec(text) ?? [];
    if (name === undefined) continue;
    jumps++;
    const operand = Buffer.from(bytes.slice(1));
    const offset = operand.length === 2 ? operand.readInt16LE() : operand.readInt8();
    const target = at + bytes.length + offset;
    expect([text, starts.has(target)]).toEqual([text, true]);
    expect([text, labels.get(name)]).toEqual([text, target]);
  }
  expect(jumps).toBe(7);
});
