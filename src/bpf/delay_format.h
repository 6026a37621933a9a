/* SPDX-License-Identifier: LGPL-2.1-or-later OR GPL-2.0-only */
/*
 * What the kernel's part (bpf/delay.bpf.c), who loads it (bpf/delay_loader) and who reads it
 * (collect/kernel/delays) have in common: two maps, the steps of a histogram, and who can be the
 * reason of a wait.  Knows nothing of how either side gets at the maps.
 *
 * A wait is the time from when a thread could run (it woke up, or had to leave its processor) to
 * when it ran.  The reader says in `threads` which processes are VMs, and which of their threads
 * vCPUs, and the program counts their waits in `vcpus`.  Each of the two is written by one side
 * alone, a field at a time, while the other reads: all are at most 64 bits, and none is worth more
 * than what it is checked for.
 */
#pragma once

#include <stdint.h>

/* ---- the steps ---- */

/*
 * Below 2^DELAY_FIRST_BITS nanoseconds there is one step, from there on four of the same width to
 * each doubling, and one more for all that is 2^DELAY_LAST_BITS (2.1 s) or longer.
 */
#define DELAY_FIRST_BITS 8u
#define DELAY_LAST_BITS 31u
#define DELAY_STEPS (4u * (DELAY_LAST_BITS - DELAY_FIRST_BITS) + 2u)

/* The greatest n with 2^n <= @v, which is not 0.  (The kernel's machine has no such instruction.) */
static inline uint32_t delay_log2(uint64_t v)
{
	uint32_t n = 0;

	for (uint32_t bits = 32; bits; bits /= 2)
		if (v >> bits) {
			v >>= bits;
			n += bits;
		}
	return n;
}

/* Which step a wait is of. */
static inline uint32_t delay_step(uint64_t ns)
{
	if (ns < UINT64_C(1) << DELAY_FIRST_BITS)
		return 0;
	if (ns >= UINT64_C(1) << DELAY_LAST_BITS)
		return DELAY_STEPS - 1;
	uint32_t n = delay_log2(ns);

	return 1 + 4 * (n - DELAY_FIRST_BITS) + (uint32_t)(ns >> (n - 2) & 3);
}

/* The shortest wait of a step; of DELAY_STEPS: where the last one would end, if it did. */
static inline uint64_t delay_step_from(uint32_t step)
{
	return step ? (UINT64_C(4) + (step - 1) % 4)
			<< (DELAY_FIRST_BITS - 2 + (step - 1) / 4)
		    : 0;
}

/* ---- whom a thread waits for ---- */

/* Who had its processor meanwhile. */
enum delay_owner {
	DELAY_BY_VMS,  /* other VMs, whichever thread of theirs */
	DELAY_BY_SELF, /* other threads of its own process */
	DELAY_BY_HOST, /* other processes */
	DELAY_BY_KERNEL,
	DELAY_BY_IDLE,    /* nobody: it takes a moment to begin */
	DELAY_BY_QUOTA,   /* it may have been free: the thread was held back by a limit */
	DELAY_BY_UNKNOWN, /* that is too long ago, or was not seen */
	DELAY_OWNERS,
};

/* ---- the maps ---- */

/* Of a vCPU; the program alone writes it. */
struct delay_vcpu {
	uint64_t
		waited_ns; /* by the kernel's own sum, when it came to a processor last */
	uint64_t
		parts_ns; /* of the wait that goes on: what was charged before it moved */
	uint64_t held_ns; /* by limits, when it came last, by the kernel's sums */
	uint64_t
		by_ns[DELAY_OWNERS]; /* all that it waited, single waits counted or not */
	uint64_t max_ns
		[2]; /* of the last two periods that had any, by the last bit of theirs */
	uint32_t use;    /* of delay_bucket.use: which vCPU all this is of */
	uint16_t period; /* in which the last wait ended */
	uint16_t group; /* whose limits those are, as far as it tells that from another */
	uint32_t lost;  /* times that it came unseen, or unheard of: not in the counts */
	uint32_t came;  /* how often it came to a processor, as the kernel counts it */
	uint32_t counts[DELAY_STEPS]; /* of waits that have ended; each modulo 2^32 */
};

/* So many threads stand where one is looked for. */
#define DELAY_BUCKET 8u

/*
 * Threads that are VMs', by the first of their process, or vCPUs; the reader alone writes it.  A
 * thread stands in one place of the bucket that delay_bucket() says, and is there while its tid is
 * not 0, which is written last.
 */
struct delay_bucket {
	uint32_t tid[DELAY_BUCKET]; /* in the reader's name space of processes */
	/* so that nobody is taken for a thread that had that tid before */
	uint32_t start[DELAY_BUCKET]; /* when it started: ticks since boot, modulo 2^32 */
	uint32_t use
		[DELAY_BUCKET]; /* DELAY_FIRST_USE or more; no other thread had it lately */
	uint16_t
		vcpu[DELAY_BUCKET]; /* a vCPU's place in `vcpus`; DELAY_NO_VCPU: a VM's */
	uint16_t period[DELAY_BUCKET]; /* counts the reader's looks */
};

#define DELAY_FIRST_USE 16u
#define DELAY_NO_VCPU UINT16_MAX

#define DELAY_TICK_NS UINT64_C(10000000) /* USER_HZ is 100 wherever there is BPF */

/* @bits: 2^@bits buckets there are; at least 1. */
static inline uint32_t delay_bucket(uint32_t tid, uint32_t bits)
{
	return tid * UINT32_C(0x9e3779b1) >> (32 - bits);
}

/*
 * Behind the last bucket, in the place of one: whether anybody counts.  Who loads the program
 * writes it.
 */
struct delay_head {
	uint32_t detached; /* not 0: nobody does any more, and figures stand still */
};

/* What the program is loaded with. */
struct delay_config {
	uint32_t bucket_bits;
	uint32_t
		pid_namespace; /* the reader's: inode number; 0: the first one, that of the kernel */
};
