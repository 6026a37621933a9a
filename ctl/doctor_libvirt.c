/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks libvirt what vhostmd would, as the user that its worker is: in a child, as libvirt may
 * hang.  The child says in a line of each VM that it has looked at "given" or "lacks UUID NAME".
 */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "conf/conf.h"
#include "devices.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/user.h"
#include "util/uuid.h"
#include "util/text.h"

/* The VMs' descriptions come one by one, and one of a VM that hangs may wait. */
#define VMS_MS 10000
#define ANSWER_BYTES (8u << 20)
#define NAMED_VMS 5

struct question {
	const char *uri;
	struct user user;
	bool with_vms;
	const char *mount, *shared; /* shared: the path of that disk; NULL: none */
};

DEFINE_CLEANUP(virConnectPtr, virConnectClose)

static void ignore_error(void *data, virErrorPtr error)
{
	(void)data;
	(void)error;
}

static void answer_error(int out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const char *message = virGetLastErrorMessage();

	text_add_printable(message ? message : "unknown error", &text);
	doctor_answer(out, &text);
}

static bool is_given(const struct question *q, const char *xml, const char *uuid)
{
	const struct devices_of of = {
		.mount = q->mount, .shared = q->shared, .uuid = uuid, .bus = "virtio"
	};
	_cleanup_devices_ struct devices devices = { 0 };

	return strlen(xml) > LIMIT_DOMAIN_XML_BYTES ||
		devices_find(xml, strlen(xml), &of, &devices) < 0 || devices.image ||
		devices.xml[DEVICE_DISK] || devices.xml[DEVICE_CHANNEL];
}

static void look_at_vm(const struct question *q, virDomainPtr dom, int out)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(dom, 0);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	const char *name = virDomainGetName(dom);

	if (xml && name && virDomainGetUUIDString(dom, uuid) == 0 &&
		!is_given(q, xml, uuid)) {
		strbuf_addf(&text, "lacks %s ", uuid);
		text_add_printable(name, &text);
		strbuf_addc(&text, '\n');
	} else {
		strbuf_adds(&text, "given\n");
	}
	doctor_answer(out, &text);
}

static int look_at_vms(const struct question *q, virConnectPtr conn, int out)
{
	virDomainPtr *doms = NULL;
	int n = virConnectListAllDomains(conn, &doms, VIR_CONNECT_LIST_DOMAINS_ACTIVE);

	if (n < 0) {
		answer_error(out);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		if (q->with_vms)
			look_at_vm(q, doms[i], out);
		virDomainFree(doms[i]);
	}
	free(doms);
	return 0;
}

/* In a child. */
static int ask(const void *ctx, int out)
{
	const struct question *q = ctx;

	if (user_become(&q->user) < 0)
		return EPERM;
	virSetErrorFunc(NULL, ignore_error);
	_cleanup_(virConnectClose_p) virConnectPtr conn = virConnectOpenReadOnly(q->uri);

	if (!conn) {
		answer_error(out);
		return 1;
	}
	return look_at_vms(q, conn, out);
}

/* ---- what is made of the answers ---- */

static void question_init(const struct doctor *d, struct question *q)
{
	*q = (struct question){ .uri = d->options->uri,
		.mount = d->mount,
		.shared = d->conf && conf_has_shared_disk(d->conf) ? d->conf->disk_path
								   : NULL };
	/* where we are not root we ask as who we are */
	if (geteuid() != 0 || !d->real || doctor_user(d, "vhostmd", &q->user) < 0)
		q->user.change = false;
}

static void say_no_connection(struct doctor *d, const char *why)
{
	doctor_say(d, SEVERITY_FAULT, "libvirt (%s) cannot be asked: %s", d->options->uri,
		why);
	if (strstr(why, "system bus"))
		doctor_mend(d,
			"start D-Bus and polkit, or auth_unix_ro = \"none\" in libvirtd.conf or virtqemud.conf");
	else if (strstr(why, "uthenticat") || strstr(why, "polkit") ||
		strstr(why, "org.libvirt"))
		doctor_mend(d,
			"allow org.libvirt.unix.monitor in /etc/polkit-1/rules.d/, or "
			"auth_unix_ro = \"none\" in libvirtd.conf or virtqemud.conf");
	else if (strstr(why, "ermission denied"))
		doctor_mend(d,
			"unix_sock_ro_perms = \"0777\" in /etc/libvirt/libvirtd.conf, or virtqemud.conf");
	else
		doctor_mend(d,
			"systemctl start libvirtd, or: systemctl start virtqemud-ro.socket");
	doctor_mend(d, "virsh -r -c %s list", d->options->uri);
}

static void say_vms(struct doctor *d, char *text, bool complete)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	unsigned looked_at = 0, lacking = 0;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		bool lacks = !strncmp(line, "lacks ", 6);

		looked_at += lacks || !strcmp(line, "given");
		if (!lacks || strlen(line) < 6 + UUID_TEXT_LEN + 1)
			continue;
		if (lacking++ < NAMED_VMS)
			strbuf_addf(&names, "%s%s", lacking > 1 ? ", " : ": ",
				line + 6 + UUID_TEXT_LEN + 1);
	}
	if (!complete) {
		doctor_say(d, SEVERITY_WARNING,
			"libvirt stopped answering when %u VMs had been looked at",
			looked_at);
		doctor_mend(d, "virsh -r -c %s list", d->options->uri);
	}
	if (lacking) {
		doctor_say(d, SEVERITY_NOTE,
			"%u of %u VMs %s neither disk nor channel%s%s", lacking,
			looked_at, lacking == 1 ? "has" : "have", strbuf_str(&names),
			lacking > NAMED_VMS ? ", ..." : "");
		doctor_mend(d, "vhostmdctl attach VM");
	} else if (complete && !looked_at) {
		doctor_say(d, SEVERITY_OK, "libvirt answers; no VM runs");
	} else if (complete) {
		doctor_say(d, SEVERITY_OK,
			"libvirt answers; %u VM%s, each with its disk or channel",
			looked_at, looked_at == 1 ? "" : "s");
	}
}

void check_libvirt(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct question q;

	if (!d->options->uri) {
		doctor_say(d, SEVERITY_OK, "libvirt was not asked");
		return;
	}
	question_init(d, &q);
	int r = doctor_ask(ask, &q, DOCTOR_ANSWER_MS, ANSWER_BYTES, &text);

	if (r == -ETIMEDOUT) {
		doctor_say(d, SEVERITY_FAULT, "libvirt (%s) does not answer within %d s",
			q.uri, DOCTOR_ANSWER_MS / 1000);
		doctor_mend(d,
			"ps -o pid,stat,wchan:20,args -C libvirtd,virtqemud  (T: stopped, kill -CONT PID)");
		doctor_mend(d, "systemctl restart libvirtd, or virtqemud  (VMs go on)");
	} else if (r != 0) {
		say_no_connection(
			d, text.len ? strbuf_str(&text) : strerror(r < 0 ? -r : r));
	} else {
		q.with_vms = true;
		r = doctor_ask(ask, &q, VMS_MS, ANSWER_BYTES, &text);
		char *answer = strbuf_steal(&text);

		say_vms(d, answer ? answer : (answer = xstrdup("")), r == 0);
		free(answer);
	}
}
