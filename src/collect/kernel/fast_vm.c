/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_vm.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collect/kernel/delay_source.h"
#include "collect/kernel/fast_disks.h"
#include "collect/kernel/fast_list.h"
#include "collect/kernel/qemu_proc.h"
#include "model/description.h"
#include "model/domain.h"
#include "model/plan.h"
#include "model/run.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

struct nic {
	const char *name; /* of the description */
	unsigned number;  /* among all of the VM's interfaces */
	int ifindex;
	bool swapped; /* the guest is at the far end */
};

struct fast_description {
	struct description *from; /* a reference */
	struct nic *nics;         /* those that have a name */
	size_t n_nics;
	bool links_known; /* the kernel knows all of nics */
};

/* What domain metrics are made of; they are made again when one of these differs. */
struct domain_inputs {
	struct spec_set *specs; /* a reference */
	const struct fast_description *description;
	uint64_t session, shares, vcpus;
};

struct fast_vm {
	struct run *run; /* which keeps this in its place */

	struct delay_source *delays; /* NULL: there are none */

	/* finder thread only */
	struct fast_search search;

	/* handed over */
	struct qemu_proc *_Atomic fresh_proc;
	struct fast_description *_Atomic fresh_description;
	struct fast_disks *_Atomic fresh_disks;

	/* sampler thread only */
	bool known;
	struct qemu_proc *proc;
	struct fast_description *description;
	struct fast_disks *disks; /* NULL: they were not looked for */
	struct vm_counters last;
	struct vm_delays last_delays;
	struct domain_inputs shown;
	/* of the last sample, and the plan's number; 0: the VM did not sleep, or it is not known */
	uint64_t digest, for_plan;
};

struct fast_description *fast_description_new(int root_fd, struct description *from)
{
	struct fast_description *d = xcalloc(1, sizeof(*d));

	d->from = description_ref(from);
	d->nics = xcalloc(from->n_nics, sizeof(*d->nics));
	d->links_known = true;
	for (size_t i = 0; i < from->n_nics; i++) {
		if (!from->nics[i])
			continue;
		struct nic *nic = &d->nics[d->n_nics++];

		nic->name = from->nics[i];
		nic->number = (unsigned)i;
		/* a vhost-user port, for one, is no interface of the kernel's */
		if (link_find(root_fd, nic->name, &nic->ifindex, &nic->swapped) < 0)
			d->links_known = false;
	}
	return d;
}

void fast_description_free(struct fast_description *d)
{
	if (!d)
		return;
	description_unref(d->from);
	free(d->nics);
	free(d);
}

struct fast_vm *fast_vm_new(struct run *run, struct delay_source *delays)
{
	struct fast_vm *fv = xcalloc(1, sizeof(*fv));

	fv->run = run;
	fv->delays = delays;
	return fv;
}

void fast_vm_free(void *state)
{
	struct fast_vm *fv = state;

	if (!fv)
		return;
	description_unref(fv->search.seen);
	fast_disks_unref(fv->search.disks);
	qemu_proc_free(atomic_load(&fv->fresh_proc));
	fast_description_free(atomic_load(&fv->fresh_description));
	fast_disks_unref(atomic_load(&fv->fresh_disks));
	qemu_proc_free(fv->proc);
	fast_description_free(fv->description);
	fast_disks_unref(fv->disks);
	vm_counters_done(&fv->last);
	vm_delays_done(&fv->last_delays);
	spec_set_unref(fv->shown.specs);
	free(fv);
}

/* ---- handing over ---- */

struct fast_search *fast_vm_search(struct fast_vm *fv)
{
	return &fv->search;
}

void fast_vm_hand_process(struct fast_vm *fv, struct qemu_proc *proc)
{
	qemu_proc_free(atomic_exchange(&fv->fresh_proc, proc));
}

void fast_vm_hand_description(struct fast_vm *fv, struct fast_description *d)
{
	fast_description_free(atomic_exchange(&fv->fresh_description, d));
}

void fast_vm_hand_disks(struct fast_vm *fv, struct fast_disks *disks)
{
	fast_disks_unref(atomic_exchange(&fv->fresh_disks, disks));
}

static bool has_news(struct fast_vm *fv)
{
	return !fv->known || atomic_load(&fv->fresh_proc) ||
		atomic_load(&fv->fresh_description) || atomic_load(&fv->fresh_disks);
}

unsigned fast_vm_take_in(struct fast_vm *fv)
{
	if (!has_news(fv))
		return 0; /* as at nearly each beat, without a store */
	struct qemu_proc *proc = atomic_exchange(&fv->fresh_proc, NULL);
	struct fast_description *d = atomic_exchange(&fv->fresh_description, NULL);
	struct fast_disks *disks = atomic_exchange(&fv->fresh_disks, NULL);
	unsigned news = fv->known ? 0 : NEWS_FIRST;

	fv->known = true;
	if (proc) {
		qemu_proc_free(fv->proc);
		fv->proc = proc;
		atomic_store(&fv->run->ended_mono_ns, 0);
		news |= NEWS_PROCESS;
	}
	if (d) {
		fast_description_free(fv->description);
		fv->description = d;
		fv->shown.description = NULL; /* another may lie where the old one lay */
		news |= NEWS_DESCRIPTION;
	}
	if (disks) {
		fast_disks_unref(fv->disks);
		fv->disks = disks;
		news |= NEWS_DISKS;
	}
	if (news)
		fv->digest = 0; /* names may lie where others lay */
	return news;
}

bool fast_vm_has_process(const struct fast_vm *fv)
{
	return fv->proc != NULL;
}

uint64_t fast_vm_memory_kib(const struct fast_vm *fv)
{
	return fv->description ? fv->description->from->limits[DOMAIN_MEMORY] : 0;
}

/* ---- sampling ---- */

static void sample_nics(const struct fast_description *d, const struct link_stats *links,
	struct vm_sample *s)
{
	if (!d->links_known || !links)
		return;
	for (size_t i = 0; i < d->n_nics; i++) {
		const struct nic *nic = &d->nics[i];
		const struct link_counters *c = link_stats_find(links, nic->ifindex);
		struct nic_sample *out = vm_sample_add_nic(s, nic->number);

		out->name = nic->name;
		out->have = c != NULL;
		if (!c)
			continue; /* just unplugged */
		const uint64_t rx[] = { c->rx_bytes, c->rx_packets, c->rx_errors,
			c->rx_dropped };
		const uint64_t tx[] = { c->tx_bytes, c->tx_packets, c->tx_errors,
			c->tx_dropped };

		static_assert(sizeof(rx) + sizeof(tx) == sizeof(out->counters),
			"each has a counter");
		memcpy(out->counters, nic->swapped ? tx : rx, sizeof(rx));
		memcpy(out->counters + ARRAY_LEN(rx), nic->swapped ? rx : tx, sizeof(tx));
	}
	fact_set(&s->facts[VM_NET_COUNT], value_u64(d->from->n_nics));
	s->known |= READS(NICS);
}

static void sample_description(const struct fast_description *d,
	const struct link_stats *links, struct vm_sample *s)
{
	const struct description *from = d->from;

	sample_nics(d, links, s);
	if (from->vcpus_max) {
		fact_set(&s->facts[VM_VCPU_MAXIMUM], value_u64(from->vcpus_max));
		s->known |= READS(VCPU_MAXIMUM);
	}
	if (from->limits[DOMAIN_MEMORY] && from->memory_now_kib) {
		fact_set(&s->facts[VM_BALLOON_MAXIMUM],
			value_u64(from->limits[DOMAIN_MEMORY]));
		fact_set(&s->facts[VM_BALLOON_CURRENT], value_u64(from->memory_now_kib));
		s->known |= READS(BALLOON);
	}
}

static void tell(struct run *run, const struct vm_sample *s)
{
	atomic_store(&run->known, s->known);
	if (s->facts[VM_VCPU_CURRENT].have)
		atomic_store(&run->vcpus, s->facts[VM_VCPU_CURRENT].value.u);
	if (s->facts[VM_RSS].have)
		atomic_store(&run->rss_kib, s->facts[VM_RSS].value.u);
}

/*
 * Of a VM that slept.  One that ran has other figures, and of waits there are some for the period that
 * no digest has.
 */
static bool is_same(
	struct fast_vm *fv, const struct plan *plan, const struct vm_sample *scratch)
{
	uint64_t before = fv->digest;

	fv->digest = 0;
	if (!qemu_proc_slept(fv->proc) || plan->vm_reads & READS(DELAYS))
		return false;
	bool same_plan = fv->for_plan == plan->number;

	fv->digest = vm_sample_digest(scratch);
	fv->for_plan = plan->number;
	return same_plan && before && fv->digest == before;
}

enum fast_sampled fast_vm_measure(struct fast_vm *fv, const struct plan *plan,
	const struct link_stats *links, const struct disk_stats *disks,
	struct vm_sample *scratch)
{
	if (!fv->proc)
		return SAMPLE_NONE;
	vm_sample_clear(scratch);
	scratch->time_ns = clock_real_ns();
	scratch->mono_ns = clock_mono_ns();
	int r = qemu_proc_sample(fv->proc, scratch);

	if (r < 0) {
		/* libvirt may take its time to tell, or be away */
		qemu_proc_free(TAKE_PTR(fv->proc));
		atomic_store(&fv->run->known, 0);
		if (r == -ESRCH)
			atomic_store(&fv->run->ended_mono_ns, scratch->mono_ns);
		return SAMPLE_NONE;
	}
	if (fv->description)
		sample_description(fv->description, links, scratch);
	if (fv->disks && plan->vm_reads & READS(HOSTDISKS))
		fast_disks_sample(fv->disks, disks, scratch);
	if (fv->delays && plan->vm_reads & READS(DELAYS))
		delay_source_sample(
			fv->delays, &fv->run->ident, scratch, &fv->last_delays);
	vm_sample_derive(scratch, &fv->last);
	tell(fv->run, scratch);
	return is_same(fv, plan, scratch) ? SAMPLE_SAME : SAMPLE_NEW;
}

static bool same_inputs(const struct domain_inputs *a, const struct domain_inputs *b)
{
	return a->specs == b->specs && a->description == b->description &&
		a->session == b->session && a->shares == b->shares &&
		a->vcpus == b->vcpus;
}

struct metric_list *fast_vm_domain(
	struct fast_vm *fv, const struct plan *plan, uint64_t host_mhz)
{
	struct domain_inputs now = { .specs = plan->specs,
		.description = fv->description,
		.session = atomic_load(&fv->run->session),
		.shares = atomic_load(&fv->run->shares),
		.vcpus = atomic_load(&fv->run->vcpus) };

	if (same_inputs(&now, &fv->shown))
		return NULL;
	spec_set_unref(fv->shown.specs);
	fv->shown = now;
	spec_set_ref(plan->specs);
	return domain_list(plan, fv->run, fv->description ? fv->description->from : NULL,
		host_mhz, clock_real_ns());
}
