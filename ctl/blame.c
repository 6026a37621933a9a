/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "blame.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blame_text.h"
#include "control.h"
#include "daemon.h"
#include "tree.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/text.h"

/* What a VM waits is noticeable from a hundredth of the time on; so is a part of it. */
#define NOTICEABLE 100u

/* So many reasons are told one by one. */
#define REASONS 8u

/* The daemon looks each period, which may be long. */
#define PATIENCE_S 120

static const char *const reasons[] = { [BLAME_VMS] = "behind other VMs",
	[BLAME_SELF] = "behind itself",
	[BLAME_HOST] = "behind processes of the host",
	[BLAME_KERNEL] = "behind kernel threads",
	[BLAME_IDLE] = "for a processor to wake up",
	[BLAME_QUOTA] = "held back by its quota",
	[BLAME_UNKNOWN] = "for reasons that are not known" };
static_assert(ARRAY_LEN(reasons) == BLAME_OWNERS, "each is said");

/* ---- asking ---- */

static int say_state(const struct told *t)
{
	if (!strcmp(t->state, "off")) {
		ctl_error("waits for processors are not counted: no metric asks for it");
		ctl_hint(
			"a metric with the source delay.p99 in the configuration, and vhostmdctl "
			"reload");
	} else if (!strcmp(t->state, "attached") || !strcmp(t->state, "unknown")) {
		ctl_error("waits for processors are counted since a moment ago alone");
		ctl_hint("ask again after a period");
	} else {
		ctl_error("waits for processors cannot be counted: %s", t->state);
		ctl_hint("what it needs is in vhostmd's steal.md");
	}
	return CTL_NO_VALUE;
}

static int ask(const struct ctl *ctl, struct told *ret)
{
	_cleanup_answer_ struct control_answer a = { 0 };
	int r = daemon_ask(ctl, "blame", "vhostmd --control, in vhostmd(8)", &a);

	*ret = (struct told){ 0 };
	if (r != CTL_OK)
		return r;
	told_parse(a.body, ret);
	return ret->now_ms ? CTL_OK : say_state(ret);
}

static void sleep_s(double seconds)
{
	struct timespec left = { .tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* From now on: between two looks of the daemon's, so long apart or longer. */
static int ask_for(const struct ctl *ctl, unsigned seconds, struct told *ret)
{
	_cleanup_told_ struct told then = { 0 };
	int64_t until_ns = clock_mono_ns() + (seconds + PATIENCE_S) * NS_PER_S;
	int r = ask(ctl, &then);

	*ret = (struct told){ 0 };
	if (r != CTL_OK)
		return r;
	sleep_s(seconds);
	while ((r = ask(ctl, ret)) == CTL_OK && clock_mono_ns() < until_ns &&
		ret->now_ms < then.now_ms + UINT64_C(1000) * seconds) {
		told_done(ret);
		sleep_s(0.2);
	}
	if (r != CTL_OK)
		return r;
	if (told_since(ret, &then) && ret->now_ms > then.now_ms)
		return CTL_OK;
	ctl_error("the daemon has begun to count anew meanwhile");
	ctl_hint("ask again");
	return CTL_NO_VALUE;
}

/* ---- words ---- */

/* One reason that a VM waited for. */
struct reason {
	const char *text, *name; /* name: of a VM, behind "behind", or NULL */
	uint64_t ns;
};

static int compare_reasons(const void *a, const void *b)
{
	const struct reason *x = a, *y = b;

	return (x->ns < y->ns) - (x->ns > y->ns);
}

/* What was charged to other VMs, and to none of those that are told. */
static uint64_t unnamed_ns(const struct told_vm *vm)
{
	uint64_t named = 0;

	for (size_t i = 0; i < vm->n; i++)
		named += vm->pairs[i].time.lately_ns;
	uint64_t all = vm->by[BLAME_VMS].lately_ns;

	return all > named ? all - named : 0;
}

/* Return: sorted, the caller's to free; *@ret_n: how many. */
static struct reason *reasons_of(const struct told_vm *vm, size_t *ret_n)
{
	struct reason *all = xcalloc(vm->n + BLAME_OWNERS, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < vm->n; i++)
		all[n++] = (struct reason){ "behind ", vm->pairs[i].name,
			vm->pairs[i].time.lately_ns };
	for (size_t i = 0; i < BLAME_OWNERS; i++)
		all[n++] = (struct reason){ reasons[i], NULL,
			i == BLAME_VMS ? unnamed_ns(vm) : vm->by[i].lately_ns };
	qsort(all, n, sizeof(*all), compare_reasons);
	*ret_n = n;
	return all;
}

/* Below a second with another digit, so that it is not 0. */
static void add_seconds(uint64_t ns, struct strbuf *out)
{
	double s = (double)ns / 1e9;

	strbuf_addf(out, s < 1 ? "%.2f s" : "%.1f s", s);
}

static void add_reasons(const struct told_vm *vm, uint64_t waited, struct strbuf *out)
{
	size_t n = 0;
	_cleanup_free_ struct reason *all = reasons_of(vm, &n);
	uint64_t left = waited;
	const char *separator = ": ";

	for (size_t i = 0; i < n && i < REASONS && all[i].ns * NOTICEABLE >= waited;
		i++) {
		strbuf_addf(out, "%s%.0f %% %s", separator,
			100.0 * (double)all[i].ns / (double)waited, all[i].text);
		if (all[i].name)
			text_add_printable(all[i].name, out);
		left -= left > all[i].ns ? all[i].ns : left;
		separator = ", ";
	}
	if (left * NOTICEABLE >= waited)
		strbuf_addf(out, "%s%.0f %% for others", separator,
			100.0 * (double)left / (double)waited);
}

static void print_vm(const struct told_vm *vm)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	uint64_t waited = told_waited(vm);

	text_add_printable(vm->name, &line);
	if (waited < 5000000) {
		strbuf_addf(&line, " hardly waited in the last %" PRIu64 " s",
			vm->lately_ms / 1000);
	} else {
		strbuf_adds(&line, " waited ");
		add_seconds(waited, &line);
		strbuf_addf(&line, " of the last %" PRIu64 " s", vm->lately_ms / 1000);
		add_reasons(vm, waited, &line);
	}
	printf("%s\n", strbuf_str(&line));
}

static bool is_noticeable(const struct told_vm *vm)
{
	/* nanoseconds of a thousandth of a second */
	return told_waited(vm) * NOTICEABLE >= vm->lately_ms * 1000000 &&
		told_waited(vm) >= 5000000;
}

static void print_all(const struct told *t, bool all)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (!all && !is_noticeable(&t->vms[i]))
			continue;
		print_vm(&t->vms[i]);
		n++;
	}
	if (!t->n)
		printf("of no VM that runs here waits are counted\n");
	else if (!n)
		printf("no VM waited noticeably for a processor in the last %" PRIu64
		       " s\n",
			t->vms[0].lately_ms / 1000);
}

/* ---- JSON ---- */

static void add_json_seconds(const char *key, uint64_t ns, struct strbuf *out)
{
	strbuf_addf(out, "\"%s\": %.6f", key, (double)ns / 1e9);
}

static void add_json_who(const char *name, const char *uuid, struct strbuf *out)
{
	strbuf_adds(out, "{\"name\": ");
	text_add_json(name, out);
	strbuf_addf(out, ", \"uuid\": \"%s\", ", uuid);
}

static void add_json_vm(const struct told_vm *vm, struct strbuf *out)
{
	add_json_who(vm->name, vm->uuid, out);
	add_json_seconds("seconds", vm->lately_ms * 1000000, out);
	strbuf_adds(out, ", ");
	add_json_seconds("waited_seconds", told_waited(vm), out);
	strbuf_adds(out, ", \"by\": {");
	for (size_t i = 0; i < BLAME_OWNERS; i++) {
		strbuf_adds(out, i ? ", " : "");
		add_json_seconds(
			blame_owner_name((enum blame_owner)i), vm->by[i].lately_ns, out);
	}
	strbuf_adds(out, "}, \"behind\": [");
	for (size_t i = 0; i < vm->n; i++) {
		const struct told_pair *pair = &vm->pairs[i];

		strbuf_adds(out, i ? ", " : "");
		add_json_who(pair->name, pair->uuid, out);
		add_json_seconds("seconds", pair->time.lately_ns, out);
		strbuf_addc(out, '}');
	}
	strbuf_adds(out, "]}");
}

static void print_json(const struct told_vm *vms, size_t n)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	for (size_t i = 0; i < n; i++) {
		strbuf_adds(&out, i ? ",\n " : "\n ");
		add_json_vm(&vms[i], &out);
	}
	printf("[%s%s]\n", strbuf_str(&out), n ? "\n" : "");
}

/* ---- the verb ---- */

static int print_one(const struct ctl *ctl, const struct told *t, const char *name)
{
	const struct told_vm *vm = told_find(t, name);
	_cleanup_free_ char *uuid = vm ? NULL : tree_find_vm(ctl, name);

	if (!vm && !uuid)
		return CTL_NOT_FOUND;
	if (!vm)
		vm = told_find(t, uuid);
	if (!vm) {
		ctl_error("what '%s' waits is not counted yet", name);
		ctl_hint(
			"ask again after a period; of a VM that is no process of QEMU's here it "
			"never is");
		return CTL_NO_VALUE;
	}
	if (ctl->json)
		print_json(vm, 1);
	else
		print_vm(vm);
	return CTL_OK;
}

int blame_run(const struct ctl *ctl, const struct blame_options *asked)
{
	_cleanup_told_ struct told t = { 0 };
	int r = asked->seconds ? ask_for(ctl, asked->seconds, &t) : ask(ctl, &t);

	if (r != CTL_OK)
		return r;
	told_sort(&t);
	if (asked->vm)
		return print_one(ctl, &t, asked->vm);
	if (ctl->json)
		print_json(t.vms, t.n);
	else
		print_all(&t, asked->all);
	return CTL_OK;
}
