/** Where and how the SQLite engine keeps its data. */
export interface SqliteOptions {
  /** The directory of the data; made when it is not there. One process at a time. */
  readonly directory: string;
  /**
   * Disk space set aside, in bytes, so that acknowledgements and dead letters can still be written when the disk is
   * full. Default 4 MiB; 0 sets none aside.
   */
  readonly reserveBytes?: number;
  /**
   * Whether a commit waits for the disk (`full`, the default), or only for the operating system (`off`: survives the
   * end of the process, not of the machine). `off` is for tests that prove the difference.
   */
  readonly sync?: 'full' | 'off';
}

export const RESERVE_BYTES_DEFAULT: number = 4 * 1024 * 1024;

/** Files of the data directory. */
export const files: {
  readonly database: string;
  /** Locked by the process that owns the directory, for as long as it lives. */
  readonly lock: string;
  /** Says which process that is. */
  readonly owner: string;
  readonly reserve: string;
} = {
  database: 'carillon.db',
  lock: 'carillon.lock',
  owner: 'carillon.owner.json',
  reserve: 'carillon.reserve',
};
