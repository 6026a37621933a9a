/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "confine.h"

#include "config.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>
#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#include "util/caps.h"
#include "util/cleanup.h"
#include "util/strbuf.h"
#include "util/user.h"

/* ---- rights ---- */

/*
 * All that the worker may keep.  It needs none of them for anything else that it reads: files
 * of /proc, cgroups, sysfs and libvirt's pid files are open to all, libvirt lets all users in
 * that only read, and the keeper opens channels and old disks.
 */
static const struct {
	int cap;
	const char *name;
	size_t need; /* of struct confine_needs: offset of a bool */
} rights[] = {
	/* the kernel checks at each read that the reader may trace the process */
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", offsetof(struct confine_needs, process_io) },
	/* /proc/<pid>/io is QEMU's user's, mode 0400 */
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH",
		offsetof(struct confine_needs, process_io) },
	/* a lease on a file of another user's: whether anybody else has it open */
	{ CAP_LEASE, "CAP_LEASE", offsetof(struct confine_needs, old_disk) },
};

static uint64_t needed(const struct confine_needs *needs)
{
	uint64_t caps = 0;

	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		if (*(const bool *)((const char *)needs + rights[i].need))
			caps |= CAP_TO_BIT(rights[i].cap);
	return caps;
}

int confine_rights(const struct user *user, const struct confine_needs *needs)
{
	uint64_t keep = needed(needs);
	/* who has no right to drop them, has none to regain either */
	int r = caps_effective() & CAP_TO_BIT(CAP_SETPCAP) ? caps_bound(keep) : 0;

	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || user_become(user) < 0)
		return -errno;
	/* a change of user keeps those that are permitted, but not in force */
	r = caps_keep(keep);
	if (r < 0)
		return r;
	prctl(PR_SET_KEEPCAPS, 0);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

void confine_describe(struct strbuf *out)
{
	uint64_t have = caps_effective();
	size_t before = out->len;

	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		if (have & CAP_TO_BIT(rights[i].cap))
			strbuf_addf(out, "%s%s", out->len > before ? " " : "",
				rights[i].name);
	if (out->len == before)
		strbuf_adds(out, "none");
}

/* ---- calls ---- */

#ifdef HAVE_SECCOMP

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * What the worker and its libraries do, with whatever arguments.  Names of all architectures:
 * those that this one lacks are left out.
 */
static const char *const allowed[] = {
	/* files: opening, reading, and looking at them; an old disk is written in place */
	"open",
	"openat",
	"openat2",
	"close",
	"close_range",
	"read",
	"pread64",
	"readv",
	"preadv",
	"preadv2",
	"write",
	"pwrite64",
	"writev",
	"pwritev",
	"pwritev2",
	"lseek",
	"_llseek",
	"stat",
	"stat64",
	"fstat",
	"fstat64",
	"lstat",
	"lstat64",
	"newfstatat",
	"fstatat64",
	"statx",
	"statfs",
	"statfs64",
	"fstatfs",
	"fstatfs64",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents",
	"getdents64",
	"getcwd",
	"fcntl",
	"fcntl64",
	"flock",
	"fadvise64",
	"fadvise64_64",
	"fallocate",
	"arm_fadvise64_64",
	"dup",
	"dup2",
	"dup3",
	"pipe",
	"pipe2",
	"splice",
	"tee",
	"vmsplice",
	"umask",
	"inotify_init",
	"inotify_init1",
	"inotify_add_watch",
	"inotify_rm_watch",
	/* the link to the shared disk, with the worker's own rights */
	"mkdir",
	"mkdirat",
	"rmdir",
	"unlinkat",
	"symlink",
	"symlinkat",
	/* memory; code only from files that are loaded late, as modules of NSS */
	"mmap",
	"mmap2",
	"munmap",
	"mprotect",
	"mremap",
	"madvise",
	"brk",
	"membarrier",
	"mincore",
	"memfd_create",
	"ftruncate",
	"ftruncate64",
	/* threads */
	"futex",
	"futex_time64",
	"futex_waitv",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",
	"set_thread_area",
	"arch_prctl",
	"sched_yield",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"gettid",
	"exit",
	"exit_group",
	"restart_syscall",
	"prctl",
	"riscv_flush_icache",
	"cacheflush",
	/* commands of actions, which the runner starts */
	"setpgid",
	"waitid",
	"wait4",
	"waitpid",
	"pidfd_open",
	/* signals */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigtimedwait",
	"rt_sigtimedwait_time64",
	"rt_sigpending",
	"rt_sigsuspend",
	"sigaction",
	"sigprocmask",
	"sigreturn",
	"sigaltstack",
	"signalfd",
	"signalfd4",
	/* time */
	"clock_gettime",
	"clock_gettime64",
	"clock_getres",
	"clock_getres_time64",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"nanosleep",
	"gettimeofday",
	"time",
	"times",
	"getrusage",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_settime64",
	"timerfd_gettime",
	"timerfd_gettime64",
	/* waiting */
	"poll",
	"ppoll",
	"ppoll_time64",
	"select",
	"_newselect",
	"pselect6",
	"pselect6_time64",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_ctl_old",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd",
	"eventfd2",
	/* sockets: libvirt, the keeper, channels, rtnetlink, syslog, NSS */
	"socketpair",
	"socketcall",
	"connect",
	"bind",
	/* HTTP and the control socket, which others have opened: no other can be made to listen */
	"accept",
	"accept4",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"send",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"recv",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"recvmmsg_time64",
	"shutdown",
	/* who and where we are, and what we may */
	"getpid",
	"getppid",
	"getpgrp",
	"getpgid",
	"getsid",
	"getuid",
	"getuid32",
	"geteuid",
	"geteuid32",
	"getgid",
	"getgid32",
	"getegid",
	"getegid32",
	"getresuid",
	"getresuid32",
	"getresgid",
	"getresgid32",
	"getgroups",
	"getgroups32",
	"capget",
	"getrlimit",
	"ugetrlimit",
	"setrlimit",
	"uname",
	"sysinfo",
	"getrandom",
	"getcpu",
	"getpriority",
};

/* Of what else these need. */
static const char *const for_programs[] = { "fork", "vfork", "clone", "clone3", "execve",
	"execveat", "kill", "setsid", "setpgid", "chdir", "setresuid", "setresgid" };
static const char *const for_sanitizers[] = { "clone", "ptrace", "kill",
	"sched_setaffinity", "personality", "process_vm_readv" };

static int allow_names(scmp_filter_ctx filter, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		/* negative: another architecture's */
		int r = call < 0 ? 0 : seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);

		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

static int allow_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

/* Where it depends on an argument. */
static int allow_conditionally(scmp_filter_ctx filter, bool starts_programs)
{
	static const unsigned families[] = { AF_UNIX, AF_NETLINK, AF_INET, AF_INET6 };
	/* of terminals and sockets; none that puts words into a terminal's mouth */
	static const unsigned requests[] = { TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX,
		SIOCOUTQ };
	scmp_datum_t self = (scmp_datum_t)getpid();
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++)
		r = allow_if(filter, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, families[i]));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(requests); i++)
		r = allow_if(filter, SCMP_SYS(ioctl),
			SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));
	/* of ourselves alone, and not of the keeper, who may be the same user */
	if (r == 0)
		r = allow_if(filter, SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_EQ, 0));
	if (r == 0)
		r = allow_if(filter, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, self));
	if (r < 0 || starts_programs || SANITIZED)
		return r;
	r = allow_if(filter, SCMP_SYS(kill), SCMP_A0(SCMP_CMP_EQ, self));
#ifdef __s390__
	if (r == 0)
		r = allow_if(filter, SCMP_SYS(clone),
			SCMP_A1(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
#else
	if (r == 0)
		r = allow_if(filter, SCMP_SYS(clone),
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
#endif
	return r;
}

static int build(scmp_filter_ctx filter, bool starts_programs)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	/* as far as the kernel can: it is no part of the walls */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = allow_names(filter, allowed, ARRAY_LEN(allowed));
	if (r == 0 && starts_programs)
		r = allow_names(filter, for_programs, ARRAY_LEN(for_programs));
	else if (r ==
		0) /* what it asks for cannot be seen; the C library then uses clone */
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && SANITIZED)
		r = allow_names(filter, for_sanitizers, ARRAY_LEN(for_sanitizers));
	return r < 0 ? r : allow_conditionally(filter, starts_programs);
}

int confine_calls(bool starts_programs)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!filter)
		return -ENOMEM;
	int r = build(filter, starts_programs);

	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

#else

int confine_calls(bool starts_programs)
{
	(void)starts_programs;
	return -ENOSYS;
}

#endif
