/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-libvirt.h"

#include "fake-time.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/stats.h"
#include "util/clock.h"
#include "util/mem.h"

#define MAX_CALLBACKS 8u
#define MAX_EVENTS 1024u
#define EVENT_CLOSE -1
#define IS_STATS(call) ((call) == FAKE_STATS || (call) == FAKE_PULSE)

struct callback {
	int event; /* VIR_DOMAIN_EVENT_ID_* */
	virConnectDomainEventGenericCallback function;
	void *data;
	bool registered;
};

struct _virConnect {
	unsigned refs;
	bool alive, answers; /* of calls that were held when it broke */
	struct callback callbacks[MAX_CALLBACKS];
	virConnectCloseFunc on_close;
	void *close_data;
};

struct _virDomain {
	unsigned refs;
	virConnectPtr conn;
	unsigned vm;
	int id;
	char name[16];
};

struct vm {
	bool runs, plugged;
	int id;
	unsigned memory_kib;
	int64_t occupied_ns; /* since when a call waits for its monitor; 0: none */
};

struct event {
	virConnectPtr conn; /* a reference */
	int event, detail;
	unsigned vm;
	int id;
};

/* fake_lock() guards all of it */
static struct {
	struct vm vms[FAKE_VMS];
	int last_id;
	int held[FAKE_CALL_COUNT][FAKE_VMS + 1];
	int codes[FAKE_CALL_COUNT][FAKE_VMS + 1];
	unsigned calls[FAKE_CALL_COUNT][FAKE_VMS + 1];
	unsigned n_held[FAKE_CALL_COUNT];
	unsigned calls_in_vain, n_objects;
	bool no_nowait, break_each, timer_due;
	virConnectPtr conn; /* the newest, while somebody has a reference */
	struct event events[MAX_EVENTS];
	size_t n_events;
	virEventTimeoutCallback on_timer;
	void *timer_data;
} world;
_Atomic unsigned fake_balloons[FAKE_VMS];

static __thread virError last_error;
static __thread char last_message[64];

static void set_error(int code)
{
	snprintf(last_message, sizeof(last_message), "error %d", code);
	last_error = (virError){ .code = code, .message = last_message };
}

static unsigned read_count(const unsigned *count)
{
	fake_lock();
	unsigned n = *count;

	fake_unlock();
	return n;
}

/* ---- references ---- */

static void conn_unref_locked(virConnectPtr conn)
{
	assert(conn->refs > 0);
	if (--conn->refs)
		return;
	if (world.conn == conn)
		world.conn = NULL;
	world.n_objects--;
	free(conn);
}

static virDomainPtr domain_new_locked(virConnectPtr conn, unsigned vm, int id)
{
	virDomainPtr dom = xcalloc(1, sizeof(*dom));

	*dom = (struct _virDomain){ .refs = 1, .conn = conn, .vm = vm, .id = id };
	snprintf(dom->name, sizeof(dom->name), "vm%u", vm);
	conn->refs++;
	world.n_objects++;
	return dom;
}

int virDomainRef(virDomainPtr dom)
{
	fake_lock();
	dom->refs++;
	fake_unlock();
	return 0;
}

int virDomainFree(virDomainPtr dom)
{
	fake_lock();
	assert(dom->refs > 0);
	if (--dom->refs == 0) {
		conn_unref_locked(dom->conn);
		world.n_objects--;
		free(dom);
	}
	fake_unlock();
	return 0;
}

unsigned fake_objects(void)
{
	return read_count(&world.n_objects);
}

/* ---- calls ---- */

struct held {
	enum fake_call call;
	bool concerns[FAKE_VMS + 1];
};

static bool is_released(void *ctx)
{
	const struct held *h = ctx;

	for (unsigned vm = 0; vm <= FAKE_VMS; vm++)
		if (h->concerns[vm] && world.held[h->call][vm])
			return false;
	return true;
}

static void set_occupied_locked(const struct held *h, int64_t since_ns)
{
	for (unsigned vm = 0; vm < FAKE_VMS; vm++)
		if (h->concerns[vm] && world.held[h->call][vm])
			world.vms[vm].occupied_ns = since_ns;
}

/* Is held, and fails, as told.  Return: 0, or the error, which is set. */
static int play_locked(virConnectPtr conn, const struct held *h)
{
	int code = VIR_ERR_OK;

	for (unsigned vm = 0; vm <= FAKE_VMS; vm++)
		world.calls[h->call][vm] += h->concerns[vm];
	world.calls_in_vain += conn && !conn->alive;
	bool late = !is_released((void *)(uintptr_t)h);

	if (late) {
		world.n_held[h->call]++;
		fake_unlock();
		int64_t now = clock_mono_ns();

		fake_lock();
		if (IS_STATS(h->call))
			set_occupied_locked(h, now);
		fake_wait_locked(is_released, (void *)(uintptr_t)h);
		world.n_held[h->call]--;
	}
	for (unsigned vm = 0; vm <= FAKE_VMS; vm++)
		if (h->concerns[vm] && world.codes[h->call][vm])
			code = world.codes[h->call][vm];
	if (conn && !conn->alive && !(late && conn->answers))
		code = VIR_ERR_RPC;
	if (code)
		set_error(code);
	return code;
}

static int play_for_locked(virConnectPtr conn, enum fake_call call, unsigned vm)
{
	struct held h = { .call = call };

	h.concerns[vm] = true;
	return play_locked(conn, &h);
}

static void set_for(int *all, unsigned vm, int value)
{
	fake_lock();
	for (unsigned i = 0; i <= FAKE_VMS; i++)
		if (i == vm || vm == FAKE_ALL)
			all[i] = value;
	fake_changed_locked();
	fake_unlock();
}

void fake_hold(enum fake_call call, unsigned vm)
{
	set_for(world.held[call], vm, true);
}

void fake_release(enum fake_call call, unsigned vm)
{
	fake_lock();
	for (unsigned i = 0; IS_STATS(call) && i < FAKE_VMS; i++)
		if (i == vm || vm == FAKE_ALL)
			world.vms[i].occupied_ns = 0;
	fake_unlock();
	set_for(world.held[call], vm, false);
}

void fake_fail(enum fake_call call, unsigned vm, virErrorNumber code)
{
	set_for(world.codes[call], vm, (int)code);
}

void fake_forbid_nowait(void)
{
	fake_lock();
	world.no_nowait = true;
	fake_unlock();
}

unsigned fake_calls(enum fake_call call, unsigned vm)
{
	return read_count(&world.calls[call][vm]);
}

unsigned fake_held(enum fake_call call)
{
	return read_count(&world.n_held[call]);
}

unsigned fake_calls_in_vain(void)
{
	return read_count(&world.calls_in_vain);
}

/* ---- the world ---- */

void fake_libvirt_reset(void)
{
	assert(fake_objects() == 0);
	fake_lock();
	memset(&world, 0, sizeof(world));
	for (unsigned vm = 0; vm < FAKE_VMS; vm++)
		world.vms[vm].memory_kib = 1024;
	fake_unlock();
}

void fake_uuid(unsigned vm, struct uuid *ret)
{
	*ret = (struct uuid){ { (uint8_t)(vm + 1), [15] = 0xaa } };
}

static void send_locked(int event, int detail, unsigned vm)
{
	if (!world.conn)
		return;
	assert(world.n_events < MAX_EVENTS);
	world.conn->refs++;
	world.events[world.n_events++] = (struct event){ .conn = world.conn,
		.event = event,
		.detail = detail,
		.vm = vm,
		.id = vm < FAKE_VMS ? world.vms[vm].id : -1 };
	fake_changed_locked();
}

static void set_runs(unsigned vm, bool runs, bool silently)
{
	fake_lock();
	world.vms[vm].runs = runs;
	if (runs)
		world.vms[vm].id = ++world.last_id;
	if (!silently)
		send_locked(VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			runs ? VIR_DOMAIN_EVENT_STARTED : VIR_DOMAIN_EVENT_STOPPED, vm);
	fake_unlock();
}

static void change(unsigned vm, unsigned kib, int event)
{
	fake_lock();
	world.vms[vm].memory_kib = kib;
	world.vms[vm].plugged |= event == VIR_DOMAIN_EVENT_ID_DEVICE_ADDED;
	if (event >= 0)
		send_locked(event, 0, vm);
	fake_unlock();
}

void fake_start_silently(unsigned vm)
{
	set_runs(vm, true, true);
}

void fake_stop_silently(unsigned vm)
{
	set_runs(vm, false, true);
}

void fake_start(unsigned vm)
{
	set_runs(vm, true, false);
}

void fake_stop(unsigned vm)
{
	set_runs(vm, false, false);
}

void fake_set_memory(unsigned vm, unsigned kib)
{
	change(vm, kib, -1);
}

void fake_balloon(unsigned vm, unsigned kib)
{
	change(vm, kib, VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE);
}

void fake_plug(unsigned vm, unsigned kib)
{
	change(vm, kib, VIR_DOMAIN_EVENT_ID_DEVICE_ADDED);
}

void fake_suspend(unsigned vm)
{
	fake_lock();
	send_locked(VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_SUSPENDED, vm);
	fake_unlock();
}

static void break_locked(bool arrived)
{
	if (!world.conn || !world.conn->alive)
		return;
	world.conn->alive = false;
	world.conn->answers = arrived;
	send_locked(EVENT_CLOSE, 0, FAKE_VMS);
}

void fake_break(bool arrived)
{
	fake_lock();
	break_locked(arrived);
	fake_unlock();
}

void fake_break_each(bool on)
{
	fake_lock();
	world.break_each = on;
	fake_unlock();
}

/* ---- libvirt: errors ---- */

int virInitialize(void)
{
	return 0;
}

void virSetErrorFunc(void *data, virErrorFunc function)
{
	(void)data;
	(void)function;
}

int virGetLastErrorCode(void)
{
	return last_error.code;
}

const char *virGetLastErrorMessage(void)
{
	return last_error.code ? last_message : "no error";
}

virErrorPtr virSaveLastError(void)
{
	virErrorPtr error = xcalloc(1, sizeof(*error));

	*error = (virError){ .code = last_error.code, .message = xstrdup(last_message) };
	return error;
}

void virFreeError(virErrorPtr error)
{
	if (error)
		free(error->message);
	free(error);
}

/* ---- libvirt: its event loop ---- */

int virEventRegisterDefaultImpl(void)
{
	return 0;
}

int virEventAddTimeout(
	int ms, virEventTimeoutCallback function, void *data, virFreeCallback free_data)
{
	(void)ms;
	(void)free_data;
	fake_lock();
	world.on_timer = function;
	world.timer_data = data;
	fake_unlock();
	return 1;
}

void virEventUpdateTimeout(int timer, int ms)
{
	(void)timer;
	fake_lock();
	world.timer_due = ms == 0;
	fake_changed_locked();
	fake_unlock();
}

int virEventRemoveTimeout(int timer)
{
	(void)timer;
	return 0;
}

static bool has_something(void *ctx)
{
	(void)ctx;
	return world.timer_due || world.n_events;
}

static void call_back(const struct callback *c, virConnectPtr conn, virDomainPtr dom,
	const struct event *e)
{
	switch (e->event) {
	case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
		((virConnectDomainEventCallback)(void (*)(void))c->function)(
			conn, dom, e->detail, 0, c->data);
		break;
	case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
		((virConnectDomainEventBalloonChangeCallback)(void (*)(void))c->function)(
			conn, dom, 1024, c->data);
		break;
	default:
		((virConnectDomainEventDeviceAddedCallback)(void (*)(void))c->function)(
			conn, dom, "alias", c->data);
	}
}

/* As libvirt: whoever is called back has no lock, and may be late. */
static void deliver(const struct event *e)
{
	virConnectPtr conn = e->conn;

	fake_lock();
	struct _virConnect copy = *conn;
	virDomainPtr dom =
		e->event == EVENT_CLOSE ? NULL : domain_new_locked(conn, e->vm, e->id);

	fake_unlock();
	if (!dom && copy.on_close)
		copy.on_close(conn, VIR_CONNECT_CLOSE_REASON_EOF, copy.close_data);
	for (unsigned i = 0; dom && i < MAX_CALLBACKS; i++) {
		const struct callback *c = &copy.callbacks[i];

		if (c->registered && c->event == e->event)
			call_back(c, conn, dom, e);
	}
	if (dom)
		virDomainFree(dom);
	fake_lock();
	conn_unref_locked(conn);
	fake_unlock();
}

int virEventRunDefaultImpl(void)
{
	fake_lock();
	fake_wait_locked(has_something, NULL);
	bool timer = world.timer_due;
	struct event e = { 0 };

	if (!timer) {
		e = world.events[0];
		memmove(world.events, world.events + 1, --world.n_events * sizeof(e));
	}
	fake_unlock();
	if (timer)
		world.on_timer(1, world.timer_data);
	else
		deliver(&e);
	return 0;
}

/* ---- libvirt: connections ---- */

virConnectPtr virConnectOpenReadOnly(const char *uri)
{
	virConnectPtr conn = NULL;

	(void)uri;
	fake_lock();
	if (!play_for_locked(NULL, FAKE_OPEN, FAKE_ALL)) {
		conn = xcalloc(1, sizeof(*conn));
		*conn = (struct _virConnect){ .refs = 1, .alive = true };
		world.n_objects++;
		world.conn = conn;
	}
	fake_unlock();
	return conn;
}

int virConnectClose(virConnectPtr conn)
{
	fake_lock();
	conn_unref_locked(conn);
	fake_unlock();
	return 0;
}

int virConnectIsAlive(virConnectPtr conn)
{
	fake_lock();
	int alive = conn->alive;

	fake_unlock();
	return alive;
}

int virConnectSetKeepAlive(virConnectPtr conn, int interval, unsigned int count)
{
	(void)conn;
	(void)interval;
	(void)count;
	return 0;
}

const char *virConnectGetType(virConnectPtr conn)
{
	(void)conn;
	return "QEMU";
}

int virConnectGetVersion(virConnectPtr conn, unsigned long *ret)
{
	(void)conn;
	*ret = 10002003;
	return 0;
}

int virConnectRegisterCloseCallback(virConnectPtr conn, virConnectCloseFunc function,
	void *data, virFreeCallback free_data)
{
	(void)free_data;
	fake_lock();
	conn->on_close = function;
	conn->close_data = data;
	if (world.break_each)
		break_locked(false);
	fake_unlock();
	return 0;
}

/* Events that nobody is there for any more. */
static void purge_locked(virConnectPtr conn, int event)
{
	size_t kept = 0;

	for (size_t i = 0; i < world.n_events; i++) {
		const struct event e = world.events[i];

		if (e.conn == conn && e.event == event)
			conn_unref_locked(conn);
		else
			world.events[kept++] = e;
	}
	world.n_events = kept;
}

int virConnectUnregisterCloseCallback(virConnectPtr conn, virConnectCloseFunc function)
{
	(void)function;
	fake_lock();
	conn->on_close = NULL;
	purge_locked(conn, EVENT_CLOSE);
	fake_unlock();
	return 0;
}

int virConnectDomainEventRegisterAny(virConnectPtr conn, virDomainPtr dom, int event,
	virConnectDomainEventGenericCallback function, void *data,
	virFreeCallback free_data)
{
	unsigned i = 0;

	(void)dom;
	(void)free_data;
	fake_lock();
	while (conn->callbacks[i].registered)
		assert(++i < MAX_CALLBACKS);
	conn->callbacks[i] = (struct callback){
		.event = event, .function = function, .data = data, .registered = true
	};
	fake_unlock();
	return (int)i;
}

int virConnectDomainEventDeregisterAny(virConnectPtr conn, int id)
{
	fake_lock();
	assert(conn->callbacks[id].registered);
	conn->callbacks[id].registered = false;
	purge_locked(conn, conn->callbacks[id].event);
	fake_unlock();
	return 0;
}

int virConnectListAllDomains(virConnectPtr conn, virDomainPtr **ret, unsigned int flags)
{
	virDomainPtr *doms = xcalloc(FAKE_VMS + 1, sizeof(virDomainPtr));
	int n = 0;

	assert(flags == VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	fake_lock();
	for (unsigned vm = 0; vm < FAKE_VMS; vm++)
		if (world.vms[vm].runs)
			doms[n++] = domain_new_locked(conn, vm, world.vms[vm].id);
	bool failed = play_for_locked(conn, FAKE_LIST, FAKE_ALL) != VIR_ERR_OK;

	fake_unlock();
	if (!failed) {
		*ret = doms;
		return n;
	}
	while (n)
		virDomainFree(doms[--n]);
	free(doms);
	return -1;
}

/* ---- libvirt: domains ---- */

const char *virDomainGetName(virDomainPtr dom)
{
	fake_lock();
	(void)play_for_locked(NULL, FAKE_IDENT, dom->vm);
	fake_unlock();
	return dom->name;
}

unsigned int virDomainGetID(virDomainPtr dom)
{
	return (unsigned)dom->id;
}

int virDomainGetUUID(virDomainPtr dom, unsigned char *ret)
{
	struct uuid uuid;

	fake_uuid(dom->vm, &uuid);
	memcpy(ret, uuid.b, sizeof(uuid.b));
	return 0;
}

virConnectPtr virDomainGetConnect(virDomainPtr dom)
{
	return dom->conn;
}

char *virDomainGetXMLDesc(virDomainPtr dom, unsigned int flags)
{
	char *xml = NULL;

	(void)flags;
	fake_lock();
	const struct vm *vm = &world.vms[dom->vm];

	if (!vm->runs)
		set_error(VIR_ERR_NO_DOMAIN);
	else
		xml = xasprintf("<domain type='kvm'><name>%s</name><memory unit='KiB'>%u"
				"</memory><vcpu>1</vcpu></domain>",
			dom->name, vm->memory_kib);
	if (play_for_locked(dom->conn, FAKE_XML, dom->vm)) {
		free(xml);
		xml = NULL;
	}
	fake_unlock();
	return xml;
}

static void set_figure(virTypedParameterPtr p, const char *name)
{
	*p = (virTypedParameter){ .type = VIR_TYPED_PARAM_ULLONG, .value.ul = 1000 };
	snprintf(p->field, sizeof(p->field), "%s", name);
}

static virDomainStatsRecordPtr record_locked(virDomainPtr dom, unsigned groups)
{
	static const struct {
		const char *name;
		unsigned group;
	} all[] = { { "balloon.unused", VIR_DOMAIN_STATS_BALLOON },
		{ "block.0.rd.reqs", VIR_DOMAIN_STATS_BLOCK },
		{ "cpu.time", VIR_DOMAIN_STATS_CPU_TOTAL },
		{ "net.0.rx.bytes", VIR_DOMAIN_STATS_INTERFACE },
		{ "net.1.rx.bytes", VIR_DOMAIN_STATS_INTERFACE } };
	unsigned end = world.vms[dom->vm].plugged ? 5 : 3;
	virDomainStatsRecordPtr record = xcalloc(1, sizeof(*record));

	dom->refs++;
	*record =
		(virDomainStatsRecord){ dom, xcalloc(end, sizeof(virTypedParameter)), 0 };
	for (unsigned i = world.codes[FAKE_MONITOR][dom->vm] ? 2 : 0; i < end; i++)
		if (groups & all[i].group)
			set_figure(&record->params[record->nparams++], all[i].name);
	return record;
}

int virDomainListGetStats(virDomainPtr *doms, unsigned int groups,
	virDomainStatsRecordPtr **ret, unsigned int flags)
{
	virDomainStatsRecordPtr *records = xcalloc(FAKE_VMS + 1, sizeof(*records));
	struct held h = { .call = groups == VIRT_STATS_PULSE ? FAKE_PULSE : FAKE_STATS };
	int n = 0;

	fake_lock();
	for (virDomainPtr *dom = doms; *dom; dom++) {
		const struct vm *vm = &world.vms[(*dom)->vm];

		assert((*dom)->conn == doms[0]->conn);
		h.concerns[(*dom)->vm] = true;
		fake_balloons[(*dom)->vm] += (groups & VIR_DOMAIN_STATS_BALLOON) != 0;
		if (vm->runs && vm->id == (*dom)->id)
			records[n++] = record_locked(*dom, groups);
	}
	bool failed = play_locked(doms[0]->conn, &h) != VIR_ERR_OK;

	if (world.no_nowait && flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) {
		set_error(VIR_ERR_INVALID_ARG);
		failed = true;
	}
	fake_unlock();
	if (failed) {
		virDomainStatsRecordListFree(records);
		return -1;
	}
	*ret = records;
	return n;
}

void virDomainStatsRecordListFree(virDomainStatsRecordPtr *records)
{
	for (virDomainStatsRecordPtr *r = records; r && *r; r++) {
		virDomainFree((*r)->dom);
		free((*r)->params);
		free(*r);
	}
	free(records);
}

int virDomainGetControlInfo(
	virDomainPtr dom, virDomainControlInfoPtr ret, unsigned int flags)
{
	(void)flags;
	int64_t now = clock_mono_ns();

	fake_lock();
	int64_t since = world.vms[dom->vm].occupied_ns;

	*ret = (virDomainControlInfo){ .state = since ? VIR_DOMAIN_CONTROL_OCCUPIED
						      : VIR_DOMAIN_CONTROL_OK,
		.stateTime = since ? (unsigned)((now - since) / NS_PER_MS) : 0 };
	int code = play_for_locked(dom->conn, FAKE_CONTROL, dom->vm);

	fake_unlock();
	return code ? -1 : 0;
}
