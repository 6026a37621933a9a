/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/sampler.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collect/kernel/cpu_frequency.h"
#include "collect/kernel/delay_source.h"
#include "collect/kernel/disk_stats.h"
#include "collect/kernel/fast_list.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/finder.h"
#include "collect/kernel/host.h"
#include "collect/kernel/link_stats.h"
#include "collect/kernel/proc_text.h"
#include "collect/kernel/shortage.h"
#include "core/metric_list.h"
#include "model/board.h"
#include "model/cycle.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Slow figures are stale after so many of their periods. */
#define STALE_SLOW_PERIODS 3

struct sampler {
	/* immutable after sampler_start() */
	struct board *board;
	struct registry *registry;
	int root_fd;
	uint64_t host_mhz;
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product);
	void *ctx;
	struct delay_source *delays;
	struct finder *finder;
	pthread_t thread;

	struct cycle cycle;
	_Atomic int64_t last_cycle_ns, last_mono_ns;
	_Atomic uint64_t cycles;
	struct shortage shortage;

	/* sampler thread only */
	struct host *host;
	struct link_stats *links;
	struct disk_stats *disks;
	struct plan *plan;
	struct vm_sample scratch;
	bool waits_counted; /* kernel.sched_schedstats was 1 */
};

/* ---- a cycle ---- */

static void refresh_plan(struct sampler *s)
{
	plan_unref(s->plan);
	s->plan = board_plan(s->board);
	/* what the kernel does not count is not zero; that may be switched at any time */
	if (s->plan->vm_reads & READS(WAIT)) {
		bool counted = finder_waits_counted(s->root_fd, s->waits_counted);

		if (counted != s->waits_counted && s->finder)
			finder_wake(s->finder);
		s->waits_counted = counted;
	}
}

static void sample_about(struct sampler *s, struct run *run, const struct fast_vm *fv)
{
	int64_t then = atomic_load(&run->slow_mono_ns), now = clock_mono_ns();
	struct fast_about about = { .known = atomic_load(&run->known),
		.slow_age_ns = then ? now - then : -1 };

	about.process = fast_vm_has_process(fv) ? PROCESS_SAMPLED
		: atomic_load(&run->no_process) ? PROCESS_ABSENT
						: PROCESS_SOUGHT;
	about.stale = plan_libvirt_reads(s->plan, about.known) &&
		(atomic_load(&run->silent) ||
			now - (then ? then : run->since_mono_ns) >
				STALE_SLOW_PERIODS * s->plan->settings.slow_period_ns);
	struct metric_list *list = fast_list_about(s->plan, &about, clock_real_ns());

	if (list)
		board_update(s->board, run, LANE_ABOUT, list);
}

static void sample_vm(struct sampler *s, struct run *run, struct fast_vm *fv)
{
	enum fast_sampled r =
		fast_vm_measure(fv, s->plan, s->links, s->disks, &s->scratch);

	if (r == SAMPLE_NEW ||
		(r == SAMPLE_SAME &&
			!board_keep(s->board, run, LANE_FAST, s->scratch.time_ns)))
		board_update(s->board, run, LANE_FAST, fast_list(s->plan, &s->scratch));
	struct metric_list *list = fast_vm_domain(fv, s->plan, s->host_mhz);

	if (list)
		board_update(s->board, run, LANE_DOMAIN, list);
	sample_about(s, run, fv);
}

/* Reads what there is of all VMs at once, as far as it is asked for. */
static void sample_devices(struct sampler *s)
{
	if (s->plan->vm_reads & READS(NICS))
		(void)link_stats_dump(s->links); /* then no interface is known */
	if (s->plan->vm_reads & READS(HOSTDISKS))
		(void)disk_stats_read(s->disks); /* likewise */
}

static void sample_vms(struct sampler *s, const struct roster *roster)
{
	if (roster->n)
		sample_devices(s);
	for (size_t i = 0; i < roster->n; i++) {
		struct fast_vm *fv = run_place(roster->runs[i], PLACE_KERNEL);

		if (!fv)
			continue;
		(void)fast_vm_take_in(fv);
		sample_vm(s, roster->runs[i], fv);
	}
}

/* Only those of which something was found since they were last sampled. */
static void sample_new_vms(struct sampler *s, const struct roster *roster)
{
	bool read = false;

	for (size_t i = 0; i < roster->n; i++) {
		struct fast_vm *fv = run_place(roster->runs[i], PLACE_KERNEL);
		unsigned news = fv ? fast_vm_take_in(fv) : 0;

		if (!news)
			continue;
		if ((news & (NEWS_DESCRIPTION | NEWS_DISKS)) && !read) {
			sample_devices(s); /* one may be newer than the last time */
			read = true;
		}
		sample_vm(s, roster->runs[i], fv);
	}
}

static void add_vm(const struct run *run, struct fact *facts, uint64_t *promised_kib)
{
	const struct fast_vm *fv = run_place(run, PLACE_KERNEL);
	uint64_t rss = atomic_load(&run->rss_kib);

	if (atomic_load(&run->ended_mono_ns))
		return;
	facts[FLEET_VMS_COUNT].value.u++;
	facts[FLEET_VMS_VCPUS].value.u += atomic_load(&run->vcpus);
	facts[FLEET_VMS_MEMORY].value.u += rss ? rss : atomic_load(&run->balloon_kib);
	facts[FLEET_SELF_VMS_SILENT].value.u += atomic_load(&run->silent);
	*promised_kib += fv ? fast_vm_memory_kib(fv) : 0;
}

static void set_ratio(struct fact *fact, uint64_t part, const struct fact *whole)
{
	fact->absent = whole->absent;
	if (whole->have && whole->value.u)
		fact_set(fact, value_real((double)part / (double)whole->value.u));
}

static void count_vms(struct sampler *s, const struct roster *roster, struct fact *facts)
{
	static const enum fleet_key counts[] = { FLEET_VMS_COUNT, FLEET_VMS_VCPUS,
		FLEET_VMS_MEMORY, FLEET_SELF_VMS_SILENT };
	uint64_t promised_kib = 0;

	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		fact_set(&facts[counts[i]], value_u64(0));
	for (size_t i = 0; i < roster->n; i++)
		add_vm(roster->runs[i], facts, &promised_kib);
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

static void sample_fleet(struct sampler *s, const struct roster *roster)
{
	const struct plan_part *part = &s->plan->parts[PLAN_FLEET];
	struct metric_list_builder *b =
		metric_list_builder_new(s->plan->specs, clock_real_ns());
	struct fact facts[FLEET_KEY_COUNT] = { 0 };
	_cleanup_strbuf_ struct strbuf product = STRBUF_INIT;

	measure_self(s, facts);
	/* before libvirt was ever there, no VM is known, which does not mean that there is none */
	if (s->fill && s->fill(s->ctx, facts, &product))
		count_vms(s, roster, facts);
	for (size_t i = 0; i < part->n; i++) {
		const struct plan_item *item = &part->items[i];

		metric_list_builder_add_fact(b, item->slot, NULL, &facts[item->key]);
	}
	board_update(s->board, NULL, LANE_FLEET, metric_list_builder_finish(b));
}

static void run_beat(struct sampler *s, const struct roster *roster)
{
	int64_t start = clock_mono_ns();

	board_update(s->board, NULL, LANE_HOST, host_sample(s->host, s->plan));
	sample_vms(s, roster);
	delay_source_end(s->delays, true);
	board_set_blame(s->board, delay_source_blame(s->delays));
	sample_fleet(s, roster);
	board_publish(s->board);
	atomic_store(&s->last_cycle_ns, clock_mono_ns() - start);
	atomic_store(&s->last_mono_ns, start);
	atomic_fetch_add(&s->cycles, 1);
}

static void run_cycle(struct sampler *s, enum cycle_event event)
{
	_cleanup_roster_ struct roster *roster = registry_roster(s->registry);
	unsigned before = open_shortages();

	refresh_plan(s);
	bool all = delay_source_begin(s->delays, s->plan->vm_reads & READS(DELAYS));

	if (event == CYCLE_BEAT) {
		run_beat(s, roster);
	} else {
		if (all)
			sample_vms(s, roster);
		else
			sample_new_vms(s, roster);
		sample_fleet(s, roster);
		board_publish(s->board);
	}
	shortage_tell(&s->shortage, before);
}

static void *sampler_main(void *arg)
{
	struct sampler *s = arg;
	enum cycle_event event;

	while ((event = cycle_wait(&s->cycle)) != CYCLE_STOPPED)
		run_cycle(s, event);
	return NULL;
}

/* ---- life ---- */

static void on_registry(void *ctx, enum registry_event event, struct run *run)
{
	struct sampler *s = ctx;

	if (event == RUN_APPEARED)
		run_set_place(
			run, PLACE_KERNEL, fast_vm_new(run, s->delays), fast_vm_free);
	else if (event == RUN_DESCRIBED || event == REGISTRY_SETTLED)
		finder_wake(s->finder);
}

static void on_plan(void *ctx, const struct plan *plan)
{
	struct sampler *s = ctx;

	finder_wake(s->finder); /* other files may have to be open */
	cycle_set_period(&s->cycle, plan->settings.period_ns);
}

static void on_found(void *ctx)
{
	sampler_kick(ctx);
}

struct sampler *sampler_new(const struct sampler_params *params)
{
	struct sampler *s = xcalloc(1, sizeof(*s));

	s->plan = board_plan(params->board);
	s->board = params->board;
	s->registry = params->registry;
	s->root_fd = params->root_fd;
	s->host = host_new(params->root_fd);
	s->host_mhz = cpu_frequency_nominal_mhz(params->root_fd);
	s->links = link_stats_new();
	s->disks = disk_stats_new(params->root_fd);
	s->delays = delay_source_new(&params->delays);
	cycle_init(&s->cycle, s->plan->settings.period_ns);
	if (!params->inherited)
		run_cycle(s, CYCLE_BEAT);
	return s;
}

int sampler_start(struct sampler *s,
	bool (*fill)(void *ctx, struct fact *facts, struct strbuf *product), void *ctx)
{
	struct finder_params params = { .registry = s->registry,
		.board = s->board,
		.root_fd = s->root_fd,
		.shortage = &s->shortage,
		.delays = s->delays,
		.found = on_found,
		.ctx = s };

	s->fill = fill;
	s->ctx = ctx;
	s->finder = finder_start(&params);
	if (!s->finder)
		return -EAGAIN;
	registry_subscribe(s->registry, (struct registry_listener){ on_registry, s });
	int r = pthread_create(&s->thread, NULL, sampler_main, s);

	if (r) {
		log_error("nothing can be sampled: %s", strerror(r));
		finder_stop(TAKE_PTR(s->finder));
		return -r;
	}
	pthread_setname_np(s->thread, "fast");
	board_subscribe(s->board, (struct plan_listener){ on_plan, s });
	return 0;
}

void sampler_stop(struct sampler *s)
{
	cycle_stop(&s->cycle);
	pthread_join(s->thread, NULL);
	finder_stop(TAKE_PTR(s->finder));
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	plan_unref(s->plan);
	vm_sample_done(&s->scratch);
	delay_source_free(s->delays);
	link_stats_free(s->links);
	disk_stats_free(s->disks);
	host_free(s->host);
	cycle_done(&s->cycle);
	free(s);
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
	delay_source_status(s->delays, out);
}

void sampler_delay_state(struct sampler *s, struct strbuf *out)
{
	delay_source_state(s->delays, out);
}
