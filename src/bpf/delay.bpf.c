// SPDX-License-Identifier: LGPL-2.1-or-later OR GPL-2.0-only
/*
 * Counts how long vCPUs' threads wait for a processor: a part of the kernel as long as it is
 * attached, at the scheduler's trace points.  It runs at each switch of the machine, so whoever is
 * no vCPU is told by one line of memory, and without a call.
 *
 * Theory of operation.  A thread sleeps, waits for a processor, or runs.  It begins to wait when it
 * is woken up, or when it leaves its processor and could go on; it ends when it comes to one,
 * whichever that is.  All three are told under locks of the scheduler that leave no two at once for
 * one thread, so what is kept of a vCPU needs no lock of its own.  A thread can be woken up while it
 * runs still, about to sleep: that begins nothing.  What is told out of this order is that something
 * was missed, and then nothing is counted but that.
 *
 * Compiled once for all kernels: the few fields of the kernel's that are read are declared here,
 * and who loads this finds out where they are (BTF).  The kernel asks what licence this has, as some
 * of its helpers are for GPL-compatible programs alone: of the two above it is the second then.
 */
#include <stdbool.h>

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
#define TASK_RUNNING 0u
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

struct task_struct {
	unsigned int flags;
	unsigned int __state;
	int pid;
	uint64_t start_boottime;
	struct pid *thread_pid;
} __attribute__((preserve_access_index));

/* before Linux 5.14 */
struct task_struct___before {
	long state;
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

/* What is kept of a vCPU's thread, NULL of any other.  @ret_period: the reader's. */
static __always_inline struct delay_vcpu *find(
	const struct task_struct *task, uint16_t *ret_period)
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
	uint32_t use = bucket->use[i], number = bucket->vcpu[i];
	struct delay_vcpu *v = bpf_map_lookup_elem(&vcpus, &number);

	if (!v)
		return 0;
	*ret_period = bucket->period[i];
	if (v->use != use) {
		v->since = DELAY_UNKNOWN;
		v->use = use;
	}
	return v;
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

static __always_inline void wakes(const struct task_struct *task)
{
	uint16_t period = 0;
	struct delay_vcpu *v = find(task, &period);

	if (v && v->since == DELAY_SLEEPS)
		v->since = bpf_ktime_get_ns();
}

static __always_inline void leaves(const struct task_struct *task, bool can_go_on)
{
	uint16_t period = 0;
	struct delay_vcpu *v = find(task, &period);

	if (!v)
		return;
	if (v->since != DELAY_RUNS && v->since != DELAY_UNKNOWN)
		v->lost++;
	v->since = can_go_on ? bpf_ktime_get_ns() : DELAY_SLEEPS;
}

static __always_inline void comes(const struct task_struct *task)
{
	uint16_t period = 0;
	struct delay_vcpu *v = find(task, &period);

	if (!v)
		return;
	if (v->since >= DELAY_WAITS)
		count(v, bpf_ktime_get_ns() - v->since, period);
	else if (v->since != DELAY_UNKNOWN)
		v->lost++;
	v->since = DELAY_RUNS;
}

static __always_inline bool is_runnable(const struct task_struct *task)
{
	const struct task_struct___before *before = (const void *)task;

	return bpf_core_field_exists(task->__state) ? task->__state == TASK_RUNNING
						    : before->state == TASK_RUNNING;
}

/* Each has the trace point's arguments in @arg; the kernel knows of what type they are. */

SEC("tp_btf/sched_wakeup")
int on_wakeup(const uint64_t *arg)
{
	wakes((const void *)arg[0]);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int on_wakeup_new(const uint64_t *arg)
{
	wakes((const void *)arg[0]);
	return 0;
}

/* preempted or not, from whom, to whom; whoever is preempted could go on, whatever he was about to do */
SEC("tp_btf/sched_switch")
int on_switch(const uint64_t *arg)
{
	const struct task_struct *from = (const void *)arg[1];

	leaves(from, arg[0] || is_runnable(from));
	comes((const void *)arg[2]);
	return 0;
}

/* In the words of the kernel, which knows a few: of the two above. */
const char licence[] SEC("license") = "GPL";
