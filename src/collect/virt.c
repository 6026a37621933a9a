/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/virt.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "collect/board.h"
#include "collect/cycle.h"
#include "collect/foreign_xml.h"
#include "collect/virt_stats.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/wire.h"

/* A dead libvirtd is noticed after (count + 1) * interval; a slow one must not be. */
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 5

#define STOP_PATIENCE_NS (3 * NS_PER_S)

/* A call that takes longer, and longer than several usual ones, is left alone. */
#define CALL_PATIENCE_NS (2 * NS_PER_S)
#define CALL_PATIENCE_FACTOR 4
#define CALL_PATIENCE_MAX_NS (10 * NS_PER_S)
#define MAX_CALLS 4u /* libvirtd serves five requests of one client at a time */

enum virt_state { VIRT_CONNECTING, VIRT_CONNECTED, VIRT_FAILED };

struct virt {
	/* immutable after virt_start() */
	struct virt_params params;
	char *uri;
	pthread_t events_thread, discover_thread, stats_thread;
	int wake_timer;

	struct cycle cycle;
	_Atomic bool stopping;
	_Atomic bool no_nowait; /* the driver does not know NOWAIT */

	/* stats thread only */
	struct virt_plan *plan;
	struct spec_set *plan_specs;
	int callbacks[2];

	pthread_mutex_t lock; /* guards all below; taken alone */
	pthread_cond_t discover_wake;
	pthread_cond_t call_ended;
	struct bulk_call *calls; /* all that are under way or have ended unseen */
	unsigned n_calls;
	virConnectPtr conn;
	bool lost;          /* conn is dead */
	bool ending;        /* do not wait for calls any more */
	uint64_t event_seq; /* lifecycle events so far */
	struct uuid *queue; /* VMs to discover */
	size_t n_queue, cap_queue;
	char *product;
	enum virt_state state;
	int64_t cycle_ns;        /* the last one took */
	uint64_t cycles;         /* that succeeded */
	int64_t sampled_mono_ns; /* when the last one began that succeeded */
};

/*
 * One call for all statistics, on a thread of its own: a QEMU that hangs holds up the
 * first call that asks its monitor, for as long as it likes.  The call is left alone then,
 * and the next one passes that VM by, because it does not wait for a VM that is busy.
 */
struct bulk_call {
	struct bulk_call *next; /* guarded by virt.lock */
	bool ended;             /* guarded by virt.lock; the rest is final then */
	struct virt *virt;
	virConnectPtr conn; /* a reference */
	unsigned groups;
	uint64_t seq; /* lifecycle events before the call */
	int64_t start_mono_ns, time_ns;
	virDomainStatsRecordPtr *records;
	int n;
	char *error; /* if n < 0 */
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

static void queue_discovery(struct virt *virt, const struct uuid *uuid)
{
	bool queued = false;

	pthread_mutex_lock(&virt->lock);
	for (size_t i = 0; i < virt->n_queue && !queued; i++)
		queued = uuid_compare(&virt->queue[i], uuid) == 0;
	if (!queued && virt->n_queue < LIMIT_VMS) {
		virt->queue = xgrow(virt->queue, virt->n_queue, &virt->cap_queue,
			sizeof(*virt->queue));
		virt->queue[virt->n_queue++] = *uuid;
		pthread_cond_signal(&virt->discover_wake);
	}
	pthread_mutex_unlock(&virt->lock);
}

static bool get_ident(virDomainPtr dom, struct vm_ident *ret)
{
	ret->name = virDomainGetName(dom);
	ret->id = (int)virDomainGetID(dom);
	return ret->name && virDomainGetUUID(dom, ret->uuid.b) == 0;
}

static void vm_started(struct virt *virt, const struct vm_ident *vm)
{
	if (board_vm_start(virt->params.board, vm))
		queue_discovery(virt, &vm->uuid);
}

static void vm_stopped(struct virt *virt, const struct uuid *uuid)
{
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
	if (event == VIR_DOMAIN_EVENT_STARTED || event == VIR_DOMAIN_EVENT_RESUMED)
		vm_started(virt, &vm);
	else if (event == VIR_DOMAIN_EVENT_STOPPED)
		vm_stopped(virt, &vm.uuid);
	return 0;
}

/* A channel may have been plugged into a running VM. */
static void on_device_added(
	virConnectPtr conn, virDomainPtr dom, const char *alias, void *data)
{
	struct virt *virt = data;
	struct vm_ident vm;

	(void)conn;
	(void)alias;
	if (get_ident(dom, &vm))
		queue_discovery(virt, &vm.uuid);
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

/* ---- discover thread ---- */

/* The connection with a reference for the caller, or NULL. */
static virConnectPtr take_conn(struct virt *virt)
{
	pthread_mutex_lock(&virt->lock);
	virConnectPtr conn = virt->lost ? NULL : virt->conn;

	if (conn)
		virConnectRef(conn);
	pthread_mutex_unlock(&virt->lock);
	return conn;
}

static void discover_channel(struct virt *virt, virDomainPtr dom, const struct uuid *uuid)
{
	char *xml = virDomainGetXMLDesc(dom, 0);
	_cleanup_free_ char *path = NULL;

	if (!xml)
		return; /* gone again */
	if (strlen(xml) <= LIMIT_DOMAIN_XML_BYTES)
		(void)foreign_channel_path(xml, WIRE_CHANNEL_NAME, &path);
	free(xml);
	virt->params.on_channel(virt->params.ctx, uuid, path);
}

static void discover_stats(struct virt *virt, virDomainPtr dom)
{
	virDomainPtr doms[] = { dom, NULL };
	virDomainStatsRecordPtr *records = NULL;
	struct spec_set *specs = board_specs(virt->params.board);
	struct virt_plan *plan = virt_plan_new(specs);
	struct virt_totals totals = { 0 };
	struct vm_ident vm;
	int64_t now = clock_real_ns();

	if (get_ident(dom, &vm) &&
		virDomainListGetStats(doms, virt_plan_groups(plan), &records,
			VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) > 0) {
		board_update(virt->params.board, &vm, LANE_LIBVIRT,
			virt_stats_convert(plan, &vm, records[0], virt->params.root_fd,
				now, &totals));
		board_publish(virt->params.board);
	}
	virDomainStatsRecordListFree(records);
	virt_plan_free(plan);
	spec_set_unref(specs);
}

static void discover(struct virt *virt, const struct uuid *uuid)
{
	virConnectPtr conn = take_conn(virt);
	virDomainPtr dom = conn ? virDomainLookupByUUID(conn, uuid->b) : NULL;

	if (dom) {
		discover_channel(virt, dom, uuid);
		discover_stats(virt, dom);
		virDomainFree(dom);
	}
	if (conn)
		virConnectClose(conn);
}

static void *discover_main(void *arg)
{
	struct virt *virt = arg;

	pthread_mutex_lock(&virt->lock);
	while (!atomic_load(&virt->stopping)) {
		if (!virt->n_queue) {
			pthread_cond_wait(&virt->discover_wake, &virt->lock);
			continue;
		}
		struct uuid uuid = virt->queue[0];

		memmove(virt->queue, virt->queue + 1,
			--virt->n_queue * sizeof(*virt->queue));
		pthread_mutex_unlock(&virt->lock);
		discover(virt, &uuid);
		pthread_mutex_lock(&virt->lock);
	}
	pthread_mutex_unlock(&virt->lock);
	return NULL;
}

/* ---- stats thread ---- */

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

static bool is_among(const struct uuid *uuid, const struct vm_ident *vms, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (uuid_compare(&vms[i].uuid, uuid) == 0)
			return true;
	return false;
}

/* Makes the board's VMs the @n domains in @doms. */
static void reconcile(struct virt *virt, virDomainPtr *doms, int n)
{
	_cleanup_free_ struct vm_ident *running = xcalloc((size_t)n, sizeof(*running));
	struct vm_ident *known = NULL;
	size_t n_known = board_vms(virt->params.board, &known), n_running = 0;

	for (int i = 0; i < n; i++)
		n_running += get_ident(doms[i], &running[n_running]);
	for (size_t i = 0; i < n_known; i++)
		if (!is_among(&known[i].uuid, running, n_running))
			vm_stopped(virt, &known[i].uuid);
	board_vms_free(known, n_known);
	for (size_t i = 0; i < n_running; i++)
		vm_started(virt, &running[i]);
}

static void list_domains(struct virt *virt, virConnectPtr conn)
{
	virDomainPtr *doms = NULL;
	int n = virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0)
		return;
	reconcile(virt, doms, n);
	for (int i = 0; i < n; i++)
		virDomainFree(doms[i]);
	free(doms);
}

/* After a reconnection the channels of VMs that went on must be looked at again. */
static void rediscover_all(struct virt *virt)
{
	struct vm_ident *vms = NULL;
	size_t n = board_vms(virt->params.board, &vms);

	for (size_t i = 0; i < n; i++)
		queue_discovery(virt, &vms[i].uuid);
	board_vms_free(vms, n);
}

static void register_events(struct virt *virt, virConnectPtr conn)
{
	virt->callbacks[0] = virConnectDomainEventRegisterAny(conn, NULL,
		VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle),
		virt, NULL);
	virt->callbacks[1] = virConnectDomainEventRegisterAny(conn, NULL,
		VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
		VIR_DOMAIN_EVENT_CALLBACK(on_device_added), virt, NULL);
	if (virt->callbacks[0] < 0)
		log_warning(
			"libvirt: no lifecycle events, VMs are noticed each period: %s",
			virt_error());
	(void)virConnectRegisterCloseCallback(conn, on_close, virt, NULL);
	/* Drivers within the process have no keepalive, and need none. */
	(void)virConnectSetKeepAlive(conn, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
}

static virConnectPtr connect_virt(struct virt *virt)
{
	virConnectPtr conn = virConnectOpenReadOnly(virt->uri);

	if (!conn) {
		set_state(virt, VIRT_FAILED, virt_error());
		return NULL;
	}
	pthread_mutex_lock(&virt->lock);
	virt->conn = conn;
	virt->lost = false;
	pthread_mutex_unlock(&virt->lock);
	register_events(virt, conn);
	read_product(virt, conn);
	list_domains(virt, conn);
	rediscover_all(virt);
	set_state(virt, VIRT_CONNECTED, NULL);
	return conn;
}

static void disconnect_virt(struct virt *virt)
{
	pthread_mutex_lock(&virt->lock);
	virConnectPtr conn = virt->conn;

	virt->conn = NULL;
	virt->lost = false;
	pthread_mutex_unlock(&virt->lock);
	if (!conn)
		return;
	for (size_t i = 0; i < ARRAY_LEN(virt->callbacks); i++)
		if (virt->callbacks[i] >= 0)
			virConnectDomainEventDeregisterAny(conn, virt->callbacks[i]);
	virConnectUnregisterCloseCallback(conn, on_close);
	virConnectClose(conn);
}

static void refresh_plan(struct virt *virt)
{
	struct spec_set *specs = board_specs(virt->params.board);

	if (specs != virt->plan_specs) {
		virt_plan_free(virt->plan);
		virt->plan = virt_plan_new(specs);
		spec_set_unref(virt->plan_specs);
		virt->plan_specs = spec_set_ref(specs);
	}
	spec_set_unref(specs);
}

static int bulk_stats(struct bulk_call *call)
{
	unsigned flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE;

	if (!atomic_load(&call->virt->no_nowait)) {
		int n = virConnectGetAllDomainStats(call->conn, call->groups,
			&call->records, flags | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

		if (n >= 0 || virGetLastErrorCode() != VIR_ERR_INVALID_ARG)
			return n;
		atomic_store(&call->virt->no_nowait, true);
	}
	return virConnectGetAllDomainStats(
		call->conn, call->groups, &call->records, flags);
}

static void *call_main(void *arg)
{
	struct bulk_call *call = arg;
	struct virt *virt = call->virt;

	call->n = bulk_stats(call);
	if (call->n < 0)
		call->error = xstrdup(virt_error());
	pthread_mutex_lock(&virt->lock);
	call->ended = true;
	pthread_cond_signal(&virt->call_ended);
	pthread_mutex_unlock(&virt->lock);
	return NULL;
}

static void call_free(struct bulk_call *call)
{
	virDomainStatsRecordListFree(call->records);
	virConnectClose(call->conn);
	free(call->error);
	free(call);
}

/* Starts a call, unless too many are under way. */
static void start_call(struct virt *virt, virConnectPtr conn)
{
	struct bulk_call *call = NULL;
	pthread_t thread;

	pthread_mutex_lock(&virt->lock);
	if (virt->n_calls < MAX_CALLS) {
		call = xcalloc(1, sizeof(*call));
		*call = (struct bulk_call){ .next = virt->calls,
			.virt = virt,
			.conn = conn,
			.groups = virt_plan_groups(virt->plan),
			.seq = virt->event_seq,
			.start_mono_ns = clock_mono_ns(),
			.time_ns = clock_real_ns() };
		virConnectRef(conn);
		virt->calls = call;
		virt->n_calls++;
	}
	pthread_mutex_unlock(&virt->lock);
	if (!call)
		return;
	if (pthread_create(&thread, NULL, call_main, call) == 0) {
		pthread_detach(thread);
		return;
	}
	call->n = -1;
	call->error = xstrdup("no thread for the call");
	pthread_mutex_lock(&virt->lock);
	call->ended = true;
	pthread_mutex_unlock(&virt->lock);
}

/* Takes a call that has ended out of the list; NULL if there is none. */
static struct bulk_call *take_ended_locked(struct virt *virt)
{
	for (struct bulk_call **at = &virt->calls; *at; at = &(*at)->next) {
		struct bulk_call *call = *at;

		if (!call->ended)
			continue;
		*at = call->next;
		virt->n_calls--;
		return call;
	}
	return NULL;
}

static struct bulk_call *take_ended(struct virt *virt)
{
	pthread_mutex_lock(&virt->lock);
	struct bulk_call *call = take_ended_locked(virt);

	pthread_mutex_unlock(&virt->lock);
	return call;
}

/* Waits for any call to end.  Return: the call, the caller's to free; NULL if none did. */
static struct bulk_call *wait_for_call(struct virt *virt)
{
	struct bulk_call *call = NULL;

	pthread_mutex_lock(&virt->lock);
	int64_t patience = virt->cycle_ns * CALL_PATIENCE_FACTOR;

	/* the last call may have been one that hung */
	if (patience > CALL_PATIENCE_MAX_NS)
		patience = CALL_PATIENCE_MAX_NS;
	if (patience < CALL_PATIENCE_NS)
		patience = CALL_PATIENCE_NS;
	int64_t deadline = clock_mono_ns() + patience;
	struct timespec until = ns_to_timespec(deadline);

	while (!(call = take_ended_locked(virt)) && !virt->ending &&
		clock_mono_ns() < deadline)
		pthread_cond_timedwait(&virt->call_ended, &virt->lock, &until);
	pthread_mutex_unlock(&virt->lock);
	return call;
}

static void update_host(
	struct virt *virt, const struct virt_totals *totals, int64_t time_ns)
{
	pthread_mutex_lock(&virt->lock);
	_cleanup_free_ char *product = virt->product ? xstrdup(virt->product) : NULL;

	pthread_mutex_unlock(&virt->lock);
	board_update(virt->params.board, NULL, LANE_LIBVIRT,
		virt_stats_host(virt->plan, product, totals, time_ns));
}

/* The domains of @records, if no event came since @seq, are the ones that run. */
static void reconcile_records(
	struct virt *virt, virDomainStatsRecordPtr *records, int n, uint64_t seq)
{
	_cleanup_free_ virDomainPtr *doms = xcalloc((size_t)n, sizeof(virDomainPtr));

	for (int i = 0; i < n; i++)
		doms[i] = records[i]->dom;
	pthread_mutex_lock(&virt->lock);
	bool quiet = virt->event_seq == seq;

	pthread_mutex_unlock(&virt->lock);
	if (quiet)
		reconcile(virt, doms, n);
}

static void store_records(
	struct virt *virt, virDomainStatsRecordPtr *records, int n, int64_t time_ns)
{
	struct virt_totals totals = { 0 };

	for (int i = 0; i < n; i++) {
		struct vm_ident vm;

		if (get_ident(records[i]->dom, &vm))
			board_update(virt->params.board, &vm, LANE_LIBVIRT,
				virt_stats_convert(virt->plan, &vm, records[i],
					virt->params.root_fd, time_ns, &totals));
	}
	update_host(virt, &totals, time_ns);
	board_publish(virt->params.board);
}

static void note_success(struct virt *virt, const struct bulk_call *call)
{
	pthread_mutex_lock(&virt->lock);
	virt->cycle_ns = clock_mono_ns() - call->start_mono_ns;
	virt->sampled_mono_ns = call->start_mono_ns;
	virt->cycles++;
	pthread_mutex_unlock(&virt->lock);
}

/* Uses what a call brought; frees it. */
static void finish_call(struct virt *virt, struct bulk_call *call)
{
	bool late = call->start_mono_ns < virt->sampled_mono_ns;

	if (late) {
		/* a later call was faster: these figures are old */
	} else if (call->n >= 0) {
		set_state(virt, VIRT_CONNECTED, NULL);
		reconcile_records(virt, call->records, call->n, call->seq);
		store_records(virt, call->records, call->n, call->time_ns);
		note_success(virt, call);
	} else if (call->conn == virt->conn) {
		set_state(virt, VIRT_FAILED, call->error);
		if (virConnectIsAlive(call->conn) != 1)
			disconnect_virt(virt);
	}
	call_free(call);
}

static void sample(struct virt *virt, virConnectPtr conn)
{
	start_call(virt, conn);
	for (struct bulk_call *call = wait_for_call(virt); call; call = take_ended(virt))
		finish_call(virt, call);
}

static void *stats_main(void *arg)
{
	struct virt *virt = arg;

	while (cycle_wait(&virt->cycle)) {
		refresh_plan(virt);
		pthread_mutex_lock(&virt->lock);
		bool lost = virt->lost;
		virConnectPtr conn = virt->conn;

		pthread_mutex_unlock(&virt->lock);
		if (lost) {
			disconnect_virt(virt);
			conn = NULL;
		}
		if (!conn)
			conn = connect_virt(virt);
		if (conn) {
			sample(virt, conn);
		} else {
			update_host(virt, NULL, clock_real_ns());
			board_publish(virt->params.board);
		}
	}
	disconnect_virt(virt);
	return NULL;
}

/* ---- start, reload, stop ---- */

struct virt *virt_start(const struct virt_params *params)
{
	struct virt *virt = xcalloc(1, sizeof(*virt));

	virt->params = *params;
	virt->uri = params->uri ? xstrdup(params->uri) : NULL;
	virt->callbacks[0] = virt->callbacks[1] = -1;
	pthread_mutex_init(&virt->lock, NULL);
	pthread_cond_init(&virt->discover_wake, NULL);
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&virt->call_ended, &attr);
	pthread_condattr_destroy(&attr);
	cycle_init(&virt->cycle, params->period_ns);
	virSetErrorFunc(NULL, ignore_virt_error);
	virInitialize();
	virEventRegisterDefaultImpl();
	virt->wake_timer = virEventAddTimeout(-1, on_wake_timer, NULL, NULL);
	pthread_create(&virt->events_thread, NULL, events_main, virt);
	pthread_create(&virt->discover_thread, NULL, discover_main, virt);
	pthread_create(&virt->stats_thread, NULL, stats_main, virt);
	return virt;
}

void virt_reload(struct virt *virt, int64_t period_ns)
{
	cycle_set_period(&virt->cycle, period_ns);
}

static bool join_until(pthread_t thread, int64_t deadline_real_ns)
{
	struct timespec until = ns_to_timespec(deadline_real_ns);

	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

/* Frees the calls that end in time.  Return: true if there is none left. */
static bool calls_over(struct virt *virt, int64_t deadline_real_ns)
{
	int64_t until_ns = clock_mono_ns() + deadline_real_ns - clock_real_ns();
	struct timespec until = ns_to_timespec(until_ns);

	pthread_mutex_lock(&virt->lock);
	while (virt->calls && clock_mono_ns() < until_ns) {
		struct bulk_call *call = take_ended_locked(virt);

		if (call)
			call_free(call);
		else
			pthread_cond_timedwait(&virt->call_ended, &virt->lock, &until);
	}
	bool over = !virt->calls;

	pthread_mutex_unlock(&virt->lock);
	return over;
}

bool virt_stop(struct virt *virt)
{
	if (!virt)
		return true;
	int64_t deadline = clock_real_ns() + STOP_PATIENCE_NS;

	cycle_stop(&virt->cycle);
	pthread_mutex_lock(&virt->lock);
	virt->ending = true;
	pthread_cond_signal(&virt->call_ended);
	pthread_mutex_unlock(&virt->lock);
	if (!join_until(virt->stats_thread, deadline) || !calls_over(virt, deadline))
		return false;
	pthread_mutex_lock(&virt->lock);
	atomic_store(&virt->stopping, true);
	pthread_cond_signal(&virt->discover_wake);
	pthread_mutex_unlock(&virt->lock);
	virEventUpdateTimeout(virt->wake_timer, 0);
	if (!join_until(virt->discover_thread, deadline) ||
		!join_until(virt->events_thread, deadline))
		return false;
	virEventRemoveTimeout(virt->wake_timer);
	cycle_done(&virt->cycle);
	pthread_cond_destroy(&virt->discover_wake);
	pthread_cond_destroy(&virt->call_ended);
	pthread_mutex_destroy(&virt->lock);
	virt_plan_free(virt->plan);
	spec_set_unref(virt->plan_specs);
	free(virt->queue);
	free(virt->product);
	free(virt->uri);
	free(virt);
	return true;
}

void virt_status(struct virt *virt, struct strbuf *out)
{
	static const char *const states[] = { [VIRT_CONNECTING] = "connecting",
		[VIRT_CONNECTED] = "connected",
		[VIRT_FAILED] = "failed" };
	int64_t now = clock_mono_ns();

	pthread_mutex_lock(&virt->lock);
	strbuf_addf(
		out, "libvirt.state: %s\n", virt->lost ? "lost" : states[virt->state]);
	if (virt->product)
		strbuf_addf(out, "libvirt.product: %s\n", virt->product);
	if (virt->sampled_mono_ns)
		strbuf_addf(out, "libvirt.age_ms: %" PRId64 "\n",
			(now - virt->sampled_mono_ns) / NS_PER_MS);
	strbuf_addf(out, "libvirt.cycles: %" PRIu64 "\n", virt->cycles);
	strbuf_addf(out, "libvirt.cycle_us: %" PRId64 "\n", virt->cycle_ns / 1000);
	for (const struct bulk_call *c = virt->calls; c; c = c->next)
		strbuf_addf(out, "libvirt.waiting_ms: %" PRId64 "\n",
			(now - c->start_mono_ns) / NS_PER_MS);
	pthread_mutex_unlock(&virt->lock);
}
