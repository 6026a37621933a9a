/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/connection.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "model/board.h"
#include "model/cycle.h"
#include "collect/libvirt/discover.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/slow.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/sync.h"

/* A dead libvirtd is noticed after (count + 1) * interval; a slow one must not be. */
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 5

#define STOP_PATIENCE_NS (3 * NS_PER_S)

/* Between attempts to connect; and the VMs are compared with libvirt's list so often. */
#define CONNECT_PERIOD_NS NS_PER_S
#define LIST_CYCLES 10

enum virt_state { VIRT_CONNECTING, VIRT_CONNECTED, VIRT_FAILED };

enum {
	ON_LIFECYCLE,
	ON_DEVICE_ADDED,
	ON_DEVICE_REMOVED,
	ON_TUNABLE,
	ON_BALLOON,
	N_EVENTS
};

struct virt {
	/* immutable after virt_start() */
	struct virt_params params;
	char *uri;
	pthread_t events_thread, connect_thread;
	struct discover *discover;
	struct slow *slow;
	int wake_timer;

	struct cycle cycle;
	_Atomic bool stopping;
	_Atomic bool stats_failed; /* which was logged */

	/* connect thread only */
	virConnectPtr conn;
	int callbacks[N_EVENTS];

	pthread_mutex_t lock; /* guards all below; taken alone */
	bool lost;            /* the connection is dead */
	uint64_t event_seq;   /* lifecycle events so far */
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

static void vm_runs(struct virt *virt, const struct vm_ident *ident, virDomainPtr dom)
{
	bool fresh = board_vm_start(virt->params.board, ident);

	discover_vm(virt->discover, ident, fresh, dom);
}

static void vm_stopped(struct virt *virt, const struct uuid *uuid)
{
	discover_gone(virt->discover, uuid);
	if (board_vm_stop(virt->params.board, uuid, -1))
		virt->params.on_gone(virt->params.ctx, uuid);
}

/* ---- events thread ---- */

static int on_lifecycle(
	virConnectPtr conn, virDomainPtr dom, int event, int detail, void *data)
{
	struct virt *virt = data;
	struct vm_ident vm;

	(void)conn;
	(void)detail;
	pthread_mutex_lock(&virt->lock);
	virt->event_seq++;
	pthread_mutex_unlock(&virt->lock);
	if (!get_ident(dom, &vm))
		return 0;
	switch (event) {
	case VIR_DOMAIN_EVENT_STOPPED:
		vm_stopped(virt, &vm.uuid);
		break;
	case VIR_DOMAIN_EVENT_STARTED:
		vm_runs(virt, &vm, dom);
		break;
	case VIR_DOMAIN_EVENT_RESUMED:
	case VIR_DOMAIN_EVENT_SUSPENDED:
		vm_runs(virt, &vm, dom);
		virt_rediscover(virt, &vm.uuid); /* its state is to be told at once */
		break;
	default:
		break;
	}
	return 0;
}

static void look_again(virDomainPtr dom, struct virt *virt)
{
	struct vm_ident vm;

	if (get_ident(dom, &vm))
		virt_rediscover(virt, &vm.uuid);
}

/* A channel, an interface or a disk was plugged or unplugged. */
static void on_device(virConnectPtr conn, virDomainPtr dom, const char *alias, void *data)
{
	(void)conn;
	(void)alias;
	look_again(dom, data);
}

/* A limit was changed. */
static void on_tunable(virConnectPtr conn, virDomainPtr dom, virTypedParameterPtr params,
	int n_params, void *data)
{
	(void)conn;
	(void)params;
	(void)n_params;
	look_again(dom, data);
}

static void on_balloon(
	virConnectPtr conn, virDomainPtr dom, unsigned long long kib, void *data)
{
	(void)conn;
	(void)kib;
	look_again(dom, data);
}

static void on_close(virConnectPtr conn, int reason, void *data)
{
	struct virt *virt = data;

	(void)conn;
	(void)reason;
	pthread_mutex_lock(&virt->lock);
	virt->lost = true;
	pthread_mutex_unlock(&virt->lock);
	cycle_kick(&virt->cycle);
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

	pthread_mutex_lock(&virt->lock);
	bool changed = virt->state != state;

	virt->state = state;
	pthread_mutex_unlock(&virt->lock);
	if (!changed)
		return;
	if (state == VIRT_CONNECTED)
		log_info("libvirt: connected to %s", uri);
	else
		log_warning(
			"libvirt: %s does not answer, VM metrics keep their last values: %s",
			uri, error);
}

static void read_product(struct virt *virt, virConnectPtr conn)
{
	const char *type = virConnectGetType(conn);
	unsigned long version = 0;

	if (!type || virConnectGetVersion(conn, &version) < 0)
		return;
	pthread_mutex_lock(&virt->lock);
	free(virt->product);
	virt->product = xasprintf("%s %lu.%lu.%lu", type, version / 1000000,
		version / 1000 % 1000, version % 1000);
	pthread_mutex_unlock(&virt->lock);
}

static uint64_t event_seq(struct virt *virt)
{
	pthread_mutex_lock(&virt->lock);
	uint64_t seq = virt->event_seq;

	pthread_mutex_unlock(&virt->lock);
	return seq;
}

static int compare_idents(const void *a, const void *b)
{
	const struct vm_ident *x = a, *y = b;

	return uuid_compare(&x->uuid, &y->uuid);
}

/* Makes the board's VMs the @n domains in @doms. */
static void reconcile(struct virt *virt, virDomainPtr *doms, size_t n)
{
	_cleanup_free_ struct vm_ident *running = xcalloc(n, sizeof(*running));
	struct vm_ident *known = NULL;
	size_t n_known = board_vms(virt->params.board, &known), n_running = 0;

	for (size_t i = 0; i < n; i++) {
		n_running += get_ident(doms[i], &running[n_running]);
		if (n_running && running[n_running - 1].id >= 0)
			vm_runs(virt, &running[n_running - 1], doms[i]);
	}
	if (n_running)
		qsort(running, n_running, sizeof(*running), compare_idents);
	for (size_t i = 0; i < n_known; i++)
		if (!n_running ||
			!bsearch(&known[i], running, n_running, sizeof(*running),
				compare_idents))
			vm_stopped(virt, &known[i].uuid);
	board_vms_free(known, n_known);
}

/* Events catch all changes; the list finds what they might have missed. */
static bool list_domains(struct virt *virt, virConnectPtr conn)
{
	virDomainPtr *doms = NULL;
	uint64_t before = event_seq(virt);
	int n = virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0)
		return false;
	/* with an event meanwhile the list may be older than what the event told */
	bool quiet = event_seq(virt) == before;

	if (quiet)
		reconcile(virt, doms, (size_t)n);
	for (int i = 0; i < n; i++)
		virDomainFree(doms[i]);
	free(doms);
	return quiet;
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
	virConnectPtr conn = TAKE_PTR(virt->conn);

	pthread_mutex_lock(&virt->lock);
	virt->lost = false;
	pthread_mutex_unlock(&virt->lock);
	if (!conn)
		return;
	discover_disconnect(virt->discover);
	slow_disconnect(virt->slow);
	for (size_t i = 0; i < N_EVENTS; i++)
		if (virt->callbacks[i] >= 0)
			virConnectDomainEventDeregisterAny(conn, virt->callbacks[i]);
	virConnectUnregisterCloseCallback(conn, on_close);
	virConnectClose(conn);
}

static void connect_virt(struct virt *virt)
{
	virConnectPtr conn = virConnectOpenReadOnly(virt->uri);

	if (!conn) {
		set_state(virt, VIRT_FAILED, virt_error());
		return;
	}
	virt->conn = conn;
	discover_connect(virt->discover, conn);
	register_events(virt, conn);
	read_product(virt, conn);
	/* among many starts there may never be a quiet moment; the events tell, too */
	for (int i = 0; i < LIST_CYCLES && !list_domains(virt, conn); i++)
		continue;
	set_state(virt, VIRT_CONNECTED, NULL);
	sampler_kick(virt->params.sampler); /* the hypervisor's version is known now */
}

static void *connect_main(void *arg)
{
	struct virt *virt = arg;
	unsigned cycles = 0;

	while (cycle_wait(&virt->cycle)) {
		pthread_mutex_lock(&virt->lock);
		bool lost = virt->lost;

		pthread_mutex_unlock(&virt->lock);
		if (lost) {
			set_state(virt, VIRT_FAILED, "the connection was lost");
			disconnect_virt(virt);
		}
		if (!virt->conn)
			connect_virt(virt);
		else if (++cycles % LIST_CYCLES == 0)
			(void)list_domains(virt, virt->conn);
	}
	disconnect_virt(virt);
	return NULL;
}

/* ---- what the slow lane tells ---- */

static void on_slow_failure(void *ctx, virConnectPtr conn, virErrorPtr error)
{
	struct virt *virt = ctx;
	const char *message = error && error->message ? error->message : "unknown error";

	if (virConnectIsAlive(conn) == 1) {
		/* a VM that ended just now is no news */
		if ((!error || error->code != VIR_ERR_NO_DOMAIN) &&
			!atomic_exchange(&virt->stats_failed, true))
			log_warning("libvirt: no statistics: %s", message);
		return;
	}
	set_state(virt, VIRT_FAILED, message);
	pthread_mutex_lock(&virt->lock);
	virt->lost = true;
	pthread_mutex_unlock(&virt->lock);
	cycle_kick(&virt->cycle);
}

static void on_slow_success(void *ctx)
{
	struct virt *virt = ctx;

	atomic_store(&virt->stats_failed, false);
}

/* ---- start, reload, stop ---- */

struct virt *virt_start(const struct virt_params *params)
{
	struct virt *virt = xcalloc(1, sizeof(*virt));
	struct slow_params sp = { .board = params->board,
		.period_ns = params->period_ns,
		.slow_period_ns = params->slow_period_ns,
		.on_failure = on_slow_failure,
		.on_success = on_slow_success,
		.ctx = virt };

	virt->params = *params;
	virt->uri = params->uri ? xstrdup(params->uri) : NULL;
	for (size_t i = 0; i < N_EVENTS; i++)
		virt->callbacks[i] = -1;
	pthread_mutex_init(&virt->lock, NULL);
	cycle_init(&virt->cycle, CONNECT_PERIOD_NS);
	virSetErrorFunc(NULL, ignore_virt_error);
	virInitialize();
	virEventRegisterDefaultImpl();
	virt->wake_timer = virEventAddTimeout(-1, on_wake_timer, NULL, NULL);
	virt->slow = slow_start(&sp);
	virt->discover = discover_start(params, virt->slow);
	pthread_create(&virt->events_thread, NULL, events_main, virt);
	pthread_setname_np(virt->events_thread, "events");
	pthread_create(&virt->connect_thread, NULL, connect_main, virt);
	pthread_setname_np(virt->connect_thread, "connect");
	return virt;
}

void virt_reload(struct virt *virt, int64_t period_ns, int64_t slow_period_ns)
{
	/* descriptions serve other metrics now, and other files must be open */
	virt_rediscover(virt, NULL);
	slow_reload(virt->slow, period_ns, slow_period_ns);
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
	if (!thread_join_until(virt->events_thread, deadline) ||
		!discover_stop(virt->discover, deadline) ||
		!slow_stop(virt->slow, deadline))
		return false;
	virEventRemoveTimeout(virt->wake_timer);
	cycle_done(&virt->cycle);
	pthread_mutex_destroy(&virt->lock);
	free(virt->product);
	free(virt->uri);
	free(virt);
	return true;
}

bool virt_fill(struct virt *virt, struct fact *facts, struct strbuf *product)
{
	struct slow_figures slow;

	slow_get_figures(virt->slow, &slow);
	fact_set(&facts[FLEET_SELF_SLOW_CALLS], value_u64(slow.calls));
	fact_set(&facts[FLEET_SELF_SLOW_ABANDONED], value_u64(slow.abandoned));
	fact_set(&facts[FLEET_SELF_SLOW_DURATION], value_u64((uint64_t)slow.call_ns));
	pthread_mutex_lock(&virt->lock);
	bool known = virt->product != NULL;

	if (known)
		strbuf_adds(product, virt->product);
	pthread_mutex_unlock(&virt->lock);
	if (known)
		fact_set(&facts[FLEET_VIRT_PRODUCT], value_string(strbuf_str(product)));
	return known;
}

void virt_rediscover(struct virt *virt, const struct uuid *uuid)
{
	discover_again(virt->discover, uuid);
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	static const char *const states[] = { [VIRT_CONNECTING] = "connecting",
		[VIRT_CONNECTED] = "connected",
		[VIRT_FAILED] = "failed" };

	pthread_mutex_lock(&virt->lock);
	strbuf_addf(
		out, "libvirt.state: %s\n", virt->lost ? "lost" : states[virt->state]);
	if (virt->product)
		strbuf_addf(out, "libvirt.product: %s\n", virt->product);
	pthread_mutex_unlock(&virt->lock);
	slow_status(virt->slow, out);
}
