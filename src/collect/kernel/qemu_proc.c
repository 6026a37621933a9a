/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/qemu_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect/kernel/proc_stat.h"
#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/*
 * Threads are listed, and the cgroup is looked up, again after so many samples, even if nothing
 * seems changed; as each costs more than a sample, not before so much time has passed.
 */
#define RESCAN_SAMPLES 16u
#define RESCAN_LEAST_NS (10 * NS_PER_S)

/* How often a VM without huge pages is looked at for them. */
#define HUGE_LOOK_NS (10 * NS_PER_S)

#define NAME_LOOKS 4u

/* For any of these the threads are listed. */
#define THREAD_READS (READS(VCPUS) | READS(IOTHREAD_TIMES))

struct thread {
	uint64_t tid;
	int vcpu;             /* its number; -1: not a vCPU's */
	int iothread;         /* its number; -1: not an I/O thread */
	uint64_t start_ticks; /* when it started; 0: not known, or not asked for */
	int schedstat;        /* descriptors; -1 */
	int sched;
	bool seen;
	unsigned looks; /* at its name; a new thread names itself only after its start */
};

/* When something was looked up last. */
struct look_up {
	unsigned samples; /* since then */
	int64_t mono_ns;  /* of the sample; 0: before the first */
};

struct qemu_proc {
	int root_fd; /* borrowed */
	uint64_t reads;
	int pid;
	int dir; /* /proc/<pid> */
	int stat, io, status;
	int statm, task; /* in stat's place: sample_process(); -1: they cannot be had */
	bool status_lacking; /* it could not be opened for want of descriptors */
	uint64_t huge_kib;   /* huge pages, when they were looked for last */
	int64_t huge_due_ns; /* when to look again, if there were none */
	uint64_t start_ticks;
	uint64_t n_threads; /* when they were listed */
	struct look_up scan;
	bool unsure; /* new threads may not have their names yet, or their files */
	bool listed; /* all of them at least once */
	struct thread *threads; /* vCPUs first, then I/O threads, both by number */
	size_t n, cap, n_vcpus, n_iothreads;
	struct look_up cgroup_look_up;
	bool io_lacking;      /* for want of descriptors */
	bool cgroup_lacking;  /* it could not be looked into for want of descriptors */
	uint64_t cgroup_hash; /* of the text that says which it is; 0: of none */
	struct qemu_cgroup cgroup;
};

/* ---- finding the process ---- */

static int read_pid_file(int root_fd, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *path = xasprintf("run/libvirt/qemu/%s.pid", name);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(root_fd, path, 64, &text);

	if (r < 0)
		return r;
	return text.len && parse_u64(str_trim(text.data), ret) == 0 ? 0 : -ENOENT;
}

/* The file has the VM's name, in which libvirt 9 escapes what XML would. */
static int read_pid(int root_fd, const char *name, uint64_t *ret)
{
	static const char special[] = "&<>'\"";
	static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&apos;",
		"&quot;" };
	_cleanup_strbuf_ struct strbuf escaped = STRBUF_INIT;

	for (const char *p = name; *p; p++) {
		const char *at = strchr(special, *p);

		if (at)
			strbuf_adds(&escaped, entities[at - special]);
		else
			strbuf_addc(&escaped, *p);
	}
	int r = read_pid_file(root_fd, strbuf_str(&escaped), ret);

	return r == -ENOENT ? read_pid_file(root_fd, name, ret) : r;
}

/* The argument behind @option, NULL if there is none. */
static const char *argument(const struct strbuf *args, const char *option)
{
	bool next = false;

	for (size_t at = 0; at < args->len; at += strlen(args->data + at) + 1) {
		if (next)
			return args->data + at;
		next = !strcmp(args->data + at, option);
	}
	return NULL;
}

/* True for "guest=NAME" or "guest=NAME,...", in which commas of the name are doubled. */
static bool names_guest(const char *text, const char *name)
{
	static const char key[] = "guest=";

	if (strncmp(text, key, strlen(key)) != 0)
		return false;
	text += strlen(key);
	for (; *name; name++, text++) {
		if (*text != *name || (*name == ',' && *++text != ','))
			return false;
	}
	return !*text || (*text == ',' && text[1] != ',');
}

/*
 * True if these are the arguments of the VM's process: "-uuid" is the VM's, or, as a
 * <hwuuid> stands in its place there, "-name" is; libvirt runs one VM of a name at a time.
 */
static bool runs_vm(const struct strbuf *args, const struct vm_ident *vm)
{
	const char *uuid = argument(args, "-uuid"), *name = argument(args, "-name");
	char text[UUID_TEXT_LEN + 1];

	uuid_format(&vm->uuid, text);
	return uuid && (!strcmp(uuid, text) || (name && names_guest(name, vm->name)));
}

static void rescan(struct qemu_proc *proc, int64_t mono_ns);

/* Counts a sample.  Return: true if it is time to look again. */
static bool is_due(struct look_up *last, int64_t mono_ns)
{
	return ++last->samples >= RESCAN_SAMPLES &&
		mono_ns - last->mono_ns >= RESCAN_LEAST_NS;
}

static int read_cgroup(const struct qemu_proc *proc, struct strbuf *ret)
{
	return read_file_at(proc->dir, "cgroup", LIMIT_PROC_FILE_BYTES, ret);
}

/* Opens the cgroup that the process is in, if it is not the one that is open. */
static void find_cgroup(struct qemu_proc *proc, int64_t mono_ns)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct qemu_cgroup found = QEMU_CGROUP_INIT;
	unsigned before = open_shortages();
	int r = read_cgroup(proc, &text);
	uint64_t hash = r == 0 ? siphash24(strbuf_str(&text), text.len) | 1 : 0;

	proc->cgroup_look_up = (struct look_up){ .mono_ns = mono_ns };
	if (hash && hash == proc->cgroup_hash)
		return;
	if (r == 0)
		qemu_cgroup_open(proc->root_fd, strbuf_str(&text), proc->reads, &found);
	bool lacking = open_shortages() != before;

	if (proc->cgroup_hash && (r < 0 || lacking)) {
		/* the one that is open will do until there are descriptors again */
		qemu_cgroup_done(&found);
		return;
	}
	qemu_cgroup_done(&proc->cgroup);
	proc->cgroup = found;
	proc->cgroup_lacking = lacking;
	proc->cgroup_hash = hash;
}

int qemu_proc_open(
	int root_fd, const struct vm_ident *vm, uint64_t reads, struct qemu_proc **ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct stat_fields stat;
	uint64_t pid = 0;
	int r = read_pid(root_fd, vm->name, &pid);

	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("proc/%" PRIu64, pid);
	_cleanup_close_ int dir = open_at(root_fd, path, O_RDONLY | O_DIRECTORY);

	if (dir < 0)
		return -errno;
	r = read_file_at(dir, "cmdline", LIMIT_PROC_FILE_BYTES, &text);
	if (r < 0)
		return r;
	if (!runs_vm(&text, vm))
		return -ESRCH;
	_cleanup_close_ int stat_fd = open_at(dir, "stat", O_RDONLY);

	if (stat_fd < 0)
		return -errno;
	r = proc_stat_read(stat_fd, &stat);
	if (r < 0)
		return r;
	if (!stat.have[STAT_STARTTIME])
		return -EIO;
	struct qemu_proc *proc = xcalloc(1, sizeof(*proc));

	*proc = (struct qemu_proc){ .root_fd = root_fd,
		.pid = (int)pid,
		.reads = reads,
		.dir = TAKE_FD(dir),
		.stat = TAKE_FD(stat_fd),
		.io = -1,
		.status = -1,
		.statm = -1,
		.task = -1,
		.start_ticks = stat.v[STAT_STARTTIME],
		.cgroup = QEMU_CGROUP_INIT };
	unsigned before = open_shortages();

	if (reads & READS(PROCESS_IO))
		proc->io = open_at(proc->dir, "io", O_RDONLY);
	proc->io_lacking = open_shortages() != before;
	before = open_shortages();
	if (reads & READS(RSS))
		proc->status = open_at(proc->dir, "status", O_RDONLY);
	proc->status_lacking = open_shortages() != before;
	if (!(reads & READS(PROCESS))) {
		proc->statm = open_at(proc->dir, "statm", O_RDONLY);
		proc->task = open_at(proc->dir, "task", O_RDONLY | O_DIRECTORY);
	}
	find_cgroup(proc, 0);
	if (reads & THREAD_READS) {
		proc->n_threads = stat.v[STAT_NUM_THREADS];
		rescan(proc, 0);
	}
	*ret = proc;
	return 0;
}

static void thread_done(struct thread *t)
{
	close_p(&t->schedstat);
	close_p(&t->sched);
}

void qemu_proc_free(struct qemu_proc *proc)
{
	if (!proc)
		return;
	for (size_t i = 0; i < proc->n; i++)
		thread_done(&proc->threads[i]);
	free(proc->threads);
	qemu_cgroup_done(&proc->cgroup);
	close_p(&proc->io);
	close_p(&proc->status);
	close_p(&proc->statm);
	close_p(&proc->task);
	close_p(&proc->stat);
	close_p(&proc->dir);
	free(proc);
}

int qemu_proc_stat_fd(const struct qemu_proc *proc)
{
	return fcntl(proc->stat, F_DUPFD_CLOEXEC, 0);
}

int qemu_proc_pid(const struct qemu_proc *proc)
{
	return proc->pid;
}

bool qemu_proc_runs(int root_fd, int pid, uint64_t start_ticks)
{
	_cleanup_free_ char *path = xasprintf("proc/%d/stat", pid);
	_cleanup_close_ int fd = open_at(root_fd, path, O_RDONLY);
	struct stat_fields stat;

	return fd >= 0 && proc_stat_read(fd, &stat) == 0 && stat.have[STAT_STARTTIME] &&
		stat.v[STAT_STARTTIME] == start_ticks;
}

uint64_t qemu_proc_start_ticks(const struct qemu_proc *proc)
{
	return proc->start_ticks;
}

int qemu_proc_shares(const struct qemu_proc *proc, uint64_t *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	return read_cgroup(proc, &text) == 0
		? qemu_cgroup_shares(proc->root_fd, strbuf_str(&text), ret)
		: -ENOENT;
}

bool qemu_proc_slept(const struct qemu_proc *proc)
{
	return qemu_cgroup_slept(&proc->cgroup);
}

/* ---- threads ---- */

/* The number between @before and @behind, below @limit; -1 if @name is not of that form. */
static int number_in(const char *name, const char *before, char behind, uint64_t limit)
{
	uint64_t n = 0;

	if (strncmp(name, before, strlen(before)) != 0)
		return -1;
	name += strlen(before);
	return parse_u64_at(&name, &n) == 0 && *name == behind && n < limit ? (int)n : -1;
}

/* "CPU 12/KVM" is the vCPU 12, "IO iothread3" the I/O thread 3. */
static void read_name(int task_fd, const char *tid, struct thread *t)
{
	_cleanup_free_ char *path = xasprintf("%s/comm", tid);
	_cleanup_strbuf_ struct strbuf comm = STRBUF_INIT;

	if (read_file_at(task_fd, path, 64, &comm) < 0)
		return;
	t->vcpu = number_in(strbuf_str(&comm), "CPU ", '/', LIMIT_VCPUS);
	t->iothread = number_in(strbuf_str(&comm), "IO iothread", '\n', LIMIT_THREADS);
}

/* True if it has figures of its own. */
static bool is_named(const struct thread *t)
{
	return t->vcpu >= 0 || t->iothread >= 0;
}

static struct thread *find_thread(struct qemu_proc *proc, uint64_t tid)
{
	for (size_t i = 0; i < proc->n; i++)
		if (proc->threads[i].tid == tid)
			return &proc->threads[i];
	return NULL;
}

static int open_in_task(int task_fd, const char *tid, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", tid, file);

	return open_at(task_fd, path, O_RDONLY);
}

/* Return: clock ticks since the host booted; 0: it cannot be told. */
static uint64_t read_start(int task_fd, const char *tid)
{
	_cleanup_close_ int fd = open_in_task(task_fd, tid, "stat");
	struct stat_fields stat;

	return fd >= 0 && proc_stat_read(fd, &stat) == 0 ? stat.v[STAT_STARTTIME] : 0;
}

/* Finds out what a thread is.  Return: false if that could not be read now. */
static bool look_at(int task_fd, const char *name, struct thread *t)
{
	unsigned before = open_shortages();

	read_name(task_fd, name, t);
	if (open_shortages() != before)
		return false;
	t->looks++;
	return true;
}

/* What could not be opened, for want of descriptors perhaps, is tried again. */
static void open_files(
	const struct qemu_proc *proc, int task_fd, const char *name, struct thread *t)
{
	if (t->vcpu < 0 && !(proc->reads & READS(IOTHREAD_TIMES)))
		return;
	if (t->schedstat < 0)
		t->schedstat = open_in_task(task_fd, name, "schedstat");
	if (t->sched < 0 && t->vcpu >= 0 && proc->reads & READS(WAIT))
		t->sched = open_in_task(task_fd, name, "sched");
	if (!t->start_ticks && t->vcpu >= 0 && proc->reads & READS(DELAYS))
		t->start_ticks = read_start(task_fd, name);
}

static struct thread *add_thread(struct qemu_proc *proc, uint64_t tid)
{
	proc->threads = xgrow(proc->threads, proc->n, &proc->cap, sizeof(*proc->threads));
	struct thread *t = &proc->threads[proc->n++];

	*t = (struct thread){
		.tid = tid, .vcpu = -1, .iothread = -1, .schedstat = -1, .sched = -1
	};
	return t;
}

static int compare_threads(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	/* -1 comes last */
	if (x->vcpu != y->vcpu)
		return (unsigned)x->vcpu > (unsigned)y->vcpu ? 1 : -1;
	return ((unsigned)x->iothread > (unsigned)y->iothread) -
		((unsigned)x->iothread < (unsigned)y->iothread);
}

/* A listing may miss a thread when the one before it ends meanwhile. */
static bool is_there(int task_fd, uint64_t tid)
{
	char name[24];

	snprintf(name, sizeof(name), "%" PRIu64, tid);
	return faccessat(task_fd, name, F_OK, 0) == 0;
}

/* Lists the threads; those that are known keep their descriptors. */
static void rescan(struct qemu_proc *proc, int64_t mono_ns)
{
	unsigned before = open_shortages();
	int fd = open_at(proc->dir, "task", O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t kept = 0;
	bool all = true, changed = false;

	proc->scan = (struct look_up){ .mono_ns = mono_ns };
	if (!dir) {
		close_p(&fd);
		proc->unsure = open_shortages() != before;
		return;
	}
	for (size_t i = 0; i < proc->n; i++)
		proc->threads[i].seen = false;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		uint64_t tid = 0;

		if (parse_u64(e->d_name, &tid) < 0 || proc->n == LIMIT_THREADS)
			continue;
		struct thread *t = find_thread(proc, tid);

		if (!t)
			t = add_thread(proc, tid);
		t->seen = true;
		if (!is_named(t) && t->looks < NAME_LOOKS) {
			all &= look_at(fd, e->d_name, t);
			changed |= is_named(t);
		}
		if (is_named(t))
			open_files(proc, fd, e->d_name, t);
	}
	proc->n_vcpus = proc->n_iothreads = 0;
	proc->unsure = open_shortages() != before;
	proc->listed |= all;
	for (size_t i = 0; i < proc->n; i++) {
		struct thread *t = &proc->threads[i];

		if (!t->seen && !(is_named(t) && is_there(fd, t->tid))) {
			changed |= is_named(t);
			thread_done(t);
			continue;
		}
		proc->n_vcpus += t->vcpu >= 0;
		proc->n_iothreads += t->vcpu < 0 && t->iothread >= 0;
		proc->unsure |= !is_named(t) && t->looks < NAME_LOOKS;
		proc->threads[kept++] = *t;
	}
	proc->n = kept;
	if (kept)
		qsort(proc->threads, kept, sizeof(*proc->threads), compare_threads);
	if (changed)
		qemu_cgroup_relist(&proc->cgroup);
}

/* sched_debug's form: "wait_sum   :   12.345678", milliseconds. */
static bool read_wait(int fd, uint64_t *ret)
{
	char text[8192];

	if (fd < 0 || pread_text(fd, text, sizeof(text)) <= 0)
		return false;
	for (const char *p = text; *p; p = proc_next_line(p)) {
		const char *v = NULL;
		double ms = 0;

		if (!proc_line_is(p, "wait_sum", &v) &&
			!proc_line_is(p, "se.statistics.wait_sum", &v))
			continue;
		if (!proc_take_real(&v, &ms) || ms < 0 || ms > 1e13)
			return false;
		*ret = (uint64_t)(ms * 1e6);
		return true;
	}
	return false;
}

/* Return: false if the thread is gone, or its files cannot be read. */
static bool sample_thread(struct thread *t, struct vcpu_sample *out)
{
	char text[128];
	const char *p = text;

	out->tid = t->start_ticks ? (uint32_t)t->tid : 0;
	out->start_ticks = t->start_ticks;
	if (t->schedstat < 0)
		return true;
	if (pread_text(t->schedstat, text, sizeof(text)) < 0) {
		close_p(&t->schedstat);
		t->schedstat = -1;
		return false;
	}
	/* run time, time on a run queue, time slices; the line's end shows it is whole */
	if (!strchr(text, '\n'))
		return true;
	out->have_time = parse_u64_at(&p, &out->time_ns) == 0;
	if (*p == ' ') {
		p++;
		out->have_delay = parse_u64_at(&p, &out->delay_ns) == 0;
	}
	out->have_wait = read_wait(t->sched, &out->wait_ns);
	return true;
}

static bool sample_named(struct qemu_proc *proc, struct vm_sample *out)
{
	bool io = proc->reads & READS(IOTHREAD_TIMES), whole = true;
	size_t n = proc->n_vcpus + (io ? proc->n_iothreads : 0);

	out->n_vcpus = out->n_iothreads = 0;
	for (size_t i = 0; i < n; i++) {
		struct thread *t = &proc->threads[i];

		whole &= sample_thread(t,
			t->vcpu >= 0
				? vm_sample_add_vcpu(out, (unsigned)t->vcpu)
				: vm_sample_add_iothread(out, (unsigned)t->iothread));
	}
	return whole;
}

/* What the kernel has no files for, or does not count. */
static void set_uncounted(const struct qemu_proc *proc, struct vm_sample *out)
{
	bool times = proc->unsure, waits = proc->unsure;

	for (size_t i = 0; i < proc->n_vcpus; i++) {
		times |= proc->threads[i].schedstat >= 0;
		waits |= proc->threads[i].sched >= 0;
	}
	out->uncounted.time = out->uncounted.delay = !times;
	out->uncounted.wait = !(proc->reads & READS(WAIT)) || !times || !waits;
}

static void sample_threads(
	struct qemu_proc *proc, const struct stat_fields *stat, struct vm_sample *out)
{
	uint64_t now = stat->v[STAT_NUM_THREADS];

	bool due = is_due(&proc->scan, out->mono_ns);

	/* nobody changes them who does not run, not even their names */
	if ((due && !qemu_cgroup_slept(&proc->cgroup)) || now != proc->n_threads ||
		proc->unsure)
		rescan(proc, out->mono_ns);
	proc->n_threads = now;
	if (!sample_named(proc, out)) {
		/* one was unplugged just now, or has to be opened again */
		rescan(proc, out->mono_ns);
		sample_named(proc, out);
	}
	/* the sum over some of them is not true */
	if (!proc->listed)
		out->n_vcpus = out->n_iothreads = 0;
	out->iothreads_known = proc->listed && proc->reads & READS(IOTHREAD_TIMES);
	set_uncounted(proc, out);
	if (out->n_vcpus) {
		fact_set(&out->facts[VM_VCPU_CURRENT], value_u64(out->n_vcpus));
		out->known |= READS(VCPUS);
	}
}

/* ---- sampling ---- */

static void set_field(struct fact *fact, const struct stat_fields *stat, int field)
{
	if (stat->have[field])
		fact_set(fact, value_u64(stat->v[field]));
}

static void sample_io(const struct qemu_proc *proc, struct vm_sample *out)
{
	static const struct {
		const char *word;
		enum vm_key key;
	} lines[] = { { "read_bytes", VM_IO_READ }, { "write_bytes", VM_IO_WRITE },
		{ "syscr", VM_IO_READ_CALLS }, { "syscw", VM_IO_WRITE_CALLS } };
	uint64_t v = 0, cancelled = 0;
	char text[512];

	ssize_t n = proc->io < 0 ? -EACCES : pread_text(proc->io, text, sizeof(text));

	/* the kernel has none, or we may not see it and never will */
	if (n == -EACCES && proc->reads & READS(PROCESS_IO) && !proc->io_lacking)
		vm_sample_set_absent(out, READS(PROCESS_IO));
	if (n <= 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (proc_find_u64(text, lines[i].word, &v))
			fact_set(&out->facts[lines[i].key], value_u64(v));
	struct fact *written = &out->facts[VM_IO_WRITE];

	if (written->have && proc_find_u64(text, "cancelled_write_bytes", &cancelled))
		written->value.u -=
			cancelled < written->value.u ? cancelled : written->value.u;
}

/*
 * Huge pages are no part of the resident set: proc_pid_status(5).  None where the kernel does
 * not know of any, or hides it.  The file costs as much as all others together, and most VMs
 * have none: those are looked at now and then.  Return: false if it cannot be told now.
 */
static bool read_hugetlb(struct qemu_proc *proc, uint64_t *ret_kib)
{
	char text[4096];
	int64_t now = clock_mono_ns();

	*ret_kib = proc->huge_kib;
	if (proc->status < 0)
		return !proc->status_lacking;
	if (!proc->huge_kib && now < proc->huge_due_ns)
		return true;
	if (pread_text(proc->status, text, sizeof(text)) <= 0)
		return false;
	*ret_kib = 0;
	(void)proc_find_u64(text, "HugetlbPages", ret_kib);
	proc->huge_kib = *ret_kib;
	proc->huge_due_ns = now + HUGE_LOOK_NS;
	return true;
}

static void sample_memory(
	struct qemu_proc *proc, const struct stat_fields *stat, struct vm_sample *out)
{
	const uint64_t page_kib = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	uint64_t huge_kib = 0;

	/* bounded, so that the sum fits */
	if (!stat->have[STAT_RSS] || stat->v[STAT_RSS] > UINT64_MAX / 2 / page_kib ||
		!read_hugetlb(proc, &huge_kib) || huge_kib > UINT64_MAX / 2)
		return;
	fact_set(&out->facts[VM_RSS], value_u64(stat->v[STAT_RSS] * page_kib + huge_kib));
	out->known |= READS(RSS);
}

static void set_ticks(struct fact *fact, uint64_t ticks)
{
	const uint64_t ns_per_tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

	if (ticks <= UINT64_MAX / ns_per_tick)
		fact_set(fact, value_u64(ticks * ns_per_tick));
}

/*
 * The cgroup, where there is one, knows the times better: vhost threads are in it, too.  A
 * counter is not to go on as another one, which is less, when it cannot be read.
 */
static void set_times(const struct qemu_proc *proc, const struct stat_fields *stat,
	struct vm_sample *out)
{
	bool have =
		stat->have[STAT_UTIME] && stat->have[STAT_STIME] && !proc->cgroup_lacking;

	if (have && !qemu_cgroup_has_modes(&proc->cgroup)) {
		set_ticks(&out->facts[VM_CPU_USER], stat->v[STAT_UTIME]);
		set_ticks(&out->facts[VM_CPU_SYSTEM], stat->v[STAT_STIME]);
	}
	if (have && !qemu_cgroup_has_time(&proc->cgroup))
		set_ticks(&out->facts[VM_CPU_TIME],
			stat->v[STAT_UTIME] + stat->v[STAT_STIME]);
	if (out->facts[VM_CPU_TIME].have && out->facts[VM_CPU_USER].have)
		out->known |= READS(CPU);
}

/* A process may be moved to another cgroup; then the one it was in tells nothing new. */
static void sample_cgroup(struct qemu_proc *proc, struct vm_sample *out)
{
	if (is_due(&proc->cgroup_look_up, out->mono_ns))
		find_cgroup(proc, out->mono_ns);
	if (!qemu_cgroup_sample(&proc->cgroup, out)) {
		find_cgroup(proc, out->mono_ns);
		(void)qemu_cgroup_sample(&proc->cgroup, out);
	}
	out->cgroup = proc->cgroup.id;
}

/*
 * stat costs twice as much as any other file: the kernel adds up the times of all threads for it.
 * Where the cgroup has the times, the little that is left is had from statm, and, as a directory has
 * a link of each that is in it, from task.  Linux 6.16 and newer count resident pages better there.
 */
static bool needs_stat(const struct qemu_proc *proc)
{
	return proc->statm < 0 || proc->task < 0 ||
		!qemu_cgroup_has_time(&proc->cgroup) ||
		!qemu_cgroup_has_modes(&proc->cgroup);
}

/* Threads are made by threads: while none ran, there is none more and none less. */
static void count_threads(const struct qemu_proc *proc, struct stat_fields *ret)
{
	struct stat st;

	ret->v[STAT_NUM_THREADS] = proc->n_threads;
	if (proc->reads & THREAD_READS && !qemu_cgroup_slept(&proc->cgroup) &&
		fstat(proc->task, &st) == 0 && st.st_nlink > 2)
		ret->v[STAT_NUM_THREADS] = st.st_nlink - 2; /* it has two without any */
}

/* What is known of the process itself.  Return: 0, or -errno. */
static int sample_process(const struct qemu_proc *proc, struct stat_fields *ret)
{
	int r = needs_stat(proc) ? -ENODATA : proc_statm_read(proc->statm, ret);

	if (r == -ENODATA)
		return proc_stat_read(proc->stat, ret);
	if (r == 0)
		count_threads(proc, ret);
	return r;
}

int qemu_proc_sample(struct qemu_proc *proc, struct vm_sample *out)
{
	struct stat_fields stat;

	sample_cgroup(proc, out);
	int r = sample_process(proc, &stat);

	if (r < 0)
		return r;
	out->pid = (uint32_t)proc->pid;
	out->start_ticks = proc->start_ticks;
	if (!proc->cgroup_lacking)
		vm_sample_set_absent(out, qemu_cgroup_absent(&proc->cgroup, proc->reads));
	set_times(proc, &stat, out);
	set_field(&out->facts[VM_THREADS], &stat, STAT_NUM_THREADS);
	set_field(&out->facts[VM_MINOR_FAULTS], &stat, STAT_MINFLT);
	set_field(&out->facts[VM_MAJOR_FAULTS], &stat, STAT_MAJFLT);
	sample_memory(proc, &stat, out);
	sample_io(proc, out);
	if (proc->reads & THREAD_READS)
		sample_threads(proc, &stat, out);
	return 0;
}
