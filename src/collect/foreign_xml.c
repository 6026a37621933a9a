/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/foreign_xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "core/unit.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

static void xmlFreeDoc_p(xmlDoc **doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}
#define _cleanup_doc_ _cleanup_(xmlFreeDoc_p)

static void ignore_error(void *data, xmlErrorPtr error)
{
	(void)data;
	(void)error;
}

/* Entities would need a DOCTYPE, which neither actions nor libvirt have cause to print. */
static xmlDoc *parse_quietly(const char *text, size_t len)
{
	xmlSetStructuredErrorFunc(NULL, ignore_error);
	xmlDoc *doc = xmlReadMemory(
		text, (int)len, "input.xml", NULL, XML_PARSE_NONET | XML_PARSE_NOCDATA);
	xmlSetStructuredErrorFunc(NULL, NULL);

	if (doc && doc->intSubset) {
		xmlFreeDoc(doc);
		return NULL;
	}
	return doc;
}

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && !strcmp((const char *)node->name, name);
}

static xmlNode *find_child(xmlNode *parent, const char *name)
{
	for (xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
		if (is_element(node, name))
			return node;
	return NULL;
}

/* The attribute as memory of malloc's; NULL if absent. */
static char *attribute(xmlNode *node, const char *name)
{
	xmlChar *value = xmlGetProp(node, (const xmlChar *)name);
	char *copy = value ? xstrdup((const char *)value) : NULL;

	xmlFree(value);
	return copy;
}

/* The trimmed text of a child element; NULL if there is no such child. */
static char *child_text(xmlNode *parent, const char *name)
{
	xmlNode *node = find_child(parent, name);
	xmlChar *content = node ? xmlNodeGetContent(node) : NULL;
	_cleanup_free_ char *copy = content ? xstrdup((const char *)content) : NULL;

	xmlFree(content);
	return copy ? xstrdup(str_trim(copy)) : NULL;
}

static bool has_unknown_child(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child; child = child->next)
		if (child->type == XML_ELEMENT_NODE && !is_element(child, "name") &&
			!is_element(child, "value"))
			return true;
	return false;
}

static int fail(struct strbuf *why, const char *what, const char *detail)
{
	strbuf_addf(why, "%s%s%s%s", what, detail ? " '" : "", detail ? detail : "",
		detail ? "'" : "");
	return -EINVAL;
}

static int read_metric(xmlNode *node, const char *context, const char *uuid,
	struct foreign_metric *ret, struct strbuf *why)
{
	_cleanup_free_ char *type_text = attribute(node, "type");
	_cleanup_free_ char *own_context = attribute(node, "context");
	_cleanup_free_ char *own_uuid = attribute(node, "uuid");
	enum metric_type type;

	ret->name = child_text(node, "name");
	ret->text = child_text(node, "value");
	ret->unit = attribute(node, "unit");
	if (!ret->name || !*ret->name || strlen(ret->name) > LIMIT_NAME_BYTES)
		return fail(why, "a <metric> has no <name>, or too long a one", NULL);
	if (!ret->text)
		return fail(why, "no <value> in metric", ret->name);
	if (has_unknown_child(node))
		return fail(why, "more than <name> and <value> in metric", ret->name);
	if (!type_text || metric_type_parse(type_text, &type) < 0)
		return fail(why, "unknown type", type_text ? type_text : "");
	if (own_context && strcmp(own_context, context) != 0)
		return fail(why, "a metric is of another context", own_context);
	if (own_uuid && (!uuid || strcasecmp(own_uuid, uuid) != 0))
		return fail(why, "a metric is of another VM", own_uuid);
	if (value_parse(type, ret->text, ret->unit, &ret->value) < 0) {
		strbuf_addf(why, "the value of '%s' is no %s", ret->name, type_text);
		return -EINVAL;
	}
	return 0;
}

int foreign_metrics_parse(const char *text, size_t len, const char *context,
	const char *uuid, struct foreign_metric **ret, size_t *ret_n, struct strbuf *why)
{
	_cleanup_strbuf_ struct strbuf wrapped = STRBUF_INIT;
	size_t n = 0, cap = 0;
	int r = 0;

	if (!utf8_valid(text, len))
		return fail(why, "the output is not UTF-8", NULL);
	/* One root for several elements; an XML declaration cannot stand inside it. */
	if (len >= 5 && !strncmp(text, "<?xml", 5)) {
		const char *end = memmem(text, len, "?>", 2);

		if (end) {
			len -= (size_t)(end + 2 - text);
			text = end + 2;
		}
	}
	strbuf_adds(&wrapped, "<output>");
	strbuf_add(&wrapped, text, len);
	strbuf_adds(&wrapped, "</output>");
	_cleanup_doc_ xmlDoc *doc = parse_quietly(wrapped.data, wrapped.len);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;

	if (!root)
		return fail(why, "the output is not well-formed XML", NULL);
	xmlNode *inner = find_child(root, "metrics");
	struct foreign_metric *metrics = NULL;

	for (xmlNode *node = (inner ? inner : root)->children; node && r == 0;
		node = node->next) {
		if (node->type == XML_TEXT_NODE && xmlIsBlankNode(node))
			continue;
		if (node->type == XML_COMMENT_NODE)
			continue;
		if (!is_element(node, "metric") || n == LIMIT_ACTION_XML_METRICS) {
			r = fail(why, "the output holds more than <metric> elements",
				NULL);
			break;
		}
		metrics = xgrow(metrics, n, &cap, sizeof(*metrics));
		metrics[n] = (struct foreign_metric){ 0 };
		r = read_metric(node, context, uuid, &metrics[n++], why);
	}
	if (r == 0 && !n)
		r = fail(why, "the output holds no <metric>", NULL);
	if (r < 0) {
		foreign_metrics_free(metrics, n);
		return r;
	}
	*ret = metrics;
	*ret_n = n;
	return 0;
}

void foreign_metrics_free(struct foreign_metric *metrics, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(metrics[i].name);
		free(metrics[i].unit);
		free(metrics[i].text);
	}
	free(metrics);
}

/* ---- domain XML ---- */

/* The number in an element's text, 0 if there is none; libvirt's "-1" is no limit, too. */
static uint64_t element_u64(xmlNode *node)
{
	xmlChar *content = node ? xmlNodeGetContent(node) : NULL;
	uint64_t v = 0;

	if (content && parse_u64(str_trim((char *)content), &v) < 0)
		v = 0;
	xmlFree(content);
	return v;
}

/* The same in KiB, which libvirt prints, and the default of what people write. */
static uint64_t element_kib(xmlNode *node)
{
	_cleanup_free_ char *symbol = node ? attribute(node, "unit") : NULL;
	const struct unit *unit = unit_find(symbol ? symbol : "KiB");
	struct value v = value_u64(element_u64(node));

	/* larger ones stand for "unlimited" (libvirt: VIR_DOMAIN_MEMORY_PARAM_UNLIMITED) */
	if (!unit || unit_convert(&v, unit, unit_find("KiB"), &v) < 0 ||
		v.u >= UINT64_C(9007199254740991))
		return 0;
	return v.u;
}

static void read_limits(xmlNode *root, struct foreign_domain *ret)
{
	static const struct {
		const char *parent, *child;
		enum domain_key key;
	} elements[] = {
		{ "cputune", "shares", DOMAIN_CPUTUNE_SHARES },
		{ "cputune", "period", DOMAIN_CPUTUNE_PERIOD },
		{ "cputune", "quota", DOMAIN_CPUTUNE_QUOTA },
		{ "cputune", "global_period", DOMAIN_CPUTUNE_GLOBAL_PERIOD },
		{ "cputune", "global_quota", DOMAIN_CPUTUNE_GLOBAL_QUOTA },
		{ "cputune", "emulator_period", DOMAIN_CPUTUNE_EMULATOR_PERIOD },
		{ "cputune", "emulator_quota", DOMAIN_CPUTUNE_EMULATOR_QUOTA },
		{ "memtune", "hard_limit", DOMAIN_MEMTUNE_HARD_LIMIT },
		{ "memtune", "soft_limit", DOMAIN_MEMTUNE_SOFT_LIMIT },
		{ "memtune", "swap_hard_limit", DOMAIN_MEMTUNE_SWAP_HARD_LIMIT },
		{ "memtune", "min_guarantee", DOMAIN_MEMTUNE_MIN_GUARANTEE },
	};

	for (size_t i = 0; i < ARRAY_LEN(elements); i++) {
		xmlNode *node = find_child(
			find_child(root, elements[i].parent), elements[i].child);

		ret->limits[elements[i].key] = !strcmp(elements[i].parent, "memtune")
			? element_kib(node)
			: element_u64(node);
	}
	ret->limits[DOMAIN_MEMORY] = element_kib(find_child(root, "memory"));
	ret->memory_now_kib = element_kib(find_child(root, "currentMemory"));
	ret->vcpus_max = element_u64(find_child(root, "vcpu"));
}

/* <interface type='bridge'><target dev='vnet0'/></interface> */
static void read_nic(xmlNode *node, struct foreign_domain *ret)
{
	xmlNode *target = find_child(node, "target");

	if (ret->n_nics == LIMIT_DOMAIN_DEVICES)
		return;
	ret->nics = xreallocarray(ret->nics, ret->n_nics + 1, sizeof(*ret->nics));
	ret->nics[ret->n_nics++] = target ? attribute(target, "dev") : NULL;
}

/* <disk><iotune><total_bytes_sec>10000000</total_bytes_sec></iotune></disk> */
static void read_disk(xmlNode *node, struct foreign_domain *ret)
{
#define IOTUNE_ELEMENT(key, name, element, ...) [IOTUNE_##key] = (element),
	static const char *const elements[] = { IOTUNE_SOURCES(IOTUNE_ELEMENT) };
#undef IOTUNE_ELEMENT
	xmlNode *iotune = find_child(node, "iotune");

	if (ret->n_disks == LIMIT_DOMAIN_DEVICES)
		return;
	ret->disks = xreallocarray(ret->disks, ret->n_disks + 1, sizeof(*ret->disks));
	struct foreign_disk *disk = &ret->disks[ret->n_disks++];

	for (size_t i = 0; i < ARRAY_LEN(elements); i++)
		disk->iotune[i] = element_u64(find_child(iotune, elements[i]));
}

/* <channel type='unix'><source path=''/><target type='virtio' name=''/></channel> */
static void read_channel(xmlNode *node, const char *wanted, struct foreign_domain *ret)
{
	xmlNode *target = find_child(node, "target");
	_cleanup_free_ char *name = target ? attribute(target, "name") : NULL;
	xmlNode *source = find_child(node, "source");

	if (!ret->channel_path && name && source && !strcmp(name, wanted))
		ret->channel_path = attribute(source, "path");
}

int foreign_domain_parse(const char *xml, const char *channel, struct foreign_domain *ret)
{
	_cleanup_doc_ xmlDoc *doc = parse_quietly(xml, strlen(xml));
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	xmlNode *devices = find_child(root, "devices");

	if (!root)
		return -EINVAL;
	*ret = (struct foreign_domain){ 0 };
	read_limits(root, ret);
	for (xmlNode *node = devices ? devices->children : NULL; node;
		node = node->next) {
		if (is_element(node, "interface"))
			read_nic(node, ret);
		else if (is_element(node, "disk"))
			read_disk(node, ret);
		else if (is_element(node, "channel"))
			read_channel(node, channel, ret);
	}
	return 0;
}

void foreign_domain_done(struct foreign_domain *domain)
{
	for (size_t i = 0; i < domain->n_nics; i++)
		free(domain->nics[i]);
	free(domain->nics);
	free(domain->disks);
	free(domain->channel_path);
	*domain = (struct foreign_domain){ 0 };
}
