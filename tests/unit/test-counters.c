/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counters are counters: whatever happens to a VM, its devices, its process, its cgroup, or
 * to libvirt, no series that metrics.prom calls a counter ever falls within one run of the
 * VM, nor does it stand still for ever.  Over all that the catalogue has.
 */
#include "fast-sample.h"
#include "fixture.h"
#include "plans.h"
#include "process.h"
#include "samples.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "collect/kernel/fast_vm.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/libvirt/stats.h"
#include "core/blob.h"
#include "core/render_prom.h"
#include "core/snapshot.h"
#include "model/board.h"
#include "model/counters.h"
#include "model/description.h"
#include "model/registry.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

/* ---- a table alone ---- */

static struct metric_list *list_of(struct spec_set *specs, const struct value *v)
{
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);

	metric_list_builder_add_source(b, 0, NULL, v);
	return metric_list_builder_finish(b);
}

static uint64_t settle_u64(
	struct counters *counters, struct spec_set *specs, uint64_t told)
{
	struct value v = value_u64(told);
	_cleanup_metric_list_ struct metric_list *list = list_of(specs, &v);

	counters_settle(counters, list);
	assert_true(list->metrics[0].available);
	return list->metrics[0].value.u;
}

static void a_fall_that_lasts_is_a_new_beginning(void **state)
{
	(void)state;
	static const struct {
		uint64_t told, shown;
	} samples[] = { { 100, 100 }, { 90, 100 }, { 110, 110 }, /* a moment's */
		{ 5, 110 }, { 8, 110 }, { 9, 114 },
		{ 20, 125 },                                    /* another thing counts */
		{ 0, 125 }, { 0, 125 }, { 0, 125 }, { 1, 126 }, /* and another */
		{ UINT64_MAX, UINT64_MAX }, { 3, UINT64_MAX }, { 3, UINT64_MAX },
		{ 3, UINT64_MAX }, { 4, UINT64_MAX } };
	struct counters counters = { 0 };
	struct spec_set *specs = spec_set_new(1);

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		assert_int_equal(
			settle_u64(&counters, specs, samples[i].told), samples[i].shown);
	counters_done(&counters);
	spec_set_unref(specs);
}

/* One that cannot be had for a while goes on from where it was. */
static void what_is_missing_for_a_while_is_remembered(void **state)
{
	(void)state;
	struct counters counters = { 0 };
	struct spec_set *specs = spec_set_new(1);

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_UINT64, NULL);
	assert_int_equal(settle_u64(&counters, specs, 100), 100);
	struct metric_list *none = list_of(specs, NULL);

	counters_settle(&counters, none);
	assert_false(none->metrics[0].available);
	metric_list_unref(none);
	assert_int_equal(settle_u64(&counters, specs, 50), 100);
	assert_int_equal(settle_u64(&counters, specs, 120), 120);
	counters_done(&counters);
	spec_set_unref(specs);
}

static void a_gauge_may_fall(void **state)
{
	(void)state;
	struct counters counters = { 0 };
	struct spec_set *specs = spec_set_new(1);

	specs->n = 0;
	want(specs, "rss", "balloon.rss", METRIC_UINT64, NULL);
	assert_int_equal(settle_u64(&counters, specs, 100), 100);
	assert_int_equal(settle_u64(&counters, specs, 50), 50);
	counters_done(&counters);
	spec_set_unref(specs);
}

/* Seconds with a fraction, whose sums are rounded; and a type that is too small in the end. */
static void any_type_of_counter_only_grows(void **state)
{
	(void)state;
	struct counters counters = { 0 };
	struct spec_set *specs = spec_set_new(1);
	double last = 0;

	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_REAL64, "s");
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		struct value v = value_u64((uint64_t)random() << (random() % 32));
		_cleanup_metric_list_ struct metric_list *list = list_of(specs, &v);

		counters_settle(&counters, list);
		assert_true(list->metrics[0].value.real >= last);
		last = list->metrics[0].value.real;
	}
	spec_set_unref(specs);
	counters_done(&counters);
	specs = spec_set_new(1);
	specs->n = 0;
	want(specs, "cpu", "cpu.time", METRIC_INT32, NULL);
	for (int i = 0; i < 5; i++) {
		struct value v = value_u64(i == 0 ? INT32_MAX : (unsigned)i);
		_cleanup_metric_list_ struct metric_list *list = list_of(specs, &v);

		counters_settle(&counters, list);
		assert_int_equal(list->metrics[0].available, i < 3);
	}
	counters_done(&counters);
	spec_set_unref(specs);
}

/* ---- a world in which all sorts of things happen ---- */

enum {
	VCPU0_TIME,
	VCPU0_DELAY,
	VCPU0_WAIT,
	VCPU1_TIME,
	VCPU1_DELAY,
	VCPU1_WAIT,
	IOTHREAD_TIME,
	MINOR,
	MAJOR,
	UTIME,
	STIME,
	READ_BYTES,
	WRITE_BYTES,
	CANCELLED,
	READ_CALLS,
	WRITE_CALLS,
	USAGE,
	USER,
	SYSTEM,
	PRESSURE,
	QUOTA_ABOVE,
	QUOTA_VM,
	QUOTA_VCPU0,
	QUOTA_VCPU1,
	NIC0,
	NIC1 = NIC0 + 8,
	N_FIGURES = NIC1 + 8,
};

#define DEVICES 2u
#define MAX_ENTRIES 512u
#define MAX_SERIES 2048u

struct series {
	char *name;
	double value, before; /* the last, and at the last mark */
};

struct world {
	struct fixture f;
	struct spec_set *specs[2]; /* the same in different orders */
	struct plan *plan;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct run *run;
	struct fast_vm *fv;
	struct vm_sample scratch;
	struct vm_counters slow;

	uint64_t n[N_FIGURES];               /* of the kernel */
	uint64_t told[MAX_ENTRIES][DEVICES]; /* by libvirt, by entry */
	bool devices[DEVICES];               /* the second one may be unplugged: vCPUs */
	bool nics[DEVICES], disks[DEVICES];
	bool iothread;
	unsigned tid; /* of the second vCPU */
	unsigned cgroup;
	bool libvirt_is_there;

	struct series series[MAX_SERIES];
	size_t n_series, hint;
	char step[64];
};

static uint64_t chance(uint64_t below)
{
	return (uint64_t)random() % below;
}

/* ---- the kernel's files ---- */

static void scope_of(const struct world *w, char *ret, size_t size)
{
	snprintf(ret, size, "machine.slice/machine-qemu\\x2d%u\\x2da.scope", w->cgroup);
}

static void set_throttled(struct world *w, const char *dir, uint64_t n)
{
	char path[256], text[512];

	snprintf(path, sizeof(path), "sys/fs/cgroup/%s/cpu.stat", dir);
	snprintf(text, sizeof(text),
		"usage_usec %" PRIu64 "\nuser_usec %" PRIu64 "\nsystem_usec %" PRIu64
		"\nnr_periods %" PRIu64 "\nnr_throttled %" PRIu64
		"\nthrottled_usec %" PRIu64 "\n",
		w->n[USAGE], w->n[USER], w->n[SYSTEM], n, n, n);
	fixture_add(&w->f, path, text);
}

static void set_cgroup(struct world *w)
{
	static const char *const pressures[] = { "cpu", "memory", "io" };
	char scope[128], path[256], text[256];

	scope_of(w, scope, sizeof(scope));
	snprintf(text, sizeof(text), "0::/%s/libvirt/emulator\n", scope);
	fixture_add(&w->f, "proc/4711/cgroup", text);
	set_throttled(w, "machine.slice", w->n[QUOTA_ABOVE]);
	set_throttled(w, scope, w->n[QUOTA_VM]);
	snprintf(path, sizeof(path), "%s/libvirt/vcpu0", scope);
	set_throttled(w, path, w->n[QUOTA_VCPU0]);
	snprintf(path, sizeof(path), "%s/libvirt/vcpu1", scope);
	if (w->devices[1])
		set_throttled(w, path, w->n[QUOTA_VCPU1]);
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++) {
		snprintf(path, sizeof(path), "sys/fs/cgroup/%s/%s.pressure", scope,
			pressures[i]);
		snprintf(text, sizeof(text),
			"some avg10=0.00 avg60=0.00 avg300=0.00 total=%" PRIu64
			"\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=%" PRIu64 "\n",
			w->n[PRESSURE], w->n[PRESSURE]);
		fixture_add(&w->f, path, text);
	}
}

static void set_thread(
	struct world *w, unsigned tid, const char *comm, const uint64_t *n, bool wait)
{
	char path[96], text[96];

	snprintf(
		text, sizeof(text), "%" PRIu64 " %" PRIu64 " 1\n", n[0], wait ? n[1] : 0);
	add_thread(&w->f, tid, comm, text);
	snprintf(path, sizeof(path), "proc/4711/task/%u/sched", tid);
	snprintf(text, sizeof(text), "wait_sum : %" PRIu64 ".5\n", wait ? n[2] : 0);
	fixture_add(&w->f, path, text);
}

static void set_process(struct world *w)
{
	char text[512];

	snprintf(text, sizeof(text),
		"4711 (qemu) S 1 2 3 0 -1 1 %" PRIu64 " 0 %" PRIu64 " 0 %" PRIu64
		" %" PRIu64
		" 0 0 20 0 %u 0 7777 1458028544 10 18446744073709551615 1 2\n",
		w->n[MINOR], w->n[MAJOR], w->n[UTIME], w->n[STIME],
		3u + w->devices[1] + w->iothread);
	fixture_add(&w->f, "proc/4711/stat", text);
	snprintf(text, sizeof(text),
		"read_bytes: %" PRIu64 "\nwrite_bytes: %" PRIu64 "\nsyscr: %" PRIu64
		"\nsyscw: %" PRIu64 "\ncancelled_write_bytes: %" PRIu64 "\n",
		w->n[READ_BYTES], w->n[WRITE_BYTES], w->n[READ_CALLS], w->n[WRITE_CALLS],
		w->n[CANCELLED]);
	fixture_add(&w->f, "proc/4711/io", text);
	set_thread(w, 4712, "CPU 0/KVM\n", &w->n[VCPU0_TIME], true);
	if (w->devices[1])
		set_thread(w, w->tid, "CPU 1/KVM\n", &w->n[VCPU1_TIME], true);
	if (w->iothread)
		set_thread(w, 4715, "IO iothread1\n", &w->n[IOTHREAD_TIME], false);
}

static void add_link(struct world *w, struct link_stats *ls, unsigned nic)
{
	struct {
		struct nlmsghdr h;
		struct if_stats_msg msg;
		struct rtattr a;
		struct rtnl_link_stats64 s;
	} m = { .h = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWSTATS },
		.msg = { .ifindex = nic + 1 },
		.a = { .rta_len = sizeof(struct rtattr) + sizeof(m.s),
			.rta_type = IFLA_STATS_LINK_64 } };
	const uint64_t *n = &w->n[nic ? NIC1 : NIC0];

	m.s = (struct rtnl_link_stats64){ .rx_bytes = n[0],
		.rx_packets = n[1],
		.rx_errors = n[2],
		.rx_dropped = n[3],
		.tx_bytes = n[4],
		.tx_packets = n[5],
		.tx_errors = n[6],
		.tx_dropped = n[7] };
	assert_int_equal(link_stats_parse(ls, &m, sizeof(m)), 1);
}

static struct link_stats *links_of(struct world *w)
{
	struct link_stats *ls = link_stats_new();

	for (unsigned i = 0; i < DEVICES; i++)
		if (w->nics[i])
			add_link(w, ls, i);
	return ls;
}

/* ---- the lanes ---- */

static void describe(struct world *w)
{
	struct description *d = description_new();

	d->nics = xcalloc(DEVICES, sizeof(*d->nics));
	for (unsigned i = 0; i < DEVICES; i++)
		if (w->nics[i])
			d->nics[d->n_nics++] = xasprintf("t%u", i);
	d->vcpus_max = DEVICES;
	fast_vm_hand_description(w->fv, fast_description_new(w->f.fd, d));
	description_unref(d);
}

static void open_process(struct world *w)
{
	struct qemu_proc *proc = NULL;

	assert_int_equal(qemu_proc_open(w->f.fd, &ident, w->plan->vm_reads, &proc), 0);
	fast_vm_hand_process(w->fv, proc);
}

static void sample_kernel(struct world *w)
{
	struct link_stats *links = links_of(w);

	(void)fast_vm_take_in(w->fv);
	struct metric_list *list =
		fast_vm_sample(w->fv, w->plan, links, NULL, &w->scratch);

	if (list)
		board_update(w->board, w->run, LANE_FAST, list);
	link_stats_free(links);
}

/* Which of the VM's devices a name's number is of. */
static bool has_device(const struct world *w, const char *field, unsigned i)
{
	if (!strncmp(field, "net.", 4))
		return w->nics[i];
	return !strncmp(field, "block.", 6) ? w->disks[i] : w->devices[i];
}

/* "vcpu.*.*.sum" is "vcpu.1.1.sum"; @ret: room for one of libvirt's names. */
static bool field_of(const struct catalogue_entry *e, unsigned device, char *ret)
{
	bool any = false;

	for (const char *p = e->name; *p; p++) {
		*ret++ = *p == '*' ? (char)('0' + (int)device) : *p;
		any |= *p == '*';
	}
	*ret = '\0';
	return any;
}

static void sample_libvirt(struct world *w)
{
	static virTypedParameter params[2 * MAX_ENTRIES];
	virDomainStatsRecord record = { .params = params };

	memset(params, 0, sizeof(params));
	for (size_t i = 0; catalogue_at(i); i++) {
		const struct catalogue_entry *e = catalogue_at(i);

		if (e->collector != COLLECTOR_LIBVIRT || e->type != METRIC_UINT64)
			continue;
		for (unsigned k = 0; k < DEVICES; k++) {
			virTypedParameter *p = &params[record.nparams];
			bool numbered = field_of(e, k, p->field);

			if (numbered ? !has_device(w, p->field, k) : k > 0)
				continue;
			p->type = VIR_TYPED_PARAM_ULLONG;
			p->value.ul = w->told[i][k];
			record.nparams++;
		}
	}
	board_update(w->board, w->run, LANE_LIBVIRT,
		virt_stats_convert(w->plan, w->run, &record, atomic_load(&w->run->known),
			true, &w->slow, clock_real_ns(), clock_mono_ns()));
}

/* ---- what Prometheus sees ---- */

static struct series *find_series(struct world *w, const char *name, size_t len)
{
	for (size_t k = 0; k < w->n_series; k++) {
		size_t i = (w->hint + k) % w->n_series;

		if (!strncmp(w->series[i].name, name, len) && !w->series[i].name[len]) {
			w->hint = i + 1;
			return &w->series[i];
		}
	}
	assert_true(w->n_series < MAX_SERIES);
	struct series *s = &w->series[w->n_series++];

	*s = (struct series){ .name = strndup(name, len), .before = -1 };
	return s;
}

static void look_at_line(struct world *w, const char *line)
{
	const char *end = strrchr(line, ' ');
	struct series *s = find_series(w, line, (size_t)(end - line));
	double value = strtod(end + 1, NULL);

	if (value < s->value)
		fail_msg("%s fell from %f to %f: %s", s->name, s->value, value, w->step);
	s->value = value;
}

static void look(struct world *w)
{
	static const char type[] = "# TYPE ", prefix[] = "# TYPE vhostmd_vm_",
			  counter[] = " counter";

	board_publish(w->board);
	_cleanup_view_ struct view *view = tree_view(w->tree);
	const struct blob *prom = render_prom_view(view);
	_cleanup_free_ char *text = strndup(prom->data, prom->size);
	bool is_counter = false;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		size_t n = strlen(line), tail = strlen(counter);

		if (!strncmp(line, type, strlen(type)))
			is_counter = !strncmp(line, prefix, strlen(prefix)) &&
				!strcmp(line + n - tail, counter);
		else if (*line != '#' && is_counter)
			look_at_line(w, line);
	}
}

/* ---- what happens ---- */

static void grow(struct world *w)
{
	for (size_t i = 0; i < N_FIGURES; i++)
		w->n[i] += 1 + chance(1000);
	/* the whole is more than its parts, microseconds more than nanoseconds */
	w->n[USAGE] += 1000;
	w->n[WRITE_BYTES] += 1000;
	/* what was not written cannot be cancelled */
	if (w->n[CANCELLED] > w->n[WRITE_BYTES])
		w->n[CANCELLED] = w->n[WRITE_BYTES];
	for (size_t i = 0; i < MAX_ENTRIES; i++)
		for (size_t k = 0; k < DEVICES; k++)
			w->told[i][k] += 1 + chance(1000);
}

static void clear_told(struct world *w, const char *prefix)
{
	for (size_t i = 0; catalogue_at(i); i++)
		if (!strncmp(catalogue_at(i)->name, prefix, strlen(prefix)))
			w->told[i][1] = 0;
}

static void plug_vcpu(struct world *w)
{
	char scope[128], path[256];

	w->devices[1] = !w->devices[1];
	if (!w->devices[1]) {
		remove_thread(&w->f, w->tid);
		scope_of(w, scope, sizeof(scope));
		snprintf(path, sizeof(path), "sys/fs/cgroup/%s/libvirt/vcpu1/cpu.stat",
			scope);
		unlinkat(w->f.fd, path, 0);
		*strrchr(path, '/') = '\0';
		unlinkat(w->f.fd, path, AT_REMOVEDIR);
		return;
	}
	w->tid++;
	w->n[VCPU1_TIME] = w->n[VCPU1_DELAY] = w->n[VCPU1_WAIT] = 0;
	w->n[QUOTA_VCPU1] = 0;
	clear_told(w, "vcpu.");
}

/* The first or the second one: what comes behind it gets its number. */
static void plug_nic(struct world *w)
{
	unsigned i = (unsigned)chance(DEVICES);

	w->nics[i] = !w->nics[i];
	memset(&w->n[i ? NIC1 : NIC0], 0, 8 * sizeof(w->n[0]));
	clear_told(w, "net.");
	describe(w);
}

static void plug_disk(struct world *w)
{
	w->disks[1] = !w->disks[1];
	clear_told(w, "block.");
}

static void plug_iothread(struct world *w)
{
	w->iothread = !w->iothread;
	w->n[IOTHREAD_TIME] = 0;
	if (!w->iothread)
		remove_thread(&w->f, 4715);
}

static void move_to_another_cgroup(struct world *w)
{
	w->cgroup++;
	w->n[USAGE] = w->n[USER] = w->n[SYSTEM] = 0;
	w->n[PRESSURE] = w->n[QUOTA_VM] = w->n[QUOTA_VCPU0] = w->n[QUOTA_VCPU1] = 0;
}

static void let_a_file_fall(struct world *w)
{
	uint64_t *n = &w->n[chance(N_FIGURES)];

	*n = chance(*n + 1);
}

static void let_libvirt_tell_less(struct world *w)
{
	for (size_t i = 0; i < MAX_ENTRIES; i++)
		if (!chance(8))
			w->told[i][chance(DEVICES)] = chance(5000);
}

static void restart_libvirt(struct world *w)
{
	w->libvirt_is_there = !w->libvirt_is_there;
	if (w->libvirt_is_there)
		return;
	vm_counters_done(&w->slow);
}

/* So that libvirt has to stand in for the kernel, until it is found again. */
static void lose_the_process(struct world *w)
{
	fixture_add(&w->f, "proc/4711/stat", "4711 (qemu) Z 1 2 3\n");
	sample_kernel(w);
	atomic_store(&w->run->ended_mono_ns, 0); /* it only cannot be read */
	set_process(w);
}

static void reload(struct world *w)
{
	bool second = w->plan->specs == w->specs[1];
	struct plan *plan = plan_after(w->plan, w->specs[!second]);

	plan_unref(w->plan);
	w->plan = plan;
	board_set_plan(w->board, plan);
}

static const struct {
	const char *name;
	void (*happens)(struct world *w);
} events[] = {
	{ "a vCPU is plugged or unplugged", plug_vcpu },
	{ "an interface is plugged or unplugged", plug_nic },
	{ "a disk is plugged or unplugged", plug_disk },
	{ "an I/O thread is plugged or unplugged", plug_iothread },
	{ "the process is moved to another cgroup", move_to_another_cgroup },
	{ "a file tells less", let_a_file_fall },
	{ "libvirt tells less", let_libvirt_tell_less },
	{ "libvirt comes or goes", restart_libvirt },
	{ "the process is opened again", open_process },
	{ "the process cannot be read", lose_the_process },
	{ "the configuration is loaded again", reload },
};

static void sample(struct world *w)
{
	grow(w);
	set_cgroup(w);
	set_process(w);
	sample_kernel(w);
	if (w->libvirt_is_there)
		sample_libvirt(w);
	look(w);
}

/* ---- */

static bool is_vm_source(const struct catalogue_entry *e)
{
	return e->context == CONTEXT_VM;
}

/* All that there is of a VM, forwards or backwards. */
static struct spec_set *everything(bool backwards)
{
	struct spec_set *specs = spec_set_new(MAX_ENTRIES);
	size_t n = 0;

	while (catalogue_at(n))
		n++;
	specs->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct catalogue_entry *e = catalogue_at(backwards ? n - 1 - i : i);

		if (is_vm_source(e))
			want(specs, e->name, e->name, e->type, NULL);
	}
	return specs;
}

static void world_init(struct world *w)
{
	*w = (struct world){ .devices = { true, true },
		.nics = { true, true },
		.disks = { true, true },
		.iothread = true,
		.libvirt_is_there = true,
		.tid = 5000 };
	add_process(&w->f);
	for (unsigned tid = 4713; tid <= 4715; tid++)
		remove_thread(&w->f, tid);
	fixture_add(&w->f, "sys/class/net/t0/ifindex", "1\n");
	fixture_add(&w->f, "sys/class/net/t1/ifindex", "2\n");
	for (int i = 0; i < 2; i++)
		w->specs[i] = everything(i == 1);
	w->plan = plan_of(w->specs[0]);
	w->tree = tree_new();
	w->registry = registry_new();
	w->board = board_new(w->tree, w->registry, w->plan);
	w->run = registry_report(
		w->registry, registry_order(w->registry), &ident, HYPERVISOR_QEMU);
	w->fv = fast_vm_new(w->run, NULL);
	grow(w);
	set_cgroup(w);
	set_process(w);
	open_process(w);
	describe(w);
}

static void world_done(struct world *w)
{
	fast_vm_free(w->fv);
	run_unref(w->run);
	board_free(w->board);
	registry_free(w->registry);
	tree_free(w->tree);
	plan_unref(w->plan);
	for (int i = 0; i < 2; i++)
		spec_set_unref(w->specs[i]);
	vm_counters_done(&w->slow);
	vm_sample_done(&w->scratch);
	for (size_t i = 0; i < w->n_series; i++)
		free(w->series[i].name);
	fixture_done(&w->f);
}

/* Everything is there again. */
static void calm(struct world *w)
{
	open_process(w);
	for (unsigned i = 0; i < DEVICES; i++)
		w->nics[i] = w->disks[i] = true;
	describe(w);
	if (!w->devices[1])
		plug_vcpu(w);
	w->iothread = w->libvirt_is_there = true;
	/* what fell has to be believed, a move and new groups to be noticed */
	for (int i = 0; i < 20; i++)
		sample(w);
	for (size_t i = 0; i < w->n_series; i++)
		w->series[i].before = w->series[i].value;
	for (int i = 0; i < 3; i++)
		sample(w);
	for (size_t i = 0; i < w->n_series; i++)
		if (!(w->series[i].value > w->series[i].before))
			fail_msg("%s stands still at %f", w->series[i].name,
				w->series[i].value);
}

static void no_counter_of_a_vm_ever_falls(void **state)
{
	(void)state;
	static struct world w;
	size_t n_counters = 0;

	for (unsigned seed = 1; seed <= 3; seed++) {
		srandom(seed);
		world_init(&w);
		snprintf(w.step, sizeof(w.step), "before anything");
		sample(&w);
		for (int i = 0; i < ROUNDS(300); i++) {
			size_t event = chance(ARRAY_LEN(events));

			snprintf(w.step, sizeof(w.step), "%u.%d: %s", seed, i,
				events[event].name);
			events[event].happens(&w);
			sample(&w);
			if (chance(2))
				sample(&w);
		}
		snprintf(w.step, sizeof(w.step), "%u: afterwards", seed);
		calm(&w);
		for (size_t i = 0; catalogue_at(i); i++)
			n_counters += is_vm_source(catalogue_at(i)) &&
				catalogue_at(i)->kind == KIND_COUNTER;
		/* each of them was there, those of devices twice */
		assert_true(w.n_series > n_counters / seed);
		world_done(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fall_that_lasts_is_a_new_beginning),
		cmocka_unit_test(what_is_missing_for_a_while_is_remembered),
		cmocka_unit_test(a_gauge_may_fall),
		cmocka_unit_test(any_type_of_counter_only_grows),
		cmocka_unit_test(no_counter_of_a_vm_ever_falls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
