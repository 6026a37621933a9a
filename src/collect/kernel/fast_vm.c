/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/fast_vm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collect/kernel/fast_plan.h"
#include "model/description.h"
#include "collect/kernel/qemu_proc.h"
#include "model/vm.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

struct nic {
	char *name;
	unsigned number; /* among all of the VM's interfaces */
	int ifindex;
	bool swapped; /* the guest is at the far end */
};

struct fast_description {
	struct nic *nics; /* those that have a name */
	size_t n_nics;
	uint64_t n_interfaces; /* all */
	uint64_t vcpus_max, memory_kib, memory_now_kib;
	bool links_known; /* the kernel knows all of nics */
};

struct fast_vm {
	struct vm *vm;
	struct qemu_proc *proc;
	struct fast_description *description;
	struct vm_counters last;
	uint64_t n_vcpus; /* of the last sample */
};

struct fast_description *fast_description_new(
	int root_fd, const struct description *domain)
{
	struct fast_description *d = xcalloc(1, sizeof(*d));

	d->nics = xcalloc(domain->n_nics, sizeof(*d->nics));
	d->n_interfaces = domain->n_nics;
	d->vcpus_max = domain->vcpus_max;
	d->memory_kib = domain->limits[DOMAIN_MEMORY];
	d->memory_now_kib = domain->memory_now_kib;
	d->links_known = true;
	for (size_t i = 0; i < domain->n_nics; i++) {
		if (!domain->nics[i])
			continue;
		struct nic *nic = &d->nics[d->n_nics++];

		nic->name = xstrdup(domain->nics[i]);
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
	for (size_t i = 0; i < d->n_nics; i++)
		free(d->nics[i].name);
	free(d->nics);
	free(d);
}

struct fast_vm *fast_vm_new(struct vm *vm)
{
	struct fast_vm *fv = xcalloc(1, sizeof(*fv));

	fv->vm = vm_ref(vm);
	return fv;
}

void fast_vm_free(struct fast_vm *fv)
{
	if (!fv)
		return;
	qemu_proc_free(fv->proc);
	fast_description_free(fv->description);
	vm_unref(fv->vm);
	free(fv);
}

struct vm *fast_vm_vm(const struct fast_vm *fv)
{
	return fv->vm;
}

int fast_vm_open(struct fast_vm *fv, int root_fd, unsigned needs)
{
	int r = qemu_proc_open(root_fd, &fv->vm->ident, needs, &fv->proc);

	if (r == 0)
		vm_set_process(fv->vm, qemu_proc_stat_fd(fv->proc));
	return r;
}

bool fast_vm_has_process(const struct fast_vm *fv)
{
	return fv->proc != NULL;
}

uint64_t fast_vm_start_ticks(const struct fast_vm *fv)
{
	return qemu_proc_start_ticks(fv->proc);
}

int fast_vm_shares(const struct fast_vm *fv, uint64_t *ret)
{
	return qemu_proc_shares(fv->proc, ret);
}

void fast_vm_describe(struct fast_vm *fv, struct fast_description *d)
{
	fast_description_free(fv->description);
	fv->description = d;
}

void fast_vm_inherit(struct fast_vm *fv, struct fast_vm *old)
{
	if (!fv->description)
		fv->description = TAKE_PTR(old->description);
	if (old->last.mono_ns > fv->last.mono_ns)
		fv->last = old->last;
}

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

		memcpy(out->counters, nic->swapped ? tx : rx, sizeof(rx));
		memcpy(out->counters + ARRAY_LEN(rx), nic->swapped ? rx : tx, sizeof(tx));
	}
	fact_set(&s->facts[VM_NET_COUNT], value_u64(d->n_interfaces));
	s->cover |= COVER_NET;
}

static void sample_description(const struct fast_description *d,
	const struct link_stats *links, struct vm_sample *s)
{
	sample_nics(d, links, s);
	if (d->vcpus_max) {
		fact_set(&s->facts[VM_VCPU_MAXIMUM], value_u64(d->vcpus_max));
		s->cover |= COVER_VCPU_MAXIMUM;
	}
	if (d->memory_kib && d->memory_now_kib) {
		fact_set(&s->facts[VM_BALLOON_MAXIMUM], value_u64(d->memory_kib));
		fact_set(&s->facts[VM_BALLOON_CURRENT], value_u64(d->memory_now_kib));
		s->cover |= COVER_BALLOON;
	}
}

static void tell(struct fast_vm *fv, const struct vm_sample *s)
{
	struct vm *vm = fv->vm;

	atomic_store(&vm->cover, s->cover);
	if (s->facts[VM_VCPU_CURRENT].have)
		atomic_store(&vm->vcpus, s->facts[VM_VCPU_CURRENT].value.u);
	if (s->facts[VM_RSS].have)
		atomic_store(&vm->rss_kib, s->facts[VM_RSS].value.u);
}

struct metric_list *fast_vm_sample(struct fast_vm *fv, const struct fast_plan *plan,
	const struct link_stats *links, struct vm_sample *scratch, bool *ret_changed)
{
	*ret_changed = false;
	if (!fv->proc)
		return NULL;
	vm_sample_clear(scratch);
	scratch->time_ns = clock_real_ns();
	scratch->mono_ns = clock_mono_ns();
	if (qemu_proc_sample(fv->proc, scratch) < 0) {
		/* libvirt will tell that the VM has ended; until then nothing is new */
		qemu_proc_free(TAKE_PTR(fv->proc));
		atomic_store(&fv->vm->cover, 0);
		return NULL;
	}
	if (fv->description)
		sample_description(fv->description, links, scratch);
	vm_sample_derive(scratch, &fv->last);
	tell(fv, scratch);
	*ret_changed = fv->n_vcpus && fv->n_vcpus != scratch->n_vcpus;
	fv->n_vcpus = scratch->n_vcpus;
	return fast_plan_list(plan, scratch);
}
