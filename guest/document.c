/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "document.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/parse.h"
#include "xml.h"

/* Whose a metric is: the host's, the number of a uuid of struct identity, or neither. */
enum { OWNER_HOST = -1, OWNER_OTHER = -2 };

/* A metric while the document is read: texts are offsets of the reader's strings. */
struct found {
	size_t name, unit, text, id;
	int owner;
	int type; /* -1: unknown */
};

struct reading {
	struct xml xml;
	const struct identity *own;
	struct buf strings;
	struct buf found;     /* of struct found */
	struct buf word;      /* an attribute at a time */
	struct buf uuid;      /* of the first VM that is listed, then of this one */
	bool has_vm, several; /* VMs are listed, more than one */
	uint32_t known;       /* a bit for each uuid of this VM's that is listed */
};

static_assert(M_INT32 == 0 && M_STRING == 6, "types are numbered as their names are");
static const char *const type_names[] = { "int32", "uint32", "int64", "uint64", "real32",
	"real64", "string" };

static int type_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
		if (!strcmp(name, type_names[i]))
			return (int)i;
	return -1;
}

/* ---- reading ---- */

/* An attribute of the element that starts; "" if it has none. */
static const char *attribute(struct reading *r, const char *name)
{
	r->word.len = 0; /* that memory was short is not forgotten */
	if (r->word.data)
		r->word.data[0] = '\0';
	(void)xml_add_attribute(&r->xml, name, &r->word);
	return buf_str(&r->word);
}

/* Ends a text that was added to the strings at @start, and trims it. */
static size_t end_string(struct reading *r, size_t start)
{
	static const char space[] = " \t\r\n\v\f";

	buf_addc(&r->strings, '\0');
	if (r->strings.failed)
		return 0;
	char *text = r->strings.data + start;
	size_t len = strlen(text);

	while (len && strchr(space, text[len - 1]))
		len--;
	text[len] = '\0';
	r->strings.len = start + len + 1;
	return start + strspn(text, space);
}

/* Adds an attribute to the strings. */
static size_t keep_attribute(struct reading *r, const char *name)
{
	size_t start = r->strings.len;

	return xml_add_attribute(&r->xml, name, &r->strings) ? end_string(r, start) : 0;
}

/* Reads on to the end of the element that just started.  @collect: its text. */
static bool read_element(struct reading *r, bool collect, size_t *ret_text)
{
	size_t depth = r->xml.depth, start = r->strings.len;

	for (;;) {
		enum xml_event e = xml_next(&r->xml);

		if (e == XML_MALFORMED || e == XML_END)
			return false;
		if (e == XML_TEXT && collect)
			xml_add_text(&r->xml, &r->strings);
		if (e == XML_CLOSE && r->xml.depth < depth)
			break;
	}
	if (collect)
		*ret_text = end_string(r, start);
	return true;
}

/* Notes that a VM is listed.  Return: which of this one's uuids it has. */
static int note_vm(struct reading *r, const char *text)
{
	struct uuid uuid;

	if (!r->has_vm)
		buf_adds(&r->uuid, text);
	else if (strcasecmp(text, buf_str(&r->uuid)) != 0)
		r->several = true;
	r->has_vm = true;
	if (uuid_parse(text, &uuid) < 0)
		return OWNER_OTHER;
	for (size_t i = 0; i < r->own->n; i++) {
		if (uuid_compare(&uuid, &r->own->uuids[i]) == 0) {
			r->known |= 1u << i;
			return (int)i;
		}
	}
	return OWNER_OTHER;
}

/* The metric whose element just started. */
static bool read_metric(struct reading *r)
{
	struct found f = { .type = type_of(attribute(r, "type")) };
	const char *context = attribute(r, "context");
	bool is_vm = !strcasecmp(context, "vm"), has_name = false, has_text = false;
	size_t depth = r->xml.depth;

	if (!is_vm && strcasecmp(context, "host") != 0)
		return read_element(r, false, NULL);
	f.owner = is_vm ? note_vm(r, attribute(r, "uuid")) : OWNER_HOST;
	f.unit = keep_attribute(r, "unit");
	f.id = is_vm ? keep_attribute(r, "id") : 0;
	for (;;) {
		enum xml_event e = xml_next(&r->xml);
		bool *has = NULL;

		if (e == XML_MALFORMED || e == XML_END)
			return false;
		if (e == XML_CLOSE && r->xml.depth < depth)
			break;
		if (e != XML_START)
			continue;
		if (!has_name && xml_is(&r->xml, "name"))
			has = &has_name;
		else if (!has_text && xml_is(&r->xml, "value"))
			has = &has_text;
		if (!read_element(r, has != NULL, has == &has_name ? &f.name : &f.text))
			return false;
		if (has)
			*has = true;
	}
	if (!has_text)
		f.type = -1;
	if (has_name)
		buf_add(&r->found, &f, sizeof(f));
	return true;
}

static bool read_root(struct reading *r)
{
	if (xml_next(&r->xml) != XML_START || !xml_is(&r->xml, "metrics"))
		return false;
	for (;;) {
		switch (xml_next(&r->xml)) {
		case XML_START:
			if (xml_is(&r->xml, "metric") ? !read_metric(r)
						      : !read_element(r, false, NULL))
				return false;
			break;
		case XML_CLOSE:
			return xml_next(&r->xml) == XML_END;
		case XML_TEXT:
			break;
		default:
			return false;
		}
	}
}

/*
 * A host that makes a disk for one VM alone says so by a carriage return in the white space
 * behind the document, where it says nothing to anybody else.
 */
static bool is_marked_own(const struct xml *x)
{
	return memchr(x->root_end, '\r', (size_t)(x->end - x->root_end)) != NULL;
}

/* ---- choosing ---- */

/*
 * Which VM of the document is this one.  Return: the owner of its metrics; OWNER_HOST: none
 * of them.  The firmware may be read in two byte orders: if VMs of both are listed there is no
 * telling.
 */
static int choose(const struct reading *r, bool is_own)
{
	if (r->known)
		return r->known & (r->known - 1) ? OWNER_HOST : __builtin_ctz(r->known);
	return r->has_vm && is_own && !r->several ? OWNER_OTHER : OWNER_HOST;
}

/* ---- making ---- */

/* @seed: or a host could choose names that are all in one place. */
static uint32_t hash_of(uint32_t seed, metric_context context, const char *name)
{
	uint32_t h = seed ^ (uint32_t)context;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h ^ h >> 15;
}

/* Where a metric's number is, or would be. */
static uint32_t *bucket_of(
	const struct document *d, uint32_t hash, metric_context context, const char *name)
{
	for (uint32_t slot = hash & d->mask;; slot = (slot + 1) & d->mask) {
		uint32_t i = d->buckets[slot];
		const struct vhostmd_metric *m = i ? &d->metrics[i - 1] : NULL;

		if (!m ||
			(m->hash == hash && m->context == context &&
				!strcmp(m->name, name)))
			return &d->buckets[slot];
	}
}

/* An integer may have a fraction ("12.000000"), which is cut.  @text: changed. */
static void cut_fraction(char *text)
{
	char *dot = strchr(text, '.');

	if (dot && dot > text && dot[1] && !dot[1 + strspn(dot + 1, "0123456789")])
		*dot = '\0';
}

static int read_integer(struct vhostmd_metric *m)
{
	char digits[64];
	size_t len = strlen(m->text);
	int r = 0;

	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, m->text, len + 1);
	cut_fraction(digits);
	switch (m->type) {
	case M_INT32:
	case M_INT64:
		r = parse_i64(digits, &m->value.i);
		if (r == 0 && m->type == M_INT32 && m->value.i != (int32_t)m->value.i)
			r = -ERANGE;
		return r;
	default:
		r = parse_u64(digits, &m->value.u);
		if (r == 0 && m->type == M_UINT32 && m->value.u > UINT32_MAX)
			r = -ERANGE;
		return r;
	}
}

static int read_value(struct vhostmd_metric *m)
{
	int r;

	switch (m->type) {
	case M_STRING:
		return 0;
	case M_REAL32:
	case M_REAL64:
		r = parse_real(m->text, &m->value.real);
		if (r == 0 && m->type == M_REAL32 && !isfinite((float)m->value.real))
			r = -ERANGE;
		return r;
	default:
		return read_integer(m);
	}
}

static const char *put(char **at, const char *text)
{
	size_t size = strlen(text) + 1;
	char *start = *at;

	memcpy(start, text, size);
	*at = start + size;
	return start;
}

/* A unit that the metric before has, too, is stored once. */
static const char *put_unit(char **at, const char *unit, const char *before)
{
	if (!*unit)
		return "";
	return before && !strcmp(before, unit) ? before : put(at, unit);
}

/* Makes a metric be found, unless there is one of that name. */
static void enter(struct document *d, size_t i)
{
	const struct vhostmd_metric *m = &d->metrics[i];
	uint32_t *bucket = bucket_of(d, m->hash, (metric_context)m->context, m->name);

	if (!*bucket)
		*bucket = (uint32_t)i + 1;
}

/* Adds the metrics of one owner that are good, or those that are bad. */
static void add_metrics(
	struct document *d, const struct reading *r, int owner, bool bad, char **at)
{
	const struct found *all = (const struct found *)(const void *)r->found.data;
	const char *strings = r->strings.data;

	for (size_t i = 0; i < r->found.len / sizeof(*all); i++) {
		struct vhostmd_metric m = { .name = strings + all[i].name,
			.text = all[i].type < 0 ? "" : strings + all[i].text,
			.context = owner == OWNER_HOST ? METRIC_CONTEXT_HOST
						       : METRIC_CONTEXT_VM,
			.type = (uint8_t)(all[i].type < 0 ? M_STRING : all[i].type) };

		if (all[i].owner != owner)
			continue;
		m.is_bad = all[i].type < 0 || read_value(&m) < 0;
		if (m.is_bad != bad)
			continue;
		m.hash = hash_of(d->seed, (metric_context)m.context, m.name);
		m.name = put(at, m.name);
		m.text = put(at, m.text);
		if (owner != OWNER_HOST && !d->id)
			d->id = put(at, strings + all[i].id);
		m.unit = put_unit(at, strings + all[i].unit,
			d->n ? d->metrics[d->n - 1].unit : NULL);
		d->metrics[d->n++] = m;
	}
}

/* How many metrics these owners have, and how long their texts are. */
static size_t measure(const struct reading *r, int vm, size_t *ret_bytes)
{
	const struct found *all = (const struct found *)(const void *)r->found.data;
	bool has_id = false;
	size_t n = 0;

	*ret_bytes = UUID_TEXT_LEN + 1;
	for (size_t i = 0; i < r->found.len / sizeof(*all); i++) {
		if (all[i].owner != OWNER_HOST && all[i].owner != vm)
			continue;
		const char *strings = r->strings.data;

		n++;
		*ret_bytes += strlen(strings + all[i].name) +
			(all[i].type < 0 ? 0 : strlen(strings + all[i].text)) +
			strlen(strings + all[i].unit) + 3;
		if (all[i].owner != OWNER_HOST && !has_id) {
			*ret_bytes += strlen(strings + all[i].id) + 1;
			has_id = true;
		}
	}
	return n;
}

/* Whatever was found before a mistake counts for nothing. */
static void forget(struct reading *r)
{
	r->found.len = 0;
	r->has_vm = false;
}

static struct document *make(struct reading *r, int vm)
{
	size_t bytes = 0, n = measure(r, vm, &bytes), n_buckets = 4;
	struct document *d;
	struct uuid uuid;

	while (n_buckets < n + n / 2)
		n_buckets *= 2;
	bytes += sizeof(*d) + n * sizeof(d->metrics[0]) + n_buckets * sizeof(uint32_t);
	d = n_buckets <= UINT32_MAX / 2 ? malloc(bytes) : NULL;
	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->refs = 1;
	d->seed = (uint32_t)clock_mono_ns();
	d->buckets = (uint32_t *)(void *)&d->metrics[n];
	d->mask = (uint32_t)n_buckets - 1;
	memset(d->buckets, 0, n_buckets * sizeof(uint32_t));
	char *at = (char *)(d->buckets + n_buckets);

	for (int bad = 0; bad <= 1; bad++) {
		add_metrics(d, r, OWNER_HOST, bad, &at);
		if (vm != OWNER_HOST)
			add_metrics(d, r, vm, bad, &at);
		if (!bad)
			d->n_good = d->n;
	}
	/* the first of a name is found, and a bad one does not hide a good one */
	for (size_t i = 0; i < d->n; i++)
		enter(d, i);
	d->id = d->id ? d->id : "";
	d->is_anonymous = vm == OWNER_HOST && r->has_vm;
	if (vm >= 0) {
		uuid_format(&r->own->uuids[vm], at);
		d->uuid = at;
	} else if (vm == OWNER_OTHER && uuid_parse(buf_str(&r->uuid), &uuid) == 0) {
		d->uuid = put(&at, r->uuid.data);
	}
	return d;
}

int document_new(
	struct buf *xml, const struct identity *own, bool is_own, struct document **ret)
{
	struct reading r = { .own = own };

	xml_init(&r.xml, buf_str(xml), xml->len);
	buf_addc(&r.strings, '\0'); /* texts that are not there: offset 0 */
	bool is_whole = read_root(&r);
	struct document *d = NULL;

	if (!r.strings.failed && !r.found.failed && !r.word.failed && !r.uuid.failed) {
		if (!is_whole)
			forget(&r);
		d = make(&r,
			is_whole ? choose(&r, is_own || is_marked_own(&r.xml))
				 : OWNER_HOST);
	}
	buf_done(&r.strings);
	buf_done(&r.found);
	buf_done(&r.word);
	buf_done(&r.uuid);
	if (!d)
		return VHOSTMD_ERR_MEMORY;
	d->is_malformed = !is_whole;
	buf_trim(xml);
	d->xml = *xml;
	*xml = BUF_INIT;
	*ret = d;
	return 0;
}

struct document *document_ref(struct document *d)
{
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	return d;
}

void document_unref(struct document *d)
{
	if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
		return;
	buf_done(&d->xml);
	free(d);
}

const struct vhostmd_metric *document_find(
	const struct document *d, metric_context context, const char *name)
{
	uint32_t i = *bucket_of(d, hash_of(d->seed, context, name), context, name);

	return i ? &d->metrics[i - 1] : NULL;
}
