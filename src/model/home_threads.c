/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/home_threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "model/run.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"

/* QEMU names a thread after its object, libvirt these iothread1 and following. */
#define IO_PREFIX "IO "
/* QEMU's own: it reads and writes what monitors say, so it runs to be asked. */
#define MONITOR_THREAD "IO mon_iothread\n"

/* Reads a small file of a thread.  Return: false if it cannot be had. */
static bool read_of_thread(
	int root_fd, int pid, uint64_t tid, const char *file, char *text, size_t size)
{
	_cleanup_free_ char *path =
		xasprintf("proc/%d/task/%" PRIu64 "/%s", pid, tid, file);
	_cleanup_close_ int fd = open_at(root_fd, path, O_RDONLY);

	return fd >= 0 && pread_text(fd, text, size) > 0;
}

/* The first field of schedstat: nanoseconds on a processor. */
static bool run_time(int root_fd, int pid, uint64_t tid, uint64_t *ret)
{
	char text[128];
	const char *p = text;

	return read_of_thread(root_fd, pid, tid, "schedstat", text, sizeof(text)) &&
		parse_u64_at(&p, ret) == 0 && *p == ' ';
}

static bool is_io_thread(const char *comm)
{
	return !strncmp(comm, IO_PREFIX, strlen(IO_PREFIX)) &&
		strcmp(comm, MONITOR_THREAD) != 0;
}

/* Return: false if it cannot be told, or there are too many. */
static bool find_io_threads(int root_fd, int pid, struct home_threads *home)
{
	_cleanup_free_ char *path = xasprintf("proc/%d/task", pid);
	int fd = open_at(root_fd, path, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		close_p(&fd);
		return false;
	}
	unsigned n = 0;

	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		char comm[64];
		uint64_t tid = 0;

		if (parse_u64(e->d_name, &tid) < 0 || tid == (uint64_t)pid)
			continue;
		if (++n > LIMIT_THREADS)
			return false;
		/* one that has just ended counts nothing any more */
		if (!read_of_thread(root_fd, pid, tid, "comm", comm, sizeof(comm)) ||
			!is_io_thread(comm))
			continue;
		if (home->n_io == HOME_IO_THREADS ||
			!run_time(root_fd, pid, tid, &home->io[home->n_io].ns))
			return false;
		home->io[home->n_io++].tid = tid;
	}
	return true;
}

void home_threads_before(int root_fd, const struct run *run, struct home_threads *ret)
{
	int pid = atomic_load(&run->pid);

	*ret = (struct home_threads){ 0 };
	ret->known = pid > 0 && find_io_threads(root_fd, pid, ret);
}

void home_threads_after(int root_fd, const struct run *run, struct home_threads *home)
{
	int pid = atomic_load(&run->pid);

	home->known = home->known &&
		run_time(root_fd, pid, (uint64_t)pid, &home->main_ns) &&
		run_has_process(run);
}

bool home_threads_slept(
	int root_fd, const struct run *run, const struct home_threads *home)
{
	int pid = atomic_load(&run->pid);
	uint64_t ns = 0;

	if (!home->known || !run_time(root_fd, pid, (uint64_t)pid, &ns) ||
		ns != home->main_ns)
		return false;
	for (size_t i = 0; i < home->n_io; i++)
		if (!run_time(root_fd, pid, home->io[i].tid, &ns) || ns != home->io[i].ns)
			return false;
	/* behind the rest: no other process had that pid meanwhile */
	return run_has_process(run);
}
