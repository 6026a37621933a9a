/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/stats.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "model/plan.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

/* The groups of libvirt's statistics that tell what a line of the catalogue reads. */
static const struct {
	enum catalogue_read read;
	unsigned group;
	bool monitor; /* has, or may have, figures that the VM's monitor alone knows */
	bool home;    /* none of QEMU's changes but by its home threads */
} groups[] = {
	{ READ_CPU, VIR_DOMAIN_STATS_CPU_TOTAL, false, false },
	{ READ_HALTPOLL, VIR_DOMAIN_STATS_CPU_TOTAL, true, false },
	{ READ_VCPUS, VIR_DOMAIN_STATS_VCPU, true, false },
	{ READ_VCPU_MAXIMUM, VIR_DOMAIN_STATS_VCPU, false, true },
	{ READ_BALLOON, VIR_DOMAIN_STATS_BALLOON, true, true },
	{ READ_RSS, VIR_DOMAIN_STATS_BALLOON, true, false },
	{ READ_NICS, VIR_DOMAIN_STATS_INTERFACE, false, false },
	{ READ_STATE, VIR_DOMAIN_STATS_STATE, false, true },
	{ READ_BLOCKS, VIR_DOMAIN_STATS_BLOCK, true, true },
	{ READ_IOTHREADS, VIR_DOMAIN_STATS_IOTHREAD, true, true },
	{ READ_PERF, VIR_DOMAIN_STATS_PERF, false, false },
#if LIBVIR_CHECK_VERSION(6, 0, 0)
	{ READ_MEMORY_BANDWIDTH, VIR_DOMAIN_STATS_MEMORY, false, false },
#endif
#if LIBVIR_CHECK_VERSION(7, 2, 0)
	{ READ_DIRTY_RATE, VIR_DOMAIN_STATS_DIRTYRATE, true, false },
#endif
#if LIBVIR_CHECK_VERSION(8, 9, 0)
	{ READ_HYPERVISOR, VIR_DOMAIN_STATS_VM, true, false },
#endif
};

static unsigned groups_of(uint64_t reads)
{
	unsigned ret = 0;

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (reads >> groups[i].read & 1)
			ret |= groups[i].group;
	return ret;
}

unsigned virt_stats_groups(const struct plan *plan, uint64_t known)
{
	return groups_of(plan_libvirt_reads(plan, known));
}

unsigned virt_stats_often(const struct plan *plan, uint64_t known)
{
	return groups_of(plan_libvirt_reads(plan, known) & ~READS_SELDOM);
}

bool virt_stats_apart(const struct plan *plan, uint64_t known)
{
	unsigned often = virt_stats_often(plan, known);

	return plan_seldom_apart(plan) && often &&
		often != virt_stats_groups(plan, known);
}

bool virt_stats_by_home(const struct plan *plan, uint64_t known)
{
	uint64_t reads = plan_libvirt_reads(plan, known);

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (!groups[i].home && reads >> groups[i].read & 1)
			return false;
	return true;
}

static bool monitor_knows(uint64_t reads)
{
	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (groups[i].monitor && reads >> groups[i].read & 1)
			return true;
	return false;
}

/* What goes on while one record is converted. */
struct conversion {
	const struct plan *plan;
	struct metric_list_builder *b;
	struct metric_list_builder
		*seldom; /* of READS_SELDOM; NULL: it was not asked for */
	bool *seen;      /* by slot */
	uint64_t known;
	bool whole;
	struct vm_sample sample; /* what is calculated with */
	const char *of; /* "block.3.": what the device was named for, n_of bytes */
	size_t n_of;
};

/* Where it belongs; NULL: it was not asked for. */
static struct metric_list_builder *builder_of(
	const struct conversion *cv, const struct plan_item *item)
{
	const struct catalogue_entry *e = item->spec->entry;

	return e->collector == COLLECTOR_LIBVIRT && e->reads & READS_SELDOM ? cv->seldom
									    : cv->b;
}

static void add_to(struct conversion *cv, const char *source, const char *index,
	const struct value *value)
{
	size_t n = 0;
	const struct plan_item *const *items = plan_find_source(cv->plan, source, &n);

	for (size_t i = 0; i < n; i++) {
		struct metric_list_builder *b = builder_of(cv, items[i]);

		if (metric_list_builder_count(cv->b) >= LIMIT_VM_METRICS)
			return;
		if (!b)
			continue;
		metric_list_builder_add_source(
			b, items[i]->slot, strchr(source, '*') ? index : NULL, value);
		cv->seen[items[i]->slot] = true;
	}
}

/*
 * Splits "block.0.rd.bytes" into the pattern "block.*.rd.bytes" and the index "0"; several
 * numbers make an index such as "0.1".  Return: false if there is no number.
 */
static bool split_name(const char *name, char *pattern, char *index)
{
	char *i = index;

	*i = '\0';
	while (*name) {
		size_t part = strcspn(name, ".");
		bool number = part && strspn(name, "0123456789") >= part;

		if (number) {
			if (i != index)
				*i++ = '.';
			memcpy(i, name, part);
			i += part;
			*pattern++ = '*';
		} else {
			memcpy(pattern, name, part);
			pattern += part;
		}
		name += part;
		if (*name)
			*pattern++ = *name++;
	}
	*pattern = *i = '\0';
	return i != index;
}

/*
 * The same for the hypervisor's own figures, whose names are not ours to list:
 * "vm.halt_exits.sum" is "vm.*.sum" with the index "halt_exits", "vcpu.0.exits.sum" is
 * "vcpu.*.*.sum" with the index "0.exits".  They are what QEMU says, so perhaps no text.
 */
static bool split_own_name(const char *name, char *pattern, char *index)
{
	const char *first = strchr(name, '.');
	const char *last = strrchr(name, '.');
	bool vcpu = first && first - name == 4 && !strncmp(name, "vcpu", 4);

	if (!first || first == last || (!vcpu && strncmp(name, "vm.", 3) != 0))
		return false;
	size_t n = (size_t)(last - first) - 1;

	if (!n || last[-1] == '.')
		return false; /* of no name */
	memcpy(index, first + 1, n);
	index[n] = '\0';
	if (vcpu != (strchr(index, '.') != NULL) || !utf8_valid(index, n))
		return false;
	snprintf(pattern, VIR_TYPED_PARAM_FIELD_LENGTH, "%s%s",
		vcpu ? "vcpu.*.*" : "vm.*", last);
	return true;
}

static bool typed_value(const virTypedParameter *p, struct value *ret)
{
	switch (p->type) {
	case VIR_TYPED_PARAM_INT:
		*ret = value_i64(p->value.i);
		return true;
	case VIR_TYPED_PARAM_UINT:
		*ret = value_u64(p->value.ui);
		return true;
	case VIR_TYPED_PARAM_LLONG:
		*ret = value_i64(p->value.l);
		return true;
	case VIR_TYPED_PARAM_ULLONG:
		*ret = value_u64(p->value.ul);
		return true;
	case VIR_TYPED_PARAM_DOUBLE:
		*ret = value_real(p->value.d);
		return true;
	case VIR_TYPED_PARAM_BOOLEAN:
		*ret = value_u64(p->value.b != 0);
		return true;
	case VIR_TYPED_PARAM_STRING:
		*ret = value_string(p->value.s);
		return utf8_valid(p->value.s, strlen(p->value.s));
	default:
		return false;
	}
}

static struct vcpu_sample *find_vcpu(struct vm_sample *s, unsigned number)
{
	/* libvirt lists a vCPU's figures one after another */
	for (size_t i = s->n_vcpus; i > 0; i--)
		if (s->vcpus[i - 1].number == number)
			return &s->vcpus[i - 1];
	return vm_sample_add_vcpu(s, number);
}

/* Keeps the figures that others are calculated from. */
static void note(struct conversion *cv, const char *name, const struct value *v)
{
	static const struct {
		const char *name;
		enum vm_key key;
	} scalars[] = { { "cpu.time", VM_CPU_TIME }, { "vcpu.current", VM_VCPU_CURRENT },
		{ "balloon.rss", VM_RSS } };
	static const char prefix[] = "vcpu.";
	struct vm_sample *s = &cv->sample;

	if (v->type != METRIC_UINT64)
		return;
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		if (!strcmp(name, scalars[i].name))
			fact_set(&s->facts[scalars[i].key], *v);
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return;
	const char *p = name + strlen(prefix);
	uint64_t n = 0;

	if (parse_u64_at(&p, &n) < 0 || n >= LIMIT_VCPUS)
		return;
	struct vcpu_sample *vcpu = find_vcpu(s, (unsigned)n);

	if (!strcmp(p, ".time"))
		vcpu->time_ns = v->u, vcpu->have_time = true;
	else if (!strcmp(p, ".delay"))
		vcpu->delay_ns = v->u, vcpu->have_delay = true;
	else if (!strcmp(p, ".wait"))
		vcpu->wait_ns = v->u, vcpu->have_wait = true;
}

/* The length of "block.3." in "block.3.rd.bytes", "net.0." likewise; 0: of no device. */
static size_t device_part(const char *field)
{
	size_t group = !strncmp(field, "block.", 6) ? 6
		: !strncmp(field, "net.", 4)        ? 4
						    : 0;
	size_t digits = group ? strspn(field + group, "0123456789") : 0;

	return digits && field[group + digits] == '.' ? group + digits + 1 : 0;
}

bool virt_stats_of_monitor(const virDomainStatsRecord *record)
{
	for (int i = 0; i < record->nparams; i++) {
		const char *field = record->params[i].field;
		size_t part = *field == 'b' ? device_part(field) : 0;

		if (part && !strcmp(field + part, "rd.reqs"))
			return true;
	}
	return false;
}

/* The value of "block.3.name", NULL if there is none; it is near its other figures, @at. */
static const char *device_name(const virDomainStatsRecord *record, int at, size_t part)
{
	const char *field = record->params[at].field;

	for (int k = 0; k < record->nparams; k++) {
		const virTypedParameter *p = &record->params[(at + k) % record->nparams];

		if (p->type == VIR_TYPED_PARAM_STRING &&
			!strncmp(p->field, field, part) &&
			!strcmp(p->field + part, "name"))
			return utf8_valid(p->value.s, strlen(p->value.s)) ? p->value.s
									  : NULL;
	}
	return NULL;
}

/* Figures are listed device by device. */
static void set_device(struct conversion *cv, const virDomainStatsRecord *record, int at)
{
	const char *field = record->params[at].field;
	size_t part = device_part(field);

	if (part == cv->n_of && (!part || !strncmp(field, cv->of, part)))
		return;
	cv->of = field;
	cv->n_of = part;
	metric_list_builder_set_device(
		cv->b, part ? device_name(record, at, part) : NULL);
}

static void add_param(struct conversion *cv, const virTypedParameter *param)
{
	char pattern[VIR_TYPED_PARAM_FIELD_LENGTH + 1];
	char index[VIR_TYPED_PARAM_FIELD_LENGTH + 1];
	struct value v;

	if (!typed_value(param, &v))
		return;
	note(cv, param->field, &v);
	add_to(cv, param->field, NULL, &v);
	if (split_name(param->field, pattern, index))
		add_to(cv, pattern, index, &v);
	if (split_own_name(param->field, pattern, index))
		add_to(cv, pattern, index, &v);
}

/* Of disks that are perhaps there nothing is said: nobody knows how many. */
static void add_unnamed(struct conversion *cv, const struct plan_item *item)
{
	struct metric_list_builder *b = builder_of(cv, item);

	if (!b)
		return;
	if (cv->whole || !monitor_knows(item->spec->entry->reads))
		metric_list_builder_add_absent(b, item->slot);
	else if (!strchr(item->spec->source, '*'))
		metric_list_builder_add(b, item->slot, NULL, NULL);
}

/* What is calculated; and what libvirt, which would have named it, has none of. */
static void add_rest(struct conversion *cv)
{
	const struct plan_part *part = &cv->plan->parts[PLAN_LIBVIRT];

	for (size_t i = 0; i < part->n; i++) {
		const struct plan_item *item = &part->items[i];
		const struct metric_spec *spec = item->spec;

		if (plan_kernel_serves(item, cv->known))
			continue;
		if (spec->entry->collector == COLLECTOR_USAGE)
			metric_list_builder_add_fact(
				cv->b, item->slot, NULL, &cv->sample.facts[item->key]);
		else if (!cv->seen[item->slot])
			add_unnamed(cv, item);
	}
}

/* What is calculated from something that libvirt does not name is not there either. */
static void set_absent(struct vm_sample *s)
{
	bool time = false, delay = false, wait = false;

	for (size_t i = 0; i < s->n_vcpus; i++) {
		time |= s->vcpus[i].have_time;
		delay |= s->vcpus[i].have_delay;
		wait |= s->vcpus[i].have_wait;
	}
	s->uncounted.time = !time;
	s->uncounted.delay = !delay;
	s->uncounted.wait = !wait;
	if (!s->facts[VM_VCPU_CURRENT].have)
		s->facts[VM_CPU_TIME].have = false; /* no share without a whole */
	fact_set_absent(&s->facts[VM_CPU_TIME]);
}

static void tell(struct run *vm, const struct conversion *cv)
{
	const struct fact *facts = cv->sample.facts;

	if (!(cv->known & READS(VCPUS)) && facts[VM_VCPU_CURRENT].have)
		atomic_store(&vm->vcpus, facts[VM_VCPU_CURRENT].value.u);
	if (!(cv->known & READS(RSS)) && facts[VM_RSS].have)
		atomic_store(&vm->rss_kib, facts[VM_RSS].value.u);
}

static struct metric_list *convert(const struct plan *plan, struct run *vm,
	const virDomainStatsRecord *record, uint64_t known, bool whole,
	struct vm_counters *last, int64_t time_ns, int64_t mono_ns, bool apart,
	struct metric_list_builder *seldom)
{
	_cleanup_free_ bool *seen = xcalloc(plan->specs->n, sizeof(*seen));
	struct conversion cv = { .plan = plan,
		.seen = seen,
		.known = known,
		.whole = whole,
		.sample = { .time_ns = time_ns, .mono_ns = mono_ns },
		.b = metric_list_builder_new(plan->specs, time_ns),
		.seldom = seldom };

	if (!apart)
		cv.seldom = cv.b; /* one list for all */
	metric_list_builder_set_owner(cv.b, vm->key);
	if (seldom)
		metric_list_builder_set_owner(seldom, vm->key);
	for (int i = 0; i < record->nparams; i++) {
		const virTypedParameter *param = &record->params[i];

		set_device(&cv, record, i);
		add_param(&cv, param);
		if (!strcmp(param->field, "balloon.current") &&
			param->type == VIR_TYPED_PARAM_ULLONG)
			atomic_store(&vm->balloon_kib, param->value.ul);
	}
	metric_list_builder_set_device(cv.b, NULL);
	set_absent(&cv.sample);
	vm_sample_derive(&cv.sample, last);
	add_rest(&cv);
	tell(vm, &cv);
	vm_sample_done(&cv.sample);
	return metric_list_builder_finish(cv.b);
}

struct metric_list *virt_stats_convert(const struct plan *plan, struct run *vm,
	const virDomainStatsRecord *record, uint64_t known, bool whole,
	struct vm_counters *last, int64_t time_ns, int64_t mono_ns)
{
	return convert(
		plan, vm, record, known, whole, last, time_ns, mono_ns, false, NULL);
}

struct metric_list *virt_stats_convert_apart(const struct plan *plan, struct run *vm,
	const virDomainStatsRecord *record, uint64_t known, bool whole,
	struct vm_counters *last, int64_t time_ns, int64_t mono_ns,
	struct metric_list **ret_seldom)
{
	struct metric_list_builder *seldom =
		ret_seldom ? metric_list_builder_new(plan->specs, time_ns) : NULL;
	struct metric_list *often = convert(
		plan, vm, record, known, whole, last, time_ns, mono_ns, true, seldom);

	if (ret_seldom)
		*ret_seldom = metric_list_builder_finish(seldom);
	return often;
}
