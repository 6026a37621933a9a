/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/qemu_cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define MAX_THROTTLE 4097u /* groups of one VM; one for each vCPU is usual */

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

/*
 * Finds the VM's directory for a controller of version 1, or of version 2 (@controller
 * NULL), in lines such as "4:memory:/machine/qemu-1-a.libvirt-qemu" and "0::/...".
 * Return: a descriptor, or -1.
 */
static int open_vm_dir(int root_fd, const char *text, const char *controller)
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
			_cleanup_free_ char *dir = controller
				? xasprintf("sys/fs/cgroup/%.*s/%.*s", (int)list_len,
					  list, (int)n - 1, path + 1)
				: xasprintf("%s/%.*s", v2[i], (int)n - 1, path + 1);
			int fd = open_at(root_fd, dir, O_RDONLY | O_DIRECTORY);

			if (fd >= 0)
				return fd;
		}
	}
	return -1;
}

static int open_in(int dir, const char *name)
{
	return dir < 0 ? -1 : open_at(dir, name, O_RDONLY);
}

/* "50000 100000", or "max 100000" without a limit; version 1: "50000" or "-1". */
static bool has_quota(int dir)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (read_file_at(dir, "cpu.max", 64, &text) < 0 &&
		read_file_at(dir, "cpu.cfs_quota_us", 64, &text) < 0)
		return false;
	return *strbuf_str(&text) >= '0' && *strbuf_str(&text) <= '9';
}

static void add_throttle(struct qemu_cgroup *cg, int dir)
{
	int fd = cg->n_throttle < MAX_THROTTLE && has_quota(dir)
		? open_in(dir, "cpu.stat")
		: -1;

	if (fd < 0)
		return;
	cg->throttle = xgrow(
		cg->throttle, cg->n_throttle, &cg->cap_throttle, sizeof(*cg->throttle));
	cg->throttle[cg->n_throttle++] = fd;
}

/* A quota may stand on the VM's group or on those of its threads, two levels below. */
static void add_throttles(struct qemu_cgroup *cg, int dir, int levels)
{
	add_throttle(cg, dir);
	int copy = levels ? open_at(dir, ".", O_RDONLY | O_DIRECTORY) : -1;
	_cleanup_closedir_ DIR *entries = copy < 0 ? NULL : fdopendir(copy);

	if (!entries) {
		close_p(&copy);
		return;
	}
	for (struct dirent *e = readdir(entries); e; e = readdir(entries)) {
		if (e->d_name[0] == '.' ||
			(e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
			continue;
		_cleanup_close_ int child =
			open_at(dir, e->d_name, O_RDONLY | O_DIRECTORY);

		if (child >= 0)
			add_throttles(cg, child, levels - 1);
	}
}

void qemu_cgroup_open(
	int root_fd, const char *text, uint64_t reads, struct qemu_cgroup *cg)
{
	static const char *const pressure[] = { "cpu.pressure", "memory.pressure",
		"io.pressure" };
	static_assert(ARRAY_LEN(pressure) == ARRAY_LEN(cg->pressure), "a file for each");
	_cleanup_close_ int unified = open_vm_dir(root_fd, text, NULL);
	_cleanup_close_ int cpu = open_vm_dir(root_fd, text, "cpu");
	_cleanup_close_ int cpuacct = open_vm_dir(root_fd, text, "cpuacct");
	_cleanup_close_ int memory = open_vm_dir(root_fd, text, "memory");

	if (reads & READS(CPU)) {
		cg->cpu_stat = open_in(unified, "cpu.stat");
		if (cg->cpu_stat < 0) {
			cg->cpu_usage = open_in(cpuacct, "cpuacct.usage");
			cg->cpu_times = open_in(cpuacct, "cpuacct.stat");
		}
	}
	if (reads & READS(THROTTLE)) {
		int dir = cpu >= 0 ? cpu : unified;

		/* without the controller there are no quotas, and nothing tells of them */
		cg->has_cpu = cpu >= 0 ||
			(unified >= 0 && faccessat(unified, "cpu.max", F_OK, 0) == 0);
		unsigned before = open_shortages();

		if (cg->has_cpu)
			add_throttles(cg, dir, 2);
		/* the sum over some of them is not true */
		cg->has_cpu &= open_shortages() == before;
	}
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
	for (size_t i = 0; i < cg->n_throttle; i++)
		close_p(&cg->throttle[i]);
	free(cg->throttle);
	*cg = QEMU_CGROUP_INIT;
}

static bool read_text(int fd, char *buf, size_t size)
{
	return fd >= 0 && pread_text(fd, buf, size) > 0;
}

/* Sets a fact to the number behind @word, times @factor. */
static void set_scaled(
	struct fact *fact, const char *text, const char *word, uint64_t factor)
{
	uint64_t v = 0;

	if (proc_find_u64(text, word, &v) && v <= UINT64_MAX / factor)
		fact_set(fact, value_u64(v * factor));
}

static void sample_cpu(const struct qemu_cgroup *cg, struct vm_sample *out)
{
	const uint64_t ns_per_tick = (uint64_t)NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
	char text[2048];

	if (read_text(cg->cpu_stat, text, sizeof(text))) {
		set_scaled(&out->facts[VM_CPU_TIME], text, "usage_usec", 1000);
		set_scaled(&out->facts[VM_CPU_USER], text, "user_usec", 1000);
		set_scaled(&out->facts[VM_CPU_SYSTEM], text, "system_usec", 1000);
	}
	if (read_text(cg->cpu_usage, text, sizeof(text)))
		fact_set_u64(&out->facts[VM_CPU_TIME], text);
	if (read_text(cg->cpu_times, text, sizeof(text))) {
		set_scaled(&out->facts[VM_CPU_USER], text, "user", ns_per_tick);
		set_scaled(&out->facts[VM_CPU_SYSTEM], text, "system", ns_per_tick);
	}
}

static void sample_throttle(const struct qemu_cgroup *cg, struct vm_sample *out)
{
	uint64_t periods = 0, throttled = 0, time_ns = 0;
	char text[2048];

	if (!cg->has_cpu)
		return;
	for (size_t i = 0; i < cg->n_throttle; i++) {
		uint64_t v = 0;

		if (!read_text(cg->throttle[i], text, sizeof(text)))
			continue;
		if (proc_find_u64(text, "nr_periods", &v))
			periods += v;
		if (proc_find_u64(text, "nr_throttled", &v))
			throttled += v;
		if (proc_find_u64(text, "throttled_usec", &v))
			time_ns += v * 1000;
		else if (proc_find_u64(text, "throttled_time", &v))
			time_ns += v;
	}
	fact_set(&out->facts[VM_THROTTLE_PERIODS], value_u64(periods));
	fact_set(&out->facts[VM_THROTTLED_PERIODS], value_u64(throttled));
	fact_set(&out->facts[VM_THROTTLED_TIME], value_u64(time_ns));
}

void qemu_cgroup_sample(const struct qemu_cgroup *cg, struct vm_sample *out)
{
	static const enum vm_key some[] = { VM_PRESSURE_CPU_SOME_AVG10,
		VM_PRESSURE_MEMORY_SOME_AVG10, VM_PRESSURE_IO_SOME_AVG10 };
	static const enum vm_key full[] = { VM_PRESSURE_CPU_FULL_AVG10,
		VM_PRESSURE_MEMORY_FULL_AVG10, VM_PRESSURE_IO_FULL_AVG10 };
	static_assert(ARRAY_LEN(some) == ARRAY_LEN(cg->pressure) &&
			ARRAY_LEN(full) == ARRAY_LEN(cg->pressure),
		"keys for each file");
	char text[512];

	sample_cpu(cg, out);
	sample_throttle(cg, out);
	if (read_text(cg->memory, text, sizeof(text)))
		fact_set_u64(&out->facts[VM_CGROUP_MEMORY], text);
	for (int i = 0; i < 3; i++)
		if (read_text(cg->pressure[i], text, sizeof(text)))
			proc_parse_pressure(
				text, &out->facts[some[i]], &out->facts[full[i]]);
}

int qemu_cgroup_shares(int root_fd, const char *text, uint64_t *ret)
{
	_cleanup_close_ int cpu = open_vm_dir(root_fd, text, "cpu");
	_cleanup_close_ int unified = open_vm_dir(root_fd, text, NULL);
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT;

	if ((cpu < 0 || read_file_at(cpu, "cpu.shares", 64, &value) < 0) &&
		(unified < 0 || read_file_at(unified, "cpu.weight", 64, &value) < 0))
		return -ENOENT;
	const char *p = strbuf_str(&value);

	return parse_u64_at(&p, ret) == 0 ? 0 : -ENOENT;
}
