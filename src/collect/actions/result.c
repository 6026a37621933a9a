/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/result.h"

#include <errno.h>
#include <string.h>

#include "collect/actions/output_xml.h"
#include "collect/actions/process.h"
#include "collect/actions/rights.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define SHOWN_BYTES 60
#define SHOWN_ERR_BYTES 240 /* libvirt says what is wrong in its second line */

static struct metric_list_builder *builder(struct spec_set *specs)
{
	return metric_list_builder_new(specs, clock_real_ns());
}

struct metric_list *action_result_none(struct spec_set *specs, uint32_t slot)
{
	const struct metric_spec *spec = &specs->specs[slot];
	struct metric_list_builder *b = builder(specs);

	if (spec->kind == SPEC_ACTION)
		metric_list_builder_add(b, slot, NULL, NULL);
	for (size_t i = 0; i < spec->n_variables; i++)
		metric_list_builder_add_named(b, slot, spec->variables[i].name,
			spec->variables[i].unit, spec->variables[i].type, NULL);
	return metric_list_builder_finish(b);
}

/* Appends the first @max bytes of @text; bytes that are no UTF-8 as \xNN. */
static void show_start(const char *text, size_t max, struct strbuf *why)
{
	size_t n = strnlen(text, max);
	bool valid = utf8_valid(text, strlen(text));

	while (valid && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--; /* not in the middle of a character */
	strbuf_adds(why, "'");
	for (size_t i = 0; i < n; i++) {
		if (!valid && (unsigned char)text[i] >= 0x80)
			strbuf_addf(why, "\\x%02x", (unsigned char)text[i]);
		else
			strbuf_addc(why, text[i] == '\n' ? ' ' : text[i]);
	}
	strbuf_adds(why, text[n] ? "...'" : "'");
}

static void show(const char *text, struct strbuf *why)
{
	show_start(text, SHOWN_BYTES, why);
}

static bool is_empty(const char *text)
{
	return !text[strspn(text, " \t\r\n\v\f")];
}

bool action_result_complaint(const struct action_process *process, struct strbuf *out)
{
	_cleanup_free_ char *copy = xstrdup(process->err);
	const char *err = str_trim(copy);

	if (*err)
		show_start(err, SHOWN_ERR_BYTES, out);
	return *err;
}

/*
 * A pipeline succeeds when its last command does: that another one failed shows in an output
 * of nothing, or in what it said.
 * Return: true if the command itself failed.
 */
static bool check_process(struct action_process *p, struct strbuf *why)
{
	const char *printed = strbuf_str(&p->out);

	if (p->timed_out)
		strbuf_adds(why, "the action did not end in time and was killed");
	else if (p->too_long)
		strbuf_addf(why, "the action printed more than %u bytes",
			LIMIT_ACTION_OUTPUT_BYTES);
	else if (p->status)
		strbuf_addf(why, "the action ended with status %d", p->status);
	else if (memchr(p->out.data ? p->out.data : "", 0, p->out.len))
		strbuf_adds(why, "the action printed a NUL byte");
	else if (is_empty(printed))
		strbuf_adds(why, "the action printed nothing");
	else if (rights_complaint(p->err))
		strbuf_adds(why, "the action printed what it could without a right");
	else
		return false;
	_cleanup_strbuf_ struct strbuf err = STRBUF_INIT;

	if (action_result_complaint(p, &err)) {
		strbuf_addf(why, " and said %s", strbuf_str(&err));
	} else if (!is_empty(printed)) {
		strbuf_adds(why, " and printed ");
		show(printed, why);
	}
	return true;
}

static const char *reason(int r, const char *text)
{
	return r == -ERANGE                       ? " does not fit "
		: !utf8_valid(text, strlen(text)) ? " is not UTF-8, and so no "
						  : " is no ";
}

static bool read_value(enum metric_type type, const char *unit, char *text,
	struct value *ret, struct strbuf *why)
{
	_cleanup_free_ char *before = xstrdup(text);
	int r = value_parse(type, text, unit, ret);

	if (r == 0)
		return true;
	strbuf_adds(why, "the output ");
	show(before, why);
	strbuf_addf(why, "%s%s", reason(r, before), metric_type_name(type));
	return false;
}

static struct metric_list *read_single(
	struct spec_set *specs, uint32_t slot, char *text, struct strbuf *why)
{
	const struct metric_spec *spec = &specs->specs[slot];
	struct value v;

	if (!read_value(spec->type, spec->unit, text, &v, why))
		return NULL;
	struct metric_list_builder *b = builder(specs);

	metric_list_builder_add(b, slot, NULL, &v);
	return metric_list_builder_finish(b);
}

static size_t count_parts(const char *text)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == ',';
	return n;
}

static struct metric_list *read_group(
	struct spec_set *specs, uint32_t slot, char *text, struct strbuf *why)
{
	const struct metric_spec *spec = &specs->specs[slot];

	if (count_parts(text) != spec->n_variables) {
		strbuf_addf(why, "the group has %zu variables, but the action printed ",
			spec->n_variables);
		show(text, why);
		return NULL;
	}
	struct metric_list_builder *b = builder(specs);

	for (size_t i = 0; i < spec->n_variables; i++) {
		const struct spec_variable *var = &spec->variables[i];
		char *comma = strchrnul(text, ',');
		bool last = !*comma;
		struct value v;

		*comma = '\0';
		bool empty = is_empty(text);

		if (empty)
			strbuf_addf(why, "%svariable %s is empty", why->len ? ", " : "",
				var->name);
		else if (!read_value(var->type, var->unit, text, &v, why)) {
			strbuf_addf(why, " (variable %s)", var->name);
			metric_list_builder_free(b);
			return NULL;
		}
		metric_list_builder_add_named(
			b, slot, var->name, var->unit, var->type, empty ? NULL : &v);
		text = last ? comma : comma + 1;
	}
	return metric_list_builder_finish(b);
}

static struct metric_list *read_xml(struct spec_set *specs, uint32_t slot,
	const struct vm_ident *vm, char *text, struct strbuf *why)
{
	struct output_metric *metrics = NULL;
	char uuid[UUID_TEXT_LEN + 1];
	size_t n = 0;

	if (vm)
		uuid_format(&vm->uuid, uuid);
	text = str_trim(text);
	if (output_metrics_parse(text, strlen(text), vm ? "vm" : "host", vm ? uuid : NULL,
		    &metrics, &n, why) < 0) {
		strbuf_adds(why, ": ");
		show(text, why);
		return NULL;
	}
	struct metric_list_builder *b = builder(specs);

	for (size_t i = 0; i < n; i++)
		metric_list_builder_add_named(b, slot, metrics[i].name, metrics[i].unit,
			metrics[i].value.type, &metrics[i].value);
	output_metrics_free(metrics, n);
	return metric_list_builder_finish(b);
}

struct metric_list *action_result_read(struct spec_set *specs, uint32_t slot,
	const struct vm_ident *vm, struct action_process *process, struct strbuf *why)
{
	struct metric_list *list = NULL;

	if (!check_process(process, why)) {
		char *text = process->out.data ? process->out.data : (char[]){ "" };

		if (specs->specs[slot].kind == SPEC_GROUP)
			list = read_group(specs, slot, text, why);
		else if (specs->specs[slot].kind == SPEC_XML)
			list = read_xml(specs, slot, vm, text, why);
		else
			list = read_single(specs, slot, text, why);
	}
	return list ? list : action_result_none(specs, slot);
}
