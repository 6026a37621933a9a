/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/discover.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "model/board.h"
#include "collect/libvirt/domain_stats.h"
#include "collect/kernel/fast_plan.h"
#include "collect/kernel/fast_vm.h"
#include "collect/libvirt/domain_xml.h"
#include "collect/kernel/host.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/slow.h"
#include "collect/libvirt/connection.h"
#include "model/vm.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/search.h"
#include "util/strbuf.h"
#include "util/sync.h"
#include "util/wire.h"

/* libvirt may tell of a VM before its process is QEMU: pauses of 20 ms to 2.56 s. */
#define MAX_TRIES 8u
#define FIRST_PAUSE_NS (20 * NS_PER_MS)

/* Some limits (memtune) change without an event of libvirt's. */
#define REFRESH_NS (300 * NS_PER_S)

/* A VM that runs, guarded by discover.lock. */
struct entry {
	struct vm *vm;
	uint64_t key;
	virDomainPtr dom; /* NULL: no connection */
	bool want_process, want_description;
	bool described;
	int64_t refresh_mono_ns; /* its description is to be read again then */
	unsigned tries;          /* to find its process, in vain */
	int64_t process_mono_ns; /* not before */
};

struct discover {
	/* immutable after discover_start() */
	struct virt_params params;
	struct slow *slow;
	pthread_t thread;
	uint64_t host_mhz;
	char *boot_id;

	/* discover thread only */
	struct fast_plan *plan;
	struct vm_sample scratch;
	bool warned;

	/* guards the rest; inside it only sampler.lock and slow.lock are taken */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	bool is_qemu;
	struct entry *entries; /* sorted by key */
	size_t n, cap;
};

/* What the thread works on: references of its own. */
struct task {
	struct vm *vm;
	virDomainPtr dom;
	bool process; /* else the description */
	bool is_qemu, described;
};

/* ---- VMs come and go ---- */

static uint64_t key_at(const void *entries, size_t i)
{
	return ((const struct entry *)entries)[i].key;
}

static size_t place_locked(const struct discover *d, uint64_t key)
{
	return search_key(d->entries, d->n, key_at, key);
}

static struct entry *find_locked(const struct discover *d, const struct uuid *uuid)
{
	size_t i = place_locked(d, uuid_key(uuid));

	return i < d->n && uuid_compare(&d->entries[i].vm->ident.uuid, uuid) == 0
		? &d->entries[i]
		: NULL;
}

static void entry_done(struct entry *e)
{
	if (e->dom)
		virDomainFree(e->dom);
	vm_unref(e->vm);
}

static void remove_locked(struct discover *d, struct entry *e)
{
	size_t i = (size_t)(e - d->entries);

	sampler_remove(d->params.sampler, e->vm);
	slow_remove(d->slow, e->vm);
	entry_done(e);
	memmove(e, e + 1, (--d->n - i) * sizeof(*e));
}

static void add_locked(struct discover *d, const struct vm_ident *ident, virDomainPtr dom)
{
	uint64_t key = uuid_key(&ident->uuid);
	size_t i = place_locked(d, key);

	d->entries = xgrow(d->entries, d->n, &d->cap, sizeof(*d->entries));
	memmove(&d->entries[i + 1], &d->entries[i], (d->n - i) * sizeof(*d->entries));
	d->n++;
	virDomainRef(dom);
	d->entries[i] = (struct entry){ .vm = vm_new(ident),
		.key = key,
		.dom = dom,
		.want_process = true,
		.want_description = true };
}

void discover_vm(
	struct discover *d, const struct vm_ident *ident, bool fresh, virDomainPtr dom)
{
	pthread_mutex_lock(&d->lock);
	struct entry *e = find_locked(d, &ident->uuid);

	if (fresh && e) {
		remove_locked(d, e);
		e = NULL;
	}
	if (fresh) {
		add_locked(d, ident, dom);
		pthread_cond_signal(&d->wake);
	} else if (e && !e->dom) {
		/* connected again */
		virDomainRef(dom);
		e->dom = dom;
		e->want_description = true;
		pthread_cond_signal(&d->wake);
	}
	pthread_mutex_unlock(&d->lock);
}

void discover_gone(struct discover *d, const struct uuid *uuid)
{
	pthread_mutex_lock(&d->lock);
	struct entry *e = find_locked(d, uuid);

	if (e)
		remove_locked(d, e);
	pthread_mutex_unlock(&d->lock);
}

void discover_again(struct discover *d, const struct uuid *uuid)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n; i++) {
		struct entry *e = &d->entries[i];

		if (uuid && uuid_compare(&e->vm->ident.uuid, uuid) != 0)
			continue;
		e->want_process = e->want_description = true;
		e->tries = 0;
		e->process_mono_ns = 0;
	}
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
}

void discover_connect(struct discover *d, virConnectPtr conn)
{
	const char *type = virConnectGetType(conn);

	pthread_mutex_lock(&d->lock);
	d->is_qemu = type && !strcmp(type, "QEMU");
	pthread_mutex_unlock(&d->lock);
}

void discover_disconnect(struct discover *d)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n; i++) {
		if (d->entries[i].dom)
			virDomainFree(d->entries[i].dom);
		d->entries[i].dom = NULL;
	}
	pthread_mutex_unlock(&d->lock);
}

/* ---- a VM's process ---- */

static void refresh_plan(struct discover *d)
{
	struct spec_set *specs = board_specs(d->params.board);

	if (!d->plan || specs != fast_plan_specs(d->plan)) {
		fast_plan_free(d->plan);
		d->plan = fast_plan_new(specs);
	}
	spec_set_unref(specs);
}

/* Once: what holds for one VM holds for the others, too. */
static void warn_process(struct discover *d, const struct vm *vm, int error)
{
	if (d->warned)
		return;
	d->warned = true;
	log_warning("VM '%s': its process cannot be read: %s; libvirt's figures are used",
		vm->ident.name,
		error == -ENOENT          ? "/run/libvirt/qemu names none that is there"
			: error == -ESRCH ? "/run/libvirt/qemu names another one"
					  : strerror(-error));
}

static void set_session(struct discover *d, struct vm *vm, const struct fast_vm *fv)
{
	bool found = fast_vm_has_process(fv);

	vm->session = domain_session(
		d->boot_id, vm, found ? fast_vm_start_ticks(fv) : (uint64_t)vm->ident.id);
	if (found)
		(void)fast_vm_shares(fv, &vm->shares);
}

static void update_domain(
	struct discover *d, struct vm *vm, const struct description *domain)
{
	board_update(d->params.board, &vm->ident, LANE_DOMAIN,
		domain_stats_list(fast_plan_specs(d->plan), vm, domain, d->host_mhz,
			clock_real_ns()));
}

/* Return: false if that was often enough. */
static bool try_again_locked(struct entry *e)
{
	if (e->tries == MAX_TRIES)
		return false;
	e->want_process = true;
	e->process_mono_ns = clock_mono_ns() + (FIRST_PAUSE_NS << e->tries++);
	return true;
}

static void discover_process(struct discover *d, const struct task *task)
{
	struct vm *vm = task->vm;
	struct fast_vm *fv = fast_vm_new(vm);
	bool changed = false;
	int r = task->is_qemu
		? fast_vm_open(fv, d->params.root_fd,
			  sampler_needs(d->params.sampler, fast_plan_specs(d->plan)))
		: 0;

	set_session(d, vm, fv);
	struct metric_list *list =
		fast_vm_sample(fv, d->plan, NULL, &d->scratch, &changed);

	if (list)
		board_update(d->params.board, &vm->ident, LANE_FAST, list);
	if (!task->described)
		update_domain(d, vm, NULL);
	board_publish(d->params.board);

	pthread_mutex_lock(&d->lock);
	struct entry *e = find_locked(d, &vm->ident.uuid);
	bool current = e && e->vm == vm, last_try = false;

	if (current && r < 0)
		last_try = !try_again_locked(e);
	else if (current && e->tries)
		e->want_description = true; /* it was made without the process */
	if (current)
		sampler_put(d->params.sampler, TAKE_PTR(fv));
	pthread_mutex_unlock(&d->lock);
	if (last_try)
		warn_process(d, vm, r);
	fast_vm_free(fv);
}

/* ---- a VM's description ---- */

static bool read_description(const struct task *task, struct description *ret)
{
	char *xml = virDomainGetXMLDesc(task->dom, 0);
	bool good = xml && strlen(xml) <= LIMIT_DOMAIN_XML_BYTES &&
		domain_xml_parse(xml, WIRE_CHANNEL_NAME, ret) == 0;

	if (xml && !good)
		log_warning(
			"VM '%s': its description cannot be read", task->vm->ident.name);
	free(xml);
	return good;
}

static void discover_description(struct discover *d, const struct task *task)
{
	struct description domain = { 0 };
	struct vm *vm = task->vm;
	struct fast_description *fd = NULL;

	if (read_description(task, &domain)) {
		atomic_store(&vm->memory_kib, domain.limits[DOMAIN_MEMORY]);
		fd = fast_description_new(d->params.root_fd, &domain);
		update_domain(d, vm, &domain);
		board_publish(d->params.board);
	}
	pthread_mutex_lock(&d->lock);
	struct entry *e = find_locked(d, &vm->ident.uuid);
	bool current = e && e->vm == vm;

	if (current) {
		if (fd) {
			e->described = true;
			sampler_describe(d->params.sampler, vm, TAKE_PTR(fd));
		}
		slow_put(d->slow, vm, task->dom);
	}
	pthread_mutex_unlock(&d->lock);
	/* a VM that is gone meanwhile has no channel: on_gone() may have come before */
	if (current)
		d->params.on_channel(d->params.ctx, &vm->ident.uuid, domain.channel_path);
	fast_description_free(fd);
	description_done(&domain);
}

/* ---- the thread ---- */

/* Processes first.  Return: NULL if there is nothing to do before *@ret_until. */
static struct entry *next_locked(struct discover *d, int64_t *ret_until)
{
	int64_t now = clock_mono_ns();

	*ret_until = now + REFRESH_NS;
	for (size_t i = 0; i < d->n; i++) {
		struct entry *e = &d->entries[i];

		if (e->want_process && e->process_mono_ns <= now)
			return e;
		if (e->want_process && e->process_mono_ns < *ret_until)
			*ret_until = e->process_mono_ns;
	}
	for (size_t i = 0; i < d->n; i++) {
		struct entry *e = &d->entries[i];

		if (!e->dom)
			continue;
		if (e->want_description || e->refresh_mono_ns <= now)
			return e;
		if (e->refresh_mono_ns < *ret_until)
			*ret_until = e->refresh_mono_ns;
	}
	return NULL;
}

static void take_task_locked(struct discover *d, struct entry *e, struct task *ret)
{
	*ret = (struct task){ .vm = vm_ref(e->vm),
		.dom = e->dom,
		.process = e->want_process && e->process_mono_ns <= clock_mono_ns(),
		.is_qemu = d->is_qemu,
		.described = e->described };
	if (e->dom)
		virDomainRef(e->dom);
	if (ret->process) {
		e->want_process = false;
		return;
	}
	e->want_description = false;
	e->refresh_mono_ns = clock_mono_ns() + REFRESH_NS;
}

static void run_task(struct discover *d, const struct task *task)
{
	refresh_plan(d);
	if (task->process)
		discover_process(d, task);
	else
		discover_description(d, task);
	if (task->dom)
		virDomainFree(task->dom);
	vm_unref(task->vm);
}

static void *discover_main(void *arg)
{
	struct discover *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stopping) {
		int64_t until_ns = 0;
		struct entry *e = next_locked(d, &until_ns);
		struct timespec until = ns_to_timespec(until_ns);
		struct task task;

		if (!e) {
			pthread_cond_timedwait(&d->wake, &d->lock, &until);
			continue;
		}
		take_task_locked(d, e, &task);
		pthread_mutex_unlock(&d->lock);
		run_task(d, &task);
		pthread_mutex_lock(&d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

struct discover *discover_start(const struct virt_params *params, struct slow *slow)
{
	struct discover *d = xcalloc(1, sizeof(*d));
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	d->params = *params;
	d->slow = slow;
	d->host_mhz = host_nominal_mhz(params->root_fd);
	(void)read_file_at(params->root_fd, "proc/sys/kernel/random/boot_id", 64, &text);
	d->boot_id = xstrdup(strbuf_str(&text));
	pthread_mutex_init(&d->lock, NULL);
	cond_init_monotonic(&d->wake);
	pthread_create(&d->thread, NULL, discover_main, d);
	pthread_setname_np(d->thread, "discover");
	return d;
}

bool discover_stop(struct discover *d, int64_t deadline_mono_ns)
{
	pthread_mutex_lock(&d->lock);
	d->stopping = true;
	pthread_cond_signal(&d->wake);
	pthread_mutex_unlock(&d->lock);
	if (!thread_join_until(d->thread, deadline_mono_ns))
		return false;
	for (size_t i = 0; i < d->n; i++)
		entry_done(&d->entries[i]);
	fast_plan_free(d->plan);
	vm_sample_done(&d->scratch);
	pthread_cond_destroy(&d->wake);
	pthread_mutex_destroy(&d->lock);
	free(d->entries);
	free(d->boot_id);
	free(d);
	return true;
}
