/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

static const char magic[8] = "vhkeep";

static_assert(STATE_PATH_MAX >= PATH_MAX, "a path fits");

#define SEALS (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL)

/* What each descriptor must be; those before STATE_FD_SOCKET must be there. */
static const mode_t kinds[] = {
	[STATE_FD_FUSE] = S_IFCHR,
	[STATE_FD_HANDOVER] = S_IFREG,
	[STATE_FD_PID_FILE] = S_IFREG,
	[STATE_FD_SOCKET] = S_IFSOCK,
	[STATE_FD_BEFORE] = S_IFREG,
	[STATE_FD_MORE] = S_IFREG,
};
static_assert(ARRAY_LEN(kinds) == STATE_FDS, "a kind for each descriptor");

void state_begin(struct keeper_state *s)
{
	*s = (struct keeper_state){ .version = STATE_VERSION,
		.bytes = sizeof(*s),
		.pid = (int32_t)getpid(),
		.writer = VHOSTMD_VERSION };
	memcpy(s->magic, magic, sizeof(magic));
	for (int i = 0; i < STATE_FDS; i++)
		s->fds[i] = -1;
}

/* ---- what may be wrong ---- */

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool texts_are_good(const struct keeper_state *s)
{
	return ends(s->writer, sizeof(s->writer)) && ends(s->link, sizeof(s->link)) &&
		ends(s->program, sizeof(s->program)) && (!*s->link || *s->link == '/') &&
		*s->program == '/';
}

static bool fds_are_good(const struct keeper_state *s)
{
	for (int i = 0; i < STATE_FDS; i++) {
		/* 0 to 2 are everybody's */
		if (s->fds[i] < (i < STATE_FD_SOCKET ? 3 : -1) ||
			(s->fds[i] >= 0 && s->fds[i] < 3))
			return false;
		for (int j = 0; j < i; j++)
			if (s->fds[i] >= 0 && s->fds[i] == s->fds[j])
				return false;
	}
	return true;
}

/* What they are of is ours to signal. */
static bool workers_are_good(const struct keeper_state *s)
{
	if (s->n_workers > STATE_WORKERS || s->n_workers > s->n_started ||
		!s->n_started || s->serves > s->n_workers ||
		(s->fds[STATE_FD_SOCKET] >= 0 && !s->serves))
		return false;
	for (uint32_t i = 0; i < s->n_workers; i++) {
		if (s->workers[i] <= 1 || s->workers[i] == s->pid)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (s->workers[i] == s->workers[j])
				return false;
	}
	return true;
}

static bool numbers_are_good(const struct keeper_state *s, int64_t now_ns)
{
	return s->pid > 0 && s->ready_ns >= 0 && s->ready_ns <= now_ns &&
		s->down_ns >= 0 && s->down_ns <= now_ns && s->created_dir <= 1 &&
		s->mounted <= 1 && s->back <= 1 && s->serves <= 1 &&
		s->init_bytes <= HANDOVER_INIT_MAX && s->link_kept >= -1 &&
		s->link_kept < STATE_PATH_MAX;
}

int state_check(const void *bytes, size_t size, int64_t now_ns, struct keeper_state *ret,
	struct strbuf *why)
{
	const size_t head = offsetof(struct keeper_state, writer);
	struct keeper_state s = { 0 };

	memcpy(&s, bytes, size < sizeof(s) ? size : sizeof(s));
	if (size < head || memcmp(s.magic, magic, sizeof(magic)) != 0) {
		strbuf_adds(why, "it is no keeper's");
		return -EINVAL;
	}
	if (s.version != STATE_VERSION || s.bytes != sizeof(s) || size != sizeof(s)) {
		strbuf_addf(why, "it is of version %u, not %u", s.version, STATE_VERSION);
		return -EPROTO;
	}
	if (!texts_are_good(&s) || !fds_are_good(&s) || !workers_are_good(&s) ||
		!numbers_are_good(&s, now_ns)) {
		strbuf_adds(why, "it is damaged");
		return -EINVAL;
	}
	*ret = s;
	return 0;
}

/* ---- sending, receiving ---- */

void state_inherit(const struct keeper_state *s, bool inherit)
{
	for (int i = 0; i < STATE_FDS; i++)
		if (s->fds[i] >= 0)
			(void)fcntl(s->fds[i], F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

static int send_bytes(const void *bytes, size_t size)
{
	_cleanup_close_ int fd = memfd_create("vhostmd-keeper", MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, bytes, size);

	if (n < 0 || (size_t)n != size)
		return n < 0 ? -errno : -EIO;
	return fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : TAKE_FD(fd);
}

int state_send(const struct keeper_state *s)
{
	return send_bytes(s, sizeof(*s));
}

int state_send_more(const struct strbuf *bytes)
{
	return send_bytes(bytes->data, bytes->len);
}

static bool descriptors_are_good(const struct keeper_state *s)
{
	for (int i = 0; i < STATE_FDS; i++) {
		struct stat st;

		if (s->fds[i] >= 0 &&
			(fstat(s->fds[i], &st) < 0 || (st.st_mode & S_IFMT) != kinds[i]))
			return false;
	}
	return true;
}

int state_receive(int state_fd, struct keeper_state *ret, struct strbuf *why)
{
	_cleanup_close_ int fd = state_fd;
	struct keeper_state s;
	struct {
		struct keeper_state state;
		char more;
	} read_;
	ssize_t n = pread(fd, &read_, sizeof(read_), 0);

	if (n < 0 || (fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) == 0) {
		strbuf_adds(why, n < 0 ? strerror(errno) : "it is not sealed");
		return -EINVAL;
	}
	int r = state_check(&read_, (size_t)n, clock_mono_ns(), &s, why);

	if (r < 0)
		return r;
	if (s.pid != getpid() || !descriptors_are_good(&s)) {
		strbuf_adds(why, "it is another process'");
		return -EINVAL;
	}
	state_inherit(&s, false);
	*ret = s;
	return 0;
}

int state_receive_more(int fd, size_t max, struct strbuf *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	size_t size = (size_t)st.st_size;
	ssize_t n = pread(fd, strbuf_reserve(out, size), size, 0);

	if (n < 0 || (size_t)n != size)
		return n < 0 ? -errno : -EIO;
	out->len += size;
	return 0;
}
