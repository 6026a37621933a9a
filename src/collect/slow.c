/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/slow.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "collect/board.h"
#include "collect/virt_stats.h"
#include "collect/vm_sample.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/search.h"
#include "util/strbuf.h"
#include "util/sync.h"

#define MAX_ACTIVE 2u /* calls at once that are not abandoned */
/*
 * With abandoned ones.  libvirtd serves five requests of a client at once, and has twenty
 * threads for all clients, each of which a hung VM holds: no more of them are for us.
 */
#define MAX_WORKERS 4u
#define BATCH_VMS 64u /* in one call: bounds what one hung VM holds up */
#define TICKS 4       /* of the period: VMs due in the same tick share calls */
#define MIN_TICK_NS (10 * NS_PER_MS)

/* A call that takes longer, and longer than several usual ones, is abandoned. */
#define PATIENCE_MIN_NS (2 * NS_PER_S)
#define PATIENCE_FACTOR 4
#define PATIENCE_MAX_NS (10 * NS_PER_S)

/* A monitor that is occupied for longer does not answer. */
#define SILENT_MS 2000u
#define SILENT_PAUSE_NS NS_PER_S
#define SUSPECT_PAUSE_NS (250 * NS_PER_MS)

#define IDLE_NS NS_PER_S

enum slow_doubt {
	DOUBT_NONE,
	DOUBT_SUSPECT, /* it, or one that was asked with it, did not answer */
	DOUBT_SILENT,  /* its monitor is occupied for too long */
	DOUBT_ALONE,   /* it may answer again: ask nobody else with it */
};

/* A VM, guarded by slow.lock. */
struct slow_vm {
	struct vm *vm;
	uint64_t key;
	virDomainPtr dom; /* NULL: no connection */
	int64_t due_ns;
	bool busy; /* in a job that is not abandoned */
	enum slow_doubt doubt;
	int n_params; /* libvirt named last time; fewer make it suspect */
	struct vm_counters last;
};

struct job_item {
	struct vm *vm;
	struct vm_counters last;
	int n_params;
	enum slow_doubt doubt;
	bool answered;
};

enum job_kind { JOB_STATS, JOB_PROBE };

/* One call, or one round of probes; owned by its worker, listed for the scheduler. */
struct job {
	struct job *next; /* guarded by slow.lock */
	bool abandoned;   /* guarded by slow.lock */
	bool over; /* guarded by slow.lock: answered, may not be abandoned any more */
	enum job_kind kind;
	struct virt_plan *plan;
	unsigned groups, cover;
	int64_t start_mono_ns, start_real_ns;
	size_t n;
	virDomainPtr *doms; /* NULL behind the last */
	struct job_item *items;
};

struct slow {
	struct slow_params params;
	pthread_t scheduler;
	_Atomic bool no_nowait; /* the driver does not know NOWAIT */

	/* scheduler only */
	struct virt_plan *plan;
	bool told_exhausted;
	unsigned groups[COVER_COMBINATIONS];

	pthread_mutex_t lock; /* guards the rest; taken alone */
	pthread_cond_t wake;  /* the scheduler */
	pthread_cond_t work;  /* idle workers */
	pthread_cond_t ended; /* slow_stop() */
	int64_t period_ns, slow_period_ns;
	bool stopping;
	bool stalled; /* even probes are not answered: libvirt itself hangs */
	bool kicked;
	struct slow_vm *vms; /* sorted by key */
	size_t n_vms, cap_vms;
	struct job *pending, *running;
	unsigned n_workers, n_idle, n_active;
	struct slow_figures figures;
};

/* ---- VMs ---- */

static uint64_t key_at(const void *vms, size_t i)
{
	return ((const struct slow_vm *)vms)[i].key;
}

static size_t place_locked(const struct slow *s, uint64_t key)
{
	return search_key(s->vms, s->n_vms, key_at, key);
}

static struct slow_vm *find_locked(const struct slow *s, const struct vm *vm)
{
	size_t i = place_locked(s, uuid_key(&vm->ident.uuid));

	return i < s->n_vms && s->vms[i].vm == vm ? &s->vms[i] : NULL;
}

static void release(struct slow_vm *sv)
{
	if (sv->dom)
		virDomainFree(sv->dom);
	vm_unref(sv->vm);
}

static void kick_locked(struct slow *s)
{
	s->kicked = true;
	pthread_cond_signal(&s->wake);
}

void slow_put(struct slow *s, struct vm *vm, virDomainPtr dom)
{
	uint64_t key = uuid_key(&vm->ident.uuid);

	virDomainRef(dom);
	pthread_mutex_lock(&s->lock);
	size_t i = place_locked(s, key);
	bool known = i < s->n_vms && s->vms[i].key == key;

	if (!known) {
		s->vms = xgrow(s->vms, s->n_vms, &s->cap_vms, sizeof(*s->vms));
		memmove(&s->vms[i + 1], &s->vms[i], (s->n_vms - i) * sizeof(*s->vms));
		s->n_vms++;
	}
	struct slow_vm *sv = &s->vms[i];

	if (known && sv->vm == vm) {
		virDomainPtr old = sv->dom;

		sv->dom = dom;
		dom = old;
	} else {
		if (known)
			release(sv);
		*sv = (struct slow_vm){ .vm = vm_ref(vm), .key = key, .dom = dom };
		dom = NULL;
	}
	sv->due_ns = 0;
	kick_locked(s);
	pthread_mutex_unlock(&s->lock);
	if (dom)
		virDomainFree(dom);
}

void slow_remove(struct slow *s, const struct vm *vm)
{
	pthread_mutex_lock(&s->lock);
	struct slow_vm *sv = find_locked(s, vm);

	if (sv) {
		release(sv);
		size_t i = (size_t)(sv - s->vms);

		memmove(sv, sv + 1, (--s->n_vms - i) * sizeof(*sv));
	}
	pthread_mutex_unlock(&s->lock);
}

void slow_disconnect(struct slow *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->n_vms; i++) {
		if (s->vms[i].dom)
			virDomainFree(s->vms[i].dom);
		s->vms[i].dom = NULL;
	}
	s->stalled = false;
	pthread_mutex_unlock(&s->lock);
}

/* ---- when ---- */

static int64_t tick_ns(const struct slow *s)
{
	int64_t tick = s->period_ns / TICKS;

	return tick > MIN_TICK_NS ? tick : MIN_TICK_NS;
}

/*
 * Each VM has its own phase in the period, so that calls are spread over it; those of the
 * same tick share calls.
 */
static int64_t next_due(
	const struct slow_vm *sv, int64_t period, int64_t tick, int64_t now)
{
	int64_t phase = (int64_t)(sv->key % (uint64_t)period);
	int64_t into = (now - phase) % period;
	int64_t due = now - (into < 0 ? into + period : into) + period;

	return due - due % tick + tick;
}

static bool covered(const struct slow_vm *sv)
{
	return atomic_load(&sv->vm->cover) != 0;
}

/* After a job of that kind. */
static void plan_next_locked(
	struct slow *s, struct slow_vm *sv, enum job_kind kind, int64_t now)
{
	if (sv->doubt == DOUBT_SILENT)
		sv->due_ns = now + SILENT_PAUSE_NS;
	else if (sv->doubt == DOUBT_SUSPECT)
		sv->due_ns = kind == JOB_PROBE ? now + SUSPECT_PAUSE_NS : now;
	else if (kind == JOB_PROBE)
		sv->due_ns = now;
	else
		sv->due_ns = next_due(sv, covered(sv) ? s->slow_period_ns : s->period_ns,
			tick_ns(s), now);
}

/* ---- calls, on the workers ---- */

static int get_stats(struct slow *s, struct job *job, virDomainStatsRecordPtr **ret)
{
	if (!atomic_load(&s->no_nowait)) {
		int n = virDomainListGetStats(job->doms, job->groups, ret,
			VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

		if (n >= 0 || virGetLastErrorCode() != VIR_ERR_INVALID_ARG)
			return n;
		atomic_store(&s->no_nowait, true);
	}
	return virDomainListGetStats(job->doms, job->groups, ret, 0);
}

/* An answer came.  Return: false if nobody waits for it any more. */
static bool claim(struct slow *s, struct job *job)
{
	pthread_mutex_lock(&s->lock);
	bool mine = !job->abandoned;

	job->over = true;
	/* whoever answers, libvirt is there */
	s->stalled = false;
	pthread_mutex_unlock(&s->lock);
	return mine;
}

static struct job_item *find_item(struct job *job, virDomainPtr dom, size_t *at)
{
	struct uuid uuid;

	if (virDomainGetUUID(dom, uuid.b) < 0)
		return NULL;
	/* records come in the order of the question; those of VMs that ended are missing */
	for (size_t i = *at; i < job->n; i++)
		if (uuid_compare(&job->items[i].vm->ident.uuid, &uuid) == 0) {
			*at = i + 1;
			return &job->items[i];
		}
	return NULL;
}

/* A record that says less than the last: perhaps the monitor was passed by. */
static bool lacks_something(
	const struct job_item *item, const virDomainStatsRecord *record)
{
	return item->doubt == DOUBT_NONE && record->nparams < item->n_params;
}

static void store(struct slow *s, struct job *job, struct job_item *item,
	const virDomainStatsRecord *record)
{
	struct vm *vm = item->vm;

	item->answered = true;
	if (lacks_something(item, record)) {
		item->doubt = DOUBT_SUSPECT;
		return;
	}
	item->doubt = DOUBT_NONE;
	item->n_params = record->nparams;
	board_update(s->params.board, &vm->ident, LANE_LIBVIRT,
		virt_stats_convert(job->plan, vm, record, job->cover, &item->last,
			job->start_real_ns, job->start_mono_ns));
	atomic_store(&vm->slow_mono_ns, job->start_mono_ns);
	if (atomic_exchange(&vm->silent, false))
		log_info("VM '%s' answers again", vm->ident.name);
}

static void run_stats(struct slow *s, struct job *job)
{
	virDomainStatsRecordPtr *records = NULL;
	int n = get_stats(s, job, &records);
	/* a copy: any other call forgets it */
	virErrorPtr error = n < 0 ? virSaveLastError() : NULL;
	bool mine = claim(s, job);
	size_t at = 0;

	if (mine && n < 0)
		s->params.on_failure(
			s->params.ctx, virDomainGetConnect(job->doms[0]), error);
	for (int i = 0; mine && i < n; i++) {
		struct job_item *item = find_item(job, records[i]->dom, &at);

		if (item)
			store(s, job, item, records[i]);
	}
	if (mine && n >= 0) {
		board_publish(s->params.board);
		s->params.on_success(s->params.ctx);
	}
	virDomainStatsRecordListFree(records);
	virFreeError(error);
}

/* Asks libvirt, and no monitor, whether a monitor keeps somebody waiting. */
static void probe(struct job_item *item, virDomainPtr dom)
{
	virDomainControlInfo info = { 0 };
	struct vm *vm = item->vm;

	item->answered = true;
	if (virDomainGetControlInfo(dom, &info, 0) < 0) {
		/* it has ended, or the driver cannot tell: ask it as any other */
		item->doubt = DOUBT_NONE;
		item->n_params = 0;
	} else if (info.state == VIR_DOMAIN_CONTROL_ERROR ||
		(info.state == VIR_DOMAIN_CONTROL_OCCUPIED &&
			info.stateTime > SILENT_MS)) {
		item->doubt = DOUBT_SILENT;
		if (!atomic_exchange(&vm->silent, true))
			log_warning(
				"VM '%s' does not answer its monitor", vm->ident.name);
	} else if (info.state == VIR_DOMAIN_CONTROL_OK) {
		item->doubt = item->doubt == DOUBT_SILENT ? DOUBT_ALONE : DOUBT_NONE;
		item->n_params = 0; /* what it says next is all there is */
	} /* else somebody else keeps it busy just now: its last figures stay */
}

static void run_probe(struct slow *s, struct job *job)
{
	for (size_t i = 0; i < job->n; i++)
		probe(&job->items[i], job->doms[i]);
	claim(s, job);
}

static void job_free(struct job *job)
{
	for (size_t i = 0; i < job->n; i++) {
		virDomainFree(job->doms[i]);
		vm_unref(job->items[i].vm);
	}
	virt_plan_unref(job->plan);
	free(job->doms);
	free(job->items);
	free(job);
}

/* What the job found out becomes the VMs' state. */
static void settle_locked(struct slow *s, struct job *job)
{
	int64_t now = clock_mono_ns();

	for (size_t i = 0; i < job->n; i++) {
		const struct job_item *item = &job->items[i];
		struct slow_vm *sv = find_locked(s, item->vm);

		if (!sv)
			continue; /* gone meanwhile */
		if (job->abandoned) {
			/* at last: the one that held it up may be there again */
			if (sv->doubt == DOUBT_SILENT)
				sv->due_ns = now;
			continue;
		}
		sv->busy = false;
		sv->last = item->last;
		sv->n_params = item->n_params;
		if (item->answered)
			sv->doubt = item->doubt;
		plan_next_locked(s, sv, job->kind, now);
	}
	if (!job->abandoned) {
		s->n_active--;
		if (job->kind == JOB_STATS) {
			s->figures.calls++;
			s->figures.call_ns = now - job->start_mono_ns;
		}
	}
	for (struct job **at = &s->running; *at; at = &(*at)->next)
		if (*at == job) {
			*at = job->next;
			break;
		}
	kick_locked(s);
}

static void *worker_main(void *arg)
{
	struct slow *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct job *job = s->pending;

		if (!job) {
			s->n_idle++;
			pthread_cond_wait(&s->work, &s->lock);
			s->n_idle--;
			continue;
		}
		s->pending = job->next;
		job->next = s->running;
		s->running = job;
		pthread_mutex_unlock(&s->lock);
		if (job->kind == JOB_STATS)
			run_stats(s, job);
		else
			run_probe(s, job);
		pthread_mutex_lock(&s->lock);
		settle_locked(s, job);
		pthread_mutex_unlock(&s->lock);
		job_free(job);
		pthread_mutex_lock(&s->lock);
	}
	s->n_workers--;
	pthread_cond_signal(&s->ended);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static bool start_worker_locked(struct slow *s)
{
	pthread_t thread;

	if (s->n_workers == MAX_WORKERS || pthread_create(&thread, NULL, worker_main, s))
		return false;
	pthread_setname_np(thread, "slow-worker");
	pthread_detach(thread);
	s->n_workers++;
	return true;
}

/* ---- the scheduler ---- */

static void refresh_plan(struct slow *s)
{
	struct spec_set *specs = board_specs(s->params.board);

	if (!s->plan || specs != virt_plan_specs(s->plan)) {
		virt_plan_unref(s->plan);
		s->plan = virt_plan_new(specs);
		for (unsigned cover = 0; cover < COVER_COMBINATIONS; cover++)
			s->groups[cover] = virt_plan_groups(s->plan, cover);
	}
	spec_set_unref(specs);
}

static bool is_due(const struct slow_vm *sv, int64_t now)
{
	return sv->dom && !sv->busy && sv->due_ns <= now;
}

static bool needs_probe(const struct slow_vm *sv)
{
	return sv->doubt == DOUBT_SUSPECT || sv->doubt == DOUBT_SILENT;
}

static unsigned cover_of(const struct slow_vm *sv)
{
	return atomic_load(&sv->vm->cover) & (COVER_COMBINATIONS - 1);
}

static void job_add_locked(struct job *job, struct slow_vm *sv)
{
	job->doms[job->n] = sv->dom;
	virDomainRef(sv->dom);
	job->items[job->n++] = (struct job_item){ .vm = vm_ref(sv->vm),
		.last = sv->last,
		.n_params = sv->n_params,
		.doubt = sv->doubt };
	sv->busy = true;
}

/* Those in doubt first, then who has waited longest: nobody waits for ever. */
static struct slow_vm *first_due_locked(struct slow *s, int64_t now)
{
	struct slow_vm *best = NULL;

	for (size_t i = 0; i < s->n_vms; i++) {
		struct slow_vm *sv = &s->vms[i];

		if (!is_due(sv, now))
			continue;
		if (!needs_probe(sv) && !s->groups[cover_of(sv)]) {
			plan_next_locked(s, sv, JOB_STATS, now); /* nothing to ask */
			continue;
		}
		if (!best || (!best->doubt && sv->doubt) ||
			(!best->doubt == !sv->doubt && sv->due_ns < best->due_ns))
			best = sv;
	}
	return best;
}

/* True if a VM that is due can be asked by the same job. */
static bool fits_locked(
	const struct slow *s, const struct job *job, const struct slow_vm *sv)
{
	if (job->kind == JOB_PROBE)
		return needs_probe(sv);
	return sv->doubt == DOUBT_NONE && cover_of(sv) == job->cover &&
		s->groups[job->cover];
}

/*
 * Makes a job of the VM that comes first and those that can be asked with it.
 * Return: NULL if none is due.
 */
static struct job *make_job_locked(struct slow *s, int64_t now)
{
	struct slow_vm *first = first_due_locked(s, now);

	if (!first)
		return NULL;
	struct job *job = xcalloc(1, sizeof(*job));

	job->kind = needs_probe(first) ? JOB_PROBE : JOB_STATS;
	job->plan = virt_plan_ref(s->plan);
	job->cover = cover_of(first);
	job->groups = s->groups[job->cover];
	job->doms = xcalloc(BATCH_VMS + 1, sizeof(virDomainPtr));
	job->items = xcalloc(BATCH_VMS, sizeof(*job->items));
	job_add_locked(job, first);
	for (size_t i = 0; i < s->n_vms && job->n < BATCH_VMS; i++) {
		if (first->doubt == DOUBT_ALONE)
			break;
		if (is_due(&s->vms[i], now) && fits_locked(s, job, &s->vms[i]))
			job_add_locked(job, &s->vms[i]);
	}
	return job;
}

/* Return: false if nothing more can be started now. */
static bool start_job_locked(struct slow *s, int64_t now)
{
	if (s->stalled || s->n_active == MAX_ACTIVE ||
		(!s->n_idle && s->n_workers == MAX_WORKERS))
		return false;
	struct job *job = make_job_locked(s, now);

	if (!job)
		return false;
	job->start_mono_ns = now;
	job->start_real_ns = clock_real_ns();
	job->next = s->pending;
	s->pending = job;
	s->n_active++;
	if (s->n_idle)
		pthread_cond_signal(&s->work);
	else
		start_worker_locked(s);
	return true;
}

/* All workers wait for calls that were given up. */
static bool exhausted_locked(const struct slow *s)
{
	return s->n_workers == MAX_WORKERS && !s->n_idle && !s->n_active;
}

/* Once, until it changes. */
static void tell_exhausted(struct slow *s, bool exhausted)
{
	if (exhausted && !s->told_exhausted)
		log_warning("libvirt does not answer %u calls: until it does, slow "
			    "figures of all VMs stand still",
			MAX_WORKERS);
	s->told_exhausted = exhausted;
}

static int64_t patience_ns(const struct slow *s)
{
	int64_t ns = s->figures.call_ns * PATIENCE_FACTOR;

	return ns > PATIENCE_MAX_NS    ? PATIENCE_MAX_NS
		: ns < PATIENCE_MIN_NS ? PATIENCE_MIN_NS
				       : ns;
}

static void abandon_locked(struct slow *s, struct job *job, int64_t now)
{
	job->abandoned = true;
	s->n_active--;
	s->figures.abandoned++;
	/* if not even probes are answered it is libvirt that hangs, and no VM */
	if (job->kind == JOB_PROBE)
		s->stalled = true;
	for (size_t i = 0; i < job->n; i++) {
		struct slow_vm *sv = find_locked(s, job->items[i].vm);

		if (!sv)
			continue;
		sv->busy = false;
		sv->due_ns = now;
		if (job->kind == JOB_STATS && sv->doubt != DOUBT_SILENT)
			sv->doubt = DOUBT_SUSPECT;
	}
}

static void abandon_late_locked(struct slow *s, int64_t now)
{
	for (struct job *job = s->running; job; job = job->next)
		if (!job->over && !job->abandoned &&
			now - job->start_mono_ns > patience_ns(s))
			abandon_locked(s, job, now);
}

/* Until a VM is due, a call is late, or somebody kicks. */
static void wait_locked(struct slow *s, int64_t now)
{
	int64_t next = now + IDLE_NS;

	for (size_t i = 0; i < s->n_vms; i++) {
		const struct slow_vm *sv = &s->vms[i];

		/* those that are due already wait for a worker, who kicks */
		if (sv->dom && !sv->busy && sv->due_ns > now && sv->due_ns < next)
			next = sv->due_ns;
	}
	for (const struct job *job = s->running; job; job = job->next) {
		int64_t late = job->start_mono_ns + patience_ns(s) + 1;

		if (!job->over && !job->abandoned && late < next)
			next = late;
	}
	struct timespec until = ns_to_timespec(next);

	while (!s->kicked && !s->stopping && clock_mono_ns() < next)
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
	s->kicked = false;
}

static void *scheduler_main(void *arg)
{
	struct slow *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		pthread_mutex_unlock(&s->lock);
		refresh_plan(s);
		pthread_mutex_lock(&s->lock);
		int64_t now = clock_mono_ns();

		abandon_late_locked(s, now);
		while (start_job_locked(s, now))
			continue;
		bool exhausted = exhausted_locked(s);

		pthread_mutex_unlock(&s->lock);
		tell_exhausted(s, exhausted);
		pthread_mutex_lock(&s->lock);
		wait_locked(s, now);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- life ---- */

struct slow *slow_start(const struct slow_params *params)
{
	struct slow *s = xcalloc(1, sizeof(*s));

	s->params = *params;
	s->period_ns = params->period_ns;
	s->slow_period_ns = params->slow_period_ns;
	pthread_mutex_init(&s->lock, NULL);
	cond_init_monotonic(&s->wake);
	cond_init_monotonic(&s->work);
	cond_init_monotonic(&s->ended);
	pthread_create(&s->scheduler, NULL, scheduler_main, s);
	pthread_setname_np(s->scheduler, "slow");
	return s;
}

bool slow_stop(struct slow *s, int64_t deadline_mono_ns)
{
	struct timespec until = ns_to_timespec(deadline_mono_ns);

	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_cond_broadcast(&s->work);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->scheduler, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->n_workers && clock_mono_ns() < deadline_mono_ns)
		pthread_cond_timedwait(&s->ended, &s->lock, &until);
	bool over = !s->n_workers;

	pthread_mutex_unlock(&s->lock);
	if (!over)
		return false;
	while (s->pending) {
		struct job *job = s->pending;

		s->pending = job->next;
		job_free(job);
	}
	for (size_t i = 0; i < s->n_vms; i++)
		release(&s->vms[i]);
	virt_plan_unref(s->plan);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->ended);
	pthread_mutex_destroy(&s->lock);
	free(s->vms);
	free(s);
	return true;
}

void slow_reload(struct slow *s, int64_t period_ns, int64_t slow_period_ns)
{
	pthread_mutex_lock(&s->lock);
	s->period_ns = period_ns;
	s->slow_period_ns = slow_period_ns;
	for (size_t i = 0; i < s->n_vms; i++) {
		s->vms[i].due_ns = 0;
		s->vms[i].n_params = 0;
	}
	kick_locked(s);
	pthread_mutex_unlock(&s->lock);
}

void slow_get_figures(struct slow *s, struct slow_figures *ret)
{
	pthread_mutex_lock(&s->lock);
	*ret = s->figures;
	pthread_mutex_unlock(&s->lock);
}

void slow_status(struct slow *s, struct strbuf *out)
{
	int64_t now = clock_mono_ns();

	pthread_mutex_lock(&s->lock);
	strbuf_addf(out,
		"slow.calls: %" PRIu64 "\nslow.abandoned: %" PRIu64
		"\nslow.call_us: %" PRId64 "\nslow.workers: %u\n",
		s->figures.calls, s->figures.abandoned, s->figures.call_ns / 1000,
		s->n_workers);
	for (const struct job *job = s->running; job; job = job->next)
		strbuf_addf(out, "slow.waiting_ms: %" PRId64 "%s\n",
			(now - job->start_mono_ns) / NS_PER_MS,
			job->abandoned ? " abandoned" : "");
	for (size_t i = 0; i < s->n_vms; i++) {
		const struct vm *vm = s->vms[i].vm;
		char uuid[UUID_TEXT_LEN + 1];
		int64_t then = atomic_load(&vm->slow_mono_ns);

		uuid_format(&vm->ident.uuid, uuid);
		strbuf_addf(out, "vm.%s.slow_age_ms: %" PRId64 "%s\n", uuid,
			then ? (now - then) / NS_PER_MS : -1,
			atomic_load(&vm->silent) ? " silent" : "");
	}
	pthread_mutex_unlock(&s->lock);
}
