/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Channels over real sockets: requests, nonsense, slow readers, limits, expiration. */
#include "channel-guest.h"

#include "core/grants.h"

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
	publish_granted(tree, 2, "text", none);
	guest_send(&a, GET);
	_cleanup_free_ char *answer = guest_receive(&a);

	assert_non_null(strstr(answer, "context='vm' id='3'"));
	assert_null(strstr(answer, "host"));
	publish_granted(tree, 3, "text", NULL);
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

/* Keeps a copy of the connection, as a child that is about to run another program does. */
static int connect_copied(void *ctx, const char *path, struct channel_socket *ret)
{
	int *copy = ctx;
	int r = connect_unix(NULL, path, ret);

	if (r == 0 && *copy < 0)
		*copy = dup(ret->fd);
	return r;
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
	wait_status(cs, "channels.connected: 1\n");
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
