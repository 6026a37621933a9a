/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reading.h"

#include <string.h>
#include <strings.h>

#include "util/cleanup.h"

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
static uint32_t end_string(struct reading *r, size_t start)
{
	if (r->strings.failed)
		return 0;
	struct slice s = slice_trim(
		(struct slice){ r->strings.data + start, r->strings.len - start });

	start = (size_t)(s.at - r->strings.data);
	r->strings.len = start + s.len;
	buf_addc(&r->strings, '\0'); /* which may move them */
	return (uint32_t)start;
}

/* Adds a text that means what it says. */
static uint32_t keep_text(struct reading *r, struct slice text)
{
	struct slice s = slice_trim(text);
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
	struct found f = {
		.owner = m->owner, .type = m->type, .unit = m->unit, .is_usual = is_usual
	};
	bool has_name = is_usual, has_text = is_usual;

	if (is_usual) {
		f.name = keep_text(r, texts[0]);
		f.text = (uint32_t)(texts[1].at - r->start);
		f.len = (uint32_t)texts[1].len;
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

/* Whatever was found before a mistake counts for nothing. */
static void forget(struct reading *r)
{
	r->found.len = 0;
	r->has_vm = false;
	r->known = 0;
}

int reading_init(
	struct reading *r, const struct buf *xml, const struct identity *own, bool is_own)
{
	*r = (struct reading){ .start = buf_str(xml), .own = own, .is_own = is_own };
	xml_init(&r->xml, r->start, xml->len);
	(void)buf_reserve(&r->strings, xml->len / 8); /* about as much as there is */
	buf_addc(&r->strings, '\0'); /* texts that are not there: offset 0 */
	r->is_whole = read_root(r);
	if (!r->is_whole)
		forget(r);
	return r->strings.failed || r->found.failed || r->word.failed || r->uuid.failed
		? VHOSTMD_ERR_MEMORY
		: 0;
}

void reading_done(struct reading *r)
{
	buf_done(&r->strings);
	buf_done(&r->found);
	buf_done(&r->word);
	buf_done(&r->uuid);
}

const struct found *reading_found(const struct reading *r, size_t *ret_n)
{
	*ret_n = r->found.len / sizeof(struct found);
	return (const struct found *)(const void *)r->found.data;
}

int reading_choose(const struct reading *r)
{
	if (r->known)
		return r->known & (r->known - 1) ? OWNER_HOST : __builtin_ctz(r->known);
	return r->has_vm && r->is_own && !r->several ? OWNER_OTHER : OWNER_HOST;
}
