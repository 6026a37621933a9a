/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/render_xml.h"
#include "foreign/foreign.h"
#include "util/cleanup.h"
#include "util/hash.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/wire.h"

const char *const device_names[DEVICE_COUNT] = {
	[DEVICE_DISK] = "disk", [DEVICE_CHANNEL] = "channel"
};

static const struct {
	const char *bus, *prefix;
} buses[] = { { "virtio", "vd" }, { "scsi", "sd" }, { "sata", "sd" }, { "usb", "sd" } };

const char *devices_prefix(const char *bus)
{
	for (size_t i = 0; i < ARRAY_LEN(buses); i++)
		if (!strcmp(buses[i].bus, bus))
			return buses[i].prefix;
	return NULL;
}

/* The element as it stands there. */
static char *element_text(xmlDoc *doc, xmlNode *node)
{
	xmlBuffer *buffer = xmlBufferCreate();
	int n = buffer ? xmlNodeDump(buffer, doc, node, 0, 0) : -1;
	char *text = n < 0 ? NULL : xstrdup((const char *)xmlBufferContent(buffer));

	xmlBufferFree(buffer);
	return text;
}

static void take_device(
	struct devices *d, enum device device, xmlDoc *doc, xmlNode *node, char *target)
{
	if (d->xml[device]) { /* a second one: the first is the one that is named */
		free(target);
		return;
	}
	d->xml[device] = element_text(doc, node);
	d->target[device] = target;
}

static void look_at_disk(
	struct devices *d, xmlDoc *doc, xmlNode *disk, const struct devices_of *of)
{
	_cleanup_free_ char *own = xasprintf("%s/disk/%s.img", of->mount, of->uuid);
	_cleanup_free_ char *disks = xasprintf("%s/disk/", of->mount);
	_cleanup_free_ char *file =
		foreign_attribute(foreign_find_child(disk, "source"), "file");
	char *target = foreign_attribute(foreign_find_child(disk, "target"), "dev");
	const char *prefix = devices_prefix(of->bus);
	size_t n = strlen(prefix);

	if (target && !strncmp(target, prefix, n) && target[n] >= 'a' &&
		target[n] <= 'z' && !target[n + 1])
		d->taken |= 1u << (target[n] - 'a');
	if (file && !strcasecmp(file, own))
		take_device(d, DEVICE_DISK, doc, disk, TAKE_PTR(target));
	else if (file && !d->image &&
		(!strncmp(file, disks, strlen(disks)) ||
			(of->shared && !strcmp(file, of->shared))))
		d->image = TAKE_PTR(file);
	free(target);
}

int devices_find(
	const char *xml, size_t len, const struct devices_of *of, struct devices *ret)
{
	_cleanup_doc_ xmlDoc *doc = foreign_doc_parse(xml, len);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	xmlNode *all = foreign_find_child(root, "devices");

	*ret = (struct devices){ 0 };
	if (!root || !foreign_is_element(root, "domain"))
		return -EINVAL;
	for (xmlNode *node = all ? all->children : NULL; node; node = node->next) {
		if (foreign_is_element(node, "disk"))
			look_at_disk(ret, doc, node, of);
		if (!foreign_is_element(node, "channel"))
			continue;
		char *name =
			foreign_attribute(foreign_find_child(node, "target"), "name");

		if (name && !strcmp(name, WIRE_CHANNEL_NAME))
			take_device(ret, DEVICE_CHANNEL, doc, node, TAKE_PTR(name));
		free(name);
	}
	return 0;
}

void devices_done(struct devices *d)
{
	for (size_t i = 0; i < DEVICE_COUNT; i++) {
		free(d->xml[i]);
		free(d->target[i]);
	}
	free(d->image);
	*d = (struct devices){ 0 };
}

char *devices_disk_xml(const char *mount, const char *uuid, const char *bus,
	const struct devices *a, const struct devices *b)
{
	struct strbuf out = STRBUF_INIT;
	unsigned taken = a->taken | (b ? b->taken : 0);
	char letter = 'z';

	while (letter >= 'a' && taken & 1u << (letter - 'a'))
		letter--;
	if (letter < 'a')
		return NULL;
	/* io='threads': the file system knows no native asynchronous reads */
	strbuf_adds(&out,
		"<disk type='file' device='disk'>\n"
		"  <driver name='qemu' type='raw' cache='none' io='threads' error_policy='report' "
		"rerror_policy='report'/>\n"
		"  <source file='");
	render_xml_escape(mount, &out);
	strbuf_addf(&out,
		"/disk/%s.img' startupPolicy='optional'/>\n"
		"  <target dev='%s%c' bus='%s'/>\n"
		"  <readonly/>\n"
		"  <shareable/>\n"
		"  <serial>vhostmd</serial>\n",
		uuid, devices_prefix(bus), letter, bus);
	/* IEEE registered names begin with 5; which vendor's is of no account, but to be one's own */
	if (!strcmp(bus, "scsi") || !strcmp(bus, "sata"))
		strbuf_addf(&out, "  <wwn>5%015" PRIx64 "</wwn>\n",
			siphash24(uuid, strlen(uuid)) >> 4);
	strbuf_adds(&out, "</disk>\n");
	return strbuf_steal(&out);
}

char *devices_channel_xml(void)
{
	return xstrdup("<channel type='unix'>\n"
		       "  <source mode='bind'/>\n"
		       "  <target type='virtio' name='" WIRE_CHANNEL_NAME "'/>\n"
		       "</channel>\n");
}
