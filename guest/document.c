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
#include "util/limits.h"
#include "util/parse.h"
#include "xml.h"

/* Whose a metric is: the host's, the number of a uuid of struct identity, or neither. */
enum { OWNER_HOST = -1, OWNER_OTHER = -2 };

/* The most that is read at all, so that offsets of strings are short (guest/disk, channel). */
static_assert(LIMIT_DISK_BYTES_MAX < UINT32_MAX / 2, "offsets of texts");

/* A metric while the document is read: texts are offsets of the reader's strings. */
struct found {
	uint32_t name, unit, text;
	int8_t owner;
	int8_t type; /* -1: unknown */
};

/* What a metric's start tag says. */
struct meaning {
	size_t tag; /* its number; 0: of none */
	uint32_t unit;
	int8_t owner, type;
	bool is_other; /* of no known context */
};

struct reading {
	struct xml xml;
	struct meaning meanings[XML_TAGS]; /* of the tags that are kept */
	const struct identity *own;
	bool is_own; /* as document_new() */
	struct buf strings;
	struct buf found;             /* of struct found */
	struct buf word;              /* an attribute at a time */
	struct buf uuid;              /* of the first VM that is listed */
	uint32_t other_id;            /* of the same */
	uint32_t ids[IDENTITY_UUIDS]; /* 0: none yet */
	bool has_vm, several;         /* VMs are listed, more than one */
	uint32_t known; /* a bit for each uuid of this VM's that is listed */
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

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice trim(struct slice s)
{
	while (s.len && is_space(s.at[s.len - 1]))
		s.len--;
	for (; s.len && is_space(*s.at); s.at++)
		s.len--;
	return s;
}

/* Ends a text that was added to the strings at @start, and trims it. */
static uint32_t end_string(struct reading *r, size_t start)
{
	if (r->strings.failed)
		return 0;
	struct slice s =
		trim((struct slice){ r->strings.data + start, r->strings.len - start });

	start = (size_t)(s.at - r->strings.data);
	r->strings.len = start + s.len;
	buf_addc(&r->strings, '\0'); /* which may move them */
	return (uint32_t)start;
}

/* Adds a text that means what it says. */
static uint32_t keep_text(struct reading *r, struct slice text)
{
	struct slice s = trim(text);
	size_t start = r->strings.len;
	char *at = buf_reserve(&r->strings, s.len + 1);

	if (!at)
		return 0;
	memcpy(at, s.at, s.len);
	at[s.len] = '\0';
	r->strings.len += s.len + 1;
	r->strings.data[r->strings.len] = '\0';
	return (uint32_t)start;
}

/* Adds an attribute to the strings. */
static uint32_t keep_attribute(struct reading *r, const char *name)
{
	size_t start = r->strings.len;

	return xml_add_attribute(&r->xml, name, &r->strings) ? end_string(r, start) : 0;
}

/* Reads on to the end of the element that just started.  @collect: its text. */
static bool read_element(struct reading *r, bool collect, uint32_t *ret_text)
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

/* Understands the start tag of a metric. */
static struct meaning understand_tag(struct reading *r)
{
	struct meaning m = { .tag = r->xml.tags[r->xml.tag].number,
		.type = (int8_t)type_of(attribute(r, "type")) };
	const char *context = attribute(r, "context");
	bool is_vm = !strcasecmp(context, "vm");
	uint32_t *id;

	m.is_other = !is_vm && strcasecmp(context, "host") != 0;
	if (m.is_other)
		return m;
	m.owner = (int8_t)(is_vm ? note_vm(r, attribute(r, "uuid")) : OWNER_HOST);
	m.unit = keep_attribute(r, "unit");
	id = m.owner >= 0 ? &r->ids[m.owner] : &r->other_id;
	if (is_vm && !*id)
		*id = keep_attribute(r, "id");
	return m;
}

/* True if it is sure that a metric is another VM's. */
static bool is_anothers(const struct reading *r, const struct meaning *m)
{
	return m->owner == OWNER_OTHER && (!r->is_own || r->several || r->known);
}

#define PIECE(text)                                                                      \
	{                                                                                \
		text, sizeof(text) - 1                                                   \
	}

/* The form that metrics usually have (formats: content). */
static const struct slice usual_form[] = { PIECE("\n    <name>"),
	PIECE("</name>\n    <value>"), PIECE("</value>\n  </metric>") };

/* The metric whose element just started. */
static bool read_metric(struct reading *r)
{
	struct meaning *m = &r->meanings[r->xml.tag];
	size_t depth = r->xml.depth;
	struct slice texts[ARRAY_LEN(usual_form) - 1];

	if (m->tag != r->xml.tags[r->xml.tag].number)
		*m = understand_tag(r);
	bool is_usual = xml_take_form(&r->xml, usual_form, ARRAY_LEN(usual_form), texts);

	if (m->is_other || is_anothers(r, m))
		return is_usual || read_element(r, false, NULL);
	struct found f = { .owner = m->owner, .type = m->type, .unit = m->unit };
	bool has_name = is_usual, has_text = is_usual;

	if (is_usual) {
		f.name = keep_text(r, texts[0]);
		f.text = keep_text(r, texts[1]);
	}
	while (!is_usual) {
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
static bool is_marked_own(const struct buf *xml)
{
	size_t end = xml->len;

	while (end && is_space(xml->data[end - 1]) && xml->data[end - 1] != '\r')
		end--;
	return end && xml->data[end - 1] == '\r';
}

/* ---- choosing ---- */

/*
 * Which VM of the document is this one.  Return: the owner of its metrics; OWNER_HOST: none
 * of them.  The firmware may be read in two byte orders: if VMs of both are listed there is no
 * telling.
 */
static int choose(const struct reading *r)
{
	if (r->known)
		return r->known & (r->known - 1) ? OWNER_HOST : __builtin_ctz(r->known);
	return r->has_vm && r->is_own && !r->several ? OWNER_OTHER : OWNER_HOST;
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

/* Makes a metric be found, unless there is one of that name. */
static void enter(struct document *d, size_t i)
{
	const struct vhostmd_metric *m = &d->metrics[i];
	uint32_t *bucket = bucket_of(d, m->hash, (metric_context)m->context, m->name);

	if (!*bucket)
		*bucket = (uint32_t)i + 1;
}

static const struct found *found_of(const struct reading *r, size_t *ret_n)
{
	*ret_n = r->found.len / sizeof(struct found);
	return (const struct found *)(const void *)r->found.data;
}

/* Adds the metrics of one owner: good ones to the front, bad ones to the end, of @n. */
static void add_metrics(struct document *d, const struct reading *r, int owner, size_t n)
{
	const char *strings = d->strings.data;
	size_t n_found;
	const struct found *f = found_of(r, &n_found);

	for (size_t i = 0; i < n_found; i++) {
		if (f[i].owner != owner)
			continue;
		bool known = f[i].type >= 0;
		struct vhostmd_metric m = { .name = strings + f[i].name,
			.text = known ? strings + f[i].text : "",
			.unit = strings + f[i].unit,
			.context = owner == OWNER_HOST ? METRIC_CONTEXT_HOST
						       : METRIC_CONTEXT_VM,
			.type = (uint8_t)(known ? f[i].type : M_STRING) };

		m.is_bad = !known || read_value(&m) < 0;
		m.hash = hash_of(d->seed, (metric_context)m.context, m.name);
		d->metrics[m.is_bad ? n - ++d->n_bad : d->n_good++] = m;
	}
}

/* How many metrics these owners have. */
static size_t count_metrics(const struct reading *r, int vm)
{
	size_t n_found, n = 0;
	const struct found *f = found_of(r, &n_found);

	for (size_t i = 0; i < n_found; i++)
		n += f[i].owner == OWNER_HOST || f[i].owner == vm;
	return n;
}

/* Whatever was found before a mistake counts for nothing. */
static void forget(struct reading *r)
{
	r->found.len = 0;
	r->has_vm = false;
	r->known = 0;
}

/* Without anything in it. */
static struct document *allocate(size_t n)
{
	size_t n_buckets = 4;
	struct document *d;

	while (n_buckets < n + n / 2)
		n_buckets *= 2;
	if (n_buckets > UINT32_MAX / 2)
		return NULL;
	d = malloc(sizeof(*d) + n * sizeof(d->metrics[0]) + n_buckets * sizeof(uint32_t));
	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->refs = 1;
	d->seed = (uint32_t)clock_mono_ns();
	d->buckets = (uint32_t *)(void *)&d->metrics[n];
	d->mask = (uint32_t)n_buckets - 1;
	memset(d->buckets, 0, n_buckets * sizeof(uint32_t));
	return d;
}

static void set_identity(struct document *d, const struct reading *r, int vm)
{
	struct uuid uuid;

	d->id = d->strings.data +
		(vm >= 0                            ? r->ids[vm]
				: vm == OWNER_OTHER ? r->other_id
						    : 0);
	d->is_anonymous = vm == OWNER_HOST && r->has_vm;
	if (vm >= 0) {
		uuid_format(&r->own->uuids[vm], d->uuid_text);
		d->uuid = d->uuid_text;
	} else if (vm == OWNER_OTHER && uuid_parse(buf_str(&r->uuid), &uuid) == 0) {
		d->uuid = memcpy(d->uuid_text, r->uuid.data, sizeof(d->uuid_text));
	}
}

/* Takes the strings along. */
static struct document *make(struct reading *r)
{
	int vm = choose(r);
	size_t n = count_metrics(r, vm);
	struct document *d = allocate(n);

	if (!d)
		return NULL;
	buf_trim(&r->strings);
	d->strings = TAKE_VALUE(r->strings, BUF_INIT);
	add_metrics(d, r, OWNER_HOST, n);
	if (vm != OWNER_HOST)
		add_metrics(d, r, vm, n);
	/* the first of a name is found, and a bad one does not hide a good one */
	for (size_t i = 0; i < n; i++)
		enter(d, i);
	set_identity(d, r, vm);
	return d;
}

int document_new(
	struct buf *xml, const struct identity *own, bool is_own, struct document **ret)
{
	struct reading r = { .own = own, .is_own = is_own || is_marked_own(xml) };
	struct document *d = NULL;

	xml_init(&r.xml, buf_str(xml), xml->len);
	(void)buf_reserve(&r.strings, xml->len / 8); /* about as much as there is */
	buf_addc(&r.strings, '\0'); /* texts that are not there: offset 0 */
	bool is_whole = read_root(&r);

	if (!r.strings.failed && !r.found.failed && !r.word.failed && !r.uuid.failed) {
		if (!is_whole)
			forget(&r);
		d = make(&r);
	}
	buf_done(&r.strings);
	buf_done(&r.found);
	buf_done(&r.word);
	buf_done(&r.uuid);
	if (!d)
		return VHOSTMD_ERR_MEMORY;
	d->is_malformed = !is_whole;
	buf_trim(xml);
	d->xml = TAKE_VALUE(*xml, BUF_INIT);
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
	buf_done(&d->strings);
	free(d);
}

const struct vhostmd_metric *document_find(
	const struct document *d, metric_context context, const char *name)
{
	uint32_t i = *bucket_of(d, hash_of(d->seed, context, name), context, name);

	return i ? &d->metrics[i - 1] : NULL;
}
