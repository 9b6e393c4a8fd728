import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { absent, type MachineRecord, recordsInFolder } from './records.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
const newFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-records-'));
  folders.push(folder);
  return folder;
};
const record = (vm: string, change: Partial<MachineRecord> = {}): MachineRecord => ({
  ...absent(vm),
  state: 'stopped',
  ...change,
});
const DAY_MS = 24 * 3_600_000;

describe('records in a folder', () => {
  it('are there again, the last write of each machine', async () => {
    const folder = newFolder();
    const first = await recordsInFolder(folder, 0);
    await Promise.all([first.write(record('a')), first.write(record('b')), first.write(record('c'))]);
    await first.write(record('b', { state: 'crashed', snapshots: ['s'] }));
    await first.close();
    const second = await recordsInFolder(folder, 0);
    expect(second.all()).toEqual([record('a'), record('b', { state: 'crashed', snapshots: ['s'] }), record('c')]);
    expect(second.get('none')).toEqual(absent('none'));
    await second.close();
  });

  it('are on the disk when the write resolves', async () => {
    const folder = newFolder();
    const records = await recordsInFolder(folder, 0);
    await records.write(record('a', { changedMs: 7 }));
    expect(readFileSync(join(folder, 'records.jsonl'), 'utf8')).toContain('"changedMs":7');
    await records.close();
  });

  it('forget the line that a crash has cut off, and no other', async () => {
    const folder = newFolder();
    const first = await recordsInFolder(folder, 0);
    await first.write(record('a'));
    await first.close();
    appendFileSync(join(folder, 'records.jsonl'), '{"vm":"a","state":"cra');
    const second = await recordsInFolder(folder, 0);
    expect(second.all()).toEqual([record('a')]);
    await second.write(record('a', { state: 'crashed' }));
    await second.close();
    const third = await recordsInFolder(folder, 0);
    expect(third.get('a').state).toBe('crashed');
    await third.close();
  });

  it.each(['nonsense\n', '{"vm":"../x"}\n', '{"vm":"a","state":"flying"}\n'])('refuse to open on %j', async (line) => {
    const folder = newFolder();
    writeFileSync(join(folder, 'records.jsonl'), line);
    await expect(recordsInFolder(folder, 0)).rejects.toMatchObject({ code: 'CARILLON_STORAGE_CORRUPT' });
  });

  it('keep the memory of a deleted machine for a day', async () => {
    const folder = newFolder();
    const first = await recordsInFolder(folder, 0);
    await first.write(absent('gone'));
    await first.close();
    const second = await recordsInFolder(folder, DAY_MS);
    expect(second.all()).toHaveLength(1);
    await second.close();
    const third = await recordsInFolder(folder, DAY_MS + 1);
    expect(third.all()).toHaveLength(0);
    await third.close();
  });

  it('do not grow without end', async () => {
    const folder = newFolder();
    const records = await recordsInFolder(folder, 0);
    for (let round = 0; round < 12; round++) {
      await Promise.all(
        Array.from({ length: 1000 }, (_, index) => records.write(record('a', { changedMs: round * 1000 + index }))),
      );
    }
    const lines = readFileSync(join(folder, 'records.jsonl'), 'utf8').split('\n').length;
    expect(lines).toBeLessThan(11_002);
    await records.close();
    const again = await recordsInFolder(folder, 0);
    expect(again.get('a').changedMs).toBe(11_999);
    await again.close();
  });

  it('go on after a write that failed, in a file of their own', async () => {
    const folder = newFolder();
    const records = await recordsInFolder(folder, 0);
    await records.write(record('a'));
    // The handle is closed under its owner, as a disk that goes away does it.
    await (records as unknown as { file: { close(): Promise<void> } }).file.close();
    await expect(records.write(record('a', { state: 'crashed' }))).rejects.toMatchObject({ code: 'EBADF' });
    expect(records.get('a').state).toBe('stopped');
    await records.write(record('b'));
    await records.close();
    const again = await recordsInFolder(folder, 0);
    expect(again.all()).toEqual([record('a'), record('b')]);
    await again.close();
  });
});
