/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's XML, for the daemon and for vhostmdctl. */
#include <stdlib.h>
#include <string.h>

#include "collect/libvirt/domain_xml.h"
#include "devices.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"

/* What it has to be given, it has then. */
static void look_for_devices(const char *text, size_t size)
{
	static const char uuid[] = "6be3fdb8-bef5-6fec-b1b7-e61bbceab708";
	static const struct devices_of of = { .mount = "/run/vhostmd",
		.shared = "/dev/shm/vhostmd0",
		.uuid = uuid,
		.bus = "virtio" };
	_cleanup_devices_ struct devices d = { 0 };

	if (devices_find(text, size, &of, &d) < 0)
		return;
	_cleanup_free_ char *more =
		devices_disk_xml("/run/vhostmd", uuid, "virtio", &d, NULL);

	if (d.taken >> 26 || (!more && d.taken != (1u << 26) - 1))
		abort();
}

static struct spec_set *metadata(void)
{
#define NOVA "{http://openstack.org/xmlns/libvirt/nova/1.1}instance"
	static const char *const keys[] = { NOVA "/name", NOVA "/flavor/@name",
		NOVA "/flavor/memory", NOVA "/owner/project", "{a}b" };
	struct spec_set *specs = spec_set_new(ARRAY_LEN(keys));

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		specs->specs[i].element = xstrdup(keys[i]);
	return specs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_description_ struct description *domain = description_new();

	static struct spec_set *specs;

	if (!specs)
		specs = metadata();
	look_for_devices(text, strlen(text));
	if (domain_xml_parse(text, "org.github.vhostmd.1", specs, domain) < 0)
		return 0;
	size_t bytes = 0;

	for (size_t i = 0; i < domain->n_metadata; i++)
		bytes +=
			domain->metadata[i].value ? strlen(domain->metadata[i].value) : 0;
	if (domain->n_nics > LIMIT_DOMAIN_DEVICES ||
		domain->n_disks > LIMIT_DOMAIN_DEVICES || domain->n_metadata > specs->n ||
		bytes > LIMIT_METADATA_BYTES)
		abort();
	return 0;
}
