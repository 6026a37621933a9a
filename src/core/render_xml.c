/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/render_xml.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/blob.h"
#include "core/grants.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define REPLACEMENT_CHARACTER 0xfffd

#define DOCUMENT_START "<metrics>\n"
#define DOCUMENT_END "</metrics>\n"
#define MISSING(what) "  <!-- " what " metrics not available -->\n"
/* Names and values are escaped, so that it ends metrics only. */
#define METRIC_END "  </metric>\n"
/* Never in a document: control characters are escaped. */
#define GAP '\x01'

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

/* @value: to be shown in place of its own; NULL: that. */
static void render_metric(const struct snapshot *s, const struct metric *m,
	const char *value, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf own = STRBUF_INIT;

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
	if (!value)
		value_format(&m->value, &own);
	render_xml_escape(value ? value : strbuf_str(&own), out);
	strbuf_adds(out, "</value>\n" METRIC_END);
}

static bool is_for_guests(const struct metric *m)
{
	return m->available && m->label->spec->guest;
}

struct blob *render_xml_fragment(struct snapshot *s)
{
	struct blob *cached = atomic_load_explicit(&s->xml, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (cached)
		return cached;
	for (size_t i = 0; i < s->n; i++)
		if (is_for_guests(snapshot_metric(s, i)))
			render_metric(s, snapshot_metric(s, i), NULL, &out);
	return blob_cache_set(
		&s->xml, blob_new(out.data, out.len, s->generation, s->time_ns));
}

static void render_hashed(const struct snapshot *host, const struct metric *m,
	const struct uuid *vm, struct strbuf *out)
{
	char hash[GRANTS_HASH_LEN + 1];

	grants_hash(host->grants, vm, m->value.s, hash);
	render_metric(host, m, hash, out);
}

/*
 * What all VMs with a set see of the host.  A metric that each of them sees in another way is
 * left open: GAP, its number, GAP.
 */
static struct blob *render_audience(struct snapshot *host, size_t set)
{
	struct blob *_Atomic *cache = &host->audiences[set].xml;
	struct blob *cached = atomic_load_explicit(cache, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (grants_is_open(host->grants, set))
		return render_xml_fragment(host);
	if (cached)
		return cached;
	for (size_t i = 0; i < host->n; i++) {
		const struct metric *m = snapshot_metric(host, i);

		if (!is_for_guests(m))
			continue;
		switch (grants_show(host->grants, set, m)) {
		case GRANTS_HIDDEN:
			break;
		case GRANTS_PLAIN:
			render_metric(host, m, NULL, &out);
			break;
		case GRANTS_HASH:
			render_hashed(host, m, NULL, &out);
			break;
		case GRANTS_HASH_PER_VM:
			strbuf_addf(&out, "%c%zu%c", GAP, i, GAP);
			break;
		}
	}
	return blob_cache_set(
		cache, blob_new(out.data, out.len, host->generation, host->time_ns));
}

/* Adds what VMs with a set see of the host.  @vm: NULL: without what is a VM's own. */
static void add_audience(
	struct snapshot *host, size_t set, const struct vm_ident *vm, struct strbuf *out)
{
	const struct blob *part = render_audience(host, set);
	const char *at = part->data, *end = part->data + part->size, *gap;

	while ((gap = memchr(at, GAP, (size_t)(end - at)))) {
		char *behind = NULL;
		size_t i = strtoul(gap + 1, &behind, 10);

		strbuf_add(out, at, (size_t)(gap - at));
		if (vm)
			render_hashed(host, snapshot_metric(host, i), &vm->uuid, out);
		at = behind + 1;
	}
	strbuf_add(out, at, (size_t)(end - at));
}

static struct render_piece fixed(const char *text)
{
	return (struct render_piece){ text, strlen(text), NULL };
}

/* @blob: a reference that moves into the piece. */
static struct render_piece piece_of(struct blob *blob)
{
	return (struct render_piece){ blob->data, blob->size, blob };
}

static struct render_piece part(struct snapshot *s, const char *missing)
{
	if (!s || !s->collected)
		return fixed(missing);
	return piece_of(blob_ref(render_xml_fragment(s)));
}

/* What a VM sees of the host. */
static struct render_piece host_part(
	struct snapshot *host, const struct vm_ident *vm, const char *missing)
{
	if (!host->grants || !host->collected)
		return part(host, missing);
	size_t set = grants_set_of(host->grants, vm);
	struct blob *all = render_audience(host, set);

	if (!memchr(all->data, GAP, all->size))
		return piece_of(blob_ref(all));
	_cleanup_strbuf_ struct strbuf own = STRBUF_INIT;

	add_audience(host, set, vm, &own);
	return piece_of(blob_new(own.data, own.len, all->generation, all->time_ns));
}

void render_xml_pieces(struct snapshot *host, struct snapshot *vm, bool say_missing,
	struct render_piece ret[static RENDER_PIECES])
{
	ret[0] = fixed(DOCUMENT_START);
	ret[1] = host_part(host, vm ? &vm->vm : NULL, say_missing ? MISSING("host") : "");
	ret[2] = part(vm, say_missing ? MISSING("VM") : "");
	ret[3] = fixed(DOCUMENT_END);
}

/* @piece: its reference is dropped. */
static void add_piece(struct render_piece piece, struct strbuf *out)
{
	strbuf_add(out, piece.text, piece.size);
	blob_unref(piece.blob);
}

void render_xml_private(
	struct snapshot *host, struct snapshot *vm, bool say_missing, struct strbuf *out)
{
	struct render_piece pieces[RENDER_PIECES];

	render_xml_pieces(host, vm, say_missing, pieces);
	for (size_t i = 0; i < RENDER_PIECES; i++)
		add_piece(pieces[i], out);
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

/* @out: has the host's part. */
static struct blob *finish_view(
	struct view *view, struct blob *_Atomic *cache, struct strbuf *out)
{
	int64_t time_ns = view->host->time_ns;

	for (size_t i = 0; i < view->n_vms; i++) {
		add_piece(part(view->vms[i], ""), out);
		if (view->vms[i]->time_ns > time_ns)
			time_ns = view->vms[i]->time_ns;
	}
	strbuf_adds(out, DOCUMENT_END);
	return blob_cache_set(
		cache, blob_new(out->data, out->len, view->generation, time_ns));
}

struct blob *render_xml_view(struct view *view)
{
	struct blob *cached = atomic_load_explicit(&view->xml, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (cached)
		return cached;
	strbuf_adds(&out, DOCUMENT_START);
	add_piece(part(view->host, ""), &out);
	return finish_view(view, &view->xml, &out);
}

struct blob *render_xml_shared(struct view *view)
{
	struct snapshot *host = view->host;
	const struct grants *g = host->grants;
	struct blob *cached =
		atomic_load_explicit(&view->shared_xml, memory_order_acquire);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	if (!g || grants_is_open(g, g->rest))
		return render_xml_view(view);
	if (cached)
		return cached;
	strbuf_adds(&out, DOCUMENT_START);
	if (host->collected)
		add_audience(host, g->rest, NULL, &out);
	return finish_view(view, &view->shared_xml, &out);
}
