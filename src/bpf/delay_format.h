/* SPDX-License-Identifier: LGPL-2.1-or-later OR GPL-2.0-only */
/*
 * What the kernel's part (bpf/delay.bpf.c), who loads it (bpf/delay_loader) and who reads it
 * (collect/kernel/delays, delay_pairs) have in common: three maps, the steps of a histogram, and who
 * can be the reason of a wait.  Knows nothing of how either side gets at the maps.
 *
 * A wait is the time from when a thread could run (it woke up, or had to leave its processor) to
 * when it ran.  The reader says in `threads` which processes are VMs, and which of their threads
 * vCPUs, and the program counts their waits in `vcpus`.  Each of the two is written by one side
 * alone, a field at a time, while the other reads: all are at most 64 bits, and none is worth more
 * than what it is checked for.  In `pairs` it counts which VM waited for which; who writes what there
 * is said below.
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
	uint64_t
		held_ns; /* by limits, when it came or moved last, by the kernel's sums */
	uint64_t
		by_ns[DELAY_OWNERS]; /* all that it waited, single waits counted or not */
	uint64_t max_ns
		[2]; /* of the last two periods that had any, by the last bit of theirs */
	uint32_t use;    /* of delay_bucket.use: which vCPU all this is of */
	uint16_t period; /* in which the last wait ended */
	uint16_t limit;  /* of what that is, as far as it tells that from another */
	uint32_t lost;   /* times that it came unseen, or unheard of: not in the counts */
	uint32_t came;   /* how often it came to a processor, as the kernel counts it */
	uint32_t slept;  /* how often it had gone to sleep by then */
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

/* ---- which VM waited for which ---- */

/* So many pairs stand where one is looked for; their keys are a line of memory. */
#define DELAY_PAIRS 8u

/*
 * For how long one VM's vCPUs waited while another one had their processor.  A pair stands in the
 * bucket that delay_pair_bucket() says, usually once: in each place that it has there is a part of its
 * time.  Who writes what of a place:
 *
 *   key: 0            by the program, to a pair's key, by compare-and-swap.  Whoever has it from then on
 *                     finds it there, for nobody but the reader changes it again.
 *   key: a pair's     by the reader, to DELAY_PAIR_DEAD, when it has forgotten one of the two VMs.
 *   key: that         by the reader, to 0, a minute later, after it has set ns to 0.
 *   ns                by the program, which adds to it when it has found the key of the pair; by the
 *                     reader as above.
 *
 * No pair is ever given another one's time.  A use is of one VM for ever, so a key has one meaning.  The
 * program adds to a place right after it has read the pair's key there, within one switch of a
 * processor whose interrupts are off; whatever of that began before the reader wrote DELAY_PAIR_DEAD is
 * over a minute later (the kernel calls ten seconds of it a lockup), and what begins later finds
 * another key.  So nobody adds to a place between when its ns becomes 0 and when its key is another's.
 */
struct delay_pairs {
	uint64_t key[DELAY_PAIRS]; /* delay_pair_key(); 0: free */
	uint64_t ns[DELAY_PAIRS];
};

#define DELAY_PAIR_DEAD UINT64_C(1) /* no pair's: DELAY_FIRST_USE */

/* @victim, @culprit: the uses of VMs' processes, of who waited, and who had the processor. */
static inline uint64_t delay_pair_key(uint32_t victim, uint32_t culprit)
{
	return (uint64_t)victim << 32 | culprit;
}

/* @bits: 2^@bits buckets there are; at least 1. */
static inline uint32_t delay_pair_bucket(uint64_t key, uint32_t bits)
{
	return (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

/* Behind the last bucket, in the place of one; the program alone writes it. */
struct delay_pairs_head {
	uint64_t
		claimed; /* so many places were, so far: there is something to be found */
	uint64_t lost_ns; /* of pairs for which there was no room */
};

/* ---- the rest ---- */

/*
 * Behind the last bucket, in the place of one: whether anybody counts.  Who loads the program
 * writes it.
 */
struct delay_head {
	uint32_t detached; /* not 0: nobody does any more, and figures stand still */
};

/* What the program is loaded with. */
struct delay_config {
	uint32_t bucket_bits, pair_bits;
	uint32_t
		pid_namespace; /* the reader's: inode number; 0: the first one, that of the kernel */
};
