/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/sampler.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/board.h"
#include "model/cycle.h"
#include "collect/kernel/fast_plan.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/host.h"
#include "collect/kernel/link_stats.h"
#include "collect/kernel/proc_text.h"
#include "collect/kernel/qemu_cgroup.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Slow figures are stale after so many of their periods. */
#define STALE_SLOW_PERIODS 3

/* Something handed over that the next cycle takes in: one of the two, or a removal. */
struct parcel {
	struct vm *vm; /* a reference; NULL with fv */
	struct fast_vm *fv;
	struct fast_description *description;
};

struct sampler {
	/* immutable after sampler_start() */
	struct board *board;
	int root_fd;
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product);
	void (*rediscover)(void *ctx, const struct uuid *uuid);
	void *ctx;
	pthread_t thread;

	struct cycle cycle;
	_Atomic int64_t slow_period_ns;
	_Atomic int64_t last_cycle_ns, last_mono_ns;
	_Atomic uint64_t cycles;

	/* sampler thread only */
	struct host *host;
	struct link_stats *links;
	struct fast_plan *plan;
	struct fast_vm **vms;
	size_t n, cap;
	struct vm_sample scratch;
	bool waits_counted; /* kernel.sched_schedstats was 1 */

	pthread_mutex_t lock; /* guards the rest; taken alone */
	struct parcel *parcels;
	size_t n_parcels, cap_parcels;
};

/* ---- handing over ---- */

static void add_parcel(struct sampler *s, struct parcel parcel)
{
	pthread_mutex_lock(&s->lock);
	s->parcels =
		xgrow(s->parcels, s->n_parcels, &s->cap_parcels, sizeof(*s->parcels));
	s->parcels[s->n_parcels++] = parcel;
	pthread_mutex_unlock(&s->lock);
}

void sampler_put(struct sampler *s, struct fast_vm *fv)
{
	add_parcel(s, (struct parcel){ .fv = fv });
}

void sampler_describe(
	struct sampler *s, struct vm *vm, struct fast_description *description)
{
	add_parcel(s, (struct parcel){ .vm = vm_ref(vm), .description = description });
}

void sampler_remove(struct sampler *s, struct vm *vm)
{
	add_parcel(s, (struct parcel){ .vm = vm_ref(vm) });
}

static size_t find(const struct sampler *s, const struct vm *vm)
{
	for (size_t i = 0; i < s->n; i++)
		if (fast_vm_vm(s->vms[i]) == vm)
			return i;
	return SIZE_MAX;
}

static void put(struct sampler *s, struct fast_vm *fv)
{
	size_t i = find(s, fast_vm_vm(fv));

	if (i != SIZE_MAX) {
		fast_vm_inherit(fv, s->vms[i]);
		fast_vm_free(s->vms[i]);
		s->vms[i] = fv;
		return;
	}
	s->vms = xgrow(s->vms, s->n, &s->cap, sizeof(struct fast_vm *));
	s->vms[s->n++] = fv;
}

static void take_in(struct sampler *s, struct parcel *p)
{
	size_t i = p->fv ? SIZE_MAX : find(s, p->vm);

	if (p->fv) {
		put(s, p->fv);
	} else if (i != SIZE_MAX && p->description) {
		fast_vm_describe(s->vms[i], TAKE_PTR(p->description));
	} else if (i != SIZE_MAX) {
		fast_vm_free(s->vms[i]);
		s->vms[i] = s->vms[--s->n];
	}
	fast_description_free(p->description);
	vm_unref(p->vm);
}

static void take_in_parcels(struct sampler *s)
{
	pthread_mutex_lock(&s->lock);
	_cleanup_free_ struct parcel *parcels = TAKE_PTR(s->parcels);
	size_t n = s->n_parcels;

	s->n_parcels = s->cap_parcels = 0;
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++)
		take_in(s, &parcels[i]);
}

/* ---- a cycle ---- */

/* The kernel counts waiting only if told so; what it does not count is not zero. */
static bool waits_counted(const struct sampler *s)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	return read_file_at(s->root_fd, "proc/sys/kernel/sched_schedstats", 16, &text) ==
		0 &&
		*strbuf_str(&text) == '1';
}

unsigned sampler_needs(struct sampler *s, struct spec_set *specs)
{
	struct fast_plan *plan = fast_plan_new(specs);
	unsigned needs = fast_plan_needs(plan);

	fast_plan_free(plan);
	return waits_counted(s) ? needs : needs & ~(unsigned)NEED_WAIT;
}

static void refresh_plan(struct sampler *s)
{
	struct spec_set *specs = board_specs(s->board);

	if (!s->plan || specs != fast_plan_specs(s->plan)) {
		fast_plan_free(s->plan);
		s->plan = fast_plan_new(specs);
		s->waits_counted = waits_counted(s);
	}
	spec_set_unref(specs);
	/* it may be switched at any time */
	if (fast_plan_needs(s->plan) & NEED_WAIT) {
		bool counted = waits_counted(s);

		if (counted != s->waits_counted && s->rediscover)
			s->rediscover(s->ctx, NULL);
		s->waits_counted = counted;
	}
}

static void sample_about(struct sampler *s, const struct fast_vm *fv)
{
	const struct vm *vm = fast_vm_vm(fv);
	int64_t then = atomic_load(&vm->slow_mono_ns);
	int64_t age = then ? clock_mono_ns() - then : -1;
	bool stale = atomic_load(&vm->silent) ||
		age > STALE_SLOW_PERIODS * atomic_load(&s->slow_period_ns);
	struct metric_list *list = fast_plan_about(
		s->plan, !fast_vm_has_process(fv), age, stale, clock_real_ns());

	if (list)
		board_update(s->board, &vm->ident, LANE_ABOUT, list);
}

static void sample_vm(struct sampler *s, struct fast_vm *fv)
{
	const struct vm *vm = fast_vm_vm(fv);
	bool changed = false;
	struct metric_list *list =
		fast_vm_sample(fv, s->plan, s->links, &s->scratch, &changed);

	if (list)
		board_update(s->board, &vm->ident, LANE_FAST, list);
	sample_about(s, fv);
	if (changed && s->rediscover)
		s->rediscover(s->ctx, &vm->ident.uuid);
}

static void add_vm(const struct vm *vm, struct fact *facts, uint64_t *promised_kib)
{
	uint64_t rss = atomic_load(&vm->rss_kib);

	facts[FLEET_VMS_COUNT].value.u++;
	facts[FLEET_VMS_VCPUS].value.u += atomic_load(&vm->vcpus);
	facts[FLEET_VMS_MEMORY].value.u += rss ? rss : atomic_load(&vm->balloon_kib);
	facts[FLEET_SELF_VMS_SILENT].value.u += atomic_load(&vm->silent);
	*promised_kib += atomic_load(&vm->memory_kib);
}

static void set_ratio(struct fact *fact, uint64_t part, const struct fact *whole)
{
	if (whole->have && whole->value.u)
		fact_set(fact, value_real((double)part / (double)whole->value.u));
}

static void count_vms(struct sampler *s, struct fact *facts)
{
	static const enum fleet_key counts[] = { FLEET_VMS_COUNT, FLEET_VMS_VCPUS,
		FLEET_VMS_MEMORY, FLEET_SELF_VMS_SILENT };
	uint64_t promised_kib = 0;

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		fact_set(&facts[counts[i]], value_u64(0));
	for (size_t i = 0; i < s->n; i++)
		add_vm(fast_vm_vm(s->vms[i]), facts, &promised_kib);
	struct fact cpus = host_fact(s->host, HOST_CPU_COUNT);
	struct fact memory = host_fact(s->host, HOST_MEM_TOTAL);

	set_ratio(&facts[FLEET_OVERCOMMIT_CPU], facts[FLEET_VMS_VCPUS].value.u, &cpus);
	set_ratio(&facts[FLEET_OVERCOMMIT_MEMORY], promised_kib, &memory);
}

static void measure_self(struct sampler *s, struct fact *facts)
{
	const uint64_t page_kib = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == 0)
		fact_set(&facts[FLEET_SELF_CPU_TIME],
			value_u64((uint64_t)(usage.ru_utime.tv_sec +
					  usage.ru_stime.tv_sec) *
					(uint64_t)NS_PER_S +
				(uint64_t)(usage.ru_utime.tv_usec +
					usage.ru_stime.tv_usec) *
					1000));
	if (read_file_at(s->root_fd, "proc/self/statm", 256, &text) == 0) {
		const char *resident = strchr(strbuf_str(&text), ' ');

		if (resident)
			fact_set_u64(&facts[FLEET_SELF_RSS], resident + 1);
		facts[FLEET_SELF_RSS].value.u *= page_kib;
	}
	fact_set(&facts[FLEET_SELF_FAST_DURATION],
		value_u64((uint64_t)atomic_load(&s->last_cycle_ns)));
	fact_set(&facts[FLEET_SELF_FAST_CYCLES], value_u64(atomic_load(&s->cycles)));
	fact_set(&facts[FLEET_SELF_FAST_OVERRUNS], value_u64(cycle_overruns(&s->cycle)));
}

static void sample_fleet(struct sampler *s, struct spec_set *specs)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, clock_real_ns());
	struct fact facts[FLEET_KEY_COUNT] = { 0 };
	_cleanup_strbuf_ struct strbuf product = STRBUF_INIT;

	measure_self(s, facts);
	/* before libvirt was ever there, no VM is known, which does not mean that there is none */
	if (s->fill && s->fill(s->ctx, facts, &product))
		count_vms(s, facts);
	for (size_t i = 0; i < specs->n; i++) {
		const struct catalogue_entry *e = specs->specs[i].entry;

		if (e && e->collector == COLLECTOR_FLEET)
			metric_list_builder_add_source(b, (uint32_t)i, NULL,
				facts[e->key].have ? &facts[e->key].value : NULL);
	}
	board_update(s->board, NULL, LANE_FLEET, metric_list_builder_finish(b));
}

static void run_cycle(struct sampler *s)
{
	int64_t start = clock_mono_ns();

	take_in_parcels(s);
	refresh_plan(s);
	struct spec_set *specs = fast_plan_specs(s->plan);

	board_update(s->board, NULL, LANE_HOST, host_sample(s->host, specs));
	if (s->n && fast_plan_wants_links(s->plan))
		(void)link_stats_dump(s->links); /* then no interface is known */
	for (size_t i = 0; i < s->n; i++)
		sample_vm(s, s->vms[i]);
	sample_fleet(s, specs);
	board_publish(s->board);
	atomic_store(&s->last_cycle_ns, clock_mono_ns() - start);
	atomic_store(&s->last_mono_ns, start);
	atomic_fetch_add(&s->cycles, 1);
}

static void *sampler_main(void *arg)
{
	struct sampler *s = arg;

	while (cycle_wait(&s->cycle))
		run_cycle(s);
	return NULL;
}

/* ---- life ---- */

struct sampler *sampler_new(const struct sampler_params *params)
{
	struct sampler *s = xcalloc(1, sizeof(*s));

	s->board = params->board;
	s->root_fd = params->root_fd;
	s->host = host_new(params->root_fd);
	s->links = link_stats_new();
	pthread_mutex_init(&s->lock, NULL);
	atomic_store(&s->slow_period_ns, params->slow_period_ns);
	cycle_init(&s->cycle, params->period_ns);
	run_cycle(s);
	return s;
}

void sampler_start(struct sampler *s,
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product),
	void (*rediscover)(void *ctx, const struct uuid *uuid), void *ctx)
{
	s->fill = fill;
	s->rediscover = rediscover;
	s->ctx = ctx;
	pthread_create(&s->thread, NULL, sampler_main, s);
	pthread_setname_np(s->thread, "fast");
}

void sampler_stop(struct sampler *s)
{
	cycle_stop(&s->cycle);
	pthread_join(s->thread, NULL);
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	take_in_parcels(s);
	for (size_t i = 0; i < s->n; i++)
		fast_vm_free(s->vms[i]);
	free(s->vms);
	fast_plan_free(s->plan);
	vm_sample_done(&s->scratch);
	link_stats_free(s->links);
	host_free(s->host);
	cycle_done(&s->cycle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void sampler_reload(struct sampler *s, int64_t period_ns, int64_t slow_period_ns)
{
	atomic_store(&s->slow_period_ns, slow_period_ns);
	cycle_set_period(&s->cycle, period_ns);
}

void sampler_kick(struct sampler *s)
{
	cycle_kick(&s->cycle);
}

void sampler_status(struct sampler *s, struct strbuf *out)
{
	strbuf_addf(out,
		"fast.cycles: %" PRIu64 "\nfast.overruns: %" PRIu64
		"\nfast.cycle_us: %" PRId64 "\nfast.age_ms: %" PRId64 "\n",
		atomic_load(&s->cycles), cycle_overruns(&s->cycle),
		atomic_load(&s->last_cycle_ns) / 1000,
		(clock_mono_ns() - atomic_load(&s->last_mono_ns)) / NS_PER_MS);
}
