/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vhostmdctl finds in a domain's XML, and adds to it. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "foreign/foreign.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define UUID "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define OTHER "00000000-0000-0000-0000-000000000001"

static int find(const char *devices, const char *bus, struct devices *ret)
{
	_cleanup_free_ char *xml =
		xasprintf("<domain><devices>%s</devices></domain>", devices);

	const struct devices_of of = { .mount = "/run/vhostmd",
		.shared = "/dev/shm/vhostmd0",
		.uuid = UUID,
		.bus = bus };

	return devices_find(xml, strlen(xml), &of, ret);
}

static char *disk(const char *file, const char *target)
{
	return xasprintf("<disk type='file' device='disk'><source file='%s'/>"
			 "<target dev='%s' bus='virtio'/></disk>",
		file, target);
}

static void a_vms_own_devices_are_found(void **state)
{
	(void)state;
	_cleanup_free_ char *own = disk("/run/vhostmd/disk/" UUID ".img", "vdq");
	_cleanup_free_ char *root = disk("/var/lib/libvirt/images/a.img", "vda");
	_cleanup_free_ char *all =
		xasprintf("%s<channel type='unix'><target type='virtio' "
			  "name='org.qemu.guest_agent.0'/></channel>%s"
			  "<channel type='unix'><target type='virtio' "
			  "name='org.github.vhostmd.1'/></channel>",
			root, own);
	_cleanup_devices_ struct devices d = { 0 };

	assert_int_equal(find(all, "virtio", &d), 0);
	assert_string_equal(d.target[DEVICE_DISK], "vdq");
	assert_string_equal(d.target[DEVICE_CHANNEL], "org.github.vhostmd.1");
	assert_non_null(strstr(d.xml[DEVICE_DISK], "/disk/" UUID ".img"));
	assert_null(strstr(d.xml[DEVICE_DISK], "a.img"));
	assert_non_null(strstr(d.xml[DEVICE_CHANNEL], "vhostmd.1"));
	assert_null(strstr(d.xml[DEVICE_CHANNEL], "guest_agent"));
	assert_null(d.image);
	assert_int_equal(d.taken, 1u | 1u << ('q' - 'a'));
}

static void others_disks_are_not_its_own(void **state)
{
	(void)state;
	static const char *const files[] = { "/run/vhostmd/disk/" OTHER ".img",
		"/run/vhostmd/disk/vhostmd0.img", "/dev/shm/vhostmd0" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		_cleanup_free_ char *xml = disk(files[i], "vdb");
		_cleanup_devices_ struct devices d = { 0 };

		assert_int_equal(find(xml, "virtio", &d), 0);
		assert_null(d.xml[DEVICE_DISK]);
		assert_string_equal(d.image, files[i]);
	}
}

static void what_is_no_domain_is_refused(void **state)
{
	(void)state;
	static const char *const texts[] = { "", "<", "<network/>", "<domain>",
		"<!DOCTYPE domain [<!ENTITY a 'b'>]><domain>&a;</domain>" };
	static const struct devices_of any = {
		.mount = "/run/vhostmd", .uuid = UUID, .bus = "virtio"
	};
	_cleanup_devices_ struct devices d = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(
			devices_find(texts[i], strlen(texts[i]), &any, &d), -EINVAL);
	/* and one without anything is one without devices */
	assert_int_equal(devices_find("<domain/>", 9, &any, &d), 0);
	devices_done(&d);
	assert_int_equal(
		find("<disk/><channel/><disk><source/><target/></disk>", "virtio", &d),
		0);
	assert_null(d.xml[DEVICE_DISK]);
}

static void a_new_disk_has_a_name_of_its_own(void **state)
{
	(void)state;
	struct devices live = { 0 }, config = { 0 };
	_cleanup_free_ char *first =
		devices_disk_xml("/run/vhostmd", UUID, "virtio", &live, NULL);

	assert_non_null(strstr(first, "<target dev='vdz' bus='virtio'/>"));
	assert_non_null(strstr(first, "<serial>vhostmd</serial>"));
	assert_null(strstr(first, "wwn"));
	/* of neither description */
	live.taken = 1u << 25;
	config.taken = 1u << 24;
	_cleanup_free_ char *next =
		devices_disk_xml("/run/vhostmd", UUID, "virtio", &live, &config);

	assert_non_null(strstr(next, "<target dev='vdx' bus='virtio'/>"));
	live.taken = (1u << 26) - 1;
	assert_null(devices_disk_xml("/run/vhostmd", UUID, "virtio", &live, NULL));
	/* what is on another bus has another row of names */
	_cleanup_free_ char *taken = disk("/a", "vdz");
	_cleanup_devices_ struct devices d = { 0 };

	assert_int_equal(find(taken, "scsi", &d), 0);
	assert_int_equal(d.taken, 0);
	_cleanup_free_ char *scsi =
		devices_disk_xml("/run/vhostmd", UUID, "scsi", &d, NULL);

	assert_non_null(strstr(scsi, "<target dev='sdz' bus='scsi'/>"));
	assert_non_null(strstr(scsi, "<wwn>5"));
	assert_null(devices_prefix("ide"));
}

/* What is written is found again, whatever the mount is called. */
static void what_is_added_is_found(void **state)
{
	(void)state;
	const char *mount = "/run/a&b<c'd\"e";
	struct devices none = { 0 };
	_cleanup_free_ char *text = devices_disk_xml(mount, UUID, "sata", &none, NULL);
	_cleanup_free_ char *channel = devices_channel_xml();
	_cleanup_free_ char *xml =
		xasprintf("<domain><devices>%s%s</devices></domain>", text, channel);
	_cleanup_devices_ struct devices d = { 0 };

	const struct devices_of of = { .mount = mount, .uuid = UUID, .bus = "sata" };

	assert_int_equal(devices_find(xml, strlen(xml), &of, &d), 0);
	assert_string_equal(d.target[DEVICE_DISK], "sdz");
	assert_non_null(d.xml[DEVICE_CHANNEL]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vms_own_devices_are_found),
		cmocka_unit_test(others_disks_are_not_its_own),
		cmocka_unit_test(what_is_no_domain_is_refused),
		cmocka_unit_test(a_new_disk_has_a_name_of_its_own),
		cmocka_unit_test(what_is_added_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
