/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/describe.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "collect/libvirt/domain_xml.h"
#include "collect/libvirt/slow.h"
#include "core/spec.h"
#include "model/description.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/join.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/sync.h"
#include "util/wire.h"

/* Some limits (memtune) change without an event of libvirt's. */
#define REFRESH_NS (300 * NS_PER_S)

/* One that fails is tried again after two periods, four, ..., but not later than that. */
#define MAX_FAILURES 8u

/* What is kept of a run (PLACE_DESCRIBE), guarded by describe.lock. */
struct entry {
	virDomainPtr dom;  /* NULL: no connection, or it is gone */
	bool listed;       /* no event has told of it */
	int64_t due_ns;    /* monotonic */
	int64_t last_ns;   /* when it was described last; 0: never */
	unsigned failures; /* in a row; the first was logged */
};

struct describe {
	/* immutable after describe_start() */
	struct registry *registry;
	struct slow *slow;
	pthread_t thread;

	_Atomic uint64_t count;

	/* guards the rest and PLACE_DESCRIBE; inside it slow.lock and registry.lock */
	struct lock lock;
	pthread_cond_t wake;
	virConnectPtr conn; /* in force, not referenced; NULL: none */
	int64_t period_ns;
	struct spec_set *specs; /* a reference */
	bool stopping;
};

static struct entry *entry_of(const struct run *run)
{
	return run_place(run, PLACE_DESCRIBE);
}

static void entry_free(void *state)
{
	struct entry *e = state;

	if (e->dom)
		virDomainFree(e->dom);
	free(e);
}

static void want_locked(struct describe *d, struct entry *e, bool at_once)
{
	assert_locked(&d->lock);
	int64_t soonest =
		at_once || !e->last_ns ? 0 : e->last_ns + (d->period_ns << e->failures);

	if (soonest < e->due_ns)
		e->due_ns = soonest;
	pthread_cond_signal(&d->wake);
}

void describe_put(struct describe *d, struct run *run, virDomainPtr dom, bool listed)
{
	lock_take(&d->lock);
	struct entry *e = entry_of(run);

	if (!e) {
		e = xcalloc(1, sizeof(*e));
		run_set_place(run, PLACE_DESCRIBE, e, entry_free);
	}
	/* an event of the connection before may be late */
	bool wanted = d->conn == virDomainGetConnect(dom) && !atomic_load(&run->gone);

	if (wanted && !e->dom) {
		virDomainRef(dom);
		e->dom = dom;
		e->listed = listed;
		want_locked(d, e, true);
	} else if (wanted && !listed && TAKE_VALUE(e->listed, false)) {
		want_locked(d, e, true);
	}
	lock_release(&d->lock);
}

void describe_again(struct describe *d, const struct run *run, bool at_once)
{
	lock_take(&d->lock);
	struct entry *e = entry_of(run);

	if (e)
		want_locked(d, e, at_once);
	lock_release(&d->lock);
}

/* At once: a domain's last reference may close a connection. */
void describe_gone(struct describe *d, const struct run *run)
{
	lock_take(&d->lock);
	struct entry *e = entry_of(run);
	virDomainPtr dom = e ? TAKE_PTR(e->dom) : NULL;

	lock_release(&d->lock);
	if (dom)
		virDomainFree(dom);
}

void describe_connect(struct describe *d, virConnectPtr conn)
{
	lock_take(&d->lock);
	d->conn = conn;
	lock_release(&d->lock);
}

void describe_disconnect(struct describe *d)
{
	describe_connect(d, NULL);
	_cleanup_roster_ struct roster *roster = registry_roster(d->registry);

	for (size_t i = 0; i < roster->n; i++)
		describe_gone(d, roster->runs[i]);
}

void describe_set_plan(struct describe *d, const struct plan *plan)
{
	lock_take(&d->lock);
	struct spec_set *before = d->specs;

	d->period_ns = plan->settings.period_ns;
	d->specs = spec_set_ref(plan->specs);
	lock_release(&d->lock);
	spec_set_unref(before);
}

uint64_t describe_count(struct describe *d)
{
	return atomic_load(&d->count);
}

/* ---- the thread ---- */

/* Return: 0; -ENOENT if the domain has ended meanwhile; -EIO, -EINVAL: it cannot be read. */
static int read_description(
	virDomainPtr dom, const struct spec_set *specs, struct description *ret)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(dom, 0);

	if (!xml)
		return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? -ENOENT : -EIO;
	return strlen(xml) <= LIMIT_DOMAIN_XML_BYTES
		? domain_xml_parse(xml, WIRE_CHANNEL_NAME, specs, ret)
		: -EINVAL;
}

/* False once the run is over or the connection lost: nobody wants its answers then. */
static bool is_wanted(struct describe *d, const struct run *run, virDomainPtr dom)
{
	lock_take(&d->lock);
	bool wanted = entry_of(run)->dom == dom;

	lock_release(&d->lock);
	return wanted;
}

/* @failed: also before.  Return: 0 or -errno. */
static int describe_run(struct describe *d, struct run *run, virDomainPtr dom,
	const struct spec_set *specs, bool failed)
{
	_cleanup_description_ struct description *description = description_new();
	int r = read_description(dom, specs, description);

	atomic_fetch_add(&d->count, 1);
	if (!is_wanted(d, run, dom))
		return r;
	if (r == 0)
		registry_describe(d->registry, run, TAKE_PTR(description));
	else if (r != -ENOENT && !failed &&
		virConnectIsAlive(virDomainGetConnect(dom)) == 1)
		log_write(LOG_LEVEL_WARNING, LOG_VM(run->ident),
			"VM '%s': its description cannot be read", run->ident.name);
	return r;
}

/* The run that is due first, with a reference; NULL if none is before *@ret_until. */
static struct run *next_locked(struct describe *d, int64_t now, int64_t *ret_until)
{
	assert_locked(&d->lock);
	_cleanup_roster_ struct roster *roster = registry_roster(d->registry);
	struct run *best = NULL;

	*ret_until = now + REFRESH_NS;
	for (size_t i = 0; i < roster->n; i++) {
		const struct entry *e = entry_of(roster->runs[i]);

		if (!e || !e->dom || e->due_ns > *ret_until)
			continue;
		*ret_until = e->due_ns;
		best = roster->runs[i];
	}
	return best && *ret_until <= now ? run_ref(best) : NULL;
}

static void run_next_locked(struct describe *d, struct run *run, int64_t now)
{
	assert_locked(&d->lock);
	struct entry *e = entry_of(run);
	virDomainPtr dom = e->dom;
	struct spec_set *specs = spec_set_ref(d->specs);
	bool failed = e->failures > 0;

	virDomainRef(dom);
	e->last_ns = now;
	e->due_ns = now + REFRESH_NS;
	lock_release(&d->lock);
	int r = describe_run(d, run, dom, specs, failed);

	lock_take(&d->lock);
	e->failures = r == 0                 ? 0
		: e->failures < MAX_FAILURES ? e->failures + 1
					     : MAX_FAILURES;
	if (r < 0)
		want_locked(d, e, false);
	/* with the lock held: once it is let go of here, it is not put there again */
	if (e->dom == dom)
		slow_put(d->slow, run, dom);
	lock_release(&d->lock);
	virDomainFree(dom);
	spec_set_unref(specs);
	lock_take(&d->lock);
}

static void *describe_main(void *arg)
{
	struct describe *d = arg;

	lock_take(&d->lock);
	while (!d->stopping) {
		int64_t until_ns = 0, now = clock_mono_ns();
		_cleanup_run_ struct run *run = next_locked(d, now, &until_ns);

		if (run)
			run_next_locked(d, run, now);
		else
			lock_wait(&d->lock, &d->wake, until_ns);
	}
	lock_release(&d->lock);
	return NULL;
}

void describe_free(struct describe *d)
{
	if (!d)
		return;
	pthread_cond_destroy(&d->wake);
	lock_done(&d->lock);
	spec_set_unref(d->specs);
	free(d);
}

struct describe *describe_start(
	struct registry *registry, struct slow *slow, const struct plan *plan)
{
	struct describe *d = xcalloc(1, sizeof(*d));

	d->registry = registry;
	d->slow = slow;
	d->period_ns = plan->settings.period_ns;
	d->specs = spec_set_ref(plan->specs);
	lock_init(&d->lock);
	cond_init_monotonic(&d->wake);
	int r = pthread_create(&d->thread, NULL, describe_main, d);

	if (r) {
		log_error("VMs cannot be described: %s", strerror(r));
		describe_free(d);
		return NULL;
	}
	pthread_setname_np(d->thread, "describe");
	return d;
}

bool describe_stop(struct describe *d, int64_t deadline_mono_ns)
{
	lock_take(&d->lock);
	d->stopping = true;
	pthread_cond_signal(&d->wake);
	lock_release(&d->lock);
	return thread_join_until(d->thread, deadline_mono_ns);
}
