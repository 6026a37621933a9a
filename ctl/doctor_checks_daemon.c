/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon: its processes, and how it goes by its own account, the file status. */
#include "doctor_private.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/user.h"
#include "util/uuid.h"
#include "util/text.h"

/* As the daemon has it: so many periods without a sample are stale. */
#define STALE_PERIODS 3
/* libvirt answers in milliseconds. */
#define SLOW_MS 2000
/* Of VMs with the same trouble so many are named. */
#define NAMED_VMS 5
/* A cycle that takes too long is counted when the next one begins. */
#define OVERRUN_WAIT_MS 2000

/* ---- processes ---- */

void check_daemon(struct doctor *d)
{
	if (d->keeper) {
		doctor_say(d, SEVERITY_OK, "vhostmd runs: process %d", (int)d->keeper);
		return;
	}
	doctor_say(
		d, SEVERITY_FAULT, "vhostmd does not run: nobody holds %s", d->pid_file);
	doctor_mend(
		d, "systemctl start vhostmd, or without systemd: %s", d->options->daemon);
}

static const struct doctor_process *find(const struct doctor *d, pid_t pid)
{
	for (size_t i = 0; pid && i < d->n_processes; i++)
		if (d->processes[i].pid == pid)
			return &d->processes[i];
	return NULL;
}

static const struct doctor_process *find_child(const struct doctor *d, pid_t parent)
{
	for (size_t i = 0; parent && i < d->n_processes; i++)
		if (d->processes[i].parent == parent)
			return &d->processes[i];
	return NULL;
}

void check_worker(struct doctor *d)
{
	const struct doctor_process *worker = find(d, d->worker);

	if (!worker)
		worker = find_child(d, d->keeper);
	if (!d->keeper) {
		doctor_say(d, SEVERITY_OK, "no worker is expected");
	} else if (!worker) {
		doctor_say(d, SEVERITY_FAULT,
			"vhostmd's process %d has no worker: it starts one, or cannot",
			(int)d->keeper);
		doctor_mend(d, "journalctl -u vhostmd, or syslog: the log says why");
	} else if (worker->uid == 0) {
		doctor_say(d, SEVERITY_WARNING,
			"vhostmd's worker, process %d, runs as root", (int)worker->pid);
		doctor_mend(d,
			"systemd-sysusers, or: useradd -r vhostmd; then: systemctl restart vhostmd");
	} else {
		doctor_say(d, SEVERITY_OK, "its worker is process %d, of user %u",
			(int)worker->pid, (unsigned)worker->uid);
	}
}

void check_user(struct doctor *d)
{
	struct user user = { 0 };

	if (doctor_user(d, "vhostmd", &user) == 0) {
		doctor_say(d, SEVERITY_OK, "the user vhostmd exists");
		return;
	}
	doctor_say(d, SEVERITY_WARNING,
		"there is no user vhostmd: the service does not start, and a daemon's worker stays root");
	doctor_mend(d, "systemd-sysusers, or: useradd -r vhostmd");
}

/* Whether a process is @keeper or its worker. */
static bool belongs(const struct doctor_process *p, pid_t keeper)
{
	return keeper && (p->pid == keeper || p->parent == keeper);
}

static void say_other(struct doctor *d, const struct doctor_process *p)
{
	const struct doctor_process *parent = find(d, p->parent);

	if (parent && parent->serves)
		return; /* a worker, which goes with its keeper */
	if (p->serves) {
		doctor_say(d, SEVERITY_NOTE,
			"another vhostmd with a mount of its own runs: process %d",
			(int)p->pid);
		doctor_mend(d, "kill %d  (if it is not wanted)", (int)p->pid);
		return;
	}
	doctor_say(d, SEVERITY_WARNING, "an older vhostmd runs%s: process %d",
		geteuid() == 0 ? "" : " (as far as can be seen without root)",
		(int)p->pid);
	doctor_mend(d, "kill %d  (so that its file is kept: vhostmd(8), MIGRATION)",
		(int)p->pid);
}

void check_other_daemons(struct doctor *d)
{
	const struct doctor_process *worker = find(d, d->worker);
	pid_t other_keeper = worker ? worker->parent : 0;

	for (size_t i = 0; i < d->n_processes; i++) {
		const struct doctor_process *p = &d->processes[i];

		if (!belongs(p, d->keeper) && !belongs(p, other_keeper))
			say_other(d, p);
	}
	if (!d->n_findings)
		doctor_say(d, SEVERITY_OK, "no other vhostmd runs");
}

/* ---- VMs that are named ---- */

/* Some VMs, by uuid. */
struct vms {
	const char *mount;
	char uuids[NAMED_VMS][UUID_TEXT_LEN + 1];
	unsigned n; /* of all, more than NAMED_VMS perhaps */
};

static void add_vm(struct vms *vms, const char *uuid)
{
	if (vms->n < NAMED_VMS)
		memcpy(vms->uuids[vms->n], uuid, sizeof(vms->uuids[0]));
	vms->n++;
}

static unsigned named(const struct vms *vms)
{
	return vms->n < NAMED_VMS ? vms->n : NAMED_VMS;
}

/* In a child: where the links of the VMs' uuids lead. */
static int read_names(const void *ctx, int out)
{
	const struct vms *vms = ctx;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (unsigned i = 0; i < named(vms); i++) {
		_cleanup_free_ char *path =
			xasprintf("%s/metrics/vm-by-uuid/%s", vms->mount, vms->uuids[i]);
		char leads[PATH_MAX];
		ssize_t n = readlink(path, leads, sizeof(leads) - 1);

		leads[n > 0 ? n : 0] = '\0';
		const char *slash = strrchr(leads, '/');

		text_add_printable(slash ? slash + 1 : leads, &text);
		strbuf_addc(&text, '\n');
	}
	doctor_answer(out, &text);
	return 0;
}

/* Appends ": NAME (UUID), ..." of the first. */
static void add_names(struct doctor *d, struct vms *vms, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;

	vms->mount = d->mount_path;
	if (doctor_ask(
		    read_names, vms, DOCTOR_ANSWER_MS, NAMED_VMS * PATH_MAX * 4, &names))
		strbuf_clear(&names);
	const char *at = strbuf_str(&names);

	for (unsigned i = 0; i < named(vms); i++) {
		size_t n = strcspn(at, "\n");

		strbuf_adds(out, i ? ", " : ": ");
		if (n)
			strbuf_addf(out, "%.*s (%s)", (int)n, at, vms->uuids[i]);
		else
			strbuf_adds(out, vms->uuids[i]);
		at += n + (at[n] == '\n');
	}
	if (vms->n > NAMED_VMS)
		strbuf_adds(out, ", ...");
}

/* Those whose line vm.UUID.@what has a value that ends in @word. */
static void find_vms(
	const struct doctor *d, const char *what, const char *word, struct vms *ret)
{
	const size_t uuid_at = sizeof("vm.") - 1, what_at = uuid_at + UUID_TEXT_LEN;

	*ret = (struct vms){ 0 };
	for (size_t i = 0; i < d->n_status; i++) {
		const struct status_line *line = &d->status[i];
		char uuid[UUID_TEXT_LEN + 1] = "";
		const char *space = strrchr(line->value, ' ');
		struct uuid parsed;

		if (strncmp(line->key, "vm.", uuid_at) != 0 || !space ||
			strcmp(space + 1, word) != 0 || strlen(line->key) < what_at ||
			strcmp(line->key + what_at, what) != 0)
			continue;
		memcpy(uuid, line->key + uuid_at, UUID_TEXT_LEN);
		if (uuid_parse(uuid, &parsed) == 0)
			add_vm(ret, uuid);
	}
}

/* ---- figures ---- */

static int64_t period_ms(const struct doctor *d)
{
	int64_t ms = doctor_status_number(d, "period_ms", 0);

	return ms > 0 && ms < INT64_MAX / STALE_PERIODS ? ms : 60000;
}

static void say_host(struct doctor *d)
{
	int64_t limit_ms = STALE_PERIODS * period_ms(d);
	int64_t age_ms = doctor_status_number(d, "host.age_ms", -1);
	int64_t up_s = doctor_status_number(d, "uptime_s", 0);

	if (age_ms < 0 && up_s <= limit_ms / 1000 + 1) {
		doctor_say(d, SEVERITY_OK, "the first sample is under way");
	} else if (age_ms < 0) {
		doctor_say(d, SEVERITY_FAULT, "no sample of the host was taken yet");
		doctor_mend(d, "journalctl -u vhostmd; systemctl restart vhostmd");
	} else if (age_ms > limit_ms) {
		doctor_say(d, SEVERITY_FAULT,
			"the figures of the host are %" PRId64
			" s old, with a period of %.3g s",
			age_ms / 1000, (double)period_ms(d) / 1000);
		doctor_mend(
			d, "uptime  (a host that is too busy?); journalctl -u vhostmd");
		doctor_mend(d, "systemctl restart vhostmd");
	} else {
		doctor_say(d, SEVERITY_OK, "the figures of the host are new");
	}
}

void check_figures(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	struct vms stale;

	if (!d->n_status) {
		doctor_say(d, SEVERITY_OK, "no figures are shown");
		return;
	}
	say_host(d);
	find_vms(d, ".age_ms", "stale", &stale);
	if (!stale.n)
		return;
	add_names(d, &stale, &names);
	doctor_say(d, SEVERITY_WARNING, "the figures of %u VM%s are not taken any more%s",
		stale.n, stale.n == 1 ? "" : "s", strbuf_str(&names));
	doctor_mend(d, "virsh dominfo %s; journalctl -u vhostmd", stale.uuids[0]);
}

/* ---- slow ---- */

/* The longest time that libvirt owes an answer, and whether a call was given up. */
static int64_t waiting_ms(const struct doctor *d, bool *ret_abandoned)
{
	int64_t most = 0;

	for (size_t i = 0; i < d->n_status; i++) {
		const struct status_line *line = &d->status[i];

		if (strcmp(line->key, "slow.waiting_ms") != 0)
			continue;
		const char *at = line->value;
		uint64_t ms = 0;

		if (parse_u64_at(&at, &ms) == 0 && ms < INT64_MAX && (int64_t)ms > most)
			most = (int64_t)ms;
		*ret_abandoned |= strstr(line->value, "abandoned") != NULL;
	}
	return most;
}

void check_slow(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	bool abandoned = false;
	int64_t ms = waiting_ms(d, &abandoned);
	struct vms silent;

	find_vms(d, ".slow_age_ms", "silent", &silent);
	if (silent.n) {
		add_names(d, &silent, &names);
		doctor_say(d, SEVERITY_WARNING,
			"the monitor of %u VM%s does not answer%s", silent.n,
			silent.n == 1 ? "" : "s", strbuf_str(&names));
		doctor_mend(d, "virsh domcontrol %s  (what libvirt waits for)",
			silent.uuids[0]);
		doctor_mend(d,
			"ps -eo pid,stat,wchan:20,args | grep %s  (T: stopped, D: waits in the kernel)",
			silent.uuids[0]);
	}
	if (ms > SLOW_MS || abandoned) {
		doctor_say(d, SEVERITY_WARNING,
			"libvirt owes vhostmd an answer since %" PRId64 " s", ms / 1000);
		doctor_mend(d,
			"virsh list  (if that hangs: systemctl restart libvirtd or virtqemud, VMs go on)");
	}
	if (!d->n_findings)
		doctor_say(d, SEVERITY_OK, "libvirt owes no answer");
}

/* ---- overruns ---- */

/* How many there are a moment later.  Return: @before if that is not known. */
static int64_t overruns_later(struct doctor *d, int64_t before)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int64_t wait_ms = period_ms(d) + period_ms(d) / 4;
	struct status_line *lines = NULL;
	const struct timespec pause = ns_to_timespec(
		(wait_ms < OVERRUN_WAIT_MS ? wait_ms : OVERRUN_WAIT_MS) * NS_PER_MS);

	nanosleep(&pause, NULL);
	if (doctor_ask_status(d, &text) != 0 || !text.len)
		return before;
	struct doctor later = { .n_status = doctor_status_lines(text.data, &lines) };

	later.status = lines;
	int64_t n = doctor_status_number(&later, "fast.overruns", before);

	free(lines);
	return n;
}

void check_overruns(struct doctor *d)
{
	int64_t n = doctor_status_number(d, "fast.overruns", 0);
	int64_t cycles = doctor_status_number(d, "fast.cycles", 0);
	int64_t cycle_ms = doctor_status_number(d, "fast.cycle_us", 0) / 1000;
	int64_t later = n ? overruns_later(d, n) : 0;

	if (later > n || cycle_ms > period_ms(d)) {
		doctor_say(d, SEVERITY_WARNING,
			"samples take longer than the period of %.3g s: the last one %.3g s, and %" PRId64
			" were left out",
			(double)period_ms(d) / 1000, (double)cycle_ms / 1000, later);
		doctor_mend(d, "a longer <update_period> in %s; systemctl reload vhostmd",
			d->options->conf_file);
	} else if (n > cycles / 100) {
		doctor_say(d, SEVERITY_NOTE,
			"%" PRId64 " samples were left out since the start, of %" PRId64,
			n, cycles);
		doctor_mend(d,
			"uptime  (the host was too busy; or a longer <update_period>)");
	} else {
		doctor_say(d, SEVERITY_OK, "samples are taken in time");
	}
}
