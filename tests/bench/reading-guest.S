/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A boot sector that halts, as guest_start_halting()'s does, but reads a sector of its disk for each
 * byte that comes over its serial line.  In between nothing of its QEMU runs.
 */
	.code16
	.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp

	/* the timer runs out, once (mode 0) */
	mov $0x30, %al
	out %al, $0x43
	mov $0xff, %al
	out %al, $0x40
	out %al, $0x40

	/* interrupt 4 is the serial line's, the only one that is let through */
	movw $received, 4 * (8 + 4)
	movw $0, 4 * (8 + 4) + 2
	mov $0x3f9, %dx /* interrupt enable: received data */
	mov $1, %al
	out %al, %dx
	mov $0x3fc, %dx /* modem control: DTR, RTS, OUT2, without which there is no interrupt */
	mov $0x0b, %al
	out %al, %dx
	mov $0xef, %al
	out %al, $0x21
	mov $0xff, %al
	out %al, $0xa1

	/* what is in the buffer by now would never interrupt */
	mov $0x3f8, %dx
	in %dx, %al
wait:
	cli
	cmpw $0, count
	jne read
	sti /* takes effect behind the next instruction: no interrupt comes in between */
	hlt
	jmp wait
read:
	decw count
	sti
	mov $0x0201, %ax /* read, one sector */
	mov $0x0001, %cx
	mov $0x0080, %dx
	mov $0x8000, %bx
	int $0x13
	jmp wait

received:
	push %ax
	push %dx
1:	mov $0x3f8, %dx
	in %dx, %al
	incw count
	mov $0x3fd, %dx /* line status: another one is there */
	in %dx, %al
	test $1, %al
	jnz 1b
	mov $0x20, %al
	out %al, $0x20
	pop %dx
	pop %ax
	iret

count:	.word 0
	.org 510
	.word 0xaa55
