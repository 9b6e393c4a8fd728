import type { AttemptRecord, Limits } from '../../core/index.ts';

/** The records with one more; past `limits.attemptRecordsMax` the first one and the latest ones are kept. */
export function keepRecords(
  records: readonly AttemptRecord[],
  record: AttemptRecord,
  limits: Limits,
): readonly AttemptRecord[] {
  const all = [...records, record];
  const surplus = all.length - Math.max(2, limits.attemptRecordsMax);
  if (surplus > 0) all.splice(1, surplus);
  return all;
}

/** Of attempts that were all cut short by crashes: each failure of another kind has its record in a row. */
export function crashRecords(attempts: number, atMs: number, limits: Limits): readonly AttemptRecord[] {
  let records: readonly AttemptRecord[] = [];
  for (let attempt = 1; attempt <= attempts; attempt++) {
    records = keepRecords(records, crashRecord(attempt, atMs), limits);
  }
  return records;
}

/** Of an attempt that ended with the process. */
export function crashRecord(attempt: number, atMs: number): AttemptRecord {
  const message = 'the process ended while this attempt may have been running';
  const error = { name: 'CarillonError', code: 'CARILLON_CRASHED', message };
  return { attempt, atMs, durationMs: 0, worker: 'unknown', error };
}
