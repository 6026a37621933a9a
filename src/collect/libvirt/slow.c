/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/slow.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "collect/libvirt/slow_job.h"
#include "collect/libvirt/stats.h"
#include "core/catalogue.h"
#include "model/board.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/sync.h"

#define MAX_ACTIVE 2u /* calls at once that are not abandoned */
/*
 * With abandoned ones.  libvirtd serves five requests of a client at once, and has twenty
 * threads for all clients, each of which a hung VM holds: no more of them are for us.
 */
#define MAX_WORKERS 4u
#define TICKS 4 /* of the period: VMs due in the same tick share calls */
#define MIN_TICK_NS (10 * NS_PER_MS)

/* A call that takes longer, and longer than several usual ones of as many VMs, is abandoned. */
#define PATIENCE_MIN_NS (2 * NS_PER_S)
#define PATIENCE_FACTOR 4
#define PATIENCE_MAX_NS (10 * NS_PER_S)

#define SILENT_PAUSE_NS NS_PER_S
#define SUSPECT_PAUSE_NS (SLOW_PAUSE_MS * NS_PER_MS)

#define IDLE_NS NS_PER_S

/* What is kept of a run (PLACE_SLOW), guarded by slow.lock. */
struct slow_vm {
	struct run *run;  /* which keeps this in its place */
	virDomainPtr dom; /* NULL: no connection, or it is gone */
	int64_t due_ns;
	bool busy; /* in a job that is not abandoned */
	struct slow_memory memory;
};

struct slow {
	struct slow_params params;
	pthread_t scheduler;
	_Atomic bool no_nowait; /* the driver does not know NOWAIT */

	/* scheduler only */
	struct plan *plan;
	bool told_exhausted, told_no_thread;
	/* by what the kernel's lane knows: is there anything to ask, and is READS_SELDOM apart */
	bool asked[READS_EITHER + 1], apart[READS_EITHER + 1];

	struct lock lock;    /* guards the rest and PLACE_SLOW; inside it registry.lock */
	pthread_cond_t wake; /* the scheduler */
	pthread_cond_t work; /* idle workers */
	pthread_cond_t ended;              /* slow_stop() */
	int64_t period_ns, slow_period_ns; /* of the plan */
	bool stopping;
	bool stalled; /* even probes are not answered: libvirt itself hangs */
	bool kicked;
	bool no_thread; /* a worker was wanted and could not be started */
	struct slow_job *pending;
	struct slow_job *running; /* owned by a worker each */
	unsigned n_pending, n_workers, n_idle, n_active;
	int64_t vm_ns; /* what a VM took, of those that answered last; 0: none did */
	struct slow_figures figures;
};

/* ---- VMs ---- */

static void slow_vm_free(void *state)
{
	struct slow_vm *sv = state;

	if (sv->dom)
		virDomainFree(sv->dom);
	vm_counters_done(&sv->memory.last);
	free(sv);
}

static struct slow_vm *slow_vm_of(const struct run *run)
{
	return run_place(run, PLACE_SLOW);
}

static void kick_locked(struct slow *s)
{
	assert_locked(&s->lock);
	s->kicked = true;
	pthread_cond_signal(&s->wake);
}

void slow_ask(struct slow *s, const struct run *run)
{
	lock_take(&s->lock);
	struct slow_vm *sv = slow_vm_of(run);

	if (sv) {
		sv->due_ns = 0;
		kick_locked(s);
	}
	lock_release(&s->lock);
}

/* The domain is let go of at once: its last reference may close a connection. */
void slow_gone(struct slow *s, const struct run *run)
{
	lock_take(&s->lock);
	struct slow_vm *sv = slow_vm_of(run);
	virDomainPtr dom = sv ? TAKE_PTR(sv->dom) : NULL;

	lock_release(&s->lock);
	if (dom)
		virDomainFree(dom);
}

void slow_disconnect(struct slow *s)
{
	_cleanup_roster_ struct roster *roster = registry_roster(s->params.registry);

	for (size_t i = 0; i < roster->n; i++)
		slow_gone(s, roster->runs[i]);
	lock_take(&s->lock);
	s->stalled = false;
	lock_release(&s->lock);
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
	int64_t phase = (int64_t)(sv->run->key % (uint64_t)period);
	int64_t into = (now - phase) % period;
	int64_t due = now - (into < 0 ? into + period : into) + period;

	return due - due % tick + tick;
}

static uint64_t known(const struct slow_vm *sv)
{
	return atomic_load(&sv->run->known) & READS_EITHER;
}

/*
 * Those that a process before us has just asked are asked in the course of one period, or each
 * restart would have libvirt and all QEMUs work at once.
 */
static int64_t first_due(const struct slow *s, const struct slow_vm *sv)
{
	int64_t asked = atomic_load(&sv->run->slow_mono_ns), now = clock_mono_ns();

	if (!asked || now - asked >= s->slow_period_ns)
		return 0;
	return next_due(sv, s->period_ns, tick_ns(s), now);
}

/* After a job of that kind. */
static void plan_next_locked(
	struct slow *s, struct slow_vm *sv, enum slow_job_kind kind, int64_t now)
{
	assert_locked(&s->lock);
	enum slow_doubt doubt = sv->memory.doubt;
	int64_t again_ns = sv->memory.again_ns;

	if (doubt == DOUBT_SILENT)
		sv->due_ns = now + SILENT_PAUSE_NS;
	else if (doubt == DOUBT_STOPPED || doubt == DOUBT_SUSPECT)
		sv->due_ns = now + SUSPECT_PAUSE_NS;
	else if (kind == JOB_PROBE)
		sv->due_ns = now;
	else
		sv->due_ns = next_due(sv, known(sv) ? s->slow_period_ns : s->period_ns,
			tick_ns(s), now);
	if (again_ns && now + again_ns < sv->due_ns)
		sv->due_ns = now + again_ns;
}

/* ---- whom ---- */

void slow_put(struct slow *s, struct run *run, virDomainPtr dom)
{
	lock_take(&s->lock);
	struct slow_vm *sv = slow_vm_of(run);
	virDomainPtr old = NULL;

	if (!atomic_load(&run->gone)) {
		if (!sv) {
			sv = xcalloc(1, sizeof(*sv));
			sv->run = run;
			sv->due_ns = first_due(s, sv);
			run_set_place(run, PLACE_SLOW, sv, slow_vm_free);
		} else {
			sv->due_ns = 0;
		}
		old = sv->dom;
		virDomainRef(dom);
		sv->dom = dom;
		kick_locked(s);
	}
	lock_release(&s->lock);
	if (old)
		virDomainFree(old);
}

/* ---- workers ---- */

/* An answer came.  Return: false if nobody waits for it any more. */
static bool claim(struct slow *s, struct slow_job *job)
{
	lock_take(&s->lock);
	bool mine = !job->abandoned;

	job->over = true;
	/* whoever answers, libvirt is there */
	if (job->n_asked || job->kind == JOB_PROBE)
		s->stalled = false;
	lock_release(&s->lock);
	return mine;
}

static void run_stats(struct slow *s, struct slow_job *job)
{
	slow_job_call(job, s->params.root_fd, &s->no_nowait);
	if (!claim(s, job) || !job->n_asked)
		return;
	if (slow_job_store(job, s->params.board))
		board_publish(s->params.board);
	if (job->failed &&
		s->params.on_failure(s->params.ctx, virDomainGetConnect(job->doms[0])))
		slow_job_failed(job);
}

static void run_probe(struct slow *s, struct slow_job *job)
{
	slow_job_probe(job);
	claim(s, job);
}

static void count_locked(struct slow *s, const struct slow_job *job)
{
	assert_locked(&s->lock);
	s->figures.calls += job->n_answers;
	s->figures.asleep += job->n_asleep;
	if (job->n_answers)
		s->figures.call_ns = s->vm_ns = 0;
	for (size_t i = 0; i < job->n_answers; i++) {
		const struct slow_answer *answer = &job->answers[i];
		int64_t vm_ns = answer->took_ns / (int64_t)answer->n_asked;

		if (s->figures.call_ns < answer->took_ns)
			s->figures.call_ns = answer->took_ns;
		if (s->vm_ns < vm_ns)
			s->vm_ns = vm_ns;
	}
}

/* What the job found out becomes the VMs' state. */
static void settle_locked(struct slow *s, struct slow_job *job)
{
	assert_locked(&s->lock);
	int64_t now = clock_mono_ns();

	for (size_t i = 0; i < job->n; i++) {
		struct slow_item *item = &job->items[i];
		struct slow_vm *sv = slow_vm_of(item->run);

		if (job->abandoned) {
			/* at last: the one that held it up may be there again */
			if (sv->memory.doubt == DOUBT_SILENT)
				sv->due_ns = now;
			continue;
		}
		sv->busy = false;
		struct slow_memory before = sv->memory;

		sv->memory = item->memory;
		item->memory = before; /* freed with the job */
		if (sv->due_ns)
			plan_next_locked(s, sv, job->kind, now);
	}
	if (!job->abandoned) {
		s->n_active--;
		count_locked(s, job);
	}
	for (struct slow_job **at = &s->running; *at; at = &(*at)->next)
		if (*at == job) {
			*at = job->next;
			break;
		}
	kick_locked(s);
}

static void *worker_main(void *arg)
{
	struct slow *s = arg;

	lock_take(&s->lock);
	while (!s->stopping) {
		struct slow_job *job = s->pending;

		if (!job) {
			s->n_idle++;
			lock_wait(&s->lock, &s->work, INT64_MAX);
			s->n_idle--;
			continue;
		}
		s->pending = job->next;
		s->n_pending--;
		job->next = s->running;
		s->running = job;
		lock_release(&s->lock);
		if (job->kind == JOB_STATS)
			run_stats(s, job);
		else
			run_probe(s, job);
		lock_take(&s->lock);
		settle_locked(s, job);
		lock_release(&s->lock);
		slow_job_free(job);
		lock_take(&s->lock);
	}
	s->n_workers--;
	pthread_cond_signal(&s->ended);
	lock_release(&s->lock);
	return NULL;
}

static bool start_worker_locked(struct slow *s)
{
	assert_locked(&s->lock);
	pthread_t thread;

	if (s->n_workers == MAX_WORKERS)
		return false;
	s->no_thread = pthread_create(&thread, NULL, worker_main, s) != 0;
	if (s->no_thread)
		return false;
	pthread_setname_np(thread, "slow-worker");
	pthread_detach(thread);
	s->n_workers++;
	return true;
}

/* ---- the scheduler ---- */

static void refresh_plan(struct slow *s)
{
	struct plan *plan = board_plan(s->params.board);

	if (plan == s->plan) {
		plan_unref(plan);
		return;
	}
	plan_unref(s->plan);
	s->plan = plan;
	lock_take(&s->lock);
	s->period_ns = plan->settings.period_ns;
	s->slow_period_ns = plan->settings.slow_period_ns;
	lock_release(&s->lock);
	for (uint64_t known = 0; known <= READS_EITHER; known++) {
		s->asked[known] = virt_stats_groups(plan, known) != 0;
		s->apart[known] = virt_stats_apart(plan, known);
	}
}

static bool is_due(const struct slow_vm *sv, int64_t now)
{
	return sv->dom && !sv->busy && sv->due_ns <= now;
}

static bool needs_probe(const struct slow_vm *sv)
{
	return sv->memory.doubt == DOUBT_SUSPECT || sv->memory.doubt == DOUBT_SILENT;
}

static void job_add_locked(
	const struct slow *s, struct slow_job *job, struct slow_vm *sv, int64_t now)
{
	assert_locked(&s->lock);
	slow_job_add(job, sv->run, sv->dom, &sv->memory, !sv->due_ns);
	sv->busy = true;
	sv->due_ns = now; /* slow_ask() meanwhile makes it 0 */
}

/* Those in doubt first, then who has waited longest: nobody waits for ever. */
static struct slow_vm *first_due_locked(
	struct slow *s, const struct roster *roster, int64_t now)
{
	assert_locked(&s->lock);
	struct slow_vm *best = NULL;

	for (size_t i = 0; i < roster->n; i++) {
		struct slow_vm *sv = slow_vm_of(roster->runs[i]);

		if (!sv || !is_due(sv, now))
			continue;
		if (!needs_probe(sv) && !s->asked[known(sv)]) {
			plan_next_locked(s, sv, JOB_STATS, now); /* nothing to ask */
			continue;
		}
		bool in_doubt = sv->memory.doubt != DOUBT_NONE;

		if (!best || (in_doubt && !best->memory.doubt) ||
			(in_doubt == !!best->memory.doubt && sv->due_ns < best->due_ns))
			best = sv;
	}
	return best;
}

/* READS_SELDOM is asked for with the rest, in the slow period that ends nearest to its own. */
static enum slow_question question_for(
	const struct slow *s, const struct slow_vm *sv, int64_t now)
{
	const struct slow_memory *m = &sv->memory;
	const struct slow_told *told = &m->told[ASK_ALL];
	const struct plan_settings *settings = &s->plan->settings;

	if (!s->apart[known(sv)] || !sv->due_ns || !m->all_mono_ns)
		return ASK_ALL;
	if (told->known != known(sv) || told->n_alike != SLOW_LACKS_BELIEVED)
		return ASK_ALL; /* it is not known yet what there is */
	return now - m->all_mono_ns >=
			settings->balloon_period_ns - settings->slow_period_ns / 2
		? ASK_ALL
		: ASK_OFTEN;
}

/* True if a VM that is due can be asked by the same job as @first. */
static bool fits(const struct slow *s, const struct slow_vm *first,
	const struct slow_vm *sv, int64_t now)
{
	if (needs_probe(first) || needs_probe(sv))
		return needs_probe(first) && needs_probe(sv);
	return sv->memory.doubt == first->memory.doubt &&
		first->memory.doubt != DOUBT_ALONE && known(sv) == known(first) &&
		question_for(s, sv, now) == question_for(s, first, now);
}

/*
 * Makes a job of the VM that comes first and those that can be asked with it.
 * Return: NULL if none is due.
 */
static struct slow_job *make_job_locked(struct slow *s, int64_t now)
{
	assert_locked(&s->lock);
	_cleanup_roster_ struct roster *roster = registry_roster(s->params.registry);
	struct slow_vm *first = first_due_locked(s, roster, now);

	if (!first)
		return NULL;
	struct slow_job *job = slow_job_new(needs_probe(first) ? JOB_PROBE : JOB_STATS,
		s->plan, question_for(s, first, now), known(first));

	atomic_store(&job->call_mono_ns, now);
	for (size_t i = 0; i < roster->n && job->n + 1 < SLOW_BATCH_VMS; i++) {
		struct slow_vm *sv = slow_vm_of(roster->runs[i]);

		if (sv && sv != first && is_due(sv, now) && fits(s, first, sv, now))
			job_add_locked(s, job, sv, now);
	}
	job_add_locked(s, job, first, now); /* it was what they are compared with */
	return job;
}

/* Nobody can be had to do it: its VMs stay due. */
static void drop_job_locked(const struct slow *s, struct slow_job *job)
{
	assert_locked(&s->lock);
	for (size_t i = 0; i < job->n; i++)
		slow_vm_of(job->items[i].run)->busy = false;
	slow_job_free(job);
}

/* Return: false if nothing more can be started now. */
static bool start_job_locked(struct slow *s, int64_t now)
{
	assert_locked(&s->lock);
	/* an idle worker that was woken is still counted */
	bool idle = s->n_idle > s->n_pending;

	if (s->stalled || s->n_active == MAX_ACTIVE ||
		(!idle && s->n_workers == MAX_WORKERS))
		return false;
	struct slow_job *job = make_job_locked(s, now);

	if (!job)
		return false;
	if (!idle && !start_worker_locked(s)) {
		drop_job_locked(s, job);
		return false;
	}
	job->next = s->pending;
	s->pending = job;
	s->n_pending++;
	s->n_active++;
	if (idle)
		pthread_cond_signal(&s->work);
	return true;
}

/* All workers wait for calls that were given up. */
static bool exhausted_locked(const struct slow *s)
{
	assert_locked(&s->lock);
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

static void tell_no_thread(struct slow *s, bool no_thread)
{
	if (no_thread && !s->told_no_thread)
		log_warning(
			"no thread can be had to ask libvirt: slow figures stand still");
	s->told_no_thread = no_thread;
}

static int64_t patience_ns(const struct slow *s, const struct slow_job *job)
{
	int64_t ns = s->vm_ns * (int64_t)atomic_load(&job->call_vms) * PATIENCE_FACTOR;

	return ns > PATIENCE_MAX_NS    ? PATIENCE_MAX_NS
		: ns < PATIENCE_MIN_NS ? PATIENCE_MIN_NS
				       : ns;
}

static void abandon_locked(struct slow *s, struct slow_job *job, int64_t now)
{
	assert_locked(&s->lock);
	job->abandoned = true;
	s->n_active--;
	s->figures.abandoned++;
	/* if not even probes are answered it is libvirt that hangs, and no VM */
	if (job->kind == JOB_PROBE)
		s->stalled = true;
	for (size_t i = 0; i < job->n; i++) {
		struct slow_vm *sv = slow_vm_of(job->items[i].run);

		sv->busy = false;
		sv->due_ns = now;
		if (job->kind == JOB_STATS && sv->memory.doubt != DOUBT_SILENT)
			sv->memory.doubt = DOUBT_SUSPECT;
	}
}

static void abandon_late_locked(struct slow *s, int64_t now)
{
	assert_locked(&s->lock);
	for (struct slow_job *job = s->running; job; job = job->next)
		if (!job->over && !job->abandoned &&
			now - atomic_load(&job->call_mono_ns) > patience_ns(s, job))
			abandon_locked(s, job, now);
}

/* Until a VM is due, a call is late, or somebody kicks. */
static void wait_locked(struct slow *s, int64_t now)
{
	assert_locked(&s->lock);
	_cleanup_roster_ struct roster *roster = registry_roster(s->params.registry);
	int64_t next = now + IDLE_NS;

	for (size_t i = 0; i < roster->n; i++) {
		const struct slow_vm *sv = slow_vm_of(roster->runs[i]);

		/* those that are due already wait for a worker, who kicks */
		if (sv && sv->dom && !sv->busy && sv->due_ns > now && sv->due_ns < next)
			next = sv->due_ns;
	}
	for (const struct slow_job *job = s->running; job; job = job->next) {
		int64_t late = atomic_load(&job->call_mono_ns) + patience_ns(s, job) + 1;

		if (!job->over && !job->abandoned && late < next)
			next = late;
	}
	while (!s->kicked && !s->stopping && clock_mono_ns() < next)
		lock_wait(&s->lock, &s->wake, next);
	s->kicked = false;
}

static void *scheduler_main(void *arg)
{
	struct slow *s = arg;

	lock_take(&s->lock);
	while (!s->stopping) {
		lock_release(&s->lock);
		refresh_plan(s);
		lock_take(&s->lock);
		int64_t now = clock_mono_ns();

		abandon_late_locked(s, now);
		while (start_job_locked(s, now))
			continue;
		bool exhausted = exhausted_locked(s), no_thread = s->no_thread;

		lock_release(&s->lock);
		tell_exhausted(s, exhausted);
		tell_no_thread(s, no_thread);
		lock_take(&s->lock);
		wait_locked(s, now);
	}
	lock_release(&s->lock);
	return NULL;
}

/* ---- life ---- */

void slow_free(struct slow *s)
{
	if (!s)
		return;
	while (s->pending) {
		struct slow_job *job = s->pending;

		s->pending = job->next;
		slow_job_free(job);
	}
	plan_unref(s->plan);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->ended);
	lock_done(&s->lock);
	free(s);
}

struct slow *slow_start(const struct slow_params *params)
{
	struct slow *s = xcalloc(1, sizeof(*s));

	s->params = *params;
	lock_init(&s->lock);
	cond_init_monotonic(&s->wake);
	cond_init_monotonic(&s->work);
	cond_init_monotonic(&s->ended);
	refresh_plan(s);
	int r = pthread_create(&s->scheduler, NULL, scheduler_main, s);

	if (r) {
		log_error("slow figures cannot be had: %s", strerror(r));
		slow_free(s);
		return NULL;
	}
	pthread_setname_np(s->scheduler, "slow");
	return s;
}

bool slow_stop(struct slow *s, int64_t deadline_mono_ns)
{
	lock_take(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_cond_broadcast(&s->work);
	lock_release(&s->lock);
	pthread_join(s->scheduler, NULL);
	lock_take(&s->lock);
	while (s->n_workers && clock_mono_ns() < deadline_mono_ns)
		lock_wait(&s->lock, &s->ended, deadline_mono_ns);
	bool over = !s->n_workers;

	lock_release(&s->lock);
	return over;
}

void slow_again(struct slow *s)
{
	_cleanup_roster_ struct roster *roster = registry_roster(s->params.registry);

	lock_take(&s->lock);
	for (size_t i = 0; i < roster->n; i++) {
		struct slow_vm *sv = slow_vm_of(roster->runs[i]);

		if (sv)
			sv->due_ns = 0;
	}
	kick_locked(s);
	lock_release(&s->lock);
}

void slow_get_figures(struct slow *s, struct slow_figures *ret)
{
	lock_take(&s->lock);
	*ret = s->figures;
	lock_release(&s->lock);
}

void slow_status(struct slow *s, struct strbuf *out)
{
	_cleanup_roster_ struct roster *roster = registry_roster(s->params.registry);
	int64_t now = clock_mono_ns();

	lock_take(&s->lock);
	strbuf_addf(out,
		"slow.calls: %" PRIu64 "\nslow.abandoned: %" PRIu64
		"\nslow.asleep: %" PRIu64 "\nslow.call_us: %" PRId64
		"\nslow.workers: %u\n",
		s->figures.calls, s->figures.abandoned, s->figures.asleep,
		s->figures.call_ns / 1000, s->n_workers);
	for (const struct slow_job *job = s->running; job; job = job->next)
		strbuf_addf(out, "slow.waiting_ms: %" PRId64 "%s\n",
			(now - atomic_load(&job->call_mono_ns)) / NS_PER_MS,
			job->abandoned ? " abandoned" : "");
	for (size_t i = 0; i < roster->n; i++) {
		const struct run *run = roster->runs[i];
		const struct slow_vm *sv = slow_vm_of(run);
		char uuid[UUID_TEXT_LEN + 1];
		int64_t then = atomic_load(&run->slow_mono_ns);

		uuid_format(&run->ident.uuid, uuid);
		strbuf_addf(out, "vm.%s.slow_age_ms: %" PRId64 "%s\n", uuid,
			then ? (now - then) / NS_PER_MS : -1,
			atomic_load(&run->silent)         ? " silent"
				: sv && sv->memory.asleep ? " asleep"
							  : "");
	}
	lock_release(&s->lock);
}
