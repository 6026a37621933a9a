/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The doctor, on hosts of files that are well but for one thing. */
#include "test.h"
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/time.h>

#include "doctor.h"
#include "util/clock.h"

#define OURS "00000000-0000-0000-0000-000000000001"
#define MOUNTED                                                                          \
	"20 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"                                  \
	"21 20 0:20 / /run rw shared:3 master:1 - tmpfs tmpfs rw\n"                      \
	"30 21 0:50 / /run/vhostmd ro shared:2 - fuse.vhostmd vhostmd ro\n"
#define WELL                                                                             \
	"version: 2.0.0\npid: 200\nuptime_s: 100\ngeneration: 20\nperiod_ms: 5000\n"     \
	"host.age_ms: 1200\nfast.cycles: 20\nfast.overruns: 0\nfast.cycle_us: 300\n"     \
	"vm." OURS ".slow_age_ms: 20\nvm." OURS ".age_ms: 20\nvms: 1\n"
#define CONF                                                                             \
	"<vhostmd><globals><update_period>5</update_period><transport>vbd</transport>"   \
	"%s</globals><metrics></metrics></vhostmd>\n"

/* The server of what is mounted is gone, in children too. */
static int statvfs_fails;

int __real_statvfs64(const char *path, struct statvfs *st);
int __wrap_statvfs64(const char *path, struct statvfs *st);
int __wrap_statvfs64(const char *path, struct statvfs *st)
{
	if (!statvfs_fails)
		return __real_statvfs64(path, st);
	errno = statvfs_fails;
	return -1;
}

struct host {
	struct fixture f;
	char conf[256], pid_file[256], daemon[256];
	int pid_fd; /* holds the pid file locked */
	struct doctor_options options;
	char *out; /* of the last look */
	int result;
};

/* ---- a host that is well ---- */

static void link_to(struct host *h, const char *path, const char *target)
{
	unlinkat(h->f.fd, path, 0);
	fixture_add(&h->f, path, "");
	assert_int_equal(unlinkat(h->f.fd, path, 0), 0);
	assert_int_equal(symlinkat(target, h->f.fd, path), 0);
}

static void take(struct host *h, const char *path)
{
	assert_int_equal(unlinkat(h->f.fd, path, 0), 0);
}

static void set_mode(struct host *h, const char *path, mode_t mode)
{
	assert_int_equal(fchmodat(h->f.fd, path, mode, 0), 0);
}

static void add_process(struct host *h, int pid, int parent, int uid, char state)
{
	char path[64], text[128];

	snprintf(path, sizeof(path), "proc/%d/comm", pid);
	fixture_add(&h->f, path, "vhostmd\n");
	snprintf(path, sizeof(path), "proc/%d/status", pid);
	snprintf(text, sizeof(text),
		"Name:\tvhostmd\nState:\t%c (it)\nPPid:\t%d\nUid:\t%d\t%d\n", state,
		parent, uid, uid);
	fixture_add(&h->f, path, text);
}

static void set_conf(struct host *h, const char *globals)
{
	char text[512];

	snprintf(text, sizeof(text), CONF, globals);
	fixture_add(&h->f, "vhostmd.conf", text);
	/* not changed since the daemon started */
	const struct timeval times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	assert_int_equal(utimes(h->conf, times), 0);
}

/* What the daemon says of the configuration. */
static void set_daemon(struct host *h, const char *says, int status)
{
	char text[1024];

	snprintf(text, sizeof(text), "#!/bin/sh\ncat <<'END'\n%s\nEND\nexit %d\n", says,
		status);
	fixture_add(&h->f, "vhostmd", text);
	set_mode(h, "vhostmd", 0755);
}

static void lock_pid_file(struct host *h)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	h->pid_fd = openat(h->f.fd, "pid", O_RDWR | O_CLOEXEC);
	assert_int_equal(fcntl(h->pid_fd, F_OFD_SETLK, &lock), 0);
}

static void host_init(struct host *h)
{
	static const char *const files[][2] = {
		{ "proc/sys/kernel/osrelease", "6.12.1-amd64\n" },
		{ "proc/filesystems", "nodev\tproc\nnodev\tfuse\n" },
		{ "proc/self/mountinfo", MOUNTED },
		{ "proc/1/mountinfo", MOUNTED },
		{ "proc/self/schedstat", "1 2 3\n" },
		{ "proc/sys/kernel/sched_schedstats", "1\n" },
		{ "proc/pressure/cpu", "some\n" },
		{ "sys/fs/cgroup/cgroup.controllers", "cpu\n" },
		{ "etc/passwd", "root:x:0:0::/:/bin/sh\nvhostmd:x:900:900::/:/bin/sh\n" },
		{ "etc/libvirt/qemu.conf", "group = \"+107\"\n" },
		{ "run/libvirt/libvirt-sock-ro", "" },
		{ "run/vhostmd/status", WELL },
		{ "pid", "100\n" },
	};

	*h = (struct host){ .pid_fd = -1 };
	statvfs_fails = 0;
	fixture_init(&h->f);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		fixture_add(&h->f, files[i][0], files[i][1]);
	set_mode(h, "run/libvirt/libvirt-sock-ro", 0777);
	link_to(h, "dev/fuse", "/dev/null");
	link_to(h, "proc/100/fd/5", "/dev/fuse");
	link_to(h, "run/vhostmd/metrics/vm-by-uuid/" OURS, "../vm/ours");
	add_process(h, 100, 1, 0, 'S');
	add_process(h, 200, 100, 900, 'S');
	snprintf(h->conf, sizeof(h->conf), "%s/vhostmd.conf", h->f.dir);
	snprintf(h->pid_file, sizeof(h->pid_file), "%s/pid", h->f.dir);
	snprintf(h->daemon, sizeof(h->daemon), "%s/vhostmd", h->f.dir);
	set_conf(h, "");
	set_daemon(h, "it does this and that", 0);
	lock_pid_file(h);
	h->options = (struct doctor_options){ .root = h->f.dir,
		.mount = "/run/vhostmd",
		.conf_file = h->conf,
		.pid_file = h->pid_file,
		.daemon = h->daemon,
		.json = true,
		.verbose = true };
}

static void host_done(struct host *h)
{
	close_p(&h->pid_fd);
	free(h->out);
	fixture_done(&h->f);
}

/* ---- what it says ---- */

static void look(struct host *h)
{
	size_t size = 0;

	free(h->out);
	FILE *out = open_memstream(&h->out, &size);

	h->result = doctor_run(&h->options, out);
	fclose(out);
}

/* The @i-th line of what was found by that check; NULL: there are no more. */
static char *line_of(const struct host *h, const char *check, unsigned i)
{
	_cleanup_free_ char *begin = xasprintf("{\"check\": \"%s\", ", check);

	for (const char *at = h->out; (at = strstr(at, begin)); at++)
		if (i-- == 0)
			return xstrndup(at, strcspn(at, "\n"));
	return NULL;
}

/* That one says so, and how to mend it; @mend NULL: nothing is to be mended. */
static void assert_says(struct host *h, const char *check, const char *severity,
	const char *found, const char *mend)
{
	_cleanup_free_ char *word = xasprintf("\"severity\": \"%s\"", severity);
	bool seen = false;

	look(h);
	for (unsigned i = 0; !seen; i++) {
		_cleanup_free_ char *line = line_of(h, check, i);

		if (!line)
			break;
		const char *remedy = strstr(line, "\"remedy\": \"");

		assert_non_null(remedy);
		seen = strstr(line, word) && strstr(line, found) &&
			(mend ? strstr(remedy, mend) != NULL : remedy[11] == '"');
	}
	if (!seen)
		fail_msg("%s does not say '%s' (%s; %s):\n%s", check, found, severity,
			mend ? mend : "-", h->out);
}

/* That the last look found nothing there. */
static void assert_was_well(const struct host *h, const char *check)
{
	_cleanup_free_ char *first = line_of(h, check, 0);

	assert_non_null(first);
	for (unsigned i = 0;; i++) {
		_cleanup_free_ char *line = line_of(h, check, i);

		if (!line)
			return;
		if (!strstr(line, "\"severity\": \"ok\""))
			fail_msg("%s", line);
	}
}

static void assert_well(struct host *h, const char *check)
{
	look(h);
	assert_was_well(h, check);
}

/* ---- JSON ---- */

/* Behind a string of JSON. */
static const char *skip_string(const char *s)
{
	assert_int_equal(*s++, '"');
	for (; *s != '"'; s++) {
		assert_true((unsigned char)*s >= 0x20);
		if (*s != '\\')
			continue;
		if (*++s == 'u')
			assert_int_equal(strspn(s + 1, "0123456789abcdef"), 4);
		else
			assert_non_null(strchr("\"\\", *s));
	}
	return s + 1;
}

static const char *expect(const char *s, const char *text)
{
	if (strncmp(s, text, strlen(text)) != 0)
		fail_msg("expected %s before %s", text, s);
	return s + strlen(text);
}

static void assert_json(const char *s)
{
	static const char *const names[] = { "check", "severity", "found", "remedy" };

	s = expect(s, "[");
	for (bool first = true; *s != ']' && strcmp(s, "\n]\n") != 0; first = false) {
		s = expect(s, first ? "\n{" : ",\n{");
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			s = expect(s, i ? ", \"" : "\"");
			s = expect(expect(s, names[i]), "\": ");
			s = skip_string(s);
		}
		s = expect(s, "}");
	}
}

/* ---- tests ---- */

static const char *const all[] = { "kernel", "fuse", "daemon", "mount", "visible",
	"worker", "user", "other-daemons", "leftovers", "configuration", "reload",
	"figures", "slow", "overruns", "libvirt-socket", "libvirt", "disk-readers",
	"selinux", "apparmor", "shared-disk", "schedstat", "pressure", "cgroup" };

static void a_host_that_is_well_has_no_fault(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	look(&h);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		assert_was_well(&h, all[i]);
	assert_int_equal(h.result, 0);
	assert_json(h.out);
	host_done(&h);
}

static void without_verbose_only_troubles_are_printed(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	h.options.verbose = false;
	take(&h, "proc/pressure/cpu");
	assert_says(&h, "pressure", "note", "/proc/pressure", "psi=1");
	assert_int_equal(h.result, 0);
	assert_null(strstr(h.out, "\"ok\""));
	assert_json(h.out);
	h.options.json = false;
	look(&h);
	assert_non_null(strstr(h.out, "note     metrics of pressure do not exist"));
	assert_non_null(strstr(h.out, "\n         psi=1 on the kernel's command line"));
	assert_null(strstr(h.out, "\nok "));
	h.options.colour = true;
	look(&h);
	assert_non_null(strstr(h.out, "\033[36mnote\033[0m     metrics"));
	host_done(&h);
}

/* A file of the host with another text, and what is said then. */
struct other {
	const char *path, *text; /* NULL: it is not there */
	const char *check, *severity, *found, *mend;
};

static const struct other others[] = {
	{ "proc/sys/kernel/osrelease", "5.8.18\n", "kernel", "fault", "too old",
		"install" },
	{ "proc/sys/kernel/osrelease", "5.9.0\n", "kernel", "note", "6.9", NULL },
	{ "proc/sys/kernel/osrelease", "6.8.12\n", "kernel", "note", "6.9", NULL },
	{ "proc/sys/kernel/osrelease", "6.9\n", "kernel", "ok", "6.9", NULL },
	{ "proc/sys/kernel/osrelease", "odd\n", "kernel", "warning", "odd", "mount" },
	{ "proc/sys/kernel/osrelease", NULL, "kernel", "warning", "not known", "mount" },
	{ "dev/fuse", NULL, "fuse", "fault", "No such file", "mknod" },
	{ "proc/self/schedstat", NULL, "schedstat", "warning", "schedstat",
		"CONFIG_SCHED_INFO" },
	{ "proc/sys/kernel/sched_schedstats", "0\n", "schedstat", "note", "is 0",
		"sysctl kernel.sched_schedstats=1" },
	{ "proc/sys/kernel/sched_schedstats", NULL, "schedstat", "note", "not there",
		"CONFIG_SCHEDSTATS" },
	{ "sys/fs/cgroup/cgroup.controllers", NULL, "cgroup", "warning", "no cgroups",
		"mount -t cgroup2" },
	{ "sys/fs/selinux/booleans/virt_use_fusefs", "0 0", "selinux", "ok", "not in use",
		NULL },
	{ "sys/module/apparmor/parameters/enabled", "Y\n", "apparmor", "ok", "is on",
		NULL },
	{ "etc/passwd", "root:x:0:0::/:/bin/sh\n", "user", "warning", "no user vhostmd",
		"useradd -r vhostmd" },
	{ "etc/libvirt/qemu.conf", "group = \"no-such-group\"\n", "disk-readers",
		"warning", "no-such-group", "<disk><group>" },
	{ "run/libvirt/libvirt-sock-ro", NULL, "libvirt-socket", "warning", "no VM",
		"systemctl start libvirtd" },
	{ "proc/1/mountinfo", NULL, "visible", "note", "root", "as root" },
	{ "proc/1/mountinfo", "20 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n", "visible",
		"fault", "no VM sees", "ProtectSystem=" },
	{ "proc/1/mountinfo",
		"20 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n"
		"21 20 0:20 / /run rw - tmpfs tmpfs rw\n"
		"30 21 0:50 / /run/vhostmd ro - fuse.vhostmd vhostmd ro\n",
		"visible", "warning", "/run is not shared", "mount --make-shared /run" },
	{ "proc/self/mountinfo", "20 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n",
		"visible", "note", "mount namespace", "nsenter" },
	{ "proc/self/mountinfo", "30 1 0:50 / /run/vhostmd ro - tmpfs x rw\n", "mount",
		"fault", "type tmpfs", "umount /run/vhostmd" },
	{ "proc/self/mountinfo",
		MOUNTED "31 30 0:51 / /run/vhostmd ro - fuse.vhostmd x ro\n", "leftovers",
		"warning", "2 times", "umount -l" },
	{ "proc/self/mountinfo", MOUNTED "31 20 0:51 / /a\\040b ro - fuse.vhostmd x ro\n",
		"leftovers", "warning", "mounted on /a b and", "umount" },
	{ "proc/100/attr/current", "system_u:system_r:vhostmd_t:s0", "selinux", "ok",
		"not in use", NULL },
	{ "run/vhostmd/status",
		"pid: 200\nuptime_s: 100\nperiod_ms: 5000\nhost.age_ms: 15001\n",
		"figures", "fault", "15 s old", "restart" },
	{ "run/vhostmd/status",
		"pid: 200\nuptime_s: 100\nperiod_ms: 5000\nhost.age_ms: -1\n", "figures",
		"fault", "no sample", "restart" },
	{ "run/vhostmd/status",
		"pid: 200\nuptime_s: 2\nperiod_ms: 5000\nhost.age_ms: -1\n", "figures",
		"ok", "under way", NULL },
	{ "run/vhostmd/status", WELL "vm." OURS ".age_ms: 15001 stale\n", "figures",
		"warning", "1 VM are not taken any more: ours (" OURS ")",
		"virsh dominfo " OURS },
	{ "run/vhostmd/status", WELL "vm.x.age_ms: 9 stale\nvm..age_ms: 9 stale\n",
		"figures", "ok", "new", NULL },
	{ "run/vhostmd/status", WELL "vm." OURS ".slow_age_ms: 9 silent\n", "slow",
		"warning", "monitor of 1 VM does not answer: ours",
		"virsh domcontrol " OURS },
	{ "run/vhostmd/status", WELL "slow.waiting_ms: 2000\n", "slow", "ok", "no answer",
		NULL },
	{ "run/vhostmd/status", WELL "slow.waiting_ms: 9\nslow.waiting_ms: 7001\n",
		"slow", "warning", "since 7 s", "virsh list" },
	{ "run/vhostmd/status", WELL "slow.waiting_ms: 2 abandoned\n", "slow", "warning",
		"owes", "virsh list" },
	{ "run/vhostmd/status",
		"pid: 200\nperiod_ms: 10\nfast.cycles: 90\nfast.overruns: 0\nfast.cycle_us: 11000\n",
		"overruns", "warning", "take longer", "<update_period>" },
	{ "run/vhostmd/status",
		"pid: 200\nperiod_ms: 10\nfast.cycles: 90\nfast.overruns: 1\nfast.cycle_us: 20\n",
		"overruns", "note", "1 samples were left out", "<update_period>" },
	{ "run/vhostmd/status",
		"pid: 200\nperiod_ms: 10\nfast.cycles: 900\nfast.overruns: 1\nfast.cycle_us: 20\n",
		"overruns", "ok", "in time", NULL },
	{ "proc/200/status", "State:\tS\nPPid:\t1\n", "worker", "fault", "no worker",
		"journalctl" },
	{ "proc/200/status", "Name:\tvhostmd\nPPid:\t100\nUid:\t0\t0\n", "worker",
		"warning", "as root", "systemd-sysusers" },
};

static void each_file_of_the_host_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		const struct other *o = &others[i];
		struct host h;

		host_init(&h);
		if (!strcmp(o->path, "proc/200/status"))
			fixture_add(&h.f, "run/vhostmd/status", "uptime_s: 1\n");
		if (o->text)
			fixture_add(&h.f, o->path, o->text);
		else
			take(&h, o->path);
		assert_says(&h, o->check, o->severity, o->found, o->mend);
		assert_json(h.out);
		host_done(&h);
	}
}

static void fuse_must_be_a_device_that_can_be_opened(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	take(&h, "dev/fuse");
	take(&h, "proc/filesystems");
	assert_says(&h, "fuse", "fault", "has no FUSE", "modprobe fuse");
	assert_int_equal(h.result, 2);
	fixture_add(&h.f, "dev/fuse", "");
	assert_says(&h, "fuse", "fault", "no device", "mknod");
	host_done(&h);
}

static void selinux_may_keep_vms_from_disks(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	fixture_add(&h.f, "sys/fs/selinux/enforce", "1");
	assert_says(&h, "selinux", "note", "no boolean", "ausearch");
	fixture_add(&h.f, "sys/fs/selinux/booleans/virt_use_fusefs", "0 0");
	assert_says(
		&h, "selinux", "fault", "keeps VMs", "setsebool -P virt_use_fusefs on");
	fixture_add(&h.f, "sys/fs/selinux/enforce", "0");
	assert_says(&h, "selinux", "note", "permissive", "setsebool");
	fixture_add(&h.f, "sys/fs/selinux/booleans/virt_use_fusefs", "1 1");
	assert_well(&h, "selinux");
	fixture_add(&h.f, "proc/100/attr/current", "system_u:system_r:vhostmd_t:s0\n");
	assert_says(&h, "selinux", "fault", "vhostmd_t", "restorecon /usr/sbin/vhostmd");
	host_done(&h);
}

static void cgroups_of_both_versions_are_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	take(&h, "sys/fs/cgroup/cgroup.controllers");
	fixture_add(&h.f, "sys/fs/cgroup/memory/tasks", "");
	assert_says(&h, "cgroup", "note", "version 1:", "unified_cgroup_hierarchy");
	fixture_add(&h.f, "sys/fs/cgroup/unified/cgroup.controllers", "");
	assert_says(&h, "cgroup", "note", "beside version 2", "unified_cgroup_hierarchy");
	host_done(&h);
}

static void a_mount_whose_server_is_gone_is_found(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	statvfs_fails = ENOTCONN;
	assert_says(&h, "mount", "fault", "is gone", "umount -l /run/vhostmd");
	assert_int_equal(h.result, 2);
	assert_well(&h, "figures");
	fixture_add(&h.f, "proc/self/mountinfo",
		MOUNTED "31 20 0:51 / /mnt ro - fuse.vhostmd x ro\n");
	assert_says(&h, "leftovers", "warning", "on /mnt", "umount -l /mnt");
	statvfs_fails = EIO;
	assert_says(&h, "mount", "fault", "Input/output error", "restart");
	host_done(&h);
}

static void a_file_system_that_hangs_does_not_hang_it(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	take(&h, "run/vhostmd/status");
	assert_int_equal(mkfifoat(h.f.fd, "run/vhostmd/status", 0600), 0);
	add_process(&h, 200, 100, 900, 'T');
	int64_t begin = clock_mono_ns();

	assert_says(&h, "mount", "fault", "does not answer within 2 s", "kill -CONT 200");
	assert_true(clock_mono_ns() - begin < 20 * NS_PER_S);
	host_done(&h);
}

static void what_stands_at_the_mount_point_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	fixture_add(&h.f, "proc/self/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda rw\n");
	h.options.mount = "/run/there";
	assert_says(&h, "mount", "fault", "nothing is mounted", "findmnt");
	fixture_add(&h.f, "run/there", "");
	assert_says(&h, "mount", "fault", "no directory", "mv /run/there /run/there.old");
	take(&h, "run/there");
	fixture_add(&h.f, "run/there/a\033b", "");
	assert_says(&h, "mount", "fault", "has 'a\\\\x1bb' in it", "--mount DIRECTORY");
	take(&h, "run/there/a\033b");
	close_p(&h.pid_fd);
	h.pid_fd = -1;
	assert_well(&h, "mount");
	host_done(&h);
}

static void a_daemon_that_does_not_run_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	close_p(&h.pid_fd);
	h.pid_fd = -1;
	/* who answers runs */
	assert_well(&h, "daemon");
	take(&h, "proc/100/comm");
	take(&h, "proc/200/comm");
	assert_says(&h, "daemon", "fault", "does not run", "systemctl start vhostmd");
	assert_says(&h, "leftovers", "note", "left behind", "rm ");
	/* where the unit has it */
	fixture_add(&h.f, "run/vhostmd-daemon/pid", "100\n");
	take(&h, "pid");
	assert_int_equal(renameat(h.f.fd, "run/vhostmd-daemon/pid", h.f.fd, "pid"), 0);
	lock_pid_file(&h);
	assert_int_equal(renameat(h.f.fd, "pid", h.f.fd, "run/vhostmd-daemon/pid"), 0);
	assert_well(&h, "daemon");
	host_done(&h);
}

static void another_vhostmd_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	add_process(&h, 300, 1, 0, 'Z'); /* has ended */
	assert_well(&h, "other-daemons");
	add_process(&h, 300, 1, 0, 'S');
	assert_says(&h, "other-daemons", "warning", "older vhostmd runs", "kill 300");
	link_to(&h, "proc/300/fd/3", "/dev/fuse");
	add_process(&h, 301, 300, 900, 'S');
	assert_says(&h, "other-daemons", "note", "process 300", "kill 300");
	assert_null(strstr(h.out, "process 301"));
	host_done(&h);
}

static void mistakes_of_the_configuration_are_shown(void **state)
{
	char says[512];
	struct host h;

	(void)state;
	host_init(&h);
	snprintf(says, sizeof(says),
		"%s:7: error: odd \033[2J thing\n%s:9: warning: hm\n", h.conf, h.conf);
	set_daemon(&h, says, 1);
	assert_says(&h, "configuration", "warning", ":7: error: odd \\\\x1b[2J thing",
		"--check-config");
	assert_says(&h, "configuration", "warning", ":9: warning: hm", "--check-config");
	assert_int_equal(h.result, 1);
	assert_json(h.out);
	/* nothing is left to run with */
	fixture_add(&h.f, "vhostmd.conf", "<vhostmd");
	assert_says(&h, "configuration", "fault", ":7: error: odd", "--check-config");
	set_daemon(&h, "", 1);
	assert_says(&h, "configuration", "fault", "of no use", "--check-config");
	set_conf(&h, "");
	take(&h, "vhostmd");
	assert_says(&h, "configuration", "warning", "not installed", "--check-config");
	host_done(&h);
}

static void many_mistakes_are_not_all_shown(void **state)
{
	char says[512] = "";
	struct host h;

	(void)state;
	host_init(&h);
	for (int i = 0; i < 12; i++)
		snprintf(says + strlen(says), sizeof(says) - strlen(says),
			"x:%d: error: e%dx\n", i, i);
	set_daemon(&h, says, 1);
	assert_says(
		&h, "configuration", "warning", "and 4 more mistakes", "--check-config");
	assert_non_null(strstr(h.out, "e7x"));
	assert_null(strstr(h.out, "e8x"));
	host_done(&h);
}

static void rights_that_actions_lack_are_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	set_daemon(&h, "line 9, A: run as nobody it lacks a right: /x: permission denied",
		0);
	assert_says(&h, "rights", "warning", "run as nobody", "<actions><user>");
	set_daemon(&h, "", 0);
	fixture_add(&h.f, "run/vhostmd/status",
		WELL "actions.lacking.A: it may not; set it\nactions.lacking.B: odd\n");
	assert_says(&h, "rights", "warning", "action of A fails: it may not", "set it");
	assert_null(strstr(h.out, "action of B"));
	set_daemon(&h, "line 9, A: for a VM named 'a b', it is not run", 0);
	assert_says(&h, "rights", "note", "for a VM named", "--check-config");
	host_done(&h);
}

static void a_configuration_that_was_changed_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	assert_int_equal(utimes(h.conf, NULL), 0);
	assert_says(&h, "reload", "note", "changed after", "kill -HUP 100");
	host_done(&h);
}

static void a_socket_that_is_closed_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	set_mode(&h, "run/libvirt/libvirt-sock-ro", 0700);
	assert_says(
		&h, "libvirt-socket", "fault", "may not connect", "unix_sock_ro_perms");
	fixture_add(&h.f, "etc/passwd", "");
	assert_well(&h, "libvirt-socket");
	host_done(&h);
}

static void who_reads_disks_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	fixture_add(&h.f, "etc/libvirt/qemu.conf", "group = \"no-such-group\"\n");
	set_conf(&h, "<disk><mode>0440</mode></disk>");
	assert_says(&h, "disk-readers", "fault", "mode 0440", "<disk><group>");
	set_conf(&h, "<disk><group>root</group></disk>");
	assert_says(&h, "disk-readers", "ok", "the configuration says so", NULL);
	host_done(&h);
}

static void the_shared_disk_is_looked_at(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	set_conf(&h, "<disk><path>/dev/shm/d</path></disk>");
	assert_says(&h, "shared-disk", "warning", "missing", "systemctl reload vhostmd");
	link_to(&h, "dev/shm/d", "/run/vhostmd/disk/vhostmd0.img");
	assert_well(&h, "shared-disk");
	link_to(&h, "dev/shm/d", "/else\033where");
	assert_says(&h, "shared-disk", "fault", "leads to /else\\\\x1bwhere",
		"mv /dev/shm/d");
	take(&h, "dev/shm/d");
	fixture_add(&h.f, "dev/shm/d/x", "");
	assert_says(&h, "shared-disk", "fault", "in the way", "mv /dev/shm/d");
	host_done(&h);
}

static void a_file_of_an_older_vhostmd_is_told(void **state)
{
	struct host h;

	(void)state;
	host_init(&h);
	fixture_add(&h.f, "dev/shm/vhostmd0", "mvbd");
	assert_says(&h, "shared-disk", "note", "has it open", "rm /dev/shm/vhostmd0");
	link_to(&h, "proc/400/fd/9", "/dev/shm/vhostmd0");
	assert_says(
		&h, "shared-disk", "warning", "1 process has open (400)", "<disk><path>");
	set_conf(&h, "<disk><path>/dev/shm/vhostmd0</path></disk>");
	assert_says(
		&h, "shared-disk", "warning", "stand still", "systemctl start vhostmd");
	fixture_add(&h.f, "run/vhostmd/status",
		WELL "disk.old_file: written until it is removed\n");
	assert_says(&h, "shared-disk", "note", "written on for 1 process (400)",
		"rm /dev/shm/vhostmd0");
	fixture_add(&h.f, "run/vhostmd/status",
		WELL
		"disk.old_file: written until it is removed, failing: No space left\n");
	assert_says(&h, "shared-disk", "warning", "No space left", "df ");
	host_done(&h);
}

static void hostile_names_reach_no_terminal(void **state)
{
	static const char hostile[] =
		"../vm/\033]0;x\007\r\n\302\233\342\200\256\"\\\377`id`";
	struct host h;

	(void)state;
	host_init(&h);
	h.options.verbose = false;
	fixture_add(&h.f, "run/vhostmd/status", WELL "vm." OURS ".age_ms: 99 stale\n");
	link_to(&h, "run/vhostmd/metrics/vm-by-uuid/" OURS, hostile);
	assert_says(&h, "figures", "warning",
		"\\\\x1b]0;x\\\\x07\\\\x0d\\\\x0a\\\\xc2\\\\x9b\\\\xe2\\\\x80\\\\xae\\\"\\\\\\\\xff`id`",
		"virsh dominfo " OURS);
	assert_json(h.out);
	/* none of it stands where it would be typed after */
	const char *remedy = strstr(h.out, "\"remedy\": \"virsh dominfo");

	assert_non_null(remedy);
	assert_null(strstr(remedy, "`id`"));
	h.options.json = false;
	look(&h);
	assert_non_null(strstr(
		h.out, "\\x1b]0;x\\x07\\x0d\\x0a\\xc2\\x9b\\xe2\\x80\\xae\"\\\\xff"));
	for (const char *s = h.out; *s; s++)
		assert_true(*s == '\n' || ((unsigned char)*s >= 0x20 && *s != 0x7f));
	host_done(&h);
}

static void a_status_of_anything_is_read(void **state)
{
	static const char *const texts[] = { "", "\n\n", ": \n",
		"period_ms: 0\nhost.age_ms: 1\n", "period_ms: 99999999999999999999\n",
		"vm.", "vm.: stale\n", "a: b\377\n",
		"pid: 99999999999\nuptime_s: 18446744073709551615\n",
		"fast.overruns: 18446744073709551615\nfast.cycle_us: -1\n",
		"vm." OURS ": stale\nvm." OURS ".age_ms:  stale\n" };
	struct host h;

	(void)state;
	host_init(&h);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		fixture_add(&h.f, "run/vhostmd/status", texts[i]);
		fixture_add(
			&h.f, "proc/self/mountinfo", MOUNTED "- - -\n\n1 2 3 4 5 6 -\n");
		assert_well(&h, "mount");
		assert_json(h.out);
	}
	host_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_that_is_well_has_no_fault),
		cmocka_unit_test(without_verbose_only_troubles_are_printed),
		cmocka_unit_test(each_file_of_the_host_counts),
		cmocka_unit_test(fuse_must_be_a_device_that_can_be_opened),
		cmocka_unit_test(selinux_may_keep_vms_from_disks),
		cmocka_unit_test(cgroups_of_both_versions_are_told),
		cmocka_unit_test(a_mount_whose_server_is_gone_is_found),
		cmocka_unit_test(a_file_system_that_hangs_does_not_hang_it),
		cmocka_unit_test(what_stands_at_the_mount_point_is_told),
		cmocka_unit_test(a_daemon_that_does_not_run_is_told),
		cmocka_unit_test(another_vhostmd_is_told),
		cmocka_unit_test(mistakes_of_the_configuration_are_shown),
		cmocka_unit_test(many_mistakes_are_not_all_shown),
		cmocka_unit_test(rights_that_actions_lack_are_told),
		cmocka_unit_test(a_configuration_that_was_changed_is_told),
		cmocka_unit_test(a_socket_that_is_closed_is_told),
		cmocka_unit_test(who_reads_disks_is_told),
		cmocka_unit_test(the_shared_disk_is_looked_at),
		cmocka_unit_test(a_file_of_an_older_vhostmd_is_told),
		cmocka_unit_test(hostile_names_reach_no_terminal),
		cmocka_unit_test(a_status_of_anything_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
