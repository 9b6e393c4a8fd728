import { open, rm } from 'node:fs/promises';

const CHUNKS = [1024 * 1024, 64 * 1024, 4 * 1024, 512];

/** Fills the file system that `path` lies on, to its last block. */
export async function fill(path) {
  const file = await open(path, 'w');
  try {
    for (const size of CHUNKS) while (await wrote(file, Buffer.alloc(size, 1)));
  } finally {
    await file.close();
  }
}

/** A full disk shows as an error, or as a short write without one. */
async function wrote(file, chunk) {
  try {
    return (await file.write(chunk)).bytesWritten === chunk.length;
  } catch (error) {
    if (error.code === 'ENOSPC') return false;
    throw error;
  }
}

export const free = (path) => rm(path, { force: true });
