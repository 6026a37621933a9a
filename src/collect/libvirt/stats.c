/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/stats.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

/* A source of the configuration, to be found by libvirt's name. */
struct wanted {
	const char *source;
	uint32_t slot;
	bool pattern; /* holds '*' */
};

/* Groups of statistics, and what makes asking for them needless. */
struct group {
	unsigned group;
	enum vm_cover cover; /* COVER_KERNEL: nothing does */
};

struct virt_plan {
	_Atomic unsigned refs;
	struct spec_set *specs;
	struct wanted *wanted; /* sorted by source */
	size_t n;
	struct group *groups;
	size_t n_groups;
};

static unsigned group_of(const char *source)
{
	static const struct {
		const char *prefix;
		unsigned group;
	} groups[] = {
		{ "state.", VIR_DOMAIN_STATS_STATE },
		{ "cpu.", VIR_DOMAIN_STATS_CPU_TOTAL },
		{ "balloon.", VIR_DOMAIN_STATS_BALLOON },
		{ "vcpu.", VIR_DOMAIN_STATS_VCPU },
		{ "net.", VIR_DOMAIN_STATS_INTERFACE },
		{ "block.", VIR_DOMAIN_STATS_BLOCK },
		{ "perf.", VIR_DOMAIN_STATS_PERF },
		{ "iothread.", VIR_DOMAIN_STATS_IOTHREAD },
#if LIBVIR_CHECK_VERSION(6, 0, 0)
		{ "memory.", VIR_DOMAIN_STATS_MEMORY },
#endif
#if LIBVIR_CHECK_VERSION(8, 9, 0)
		{ "vm.", VIR_DOMAIN_STATS_VM },
#endif
#if LIBVIR_CHECK_VERSION(7, 2, 0)
		{ "dirtyrate.", VIR_DOMAIN_STATS_DIRTYRATE },
#endif
	};

	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (!strncmp(source, groups[i].prefix, strlen(groups[i].prefix)))
			return groups[i].group;
	return 0;
}

/* What an entry that is calculated is calculated from. */
static unsigned usage_groups(int key)
{
	switch (key) {
	case VM_USAGE_CPU:
		return VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_CPU_TOTAL;
	case VM_USAGE_THROTTLED:
	case VM_USAGE_MEMORY_PRESSURE:
		return 0;
	default:
		return VIR_DOMAIN_STATS_VCPU;
	}
}

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	int c = strcmp(x->source, y->source);

	return c ? c : x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void add_group(struct virt_plan *plan, unsigned group, enum vm_cover cover)
{
	if (group)
		plan->groups[plan->n_groups++] =
			(struct group){ .group = group, .cover = cover };
}

struct virt_plan *virt_plan_new(struct spec_set *specs)
{
	struct virt_plan *plan = xcalloc(1, sizeof(*plan));

	atomic_init(&plan->refs, 1);
	plan->specs = spec_set_ref(specs);
	plan->wanted = xcalloc(specs->n, sizeof(*plan->wanted));
	plan->groups = xcalloc(specs->n + 2, sizeof(*plan->groups));
	/* for host.vms.* and domain.cpu.limit */
	add_group(plan, VIR_DOMAIN_STATS_VCPU, COVER_VCPU);
	add_group(plan, VIR_DOMAIN_STATS_BALLOON, COVER_RSS);
	for (size_t i = 0; i < specs->n; i++) {
		const struct metric_spec *spec = &specs->specs[i];

		if (!spec->entry)
			continue;
		if (spec->entry->collector == COLLECTOR_USAGE)
			add_group(
				plan, usage_groups(spec->entry->key), spec->entry->cover);
		if (spec->entry->collector != COLLECTOR_LIBVIRT)
			continue;
		add_group(plan, group_of(spec->source), spec->entry->cover);
		plan->wanted[plan->n++] = (struct wanted){ .source = spec->source,
			.slot = (uint32_t)i,
			.pattern = strchr(spec->source, '*') != NULL };
	}
	if (plan->n)
		qsort(plan->wanted, plan->n, sizeof(*plan->wanted), compare_wanted);
	return plan;
}

struct virt_plan *virt_plan_ref(struct virt_plan *plan)
{
	atomic_fetch_add_explicit(&plan->refs, 1, memory_order_relaxed);
	return plan;
}

void virt_plan_unref(struct virt_plan *plan)
{
	if (!plan || atomic_fetch_sub_explicit(&plan->refs, 1, memory_order_acq_rel) != 1)
		return;
	spec_set_unref(plan->specs);
	free(plan->wanted);
	free(plan->groups);
	free(plan);
}

struct spec_set *virt_plan_specs(const struct virt_plan *plan)
{
	return plan->specs;
}

/* True if the fast lane serves an entry of that cover for a VM that is covered so. */
static bool is_covered(enum vm_cover entry, unsigned cover)
{
	return entry != COVER_KERNEL && (cover & entry) == entry;
}

unsigned virt_plan_groups(const struct virt_plan *plan, unsigned cover)
{
	unsigned groups = 0;

	for (size_t i = 0; i < plan->n_groups; i++)
		if (!is_covered(plan->groups[i].cover, cover))
			groups |= plan->groups[i].group;
	return groups;
}

/* The first entry with that source, or NULL; its equals follow. */
static const struct wanted *find_wanted(const struct virt_plan *plan, const char *source)
{
	size_t low = 0, high = plan->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(plan->wanted[mid].source, source) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < plan->n && !strcmp(plan->wanted[low].source, source)
		? &plan->wanted[low]
		: NULL;
}

/* What goes on while one record is converted. */
struct conversion {
	const struct virt_plan *plan;
	struct metric_list_builder *b;
	bool *seen; /* by slot */
	unsigned cover;
	struct vm_sample sample; /* what is calculated with */
};

static void add_to(struct conversion *cv, const char *source, const char *index,
	const struct value *value)
{
	const struct wanted *w = find_wanted(cv->plan, source);

	for (; w && w < cv->plan->wanted + cv->plan->n && !strcmp(w->source, source);
		w++) {
		if (metric_list_builder_count(cv->b) >= LIMIT_VM_METRICS)
			return;
		metric_list_builder_add_source(
			cv->b, w->slot, w->pattern ? index : NULL, value);
		cv->seen[w->slot] = true;
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
 * "vcpu.*.*.sum" with the index "0.exits".
 */
static bool split_own_name(const char *name, char *pattern, char *index)
{
	const char *first = strchr(name, '.');
	const char *last = strrchr(name, '.');
	bool vcpu = first && first - name == 4 && !strncmp(name, "vcpu", 4);

	if (!first || first == last || (!vcpu && strncmp(name, "vm.", 3) != 0))
		return false;
	size_t n = (size_t)(last - first) - 1;

	memcpy(index, first + 1, n);
	index[n] = '\0';
	if (vcpu != (strchr(index, '.') != NULL))
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

/* What is calculated, and "unavailable" for plain sources that libvirt did not name. */
static void add_rest(struct conversion *cv)
{
	const struct spec_set *specs = cv->plan->specs;

	for (size_t i = 0; i < specs->n; i++) {
		const struct metric_spec *spec = &specs->specs[i];
		const struct catalogue_entry *e = spec->entry;

		if (!e || is_covered(e->cover, cv->cover))
			continue;
		if (e->collector == COLLECTOR_USAGE && e->cover != COVER_KERNEL) {
			const struct fact *fact = &cv->sample.facts[e->key];

			metric_list_builder_add_source(cv->b, (uint32_t)i, NULL,
				fact->have ? &fact->value : NULL);
		} else if (e->collector == COLLECTOR_LIBVIRT && !cv->seen[i] &&
			!strchr(spec->source, '*')) {
			metric_list_builder_add_source(cv->b, (uint32_t)i, NULL, NULL);
		}
	}
}

static void tell(struct run *vm, const struct conversion *cv)
{
	const struct fact *facts = cv->sample.facts;

	if (!(cv->cover & COVER_VCPU) && facts[VM_VCPU_CURRENT].have)
		atomic_store(&vm->vcpus, facts[VM_VCPU_CURRENT].value.u);
	if (!(cv->cover & COVER_RSS) && facts[VM_RSS].have)
		atomic_store(&vm->rss_kib, facts[VM_RSS].value.u);
}

struct metric_list *virt_stats_convert(const struct virt_plan *plan, struct run *vm,
	const virDomainStatsRecord *record, unsigned cover, struct vm_counters *last,
	int64_t time_ns, int64_t mono_ns)
{
	_cleanup_free_ bool *seen = xcalloc(plan->specs->n, sizeof(*seen));
	struct conversion cv = { .plan = plan,
		.seen = seen,
		.cover = cover,
		.sample = { .time_ns = time_ns, .mono_ns = mono_ns },
		.b = metric_list_builder_new(plan->specs, time_ns) };

	for (int i = 0; i < record->nparams; i++) {
		const virTypedParameter *param = &record->params[i];

		add_param(&cv, param);
		if (!strcmp(param->field, "balloon.current") &&
			param->type == VIR_TYPED_PARAM_ULLONG)
			atomic_store(&vm->balloon_kib, param->value.ul);
	}
	vm_sample_derive(&cv.sample, last);
	add_rest(&cv);
	tell(vm, &cv);
	vm_sample_done(&cv.sample);
	return metric_list_builder_finish(cv.b);
}
