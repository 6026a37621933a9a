/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/slow_job.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/stats.h"
#include "model/board.h"
#include "model/plan.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

struct slow_job *slow_job_new(enum slow_job_kind kind, struct plan *plan,
	enum slow_question question, uint64_t known)
{
	struct slow_job *job = xcalloc(1, sizeof(*job));

	job->kind = kind;
	job->plan = plan_ref(plan);
	job->question = question;
	job->apart = virt_stats_apart(plan, known);
	job->groups = question == ASK_ALL ? virt_stats_groups(plan, known)
					  : virt_stats_often(plan, known);
	job->known = known;
	job->by_home = virt_stats_by_home(plan, known);
	job->doms = xcalloc(SLOW_BATCH_VMS, sizeof(virDomainPtr));
	job->items = xcalloc(SLOW_BATCH_VMS, sizeof(*job->items));
	return job;
}

void slow_job_free(struct slow_job *job)
{
	for (size_t i = 0; i < job->n; i++) {
		virDomainFree(job->doms[i]);
		run_unref(job->items[i].run);
		vm_counters_done(&job->items[i].memory.last);
	}
	for (size_t i = 0; i < job->n_answers; i++)
		virDomainStatsRecordListFree(job->answers[i].records);
	virFreeError(job->error);
	plan_unref(job->plan);
	free(job->doms);
	free(job->answers);
	free(job->items);
	free(job);
}

void slow_job_add(struct slow_job *job, struct run *run, virDomainPtr dom,
	const struct slow_memory *memory, bool must)
{
	virDomainRef(dom);
	job->doms[job->n] = dom;
	struct slow_item *item = &job->items[job->n++];

	atomic_store(&job->call_vms, job->n);
	*item = (struct slow_item){
		.run = run_ref(run), .memory = *memory, .must = must
	};
	item->memory.last = vm_counters_copy(&memory->last);
	item->memory.again_ns = 0;
	item->memory.asleep = false;
}

static void set_silent(struct run *run)
{
	if (!atomic_exchange(&run->silent, true))
		log_write(LOG_LEVEL_WARNING, LOG_VM(run->ident),
			"VM '%s' does not answer its monitor", run->ident.name);
}

/* ---- a call ---- */

/*
 * A call waits for all that are asked, and one that waits cannot be taken back: so who is
 * known not to answer is not asked.  Others are found out when they did not.
 */
static bool may_be_asked(struct slow_item *item)
{
	struct slow_memory *m = &item->memory;
	int64_t now = clock_mono_ns();

	if (!run_is_stopped(item->run)) {
		m->stopped_ns = 0;
		return true;
	}
	m->doubt = DOUBT_STOPPED;
	if (!m->stopped_ns)
		m->stopped_ns = now;
	else if (now - m->stopped_ns > SLOW_SILENT_MS * NS_PER_MS)
		set_silent(item->run);
	return false;
}

/* True if its last answer was good, and for what is asked now. */
static bool has_answered(const struct slow_job *job, const struct slow_item *item)
{
	const struct slow_memory *m = &item->memory;
	const struct slow_told *told = &m->told[job->question];

	return m->asked_mono_ns && m->doubt == DOUBT_NONE &&
		told->groups == job->groups && told->known == job->known &&
		!told->n_lacked && told->n_alike == SLOW_LACKS_BELIEVED;
}

static enum slow_way way_to_ask(struct slow_job *job, int root_fd, struct slow_item *item)
{
	struct slow_memory *m = &item->memory;
	int64_t longest = SLOW_SLEEP_PERIODS * job->plan->settings.slow_period_ns;
	int64_t now = clock_mono_ns();

	if (longest > SLOW_SLEEP_MAX_NS)
		longest = SLOW_SLEEP_MAX_NS;
	if (!may_be_asked(item))
		return WAY_NOT;
	if (!job->by_home || item->must || !has_answered(job, item))
		return WAY_TOGETHER;
	enum home_state home = home_threads_look(root_fd, item->run, &m->home);

	if (home == HOME_RAN)
		return WAY_TOGETHER;
	if (home != HOME_SLEPT || now - m->asked_mono_ns >= SLOW_SLEEP_PULSES * longest)
		return WAY_ALONE;
	if (job->question == ASK_ALL && m->behind)
		return WAY_ALONE; /* that it sleeps is known since it was asked for less */
	if (now - m->heard_mono_ns >= longest)
		return WAY_PULSE;
	atomic_store(&item->run->slow_mono_ns, now);
	if (job->question == ASK_ALL)
		m->all_mono_ns = now;
	m->asleep = true;
	job->n_asleep++;
	return WAY_NOT;
}

static int get_stats(struct slow_job *job, virDomainPtr *doms, unsigned groups,
	virDomainStatsRecordPtr **ret, _Atomic bool *no_nowait)
{
	job->waited = atomic_load(no_nowait);
	if (!job->waited) {
		int n = virDomainListGetStats(
			doms, groups, ret, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

		if (n >= 0 || virGetLastErrorCode() != VIR_ERR_INVALID_ARG)
			return n;
		atomic_store(no_nowait, true);
		job->waited = true;
	}
	return virDomainListGetStats(doms, groups, ret, 0);
}

/* @doms: with a NULL behind them.  Return: the answer; n_records tells if it failed. */
static struct slow_answer *ask(struct slow_job *job, virDomainPtr *doms, size_t n,
	unsigned groups, _Atomic bool *no_nowait)
{
	job->answers = xgrow(
		job->answers, job->n_answers, &job->cap_answers, sizeof(*job->answers));
	struct slow_answer *answer = &job->answers[job->n_answers++];

	*answer = (struct slow_answer){
		.n_asked = n, .mono_ns = clock_mono_ns(), .real_ns = clock_real_ns()
	};
	atomic_store(&job->call_vms, n);
	atomic_store(&job->call_mono_ns, answer->mono_ns);
	job->n_asked += n;
	answer->n_records = get_stats(job, doms, groups, &answer->records, no_nowait);
	answer->took_ns = clock_mono_ns() - answer->mono_ns;
	/* a copy: any other call forgets it */
	if (answer->n_records < 0)
		job->error = virSaveLastError();
	return answer;
}

static bool ask_together(struct slow_job *job, int root_fd, _Atomic bool *no_nowait)
{
	virDomainPtr doms[SLOW_BATCH_VMS + 1] = { NULL };
	size_t n = 0;

	for (size_t i = 0; i < job->n; i++)
		if (job->items[i].way == WAY_TOGETHER) {
			job->items[i].memory.asked_mono_ns = 0; /* until it is answered */
			doms[n++] = job->doms[i];
		}
	if (!n)
		return true;
	bool good = ask(job, doms, n, job->groups, no_nowait)->n_records >= 0;

	for (size_t i = 0; i < job->n; i++) {
		struct slow_item *item = &job->items[i];

		if (item->way != WAY_TOGETHER)
			continue;
		item->failed = !good;
		if (job->by_home)
			home_threads_note_main(root_fd, item->run, &item->memory.home);
	}
	return good;
}

/*
 * It may have been passed by, as somebody else waits for it, and few have something that the record
 * would name.
 */
static bool has_pulse(
	struct slow_item *item, virDomainPtr dom, const struct slow_answer *answer)
{
	struct slow_memory *m = &item->memory;
	virDomainControlInfo info = { 0 };

	if (answer->n_records != 1)
		return false;
	if (!answer->records[0]->nparams &&
		(virDomainGetControlInfo(dom, &info, 0) < 0 ||
			info.state != VIR_DOMAIN_CONTROL_OK)) {
		m->doubt = DOUBT_SUSPECT;
		return false;
	}
	m->heard_mono_ns = answer->mono_ns;
	m->asleep = true;
	atomic_store(&item->run->slow_mono_ns, answer->mono_ns);
	return true;
}

static bool ask_alone(
	struct slow_job *job, size_t i, int root_fd, _Atomic bool *no_nowait)
{
	virDomainPtr doms[] = { job->doms[i], NULL };
	struct slow_item *item = &job->items[i];
	struct slow_memory *m = &item->memory;
	struct home_threads home;

	home_threads_before(root_fd, item->run, &home);
	/* its main thread, too, as it was: what the pulse has it do is all that it does */
	bool pulse = item->way == WAY_PULSE &&
		home_threads_look(root_fd, item->run, &m->home) == HOME_SLEPT;
	int64_t asked_mono_ns = m->asked_mono_ns;

	m->asked_mono_ns = 0; /* until it is answered */
	struct slow_answer *answer =
		ask(job, doms, 1, pulse ? VIRT_STATS_PULSE : job->groups, no_nowait);

	home_threads_after(root_fd, item->run, &home);
	m->home = home;
	answer->pulse = pulse;
	if (pulse && has_pulse(item, job->doms[i], answer))
		m->asked_mono_ns = asked_mono_ns;
	item->failed = answer->n_records < 0;
	return !item->failed;
}

void slow_job_call(struct slow_job *job, int root_fd, _Atomic bool *no_nowait)
{
	for (size_t i = 0; i < job->n; i++)
		job->items[i].way = way_to_ask(job, root_fd, &job->items[i]);
	job->failed = !ask_together(job, root_fd, no_nowait);
	for (size_t i = 0; i < job->n && !job->failed && !atomic_load(&job->abandoned);
		i++)
		if (job->items[i].way == WAY_ALONE || job->items[i].way == WAY_PULSE)
			job->failed = !ask_alone(job, i, root_fd, no_nowait);
}

static struct slow_item *find_item(struct slow_job *job, virDomainPtr dom, size_t *at)
{
	struct uuid uuid;

	if (virDomainGetUUID(dom, uuid.b) < 0)
		return NULL;
	/* records come in the order of the question; those of VMs that ended are missing */
	for (size_t i = *at; i < job->n; i++)
		if (uuid_compare(&job->items[i].run->ident.uuid, &uuid) == 0) {
			*at = i + 1;
			return &job->items[i];
		}
	return NULL;
}

/* A record that says less than the last: perhaps the monitor was passed by. */
static bool lacks_something(const struct slow_job *job, struct slow_told *told,
	const virDomainStatsRecord *record, bool monitor)
{
	bool less = record->nparams < told->n_params || (told->monitor && !monitor);

	told->n_lacked = less && told->groups == job->groups ? told->n_lacked + 1 : 0;
	return told->n_lacked > 0 && told->n_lacked < SLOW_LACKS_BELIEVED;
}

/* True if what a record that is stored does not name is not there. */
static bool is_whole(const struct slow_job *job, struct slow_item *item,
	const virDomainStatsRecord *record, bool monitor)
{
	struct slow_told *told = &item->memory.told[job->question];

	if (monitor || job->waited || told->n_lacked ||
		item->run->hypervisor != HYPERVISOR_QEMU)
		told->n_alike = SLOW_LACKS_BELIEVED;
	else if (told->groups != job->groups || record->nparams != told->n_params)
		told->n_alike = 1;
	else if (told->n_alike < SLOW_LACKS_BELIEVED)
		told->n_alike++;
	return told->n_alike == SLOW_LACKS_BELIEVED;
}

/* Puts what it says on the board. */
static void show(struct slow_job *job, struct board *board, struct slow_item *item,
	const struct slow_answer *answer, const virDomainStatsRecord *record, bool whole)
{
	struct metric_list *seldom = NULL;
	struct vm_counters *last = &item->memory.last;
	struct run *run = item->run;

	if (!job->apart) {
		board_update(board, run, LANE_LIBVIRT,
			virt_stats_convert(job->plan, run, record, job->known, whole,
				last, answer->real_ns, answer->mono_ns));
		return;
	}
	board_update(board, run, LANE_LIBVIRT,
		virt_stats_convert_apart(job->plan, run, record, job->known, whole, last,
			answer->real_ns, answer->mono_ns,
			job->question == ASK_ALL ? &seldom : NULL));
	if (seldom)
		board_update(board, run, LANE_SELDOM, seldom);
}

static void store(struct slow_job *job, struct board *board, struct slow_item *item,
	const struct slow_answer *answer, const virDomainStatsRecord *record)
{
	struct slow_memory *m = &item->memory;
	struct slow_told *told = &m->told[job->question];
	struct run *run = item->run;
	bool monitor = virt_stats_of_monitor(record);

	if (lacks_something(job, told, record, monitor)) {
		m->doubt = DOUBT_SUSPECT;
		return;
	}
	bool whole = is_whole(job, item, record, monitor);

	if (!whole)
		m->again_ns = SLOW_PAUSE_MS * NS_PER_MS << (told->n_alike - 1);
	m->doubt = DOUBT_NONE;
	m->asked_mono_ns = m->heard_mono_ns = answer->mono_ns;
	m->behind = job->question == ASK_OFTEN;
	if (job->question == ASK_ALL)
		m->all_mono_ns = answer->mono_ns;
	m->failed = false;
	told->n_params = record->nparams;
	told->n_lacked = 0;
	told->monitor = monitor;
	told->groups = job->groups;
	told->known = job->known;
	show(job, board, item, answer, record, whole);
	atomic_store(&run->slow_mono_ns, answer->mono_ns);
	if (atomic_exchange(&run->silent, false))
		log_write(LOG_LEVEL_INFO, LOG_VM(run->ident), "VM '%s' answers again",
			run->ident.name);
}

bool slow_job_store(struct slow_job *job, struct board *board)
{
	bool any = false;

	for (size_t k = 0; k < job->n_answers; k++) {
		const struct slow_answer *answer = &job->answers[k];
		size_t at = 0;

		for (int i = 0; i < answer->n_records && !answer->pulse; i++) {
			const virDomainStatsRecord *record = answer->records[i];
			struct slow_item *item = find_item(job, record->dom, &at);

			if (!item)
				continue;
			store(job, board, item, answer, record);
			any = true;
		}
	}
	return any;
}

static void fail_alone(struct slow_job *job, struct slow_item *item)
{
	bool ended = job->error && job->error->code == VIR_ERR_NO_DOMAIN;

	/* a VM that ended just now is no news */
	if (!ended && !item->memory.failed)
		log_write(LOG_LEVEL_WARNING, LOG_VM(item->run->ident),
			"VM '%s': libvirt has no statistics: %s", item->run->ident.name,
			job->error ? job->error->message : "unknown error");
	item->memory.failed = !ended;
}

void slow_job_failed(struct slow_job *job)
{
	size_t n_asked = job->answers[job->n_answers - 1].n_asked;

	for (size_t i = 0; i < job->n; i++) {
		if (!job->items[i].failed)
			continue;
		job->items[i].memory.doubt = DOUBT_ALONE;
		if (n_asked == 1)
			fail_alone(job, &job->items[i]);
	}
}

/* ---- probes ---- */

static void probe(struct slow_item *item, virDomainPtr dom)
{
	virDomainControlInfo info = { 0 };
	struct slow_memory *m = &item->memory;

	if (virDomainGetControlInfo(dom, &info, 0) < 0) {
		/* it has ended, or the driver cannot tell: ask it as any other */
		m->doubt = DOUBT_NONE;
	} else if (info.state == VIR_DOMAIN_CONTROL_ERROR ||
		(info.state == VIR_DOMAIN_CONTROL_OCCUPIED &&
			info.stateTime > SLOW_SILENT_MS)) {
		m->doubt = DOUBT_SILENT;
		set_silent(item->run);
	} else if (info.state == VIR_DOMAIN_CONTROL_OK) {
		m->doubt = m->doubt == DOUBT_SILENT ? DOUBT_ALONE : DOUBT_NONE;
	} /* else somebody else keeps it busy just now: its last figures stay */
}

void slow_job_probe(struct slow_job *job)
{
	for (size_t i = 0; i < job->n; i++)
		probe(&job->items[i], job->doms[i]);
}
