/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which VM's vCPUs waited for which other VM, as the program in the kernel counts it: the reader's
 * side of `pairs` (bpf/delay_format.h), and what VMs are called whose processes stand there as
 * numbers.  What it adds up to is a struct blame.  Belongs to collect/kernel/delays, and to its one
 * thread.
 *
 * A VM has one use as long as it is known here: also when it is started again, and until five minutes
 * after its end.  So time that was counted stays with it.  Who has the maps next knows VMs again whose
 * processes still run, and forgets the others' pairs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bpf/delay_format.h"

struct blame;
struct delay_pairs_reader;
struct delay_vm;
struct vm_ident;

/*
 * Maps them; @fd stays the caller's.  @bits: of bpf/delay_maps.h; @now_ns: monotonic, as below.
 * Return: NULL if they cannot be mapped (errno).
 */
struct delay_pairs_reader *delay_pairs_new(int fd, uint32_t bits, int64_t now_ns);
void delay_pairs_free(struct delay_pairs_reader *p); /* NULL is accepted */

/* The greatest use that stands there. */
uint32_t delay_pairs_last_use(const struct delay_pairs_reader *p);

/* A VM that runs, which is told so at each turn.  Return: until it was not for long; not NULL. */
struct delay_vm *delay_pairs_vm(
	struct delay_pairs_reader *p, const struct vm_ident *ident, int64_t now_ns);

/* Its process's use, 0: it has none yet; delays_tell_process() knows, and may give it another one. */
uint32_t *delay_vm_use(struct delay_vm *vm);

/* Adds for what its vCPUs waited, of delay_spread.by. */
void delay_vm_waited(struct delay_vm *vm, const uint64_t by[DELAY_OWNERS]);

/* A turn is over: reads what was counted, and gives back places of who is gone. */
void delay_pairs_turn(struct delay_pairs_reader *p, int64_t now_ns);

/* All that is known by the last turn; the caller's, with one reference. */
struct blame *delay_pairs_blame(struct delay_pairs_reader *p);

struct delay_pairs_counts {
	size_t pairs;     /* that have a place */
	size_t room;      /* places */
	uint64_t lost_ns; /* of pairs that had none */
};

struct delay_pairs_counts delay_pairs_counts(const struct delay_pairs_reader *p);
