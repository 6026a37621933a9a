/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the host itself is and allows: its kernel, and who may read disks. */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "conf/disk_access.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/parse.h"

#define NSS_BYTES 16384

/* ---- kernel ---- */

#define LINUX(major, minor) ((uint64_t)(major) << 32 | (minor))

static bool version_of(const char *release, uint64_t *ret)
{
	uint64_t major = 0, minor = 0;

	if (parse_u64_at(&release, &major) < 0 || *release++ != '.' ||
		parse_u64_at(&release, &minor) < 0 || major > UINT32_MAX ||
		minor > UINT32_MAX)
		return false;
	*ret = LINUX(major, minor);
	return true;
}

void check_kernel(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = doctor_read(d, "proc/sys/kernel/osrelease", &text);
	uint64_t version = 0;

	if (r < 0 || !version_of(strbuf_str(&text), &version)) {
		doctor_say(d, SEVERITY_WARNING,
			"the version of the kernel is not known: %s",
			r < 0 ? strerror(-r) : strbuf_str(&text));
		doctor_mend(d, "mount -t proc proc /proc");
	} else if (version < LINUX(5, 9)) {
		doctor_say(d, SEVERITY_FAULT,
			"Linux %s is too old for vhostmd: 5.9 is needed",
			strbuf_str(&text));
		doctor_mend(d, "install a newer kernel and boot it");
	} else if (version < LINUX(6, 9)) {
		doctor_say(d, SEVERITY_NOTE,
			"Linux %s does; from 6.9 on the kernel itself repeats what a worker had "
			"read when it ended",
			strbuf_str(&text));
	} else {
		doctor_say(d, SEVERITY_OK, "Linux %s", strbuf_str(&text));
	}
}

/* ---- fuse ---- */

/* True if a line of /proc/filesystems is that one. */
static bool knows_fuse(const struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	doctor_read(d, "proc/filesystems", &text);
	for (const char *at = strbuf_str(&text); (at = strstr(at, "\tfuse")); at += 5)
		if (at[5] == '\n' || !at[5])
			return true;
	return false;
}

void check_fuse(struct doctor *d)
{
	_cleanup_close_ int fd = open_at(d->root_fd, "dev/fuse", O_RDWR | O_NONBLOCK);
	int error = fd < 0 ? errno : 0;
	struct stat st;

	if (error == ENOENT || error == ENODEV || error == ENXIO) {
		doctor_say(d, SEVERITY_FAULT, "/dev/fuse: %s%s", strerror(error),
			knows_fuse(d) ? "" : "; the kernel has no FUSE");
		doctor_mend(d,
			knows_fuse(d) ? "mknod -m 666 /dev/fuse c 10 229"
				      : "modprobe fuse");
		doctor_mend(d, "in a container: have it passed in");
	} else if (error) {
		doctor_say(d, SEVERITY_FAULT, "/dev/fuse cannot be opened: %s",
			strerror(error));
		doctor_mend(d,
			"chmod 666 /dev/fuse; in a container also: allow it the device 10:229");
	} else if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode)) {
		doctor_say(d, SEVERITY_FAULT, "/dev/fuse is no device");
		doctor_mend(d, "rm /dev/fuse; mknod -m 666 /dev/fuse c 10 229");
	} else {
		doctor_say(d, SEVERITY_OK, "/dev/fuse can be used");
	}
}

/* ---- what the kernel tells ---- */

void check_schedstat(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (!doctor_exists(d, "proc/self/schedstat")) {
		doctor_say(d, SEVERITY_WARNING,
			"the kernel does not tell how long vCPUs wait for a processor: "
			"/proc/self/schedstat is missing");
		doctor_mend(d, "boot a kernel with CONFIG_SCHED_INFO");
		return;
	}
	int r = doctor_read(d, "proc/sys/kernel/sched_schedstats", &text);

	if (r == 0 && strcmp(strbuf_str(&text), "0") != 0) {
		doctor_say(d, SEVERITY_OK, "the kernel tells how long vCPUs wait");
		return;
	}
	doctor_say(d, SEVERITY_NOTE,
		"there is no vcpu.*.wait: kernel.sched_schedstats is %s",
		r < 0 ? "not there" : "0");
	doctor_mend(d,
		r < 0 ? "boot a kernel with CONFIG_SCHEDSTATS; vcpu.*.delay tells the same"
		      : "sysctl kernel.sched_schedstats=1; vcpu.*.delay tells the same");
}

void check_pressure(struct doctor *d)
{
	if (doctor_exists(d, "proc/pressure/cpu")) {
		doctor_say(d, SEVERITY_OK, "the kernel tells pressure");
		return;
	}
	doctor_say(d, SEVERITY_NOTE,
		"metrics of pressure do not exist: there is no /proc/pressure");
	doctor_mend(d, "psi=1 on the kernel's command line; it needs CONFIG_PSI");
}

void check_cgroup(struct doctor *d)
{
	static const char *const v1[] = { "sys/fs/cgroup/cpu",
		"sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct",
		"sys/fs/cgroup/memory", "sys/fs/cgroup/systemd" };
	bool hybrid = doctor_exists(d, "sys/fs/cgroup/unified/cgroup.controllers");
	bool has_v1 = false;

	for (size_t i = 0; i < ARRAY_LEN(v1); i++)
		has_v1 |= doctor_exists(d, v1[i]);
	if (doctor_exists(d, "sys/fs/cgroup/cgroup.controllers")) {
		doctor_say(d, SEVERITY_OK, "cgroups are version 2");
	} else if (has_v1 || hybrid) {
		doctor_say(d, SEVERITY_NOTE,
			"cgroups are version 1%s: metrics that only version 2 has do not exist",
			hybrid ? " beside version 2" : "");
		doctor_mend(d,
			"systemd.unified_cgroup_hierarchy=1 on the kernel's command line");
	} else {
		doctor_say(d, SEVERITY_WARNING,
			"no cgroups are mounted: metrics of them do not exist");
		doctor_mend(d, "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
	}
}

/* ---- who may read disks ---- */

static void say_runs_confined(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[64];

	if (!d->keeper)
		return;
	snprintf(path, sizeof(path), "proc/%d/attr/current", (int)d->keeper);
	if (doctor_read(d, path, &text) < 0 || !strstr(strbuf_str(&text), ":vhostmd_t"))
		return;
	doctor_say(d, SEVERITY_FAULT,
		"SELinux holds vhostmd to what the existing program does: it runs as %s",
		strbuf_str(&text));
	doctor_mend(d, "semanage fcontext -a -t bin_t /usr/sbin/vhostmd");
	doctor_mend(d, "restorecon /usr/sbin/vhostmd; systemctl restart vhostmd");
}

void check_selinux(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf enforce = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (doctor_read(d, "sys/fs/selinux/enforce", &enforce) < 0) {
		doctor_say(d, SEVERITY_OK, "SELinux is not in use");
		return;
	}
	bool enforcing = !strcmp(strbuf_str(&enforce), "1");
	int r = doctor_read(d, "sys/fs/selinux/booleans/virt_use_fusefs", &text);

	if (r == 0 && strncmp(strbuf_str(&text), "1", 1) == 0) {
		doctor_say(d, SEVERITY_OK, "SELinux lets VMs read files of FUSE");
	} else if (!enforcing) {
		doctor_say(d, SEVERITY_NOTE,
			"SELinux would keep VMs from their disks, but is permissive");
		doctor_mend(d, "setsebool -P virt_use_fusefs on");
	} else if (r == -ENOENT) {
		doctor_say(d, SEVERITY_NOTE,
			"SELinux enforces a policy that has no boolean virt_use_fusefs");
		doctor_mend(d,
			"ausearch -m avc -c qemu  (says whether VMs are kept from their disks)");
	} else if (r < 0) {
		doctor_say(d, SEVERITY_NOTE,
			"SELinux cannot be asked for virt_use_fusefs: %s", strerror(-r));
		doctor_mend(d, "getsebool virt_use_fusefs");
	} else {
		doctor_say(d, SEVERITY_FAULT, "SELinux keeps VMs from their disks");
		doctor_mend(d, "setsebool -P virt_use_fusefs on");
	}
	say_runs_confined(d);
}

void check_apparmor(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	doctor_read(d, "sys/module/apparmor/parameters/enabled", &text);
	if (!strcmp(strbuf_str(&text), "Y"))
		doctor_say(d, SEVERITY_OK,
			"AppArmor is on: libvirt lets each QEMU read the disks of its domain");
	else
		doctor_say(d, SEVERITY_OK, "AppArmor is not in use");
}

static void say_group(struct doctor *d, gid_t gid, mode_t mode, const char *why)
{
	char buf[NSS_BYTES];
	struct group group, *found = NULL;

	getgrgid_r(gid, &group, buf, sizeof(buf), &found);
	if (found)
		doctor_say(d, SEVERITY_OK, "disks have the group %s and mode %04o (%s)",
			found->gr_name, (unsigned)mode, why);
	else
		doctor_say(d, SEVERITY_OK, "disks have the group %u and mode %04o (%s)",
			(unsigned)gid, (unsigned)mode, why);
}

void check_disk_readers(struct doctor *d)
{
	const struct conf none = { 0 };
	const struct conf *conf = d->conf ? d->conf : &none;
	struct disk_access access;

	if (d->conf && !(d->conf->transports & TRANSPORT_VBD)) {
		doctor_say(d, SEVERITY_OK,
			"there are no disks: the configuration has no vbd");
		return;
	}
	disk_access_find(d->root_fd, &access);
	mode_t mode = disk_access_mode(&access, conf);

	if (access.known || conf->has_disk_gid) {
		say_group(d, disk_access_gid(&access, conf), mode,
			conf->has_disk_gid ? "the configuration says so" : access.why);
	} else if (!(mode & S_IROTH)) {
		doctor_say(d, SEVERITY_FAULT,
			"disks have mode %04o, but QEMU's group is not known: %s",
			(unsigned)mode, access.why);
		doctor_mend(d, "<disk><group>GROUP</group></disk> in %s",
			d->options->conf_file);
	} else if (d->real && geteuid() != 0 &&
		!doctor_exists(d, "etc/libvirt/qemu.conf")) {
		doctor_say(d, SEVERITY_NOTE, "who may read disks only root can find out");
		doctor_mend(d, "run this as root");
	} else {
		doctor_say(d,
			doctor_exists(d, "etc/libvirt") ? SEVERITY_WARNING
							: SEVERITY_NOTE,
			"anybody on the host may read disks, as QEMU's group is not known: %s",
			access.why);
		doctor_mend(d, "<disk><group>GROUP</group></disk> in %s",
			d->options->conf_file);
	}
}
