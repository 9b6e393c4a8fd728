import { join } from 'node:path';
import { carillonError } from 'carillon';
import { CPUS_MAX, MEMORY_MIB_MAX, NAME_LENGTH_MAX, type MachineConfig } from './config.ts';

/** Where things stand below the data folder. */
export interface Places {
  readonly data: string;
  /** Images that users may start from. */
  readonly images: string;
  /** One folder a machine. */
  readonly machines: string;
  /** QMP sockets, in a folder that only this user may enter. */
  readonly sockets: string;
}

/** A socket's path has 108 bytes on Linux and 104 elsewhere, with the zero at its end. */
const SOCKET_PATH_BYTES_MAX = 103;

/**
 * Fails with `CARILLON_OPTION_INVALID` on a data folder that could not be told to QEMU: it reads commas and control
 * characters as its own, and a socket's path is short.
 */
export function placesIn(data: string): Places {
  const refuse = (why: string): never => {
    throw carillonError('CARILLON_OPTION_INVALID', `the data folder ${JSON.stringify(data)} ${why}`, {
      option: 'data',
    });
  };
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  if (/[,\u0000-\u001f\u007f]/.test(data)) refuse('has a comma or a control character in its path');
  const sockets = join(data, 'sockets');
  const longest = Buffer.byteLength(join(sockets, `${'x'.repeat(NAME_LENGTH_MAX)}.qmp`));
  if (longest > SOCKET_PATH_BYTES_MAX) refuse(`is too deep: a socket in it would have a path of ${longest} bytes`);
  return { data, images: join(data, 'images'), machines: join(data, 'machines'), sockets };
}

export const folderOf = (places: Places, vm: string): string => join(places.machines, vm);
export const socketOf = (places: Places, vm: string): string => join(places.sockets, `${vm}.qmp`);
export const diskOf = (places: Places, vm: string, disk: string): string =>
  join(folderOf(places, vm), disk === 'boot' ? 'boot.qcow2' : `disk-${disk}.qcow2`);

/** The node that a disk's drive is called by inside QEMU. */
export const nodeOf = (disk: string): string => (disk === 'boot' ? 'boot' : `disk-${disk}`);

/** A disk as `-blockdev` and `blockdev-add` take it: the format fixed, never guessed from what a guest wrote. */
export function blockNode(places: Places, vm: string, disk: string): Record<string, unknown> {
  return {
    'node-name': nodeOf(disk),
    driver: 'qcow2',
    // A backing file would let a disk read any file of the host.
    backing: null,
    file: { driver: 'file', filename: diskOf(places, vm, disk) },
  };
}

export const SERIAL_BYTES = 65_536;
/** More than the most that a machine can have: QEMU wants room above what is there at first. */
const MEMORY_ROOM_MIB = MEMORY_MIB_MAX + 1024;
const SLOTS = 32;

export interface QemuMachine {
  readonly vm: string;
  readonly run: string;
  readonly config: MachineConfig;
  readonly accelerator: 'kvm' | 'tcg';
}

/**
 * QEMU's arguments, a list that no shell sees. Whatever a user chose is either a number, a name of the small alphabet, or
 * inside JSON. The process may not start others, change its rights or its limits (`-sandbox`); it has no devices but those
 * listed here, reads no configuration of the host's, and its serial port ends in a ring of fixed size.
 */
export function qemuArguments(places: Places, { vm, run, config, accelerator }: QemuMachine): string[] {
  const disks = ['boot', ...config.disks.map(({ name }) => name)];
  return [
    ['-no-user-config', '-nodefaults'],
    ['-name', `guest=${vm}`, '-uuid', run],
    ['-machine', 'pc', '-accel', accelerator],
    ['-m', `size=${config.memoryMiB}M,slots=${SLOTS},maxmem=${MEMORY_ROOM_MIB}M`],
    ['-smp', `cpus=${config.cpus},sockets=1,cores=${CPUS_MAX},threads=1,maxcpus=${CPUS_MAX}`],
    ['-display', 'none', '-device', 'VGA'],
    disks.flatMap((disk) => ['-blockdev', JSON.stringify(blockNode(places, vm, disk))]),
    ['-device', 'ide-hd,id=boot,drive=boot,bootindex=0'],
    config.disks.flatMap(({ name }) => ['-device', `virtio-blk-pci,id=disk-${name},drive=${nodeOf(name)}`]),
    config.network === 'user'
      ? ['-netdev', 'user,id=net,restrict=on', '-device', 'virtio-net-pci,id=nic,netdev=net']
      : [],
    ['-chardev', `ringbuf,id=serial,size=${SERIAL_BYTES}`, '-serial', 'chardev:serial'],
    ['-chardev', `socket,id=qmp,path=${socketOf(places, vm)},server=on,wait=off`, '-mon', 'chardev=qmp,mode=control'],
    ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ].flat();
}
