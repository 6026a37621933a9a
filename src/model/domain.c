/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/domain.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/fact.h"
#include "core/fname.h"
#include "core/metric_list.h"
#include "model/description.h"
#include "model/plan.h"
#include "model/run.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* The kernel's own periods where the description names none (kernel: sched-bwc.rst). */
#define DEFAULT_PERIOD_US 100000.0

uint64_t domain_session(const char *boot_id, const struct run *run, uint64_t start)
{
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&run->ident.uuid, uuid);
	_cleanup_free_ char *text = xasprintf("%s %s %" PRIu64, boot_id, uuid, start);
	uint64_t hash = siphash24(text, strlen(text));

	return hash ? hash : 1;
}

static double quota_share(uint64_t quota, uint64_t period)
{
	return (double)quota / (period ? (double)period : DEFAULT_PERIOD_US);
}

/* In CPUs; the formula is in the catalogue. */
static double cpu_limit(const struct description *d, uint64_t vcpus)
{
	double limit = (double)vcpus;

	if (d->limits[DOMAIN_CPUTUNE_QUOTA]) {
		double each = quota_share(d->limits[DOMAIN_CPUTUNE_QUOTA],
			d->limits[DOMAIN_CPUTUNE_PERIOD]);

		if (each < 1)
			limit *= each;
	}
	if (d->limits[DOMAIN_CPUTUNE_GLOBAL_QUOTA]) {
		double all = quota_share(d->limits[DOMAIN_CPUTUNE_GLOBAL_QUOTA],
			d->limits[DOMAIN_CPUTUNE_GLOBAL_PERIOD]);

		if (all < limit)
			limit = all;
	}
	return limit;
}

static void set_identity(const struct run *run, char *uuid, struct fact *facts)
{
	const struct vm_ident *ident = &run->ident;

	uuid_format(&ident->uuid, uuid);
	fact_set(&facts[DOMAIN_UUID], value_string(uuid));
	fact_set(&facts[DOMAIN_ID], value_i64(ident->id));
	if (utf8_valid(ident->name, strlen(ident->name)))
		fact_set(&facts[DOMAIN_NAME], value_string(ident->name));
	uint64_t session = atomic_load(&run->session), shares = atomic_load(&run->shares);

	if (session)
		fact_set(&facts[DOMAIN_SESSION], value_u64(session));
	if (shares)
		fact_set(&facts[DOMAIN_CPUTUNE_SHARES], value_u64(shares));
}

/* What no description or cgroup sets is none: no limit, nothing reserved, no weight. */
static void set_rest(struct fact *facts)
{
	static const enum domain_key later[] = { DOMAIN_SESSION, DOMAIN_CPU_LIMIT,
		DOMAIN_UNLIMITED };

	for (size_t i = 0; i < DOMAIN_SCALAR_COUNT; i++)
		fact_set_absent(&facts[i]);
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		facts[later[i]].absent = false;
}

static void set_limits(const struct run *run, const struct description *d,
	uint64_t host_mhz, struct fact *facts)
{
	uint64_t vcpus = atomic_load(&run->vcpus);

	for (size_t i = 0; i < DOMAIN_SCALAR_COUNT; i++)
		if (d->limits[i])
			fact_set(&facts[i], value_u64(d->limits[i]));
	set_rest(facts);
	facts[DOMAIN_CPU_LIMIT_FREQUENCY].absent = !host_mhz;
	if (!vcpus)
		vcpus = d->vcpus_max;
	if (!vcpus)
		return;
	double limit = cpu_limit(d, vcpus);

	fact_set(&facts[DOMAIN_CPU_LIMIT], value_real(limit));
	if (host_mhz)
		fact_set(&facts[DOMAIN_CPU_LIMIT_FREQUENCY],
			value_u64((uint64_t)(limit * (double)host_mhz + 0.5)));
}

/* Those that bound what the VM may use; where there is none it is unlimited. */
static bool is_limit(int key)
{
	return key == DOMAIN_CPUTUNE_QUOTA || key == DOMAIN_CPUTUNE_GLOBAL_QUOTA ||
		key == DOMAIN_CPUTUNE_EMULATOR_QUOTA ||
		key == DOMAIN_MEMTUNE_HARD_LIMIT || key == DOMAIN_MEMTUNE_SOFT_LIMIT ||
		key == DOMAIN_MEMTUNE_SWAP_HARD_LIMIT || key >= DOMAIN_SCALAR_COUNT;
}

/* Says of a limit that it is not set, where guests see whether it is. */
static void add_unlimited(const struct plan *plan, const struct plan_item *item,
	const char *index, struct strbuf *out)
{
	const struct metric_label *label = is_limit(item->key) && item->spec->guest
		? spec_label(plan->specs, item->slot, index, 0)
		: NULL;

	if (label)
		fname_list_add(label->name, out);
}

/* A disk without a limit has no file: 0 would read as "nothing at all". */
static void add_iotune(struct metric_list_builder *b, const struct plan *plan,
	const struct plan_item *item, const struct description *d,
	struct strbuf *unlimited)
{
	int key = item->key - DOMAIN_IOTUNE_TOTAL_BYTES;
	bool one = item->number != PLAN_EACH, found = false;

	for (size_t i = 0; d && i < d->n_disks; i++) {
		struct value v = value_u64(d->disks[i].iotune[key]);
		char index[24];

		if (one && (size_t)item->number != i)
			continue;
		snprintf(index, sizeof(index), "%zu", i);
		metric_list_builder_set_device(b, d->disks[i].target);
		if (v.u)
			metric_list_builder_add_source(
				b, item->slot, one ? NULL : index, &v);
		else
			add_unlimited(plan, item, one ? NULL : index, unlimited);
		found |= v.u != 0;
	}
	metric_list_builder_set_device(b, NULL);
	if (one && !found)
		metric_list_builder_add_fact(
			b, item->slot, NULL, &(struct fact){ .absent = d != NULL });
}

/* Each item has an element of its own. */
static struct fact metadata_fact(
	const struct plan_item *item, const struct description *d)
{
	const struct description_metadata *m =
		d ? description_metadata(d, item->spec->element) : NULL;
	struct fact fact = { .absent = m != NULL };

	if (m && m->value)
		fact_set(&fact, value_string(m->value));
	return fact;
}

struct metric_list *domain_list(const struct plan *plan, const struct run *run,
	const struct description *domain, uint64_t host_mhz, int64_t time_ns)
{
	const struct plan_part *part = &plan->parts[PLAN_DOMAIN];
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, time_ns);
	struct fact facts[DOMAIN_SCALAR_COUNT] = { 0 };
	_cleanup_strbuf_ struct strbuf unlimited = STRBUF_INIT;
	char uuid[UUID_TEXT_LEN + 1];

	set_identity(run, uuid, facts);
	if (domain)
		set_limits(run, domain, host_mhz, facts);
	for (size_t i = 0; i < part->n; i++) {
		const struct plan_item *item = &part->items[i];

		if (item->key >= DOMAIN_SCALAR_COUNT) {
			add_iotune(b, plan, item, domain, &unlimited);
			continue;
		}
		if (item->key == DOMAIN_METADATA)
			facts[item->key] = metadata_fact(item, domain);
		if (facts[item->key].absent)
			add_unlimited(plan, item, NULL, &unlimited);
		if (item->key != DOMAIN_UNLIMITED)
			metric_list_builder_add_fact(
				b, item->slot, NULL, &facts[item->key]);
	}
	if (domain)
		fact_set(&facts[DOMAIN_UNLIMITED], value_string(strbuf_str(&unlimited)));
	for (size_t i = 0; i < part->n; i++)
		if (part->items[i].key == DOMAIN_UNLIMITED)
			metric_list_builder_add_fact(
				b, part->items[i].slot, NULL, &facts[DOMAIN_UNLIMITED]);
	return metric_list_builder_finish(b);
}
