/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each source of the catalogue, asked for alone, has a value on a host and from a libvirt
 * that have them all: so nothing that it needs is left unread.
 */
#include "delay-maps.h"
#include "host-files.h"
#include "plans.h"
#include "process.h"
#include "samples.h"
#include "stage.h"

#include <poll.h>
#include <stdatomic.h>

#include "collect/kernel/sampler.h"
#include "collect/libvirt/domain_xml.h"
#include "collect/libvirt/stats.h"
#include "core/histogram.h"
#include "model/description.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define SCOPE "machine.slice/machine-qemu\\x2d3\\x2da.scope"
#define AT(file) "sys/fs/cgroup/" SCOPE "/" file

#define PRESSURE                                                                         \
	"some avg10=1.00 avg60=2.00 avg300=3.00 total=40\n"                              \
	"full avg10=0.50 avg60=0.25 avg300=0.10 total=5\n"

/* The shares are the cgroup's. */
static const char domain_xml[] =
	"<domain type='kvm'><name>a b</name><memory>2048</memory>"
	"<metadata><x:a xmlns:x='urn:x'><x:b c='d'/></x:a></metadata>"
	"<currentMemory>1024</currentMemory><vcpu>8</vcpu>"
	"<cputune><period>100000</period><quota>50000</quota>"
	"<global_period>100000</global_period><global_quota>150000</global_quota>"
	"<emulator_period>100000</emulator_period><emulator_quota>20000</emulator_quota>"
	"</cputune><memtune><hard_limit>4096</hard_limit><soft_limit>2048</soft_limit>"
	"<swap_hard_limit>8192</swap_hard_limit><min_guarantee>512</min_guarantee></memtune>"
	"<devices><disk type='block'><source dev='/dev/sda'/><iotune><total_bytes_sec>1</total_bytes_sec>"
	"<read_bytes_sec>2</read_bytes_sec><write_bytes_sec>3</write_bytes_sec>"
	"<total_iops_sec>4</total_iops_sec><read_iops_sec>5</read_iops_sec>"
	"<write_iops_sec>6</write_iops_sec></iotune></disk>"
	"<interface type='bridge'><target dev='lo'/></interface></devices></domain>";

static void add_everything(struct fixture *f)
{
	static const char *const pressures[] = { "proc/pressure/cpu",
		"proc/pressure/memory", "proc/pressure/io", AT("cpu.pressure"),
		AT("memory.pressure"), AT("io.pressure") };

	add_process(f);
	add_host_fixture(f);
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++)
		fixture_add(f, pressures[i], PRESSURE);
	fixture_add(f, "sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2500000\n");
	fixture_add(f, "proc/sys/kernel/sched_schedstats", "1\n");
	fixture_add(f, "proc/self/statm", "100 50 1 1 0 1 0\n");
	fixture_add(f, "sys/class/net/lo/ifindex", "1\n");
	fixture_add(f, "sys/class/block/sda/dev", "8:0\n");
	fixture_add(f, "sys/dev/block/8:0/mq/0/cpu_list", "0\n");
	fixture_add(f, "proc/diskstats",
		"   8       0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n");
	fixture_add(f, "proc/4711/cgroup", "0::/" SCOPE "/libvirt/emulator\n");
	fixture_add(f, AT("cpu.stat"), "usage_usec 3\nuser_usec 1\nsystem_usec 2\n");
	fixture_add(f, AT("cpu.max"), "max 100000\n");
	fixture_add(f, AT("cpu.weight"), "250\n");
	fixture_add(f, AT("memory.current"), "4096\n");
	fixture_add(f, AT("libvirt/vcpu0/cpu.max"), "50000 100000\n");
	fixture_add(f, AT("libvirt/vcpu0/cpu.stat"),
		"nr_periods 10\nnr_throttled 2\nthrottled_usec 7\n");
}

static bool fill(void *ctx, struct fact *facts, struct strbuf *product)
{
	static const enum fleet_key slow[] = { FLEET_SELF_SLOW_CALLS,
		FLEET_SELF_SLOW_ABANDONED, FLEET_SELF_SLOW_ASLEEP,
		FLEET_SELF_SLOW_DURATION };

	(void)ctx;
	strbuf_adds(product, "QEMU 7.2.0");
	fact_set(&facts[FLEET_VIRT_PRODUCT], value_string(strbuf_str(product)));
	for (size_t i = 0; i < ARRAY_LEN(slow); i++)
		fact_set(&facts[slow[i]], value_u64(1));
	return true;
}

static struct spec_set *only(const struct catalogue_entry *e)
{
	struct spec_set *specs = spec_set_new(1);

	specs->n = 0;
	want(specs, e->name, e->name, e->type, NULL);
	if (!strcmp(e->name, "domain.metadata"))
		specs->specs[0].element = xstrdup("{urn:x}a/b/@c");
	return specs;
}

/* The order of these keys means something here alone. */
static bool is_sum(const struct catalogue_entry *e)
{
	return e->collector == COLLECTOR_FLEET && e->key >= FLEET_VMS_COUNT &&
		e->key <= FLEET_OVERCOMMIT_MEMORY;
}

static bool is_zero(const struct metric *m)
{
	return m->value.type == METRIC_REAL64 ? !(m->value.real > 0) : !m->value.u;
}

/* True if it has a value, under whatever number; the sum of what nobody read is none. */
static bool published(struct tree *tree, const struct catalogue_entry *e)
{
	struct view *view = tree_view(tree);
	const struct snapshot *s = e->context == CONTEXT_HOST ? view->host
		: view->n_vms                                 ? view->vms[0]
							      : NULL;
	bool any = false;

	for (size_t i = 0; s && i < s->n; i++)
		any |= snapshot_metric(s, i)->available &&
			!(is_sum(e) && is_zero(snapshot_metric(s, i)));
	for (size_t i = 0; s && i < s->n_histograms; i++)
		any |= snapshot_histogram(s, i)->available &&
			histogram_count(snapshot_histogram(s, i)->value.h);
	view_unref(view);
	return any;
}

/* What counts the waits of the VM's vCPUs. */
static struct maps maps;

static int get_maps(int fd, struct delay_maps *ret, struct strbuf *why)
{
	(void)fd;
	(void)why;
	ret->bits = BITS;
	for (size_t i = 0; i < DELAY_MAPS; i++)
		ret->fds[i] = dup(maps.fds[i]);
	return 0;
}

static void let_maps_go(int fd)
{
	(void)fd;
}

/* The real lane, on the files of a host and a VM that do not exist. */
static bool kernel_serves(int root_fd, const struct catalogue_entry *e)
{
	struct spec_set *specs = only(e);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct stage s;

	stage_init(&s, plan);
	const struct sampler_params params = { .board = s.board,
		.registry = s.registry,
		.root_fd = root_fd,
		.delays = { 0, get_maps, let_maps_go } };
	struct sampler *sampler = sampler_new(&params);
	struct description *d = description_new();

	assert_int_equal(domain_xml_parse(domain_xml, "x", plan->specs, d), 0);
	assert_int_equal(sampler_start(sampler, fill, NULL), 0);
	struct run *run = registry_report(
		s.registry, registry_order(s.registry), &ident, HYPERVISOR_QEMU);

	registry_describe(s.registry, run, d);
	atomic_store(&run->slow_mono_ns, clock_mono_ns());
	int64_t deadline = clock_mono_ns() + 2 * NS_PER_S;
	bool served = false;

	while (!(served = published(s.tree, e)) && clock_mono_ns() < deadline) {
		uint16_t period = 0;

		if (look_up(&maps, 4712, 8888, &period))
			play_wait(&maps, 4712, 8888, 5000);
		poll(NULL, 0, 2);
	}
	sampler_stop(sampler);
	sampler_free(sampler);
	run_unref(run);
	stage_done(&s);
	spec_set_unref(specs);
	return served;
}

/* ---- libvirt ---- */

/* The groups by the names of virConnectGetAllDomainStats()'s documentation. */
static unsigned documented_group(const char *field)
{
	static const struct {
		const char *prefix;
		unsigned group;
	} groups[] = { { "state.", VIR_DOMAIN_STATS_STATE },
		{ "cpu.", VIR_DOMAIN_STATS_CPU_TOTAL },
		{ "balloon.", VIR_DOMAIN_STATS_BALLOON },
		{ "vcpu.", VIR_DOMAIN_STATS_VCPU },
		{ "net.", VIR_DOMAIN_STATS_INTERFACE },
		{ "block.", VIR_DOMAIN_STATS_BLOCK }, { "perf.", VIR_DOMAIN_STATS_PERF },
		{ "iothread.", VIR_DOMAIN_STATS_IOTHREAD },
		{ "memory.", VIR_DOMAIN_STATS_MEMORY },
		{ "dirtyrate.", VIR_DOMAIN_STATS_DIRTYRATE },
		{ "vm.", VIR_DOMAIN_STATS_VM } };

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (!strncmp(field, groups[i].prefix, strlen(groups[i].prefix)))
			return groups[i].group;
	fail_msg("%s is in no group of libvirt's", field);
	return 0;
}

/* A name of libvirt's, with something in place of each '*'. */
static void field_of(const struct catalogue_entry *e, char *ret)
{
	size_t n = 0, stars = 0;

	for (const char *p = e->name; *p; p++) {
		bool number = !e->words || (!strncmp(e->name, "vcpu", 4) && !stars);

		ret[n++] = *p != '*' ? *p : number ? '0' : 'w';
		stars += *p == '*';
	}
	ret[n] = '\0';
}

/* What libvirt says of a VM that has it all, when it is asked for @groups. */
static void answer(unsigned groups, uint64_t number, virDomainStatsRecordPtr record)
{
	static char text[] = "text";

	record->nparams = 0;
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);
		virTypedParameter *p = &record->params[record->nparams];

		if (e->collector != COLLECTOR_LIBVIRT)
			continue;
		field_of(e, p->field);
		if (!(documented_group(p->field) & groups))
			continue;
		p->type = e->type == METRIC_STRING ? VIR_TYPED_PARAM_STRING
						   : VIR_TYPED_PARAM_ULLONG;
		if (e->type == METRIC_STRING)
			p->value.s = text;
		else
			p->value.ul = number;
		record->nparams++;
	}
}

static bool libvirt_serves(const struct catalogue_entry *e)
{
	struct spec_set *specs = only(e);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct run *run = run_new(&ident, HYPERVISOR_OTHER);
	virTypedParameter params[256] = { 0 };
	virDomainStatsRecord record = { .params = params };
	struct vm_counters last = { 0 };
	bool any = false;

	for (unsigned i = 1; i <= 2; i++) {
		answer(virt_stats_groups(plan, 0), i, &record);
		struct metric_list *list = virt_stats_convert(
			plan, run, &record, 0, true, &last, i, i * NS_PER_S);

		for (size_t k = 0; k < list->n; k++)
			any |= list->metrics[k].available;
		metric_list_unref(list);
	}
	vm_counters_done(&last);
	run_unref(run);
	spec_set_unref(specs);
	return any;
}

static bool libvirt_knows(const struct catalogue_entry *e)
{
	return e->collector == COLLECTOR_LIBVIRT ||
		(e->collector == COLLECTOR_USAGE && !(e->reads & READS_KERNEL));
}

static void each_source_alone_has_a_value(void **state)
{
	(void)state;
	struct fixture f;
	unsigned kernel = 0, libvirt = 0;
	_cleanup_strbuf_ struct strbuf unread = STRBUF_INIT;

	add_everything(&f);
	maps_init(&maps);
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);

		if (e->collector != COLLECTOR_LIBVIRT || e->key >= 0) {
			kernel++;
			if (!kernel_serves(f.fd, e))
				strbuf_addf(&unread, " %s", e->name);
		}
		if (libvirt_knows(e)) {
			libvirt++;
			if (!libvirt_serves(e))
				strbuf_addf(&unread, " %s (libvirt)", e->name);
		}
	}
	if (unread.len)
		fail_msg("asked for alone these have no value:%s", strbuf_str(&unread));
	assert_true(kernel > 130 && libvirt > 100);
	maps_done(&maps);
	fixture_done(&f);
}

/* What is not asked for is not read. */
static void nothing_is_read_for_nothing(void **state)
{
	(void)state;
	struct spec_set *none = spec_set_new(0), *name = spec_set_new(1);
	_cleanup_plan_ struct plan *empty = plan_of(none);

	name->n = 0;
	want(name, "name", "domain.name", METRIC_STRING, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(name);

	assert_int_equal(empty->vm_reads, 0);
	assert_int_equal(virt_stats_groups(empty, 0), 0);
	assert_int_equal(plan->vm_reads, 0);
	assert_int_equal(virt_stats_groups(plan, 0), 0);
	assert_int_equal(plan->parts[PLAN_DOMAIN].n, 1);
	spec_set_unref(none);
	spec_set_unref(name);
}

/* Whichever lane knows enough serves a metric, and never both. */
static void one_lane_serves_each_metric(void **state)
{
	(void)state;
	struct spec_set *specs = spec_set_new(3);

	specs->n = 0;
	want(specs, "use", "usage.cpu", METRIC_REAL64, NULL);
	want(specs, "throttled", "usage.throttled", METRIC_REAL64, NULL);
	want(specs, "halted", "vcpu.*.halted", METRIC_UINT32, NULL);
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	const struct plan_part *kernel = &plan->parts[PLAN_KERNEL],
			       *libvirt = &plan->parts[PLAN_LIBVIRT];

	assert_int_equal(kernel->n, 2);
	assert_int_equal(libvirt->n, 2);
	assert_false(plan_kernel_serves(&kernel->items[0], READS(CPU)));
	assert_true(plan_kernel_serves(&kernel->items[0], READS(CPU) | READS(VCPUS)));
	assert_int_equal(kernel->items[1].either, 0); /* nobody else has it */
	assert_string_equal(libvirt->items[1].spec->name, "halted");
	assert_false(plan_kernel_serves(&libvirt->items[1], READS_EITHER));
	assert_int_equal(virt_stats_groups(plan, READS_EITHER), VIR_DOMAIN_STATS_VCPU);
	assert_int_equal(virt_stats_groups(plan, 0),
		VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_CPU_TOTAL);
	spec_set_unref(specs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_read_for_nothing),
		cmocka_unit_test(one_lane_serves_each_metric),
		cmocka_unit_test(each_source_alone_has_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
