/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/virt_stats.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/qemu_proc.h"
#include "core/catalogue.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

#define MAX_VCPUS 4096u

/* A source of the configuration, to be found by libvirt's name. */
struct wanted {
	const char *source;
	uint32_t slot;
	bool pattern; /* holds '*' */
};

struct virt_plan {
	struct spec_set *specs;
	struct wanted *wanted; /* sorted by source */
	size_t n;
	unsigned groups;
	bool wants_delay;
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

static unsigned derived_groups(int key)
{
	switch (key) {
	case DERIVED_VMS_VCPUS:
	case DERIVED_VCPU_TIME:
	case DERIVED_VCPU_DELAY:
	case DERIVED_VCPU_WAIT:
		return VIR_DOMAIN_STATS_VCPU;
	case DERIVED_VMS_MEMORY:
		return VIR_DOMAIN_STATS_BALLOON;
	default:
		return 0;
	}
}

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;
	int c = strcmp(x->source, y->source);

	return c ? c : x->slot < y->slot ? -1 : x->slot > y->slot;
}

struct virt_plan *virt_plan_new(struct spec_set *specs)
{
	struct virt_plan *plan = xcalloc(1, sizeof(*plan));

	plan->specs = spec_set_ref(specs);
	plan->wanted = xcalloc(specs->n, sizeof(*plan->wanted));
	plan->groups = VIR_DOMAIN_STATS_STATE; /* says that the domain runs */
	for (size_t i = 0; i < specs->n; i++) {
		const struct metric_spec *spec = &specs->specs[i];

		if (!spec->entry)
			continue;
		if (spec->entry->collector == COLLECTOR_DERIVED)
			plan->groups |= derived_groups(spec->entry->key);
		plan->wants_delay |= spec->entry->key == DERIVED_VCPU_DELAY ||
			!strcmp(spec->entry->name, "vcpu.*.delay");
		if (spec->entry->collector != COLLECTOR_LIBVIRT)
			continue;
		plan->groups |= group_of(spec->source);
		plan->wanted[plan->n++] = (struct wanted){ .source = spec->source,
			.slot = (uint32_t)i,
			.pattern = strchr(spec->source, '*') != NULL };
	}
	if (plan->n)
		qsort(plan->wanted, plan->n, sizeof(*plan->wanted), compare_wanted);
	return plan;
}

void virt_plan_free(struct virt_plan *plan)
{
	if (!plan)
		return;
	spec_set_unref(plan->specs);
	free(plan->wanted);
	free(plan);
}

unsigned virt_plan_groups(const struct virt_plan *plan)
{
	return plan->groups;
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
	uint64_t vcpu_time, vcpu_delay, vcpu_wait;
	bool have_time, have_delay, have_wait;
	uint64_t vcpu_current, balloon_current, rss;
	bool have_rss;
	uint64_t vcpus_listed; /* highest vCPU number + 1 */
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

/* Sums and counts that derived sources need. */
static void note(struct conversion *cv, const char *name, const struct value *v)
{
	static const char vcpu[] = "vcpu.";

	if (!strcmp(name, "vcpu.current"))
		cv->vcpu_current = v->u;
	else if (!strcmp(name, "balloon.current"))
		cv->balloon_current = v->u;
	else if (!strcmp(name, "balloon.rss"))
		cv->rss = v->u, cv->have_rss = true;
	else if (!strncmp(name, vcpu, strlen(vcpu))) {
		const char *p = name + strlen(vcpu);
		uint64_t n = 0;

		if (parse_u64_at(&p, &n) < 0 || n >= MAX_VCPUS)
			return;
		if (n + 1 > cv->vcpus_listed)
			cv->vcpus_listed = n + 1;
		if (!strcmp(p, ".time"))
			cv->vcpu_time += v->u, cv->have_time = true;
		else if (!strcmp(p, ".delay"))
			cv->vcpu_delay += v->u, cv->have_delay = true;
		else if (!strcmp(p, ".wait"))
			cv->vcpu_wait += v->u, cv->have_wait = true;
	}
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

/* libvirt before 7.2 knows no delay: ask the kernel. */
static void add_delays(struct conversion *cv, const char *name, int root_fd)
{
	uint64_t n = cv->vcpus_listed;
	_cleanup_free_ uint64_t *delays = xcalloc(n, sizeof(*delays));

	if (qemu_proc_delays(root_fd, name, delays, n) < 0)
		return;
	for (uint64_t i = 0; i < n; i++) {
		virTypedParameter param = { .type = VIR_TYPED_PARAM_ULLONG };

		if (delays[i] == UINT64_MAX)
			continue;
		snprintf(param.field, sizeof(param.field), "vcpu.%" PRIu64 ".delay", i);
		param.value.ul = delays[i];
		add_param(cv, &param);
	}
}

static bool derived_value(const struct conversion *cv, const struct vm_ident *vm, int key,
	char uuid[UUID_TEXT_LEN + 1], struct value *ret)
{
	switch (key) {
	case DERIVED_DOMAIN_NAME:
		*ret = value_string(vm->name);
		return utf8_valid(vm->name, strlen(vm->name));
	case DERIVED_DOMAIN_UUID:
		uuid_format(&vm->uuid, uuid);
		*ret = value_string(uuid);
		return true;
	case DERIVED_DOMAIN_ID:
		*ret = value_i64(vm->id);
		return true;
	case DERIVED_VCPU_TIME:
		*ret = value_u64(cv->vcpu_time);
		return cv->have_time;
	case DERIVED_VCPU_DELAY:
		*ret = value_u64(cv->vcpu_delay);
		return cv->have_delay;
	case DERIVED_VCPU_WAIT:
		*ret = value_u64(cv->vcpu_wait);
		return cv->have_wait;
	default:
		return false;
	}
}

/* Derived sources, and "unavailable" for plain ones that libvirt did not name. */
static void add_rest(struct conversion *cv, const struct vm_ident *vm)
{
	const struct spec_set *specs = cv->plan->specs;

	for (size_t i = 0; i < specs->n; i++) {
		const struct metric_spec *spec = &specs->specs[i];
		char uuid[UUID_TEXT_LEN + 1];
		struct value v;

		if (!spec->entry || spec->context != CONTEXT_VM)
			continue;
		if (spec->entry->collector == COLLECTOR_DERIVED)
			metric_list_builder_add_source(cv->b, (uint32_t)i, NULL,
				derived_value(cv, vm, spec->entry->key, uuid, &v) ? &v
										  : NULL);
		else if (!cv->seen[i] && !strchr(spec->source, '*'))
			metric_list_builder_add_source(cv->b, (uint32_t)i, NULL, NULL);
	}
}

struct metric_list *virt_stats_convert(const struct virt_plan *plan,
	const struct vm_ident *vm, const virDomainStatsRecord *record, int root_fd,
	int64_t time_ns, struct virt_totals *totals)
{
	_cleanup_free_ bool *seen = xcalloc(plan->specs->n, sizeof(*seen));
	struct conversion cv = { .plan = plan,
		.seen = seen,
		.b = metric_list_builder_new(plan->specs, time_ns) };

	for (int i = 0; i < record->nparams; i++)
		add_param(&cv, &record->params[i]);
	if (plan->wants_delay && !cv.have_delay && cv.vcpus_listed && root_fd >= 0)
		add_delays(&cv, vm->name, root_fd);
	add_rest(&cv, vm);
	totals->vms++;
	totals->vcpus += cv.vcpu_current;
	totals->memory_kib += cv.have_rss ? cv.rss : cv.balloon_current;
	return metric_list_builder_finish(cv.b);
}

struct metric_list *virt_stats_host(const struct virt_plan *plan, const char *product,
	const struct virt_totals *totals, int64_t time_ns)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, time_ns);

	for (size_t i = 0; i < plan->specs->n; i++) {
		const struct catalogue_entry *e = plan->specs->specs[i].entry;
		struct value v = value_u64(0);
		bool have = totals != NULL;

		if (!e || e->collector != COLLECTOR_DERIVED || e->context != CONTEXT_HOST)
			continue;
		if (e->key == DERIVED_VIRT_PRODUCT)
			v = value_string(product), have = product != NULL;
		else if (e->key == DERIVED_VMS_COUNT && have)
			v = value_u64(totals->vms);
		else if (e->key == DERIVED_VMS_VCPUS && have)
			v = value_u64(totals->vcpus);
		else if (e->key == DERIVED_VMS_MEMORY && have)
			v = value_u64(totals->memory_kib);
		metric_list_builder_add_source(b, (uint32_t)i, NULL, have ? &v : NULL);
	}
	return metric_list_builder_finish(b);
}
