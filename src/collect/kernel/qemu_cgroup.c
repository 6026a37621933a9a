/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/qemu_cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define MAX_GROUPS 16384u /* of one VM; one for each vCPU is usual */

/*
 * When groups below the VM's are listed again, in samples: soon after something showed that
 * they may be others, for a group is made a little later than its thread, and seldom without.
 */
#define RELIST_SOON 16u
#define RELIST_SELDOM 256u

/*
 * Each group is looked at within so many samples, even if it never told of a quota, and so is each
 * file of which it is known what it tells.
 */
#define LOOK_SAMPLES 16u

/* More than a processor's tick, at which the time of who runs is counted. */
#define LEAST_SLEEP_NS (20 * NS_PER_MS)

struct throttle {
	uint64_t periods, throttled, time_ns;
	bool have; /* of periods it tells, be it that there were none */
};

/* A group whose cpu.stat tells of a quota, or will once there is one. */
struct quota_group {
	char *path;           /* below the VM's directory; NULL: above it */
	int stat;             /* descriptor; -1: it went, or cannot be had now */
	struct throttle last; /* what it told */
	bool known;           /* that is true still */
	bool seen;
};

/*
 * The part of a cgroup's path that belongs to the VM: up to "machine-qemu...scope" (systemd)
 * or "qemu-...libvirt-qemu" (without).  Below come libvirt's own, as "emulator" and "vcpu0".
 * Return: its length, 0 if the cgroup is not a VM's.
 */
static size_t vm_part(const char *path, size_t len)
{
	static const char scope[] = ".scope", plain[] = ".libvirt-qemu";

	for (size_t at = 0; at < len;) {
		const char *part = path + at + 1; /* behind the slash */
		size_t n = 0;

		while (at + 1 + n < len && part[n] != '/')
			n++;
		if ((n > strlen(scope) && !strncmp(part, "machine-qemu", 12) &&
			    !memcmp(part + n - strlen(scope), scope, strlen(scope))) ||
			(n > strlen(plain) && !strncmp(part, "qemu-", 5) &&
				!memcmp(part + n - strlen(plain), plain, strlen(plain))))
			return at + 1 + n;
		at += 1 + n;
	}
	return 0;
}

static bool has_controller(const char *list, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (size_t at = 0; at < len;) {
		size_t part = 0;

		while (at + part < len && list[at + part] != ',')
			part++;
		if (part == n && !memcmp(list + at, name, n))
			return true;
		at += part + 1;
	}
	return false;
}

/* Where a cgroup lies: the mount, and the path from there of the VM's part. */
struct place {
	char *mount;      /* owned */
	const char *path; /* borrowed; without the first slash */
	size_t len;       /* 0: there is none */
};

/*
 * Finds the VM's directory for a controller of version 1, or of version 2 (@controller
 * NULL), in lines such as "4:memory:/machine/qemu-1-a.libvirt-qemu" and "0::/...".
 * Return: a descriptor, or -1.
 */
static int open_vm_dir(
	int root_fd, const char *text, const char *controller, struct place *ret)
{
	static const char *const v2[] = { "sys/fs/cgroup/unified", "sys/fs/cgroup" };

	for (const char *p = text; *p; p = proc_next_line(p)) {
		size_t len = strcspn(p, "\n");
		const char *list = memchr(p, ':', len);
		const char *path =
			list ? memchr(list + 1, ':', len - (size_t)(list + 1 - p)) : NULL;

		if (!path)
			continue;
		size_t list_len = (size_t)(path - ++list);

		path++;
		if (controller ? !has_controller(list, list_len, controller) : list_len)
			continue;
		size_t n = vm_part(path, len - (size_t)(path - p));

		if (!n)
			return -1;
		for (size_t i = 0; i < (controller ? 1 : ARRAY_LEN(v2)); i++) {
			_cleanup_free_ char *mount = controller
				? xasprintf("sys/fs/cgroup/%.*s", (int)list_len, list)
				: xstrdup(v2[i]);
			_cleanup_free_ char *dir =
				xasprintf("%s/%.*s", mount, (int)n - 1, path + 1);
			int fd = open_at(root_fd, dir, O_RDONLY | O_DIRECTORY);

			if (fd < 0)
				continue;
			if (ret)
				*ret = (struct place){ TAKE_PTR(mount), path + 1, n - 1 };
			return fd;
		}
	}
	return -1;
}

static int open_in(int dir, const char *name)
{
	return dir < 0 ? -1 : open_at(dir, name, O_RDONLY);
}

/* ---- quotas ---- */

/*
 * A quota may be set at any time: on the VM's group, on those of its threads up to two levels
 * below, and, by systemd, on any above.  So cpu.stat of all of them stays open.  It tells of
 * periods as soon as the controller is there, and of none that have passed until there is a
 * quota: those groups add nothing to the sums, and a few of them are looked at with each
 * sample, in turn.  One that ever had a quota is read with each.
 */

/* Descriptor of a directory's own, to be read as one; NULL with errno. */
static DIR *open_entries(int dir, const char *path)
{
	_cleanup_close_ int fd = open_at(dir, *path ? path : ".", O_RDONLY | O_DIRECTORY);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);

	if (entries)
		(void)TAKE_FD(fd);
	return entries;
}

static void add_group(struct qemu_cgroup *cg, const char *path, int stat)
{
	cg->groups =
		xgrow(cg->groups, cg->n_groups, &cg->cap_groups, sizeof(*cg->groups));
	cg->groups[cg->n_groups++] = (struct quota_group){
		.path = path ? xstrdup(path) : NULL, .stat = stat, .seen = true
	};
}

/* @hint: where to look first; they are listed in the same order each time. */
static struct quota_group *find_group(
	struct qemu_cgroup *cg, const char *path, size_t *hint)
{
	size_t below = cg->n_groups - cg->n_above;

	for (size_t k = 0; k < below; k++) {
		size_t i = (*hint + k) % below;
		struct quota_group *group = &cg->groups[cg->n_above + i];

		if (!strcmp(group->path, path)) {
			*hint = i + 1;
			return group;
		}
	}
	return NULL;
}

static void see_group(struct qemu_cgroup *cg, const char *path, size_t *hint)
{
	struct quota_group *known = find_group(cg, path, hint);

	if (known)
		known->seen = true;
	if (known ? known->stat >= 0 : cg->n_groups == MAX_GROUPS)
		return;
	_cleanup_free_ char *file = xasprintf("%s%scpu.stat", path, *path ? "/" : "");
	int stat = open_in(cg->quota_dir, file);

	if (known)
		known->stat = stat;
	else if (stat >= 0)
		add_group(cg, path, stat);
}

static void see_groups(struct qemu_cgroup *cg, const char *path, int levels, size_t *hint)
{
	see_group(cg, path, hint);
	_cleanup_closedir_ DIR *entries =
		levels ? open_entries(cg->quota_dir, path) : NULL;

	if (!entries)
		return;
	for (struct dirent *e = readdir(entries); e; e = readdir(entries)) {
		if (e->d_name[0] == '.' ||
			(e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
			continue;
		_cleanup_free_ char *child =
			xasprintf("%s%s%s", path, *path ? "/" : "", e->d_name);

		see_groups(cg, child, levels - 1, hint);
	}
}

static void group_done(struct quota_group *group)
{
	close_p(&group->stat);
	free(group->path);
}

/*
 * Lists the groups below; those that are known keep their descriptors.
 * Return: false if descriptors were lacking; then what is known is kept.
 */
static bool list_groups(struct qemu_cgroup *cg)
{
	unsigned before = open_shortages();
	size_t kept = cg->n_above, hint = 0;

	cg->relist_in = cg->relist ? RELIST_SOON : RELIST_SELDOM;
	for (size_t i = cg->n_above; i < cg->n_groups; i++)
		cg->groups[i].seen = false;
	see_groups(cg, "", 2, &hint);
	cg->relist = open_shortages() != before;
	for (size_t i = cg->n_above; i < cg->n_groups; i++) {
		if (cg->groups[i].seen || cg->relist)
			cg->groups[kept++] = cg->groups[i];
		else
			group_done(&cg->groups[i]);
	}
	cg->n_groups = kept;
	return !cg->relist;
}

/* "a/b/c" is below "a/b" and "a"; the root has no quota. */
static void open_above(struct qemu_cgroup *cg, int root_fd, const struct place *place)
{
	for (size_t n = 1; n < place->len; n++) {
		if (place->path[n] != '/')
			continue;
		_cleanup_free_ char *file =
			xasprintf("%s/%.*s/cpu.stat", place->mount, (int)n, place->path);
		int stat = open_in(root_fd, file);

		if (stat >= 0)
			add_group(cg, NULL, stat);
	}
	cg->n_above = cg->n_groups;
}

static void open_quotas(struct qemu_cgroup *cg, int root_fd, const char *text)
{
	struct place place = { 0 };

	cg->quota_dir = open_vm_dir(root_fd, text, "cpu", &place);
	if (cg->quota_dir < 0)
		cg->quota_dir = open_vm_dir(root_fd, text, NULL, &place);
	if (cg->quota_dir < 0)
		return;
	unsigned before = open_shortages();

	open_above(cg, root_fd, &place);
	bool whole = open_shortages() == before;

	cg->relist = true; /* its threads may have just begun */
	cg->listed = list_groups(cg) && whole;
	free(place.mount);
}

/* ---- opening ---- */

static uint64_t directory_id(int dir)
{
	struct stat st;

	return dir >= 0 && fstat(dir, &st) == 0 ? st.st_ino : 0;
}

void qemu_cgroup_open(
	int root_fd, const char *text, uint64_t reads, struct qemu_cgroup *cg)
{
	static const char *const pressure[] = { "cpu.pressure", "memory.pressure",
		"io.pressure" };
	static_assert(ARRAY_LEN(pressure) == ARRAY_LEN(cg->pressure), "a file for each");
	_cleanup_close_ int unified = open_vm_dir(root_fd, text, NULL, NULL);
	_cleanup_close_ int cpuacct = open_vm_dir(root_fd, text, "cpuacct", NULL);
	_cleanup_close_ int memory = open_vm_dir(root_fd, text, "memory", NULL);

	if (reads & READS(CPU)) {
		cg->cpu_stat = open_in(unified, "cpu.stat");
		if (cg->cpu_stat < 0) {
			cg->cpu_usage = open_in(cpuacct, "cpuacct.usage");
			cg->cpu_times = open_in(cpuacct, "cpuacct.stat");
		}
		cg->id = directory_id(cg->cpu_stat >= 0 ? unified : cpuacct);
	}
	if (reads & READS(THROTTLE))
		open_quotas(cg, root_fd, text);
	if (reads & READS(CGROUP_MEMORY)) {
		cg->memory = open_in(unified, "memory.current");
		if (cg->memory < 0)
			cg->memory = open_in(memory, "memory.usage_in_bytes");
	}
	for (int i = 0; i < 3; i++)
		if (reads & READS(PRESSURE_CPU) << i)
			cg->pressure[i] = open_in(unified, pressure[i]);
}

void qemu_cgroup_done(struct qemu_cgroup *cg)
{
	close_p(&cg->cpu_stat);
	close_p(&cg->cpu_usage);
	close_p(&cg->cpu_times);
	close_p(&cg->memory);
	for (int i = 0; i < 3; i++)
		close_p(&cg->pressure[i]);
	close_p(&cg->quota_dir);
	for (size_t i = 0; i < cg->n_groups; i++)
		group_done(&cg->groups[i]);
	free(cg->groups);
	*cg = QEMU_CGROUP_INIT;
}

bool qemu_cgroup_has_time(const struct qemu_cgroup *cg)
{
	return cg->cpu_stat >= 0 || cg->cpu_usage >= 0;
}

bool qemu_cgroup_has_modes(const struct qemu_cgroup *cg)
{
	return cg->cpu_stat >= 0 || cg->cpu_times >= 0;
}

void qemu_cgroup_relist(struct qemu_cgroup *cg)
{
	cg->relist = true;
}

/* ---- sampling ---- */

/* Clears *@there if the cgroup is no more. */
static bool read_text(int fd, char *buf, size_t size, bool *there)
{
	ssize_t n = fd < 0 ? 0 : pread_text(fd, buf, size);

	if (n == -ENODEV)
		*there = false;
	return n > 0;
}

/* Sets a fact to the number behind @word, times @factor. */
static void set_scaled(
	struct fact *fact, const char *text, const char *word, uint64_t factor)
{
	uint64_t v = 0;

	if (proc_find_u64(text, word, &v) && v <= UINT64_MAX / factor)
		fact_set(fact, value_u64(v * factor));
}

static void sample_cpu(const struct qemu_cgroup *cg, struct vm_sample *out, bool *there)
{
	const uint64_t ns_per_tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	char text[2048];

	if (read_text(cg->cpu_stat, text, sizeof(text), there)) {
		set_scaled(&out->facts[VM_CPU_TIME], text, "usage_usec", 1000);
		set_scaled(&out->facts[VM_CPU_USER], text, "user_usec", 1000);
		set_scaled(&out->facts[VM_CPU_SYSTEM], text, "system_usec", 1000);
	}
	if (read_text(cg->cpu_usage, text, sizeof(text), there))
		fact_set_u64(&out->facts[VM_CPU_TIME], text);
	if (read_text(cg->cpu_times, text, sizeof(text), there)) {
		set_scaled(&out->facts[VM_CPU_USER], text, "user", ns_per_tick);
		set_scaled(&out->facts[VM_CPU_SYSTEM], text, "system", ns_per_tick);
	}
}

static void note_usage(struct qemu_cgroup *cg, const struct fact *usage, int64_t mono_ns)
{
	cg->slept = usage->have && cg->usage.have &&
		usage->value.u == cg->usage.value.u &&
		mono_ns - cg->usage_mono_ns >= LEAST_SLEEP_NS;
	cg->usage = *usage;
	cg->usage_mono_ns = mono_ns;
}

/* Reads what the group tells now. */
static void read_group(struct quota_group *group)
{
	struct throttle told = { 0 };
	uint64_t v = 0;
	char text[2048];
	ssize_t n =
		group->stat < 0 ? -ENODEV : pread_text(group->stat, text, sizeof(text));

	if (n == -ENODEV) {
		close_p(&group->stat);
		group->stat = -1;
	}
	group->known = n >= 0;
	if (n < 0)
		return;
	/* without the controller there are no quotas, and nothing tells of them */
	told.have = proc_find_u64(text, "nr_periods", &told.periods);
	if (told.periods) {
		(void)proc_find_u64(text, "nr_throttled", &told.throttled);
		if (proc_find_u64(text, "throttled_usec", &v))
			told.time_ns = v * 1000;
		else
			(void)proc_find_u64(text, "throttled_time", &told.time_ns);
	}
	group->last = told;
}

/* What an idle one tells is known without reading it: nothing. */
static bool is_idle(const struct quota_group *group)
{
	return group->known && !group->last.periods;
}

/*
 * Looks at those idle ones whose turn it is.  No period passes where nobody runs; but in those above
 * others do.  Return: true if one is so no more.
 */
static bool look_at_some(struct qemu_cgroup *cg)
{
	bool woke = false;

	for (size_t i = cg->turn++ % LOOK_SAMPLES; i < cg->n_groups; i += LOOK_SAMPLES) {
		struct quota_group *group = &cg->groups[i];

		if (!is_idle(group) || (cg->slept && i >= cg->n_above))
			continue;
		read_group(group);
		woke |= !is_idle(group);
	}
	return woke;
}

/* A quota is hardly ever set on one of them alone. */
static void read_groups(struct qemu_cgroup *cg)
{
	bool all = look_at_some(cg);

	for (size_t i = 0; i < cg->n_groups; i++)
		if (all || !is_idle(&cg->groups[i]))
			read_group(&cg->groups[i]);
}

/*
 * Adds up what the groups tell.  Clears *@there if one is no more.
 * Return: false if one could not be read: the sum over some of them is not true.
 */
static bool sum_throttles(struct qemu_cgroup *cg, struct throttle *sum, bool *there)
{
	bool whole = cg->listed;

	*sum = (struct throttle){ 0 };
	read_groups(cg);
	for (size_t i = 0; i < cg->n_groups; i++) {
		const struct quota_group *group = &cg->groups[i];

		sum->periods += group->last.periods;
		sum->throttled += group->last.throttled;
		sum->time_ns += group->last.time_ns;
		sum->have |= group->last.have;
		whole &= group->known;
		*there &= group->stat >= 0;
	}
	return whole;
}

static void sample_throttle(struct qemu_cgroup *cg, struct vm_sample *out)
{
	bool there = true;
	struct throttle sum;

	if (cg->quota_dir < 0)
		return;
	if (cg->relist || !--cg->relist_in)
		(void)list_groups(cg);
	bool whole = sum_throttles(cg, &sum, &there);

	if (!there) {
		cg->relist = true;
		(void)list_groups(cg);
		whole = sum_throttles(cg, &sum, &there);
	}
	if (!whole)
		return;
	cg->uncounted = !sum.have;
	if (!sum.have)
		return;
	fact_set(&out->facts[VM_THROTTLE_PERIODS], value_u64(sum.periods));
	fact_set(&out->facts[VM_THROTTLED_PERIODS], value_u64(sum.throttled));
	fact_set(&out->facts[VM_THROTTLED_TIME], value_u64(sum.time_ns));
}

/* ---- pressures ---- */

/*
 * A thread begins to wait for memory or storage while it runs, and whoever waits lets the total
 * grow.  So where the total stood still from one sample to the next while nobody ran, nobody waits,
 * and it stands still until somebody has run.  Averages move by themselves, unless they are none.
 * Who waits for a processor does not run: that file is read each time.
 */

#define PRESSURE_CPU_FILE 0

static bool is_none(const struct fact *facts)
{
	for (int i = PRESSURE_AVG10; i <= PRESSURE_AVG300; i++)
		if (!facts[i].have || facts[i].value.real != 0)
			return false;
	return facts[PRESSURE_TOTAL].have;
}

/* Notes what was read just now. */
static void note_calm(
	struct calm *calm, const struct fact *some, const struct fact *full, bool slept)
{
	struct calm now = { .known = is_none(some) && is_none(full) };

	if (now.known) {
		now.totals[0] = some[PRESSURE_TOTAL].value.u;
		now.totals[1] = full[PRESSURE_TOTAL].value.u;
		now.lasts = slept && calm->known && calm->totals[0] == now.totals[0] &&
			calm->totals[1] == now.totals[1];
	}
	*calm = now;
}

static void set_calm(const struct calm *calm, struct fact *some, struct fact *full)
{
	for (int i = PRESSURE_AVG10; i <= PRESSURE_AVG300; i++) {
		fact_set(&some[i], value_real(0));
		fact_set(&full[i], value_real(0));
	}
	fact_set(&some[PRESSURE_TOTAL], value_u64(calm->totals[0]));
	fact_set(&full[PRESSURE_TOTAL], value_u64(calm->totals[1]));
}

static void sample_pressure(
	struct qemu_cgroup *cg, int i, struct fact *some, struct fact *full, bool *there)
{
	struct calm *calm = &cg->calm[i];
	char text[512];

	if (cg->pressure[i] < 0)
		return;
	if (cg->slept && calm->lasts && ++calm->samples < LOOK_SAMPLES) {
		set_calm(calm, some, full);
		return;
	}
	if (read_text(cg->pressure[i], text, sizeof(text), there))
		proc_parse_pressure(text, some, full);
	note_calm(calm, some, full, cg->slept && i != PRESSURE_CPU_FILE);
}

bool qemu_cgroup_sample(struct qemu_cgroup *cg, struct vm_sample *out)
{
	static const enum vm_key some[] = { VM_PRESSURE_CPU_SOME_AVG10,
		VM_PRESSURE_MEMORY_SOME_AVG10, VM_PRESSURE_IO_SOME_AVG10 };
	static const enum vm_key full[] = { VM_PRESSURE_CPU_FULL_AVG10,
		VM_PRESSURE_MEMORY_FULL_AVG10, VM_PRESSURE_IO_FULL_AVG10 };
	static_assert(ARRAY_LEN(some) == ARRAY_LEN(cg->pressure) &&
			ARRAY_LEN(full) == ARRAY_LEN(cg->pressure),
		"keys for each file");
	char text[512];
	bool there = true;

	sample_cpu(cg, out, &there);
	note_usage(cg, &out->facts[VM_CPU_TIME], out->mono_ns);
	sample_throttle(cg, out);
	if (read_text(cg->memory, text, sizeof(text), &there))
		fact_set_u64(&out->facts[VM_CGROUP_MEMORY], text);
	for (int i = 0; i < 3; i++)
		sample_pressure(
			cg, i, &out->facts[some[i]], &out->facts[full[i]], &there);
	return there;
}

bool qemu_cgroup_slept(const struct qemu_cgroup *cg)
{
	return cg->slept;
}

uint64_t qemu_cgroup_absent(const struct qemu_cgroup *cg, uint64_t reads)
{
	uint64_t absent = 0;

	if (cg->quota_dir < 0 || cg->uncounted)
		absent |= READS(THROTTLE);
	if (cg->memory < 0)
		absent |= READS(CGROUP_MEMORY);
	for (int i = 0; i < 3; i++)
		if (cg->pressure[i] < 0)
			absent |= READS(PRESSURE_CPU) << i;
	return absent & reads;
}

int qemu_cgroup_shares(int root_fd, const char *text, uint64_t *ret)
{
	_cleanup_close_ int cpu = open_vm_dir(root_fd, text, "cpu", NULL);
	_cleanup_close_ int unified = open_vm_dir(root_fd, text, NULL, NULL);
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;

	if ((cpu < 0 || read_file_at(cpu, "cpu.shares", 64, &value) < 0) &&
		(unified < 0 || read_file_at(unified, "cpu.weight", 64, &value) < 0))
		return -ENOENT;
	const char *p = strbuf_str(&value);

	return parse_u64_at(&p, ret) == 0 ? 0 : -ENOENT;
}
