/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels over real sockets: requests, nonsense, slow readers, limits, expiration. */
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

#include "core/grants.h"
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

static struct channels_config usual = {
	.enabled = true, .max_channels = 10, .expiration_ns = 1000 * NS_PER_S
};

/* What stands for QEMU: a listening socket of a VM. */
struct guest {
	struct uuid uuid;
	char path[TMP_PATH_SIZE];
	int listener, fd;
};

static int connect_unix(void *ctx, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)ctx;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	int r = -errno;

	close(fd);
	return r;
}

static void guest_listen(struct guest *g)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", g->path);
	g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(g->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(g->listener, 1), 0);
}

static void guest_init(struct guest *g, uint8_t n)
{
	*g = (struct guest){ .uuid = { { n } }, .listener = -1, .fd = -1 };
	char name[32];

	snprintf(name, sizeof(name), "vhostmd-chan.%d.%d", (int)getpid(), n);
	tmp_path(g->path, name);
	unlink(g->path);
}

static void guest_done(struct guest *g)
{
	close_p(&g->fd);
	close_p(&g->listener);
	unlink(g->path);
}

static bool readable(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, ms) == 1;
}

static void guest_accept(struct guest *g)
{
	assert_true(readable(g->listener, PATIENCE_MS));
	g->fd = accept(g->listener, NULL, NULL);
	assert_true(g->fd >= 0);
}

static void guest_send(struct guest *g, const char *text)
{
	assert_int_equal(write(g->fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads one answer, up to its empty line. */
static char *guest_receive(struct guest *g)
{
	struct strbuf in = STRBUF_INIT;

	while (!in.len || !strstr(in.data, "\n\n")) {
		char c;

		assert_true(readable(g->fd, PATIENCE_MS));
		assert_int_equal(read(g->fd, &c, 1), 1);
		strbuf_addc(&in, c);
	}
	return strbuf_steal(&in);
}

static void assert_answer(struct guest *g, const char *request, const char *expected)
{
	guest_send(g, request);
	_cleanup_free_ char *answer = guest_receive(g);

	if (!strstr(answer, expected))
		fail_msg("%s was answered with %s", request, answer);
}

/* A host that grants its VMs this (NULL: all), and one VM, the one of guest number 1. */
static void publish(struct tree *tree, uint64_t generation, struct grants *grants)
{
	struct spec_set *specs =
		specs_named(METRIC_STRING, (const char *const[]){ "t", NULL });
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_string("line\n\nline");
	struct vm_ident ident = { .uuid = { { 1 } }, .id = 3, .name = "vm" };

	metric_list_builder_add(b, 0, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *vm = snapshot_new(&ident, 1, &list, 1, clock_mono_ns());
	struct snapshot *host = snapshot_new(NULL, generation, &list, 1, 1);

	snapshot_grant(host, grants);
	tree_publish(tree, generation, host, &vm, 1);
	metric_list_unref(list);
	spec_set_unref(specs);
}

static struct tree *make_tree(void)
{
	struct tree *tree = tree_new();

	publish(tree, 1, NULL);
	return tree;
}

static void requests_are_answered(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels *cs = channels_start(tree, &usual, connect_unix, NULL);
	struct guest a, b;
	char flood[3000];

	guest_init(&a, 1);
	guest_init(&b, 2);
	guest_listen(&a);
	guest_listen(&b);
	channels_set(cs, &a.uuid, a.path);
	channels_set(cs, &b.uuid, b.path);
	guest_accept(&a);
	guest_accept(&b);
	assert_answer(&a, GET, "context='vm' id='3'");
	assert_answer(&a, "GET /metrics/XML\r\n\r\n", "line&#10;&#10;line");
	assert_answer(&b, GET, "<!-- VM metrics not available -->");
	assert_answer(&a, "GET /metrics/JSON\n\n", INVALID);
	assert_answer(&a, "\n\n", INVALID);
	assert_answer(&a, GET, "</metrics>\n\n");
	/* in pieces, and two at once */
	guest_send(&a, "GET /metr");
	assert_answer(&a, "ics/XML\n\n", "</metrics>\n\n");
	guest_send(&a, GET);
	assert_answer(&a, GET, "</metrics>\n\n");
	_cleanup_free_ char *second = guest_receive(&a);

	assert_non_null(strstr(second, "</metrics>"));
	/* too long a request is refused before its end */
	memset(flood, 'x', sizeof(flood) - 1);
	flood[sizeof(flood) - 1] = '\0';
	guest_send(&a, flood);
	for (int i = 0; i < 2; i++) {
		_cleanup_free_ char *refusal = guest_receive(&a);

		assert_string_equal(refusal, INVALID);
	}
	assert_answer(&b, GET, "<metrics>");
	channels_stop(cs);
	guest_done(&a);
	guest_done(&b);
	tree_free(tree);
}

static void a_guest_is_told_what_it_is_granted(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels *cs = channels_start(tree, &usual, connect_unix, NULL);
	struct grants *none = grants_new();
	struct guest a;

	none->rest = GRANTS_NONE;
	guest_init(&a, 1);
	guest_listen(&a);
	channels_set(cs, &a.uuid, a.path);
	guest_accept(&a);
	assert_answer(&a, GET, "context='host'");
	/* another configuration: the next answer is by that one */
	publish(tree, 2, none);
	guest_send(&a, GET);
	_cleanup_free_ char *answer = guest_receive(&a);

	assert_non_null(strstr(answer, "context='vm' id='3'"));
	assert_null(strstr(answer, "host"));
	publish(tree, 3, NULL);
	assert_answer(&a, GET, "context='host'");
	grants_unref(none);
	channels_stop(cs);
	guest_done(&a);
	tree_free(tree);
}

/* A guest that asks and asks and never reads fills its own socket and nothing else. */
static void a_guest_that_does_not_read_disturbs_nobody(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels *cs = channels_start(tree, &usual, connect_unix, NULL);
	struct guest deaf, b;

	guest_init(&deaf, 1);
	guest_init(&b, 2);
	guest_listen(&deaf);
	guest_listen(&b);
	channels_set(cs, &deaf.uuid, deaf.path);
	channels_set(cs, &b.uuid, b.path);
	guest_accept(&deaf);
	guest_accept(&b);
	size_t sent = 0;

	while (sent < (64u << 20)) {
		ssize_t n = send(deaf.fd, GET GET GET, strlen(GET GET GET), MSG_DONTWAIT);
		struct pollfd pfd = { .fd = deaf.fd, .events = POLLOUT };

		if (n > 0)
			sent += (size_t)n;
		else if (poll(&pfd, 1, 300) == 0)
			break; /* nobody takes it any more */
	}
	assert_true(sent < (64u << 20));
	assert_answer(&b, GET, "<metrics>");
	channels_stop(cs);
	guest_done(&deaf);
	guest_done(&b);
	tree_free(tree);
}

static void a_lost_channel_is_connected_again(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels *cs = channels_start(tree, &usual, connect_unix, NULL);
	struct guest g;

	guest_init(&g, 1);
	channels_set(cs, &g.uuid, g.path); /* QEMU does not listen yet */
	assert_false(readable(g.listener, 150));
	guest_listen(&g);
	guest_accept(&g);
	assert_answer(&g, GET, "<metrics>");
	close(TAKE_FD(g.fd));
	guest_accept(&g);
	assert_answer(&g, GET, "<metrics>");
	channels_set(cs, &g.uuid, NULL); /* the VM is gone */
	assert_true(readable(g.fd, PATIENCE_MS));
	char c;

	assert_int_equal(read(g.fd, &c, 1), 0);
	assert_false(readable(g.listener, 300));
	channels_stop(cs);
	guest_done(&g);
	tree_free(tree);
}

static void no_more_than_max_channels_are_served(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels_config one = usual;
	struct guest a, b;

	one.max_channels = 1;
	struct channels *cs = channels_start(tree, &one, connect_unix, NULL);

	guest_init(&a, 1);
	guest_init(&b, 2);
	guest_listen(&a);
	guest_listen(&b);
	channels_set(cs, &a.uuid, a.path);
	guest_accept(&a);
	channels_set(cs, &b.uuid, b.path);
	assert_false(readable(b.listener, 300));
	channels_set(cs, &a.uuid, NULL);
	guest_accept(&b);
	assert_answer(&b, GET, "<metrics>");
	/* switched off by a reload, and on again */
	one.enabled = false;
	channels_set_config(cs, &one);
	char c;

	assert_true(readable(b.fd, PATIENCE_MS));
	assert_int_equal(read(b.fd, &c, 1), 0);
	close(TAKE_FD(b.fd));
	channels_set_config(cs, &usual);
	guest_accept(&b);
	channels_stop(cs);
	guest_done(&a);
	guest_done(&b);
	tree_free(tree);
}

static void a_vm_without_updates_is_detached(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels_config brief = usual;
	struct guest g;
	char c;

	brief.expiration_ns = 400 * NS_PER_MS;
	struct channels *cs = channels_start(tree, &brief, connect_unix, NULL);

	guest_init(&g, 1);
	guest_listen(&g);
	channels_set(cs, &g.uuid, g.path);
	guest_accept(&g);
	assert_answer(&g, GET, "<metrics>");
	assert_true(readable(g.fd, PATIENCE_MS));
	assert_int_equal(read(g.fd, &c, 1), 0);
	close(TAKE_FD(g.fd));
	channels_set_config(cs, &usual); /* as an update would do: not expired any more */
	guest_accept(&g);
	assert_answer(&g, GET, "<metrics>");
	channels_stop(cs);
	guest_done(&g);
	tree_free(tree);
}

static void wait_connected(struct channels *cs, unsigned n)
{
	int64_t deadline = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;
	_cleanup_free_ char *expected = xasprintf("channels.connected: %u\n", n);
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;

	do {
		strbuf_done(&status);
		channels_status(cs, &status);
		poll(NULL, 0, 1);
	} while (
		strcmp(strbuf_str(&status), expected) != 0 && clock_mono_ns() < deadline);
	assert_string_equal(strbuf_str(&status), expected);
}

/* Keeps a copy of the connection, as a child that is about to run another program does. */
static int connect_copied(void *ctx, const char *path)
{
	int *copy = ctx;
	int fd = connect_unix(NULL, path);

	if (fd >= 0 && *copy < 0)
		*copy = dup(fd);
	return fd;
}

static void a_dropped_channel_whose_socket_lives_on_hears_nothing(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	int copy = -1;
	struct channels *cs = channels_start(tree, &usual, connect_copied, &copy);
	struct guest a, b;

	guest_init(&a, 1);
	guest_init(&b, 2);
	guest_listen(&a);
	guest_listen(&b);
	channels_set(cs, &a.uuid, a.path);
	guest_accept(&a);
	channels_set(cs, &b.uuid, b.path);
	guest_accept(&b);
	assert_answer(&a, GET, "<metrics>");
	channels_set(cs, &a.uuid, NULL);
	wait_connected(cs, 1);
	for (int i = 0; i < 10; i++) {
		guest_send(&a, GET);
		assert_answer(&b, GET, "<metrics>");
	}
	assert_true(readable(copy, 0)); /* nobody took it */
	close(copy);
	channels_stop(cs);
	guest_done(&a);
	guest_done(&b);
	tree_free(tree);
}

/* Places that become free go to those that wait, also past one that does not listen. */
static void a_free_place_goes_to_whoever_can_be_connected(void **state)
{
	(void)state;
	struct tree *tree = make_tree();
	struct channels_config one = usual;
	struct guest guests[4];

	one.max_channels = 1;
	struct channels *cs = channels_start(tree, &one, connect_unix, NULL);

	for (uint8_t i = 0; i < 4; i++) {
		guest_init(&guests[i], i);
		if (i != 1)
			guest_listen(&guests[i]);
		channels_set(cs, &guests[i].uuid, guests[i].path);
		if (i == 0)
			guest_accept(&guests[0]);
	}
	assert_false(readable(guests[2].listener, 100));
	channels_set(cs, &guests[0].uuid, NULL);
	struct pollfd fds[] = { { guests[2].listener, POLLIN, 0 },
		{ guests[3].listener, POLLIN, 0 } };

	assert_int_equal(poll(fds, 2, PATIENCE_MS), 1);
	struct guest *first = &guests[fds[0].revents ? 2 : 3],
		     *other = &guests[fds[0].revents ? 3 : 2];

	guest_accept(first);
	assert_answer(first, GET, "<metrics>");
	close(TAKE_FD(first->listener)); /* does not listen again */
	close(TAKE_FD(first->fd));
	guest_accept(other);
	assert_answer(other, GET, "<metrics>");
	channels_stop(cs);
	for (int i = 0; i < 4; i++)
		guest_done(&guests[i]);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_answered),
		cmocka_unit_test(a_guest_is_told_what_it_is_granted),
		cmocka_unit_test(a_guest_that_does_not_read_disturbs_nobody),
		cmocka_unit_test(a_lost_channel_is_connected_again),
		cmocka_unit_test(no_more_than_max_channels_are_served),
		cmocka_unit_test(a_vm_without_updates_is_detached),
		cmocka_unit_test(a_dropped_channel_whose_socket_lives_on_hears_nothing),
		cmocka_unit_test(a_free_place_goes_to_whoever_can_be_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
