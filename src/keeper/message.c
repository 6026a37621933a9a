/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/message.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

int message_send(int socket, const struct answer *answer, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)answer, sizeof(*answer) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int message_receive(int socket, struct answer *answer, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { answer, sizeof(*answer) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = 0;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*answer))
		return n < 0 ? -errno : -ECONNRESET;
	const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	*ret_fd = -1;
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(int));
	return answer->result;
}

/* ---- the worker's side ---- */

static struct lock request_lock = LOCK_INIT;

void keeper_report_ready(int keeper_fd)
{
	char msg = MSG_READY;

	if (send(keeper_fd, &msg, 1, MSG_NOSIGNAL) < 0)
		log_error("reporting readiness: %s", strerror(errno));
}

/* @why: NULL is accepted. */
static int request(
	int keeper_fd, char kind, const char *path, int *ret_fd, struct strbuf *why)
{
	_cleanup_free_ char *msg = xasprintf("%c%s", kind, path);
	struct answer answer = { 0 };
	int r = 0;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	lock_take(&request_lock);
	if (send(keeper_fd, msg, strlen(msg), MSG_NOSIGNAL) < 0)
		r = -errno;
	else
		r = message_receive(keeper_fd, &answer, ret_fd);
	lock_release(&request_lock);
	if (r < 0 && why)
		strbuf_adds(why, *answer.why ? answer.why : strerror(-r));
	return r;
}

int keeper_connect(int keeper_fd, const char *path)
{
	int fd = message_connect(path);

	if (fd != -EACCES && fd != -EPERM)
		return fd;
	int r = request(keeper_fd, MSG_CONNECT, path, &fd, NULL);

	return r < 0 ? r : fd < 0 ? -EPROTO : fd;
}

int keeper_place_disk(int keeper_fd, const char *mount, const char *link, int *ret_old_fd,
	struct strbuf *why)
{
	_cleanup_free_ char *target = message_shared_disk(mount);
	_cleanup_strbuf_ struct strbuf refusal = STRBUF_INIT;
	size_t kept = 0;
	int fd = -1;
	int r = request(keeper_fd, MSG_LINK, link ? link : "", &fd, &refusal);

	if (r == -EPERM)
		return place_link(link, target, &kept, why);
	if (r < 0) {
		strbuf_adds(why, strbuf_str(&refusal));
		return r;
	}
	*ret_old_fd = fd;
	return 0;
}
