/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "attach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/glob.h"
#include "util/hypervisor.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/text.h"

/* libvirtd that hangs is noticed by then, and asked again. */
#define KEEPALIVE_S 5
#define KEEPALIVE_TRIES 3

/* A guest lets go of a disk when its kernel does; libvirt itself waits for a few seconds. */
#define DETACH_PATIENCE_NS (10 * NS_PER_S)
#define DETACH_POLL_NS (100 * NS_PER_MS)

/* The two descriptions of a VM: what runs, and what it starts with. */
enum side { SIDE_LIVE, SIDE_CONFIG, SIDE_COUNT };

struct vm {
	virDomain *dom;
	char *name; /* printable */
	char uuid[VIR_UUID_STRING_BUFLEN];
	bool has[SIDE_COUNT];
	struct devices devices[SIDE_COUNT];
};

static const unsigned modify_flags[SIDE_COUNT] = { VIR_DOMAIN_AFFECT_LIVE,
	VIR_DOMAIN_AFFECT_CONFIG };

/* libvirt prints to standard error of its own accord, unless somebody takes it. */
static void no_word(void *ctx, virErrorPtr error)
{
	(void)ctx;
	(void)error;
}

static const char *last_error(void)
{
	const virError *error = virGetLastError();

	return error && error->message ? error->message : "no reason given";
}

static bool may_not(void)
{
	const virError *error = virGetLastError();

	return error &&
		(error->code == VIR_ERR_ACCESS_DENIED ||
			error->code == VIR_ERR_AUTH_FAILED ||
			error->code == VIR_ERR_AUTH_CANCELLED ||
			error->code == VIR_ERR_AUTH_UNAVAILABLE);
}

/* @say: what is wrong. */
static virConnect *connect_to(const struct ctl *ctl, bool say)
{
	const char *uri = ctl->uri ? ctl->uri : hypervisor_uri();

	virSetErrorFunc(NULL, no_word);
	virConnect *conn = virConnectOpen(uri);

	if (conn || !say)
		return conn;
	ctl_error("libvirt, %s: %s", uri ? uri : "its default", last_error());
	if (may_not() || geteuid() != 0)
		ctl_hint("run it as root, or as a user whom libvirt lets change VMs");
	else
		ctl_hint(
			"libvirt does not run, or elsewhere (--connect): systemctl status "
			"libvirtd virtqemud");
	return NULL;
}

static virDomain *find_vm(virConnect *conn, const char *word)
{
	uint64_t id;
	virDomain *dom = virDomainLookupByName(conn, word);

	if (!dom)
		dom = virDomainLookupByUUIDString(conn, word);
	if (!dom && parse_u64(word, &id) == 0 && id <= INT32_MAX)
		dom = virDomainLookupByID(conn, (int)id);
	if (!dom) {
		ctl_error("libvirt knows no VM '%s'", word);
		ctl_hint("virsh list --all shows those that it knows");
	}
	return dom;
}

static int read_side(const struct ctl *ctl, const struct attach_options *o, struct vm *vm,
	enum side side)
{
	char *xml = virDomainGetXMLDesc(
		vm->dom, side == SIDE_CONFIG ? VIR_DOMAIN_XML_INACTIVE : 0);

	devices_done(&vm->devices[side]);
	if (!xml) {
		ctl_error("%s: %s", vm->name, last_error());
		return CTL_FAILED;
	}
	const struct devices_of of = {
		.mount = ctl->mount, .uuid = vm->uuid, .bus = o->bus
	};
	size_t len = strlen(xml);
	int r = len > LIMIT_DOMAIN_XML_BYTES
		? -1
		: devices_find(xml, len, &of, &vm->devices[side]);

	free(xml);
	if (r < 0)
		ctl_error("%s: its description cannot be read", vm->name);
	return r < 0 ? CTL_FAILED : CTL_OK;
}

static void vm_done(struct vm *vm)
{
	for (size_t i = 0; i < SIDE_COUNT; i++)
		devices_done(&vm->devices[i]);
	free(vm->name);
}

/* Which descriptions there are, of those that are asked for. */
static int vm_open(const struct ctl *ctl, const struct attach_options *o, virDomain *dom,
	struct vm *ret)
{
	struct strbuf name = STRBUF_INIT;
	int active = virDomainIsActive(dom), persistent = virDomainIsPersistent(dom);
	bool both = !o->live && !o->config;
	int r = CTL_OK;

	*ret = (struct vm){ .dom = dom };
	text_add_printable(virDomainGetName(dom), &name);
	ret->name = strbuf_steal(&name);
	if (active < 0 || persistent < 0 || virDomainGetUUIDString(dom, ret->uuid) < 0) {
		ctl_error("%s: %s", ret->name, last_error());
		return CTL_FAILED;
	}
	ret->has[SIDE_LIVE] = active && (both || o->live);
	ret->has[SIDE_CONFIG] = persistent && (both || o->config);
	if (!ret->has[SIDE_LIVE] && !ret->has[SIDE_CONFIG]) {
		ctl_error("%s %s", ret->name,
			o->live ? "does not run"
				: "has no configuration that would stay");
		ctl_hint("leave out %s", o->live ? "--live" : "--config");
		return CTL_FAILED;
	}
	for (enum side side = 0; side < SIDE_COUNT && r == CTL_OK; side++)
		if (ret->has[side])
			r = read_side(ctl, o, ret, side);
	return r;
}

static const char *side_text(const bool done[SIDE_COUNT])
{
	return done[SIDE_LIVE] && done[SIDE_CONFIG] ? "now and whenever it starts"
		: done[SIDE_LIVE]                   ? "until it stops"
						    : "from its next start on";
}

static char *device_xml(const struct ctl *ctl, const struct attach_options *o,
	const struct vm *vm, enum device device)
{
	if (device == DEVICE_CHANNEL)
		return devices_channel_xml();
	return devices_disk_xml(ctl->mount, vm->uuid, o->bus, &vm->devices[SIDE_LIVE],
		&vm->devices[SIDE_CONFIG]);
}

static int attach_device(const struct ctl *ctl, const struct attach_options *o,
	const struct vm *vm, enum device device)
{
	_cleanup_free_ char *xml = device_xml(ctl, o, vm, device);
	bool done[SIDE_COUNT] = { 0 };
	bool missing = false;

	for (enum side side = 0; side < SIDE_COUNT; side++)
		missing |= vm->has[side] && !vm->devices[side].xml[device];
	if (!missing) {
		printf("%s has its %s already\n", vm->name, device_names[device]);
		return CTL_OK;
	}
	if (!xml) {
		ctl_error("%s: no name is left for another disk on the bus '%s'",
			vm->name, o->bus);
		ctl_hint("choose another one: --bus scsi");
		return CTL_FAILED;
	}
	if (o->dry_run) {
		fputs(xml, stdout);
		return CTL_OK;
	}
	for (enum side side = 0; side < SIDE_COUNT; side++) {
		if (!vm->has[side] || vm->devices[side].xml[device])
			continue;
		if (virDomainAttachDeviceFlags(vm->dom, xml, modify_flags[side]) < 0) {
			ctl_error("%s: its %s cannot be attached%s: %s", vm->name,
				device_names[device],
				side == SIDE_LIVE ? " while it runs" : "", last_error());
			if (may_not())
				ctl_hint("run it as root, or as a user whom libvirt lets "
					 "change VMs");
			else if (side == SIDE_LIVE)
				ctl_hint(
					"vhostmdctl attach --config '%s' has it from the next "
					"start on",
					vm->name);
			return CTL_FAILED;
		}
		done[side] = true;
	}
	printf("%s has its %s %s\n", vm->name, device_names[device], side_text(done));
	return CTL_OK;
}

/* A guest that runs lets go of a device when it likes.  Return: it has. */
static bool wait_until_gone(const struct ctl *ctl, const struct attach_options *o,
	struct vm *vm, enum device device)
{
	const struct timespec pause = { .tv_nsec = DETACH_POLL_NS };

	for (int64_t until = clock_mono_ns() + DETACH_PATIENCE_NS;;) {
		if (read_side(ctl, o, vm, SIDE_LIVE) != CTL_OK)
			return false;
		if (!vm->devices[SIDE_LIVE].xml[device])
			return true;
		if (clock_mono_ns() >= until)
			return false;
		nanosleep(&pause, NULL);
	}
}

static int detach_device(const struct ctl *ctl, const struct attach_options *o,
	struct vm *vm, enum device device)
{
	bool done[SIDE_COUNT] = { 0 };

	for (enum side side = 0; side < SIDE_COUNT; side++) {
		const char *xml = vm->has[side] ? vm->devices[side].xml[device] : NULL;

		if (!xml)
			continue;
		done[side] = true;
		if (o->dry_run) {
			printf("%s\n", xml);
			continue;
		}
		if (virDomainDetachDeviceFlags(vm->dom, xml, modify_flags[side]) < 0) {
			ctl_error("%s: its %s cannot be detached: %s", vm->name,
				device_names[device], last_error());
			if (may_not())
				ctl_hint("run it as root, or as a user whom libvirt lets "
					 "change VMs");
			return CTL_FAILED;
		}
		if (side == SIDE_LIVE && !wait_until_gone(ctl, o, vm, device)) {
			ctl_error(
				"%s: the guest was asked for its %s, and has not given it back",
				vm->name, device_names[device]);
			ctl_hint(
				"it may be starting, or have no driver; ask again later");
			return CTL_FAILED;
		}
	}
	if (o->dry_run)
		return CTL_OK;
	if (!done[SIDE_LIVE] && !done[SIDE_CONFIG])
		printf("%s has no %s\n", vm->name, device_names[device]);
	else
		printf("%s has no %s any more, %s\n", vm->name, device_names[device],
			side_text(done));
	return CTL_OK;
}

typedef int (*change_fn)(const struct ctl *, const struct attach_options *, virDomain *);

static bool is_chosen(const struct attach_options *o, enum device device)
{
	bool any = false;

	for (size_t i = 0; i < DEVICE_COUNT; i++)
		any |= o->device[i];
	return !any || o->device[device];
}

static int attach_vm(
	const struct ctl *ctl, const struct attach_options *o, virDomain *dom)
{
	_cleanup_(vm_done) struct vm vm;
	int r = vm_open(ctl, o, dom, &vm);

	for (enum device device = 0; device < DEVICE_COUNT && r == CTL_OK; device++)
		if (is_chosen(o, device))
			r = attach_device(ctl, o, &vm, device);
	for (enum side side = 0; side < SIDE_COUNT; side++)
		if (vm.devices[side].image)
			ctl_error("%s has the disk '%s' besides, which is not its own",
				vm.name, vm.devices[side].image);
	return r;
}

static int detach_vm(
	const struct ctl *ctl, const struct attach_options *o, virDomain *dom)
{
	_cleanup_(vm_done) struct vm vm;
	int r = vm_open(ctl, o, dom, &vm);

	for (enum device device = 0; device < DEVICE_COUNT && r == CTL_OK; device++)
		if (is_chosen(o, device))
			r = detach_device(ctl, o, &vm, device);
	return r;
}

/* One after another, also where one fails.  Return: the worst. */
static int change_all(virConnect *conn, const struct ctl *ctl,
	const struct attach_options *o, const char *match, change_fn change)
{
	virDomain **doms = NULL;
	unsigned flags = o->live && !o->config ? VIR_CONNECT_LIST_DOMAINS_ACTIVE
		: o->config && !o->live        ? VIR_CONNECT_LIST_DOMAINS_PERSISTENT
					       : 0;
	int n = virConnectListAllDomains(conn, &doms, flags), worst = CTL_OK;

	if (n < 0) {
		ctl_error("%s", last_error());
		return CTL_FAILED;
	}
	for (int i = 0; i < n; i++) {
		if (glob_match(match, virDomainGetName(doms[i]))) {
			int r = change(ctl, o, doms[i]);

			worst = r > worst ? r : worst;
		}
		virDomainFree(doms[i]);
	}
	free(doms);
	return worst;
}

static int change_each(const struct ctl *ctl, const struct attach_options *o,
	char *const *vms, size_t n, const char *match, change_fn change)
{
	virConnect *conn = connect_to(ctl, true);
	int worst = CTL_OK;

	if (!conn)
		return CTL_FAILED;
	if (!n)
		worst = change_all(conn, ctl, o, match, change);
	for (size_t i = 0; i < n; i++) {
		virDomain *dom = find_vm(conn, vms[i]);
		int r = dom ? change(ctl, o, dom) : CTL_NOT_FOUND;

		worst = r > worst ? r : worst;
		if (dom)
			virDomainFree(dom);
	}
	virConnectClose(conn);
	return worst;
}

/* ---- each that starts ---- */

/* Of the connection that is followed; libvirt's event loop runs in this thread alone. */
struct follower {
	const char *match;
	virDomain **started; /* references */
	size_t n, cap;
	bool lost;
};

static int on_lifecycle(
	virConnect *conn, virDomain *dom, int event, int detail, void *ctx)
{
	struct follower *f = ctx;

	(void)conn;
	(void)detail;
	if (event != VIR_DOMAIN_EVENT_STARTED ||
		!glob_match(f->match, virDomainGetName(dom)))
		return 0;
	f->started = xgrow(f->started, f->n, &f->cap, sizeof(virDomain *));
	virDomainRef(dom);
	f->started[f->n++] = dom;
	return 0;
}

static void on_closed(virConnect *conn, int reason, void *ctx)
{
	struct follower *f = ctx;

	(void)conn;
	(void)reason;
	f->lost = true;
}

/* Until the connection is lost. */
static void attach_started(
	struct follower *f, const struct ctl *ctl, const struct attach_options *o)
{
	while (!f->lost && virEventRunDefaultImpl() == 0) {
		for (size_t i = 0; i < f->n; i++) {
			if (!f->lost)
				attach_vm(ctl, o, f->started[i]);
			virDomainFree(f->started[i]);
		}
		f->n = 0;
		fflush(stdout);
	}
}

static void follow(virConnect *conn, struct follower *f, const struct ctl *ctl,
	const struct attach_options *o)
{
	f->lost = false;
	virConnectSetKeepAlive(conn, KEEPALIVE_S, KEEPALIVE_TRIES);
	virConnectRegisterCloseCallback(conn, on_closed, f, NULL);
	int id = virConnectDomainEventRegisterAny(conn, NULL,
		VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), f,
		NULL);

	if (id < 0) {
		ctl_error("libvirt tells of no VMs that start: %s", last_error());
	} else {
		/* also those that started while nobody was here */
		change_all(conn, ctl, o, f->match, attach_vm);
		fflush(stdout);
		attach_started(f, ctl, o);
		virConnectDomainEventDeregisterAny(conn, id);
	}
	virConnectUnregisterCloseCallback(conn, on_closed);
}

/* libvirt may come and go. */
static int follow_for_ever(
	const struct ctl *ctl, const struct attach_options *o, const char *match)
{
	const struct timespec pause = { .tv_sec = 1 };
	struct follower f = { .match = match };
	bool say = true;

	virSetErrorFunc(NULL, no_word);
	if (virEventRegisterDefaultImpl() < 0) {
		ctl_error("%s", last_error());
		return CTL_FAILED;
	}
	for (;; nanosleep(&pause, NULL)) {
		virConnect *conn = connect_to(ctl, say);

		say = conn; /* once each time that it goes */
		if (!conn)
			continue;
		follow(conn, &f, ctl, o);
		virConnectClose(conn);
	}
}

int attach(const struct ctl *ctl, const struct attach_options *o, char *const *vms,
	size_t n, const char *match)
{
	if (o->follow)
		return follow_for_ever(ctl, o, match);
	int r = change_each(ctl, o, vms, n, match, attach_vm);

	if (r == CTL_OK && !o->dry_run)
		fprintf(stderr,
			"In the guest, vm-dump-metrics reads it: nothing else is needed "
			"there.\n");
	return r;
}

int detach(const struct ctl *ctl, const struct attach_options *o, char *const *vms,
	size_t n, const char *match)
{
	return change_each(ctl, o, vms, n, match, detach_vm);
}
