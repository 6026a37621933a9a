/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands for QEMU and its guest in tests of channels: real sockets. */
#pragma once

#include "test.h"
#include "tmp.h"
#include "specs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/metric_list.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "virtio/channels.h"

#define PATIENCE_MS 20000
#define GET "GET /metrics/XML\n\n"
#define INVALID "INVALID REQUEST\n\n"

static struct channels_config usual = { .enabled = true,
	.max_channels = 10,
	.max_requests = 10,
	.expiration_ns = 1000 * NS_PER_S };

/* What stands for QEMU: a listening socket of a VM. */
struct guest {
	struct uuid uuid;
	char path[TMP_PATH_SIZE];
	int listener, fd;
};

static inline int connect_unix(void *ctx, const char *path, struct channel_socket *ret)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)ctx;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
		ret->fd = fd;
		return 0;
	}
	int r = -errno;

	close(fd);
	return r;
}

static inline void guest_listen(struct guest *g)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(g->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(g->listener, 1), 0);
}

static inline void guest_init(struct guest *g, uint8_t n)
{
	*g = (struct guest){ .uuid = { { n } }, .listener = -1, .fd = -1 };
	char name[32];

	snprintf(name, sizeof(name), "vhostmd-chan.%d.%d", (int)getpid(), n);
	tmp_path(g->path, name);
	unlink(g->path);
}

static inline void guest_done(struct guest *g)
{
	close_p(&g->fd);
	close_p(&g->listener);
	unlink(g->path);
}

static inline bool readable(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, ms) == 1;
}

static inline void guest_accept(struct guest *g)
{
	assert_true(readable(g->listener, PATIENCE_MS));
	g->fd = accept(g->listener, NULL, NULL);
	assert_true(g->fd >= 0);
}

static inline void guest_send(struct guest *g, const char *text)
{
	assert_int_equal(write(g->fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads one answer, up to its empty line. */
static inline char *guest_receive(struct guest *g)
{
	struct strbuf in = STRBUF_INIT;
	const char *end = NULL;

	while (!end) {
		size_t before = in.len;
		char *at = strbuf_reserve(&in, 65536);

		assert_true(readable(g->fd, PATIENCE_MS));
		ssize_t n = recv(g->fd, at, 65536, MSG_PEEK);

		assert_true(n > 0);
		in.len += (size_t)n;
		end = memmem(in.data + (before ? before - 1 : 0),
			in.len - (before ? before - 1 : 0), "\n\n", 2);
		if (end)
			in.len = (size_t)(end - in.data) + 2;
		in.data[in.len] = '\0';
		assert_int_equal(recv(g->fd, in.data + before, in.len - before, 0),
			in.len - before);
	}
	return strbuf_steal(&in);
}

static inline void assert_answer(
	struct guest *g, const char *request, const char *expected)
{
	guest_send(g, request);
	_cleanup_free_ char *answer = guest_receive(g);

	if (!strstr(answer, expected))
		fail_msg("%s was answered with %s", request, answer);
}

/*
 * A host and one VM, the one of guest number 1, with one metric of this value each.  @grants:
 * what the host grants its VMs, NULL: all.
 */
static inline void publish_granted(
	struct tree *tree, uint64_t generation, const char *text, struct grants *grants)
{
	struct spec_set *specs =
		specs_named(METRIC_STRING, (const char *const[]){ "t", NULL });
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_string(text);
	struct vm_ident ident = { .uuid = { { 1 } }, .id = 3, .name = "vm" };

	metric_list_builder_add(b, 0, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *vm = snapshot_new(&ident, generation, &list, 1, clock_mono_ns());

	struct snapshot *host = snapshot_new(NULL, generation, &list, 1, 1);

	snapshot_grant(host, grants);
	tree_publish(tree, generation, host, &vm, 1);
	metric_list_unref(list);
	spec_set_unref(specs);
}

static inline void publish(struct tree *tree, uint64_t generation, const char *text)
{
	publish_granted(tree, generation, text, NULL);
}

static inline struct tree *make_tree(void)
{
	struct tree *tree = tree_new();

	publish(tree, 1, "line\n\nline");
	return tree;
}

/* Waits until the status has this line. */
static inline void wait_status(struct channels *cs, const char *line)
{
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;

	for (int i = 0; i < PATIENCE_MS; i++) {
		strbuf_done(&status);
		channels_status(cs, &status);
		if (strstr(strbuf_str(&status), line))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("no %sin\n%s", line, strbuf_str(&status));
}
