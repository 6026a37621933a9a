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

static bool read_small(int dir_fd, const char *path, char *text, size_t size)
{
	_cleanup_close_ int fd = open_at(dir_fd, path, O_RDONLY);

	return fd >= 0 && pread_text(fd, text, size) > 0;
}

/* Reads a small file of a thread.  @tasks_fd: task/.  Return: false if it cannot be had. */
static bool read_of_thread(
	int tasks_fd, uint64_t tid, const char *file, char *text, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "%" PRIu64 "/%s", tid, file);
	return read_small(tasks_fd, path, text, size);
}

/* The first field of schedstat: nanoseconds on a processor. */
static bool parse_run_time(const char *text, uint64_t *ret)
{
	return parse_u64_at(&text, ret) == 0 && *text == ' ';
}

static bool run_time(int root_fd, int pid, uint64_t tid, uint64_t *ret)
{
	char path[96], text[128];

	snprintf(path, sizeof(path), "proc/%d/task/%" PRIu64 "/schedstat", pid, tid);
	return read_small(root_fd, path, text, sizeof(text)) && parse_run_time(text, ret);
}

/* On a processor just now: then its run time is not up to date (proc(5), stat). */
static bool is_running(int tasks_fd, uint64_t tid)
{
	char text[512];

	if (!read_of_thread(tasks_fd, tid, "stat", text, sizeof(text)))
		return false; /* it has ended: there is one less */
	const char *end = strrchr(text, ')');

	return !end || !strncmp(end, ") R", 3);
}

/* Adds the thread.  @is_io: as its name says.  Return: false if it cannot be told. */
static bool add_thread(int tasks_fd, uint64_t tid, bool is_io, struct home_threads *ret)
{
	char text[128];
	uint64_t ns = 0;

	if (++ret->n_others > LIMIT_THREADS ||
		!read_of_thread(tasks_fd, tid, "schedstat", text, sizeof(text)) ||
		!parse_run_time(text, &ns))
		return false;
	ret->others_ns += ns;
	if (!is_io)
		return true;
	if (ret->n_io == HOME_IO_THREADS)
		return false;
	ret->io[ret->n_io].tid = tid;
	ret->io[ret->n_io++].ns = ns;
	return true;
}

/* Before the question.  Return: as add_thread(). */
static bool find_thread(int tasks_fd, uint64_t tid, struct home_threads *ret)
{
	char comm[64];

	/* one that has just ended counts nothing any more */
	if (!read_of_thread(tasks_fd, tid, "comm", comm, sizeof(comm)))
		return true;
	if (!strcmp(comm, MONITOR_THREAD)) {
		ret->monitor_tid = tid;
		return true;
	}
	return add_thread(
		tasks_fd, tid, !strncmp(comm, IO_PREFIX, strlen(IO_PREFIX)), ret);
}

/*
 * Adds up the threads beside the main one and the monitor's.  @before: the question: finds the I/O
 * threads and the monitor's; after it none may be on a processor.
 * Return: false if it cannot be told, or there are too many.
 */
static bool add_others(int root_fd, int pid, bool before, struct home_threads *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%d/task", pid);
	int fd = open_at(root_fd, path, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		close_p(&fd);
		return false;
	}
	bool good = true;

	for (struct dirent *e = readdir(dir); good && e; e = readdir(dir)) {
		uint64_t tid = 0;

		if (parse_u64(e->d_name, &tid) < 0 || tid == (uint64_t)pid ||
			tid == ret->monitor_tid)
			continue;
		/* the state first: one that stops running then has its run time up to date */
		good = before ? find_thread(fd, tid, ret)
			      : !is_running(fd, tid) && add_thread(fd, tid, false, ret);
	}
	return good;
}

void home_threads_note_main(int root_fd, const struct run *run, struct home_threads *ret)
{
	int pid = atomic_load(&run->pid);

	*ret = (struct home_threads){ 0 };
	ret->main_is_known = pid > 0 &&
		run_time(root_fd, pid, (uint64_t)pid, &ret->main_ns) &&
		run_has_process(run);
}

void home_threads_before(int root_fd, const struct run *run, struct home_threads *ret)
{
	int pid = atomic_load(&run->pid);

	*ret = (struct home_threads){ 0 };
	ret->all_are_known = pid > 0 && add_others(root_fd, pid, true, ret);
}

bool home_threads_after(int root_fd, const struct run *run, struct home_threads *home)
{
	int pid = atomic_load(&run->pid);
	struct home_threads now = { .monitor_tid = home->monitor_tid };

	home->main_is_known = run_time(root_fd, pid, (uint64_t)pid, &home->main_ns);
	/* behind it: who had the main thread do something has run before */
	home->all_are_known = home->main_is_known && home->all_are_known &&
		add_others(root_fd, pid, false, &now) && now.n_others == home->n_others &&
		now.others_ns == home->others_ns;
	home->main_is_known = home->main_is_known && run_has_process(run);
	return home->all_are_known && home->main_is_known;
}

enum home_state home_threads_look(
	int root_fd, const struct run *run, const struct home_threads *home)
{
	int pid = atomic_load(&run->pid);
	uint64_t ns = 0;

	if (!home->main_is_known || !run_time(root_fd, pid, (uint64_t)pid, &ns) ||
		ns != home->main_ns)
		return HOME_RAN;
	for (size_t i = 0; i < home->n_io; i++)
		if (!run_time(root_fd, pid, home->io[i].tid, &ns) || ns != home->io[i].ns)
			return HOME_RAN;
	/* behind the rest: no other process had that pid meanwhile */
	if (!run_has_process(run))
		return HOME_RAN;
	return home->all_are_known ? HOME_SLEPT : HOME_MAIN_SLEPT;
}
