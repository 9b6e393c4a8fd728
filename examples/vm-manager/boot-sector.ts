/**
 * A guest that needs no download: one boot sector of our own, 512 bytes, put together by hand. It prints a line to the
 * first serial port, waits for the ACPI power button, prints another line and powers the machine off.
 *
 * It is written for QEMU's `pc` machine (an Intel PIIX4). The power button sets bit 8 of the status register PM1_STS, if
 * bit 8 of PM1_EN allows it; writing SLP_EN with sleep type 0 to PM1_CNT turns the power off. The registers stand where
 * the BIOS put them: at the base that register 0x40 of PCI device 0:1.3 tells. Between two looks the processor is
 * halted until the BIOS's clock ticks, 18 times a second; the interrupt that the button itself raises is masked, or
 * it would come without end.
 *
 * Each line below is the machine code of one instruction (16-bit real mode, Intel syntax beside it). Jumps are relative
 * to the instruction that follows; the comments and labels tell where they lead, and a test follows them.
 */
export const bootCode: readonly (readonly [at: number, bytes: readonly number[], instruction: string])[] = [
  [0x00, [0xfa], 'cli'],
  [0x01, [0x31, 0xc0], 'xor ax, ax'],
  [0x03, [0x8e, 0xd8], 'mov ds, ax'],
  [0x05, [0x8e, 0xd0], 'mov ss, ax'],
  [0x07, [0xbc, 0x00, 0x7c], 'mov sp, 0x7c00          ; the stack grows down from this code'],
  [0x0a, [0xfc], 'cld'],
  [0x0b, [0xbe, 0x63, 0x7c], 'mov si, 0x7c63          ; the first line'],
  [0x0e, [0xe8, 0x3b, 0x00], 'call print              ; 0x4c'],
  [0x11, [0x66, 0xb8, 0x40, 0x0b, 0x00, 0x80], 'mov eax, 0x80000b40     ; bus 0, device 1, function 3, register 0x40'],
  [0x17, [0xba, 0xf8, 0x0c], 'mov dx, 0xcf8           ; PCI configuration address'],
  [0x1a, [0x66, 0xef], 'out dx, eax'],
  [0x1c, [0xb2, 0xfc], 'mov dl, 0xfc            ; PCI configuration data'],
  [0x1e, [0x66, 0xed], 'in eax, dx'],
  [0x20, [0x83, 0xe0, 0xc0], 'and ax, 0xffc0          ; the lowest bits are flags'],
  [0x23, [0x89, 0xc3], 'mov bx, ax              ; bx: base of the power management registers'],
  [0x25, [0xe4, 0xa1], 'in al, 0xa1             ; mask of the second interrupt controller'],
  [0x27, [0x0c, 0x02], 'or al, 2                ; not interrupt 9, which the button raises'],
  [0x29, [0xe6, 0xa1], 'out 0xa1, al'],
  [0x2b, [0x8d, 0x57, 0x02], 'lea dx, [bx+2]          ; PM1_EN'],
  [0x2e, [0xed], 'in ax, dx'],
  [0x2f, [0x80, 0xcc, 0x01], 'or ah, 1                ; bit 8: the power button'],
  [0x32, [0xef], 'out dx, ax'],
  [0x33, [0xfb], 'sti'],
  [0x34, [0xf4], 'wait: hlt               ; until the clock ticks'],
  [0x35, [0x89, 0xda], 'mov dx, bx              ; PM1_STS'],
  [0x37, [0xed], 'in ax, dx'],
  [0x38, [0xf6, 0xc4, 0x01], 'test ah, 1              ; bit 8: was it pressed?'],
  [0x3b, [0x74, 0xf7], 'jz wait                 ; 0x34'],
  [0x3d, [0xbe, 0x78, 0x7c], 'mov si, 0x7c78          ; the second line'],
  [0x40, [0xe8, 0x09, 0x00], 'call print              ; 0x4c'],
  [0x43, [0x8d, 0x57, 0x04], 'lea dx, [bx+4]          ; PM1_CNT'],
  [0x46, [0xb8, 0x00, 0x20], 'mov ax, 0x2000          ; SLP_EN, type 0: off'],
  [0x49, [0xef], 'out dx, ax'],
  [0x4a, [0xeb, 0xe8], 'jmp wait                ; 0x34'],
  [0x4c, [0xac], 'print: lodsb            ; the next character'],
  [0x4d, [0x84, 0xc0], 'test al, al'],
  [0x4f, [0x74, 0x11], 'jz done                 ; 0x62: a zero ends the line'],
  [0x51, [0x88, 0xc4], 'mov ah, al'],
  [0x53, [0xba, 0xfd, 0x03], 'mov dx, 0x3fd           ; line status of the serial port'],
  [0x56, [0xec], 'busy: in al, dx'],
  [0x57, [0xa8, 0x20], 'test al, 0x20           ; ready to send?'],
  [0x59, [0x74, 0xfb], 'jz busy                 ; 0x56'],
  [0x5b, [0x88, 0xe0], 'mov al, ah'],
  [0x5d, [0xb2, 0xf8], 'mov dl, 0xf8            ; 0x3f8: data of the serial port'],
  [0x5f, [0xee], 'out dx, al'],
  [0x60, [0xeb, 0xea], 'jmp print               ; 0x4c'],
  [0x62, [0xc3], 'done: ret'],
];

/** What the guest prints when it is up, and when the power button was pressed. */
export const GUEST_UP = 'carillon guest: up';
export const GUEST_DOWN = 'carillon guest: power button';

const SECTOR_BYTES = 512;
const SIGNATURE = [0x55, 0xaa] as const;

/** The sector. Refuses to make one whose parts do not stand where the code says they do. */
export function bootSector(): Uint8Array {
  const sector = Buffer.alloc(SECTOR_BYTES);
  let end = 0;
  const place = (at: number, bytes: Uint8Array | readonly number[]): void => {
    if (at !== end) throw new Error(`the boot sector has a gap or an overlap at 0x${at.toString(16)}`);
    sector.set(bytes, at);
    end = at + bytes.length;
  };
  for (const [at, bytes] of bootCode) place(at, bytes);
  place(0x63, Buffer.from(`${GUEST_UP}\r\n\0`, 'latin1'));
  place(0x78, Buffer.from(`${GUEST_DOWN}\r\n\0`, 'latin1'));
  sector.set(SIGNATURE, SECTOR_BYTES - SIGNATURE.length);
  return sector;
}
