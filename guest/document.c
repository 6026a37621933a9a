/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "document.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "reading.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/parse.h"

/* ---- making ---- */

/*
 * What documents share that differ in nothing but values: names, units, and where a name is found.
 * Nobody changes it once the first of them is made.
 */
struct form {
	_Atomic unsigned refs;
	struct buf strings;
	char uuid[UUID_TEXT_LEN + 1];
	uint32_t seed;      /* of hashes */
	uint32_t mask;      /* buckets are a power of two */
	uint32_t buckets[]; /* number of a metric plus one; 0: empty */
};

static struct form *form_new(size_t n)
{
	size_t n_buckets = 4;
	struct form *f;

	while (n_buckets < n + n / 2)
		n_buckets *= 2;
	if (n_buckets > UINT32_MAX / 2)
		return NULL;
	f = calloc(1, sizeof(*f) + n_buckets * sizeof(f->buckets[0]));
	if (!f)
		return NULL;
	f->refs = 1;
	f->seed = (uint32_t)clock_mono_ns();
	f->mask = (uint32_t)n_buckets - 1;
	return f;
}

static struct form *form_ref(struct form *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

static void form_unref(struct form *f)
{
	if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	buf_done(&f->strings);
	free(f);
}

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
	struct form *f = d->form;

	for (uint32_t slot = hash & f->mask;; slot = (slot + 1) & f->mask) {
		uint32_t i = f->buckets[slot];
		const struct vhostmd_metric *m = i ? &d->metrics[i - 1] : NULL;

		if (!m ||
			(m->hash == hash && m->context == context &&
				!strcmp(m->name, name)))
			return &f->buckets[slot];
	}
}

/* More is no number that anybody means. */
#define INTEGER_LEN_MAX 63

/* An integer may have a fraction ("12.000000"), which is cut. */
static int read_integer(struct vhostmd_metric *m)
{
	bool is_signed = m->type == M_INT32 || m->type == M_INT64;
	bool is_short = m->type == M_INT32 || m->type == M_UINT32;
	bool negative = is_signed && *m->text == '-';
	const char *at = m->text + negative;
	uint64_t v = 0, max = is_signed ? INT64_MAX : UINT64_MAX;

	if (is_short)
		max >>= 32;
	int r = parse_u64_at(&at, &v);

	if (r < 0)
		return r;
	if (*at == '.' && at[1])
		for (at++; *at >= '0' && *at <= '9';)
			at++;
	if (*at || at - m->text > INTEGER_LEN_MAX)
		return -EINVAL;
	if (v > max + negative)
		return -ERANGE;
	m->value.u = negative ? 0 - v : v; /* which is value.i */
	return 0;
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

/* Copies a value from where it is in @xml to @at.  Return: where the next one goes. */
static char *copy_text(struct vhostmd_metric *m, const char *xml, char *at)
{
	struct slice s = slice_trim((struct slice){ xml + m->at, m->len });

	memcpy(at, s.at, s.len);
	at[s.len] = '\0';
	m->text = at;
	return at + s.len + 1;
}

/*
 * Adds the metrics of one owner: good ones to the front, bad ones to the end, of @n.  @at: where
 * copies of values go.  Return: where the next ones go.
 */
static char *add_metrics(
	struct document *d, const struct reading *r, int owner, size_t n, char *at)
{
	const char *strings = d->form->strings.data;
	size_t n_found;
	const struct found *f = reading_found(r, &n_found);

	for (size_t i = 0; i < n_found; i++) {
		if (f[i].owner != owner)
			continue;
		bool known = f[i].type >= 0;
		struct vhostmd_metric m = { .name = strings + f[i].name,
			.text = f[i].is_usual ? at : strings + f[i].text,
			.unit = strings + f[i].unit,
			.at = f[i].is_usual ? f[i].text : 0,
			.len = f[i].len,
			.context = owner == OWNER_HOST ? METRIC_CONTEXT_HOST
						       : METRIC_CONTEXT_VM,
			.type = (uint8_t)(known ? f[i].type : M_STRING) };

		if (f[i].is_usual)
			at = copy_text(&m, r->start, at);
		m.is_bad = !known || read_value(&m) < 0;
		if (m.is_bad)
			m.text = "";
		m.hash = hash_of(d->form->seed, (metric_context)m.context, m.name);
		d->metrics[m.is_bad ? n - ++d->n_bad : d->n_good++] = m;
	}
	return at;
}

/* How many metrics these owners have, and how much room copies of their values need. */
static size_t count_metrics(const struct reading *r, int vm, size_t *ret_bytes)
{
	size_t n_found, n = 0;
	const struct found *f = reading_found(r, &n_found);

	*ret_bytes = 0;
	for (size_t i = 0; i < n_found; i++) {
		if (f[i].owner != OWNER_HOST && f[i].owner != vm)
			continue;
		n++;
		*ret_bytes += f[i].len + 1;
	}
	return n;
}

/* Without anything in it.  @form: NULL if there was no memory for it; else it moves. */
static struct document *allocate(size_t n, struct form *form)
{
	struct document *d = form ? malloc(sizeof(*d) + n * sizeof(d->metrics[0])) : NULL;

	if (!d) {
		form_unref(form);
		return NULL;
	}
	*d = (struct document){ .refs = 1, .form = form };
	return d;
}

/* Return: whether there is memory for copies of values. */
static bool add_room(struct document *d, size_t bytes)
{
	d->texts = malloc(bytes + 1); /* so that it is never nothing */
	return d->texts;
}

static void set_identity(struct document *d, const struct reading *r, int vm)
{
	struct uuid uuid;

	d->id = d->form->strings.data +
		(vm >= 0                            ? r->ids[vm]
				: vm == OWNER_OTHER ? r->other_id
						    : 0);
	d->is_anonymous = vm == OWNER_HOST && r->has_vm;
	if (vm >= 0) {
		uuid_format(&r->own->uuids[vm], d->form->uuid);
		d->uuid = d->form->uuid;
	} else if (vm == OWNER_OTHER && uuid_parse(buf_str(&r->uuid), &uuid) == 0) {
		d->uuid = memcpy(d->form->uuid, r->uuid.data, sizeof(d->form->uuid));
	}
}

/* True if the values whose place in the XML is known are in its order. */
static bool is_regular(const struct document *d)
{
	uint32_t end = 0;

	for (size_t i = 0; i < d->n_good; i++) {
		const struct vhostmd_metric *m = &d->metrics[i];

		if (m->at && m->at < end)
			return false;
		if (m->at)
			end = m->at + m->len;
	}
	return true;
}

/* Takes the strings along. */
static struct document *make(struct reading *r)
{
	size_t bytes;
	int vm = reading_choose(r);
	size_t n = count_metrics(r, vm, &bytes);
	_cleanup_document_ struct document *d = allocate(n, form_new(n));

	if (!d || !add_room(d, bytes))
		return NULL;
	buf_trim(&r->strings);
	d->form->strings = TAKE_VALUE(r->strings, BUF_INIT);
	char *at = add_metrics(d, r, OWNER_HOST, n, d->texts);

	if (vm != OWNER_HOST)
		(void)add_metrics(d, r, vm, n, at);
	/* the first of a name is found, and a bad one does not hide a good one */
	for (size_t i = 0; i < n; i++)
		enter(d, i);
	set_identity(d, r, vm);
	return TAKE_PTR(d);
}

/* Reads a document from start to end. */
static int read_all(const struct buf *xml, const struct identity *own, bool is_own,
	struct document **ret)
{
	struct reading r;
	int error = reading_init(&r, xml, own, is_own);
	struct document *d = error ? NULL : make(&r);

	reading_done(&r);
	if (!d)
		return VHOSTMD_ERR_MEMORY;
	d->is_malformed = !r.is_whole;
	d->root_end = r.is_whole ? (size_t)(r.xml.root_end - r.start) : 0;
	d->is_regular = r.is_whole && is_regular(d);
	*ret = d;
	return 0;
}

/* ---- other values ---- */

/* Takes @n bytes that are the same in both.  Return: whether they are. */
static bool take_same(struct slice *is, const char *was, size_t n)
{
	if (is->len < n || memcmp(is->at, was, n) != 0)
		return false;
	is->at += n;
	is->len -= n;
	return true;
}

/*
 * Notes in @d's metrics, which are copies of @like's, where their values are in @xml.  Return: false
 * if anything differs from @like but these values and the white space behind the document.
 */
static bool find_values(
	struct document *d, const struct document *like, const struct buf *xml)
{
	struct slice rest = { buf_str(xml), xml->len };
	size_t was = 0; /* so far in what was */

	for (size_t i = 0; i < d->n_good; i++) {
		struct vhostmd_metric *m = &d->metrics[i];
		size_t next = m->at + m->len;

		if (!m->at)
			continue;
		if (!take_same(&rest, like->xml.data + was, m->at - was))
			return false;
		m->at = (uint32_t)(rest.at - xml->data);
		m->len = (uint32_t)xml_plain_text(rest);
		rest.at += m->len;
		rest.len -= m->len;
		was = next;
	}
	if (!take_same(&rest, like->xml.data + was, like->root_end - was))
		return false;
	d->root_end = (size_t)(rest.at - xml->data);
	return strspn(rest.at, " \t\r\n") == rest.len;
}

/* Return: 0; 1: there is a bad one, which has another place among the metrics; or an error. */
static int read_values(struct document *d, const struct buf *xml)
{
	size_t bytes = 0;

	for (size_t i = 0; i < d->n_good; i++)
		bytes += d->metrics[i].len + 1;
	if (!add_room(d, bytes))
		return VHOSTMD_ERR_MEMORY;
	char *at = d->texts;

	for (size_t i = 0; i < d->n_good; i++) {
		if (!d->metrics[i].at)
			continue;
		at = copy_text(&d->metrics[i], xml->data, at);
		if (read_value(&d->metrics[i]) < 0)
			return 1;
	}
	return 0;
}

/* Reads nothing but values.  Return: 0; 1: there is more that is not as in @like; or an error. */
static int read_other_values(
	const struct buf *xml, const struct document *like, struct document **ret)
{
	size_t n = like->n_good + like->n_bad;
	_cleanup_document_ struct document *d = allocate(n, form_ref(like->form));

	if (!d)
		return VHOSTMD_ERR_MEMORY;
	d->uuid = like->uuid;
	d->id = like->id;
	d->is_anonymous = like->is_anonymous;
	d->is_regular = true;
	d->n_good = like->n_good;
	d->n_bad = like->n_bad;
	memcpy(d->metrics, like->metrics, n * sizeof(d->metrics[0]));
	int r = find_values(d, like, xml) ? read_values(d, xml) : 1;

	if (r == 0)
		*ret = TAKE_PTR(d);
	return r;
}

int document_new(struct buf *xml, const struct identity *own, bool is_own,
	const struct document *like, struct document **ret)
{
	bool is_really_own = is_own || disk_is_marked_own(xml);
	struct document *d = NULL;
	int r = 1;

	if (like && like->is_regular && like->is_own == is_really_own)
		r = read_other_values(xml, like, &d);
	if (r == 1)
		r = read_all(xml, own, is_really_own, &d);
	if (r < 0)
		return r;
	d->is_own = is_really_own;
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
	form_unref(d->form);
	buf_done(&d->xml);
	free(d->texts);
	free(d);
}

const struct vhostmd_metric *document_find(
	const struct document *d, metric_context context, const char *name)
{
	uint32_t i = *bucket_of(d, hash_of(d->form->seed, context, name), context, name);

	return i ? &d->metrics[i - 1] : NULL;
}
