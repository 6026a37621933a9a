/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/libvirt/domain_xml.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/unit.h"
#include "foreign/foreign.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

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
	_cleanup_free_ char *symbol = node ? foreign_attribute(node, "unit") : NULL;
	const struct unit *unit = unit_find(symbol ? symbol : "KiB");
	struct value v = value_u64(element_u64(node));

	/* larger ones stand for "unlimited" (libvirt: VIR_DOMAIN_MEMORY_PARAM_UNLIMITED) */
	if (!unit || unit_convert(&v, unit, unit_find("KiB"), &v) < 0 ||
		v.u >= UINT64_C(9007199254740991))
		return 0;
	return v.u;
}

static void read_limits(xmlNode *root, struct description *ret)
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
		xmlNode *node = foreign_find_child(
			foreign_find_child(root, elements[i].parent), elements[i].child);

		ret->limits[elements[i].key] = !strcmp(elements[i].parent, "memtune")
			? element_kib(node)
			: element_u64(node);
	}
	ret->limits[DOMAIN_MEMORY] = element_kib(foreign_find_child(root, "memory"));
	ret->memory_now_kib = element_kib(foreign_find_child(root, "currentMemory"));
	ret->vcpus_max = element_u64(foreign_find_child(root, "vcpu"));
}

/* <target dev='vnet0'/> */
static char *target_of(xmlNode *device)
{
	xmlNode *target = foreign_find_child(device, "target");

	return target ? foreign_attribute(target, "dev") : NULL;
}

/* <interface type='bridge'><target dev='vnet0'/></interface> */
static void read_nic(xmlNode *node, struct description *ret)
{
	if (ret->n_nics == LIMIT_DOMAIN_DEVICES)
		return;
	ret->nics = xreallocarray(ret->nics, ret->n_nics + 1, sizeof(*ret->nics));
	ret->nics[ret->n_nics++] = target_of(node);
}

static bool attribute_is(xmlNode *node, const char *name, const char *value)
{
	_cleanup_free_ char *said = foreign_attribute(node, name);

	return said && !strcmp(said, value);
}

/*
 * <disk type='block'><source dev='/dev/vg/lv'/></disk>, the whole of it.  Of what a guest does to
 * a 'lun' by SCSI commands the kernel counts nothing.
 */
static char *device_of(xmlNode *disk)
{
	xmlNode *source = foreign_find_child(disk, "source");

	if (!source || !attribute_is(disk, "type", "block") ||
		attribute_is(disk, "device", "lun") ||
		foreign_find_child(source, "slices"))
		return NULL;
	return foreign_attribute(source, "dev");
}

/* <disk><target dev='vda'/><iotune><total_bytes_sec>10000000</total_bytes_sec></iotune></disk> */
static void read_disk(xmlNode *node, struct description *ret)
{
#define IOTUNE_ELEMENT(key, name, element, ...) [IOTUNE_##key] = (element),
	static const char *const elements[] = { IOTUNE_SOURCES(IOTUNE_ELEMENT) };
#undef IOTUNE_ELEMENT
	static_assert(ARRAY_LEN(elements) == IOTUNE_KEY_COUNT, "an element for each key");
	xmlNode *iotune = foreign_find_child(node, "iotune");

	if (ret->n_disks == LIMIT_DOMAIN_DEVICES)
		return;
	ret->disks = xreallocarray(ret->disks, ret->n_disks + 1, sizeof(*ret->disks));
	struct description_disk *disk = &ret->disks[ret->n_disks++];

	disk->target = target_of(node);
	disk->device = device_of(node);
	for (size_t i = 0; i < ARRAY_LEN(elements); i++)
		disk->iotune[i] = element_u64(foreign_find_child(iotune, elements[i]));
}

/* <channel type='unix'><source path=''/><target type='virtio' name=''/></channel> */
static void read_channel(xmlNode *node, const char *wanted, struct description *ret)
{
	xmlNode *target = foreign_find_child(node, "target");
	_cleanup_free_ char *name = target ? foreign_attribute(target, "name") : NULL;
	xmlNode *source = foreign_find_child(node, "source");

	if (!ret->channel_path && name && source && !strcmp(name, wanted))
		ret->channel_path = foreign_attribute(source, "path");
}

/* ---- metadata ---- */

static bool is_of_namespace(const xmlNode *node, const xmlNs *ns)
{
	return node->type == XML_ELEMENT_NODE && node->ns && ns &&
		xmlStrEqual(node->ns->href, ns->href);
}

/* A line: white space of any length is one space, and none at the ends. */
static void add_line(const char *text, struct strbuf *out)
{
	for (bool gap = false; *text; text++) {
		if (strchr(" \t\r\n", *text)) {
			gap = out->len > 0;
			continue;
		}
		if (gap)
			strbuf_addc(out, ' ');
		gap = false;
		strbuf_addc(out, *text);
	}
}

struct metadata {
	struct description *ret;
	struct strbuf key;
	size_t bytes; /* of the values so far */
};

static void look_for(const struct spec_set *specs, struct description *ret)
{
	for (size_t i = 0; specs && i < specs->n; i++) {
		const char *key = specs->specs[i].element;

		if (!key || description_metadata(ret, key))
			continue;
		ret->metadata = xreallocarray(
			ret->metadata, ret->n_metadata + 1, sizeof(*ret->metadata));
		ret->metadata[ret->n_metadata++] =
			(struct description_metadata){ .key = xstrdup(key) };
	}
}

/* That of m->key, if somebody asks for it and it is the first. */
static struct description_metadata *wanted(const struct metadata *m)
{
	struct description_metadata *found =
		description_metadata(m->ret, strbuf_str(&m->key));

	return found && !found->value ? found : NULL;
}

static void take_value(
	struct metadata *m, struct description_metadata *found, xmlChar *text)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;

	add_line(text ? (const char *)text : "", &value);
	xmlFree(text);
	if (m->bytes + value.len > LIMIT_METADATA_BYTES)
		return;
	m->bytes += value.len;
	found->value = strbuf_steal(&value);
}

/* What @node adds to the key is taken away again. */
static void read_metadata(struct metadata *m, xmlNode *node, unsigned depth)
{
	struct description_metadata *found;
	size_t len = m->key.len;
	bool is_leaf = true;

	if (depth == LIMIT_METADATA_DEPTH)
		return;
	strbuf_addf(&m->key, "%s%s", depth ? "/" : "", (const char *)node->name);
	for (xmlNode *child = node->children; child; child = child->next) {
		is_leaf &= child->type != XML_ELEMENT_NODE;
		if (is_of_namespace(child, node->ns))
			read_metadata(m, child, depth + 1);
	}
	found = is_leaf ? wanted(m) : NULL;
	if (found)
		take_value(m, found, xmlNodeGetContent(node));
	for (xmlAttr *a = node->properties; a; a = a->next) {
		size_t before = m->key.len;

		if (a->ns)
			continue;
		strbuf_addf(&m->key, "/@%s", (const char *)a->name);
		found = wanted(m);
		if (found)
			take_value(m, found,
				xmlNodeListGetString(node->doc, a->children, 1));
		strbuf_cut(&m->key, before);
	}
	strbuf_cut(&m->key, len);
}

/* <metadata><nova:instance xmlns:nova=''><nova:flavor name=''/></nova:instance></metadata> */
static void read_all_metadata(xmlNode *parent, struct description *ret)
{
	struct metadata m = { .ret = ret };

	if (!parent || !ret->n_metadata)
		return;
	for (xmlNode *node = parent->children; node; node = node->next) {
		if (node->type != XML_ELEMENT_NODE || !node->ns)
			continue;
		strbuf_addf(&m.key, "{%s}", (const char *)node->ns->href);
		read_metadata(&m, node, 0);
		strbuf_clear(&m.key);
	}
	strbuf_done(&m.key);
}

int domain_xml_parse(const char *xml, const char *channel, const struct spec_set *specs,
	struct description *ret)
{
	_cleanup_doc_ xmlDoc *doc = foreign_doc_parse(xml, strlen(xml));
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	xmlNode *devices = foreign_find_child(root, "devices");

	if (!root)
		return -EINVAL;
	read_limits(root, ret);
	look_for(specs, ret);
	read_all_metadata(foreign_find_child(root, "metadata"), ret);
	for (xmlNode *node = devices ? devices->children : NULL; node;
		node = node->next) {
		if (foreign_is_element(node, "interface"))
			read_nic(node, ret);
		else if (foreign_is_element(node, "disk"))
			read_disk(node, ret);
		else if (foreign_is_element(node, "channel"))
			read_channel(node, channel, ret);
	}
	return 0;
}
