/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/connection.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "collect/libvirt/describe.h"
#include "collect/libvirt/slow.h"
#include "core/catalogue.h"
#include "model/board.h"
#include "model/cycle.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/join.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* A dead libvirtd is noticed after (count + 1) * interval; a slow one must not be. */
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 5

#define STOP_PATIENCE_NS (3 * NS_PER_S)

/* Between attempts to connect; and the VMs are compared with libvirt's list so often. */
#define CONNECT_PERIOD_NS NS_PER_S
#define LIST_CYCLES 10

/* A URI that libvirt has no driver for is tried so seldom: one might be installed. */
#define HOPELESS_PERIOD_NS (60 * NS_PER_S)

enum virt_state { VIRT_CONNECTING, VIRT_CONNECTED, VIRT_FAILED, VIRT_HOPELESS };

enum {
	ON_LIFECYCLE,
	ON_DEVICE_ADDED,
	ON_DEVICE_REMOVED,
	ON_TUNABLE,
	ON_BALLOON,
	ON_METADATA,
	N_EVENTS
};

struct virt {
	/* immutable after virt_start() */
	struct virt_params params;
	char *uri;
	pthread_t events_thread, connect_thread;
	struct describe *describe;
	struct slow *slow;
	int wake_timer;

	struct cycle cycle;
	_Atomic bool stopping;
	_Atomic enum hypervisor hypervisor; /* of the connection in force */

	/* connect thread only */
	int callbacks[N_EVENTS];
	int64_t retry_mono_ns; /* no attempt to connect before */

	struct lock lock;   /* guards all below; taken alone */
	virConnectPtr conn; /* changed by the connect thread alone */
	bool lost;          /* it is dead */
	char *product;
	enum virt_state state;
};

static const char *virt_error(void)
{
	const char *message = virGetLastErrorMessage();

	return message ? message : "unknown error";
}

static void ignore_virt_error(void *data, virErrorPtr error)
{
	(void)data;
	(void)error;
}

static bool get_ident(virDomainPtr dom, struct vm_ident *ret)
{
	ret->name = virDomainGetName(dom);
	ret->id = (int)virDomainGetID(dom);
	return ret->name && virDomainGetUUID(dom, ret->uuid.b) == 0;
}

/*
 * Reports a VM that runs as domain @dom, and hands that to who asks it.
 * Return: its run, with a reference for the caller, or NULL: registry_report().
 */
static struct run *vm_runs(
	struct virt *virt, uint64_t order, const struct vm_ident *ident, virDomainPtr dom)
{
	struct run *run = registry_report(
		virt->params.registry, order, ident, atomic_load(&virt->hypervisor));

	if (run)
		describe_put(virt->describe, run, dom, false);
	return run;
}

/* Registry: lets go of what libvirt's side holds of a VM that is gone. */
static void on_registry(void *ctx, enum registry_event event, struct run *run)
{
	struct virt *virt = ctx;

	if (event != RUN_GONE)
		return;
	describe_gone(virt->describe, run);
	slow_gone(virt->slow, run);
}

/* ---- events thread ---- */

static int on_lifecycle(
	virConnectPtr conn, virDomainPtr dom, int event, int detail, void *data)
{
	struct virt *virt = data;
	uint64_t order = registry_order(virt->params.registry);
	struct vm_ident vm;

	(void)conn;
	(void)detail;
	if (!get_ident(dom, &vm))
		return 0;
	if (event == VIR_DOMAIN_EVENT_STOPPED) {
		registry_report_gone(virt->params.registry, order, &vm.uuid);
	} else if (event == VIR_DOMAIN_EVENT_STARTED ||
		event == VIR_DOMAIN_EVENT_RESUMED ||
		event == VIR_DOMAIN_EVENT_SUSPENDED) {
		_cleanup_run_ struct run *run = vm_runs(virt, order, &vm, dom);

		/* its state is to be told at once */
		if (run && event != VIR_DOMAIN_EVENT_STARTED)
			slow_ask(virt->slow, run);
	}
	return 0;
}

/* Something of a running VM changed; @at_once: see describe_again(). */
static void look_again(virDomainPtr dom, struct virt *virt, bool at_once)
{
	_cleanup_roster_ struct roster *roster = registry_roster(virt->params.registry);
	struct vm_ident vm;
	struct run *run = get_ident(dom, &vm) ? roster_find(roster, &vm.uuid) : NULL;

	if (run)
		describe_again(virt->describe, run, at_once);
}

/* A channel, an interface or a disk was plugged or unplugged. */
static void on_device(virConnectPtr conn, virDomainPtr dom, const char *alias, void *data)
{
	(void)conn;
	(void)alias;
	look_again(dom, data, true);
}

/* A limit was changed. */
static void on_tunable(virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr params,
	int n_params, void *data)
{
	(void)conn;
	(void)params;
	(void)n_params;
	look_again(dom, data, true);
}

/* A guest can cause this as often as it likes. */
static void on_balloon(
	virConnectPtr conn, virDomainPtr dom, unsigned long long kib, void *data)
{
	(void)conn;
	(void)kib;
	look_again(dom, data, false);
}

static void on_metadata(
	virConnectPtr conn, virDomainPtr dom, int type, const char *namespace, void *data)
{
	(void)conn;
	(void)type;
	(void)namespace;
	look_again(dom, data, false);
}

/* Whoever finds that @conn is dead, late perhaps: nothing if it is not in force any more. */
static void conn_lost(struct virt *virt, virConnectPtr conn)
{
	lock_take(&virt->lock);
	virt->lost |= conn == virt->conn;
	lock_release(&virt->lock);
	cycle_kick(&virt->cycle);
}

static void on_close(virConnectPtr conn, int reason, void *data)
{
	(void)reason;
	conn_lost(data, conn);
}

static void on_wake_timer(int timer, void *data)
{
	(void)data;
	virEventUpdateTimeout(timer, -1);
}

static void *events_main(void *arg)
{
	struct virt *virt = arg;

	while (!atomic_load(&virt->stopping))
		if (virEventRunDefaultImpl() < 0)
			log_error("libvirt: event loop: %s", virt_error());
	return NULL;
}

/* ---- connect thread ---- */

/* Logs a change of the connection's state, once. */
static void set_state(struct virt *virt, enum virt_state state, const char *error)
{
	const char *uri = virt->uri ? virt->uri : "the default hypervisor";

	lock_take(&virt->lock);
	bool changed = virt->state != state;

	virt->state = state;
	lock_release(&virt->lock);
	if (!changed)
		return;
	if (state == VIRT_CONNECTED)
		log_info("libvirt: connected to %s", uri);
	else if (state == VIRT_HOPELESS)
		log_error(
			"libvirt: nothing serves %s, there will be no VMs: %s; give the URI "
			"that 'virsh uri' shows with --connect",
			uri, error);
	else
		log_warning(
			"libvirt: %s does not answer, what it tells of VMs stays as it is: %s",
			uri, error);
}

static void read_product(struct virt *virt, virConnectPtr conn)
{
	const char *type = virConnectGetType(conn);
	unsigned long version = 0;

	if (!type || virConnectGetVersion(conn, &version) < 0)
		return;
	lock_take(&virt->lock);
	free(virt->product);
	virt->product = xasprintf("%s %lu.%lu.%lu", type, version / 1000000,
		version / 1000 % 1000, version % 1000);
	lock_release(&virt->lock);
}

/* Events catch all changes; the list finds what they might have missed. */
static bool list_domains(struct virt *virt, virConnectPtr conn)
{
	struct registry *registry = virt->params.registry;
	virDomainPtr *doms = NULL;
	uint64_t order = registry_list_order(registry);
	int n = virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0)
		return false;
	_cleanup_free_ struct vm_ident *idents = xcalloc((size_t)n, sizeof(*idents));
	size_t n_idents = 0;

	for (int i = 0; i < n; i++)
		if (get_ident(doms[i], &idents[n_idents]) && idents[n_idents].id >= 0)
			n_idents++;
	registry_report_all(
		registry, order, idents, n_idents, atomic_load(&virt->hypervisor));
	_cleanup_roster_ struct roster *roster = registry_roster(registry);

	for (int i = 0; i < n; i++) {
		struct uuid uuid;
		struct run *run = virDomainGetUUID(doms[i], uuid.b) == 0
			? roster_find(roster, &uuid)
			: NULL;

		if (run)
			describe_put(virt->describe, run, doms[i], true);
		virDomainFree(doms[i]);
	}
	free(doms);
	return true;
}

static void register_events(struct virt *virt, virConnectPtr conn)
{
	const struct {
		int id;
		virConnectDomainEventGenericCallback callback;
	} events[N_EVENTS] = {
		[ON_LIFECYCLE] = { VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle) },
		[ON_DEVICE_ADDED] = { VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
			VIR_DOMAIN_EVENT_CALLBACK(on_device) },
		[ON_DEVICE_REMOVED] = { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
			VIR_DOMAIN_EVENT_CALLBACK(on_device) },
		[ON_TUNABLE] = { VIR_DOMAIN_EVENT_ID_TUNABLE,
			VIR_DOMAIN_EVENT_CALLBACK(on_tunable) },
		[ON_BALLOON] = { VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
			VIR_DOMAIN_EVENT_CALLBACK(on_balloon) },
		[ON_METADATA] = { VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
			VIR_DOMAIN_EVENT_CALLBACK(on_metadata) },
	};

	for (size_t i = 0; i < N_EVENTS; i++)
		virt->callbacks[i] = virConnectDomainEventRegisterAny(
			conn, NULL, events[i].id, events[i].callback, virt, NULL);
	if (virt->callbacks[ON_LIFECYCLE] < 0)
		log_warning(
			"libvirt: no lifecycle events, VMs are looked for now and then: %s",
			virt_error());
	(void)virConnectRegisterCloseCallback(conn, on_close, virt, NULL);
	/* Drivers within the process have no keepalive, and need none. */
	(void)virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
}

static void disconnect_virt(struct virt *virt)
{
	lock_take(&virt->lock);
	virConnectPtr conn = TAKE_PTR(virt->conn);

	virt->lost = false;
	lock_release(&virt->lock);
	if (!conn)
		return;
	for (size_t i = 0; i < N_EVENTS; i++)
		if (virt->callbacks[i] >= 0)
			virConnectDomainEventDeregisterAny(conn, virt->callbacks[i]);
	virConnectUnregisterCloseCallback(conn, on_close);
	describe_disconnect(virt->describe);
	slow_disconnect(virt->slow);
	virConnectClose(conn);
}

/*
 * The error of a connection that no waiting will make: the URI itself is wrong.  Without one
 * libvirt looks for a daemon that runs, and there may be one soon.
 */
static bool is_hopeless(const struct virt *virt)
{
	int code = virGetLastErrorCode();

	if (!virt->uri)
		return false;
	return code == VIR_ERR_NO_CONNECT || code == VIR_ERR_INVALID_ARG ||
		code == VIR_ERR_CONFIG_UNSUPPORTED;
}

static void connect_virt(struct virt *virt)
{
	if (clock_mono_ns() < virt->retry_mono_ns)
		return;
	virConnectPtr conn = virConnectOpenReadOnly(virt->uri);

	if (!conn) {
		bool hopeless = is_hopeless(virt);

		virt->retry_mono_ns = hopeless ? clock_mono_ns() + HOPELESS_PERIOD_NS : 0;
		set_state(virt, hopeless ? VIRT_HOPELESS : VIRT_FAILED, virt_error());
		return;
	}
	const char *type = virConnectGetType(conn);

	atomic_store(&virt->hypervisor,
		type && !strcmp(type, "QEMU") ? HYPERVISOR_QEMU : HYPERVISOR_OTHER);
	lock_take(&virt->lock);
	virt->conn = conn;
	lock_release(&virt->lock);
	describe_connect(virt->describe, conn);
	register_events(virt, conn);
	read_product(virt, conn);
	(void)list_domains(
		virt, conn); /* a failure shows with the connection's next use */
	set_state(virt, VIRT_CONNECTED, NULL);
	virt->params.on_connected(virt->params.ctx);
}

static void *connect_main(void *arg)
{
	struct virt *virt = arg;
	enum cycle_event event;
	unsigned cycles = 0;

	while ((event = cycle_wait(&virt->cycle)) != CYCLE_STOPPED) {
		lock_take(&virt->lock);
		bool lost = virt->lost;

		lock_release(&virt->lock);
		if (lost) {
			set_state(virt, VIRT_FAILED, "the connection was lost");
			disconnect_virt(virt);
		}
		/* with the beat: a libvirt that closes each connection is no reason to hurry */
		if (!virt->conn && event == CYCLE_BEAT)
			connect_virt(virt);
		else if (virt->conn && ++cycles % LIST_CYCLES == 0)
			(void)list_domains(virt, virt->conn);
	}
	disconnect_virt(virt);
	return NULL;
}

/* ---- what the slow lane tells ---- */

/* Return: whether the connection is good, and the call alone has failed. */
static bool on_slow_failure(void *ctx, virConnectPtr conn)
{
	if (virConnectIsAlive(conn) == 1)
		return true;
	conn_lost(ctx, conn);
	return false;
}

/* ---- start, stop ---- */

static void on_plan(void *ctx, const struct plan *plan)
{
	struct virt *virt = ctx;
	_cleanup_roster_ struct roster *roster = registry_roster(virt->params.registry);

	describe_set_plan(virt->describe, plan);
	/* some limits have no event: who wants them seen now reloads */
	for (size_t i = 0; i < roster->n; i++)
		describe_again(virt->describe, roster->runs[i], true);
	slow_again(virt->slow);
}

/* Return: 0 or -errno; nothing runs then. */
static int start_threads(struct virt *virt)
{
	int r = pthread_create(&virt->events_thread, NULL, events_main, virt);

	if (r)
		return -r;
	pthread_setname_np(virt->events_thread, "events");
	r = pthread_create(&virt->connect_thread, NULL, connect_main, virt);
	if (r) {
		atomic_store(&virt->stopping, true);
		virEventUpdateTimeout(virt->wake_timer, 0);
		pthread_join(virt->events_thread, NULL);
		return -r;
	}
	pthread_setname_np(virt->connect_thread, "connect");
	return 0;
}

void virt_free(struct virt *virt)
{
	if (!virt)
		return;
	if (virt->wake_timer >= 0)
		virEventRemoveTimeout(virt->wake_timer);
	describe_free(virt->describe);
	slow_free(virt->slow);
	cycle_done(&virt->cycle);
	lock_done(&virt->lock);
	free(virt->product);
	free(virt->uri);
	free(virt);
}

int virt_start(const struct virt_params *params, struct virt **ret)
{
	_cleanup_plan_ struct plan *plan = board_plan(params->board);
	struct virt *virt = xcalloc(1, sizeof(*virt));
	struct slow_params sp = { .board = params->board,
		.registry = params->registry,
		.root_fd = params->root_fd,
		.on_failure = on_slow_failure,
		.ctx = virt };

	virt->params = *params;
	virt->uri = params->uri ? xstrdup(params->uri) : NULL;
	for (size_t i = 0; i < N_EVENTS; i++)
		virt->callbacks[i] = -1;
	lock_init(&virt->lock);
	cycle_init(&virt->cycle, CONNECT_PERIOD_NS);
	virSetErrorFunc(NULL, ignore_virt_error);
	virInitialize();
	virEventRegisterDefaultImpl();
	virt->wake_timer = virEventAddTimeout(-1, on_wake_timer, NULL, NULL);
	virt->slow = slow_start(&sp);
	virt->describe =
		virt->slow ? describe_start(params->registry, virt->slow, plan) : NULL;
	registry_subscribe(
		params->registry, (struct registry_listener){ on_registry, virt });
	int r = virt->describe ? start_threads(virt) : -EAGAIN;

	if (r == 0) {
		board_subscribe(params->board, (struct plan_listener){ on_plan, virt });
		*ret = virt;
		return 0;
	}
	log_error("libvirt cannot be asked: %s", strerror(-r));
	int64_t deadline = clock_mono_ns() + STOP_PATIENCE_NS;

	/* nothing was asked yet, so that they end */
	if (virt->describe)
		(void)describe_stop(virt->describe, deadline);
	if (virt->slow)
		(void)slow_stop(virt->slow, deadline);
	virt_free(virt);
	return r;
}

bool virt_stop(struct virt *virt)
{
	if (!virt)
		return true;
	int64_t deadline = clock_mono_ns() + STOP_PATIENCE_NS;

	cycle_stop(&virt->cycle);
	if (!thread_join_until(virt->connect_thread, deadline))
		return false;
	atomic_store(&virt->stopping, true);
	virEventUpdateTimeout(virt->wake_timer, 0);
	return thread_join_until(virt->events_thread, deadline) &&
		describe_stop(virt->describe, deadline) &&
		slow_stop(virt->slow, deadline);
}

bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product)
{
	struct slow_figures slow;

	if (!virt)
		return false;
	slow_get_figures(virt->slow, &slow);
	fact_set(&facts[FLEET_SELF_SLOW_CALLS], value_u64(slow.calls));
	fact_set(&facts[FLEET_SELF_SLOW_ABANDONED], value_u64(slow.abandoned));
	fact_set(&facts[FLEET_SELF_SLOW_ASLEEP], value_u64(slow.asleep));
	fact_set(&facts[FLEET_SELF_SLOW_DURATION], value_u64((uint64_t)slow.call_ns));
	lock_take(&virt->lock);
	bool known = virt->product != NULL;

	if (known)
		strbuf_adds(product, virt->product);
	lock_release(&virt->lock);
	if (known)
		fact_set(&facts[FLEET_VIRT_PRODUCT], value_string(strbuf_str(product)));
	return known;
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	static const char *const states[] = { [VIRT_CONNECTING] = "connecting",
		[VIRT_CONNECTED] = "connected",
		[VIRT_FAILED] = "failed",
		[VIRT_HOPELESS] = "hopeless" };
	static_assert(ARRAY_LEN(states) == VIRT_HOPELESS + 1, "a word for each state");

	if (!virt) {
		strbuf_addf(out, "libvirt.state: %s\n", states[VIRT_CONNECTING]);
		return;
	}
	lock_take(&virt->lock);
	strbuf_addf(
		out, "libvirt.state: %s\n", virt->lost ? "lost" : states[virt->state]);
	if (virt->product)
		strbuf_addf(out, "libvirt.product: %s\n", virt->product);
	lock_release(&virt->lock);
	strbuf_addf(out, "libvirt.descriptions: %" PRIu64 "\n",
		describe_count(virt->describe));
	slow_status(virt->slow, out);
}
