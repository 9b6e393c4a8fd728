import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Frames } from './frames.ts';

const frame = (kind: string, body: string): Buffer => {
  const head = Buffer.alloc(5);
  head.write(kind);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, Buffer.from(body)]);
};

function framesTo(seen: string[], goOn: (row: string) => boolean = () => true): Frames {
  return new Frames({
    row: (bytes, start, end) => {
      const row = bytes.toString('utf8', start, end);
      seen.push(row);
      return goOn(row);
    },
    other: (whole) => seen.push(`${whole.toString('utf8', 0, 1)}:${whole.toString('utf8', 5)}`),
  });
}

describe('frames', () => {
  it('are the same however the bytes are cut, and whenever they are held', () => {
    const bodies = fc.array(fc.tuple(fc.constantFrom('d', 'N'), fc.string({ unit: 'grapheme-ascii', maxLength: 30 })));
    fc.assert(
      fc.property(
        bodies,
        fc.array(fc.nat(40), { minLength: 1 }),
        fc.array(fc.boolean(), { minLength: 1 }),
        (all, cuts, holds) => {
          const bytes = Buffer.concat(all.map(([kind, body]) => frame(kind, body)));
          const seen: string[] = [];
          let rows = 0;
          const frames = framesTo(seen, () => holds[rows++ % holds.length] === true);
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const size = 1 + (cuts[turn % cuts.length] as number);
            frames.push(bytes.subarray(at, at + size));
            at += size;
            if (turn % 3 === 0) frames.resume();
          }
          while (frames.held) frames.resume();
          expect(seen).toEqual(all.map(([kind, body]) => (kind === 'd' ? body : `${kind}:${body}`)));
        },
      ),
    );
  });

  it('hand out nothing while held', () => {
    const seen: string[] = [];
    const frames = framesTo(seen, (row) => row !== 'stop');
    frames.push(Buffer.concat([frame('d', 'a'), frame('d', 'stop'), frame('d', 'b')]));
    frames.push(frame('d', 'c'));
    expect(seen).toEqual(['a', 'stop']);
    frames.resume();
    expect(seen).toEqual(['a', 'stop', 'b', 'c']);
  });
});
