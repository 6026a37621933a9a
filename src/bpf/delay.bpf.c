// SPDX-License-Identifier: LGPL-2.1-or-later OR GPL-2.0-only
/*
 * Counts how long vCPUs' threads wait for a processor: a part of the kernel as long as it is
 * attached, where the scheduler switches from one thread to another.  It runs at each switch of the
 * machine, so whoever is no vCPU is told by one line of memory, and without a call.
 *
 * Theory of operation.  The kernel itself adds up what each thread waited (run_delay, which schedstat
 * shows), and how often it came to a processor (pcount).  A thread that comes to one has not been
 * given the last part of its wait yet: that is from last_queued, when it was put into this
 * processor's queue, to now, by that queue's clock.  With it the sum is what it will be in a moment,
 * and has grown since the thread came before by the wait that ends here, wherever it was spent.  So
 * what is counted adds up to what the kernel says, and neither wake-ups nor migrations need be seen,
 * which would cost all others more than the rest of this does: what is attached costs, not what it
 * does (docs/steal.md).  A switch that was not seen, as the kernel does not tell of one while it is
 * about to tell of another, shows in the other counter: then it is not known what the single waits
 * were, and nothing is counted but how many.
 *
 * A thread comes to one processor at a time, so what is kept of it needs no lock.
 *
 * Compiled once for all kernels: the few fields of the kernel's that are read are declared here,
 * and who loads this finds out where they are (BTF).  The kernel asks what licence this has, as some
 * of its helpers are for GPL-compatible programs alone: of the two above it is the second then.
 */
#include "delay_format.h"

typedef uint8_t __u8;
typedef uint16_t __u16;
typedef int16_t __s16;
typedef uint32_t __u32;
typedef int32_t __s32;
typedef uint64_t __u64;
typedef int64_t __s64;
typedef uint16_t __be16;
typedef uint32_t __be32;
typedef uint32_t __wsum;

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* ---- the kernel's, as far as it is needed ---- */

#define PF_KTHREAD 0x00200000u
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_F_MMAPABLE (1u << 10)

struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct pid_namespace {
	struct ns_common ns;
} __attribute__((preserve_access_index));

struct upid {
	int nr;
	struct pid_namespace *ns;
} __attribute__((preserve_access_index));

struct pid {
	unsigned int level;
	struct upid numbers[1];
} __attribute__((preserve_access_index));

struct sched_info {
	unsigned long pcount;
	unsigned long long run_delay, last_queued;
} __attribute__((preserve_access_index));

/* A processor's queue, and that of a group in it. */
struct rq {
	uint64_t clock;
} __attribute__((preserve_access_index));

struct cfs_rq {
	struct rq *rq;
} __attribute__((preserve_access_index));

struct sched_entity {
	struct cfs_rq *cfs_rq;
} __attribute__((preserve_access_index));

struct task_struct {
	unsigned int flags;
	int pid;
	uint64_t start_boottime;
	struct pid *thread_pid;
	struct sched_entity se; /* of all, also of those of another class */
	struct sched_info sched_info;
} __attribute__((preserve_access_index));

/* ---- what is loaded with it ---- */

const volatile struct delay_config config = { .bucket_bits = 1 };

/* Whoever loads it says how many. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct delay_vcpu);
} vcpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct delay_bucket);
} threads SEC(".maps");

/* ---- whose thread it is ---- */

/* Its number where it was started, if that is the reader's name space; 0: he cannot name it. */
static __always_inline uint32_t inner_number(const struct task_struct *task)
{
	const struct pid *pid = task->thread_pid;
	const struct pid_namespace *space = 0;
	uint32_t nr = 0, inum = 0;

	if (!pid)
		return 0;
	const char *at = (const char *)pid + bpf_core_field_offset(struct pid, numbers) +
		(uint64_t)pid->level * bpf_core_type_size(struct upid);

	bpf_probe_read_kernel(
		&nr, sizeof(nr), at + bpf_core_field_offset(struct upid, nr));
	bpf_probe_read_kernel(
		&space, sizeof(space), at + bpf_core_field_offset(struct upid, ns));
	bpf_probe_read_kernel(&inum, sizeof(inum), &space->ns.inum);
	return inum == config.pid_namespace ? nr : 0;
}

/* Where a thread stands, if it is a vCPU's: @ret_i of a bucket.  NULL: it is not. */
static __always_inline const struct delay_bucket *find(
	const struct task_struct *task, uint32_t *ret_i)
{
	/* idle processors and the kernel's own */
	if (task->flags & PF_KTHREAD)
		return 0;
	uint32_t tid = config.pid_namespace ? inner_number(task) : (uint32_t)task->pid;
	uint32_t at = delay_bucket(tid, config.bucket_bits), i;
	const struct delay_bucket *bucket = bpf_map_lookup_elem(&threads, &at);

	if (!tid || !bucket)
		return 0;
#pragma unroll
	for (i = 0; i < DELAY_BUCKET; i++)
		if (bucket->tid[i] == tid)
			break;
	if (i == DELAY_BUCKET ||
		bucket->start[i] != (uint32_t)(task->start_boottime / DELAY_TICK_NS))
		return 0;
	*ret_i = i;
	return bucket;
}

/* ---- what it does ---- */

static __always_inline void count(struct delay_vcpu *v, uint64_t ns, uint16_t period)
{
	uint32_t step = delay_step(ns);
	uint64_t *max = &v->max_ns[period & 1];

	if (v->period != period || *max < ns)
		*max = ns;
	v->period = period;
	v->sum_ns += ns;
	if (step < DELAY_STEPS)
		v->counts[step]++;
}

/* @use: which vCPU it is. */
static __always_inline void comes(struct delay_vcpu *v, const struct task_struct *task,
	uint32_t use, uint16_t period)
{
	uint64_t queued = task->sched_info.last_queued,
		 waited = task->sched_info.run_delay;
	/* not queued: the kernel does not count that wait, as the thread was about to sleep; or none */
	uint32_t n = (uint32_t)task->sched_info.pcount + !!queued;

	if (queued)
		waited += task->se.cfs_rq->rq->clock - queued;
	if (v->use != use) {
		if (!queued)
			return;
		v->use = use;
	} else if (queued && n == v->came + 1) {
		count(v, waited - v->waited_ns, period);
	} else {
		v->lost += n - v->came + !queued;
	}
	v->came = n;
	v->waited_ns = waited;
}

/* The trace point's arguments: preempted or not, from whom, to whom. */
SEC("tp_btf/sched_switch")
int on_switch(const uint64_t *arg)
{
	const struct task_struct *to = (const void *)arg[2];
	uint32_t i = 0;
	const struct delay_bucket *bucket = find(to, &i);

	if (!bucket || i >= DELAY_BUCKET)
		return 0;
	uint32_t number = bucket->vcpu[i];
	struct delay_vcpu *v = bpf_map_lookup_elem(&vcpus, &number);

	if (v)
		comes(v, to, bucket->use[i], bucket->period[i]);
	return 0;
}

/* In the words of the kernel, which knows a few: of the two above. */
const char licence[] SEC("license") = "GPL";
