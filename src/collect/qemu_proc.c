/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/qemu_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

static int find_pid(int root_fd, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *path = xasprintf("run/libvirt/qemu/%s.pid", name);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(root_fd, path, 64, &text);

	if (r < 0)
		return r;
	return parse_u64(str_trim(text.data), ret);
}

/* "CPU 12/KVM" -> 12; -1 if the thread is no vCPU. */
static int vcpu_number(int task_fd, const char *tid)
{
	_cleanup_free_ char *path = xasprintf("%s/comm", tid);
	_cleanup_strbuf_ struct strbuf comm = STRBUF_INIT;
	uint64_t n = 0;

	if (read_file_at(task_fd, path, 64, &comm) < 0)
		return -1;
	const char *p = strbuf_str(&comm);

	if (strncmp(p, "CPU ", 4) != 0)
		return -1;
	p += 4;
	return parse_u64_at(&p, &n) == 0 && *p == '/' && n < INT32_MAX ? (int)n : -1;
}

static int read_delay(int task_fd, const char *tid, uint64_t *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/schedstat", tid);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(task_fd, path, 256, &text);
	uint64_t run_ns = 0;

	if (r < 0)
		return r;
	const char *p = strbuf_str(&text);

	r = parse_u64_at(&p, &run_ns);
	if (r < 0 || *p++ != ' ')
		return -EINVAL;
	return parse_u64_at(&p, ret);
}

int qemu_proc_delays(int root_fd, const char *name, uint64_t *ret_delay_ns, size_t n)
{
	uint64_t pid = 0;
	int r = find_pid(root_fd, name, &pid);

	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("proc/%" PRIu64 "/task", pid);
	int fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	_cleanup_closedir_ DIR *dir = fdopendir(fd);

	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		ret_delay_ns[i] = UINT64_MAX;
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		int vcpu = entry->d_name[0] == '.' ? -1 : vcpu_number(fd, entry->d_name);

		if (vcpu >= 0 && (size_t)vcpu < n)
			(void)read_delay(fd, entry->d_name, &ret_delay_ns[vcpu]);
	}
	return 0;
}
