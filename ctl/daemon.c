/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "status.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* A reload reads a file; an upgrade gives up after 15 s by itself (vhostmd(8), UPGRADE). */
#define RELOAD_PATIENCE_NS (10 * NS_PER_S)
#define UPGRADE_PATIENCE_NS (20 * NS_PER_S)
#define POLL_NS (20 * NS_PER_MS)

/* Who serves the mount, and who keeps it: the worker's parent. */
struct daemon {
	pid_t worker, keeper;
	int64_t reads; /* how often this worker has read its configuration */
};

/* The number behind "PPid:", and that it is a vhostmd.  Return: 0 if it is none. */
static pid_t find_keeper(pid_t worker)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)worker);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (read_file_at(AT_FDCWD, path, 1 << 16, &text) < 0 || !text.len ||
		strncmp(text.data, "Name:\tvhostmd\n", 14) != 0)
		return 0;
	const char *line = strstr(text.data, "\nPPid:");
	long pid = line ? strtol(line + 6, NULL, 10) : 0;

	return pid > 1 ? (pid_t)pid : 0;
}

static int find_daemon(const struct ctl *ctl, struct daemon *ret)
{
	_cleanup_status_ struct status status = { 0 };

	if (status_read(ctl->mount, &status) < 0)
		return CTL_FAILED;
	*ret = (struct daemon){ .worker = (pid_t)status_number(&status, "pid"),
		.reads = status_number(&status, "conf.reads") };
	ret->keeper = ret->worker > 0 ? find_keeper(ret->worker) : 0;
	if (ret->keeper)
		return CTL_OK;
	ctl_error("whoever serves %s is no process of this host", ctl->mount);
	ctl_hint("run vhostmdctl where vhostmd runs, not in a container");
	return CTL_FAILED;
}

static int send_signal(pid_t pid, int sig)
{
	if (kill(pid, sig) == 0)
		return CTL_OK;
	ctl_error("process %d: %s", (int)pid, strerror(errno));
	if (errno == EPERM)
		ctl_hint("run it as root");
	return CTL_FAILED;
}

static void pause_a_moment(void)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };

	nanosleep(&pause, NULL);
}

/* Until this worker, or another one, has read its configuration. */
static int wait_for_reload(const struct ctl *ctl, const struct daemon *was)
{
	for (int64_t until = clock_mono_ns() + RELOAD_PATIENCE_NS;
		clock_mono_ns() < until; pause_a_moment()) {
		_cleanup_status_ struct status status = { 0 };
		const char *file;

		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		if (status_number(&status, "pid") == was->worker &&
			status_number(&status, "conf.reads") == was->reads)
			continue;
		file = status_text(&status, "conf.file");
		int64_t mistakes = status_number(&status, "conf.mistakes");

		if (status_text(&status, "conf.refused")) {
			ctl_error(
				"%s was refused: the configuration before it is in force",
				file ? file : "the file");
			ctl_hint("vhostmdctl check-config says what is wrong with it");
			return CTL_FAILED;
		}
		printf("%s is in force\n", file ? file : "the file");
		if (mistakes > 0) {
			ctl_error("without what %" PRId64 " mistakes stand in", mistakes);
			ctl_hint("vhostmdctl check-config says which");
		}
		return CTL_OK;
	}
	ctl_error("the daemon has not read its configuration within %d s",
		(int)(RELOAD_PATIENCE_NS / NS_PER_S));
	ctl_hint("vhostmdctl doctor, and its log: journalctl -u vhostmd");
	return CTL_FAILED;
}

int daemon_reload(const struct ctl *ctl)
{
	struct daemon daemon;
	int r = find_daemon(ctl, &daemon);

	if (r == CTL_OK)
		r = send_signal(daemon.keeper, SIGHUP);
	return r == CTL_OK ? wait_for_reload(ctl, &daemon) : r;
}

static bool runs(pid_t pid, const struct stat *program)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/exe", (int)pid);
	struct stat exe;

	return stat(path, &exe) == 0 && exe.st_ino == program->st_ino &&
		exe.st_dev == program->st_dev;
}

int daemon_upgrade(const struct ctl *ctl)
{
	struct stat program;
	struct daemon was;

	int r = find_daemon(ctl, &was);

	if (r == CTL_OK && stat(ctl->program, &program) < 0) {
		ctl_error("%s: %s", ctl->program, strerror(errno));
		ctl_hint("--program says where vhostmd is installed");
		return CTL_FAILED;
	}
	if (r == CTL_OK)
		r = send_signal(was.keeper, SIGUSR2);
	if (r != CTL_OK)
		return r;
	for (int64_t until = clock_mono_ns() + UPGRADE_PATIENCE_NS;
		clock_mono_ns() < until; pause_a_moment()) {
		_cleanup_status_ struct status status = { 0 };

		if (kill(was.worker, 0) == 0 || !runs(was.keeper, &program))
			continue;
		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		printf("vhostmd %s runs\n",
			status_text(&status, "version") ? status_text(&status, "version")
							: "?");
		return CTL_OK;
	}
	_cleanup_status_ struct status status = { 0 };

	ctl_error("vhostmd goes on with the program that it had");
	if (status_read(ctl->mount, &status) == 0 && status_text(&status, "conf.refused"))
		ctl_hint("another one needs a configuration that can be used: "
			 "vhostmdctl check-config");
	else
		ctl_hint("its log says why: journalctl -u vhostmd");
	return CTL_FAILED;
}

int daemon_check_config(const struct ctl *ctl, const char *file)
{
	_cleanup_status_ struct status status = { 0 };

	if (!file) {
		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		file = status_text(&status, "conf.file");
	}
	execl(ctl->program, "vhostmd", "--check-config", file, (char *)NULL);
	ctl_error("%s: %s", ctl->program, strerror(errno));
	return CTL_FAILED;
}
