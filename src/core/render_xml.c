/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/render_xml.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "core/blob.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define REPLACEMENT_CHARACTER 0xfffd

#define DOCUMENT_START "<metrics>\n"
#define DOCUMENT_END "</metrics>\n"
/* Names and values are escaped, so that it ends metrics only. */
#define METRIC_END "  </metric>\n"

/* Characters that XML 1.0 has no way to write at all. */
static bool is_xml_char(uint32_t c)
{
	if (c < 0x20)
		return c == '\t' || c == '\n' || c == '\r';
	return c != 0xfffe && c != 0xffff;
}

static void escape_ascii(char c, struct strbuf *out)
{
	switch (c) {
	case '&':
		strbuf_adds(out, "&amp;");
		break;
	case '<':
		strbuf_adds(out, "&lt;");
		break;
	case '>':
		strbuf_adds(out, "&gt;");
		break;
	case '\'':
		strbuf_adds(out, "&apos;");
		break;
	case '"':
		strbuf_adds(out, "&quot;");
		break;
	default:
		strbuf_addc(out, c);
	}
}

void render_xml_escape(const char *text, struct strbuf *out)
{
	bool valid = utf8_valid(text, strlen(text));

	while (*text) {
		uint32_t c = (unsigned char)*text;
		size_t n = 1;

		if (c >= 0x80 && valid)
			n = utf8_decode(text, &c);
		else if (c >= 0x80)
			c = REPLACEMENT_CHARACTER;
		if (!is_xml_char(c))
			c = REPLACEMENT_CHARACTER;
		if (c >= 0x20 && c < 0x7f)
			escape_ascii(*text, out);
		else
			strbuf_addf(out, "&#%u;", c);
		text += n;
	}
}

static void render_metric(
	const struct snapshot *s, const struct metric *m, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;

	strbuf_addf(out, "  <metric type='%s' context='%s'",
		metric_type_name(m->value.type), s->is_host ? "host" : "vm");
	if (!s->is_host)
		strbuf_addf(out, " id='%d' uuid='%s'", s->vm.id, s->uuid_text);
	if (m->label->unit) {
		strbuf_adds(out, " unit='");
		render_xml_escape(m->label->unit, out);
		strbuf_addc(out, '\'');
	}
	strbuf_adds(out, ">\n    <name>");
	render_xml_escape(m->label->name, out);
	strbuf_adds(out, "</name>\n    <value>");
	value_format(&m->value, &value);
	render_xml_escape(strbuf_str(&value), out);
	strbuf_adds(out, "</value>\n" METRIC_END);
}

struct blob *render_xml_fragment(struct snapshot *s)
{
	struct blob *cached = atomic_load_explicit(&s->xml, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (cached)
		return cached;
	for (size_t i = 0; i < s->n; i++)
		if (s->metrics[i]->available && s->metrics[i]->label->spec->guest)
			render_metric(s, s->metrics[i], &out);
	return blob_cache_set(
		&s->xml, blob_new(out.data, out.len, s->generation, s->time_ns));
}

static void add_part(struct snapshot *s, const char *missing, struct strbuf *out)
{
	if (s && s->collected) {
		struct blob *part = render_xml_fragment(s);

		strbuf_add(out, part->data, part->size);
	} else if (missing) {
		strbuf_addf(out, "  <!-- %s metrics not available -->\n", missing);
	}
}

void render_xml_private(
	struct snapshot *host, struct snapshot *vm, bool say_missing, struct strbuf *out)
{
	strbuf_adds(out, DOCUMENT_START);
	add_part(host, say_missing ? "host" : NULL, out);
	add_part(vm, say_missing ? "VM" : NULL, out);
	strbuf_adds(out, DOCUMENT_END);
}

static void add_left_out(size_t n, struct strbuf *out)
{
	strbuf_addf(out,
		"  <metric type='uint64' context='host'>\n"
		"    <name>" RENDER_LEFT_OUT
		"</name>\n    <value>%zu</value>\n" METRIC_END,
		n);
}

size_t render_xml_fit(struct strbuf *document, size_t max_bytes)
{
	_cleanup_strbuf_ struct strbuf longest = STRBUF_INIT;
	size_t keep = strlen(DOCUMENT_START), n = 0;
	const char *text = strbuf_str(document), *end = text;

	if (document->len <= max_bytes)
		return 0;
	add_left_out(SIZE_MAX, &longest);
	strbuf_adds(&longest, DOCUMENT_END);
	size_t room = max_bytes - longest.len;

	while ((end = strstr(end, METRIC_END))) {
		end += strlen(METRIC_END);
		if ((size_t)(end - text) <= room)
			keep = (size_t)(end - text);
		else
			n++;
	}
	document->len = keep;
	add_left_out(n, document);
	strbuf_adds(document, DOCUMENT_END);
	return n;
}

struct blob *render_xml_view(struct view *view)
{
	struct blob *cached = atomic_load_explicit(&view->xml, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int64_t time_ns = view->host->time_ns;

	if (cached)
		return cached;
	strbuf_adds(&out, DOCUMENT_START);
	add_part(view->host, NULL, &out);
	for (size_t i = 0; i < view->n_vms; i++) {
		add_part(view->vms[i], NULL, &out);
		if (view->vms[i]->time_ns > time_ns)
			time_ns = view->vms[i]->time_ns;
	}
	strbuf_adds(&out, DOCUMENT_END);
	return blob_cache_set(
		&view->xml, blob_new(out.data, out.len, view->generation, time_ns));
}
