import { z } from 'zod';

/**
 * What a machine may be asked to be. Everything a user can write is bounded and spelled from a small alphabet: these
 * strings become file names and parts of QEMU's options, where commas, slashes and leading dashes would mean something.
 */

/** Lower-case letters, digits and single dashes between them; so no path, no option, nothing a shell would read. */
const NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
/** Below the folder of images: parts that begin with a letter or digit, so neither `..` nor a hidden file. */
const IMAGE_PATH = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*\.(?:raw|img|qcow2)$/;

/** A UUID fits: 36 characters. Longer names would outgrow the 107 bytes of a socket's path. */
export const NAME_LENGTH_MAX = 36;

export const machineName: z.ZodString = z.string().max(NAME_LENGTH_MAX).regex(NAME);
export const snapshotName: z.ZodString = z.string().max(NAME_LENGTH_MAX).regex(NAME);

export const MEMORY_MIB_MAX = 16_384;
export const CPUS_MAX = 16;
export const DISKS_MAX = 8;

const memoryMiB = z.number().int().min(32).max(MEMORY_MIB_MAX).multipleOf(16);
const cpus = z.number().int().min(1).max(CPUS_MAX);
const disk = z.strictObject({
  name: machineName.refine((name) => name !== 'boot', 'the boot disk is there already'),
  sizeMiB: z
    .number()
    .int()
    .min(1)
    .max(1024 * 1024),
});
const disks = z
  .array(disk)
  .max(DISKS_MAX)
  .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'two disks have one name');
/** `user`: QEMU's own network, cut off from the host and the world (`restrict=on`). */
const network = z.enum(['none', 'user']);
/** What follows when the process dies unasked: nothing, or a start, three times at most until somebody asks for one. */
const onCrash = z.enum(['leave', 'restart']);

const fields = { memoryMiB, cpus, disks, network, onCrash };

export const machineConfig = z.strictObject({
  memoryMiB: memoryMiB.default(64),
  cpus: cpus.default(1),
  disks: disks.default([]),
  network: network.default('none'),
  onCrash: onCrash.default('leave'),
});

/** The fields to change; those left out stay. Disks are the whole new list. */
export const configChange = z
  .strictObject(fields)
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'nothing to change');

/** A path below the folder of images; its ending is its format, never guessed from the content. */
export const imagePath: z.ZodString = z.string().max(200).regex(IMAGE_PATH);

export type MachineConfig = z.output<typeof machineConfig>;
export type ConfigChange = z.output<typeof configChange>;
export type ConfigField = keyof MachineConfig;

export const configFields: readonly ConfigField[] = ['memoryMiB', 'cpus', 'disks', 'network', 'onCrash'];

/** The fields in which two configurations differ. */
export function changedFields(from: MachineConfig, to: MachineConfig): ConfigField[] {
  return configFields.filter((field) => JSON.stringify(from[field]) !== JSON.stringify(to[field]));
}
