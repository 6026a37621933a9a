/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/message.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bpf/delay_maps.h"
#include "keeper/keeper.h"
#include "keeper/place.h"
#include "util/cleanup.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

char *message_shared_disk(const char *mount)
{
	return xasprintf("%s/disk/vhostmd0.img", mount);
}

/* Through the inode, so that the name's length does not matter and cannot be exchanged. */
static int connect_inode(int inode_fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", inode_fd);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int message_connect(const char *path)
{
	_cleanup_close_ int inode = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (inode < 0 || fstat(inode, &st) < 0)
		return -errno;
	return S_ISSOCK(st.st_mode) ? connect_inode(inode) : -ENOTSOCK;
}

/* ---- answers ---- */

int message_send_fds(
	int socket, const struct answer *answer, const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(MESSAGE_FDS * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)answer, sizeof(*answer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert(n_fds <= MESSAGE_FDS);
	if (n_fds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int message_send(int socket, const struct answer *answer, int fd)
{
	return message_send_fds(socket, answer, &fd, fd >= 0);
}

int message_receive_fds(int socket, struct answer *answer, int *ret_fds, size_t n_fds)
{
	char control[CMSG_SPACE(MESSAGE_FDS * sizeof(int))] = { 0 };
	struct iovec iov = { answer, sizeof(*answer) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	int fds[MESSAGE_FDS];
	ssize_t n = 0;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*answer))
		return n < 0 ? -errno : -ECONNRESET;
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	size_t came = cmsg && cmsg->cmsg_type == SCM_RIGHTS
		? (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int)
		: 0;

	if (came)
		memcpy(fds, CMSG_DATA(cmsg), came * sizeof(int));
	for (size_t i = 0; i < came && came != n_fds; i++)
		close(fds[i]);
	for (size_t i = 0; i < n_fds; i++)
		ret_fds[i] = came == n_fds ? fds[i] : -1;
	return answer->result;
}

int message_receive(int socket, struct answer *answer, int *ret_fd)
{
	return message_receive_fds(socket, answer, ret_fd, 1);
}

/* ---- the worker's side ---- */

static struct lock request_lock = LOCK_INIT;

void keeper_report_ready(int keeper_fd)
{
	char msg = MSG_READY;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting readiness: %s", strerror(errno));
}

void keeper_report_conf(int keeper_fd, uint64_t hash)
{
	_cleanup_free_ char *msg = xasprintf("%c%" PRIu64, MSG_CONF, hash);

	if (send(keeper_fd, msg, strlen(msg), MSG_NOSIGNAL) < 0)
		log_error("reporting the configuration: %s", strerror(errno));
}

static int request_fds(int keeper_fd, char kind, const char *path, struct answer *ret,
	int *ret_fds, size_t n_fds)
{
	_cleanup_free_ char *msg = xasprintf("%c%s", kind, path);
	int r = 0;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	lock_take(&request_lock);
	if (send(keeper_fd, msg, strlen(msg), MSG_NOSIGNAL) < 0)
		r = -errno;
	else
		r = message_receive_fds(keeper_fd, ret, ret_fds, n_fds);
	lock_release(&request_lock);
	return r;
}

static int request(
	int keeper_fd, char kind, const char *path, struct answer *ret, int *ret_fd)
{
	return request_fds(keeper_fd, kind, path, ret, ret_fd, 1);
}

/* Whether the keeper will not, or is not heard any more, so that we may try it ourselves. */
static bool is_refused(int r)
{
	return r == -EPERM || r == -EACCES || r == -EPIPE || r == -ECONNRESET;
}

int keeper_connect(int keeper_fd, const char *path, struct keeper_socket *ret)
{
	struct answer answer = { 0 };
	int fd = -1;
	int r = request(keeper_fd, MSG_CONNECT, path, &answer, &fd);

	if (is_refused(r)) {
		answer = (struct answer){ 0 };
		r = fd = message_connect(path);
	}
	if (r < 0)
		return r;
	*ret = (struct keeper_socket){ fd, answer.id, answer.resumed };
	return fd < 0 ? -EPROTO : 0;
}

int keeper_upgrade(int keeper_fd)
{
	struct answer answer = { 0 };
	int fd = -1;
	int r = request(keeper_fd, MSG_UPGRADE, "", &answer, &fd);

	close_p(&fd);
	return r;
}

int keeper_upgrade_state(int keeper_fd, struct strbuf *why, int *ret_fd)
{
	struct answer answer = { 0 };

	*ret_fd = -1;
	int r = request(keeper_fd, MSG_UPGRADE_STATE, "", &answer, ret_fd);

	strbuf_adds(why, answer.why);
	return r;
}

void keeper_report_log_level(int keeper_fd)
{
	char msg = MSG_LOG;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting the level of the log: %s", strerror(errno));
}

void keeper_report_old_over(int keeper_fd)
{
	char msg = MSG_OLD_OVER;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting the end of the old file: %s", strerror(errno));
}

int keeper_place_disk(int keeper_fd, const char *mount, const char *link,
	struct keeper_old_file *ret, struct strbuf *why)
{
	_cleanup_free_ char *target = message_shared_disk(mount);
	struct answer answer = { 0 };
	size_t kept = 0;

	*ret = (struct keeper_old_file){ .fd = -1 };
	int r = request(keeper_fd, MSG_LINK, link ? link : "", &answer, &ret->fd);

	ret->removed = answer.removed;
	if (r == -EPERM)
		return place_link(link, target, &kept, why);
	if (r < 0)
		strbuf_adds(why, *answer.why ? answer.why : strerror(-r));
	return r;
}

int keeper_delays(int keeper_fd, struct delay_maps *ret, struct strbuf *why)
{
	struct answer answer = { 0 };
	struct delay_maps maps = { .fds = { -1, -1, -1 } };
	int r = request_fds(keeper_fd, MSG_DELAYS, "", &answer, maps.fds, DELAY_MAPS);

	maps.bits = answer.bits;
	if (r == 0 && maps.fds[0] < 0)
		r = -EPROTO;
	if (r == 0)
		*ret = maps;
	else
		strbuf_adds(why, *answer.why ? answer.why : strerror(-r));
	return r;
}

void keeper_report_no_delays(int keeper_fd)
{
	char msg = MSG_NO_DELAYS;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting that no waits are asked for: %s", strerror(errno));
}
