/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/text.h"

/* Some lines for each VM. */
#define STATUS_BYTES_MAX (64u << 20)

static void add_line(struct status *s, char *line)
{
	char *value = strstr(line, ": ");

	if (!value)
		return;
	*value = '\0';
	s->lines = xgrow(s->lines, s->n, &s->cap, sizeof(*s->lines));
	s->lines[s->n++] = (struct status_line){ xstrdup(line), xstrdup(value + 2) };
}

void status_parse(const char *text, struct status *ret)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *save = NULL;

	*ret = (struct status){ 0 };
	for (char *line = strtok_r(copy, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save))
		add_line(ret, line);
}

int status_read(const char *mount, struct status *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/status", mount);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(AT_FDCWD, path, STATUS_BYTES_MAX, &text);

	*ret = (struct status){ 0 };
	if (r < 0) {
		ctl_error("%s: %s", path, strerror(-r));
		if (r == -EACCES)
			ctl_hint(
				"its <file><mode> lets others in, as vhostmd.conf(5) says");
		else
			ctl_hint(
				"vhostmd does not run, or is mounted elsewhere (--mount): "
				"systemctl start vhostmd, or vhostmdctl doctor");
		return r;
	}
	status_parse(strbuf_str(&text), ret);
	return 0;
}

void status_done(struct status *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->lines[i].key);
		free(s->lines[i].value);
	}
	free(s->lines);
	*s = (struct status){ 0 };
}

const char *status_text(const struct status *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->lines[i].key, key))
			return s->lines[i].value;
	return NULL;
}

static int64_t number(const char *text)
{
	int64_t value = -1;
	char word[24];

	/* "120 stale" */
	if (!text ||
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(text, " "), text) >=
			(int)sizeof(word) ||
		parse_i64(word, &value) < 0)
		return -1;
	return value;
}

int64_t status_number(const struct status *s, const char *key)
{
	return number(status_text(s, key));
}

static void print_text(const char *before, const char *text)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;

	text_add_printable(text ? text : "?", &line);
	printf("%s%s\n", before, strbuf_str(&line));
}

static void print_age(const char *before, int64_t ms)
{
	if (ms < 0)
		printf("%snever\n", before);
	else
		printf("%s%" PRId64 ".%" PRId64 " s ago\n", before, ms / 1000,
			ms % 1000 / 100);
}

/* Lines of VMs that want somebody's eye: "vm.UUID.age_ms: 9000 stale". */
static void print_attention(const struct status *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct status_line *l = &s->lines[i];

		if (strncmp(l->key, "vm.", 3) != 0 || !strchr(l->value, ' '))
			continue;
		printf("  %.36s: ", l->key + 3);
		if (strstr(l->value, "silent"))
			printf("its monitor does not answer, for %" PRId64 " s\n",
				number(l->value) / 1000);
		else
			printf("not sampled for %" PRId64 " s\n",
				number(l->value) / 1000);
	}
}

static void print_summary(const struct status *s)
{
	int64_t mistakes = status_number(s, "conf.mistakes");

	if (status_number(s, "vms") < 0) {
		printf("vhostmd is starting\n");
		return;
	}
	printf("vhostmd %s, up for %" PRId64 " s, %" PRId64 " VMs\n",
		status_text(s, "version") ? status_text(s, "version") : "?",
		status_number(s, "uptime_s"), status_number(s, "vms"));
	print_text("configuration:    ", status_text(s, "conf.file"));
	if (status_text(s, "conf.refused"))
		printf("                  what stands there by now was refused; the one before is in force\n");
	else if (mistakes > 0)
		printf("                  with %" PRId64
		       " mistakes: vhostmdctl check-config\n",
			mistakes);
	print_age("host sampled:     ", status_number(s, "host.age_ms"));
	printf("a cycle takes:    %" PRId64 " us every %" PRId64 " ms, %" PRId64
	       " skipped so far\n",
		status_number(s, "fast.cycle_us"), status_number(s, "period_ms"),
		status_number(s, "fast.overruns"));
	if (status_number(s, "slow.waiting_ms") >= 1000)
		printf("libvirt owes an answer, for %" PRId64 " ms\n",
			status_number(s, "slow.waiting_ms"));
	if (status_number(s, "channels.connected") >= 0)
		printf("channels:         %" PRId64 " connected\n",
			status_number(s, "channels.connected"));
	if (status_number(s, "disk.too_small") > 0)
		printf("disks:            %" PRId64 " too small for all metrics\n",
			status_number(s, "disk.too_small"));
	print_attention(s);
}

static void add_json_value(const char *text, struct strbuf *out)
{
	int64_t ignored;

	if (parse_i64(text, &ignored) == 0)
		strbuf_adds(out, text);
	else
		text_add_json(text, out);
}

/* One member for each key; of those that there are several of, an array. */
static void print_json(const struct status *s)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const char *before = "{\n ";

	for (size_t i = 0; i < s->n; i++) {
		const char *key = s->lines[i].key;
		size_t n = 0;

		if (status_text(s, key) != s->lines[i].value)
			continue; /* told with the first of them */
		for (size_t k = i; k < s->n; k++)
			n += !strcmp(s->lines[k].key, key);
		strbuf_adds(&out, before);
		before = ",\n ";
		text_add_json(key, &out);
		strbuf_adds(&out, n > 1 ? ": [" : ": ");
		for (size_t k = i; k < s->n; k++) {
			if (strcmp(s->lines[k].key, key) != 0)
				continue;
			if (k > i)
				strbuf_adds(&out, ", ");
			add_json_value(s->lines[k].value, &out);
		}
		if (n > 1)
			strbuf_addc(&out, ']');
	}
	printf("%s\n}\n", out.len ? strbuf_str(&out) : "{");
}

void status_print(const struct status *s, bool all, bool json)
{
	if (json) {
		print_json(s);
		return;
	}
	if (!all) {
		print_summary(s);
		return;
	}
	for (size_t i = 0; i < s->n; i++) {
		_cleanup_strbuf_ struct strbuf before = STRBUF_INIT;

		strbuf_addf(&before, "%s: ", s->lines[i].key);
		print_text(strbuf_str(&before), s->lines[i].value);
	}
}
