/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Confines itself as the worker does and tries what the worker must not do, in a thread that
 * ran before and in one that starts then.  Prints what went wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine.h"
#include "util/caps.h"
#include "util/cleanup.h"
#include "util/user.h"

static sem_t confined;
static _Atomic int failures;

static void check(const char *what, long result, int error)
{
	int is = result < 0 ? errno : 0;

	if (is == error)
		return;
	printf("%s: %s, should be %s\n", what, strerror(is), strerror(error));
	failures++;
}

static void try_forbidden(void)
{
	static const struct {
		const char *name;
		long call;
	} calls[] = {
		{ "execve", SYS_execve },
		{ "execveat", SYS_execveat },
		{ "mount", SYS_mount },
		{ "umount2", SYS_umount2 },
		{ "unshare", SYS_unshare },
		{ "setns", SYS_setns },
		{ "setresuid", SYS_setresuid },
		{ "bpf", SYS_bpf },
		{ "perf_event_open", SYS_perf_event_open },
		{ "process_vm_writev", SYS_process_vm_writev },
		{ "keyctl", SYS_keyctl },
		{ "io_uring_setup", SYS_io_uring_setup },
		{ "userfaultfd", SYS_userfaultfd },
		{ "fchmodat", SYS_fchmodat },
		{ "fchownat", SYS_fchownat },
		{ "renameat2", SYS_renameat2 },
		{ "listen", SYS_listen },
		{ "capset", SYS_capset },
		{ "pidfd_send_signal", SYS_pidfd_send_signal },
		{ "pidfd_getfd", SYS_pidfd_getfd },
		{ "chroot", SYS_chroot },
		{ "open_by_handle_at", SYS_open_by_handle_at },
	};

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		check(calls[i].name, syscall(calls[i].call, 0, 0, 0, 0, 0, 0), EPERM);
	check("AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0), EPERM);
	check("TIOCSTI", ioctl(0, TIOCSTI, "x"), EPERM);
	check("clone3", syscall(SYS_clone3, NULL, 0UL), ENOSYS);
#ifndef SANITIZED /* sanitizers make these themselves */
	check("fork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM);
	check("a user namespace", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
		EPERM);
	check("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL), EPERM);
	check("kill", kill(getppid(), 0), EPERM);
	check("kill of ourselves", kill(getpid(), 0), 0);
#endif
}

static void try_allowed(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check("open", null, 0);
	check("socket", fd, 0);
	check("write", write(null, "", 1), 0);
}

static void *early(void *arg)
{
	(void)arg;
	sem_wait(&confined);
	try_forbidden();
	try_allowed();
	return NULL;
}

static void *late(void *arg)
{
	(void)arg;
	try_forbidden();
	return NULL;
}

/* confined USER: exit status 77 if system calls are not restricted here. */
int main(int argc, char **argv)
{
	const struct confine_needs needs = { .old_disk = true };
	struct user user = { 0 };
	pthread_t threads[2];

	if (argc != 2 || user_resolve(argv[1], &user) < 0)
		return EXIT_FAILURE;
	sem_init(&confined, 0, 0);
	errno = -confine_rights(&user, &needs);
	check("confine_rights()", errno ? -1 : 0, 0);
	check("setuid(0)", setuid(0), EPERM);
	if (geteuid() != user.uid || caps_effective() != CAP_TO_BIT(CAP_LEASE)) {
		printf("wrong rights: %llx\n", (unsigned long long)caps_effective());
		failures++;
	}
	pthread_create(&threads[0], NULL, early, NULL);
	int r = confine_calls(false);

	if (r < 0) {
		printf("confine_calls(): %s\n", strerror(-r));
		_exit(r == -ENOSYS && !failures ? 77 : 1);
	}
	sem_post(&confined);
	check("a thread", -pthread_create(&threads[1], NULL, late, NULL), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	try_forbidden();
	printf("%d failures\n", failures);
	return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
