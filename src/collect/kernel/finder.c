/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/finder.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect/kernel/delay_source.h"
#include "collect/kernel/disk_find.h"
#include "collect/kernel/fast_disks.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/kernel/shortage.h"
#include "core/catalogue.h"
#include "model/board.h"
#include "model/description.h"
#include "model/domain.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/sync.h"

/* libvirt may tell of a VM before its process is QEMU: pauses of 20 ms to 2.56 s. */
#define MAX_TRIES 8u
#define FIRST_PAUSE_NS (20 * NS_PER_MS)

/* What could not be opened for want of descriptors is tried again so often. */
#define SHORTAGE_PAUSE_NS (2 * NS_PER_S)

/* A path may come to name another device, which nobody tells: it is looked up again so often. */
#define DISKS_PAUSE_NS (30 * NS_PER_S)

struct finder {
	/* immutable after finder_start() */
	struct finder_params params;
	pthread_t thread;
	char *boot_id;

	/* finder thread only */
	bool warned;
	bool waits_counted; /* kernel.sched_schedstats was 1 */
	struct disk_finder *disks;
	int64_t disks_again_ns; /* monotonic; when those that are known are looked up again */

	struct lock lock; /* guards the rest; taken alone */
	pthread_cond_t wake;
	bool stopping, woken;
};

bool finder_waits_counted(int root_fd, bool known)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	unsigned before = open_shortages();
	int r = read_file_at(root_fd, "proc/sys/kernel/sched_schedstats", 16, &text);

	if (open_shortages() != before)
		return known;
	return r == 0 && *strbuf_str(&text) == '1';
}

/* What must be read of a process for the configuration in force. */
static uint64_t current_reads(struct finder *f)
{
	_cleanup_plan_ struct plan *plan = board_plan(f->params.board);

	if (plan->vm_reads & READS(WAIT))
		f->waits_counted =
			finder_waits_counted(f->params.root_fd, f->waits_counted);
	return f->waits_counted ? plan->vm_reads : plan->vm_reads & ~READS(WAIT);
}

/* Once: what holds for one VM holds for the others, too. */
static void warn_process(struct finder *f, const struct run *run, int error)
{
	if (f->warned)
		return;
	f->warned = true;
	log_write(LOG_LEVEL_WARNING, LOG_VM(run->ident),
		"VM '%s': its process cannot be read: %s; libvirt's figures are used",
		run->ident.name,
		error == -ENOENT          ? "/run/libvirt/qemu names none that is there"
			: error == -ESRCH ? "/run/libvirt/qemu names another one"
					  : strerror(-error));
}

/* Set once and for all, so that it differs for another run alone. */
static void set_session(struct finder *f, struct run *run, uint64_t start)
{
	uint64_t none = 0;

	atomic_compare_exchange_strong(
		&run->session, &none, domain_session(f->boot_id, run, start));
}

/* By the clock of the kernel's own, which goes on while the host sleeps. */
static void set_started(struct run *run, uint64_t ticks)
{
	const uint64_t ns_per_tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);

	if (ticks > (uint64_t)INT64_MAX / ns_per_tick)
		return;
	int64_t age = clock_ns(CLOCK_BOOTTIME) - (int64_t)(ticks * ns_per_tick);
	int64_t at = clock_mono_ns() - age;

	if (at > run->since_mono_ns)
		at = run->since_mono_ns;
	atomic_store(&run->started_mono_ns, at > 0 ? at : 1);
}

/* A process that cannot be opened just now: again later, or, if all is @whole, never. */
static void put_off(struct finder *f, struct run *run, struct fast_search *search,
	int error, bool whole, int64_t now)
{
	if (search->tries < MAX_TRIES) {
		search->not_before_ns = now + (FIRST_PAUSE_NS << search->tries++);
		return;
	}
	search->not_before_ns = whole ? INT64_MAX : now + SHORTAGE_PAUSE_NS;
	atomic_store(&run->no_process, whole);
	if (!whole)
		return; /* the session is the process', which will be found */
	set_session(f, run, (uint64_t)run->ident.id);
	warn_process(f, run, error);
}

/* Return: true if something was handed over. */
static bool find_process(struct finder *f, struct run *run, struct fast_vm *fv,
	uint64_t reads, int64_t now)
{
	struct fast_search *search = fast_vm_search(fv);
	struct qemu_proc *proc = NULL;
	uint64_t shares = 0;

	if (search->opened && search->reads != reads)
		search->not_before_ns = 0;
	if (search->not_before_ns > now)
		return false;
	if (run->hypervisor != HYPERVISOR_QEMU) {
		search->not_before_ns = INT64_MAX;
		set_session(f, run, (uint64_t)run->ident.id);
		atomic_store(&run->no_process, true);
		return true;
	}
	unsigned before = open_shortages();
	int r = qemu_proc_open(f->params.root_fd, &run->ident, reads, &proc);
	bool has_shares = r == 0 && reads & READS(CGROUP_WEIGHT) &&
		qemu_proc_shares(proc, &shares) == 0;
	bool whole = open_shortages() == before;

	if (r < 0) {
		put_off(f, run, search, r, whole, now);
		return false;
	}
	if (!whole && search->opened) {
		/* what is open already is not worse */
		qemu_proc_free(proc);
		search->not_before_ns = now + SHORTAGE_PAUSE_NS;
		return false;
	}
	*search = (struct fast_search){ .seen = search->seen,
		.disks = search->disks,
		.reads = reads,
		.not_before_ns = whole ? INT64_MAX : now + SHORTAGE_PAUSE_NS,
		.opened = true };
	set_session(f, run, qemu_proc_start_ticks(proc));
	set_started(run, qemu_proc_start_ticks(proc));
	if (has_shares)
		atomic_store(&run->shares, shares);
	run_set_process(run, qemu_proc_pid(proc), qemu_proc_start_ticks(proc),
		qemu_proc_stat_fd(proc));
	atomic_store(&run->no_process, false);
	fast_vm_hand_process(fv, proc);
	return true;
}

/*
 * A changed description may come with other cgroups: the process is opened again.
 * @next: when to look again, moved to an earlier time if descriptors were lacking.
 */
static bool find_links(
	struct finder *f, struct run *run, struct fast_vm *fv, int64_t *next)
{
	_cleanup_description_ struct description *d =
		registry_description(f->params.registry, run);
	struct fast_search *search = fast_vm_search(fv);

	if (!d || d == search->seen)
		return false;
	unsigned before = open_shortages();
	int64_t again = clock_mono_ns() + SHORTAGE_PAUSE_NS;
	struct fast_description *found = fast_description_new(f->params.root_fd, d);
	bool whole = open_shortages() == before;

	if (!whole && again < *next)
		*next = again;
	if (!whole && search->seen) {
		/* the one before is not worse */
		fast_description_free(found);
		return false;
	}
	if (search->seen) {
		search->not_before_ns = 0;
		search->tries = 0;
	}
	fast_vm_hand_description(fv, found);
	description_unref(search->seen);
	search->seen = whole ? TAKE_PTR(d) : NULL;
	return true;
}

/*
 * Which of its disks are devices of the host.  @again: also if the description is the same.
 * Return: as above.
 */
static bool find_disks(
	struct finder *f, struct run *run, struct fast_vm *fv, bool again, int64_t *next)
{
	_cleanup_description_ struct description *d =
		registry_description(f->params.registry, run);
	struct fast_search *search = fast_vm_search(fv);

	if (!d || (!again && fast_disks_of(search->disks) == d))
		return false;
	unsigned before = open_shortages();
	int64_t later = clock_mono_ns() + SHORTAGE_PAUSE_NS;
	struct fast_disks *found = fast_disks_new(f->disks, d);
	bool whole = open_shortages() == before;

	if (!whole && later < *next)
		*next = later;
	if (!whole || fast_disks_equal(search->disks, found)) {
		fast_disks_unref(found);
		return false;
	}
	fast_disks_unref(search->disks);
	search->disks = found;
	fast_vm_hand_disks(fv, fast_disks_ref(found));
	return true;
}

static void find_all_disks(struct finder *f, const struct roster *roster, int64_t *next)
{
	bool again = f->disks_again_ns <= clock_mono_ns(), any = false;

	if (again)
		f->disks_again_ns = clock_mono_ns() + DISKS_PAUSE_NS;
	for (size_t i = 0; i < roster->n; i++) {
		struct fast_vm *fv = run_place(roster->runs[i], PLACE_KERNEL);

		if (!fv)
			continue;
		if (find_disks(f, roster->runs[i], fv, again, next))
			f->params.found(f->params.ctx);
		any |= fast_disks_may_change(fast_vm_search(fv)->disks);
	}
	disk_finder_forget(f->disks);
	if (any && f->disks_again_ns < *next)
		*next = f->disks_again_ns;
}

/*
 * Looks at all runs once; processes first, so that a new VM's figures are there at once
 * even in a burst of starts.  Return: when to look again at the latest.
 */
static int64_t look(struct finder *f)
{
	_cleanup_roster_ struct roster *roster = registry_roster(f->params.registry);
	unsigned before = open_shortages();
	uint64_t reads = current_reads(f);
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < roster->n; i++) {
		struct fast_vm *fv = run_place(roster->runs[i], PLACE_KERNEL);

		if (fv && find_process(f, roster->runs[i], fv, reads, clock_mono_ns()))
			f->params.found(f->params.ctx);
	}
	/* after them, for it can take a moment */
	if (delay_source_look(f->params.delays, reads & READS(DELAYS)))
		f->params.found(f->params.ctx);
	for (size_t i = 0; i < roster->n; i++) {
		struct fast_vm *fv = run_place(roster->runs[i], PLACE_KERNEL);

		if (!fv)
			continue;
		if (find_links(f, roster->runs[i], fv, &next))
			f->params.found(f->params.ctx);
		if (fast_vm_search(fv)->not_before_ns < next)
			next = fast_vm_search(fv)->not_before_ns;
	}
	if (reads & READS(HOSTDISKS))
		find_all_disks(f, roster, &next);
	shortage_tell(f->params.shortage, before);
	return next;
}

static void *finder_main(void *arg)
{
	struct finder *f = arg;

	lock_take(&f->lock);
	while (!f->stopping) {
		f->woken = false;
		lock_release(&f->lock);
		int64_t next = look(f);

		lock_take(&f->lock);
		while (!f->stopping && !f->woken && clock_mono_ns() < next)
			lock_wait(&f->lock, &f->wake, next);
	}
	lock_release(&f->lock);
	return NULL;
}

static void finder_free(struct finder *f)
{
	disk_finder_free(f->disks);
	pthread_cond_destroy(&f->wake);
	lock_done(&f->lock);
	free(f->boot_id);
	free(f);
}

struct finder *finder_start(const struct finder_params *params)
{
	struct finder *f = xcalloc(1, sizeof(*f));
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	f->params = *params;
	(void)read_file_at(params->root_fd, "proc/sys/kernel/random/boot_id", 64, &text);
	f->boot_id = xstrdup(strbuf_str(&text));
	f->disks = disk_finder_new(params->root_fd);
	lock_init(&f->lock);
	cond_init_monotonic(&f->wake);
	int r = pthread_create(&f->thread, NULL, finder_main, f);

	if (r) {
		log_error("processes of VMs cannot be found: %s", strerror(r));
		finder_free(f);
		return NULL;
	}
	pthread_setname_np(f->thread, "finder");
	return f;
}

void finder_wake(struct finder *f)
{
	lock_take(&f->lock);
	f->woken = true;
	pthread_cond_signal(&f->wake);
	lock_release(&f->lock);
}

void finder_stop(struct finder *f)
{
	if (!f)
		return;
	lock_take(&f->lock);
	f->stopping = true;
	pthread_cond_signal(&f->wake);
	lock_release(&f->lock);
	pthread_join(f->thread, NULL);
	finder_free(f);
}
