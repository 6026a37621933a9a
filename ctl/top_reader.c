/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

/* Addresses alone until something is there: some 7 KiB for each VM. */
#define PROM_BYTES_MAX ((size_t)256 << 20)
#define STATUS_BYTES_MAX ((size_t)16 << 20)
/* What a daemon may take, on a host that is short of processors. */
#define ANSWER_NS (3 * NS_PER_S)
/* A rendering that was dropped while it was read: it had grown. */
#define READ_TRIES 3

struct shared {
	char prom[PROM_BYTES_MAX + 1], status[STATUS_BYTES_MAX + 1];
};

struct question {
	int wait_ms;
	bool in_any_case;
};

struct answer {
	int error; /* 0 or -errno */
	bool same;
	size_t prom_size, status_size;
	int64_t prom_real_ns, status_real_ns, mono_ns, real_ns;
};

struct top_reader {
	const char *mount;
	struct shared *shared;
	pid_t child; /* 0: none */
	int fd;
	int64_t late_ns;
};

/* ---- the child ---- */

/*
 * A metric of the host that changes with each sample, to be polled.  Its name is the
 * configuration's, its source is not.  Return: a descriptor; -1: there is none.
 */
static int open_beat(const char *mount)
{
	static const char *const sources[] = { "vhostmd.fast.cycles", "host.uptime",
		"host.context.switches", "host.cpu.idle" };
	_cleanup_free_ char *path = xasprintf("%s/metrics/host", mount);
	_cleanup_closedir_ DIR *dir = opendir(path);
	size_t best = ARRAY_LEN(sources);
	int found = -1;

	if (!dir)
		return -1;
	for (struct dirent *e; best > 0 && (e = readdir(dir));) {
		_cleanup_close_ int fd =
			openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		char source[64];
		ssize_t n = fd < 0 ? -1
				   : fgetxattr(fd, "user.vhostmd.source", source,
					     sizeof(source) - 1);

		if (n < 0)
			continue;
		source[n] = '\0';
		for (size_t i = 0; i < best; i++) {
			if (strcmp(source, sources[i]) != 0)
				continue;
			if (found >= 0)
				close(found);
			found = TAKE_FD(fd);
			best = i;
		}
	}
	return found;
}

/* Return: 0 or -errno. */
static int read_once(
	const char *path, char *to, size_t max, size_t *ret_size, int64_t *ret_real_ns)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t size = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	for (ssize_t n = 1; n != 0; size += n > 0 ? (size_t)n : 0) {
		if (size == max)
			return -EFBIG;
		n = read(fd, to + size, max - size);
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	*ret_size = size;
	*ret_real_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
	return 0;
}

static int read_document(const char *mount, const char *name, char *to, size_t max,
	size_t *ret_size, int64_t *ret_real_ns)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", mount, name);
	int r = -ESTALE;

	for (int i = 0; i < READ_TRIES && r == -ESTALE; i++)
		r = read_once(path, to, max, ret_size, ret_real_ns);
	return r;
}

/* status first: what is in metrics.prom is as new, or newer by what came meanwhile. */
static void read_all_of_it(const char *mount, struct shared *shared, struct answer *ret)
{
	ret->error = read_document(mount, "status", shared->status, STATUS_BYTES_MAX,
		&ret->status_size, &ret->status_real_ns);
	if (ret->error == 0)
		ret->error = read_document(mount, "metrics.prom", shared->prom,
			PROM_BYTES_MAX, &ret->prom_size, &ret->prom_real_ns);
	ret->real_ns = clock_real_ns();
	ret->mono_ns = clock_mono_ns();
}

/* True if something was sampled since this was asked last, or that is not known. */
static bool wait_for_beat(const char *mount, int *beat, int wait_ms)
{
	struct pollfd pfd = { .fd = *beat, .events = POLLPRI };

	if (*beat < 0) {
		poll(NULL, 0, wait_ms);
		*beat = pfd.fd = open_beat(mount);
		poll(&pfd, 1, 0); /* changes count from here on */
		return true;
	}
	int n = poll(&pfd, 1, wait_ms);

	if (n > 0 && !(pfd.revents & POLLPRI)) {
		/* the daemon, or the metric, is gone */
		close(*beat);
		*beat = -1;
	}
	return n != 0;
}

static void serve(const struct top_reader *r, int fd)
{
	int beat = -1;
	struct question q;

	while (recv(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q)) {
		bool new = wait_for_beat(r->mount, &beat, q.wait_ms);
		struct answer a = { .same = !new && !q.in_any_case };

		if (!a.same)
			read_all_of_it(r->mount, r->shared, &a);
		if (a.error < 0 && beat >= 0) {
			close(beat);
			beat = -1;
		}
		if (send(fd, &a, sizeof(a), MSG_NOSIGNAL) != (ssize_t)sizeof(a))
			break;
	}
}

/* Keeps nothing open that is the terminal's or of who reads what we print. */
static void be_child(const struct top_reader *r, int fd, pid_t parent)
{
	static const int theirs[] = { SIGTERM, SIGHUP, SIGQUIT, SIGWINCH };
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
		signal(theirs[i], SIG_DFL);
	signal(SIGINT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (int i = 0; i <= STDERR_FILENO; i++)
		dup2(null, i);
	serve(r, fd);
	_exit(0);
}

/* ---- the parent ---- */

static bool start(struct top_reader *r)
{
	pid_t parent = getpid();
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return false;
	r->child = fork();
	if (r->child == 0) {
		close(fds[0]);
		be_child(r, fds[1], parent);
	}
	close(fds[1]);
	if (r->child < 0) {
		r->child = 0;
		close(fds[0]);
		return false;
	}
	r->fd = fds[0];
	return true;
}

/* One that hangs in the kernel may end later; it is not waited for. */
static void give_up(struct top_reader *r)
{
	if (r->child)
		kill(r->child, SIGKILL);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	r->child = 0;
	r->late_ns = 0;
}

struct top_reader *top_reader_new(const char *mount)
{
	void *shared = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (shared == MAP_FAILED)
		return NULL;
	struct top_reader *r = xcalloc(1, sizeof(*r));

	*r = (struct top_reader){ .mount = mount, .shared = shared, .fd = -1 };
	return r;
}

void top_reader_free(struct top_reader *r)
{
	if (!r)
		return;
	give_up(r);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	munmap(r->shared, sizeof(struct shared));
	free(r);
}

int top_reader_fd(const struct top_reader *r)
{
	return r->fd;
}

bool top_reader_ask(struct top_reader *r, int wait_ms, bool in_any_case)
{
	const struct question q = { wait_ms, in_any_case };

	while (waitpid(-1, NULL, WNOHANG) > 0) /* those that were given up */
		;
	if (!r->child && !start(r))
		return false;
	if (send(r->fd, &q, sizeof(q), MSG_NOSIGNAL) != (ssize_t)sizeof(q)) {
		give_up(r);
		return false;
	}
	r->late_ns = clock_mono_ns() + wait_ms * NS_PER_MS + ANSWER_NS;
	return true;
}

int64_t top_reader_late_ns(const struct top_reader *r)
{
	return r->late_ns;
}

enum top_answer top_reader_take(
	struct top_reader *r, struct top_sample *ret, int *ret_error)
{
	struct answer a;
	ssize_t n = r->fd < 0 ? 0 : recv(r->fd, &a, sizeof(a), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		if (!r->late_ns || clock_mono_ns() < r->late_ns)
			return TOP_NOTHING;
		give_up(r);
		*ret_error = -ETIMEDOUT;
		return TOP_LOST;
	}
	if (n != (ssize_t)sizeof(a)) {
		give_up(r);
		*ret_error = -ECHILD;
		return TOP_LOST;
	}
	r->late_ns = 0;
	if (a.error < 0) {
		*ret_error = a.error;
		return TOP_LOST;
	}
	if (a.same)
		return TOP_SAME;
	*ret = (struct top_sample){ .prom = r->shared->prom,
		.prom_size = a.prom_size,
		.prom_real_ns = a.prom_real_ns,
		.status = r->shared->status,
		.status_size = a.status_size,
		.status_real_ns = a.status_real_ns,
		.mono_ns = a.mono_ns,
		.real_ns = a.real_ns };
	return TOP_READ;
}
