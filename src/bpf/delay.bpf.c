// SPDX-License-Identifier: LGPL-2.1-or-later OR GPL-2.0-only
/*
 * Counts how long vCPUs' threads wait for a processor: a part of the kernel as long as it is
 * attached, where the scheduler switches from one thread to another.  It runs at each switch of the
 * machine, so whoever is no VM's is told by one line of memory, and without a call.
 *
 * Theory of operation.  The kernel itself adds up what each thread waited (run_delay, which schedstat
 * shows), and how often it came to a processor (pcount).  A thread that comes to one has not been
 * given the last part of its wait yet: that is from last_queued, when it was put into this
 * processor's queue, to now, by that queue's clock.  With it the sum is what it will be in a moment,
 * and has grown since the thread came before by the wait that ends here, wherever it was spent.  So
 * what is counted adds up to what the kernel says, and no wake-up need be seen, which would cost all
 * others more than the rest of this does: what is attached costs, not what it does (docs/steal.md).
 * A switch that was not seen, as may be while somebody attaches another
 * program, shows in the other counter: then it is not known what the single waits were, and nothing
 * is counted but how many.
 *
 * Of each processor it is kept who had it lately, in slices: each has the end of its own, and begins
 * where the one before it ends; of two neighbours that are alike, one.  If a switch was not seen, as
 * who leaves is not who came, nobody knows who had it.  A vCPU that comes looks back from now to when
 * it was queued, and charges what it waited to who ran.  One that is moved to another processor while
 * it waits has done so before: that is what sched_migrate_task is for, which most switches do not
 * pass.  What limits held back (the quota of the vCPU's group, or of one above)
 * the kernel has added up by then; a thread is held back first and then waits for its turn, so that
 * is the oldest part of a wait.  The clock of all this is that of the processor's queue.
 *
 * Which VM a VM waited for is counted where that is charged: delay_format.h says how that can be without
 * a lock.
 *
 * A thread comes to one processor at a time, and is moved under the lock of the queue in which it
 * waits, as slices of that processor end: so neither what is kept of a thread nor slices need a lock.
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
	int cpu;
} __attribute__((preserve_access_index));

struct task_group;

struct cfs_rq {
	struct rq *rq;
	struct task_group *tg;
	int throttle_count; /* by so many limits it is held back: its own, and those above */
	uint64_t throttled_clock; /* by its own: since when, or when that began last */
	/* by any, while it has threads that could run: since when, or 0; for how long (Linux 6.6) */
	uint64_t throttled_clock_self, throttled_clock_self_time;
} __attribute__((preserve_access_index));

struct sched_entity {
	struct sched_entity *parent; /* its group's */
	struct cfs_rq *cfs_rq;       /* in which it is */
} __attribute__((preserve_access_index));

struct cfs_bandwidth {
	uint64_t throttled_time; /* of all processors, as far as it is over */
} __attribute__((preserve_access_index));

struct cgroup_subsys_state {
	int id;
} __attribute__((preserve_access_index));

struct task_group {
	struct cgroup_subsys_state css;
	struct task_group *parent;
	struct cfs_bandwidth cfs_bandwidth;
	struct cfs_rq **cfs_rq; /* by processor */
} __attribute__((preserve_access_index));

struct task_struct {
	unsigned int flags;
	int pid, tgid;
	struct task_struct *group_leader;
	struct task_group *sched_task_group;
	uint64_t start_boottime;
	unsigned long nvcsw; /* so often it went to sleep */
	uint8_t throttled;   /* by itself (Linux 6.18) */
	struct pid *thread_pid;
	struct sched_entity se; /* of all, also of those of another class */
	struct sched_info sched_info;
} __attribute__((preserve_access_index));

/* ---- what is loaded with it ---- */

const volatile struct delay_config config = { .bucket_bits = 1, .pair_bits = 1 };

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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct delay_pairs);
} pairs SEC(".maps");

/* Who had a processor, and until when. */
#define SLICES 64u

/* So many groups above each other are asked for their limits: a vCPU's, the VM's, slices. */
#define LEVELS 6

enum who { WHO_UNKNOWN, WHO_IDLE, WHO_KERNEL, WHO_HOST, WHO_VMS = DELAY_FIRST_USE };

struct slice {
	uint64_t until_ns;
	uint32_t who; /* enum who; from WHO_VMS on: the use of a VM's process */
	uint32_t unused;
};

struct processor {
	uint32_t who; /* has it since the last slice */
	uint32_t n;   /* slices so far */
	uint32_t pid; /* whose thread it is */
	uint32_t unused;
	struct slice slices[SLICES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct processor);
} processors SEC(".maps");

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

/* Where a thread stands, if it does: @ret_i of a bucket.  NULL: it does not. */
static __always_inline const struct delay_bucket *find(
	const struct task_struct *task, uint32_t tid, uint32_t *ret_i)
{
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

/* What is known of a thread. */
struct known {
	struct delay_vcpu *v; /* NULL: it is no vCPU */
	uint32_t who;         /* enum who */
	uint32_t use;         /* the vCPU's */
	uint16_t period;
};

static __always_inline struct known look_at(const struct task_struct *task)
{
	struct known known = { .who = WHO_HOST };
	uint32_t i = 0;

	if (task->flags & PF_KTHREAD) {
		known.who = task->pid ? WHO_KERNEL : WHO_IDLE;
		return known;
	}
	const struct task_struct *first = task->group_leader;
	const struct delay_bucket *bucket = find(first,
		config.pid_namespace ? inner_number(first) : (uint32_t)task->tgid, &i);

	if (!bucket || i >= DELAY_BUCKET || bucket->vcpu[i] != DELAY_NO_VCPU)
		return known;
	known.who = bucket->use[i];
	if (task->pid == task->tgid)
		return known;
	bucket = find(task,
		config.pid_namespace ? inner_number(task) : (uint32_t)task->pid, &i);
	if (!bucket || i >= DELAY_BUCKET)
		return known;
	uint32_t number = bucket->vcpu[i];

	known.v = bpf_map_lookup_elem(&vcpus, &number);
	known.use = bucket->use[i];
	known.period = bucket->period[i];
	return known;
}

/* ---- what it does ---- */

static __always_inline void count(struct delay_vcpu *v, uint64_t ns, uint16_t period)
{
	uint32_t step = delay_step(ns);
	uint64_t *max = &v->max_ns[period & 1];

	if (v->period != period || *max < ns)
		*max = ns;
	v->period = period;
	if (step < DELAY_STEPS)
		v->counts[step]++;
}

/* Where a pair stands in its bucket, or can stand from now on; DELAY_PAIRS: there is no room. */
static __always_inline uint32_t claim(
	struct delay_pairs *bucket, uint64_t key, struct delay_pairs_head *head)
{
#pragma unroll
	for (uint32_t i = 0; i < DELAY_PAIRS; i++)
		if (bucket->key[i] == key)
			return i;
#pragma unroll
	for (uint32_t i = 0; i < DELAY_PAIRS; i++) {
		if (bucket->key[i])
			continue;
		uint64_t was = __sync_val_compare_and_swap(&bucket->key[i], 0, key);

		if (!was)
			__sync_fetch_and_add(&head->claimed, 1);
		if (!was || was == key)
			return i;
	}
	return DELAY_PAIRS;
}

/*
 * One VM waited for another: several processors may say so at once.  A function that the kernel looks
 * at once, and not for each slice again.
 */
__attribute__((noinline)) int add_pair(uint32_t victim, uint32_t culprit, uint64_t ns)
{
	uint64_t key = delay_pair_key(victim, culprit);
	uint32_t at = delay_pair_bucket(key, config.pair_bits),
		 end = 1u << (config.pair_bits & 31);
	struct delay_pairs *bucket = bpf_map_lookup_elem(&pairs, &at);
	struct delay_pairs_head *head = bpf_map_lookup_elem(&pairs, &end);

	if (!bucket || !head)
		return 0;
	uint32_t i = claim(bucket, key, head);

	if (i < DELAY_PAIRS)
		__sync_fetch_and_add(&bucket->ns[i], ns);
	else
		__sync_fetch_and_add(&head->lost_ns, ns);
	return 0;
}

/* @self: the process's own use. */
static __always_inline void charge(
	struct delay_vcpu *v, uint64_t ns, uint32_t who, uint32_t self)
{
	if (who == self)
		v->by_ns[DELAY_BY_SELF] += ns;
	else if (who >= WHO_VMS) {
		v->by_ns[DELAY_BY_VMS] += ns;
		add_pair(self, who, ns);
	} else if (who == WHO_HOST)
		v->by_ns[DELAY_BY_HOST] += ns;
	else if (who == WHO_KERNEL)
		v->by_ns[DELAY_BY_KERNEL] += ns;
	else if (who == WHO_IDLE)
		v->by_ns[DELAY_BY_IDLE] += ns;
	else
		v->by_ns[DELAY_BY_UNKNOWN] += ns;
}

/* Charges the time from @from_ns to @to_ns to who had the processor. */
static __always_inline void charge_all(struct delay_vcpu *v, const struct processor *p,
	uint64_t from_ns, uint64_t to_ns, uint32_t self)
{
	uint32_t who = p->who, at = p->n;

	for (uint32_t i = 0; i < SLICES && to_ns > from_ns; i++) {
		const struct slice *before = &p->slices[--at % SLICES];
		uint64_t since_ns =
			before->until_ns > from_ns ? before->until_ns : from_ns;

		if (since_ns < to_ns) {
			charge(v, to_ns - since_ns, who, self);
			to_ns = since_ns;
		}
		who = before->who;
	}
	if (to_ns > from_ns)
		v->by_ns[DELAY_BY_UNKNOWN] += to_ns - from_ns;
}

/* ---- limits ---- */

/*
 * A thread was held back for as long as its queue was since it came last; not longer than it waits, and
 * first of all.  Before Linux 6.6 that is not known of a queue, but of groups, of all processors together:
 * it tells how long ago what held its queue back last can have ended.  From 6.18 on who wakes up has the
 * processor until he would go on in his program, so a wait of his own is never for that.
 */
static __always_inline _Bool knows_queues(void)
{
	return bpf_core_field_exists(((struct cfs_rq *)0)->throttled_clock_self_time);
}

static __always_inline _Bool holds_threads(void)
{
	return bpf_core_field_exists(((struct task_struct *)0)->throttled);
}

static __always_inline _Bool knows_limits(void)
{
	return bpf_core_field_exists(((struct cfs_bandwidth *)0)->throttled_time);
}

/* What the sum is of: a group's, or its queue's on a processor; told from most others. */
static __always_inline uint16_t limit_of(const struct task_group *group, uint32_t cpu)
{
	uint32_t id = (uint32_t)group->css.id;

	return (uint16_t)(knows_queues() ? id * 0x9e37u + cpu : id);
}

/* For how long a queue was held back so far, while anybody was in it. */
static __always_inline uint64_t held_queue(const struct cfs_rq *queue, uint64_t now_ns)
{
	uint64_t since_ns = queue->throttled_clock_self,
		 ns = queue->throttled_clock_self_time;

	return since_ns && since_ns < now_ns ? ns + now_ns - since_ns : ns;
}

/* For how long its group, and those above, were so far, on all processors. */
static __always_inline uint64_t held_groups(const struct task_group *group)
{
	uint64_t ns = 0;

	for (int i = 0; i < LEVELS && group; i++) {
		ns += group->cfs_bandwidth.throttled_time;
		group = group->parent;
	}
	return ns;
}

/* The same of a thread's queue, in a wait of it; they and those above were so for @grown_ns since it came. */
static __always_inline uint64_t held_lately(const struct task_struct *task,
	uint64_t grown_ns, uint64_t queued_ns, uint64_t now_ns)
{
	const struct cfs_rq *queue = task->se.cfs_rq, *above;
	const struct sched_entity *group = task->se.parent;
	uint64_t longest_ns = 0;

	for (int i = 0; i < LEVELS && group && queue; i++) {
		above = group->cfs_rq;
		uint64_t from_ns = queue->throttled_clock,
			 to_ns = queue->throttle_count > above->throttle_count
			? now_ns
			: from_ns + grown_ns;

		if (from_ns < queued_ns)
			from_ns = queued_ns;
		if (to_ns > from_ns && to_ns - from_ns > longest_ns)
			longest_ns = to_ns - from_ns;
		queue = above;
		group = group->parent;
	}
	return longest_ns;
}

/* For how long it was held back, of a wait since @queued_ns; @next: no other one was before it unseen. */
static __always_inline uint64_t held(const struct delay_vcpu *v,
	const struct task_struct *task, _Bool next, uint64_t sum_ns, uint16_t limit,
	uint64_t queued_ns, uint64_t now_ns)
{
	uint64_t ns = limit == v->limit && sum_ns > v->held_ns ? sum_ns - v->held_ns : 0;

	if (!knows_limits())
		return 0;
	if (!knows_queues())
		ns = held_lately(task, ns, queued_ns, now_ns);
	else if (holds_threads() && next && (uint32_t)task->nvcsw != v->slept)
		ns = 0;
	return ns < now_ns - queued_ns ? ns : now_ns - queued_ns;
}

static __always_inline uint64_t held_sum(const struct task_struct *task, uint64_t now_ns)
{
	if (!knows_limits())
		return 0;
	return knows_queues() ? held_queue(task->se.cfs_rq, now_ns)
			      : held_groups(task->sched_task_group);
}

/* It is at that processor from now on, where its queue was held back before, too. */
static __always_inline void goes_to(
	struct delay_vcpu *v, const struct task_group *group, uint32_t cpu)
{
	const struct cfs_rq *queue = 0;

	if (!knows_queues())
		return;
	bpf_probe_read_kernel(
		&queue, sizeof(queue), (const struct cfs_rq *const *)group->cfs_rq + cpu);
	/* or they are not where they were when this was written, and it is not known at first */
	if (BPF_CORE_READ(queue, tg) != group ||
		BPF_CORE_READ(queue, rq, cpu) != (int)cpu)
		return;
	uint64_t since_ns = BPF_CORE_READ(queue, throttled_clock_self),
		 now_ns = BPF_CORE_READ(queue, rq, clock),
		 ns = BPF_CORE_READ(queue, throttled_clock_self_time);

	v->held_ns = since_ns && since_ns < now_ns ? ns + now_ns - since_ns : ns;
	v->limit = limit_of(group, cpu);
}

/* Its wait is over, on this processor, where it was queued at @queued_ns. */
static __always_inline void charge_wait(struct delay_vcpu *v, const struct processor *p,
	uint64_t wait_ns, uint64_t queued_ns, uint64_t now_ns, uint64_t held_ns,
	uint32_t self)
{
	uint64_t here_ns = now_ns - queued_ns;

	/* where the rest was spent is not known: it was moved unseen, or that was another wait */
	if (wait_ns > v->parts_ns + here_ns)
		v->by_ns[DELAY_BY_UNKNOWN] += wait_ns - v->parts_ns - here_ns;
	v->by_ns[DELAY_BY_QUOTA] += held_ns;
	charge_all(v, p, queued_ns + held_ns, now_ns, self);
}

static __always_inline void comes(const struct known *known,
	const struct task_struct *task, const struct rq *rq, const struct processor *p)
{
	struct delay_vcpu *v = known->v;
	uint64_t queued = task->sched_info.last_queued, now = rq->clock,
		 waited = task->sched_info.run_delay, sum = held_sum(task, now);
	const uint16_t limit = limit_of(task->sched_task_group, (uint32_t)rq->cpu);
	/* not queued: the kernel does not count that wait, as the thread was about to sleep; or none */
	uint32_t n = (uint32_t)task->sched_info.pcount + !!queued;

	if (queued)
		waited += now - queued;
	if (v->use != known->use) {
		if (!queued)
			return;
		v->use = known->use;
	} else {
		if (queued && n == v->came + 1)
			count(v, waited - v->waited_ns, known->period);
		else
			v->lost += n - v->came + !queued;
		if (queued)
			charge_wait(v, p, waited - v->waited_ns, queued, now,
				held(v, task, n == v->came + 1, sum, limit, queued, now),
				known->who);
	}
	v->came = n;
	v->waited_ns = waited;
	v->parts_ns = 0;
	v->held_ns = sum;
	v->limit = limit;
	v->slept = (uint32_t)task->nvcsw;
}

static __always_inline struct processor *processor_of(const struct rq *rq)
{
	uint32_t cpu = rq ? (uint32_t)rq->cpu : UINT32_MAX;

	return bpf_map_lookup_elem(&processors, &cpu);
}

/* The trace point's arguments: preempted or not, from whom, to whom. */
SEC("tp_btf/sched_switch")
int on_switch(const uint64_t *arg)
{
	const struct task_struct *from = (const void *)arg[1], *to = (const void *)arg[2];
	const struct known known = look_at(to);
	const struct rq *rq = to->se.cfs_rq->rq;
	struct processor *p = processor_of(rq);

	if (!p)
		return 0;
	/* somebody came unseen */
	if (p->pid != (uint32_t)from->pid)
		p->who = WHO_UNKNOWN;
	p->pid = (uint32_t)to->pid;
	if (known.v)
		comes(&known, to, rq, p);
	if (p->who == known.who)
		return 0;
	struct slice *slice = &p->slices[p->n++ % SLICES];

	slice->who = p->who;
	slice->until_ns = rq->clock;
	p->who = known.who;
	return 0;
}

/* It may wait where it is, until now. */
static __always_inline void leaves(
	struct delay_vcpu *v, const struct task_struct *task, uint32_t self)
{
	const struct rq *rq = task->se.cfs_rq->rq;
	const struct processor *p = processor_of(rq);
	uint64_t part = task->sched_info.run_delay - v->waited_ns - v->parts_ns;

	/* it does not wait, or what it waited is not of this time alone */
	if (!p || !part || (uint32_t)task->sched_info.pcount != v->came)
		return;
	uint64_t now = rq->clock, since = now - part,
		 ns = held(v, task, 1, held_sum(task, now),
			 limit_of(task->sched_task_group, (uint32_t)rq->cpu), since, now);

	v->by_ns[DELAY_BY_QUOTA] += ns;
	charge_all(v, p, since + ns, now, self);
	v->parts_ns += part;
}

/* Who, and where to; it is in its old place still. */
SEC("tp_btf/sched_migrate_task")
int on_migrate(const uint64_t *arg)
{
	const struct task_struct *task = (const void *)arg[0];
	const struct known known = look_at(task);
	struct delay_vcpu *v = known.v;

	if (!v || v->use != known.use)
		return 0;
	leaves(v, task, known.who);
	goes_to(v, task->sched_task_group, (uint32_t)arg[1]);
	return 0;
}

/* In the words of the kernel, which knows a few: of the two above. */
const char licence[] SEC("license") = "GPL";
