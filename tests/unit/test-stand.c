/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels whose worker is killed at any moment: a guest gets each reply whole and once, as the
 * keeper keeps the connection, and the next worker goes on with the next byte.
 */
#include "channel-guest.h"
#include "clock-offset.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "handover/handover.h"
#include "keeper/sockets.h"
#include "util/limits.h"
#include "util/loop.h"
#include "util/wire.h"
#include "virtio/reply.h"
#include "virtio/request.h"
#include "virtio/stand.h"

#define TEXT_BYTES 60000u
#define KILLS 60u

static struct handover *map(int fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct handover *h = handover_map(fd, &why);

	assert_non_null(h);
	return h;
}

/* ---- workers that are killed ---- */

struct line {
	int handover_fd, host, guest; /* the two ends of the connection */
	unsigned n_workers;
	pid_t worker;
	unsigned random;
	unsigned asked, answered;
	struct strbuf in; /* of a reply that is not whole yet */
	size_t said;      /* bytes of the request that is being sent */
};

static int connect_line(void *ctx, const char *path, struct channel_socket *ret)
{
	const struct line *l = ctx;

	(void)path;
	*ret = (struct channel_socket){ fcntl(l->host, F_DUPFD_CLOEXEC, 0), 1,
		l->n_workers > 0 };
	return ret->fd < 0 ? -errno : 0;
}

/* Serves until it is killed.  Its document says which worker it is. */
static void work(struct line *l)
{
	static char text[TEXT_BYTES];
	static struct channels_config config;
	const struct uuid uuid = { { 1 } };
	struct handover *h = map(l->handover_fd);
	struct arena *arena = arena_new(&h->arena);
	struct tree *tree = tree_new();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(text, 'a' + (int)(l->n_workers % 26), sizeof(text) - 1);
	publish(tree, 1, text);
	config = usual;
	config.max_requests = LIMIT_CHANNEL_REQUESTS;
	struct channels *cs = channels_start(tree, &config, connect_line, l);

	channels_hand_on(cs, h, arena);
	/* those that come later know it from the first */
	if (l->n_workers == 0)
		channels_set(cs, &uuid, "/channel");
	for (;;)
		pause();
}

static void start_worker(struct line *l)
{
	l->worker = fork();
	if (l->worker == 0)
		work(l);
	assert_true(l->worker > 0);
	l->n_workers++;
}

static void kill_worker(const struct line *l)
{
	int status = 0;

	kill(l->worker, SIGKILL);
	assert_int_equal(waitpid(l->worker, &status, 0), l->worker);
	assert_true(WIFSIGNALED(status));
}

static unsigned pick(struct line *l, unsigned n)
{
	return (unsigned)rand_r(&l->random) % n;
}

/* One of one worker, from its beginning to its end. */
static void check_reply(const char *reply, size_t size)
{
	const char *value = memmem(reply, size, "<value>", 7);
	size_t n = 0;

	assert_memory_equal(reply, "<metrics>", 9);
	assert_non_null(value);
	for (size_t i = 0; i + 1 < size; i++)
		n += reply[i] == value[7] && reply[i + 1] == value[7];
	/* the text of host and VM */
	assert_true(n >= 2 * (TEXT_BYTES - 2));
	assert_non_null(memmem(reply, size, "</metrics>\n\n", 12));
}

static void hear_some(struct line *l)
{
	size_t n = 1 + pick(l, 1u << (1 + pick(l, 17)));
	ssize_t got = recv(l->guest, strbuf_reserve(&l->in, n), n, MSG_DONTWAIT);

	assert_true(got > 0 || errno == EAGAIN);
	if (got < 0)
		return;
	l->in.len += (size_t)got;
	const char *end = NULL;

	while ((end = memmem(l->in.data, l->in.len, WIRE_END, 2))) {
		size_t size = (size_t)(end + 2 - l->in.data);

		check_reply(l->in.data, size);
		l->answered++;
		memmove(l->in.data, l->in.data + size, l->in.len -= size);
	}
}

/* Pieces of requests, up to three at once. */
static void say_some(struct line *l)
{
	if (l->asked - l->answered >= 3)
		return;
	size_t n = 1 + pick(l, (unsigned)(strlen(GET) - l->said));

	assert_int_equal(send(l->guest, &GET[l->said], n, MSG_NOSIGNAL), (ssize_t)n);
	l->said += n;
	if (l->said < strlen(GET))
		return;
	l->said = 0;
	l->asked++;
}

static void a_guest_sees_nothing_of_deaths(void **state)
{
	(void)state;
	struct line l = { .handover_fd = handover_create(), .random = 7 };
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	l.host = ends[0];
	l.guest = ends[1];
	fcntl(l.host, F_SETFL, O_NONBLOCK);
	start_worker(&l);
	while (l.n_workers < KILLS || l.answered < l.asked || l.said) {
		struct pollfd p = { .fd = l.guest, .events = POLLIN };

		if (l.n_workers < KILLS || l.said)
			say_some(&l);
		assert_true(poll(&p, 1, l.asked > l.answered ? PATIENCE_MS : 0) >= 0);
		hear_some(&l);
		if (l.answered && l.n_workers < KILLS && !pick(&l, 6)) {
			/* at any moment, that of its start too */
			poll(NULL, 0, (int)pick(&l, 60));
			kill_worker(&l);
			start_worker(&l);
		}
	}
	/* each once: there is nothing more */
	assert_int_equal(l.in.len, 0);
	assert_false(readable(l.guest, 100));
	print_message("%u replies, %u deaths\n", l.answered, l.n_workers - 1);
	assert_true(l.answered >= 5);
	kill_worker(&l);
	/* nothing is left behind of those that were sent */
	struct handover *h = map(l.handover_fd);
	struct arena *arena = arena_new(&h->arena);
	struct stands *stands = stands_new(h, arena);
	struct arena_bytes bytes;
	uint32_t at = 0;

	assert_false(arena_next(arena, &at, &bytes));
	stands_free(stands);
	arena_free(arena);
	handover_unmap(h);
	strbuf_done(&l.in);
	close(l.host);
	close(l.guest);
	close(l.handover_fd);
}

/* ---- what a dead worker left ---- */

static const struct uuid vm_a = { { 1 } }, vm_b = { { 2 } };

struct left {
	int fd;
	struct handover *handover;
	struct arena *arena;
	struct stands *stands;
	struct channel_row *row;
};

static void leave(struct left *l)
{
	l->fd = handover_create();
	l->handover = map(l->fd);
	l->arena = arena_new(&l->handover->arena);
	l->stands = stands_new(l->handover, l->arena);
	l->row = stands_begin(l->stands, 5, &vm_a, "/a/channel");
	assert_non_null(l->row);
}

/* Another process begins. */
static void leave_again(struct left *l)
{
	stands_free(l->stands);
	arena_free(l->arena);
	l->arena = arena_new(&l->handover->arena);
	l->stands = stands_new(l->handover, l->arena);
}

static void left_done(struct left *l)
{
	stands_free(l->stands);
	arena_free(l->arena);
	handover_unmap(l->handover);
	close(l->fd);
}

/* Killed inside the call, or just behind it. */
static void what_the_kernel_counted_is_known(void **state)
{
	(void)state;
	static const char text[] = "GET /me\r\n";
	struct left l;
	struct requests in = { 0 };
	struct reply reply = { 0 };
	struct channel_row *row = NULL;
	char buf[64];
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	leave(&l);
	/* what was there before, and what came then */
	memcpy(in.bytes, "\n", 1);
	in.len = 1;
	in.n_taken = 2;
	stand_note(l.row, &in, &reply);
	assert_int_equal(send(ends[1], text, strlen(text), 0), strlen(text));
	assert_int_equal(stand_receive(l.row, ends[0], buf, 50), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
	in = (struct requests){ 0 };
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
	assert_int_equal(in.len, strlen("\nGET /me\n"));
	assert_int_equal(in.n_taken, 2 + strlen(text));
	assert_memory_equal(in.bytes, "\nGET /me\n", in.len);
	assert_int_equal(reply.size, 0);
	/* in two parts, of which the first was noted */
	reply_set_refusal(&reply);
	stands_keep_reply(l.stands, row, &reply);
	for (size_t sent = 3; sent <= 8; sent += 5) {
		struct iovec iov = { (void *)(uintptr_t)(reply.pieces[0].text +
					     reply.sent),
			sent - reply.sent };

		stand_note(row, &in, &reply);
		assert_int_equal(stand_send(row, ends[0], &iov, 1), iov.iov_len);
		in = (struct requests){ 0 };
		reply = (struct reply){ 0 };
		assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
		assert_int_equal(reply.sent, sent);
		assert_int_equal(in.len, strlen("\nGET /me\n"));
	}
	assert_int_equal(reply_send(&reply, row, ends[0]), 0);
	in = (struct requests){ 0 };
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
	assert_int_equal(reply.size, 0);
	assert_int_equal(recv(ends[1], buf, sizeof(buf), 0), strlen(INVALID));
	assert_memory_equal(buf, INVALID, strlen(INVALID));
	close(ends[0]);
	close(ends[1]);
	left_done(&l);
}

static void rows_are_not_believed(void **state)
{
	(void)state;
	struct left l;
	unsigned random = 1, refused = 0;

	leave(&l);
	for (int i = 0; i < 20000; i++) {
		struct requests in = { 0 };
		struct reply reply = { 0 };

		reply_set_refusal(&reply);
		stands_keep_reply(l.stands, l.row, &reply);
		stand_note(l.row, &in, &reply);
		struct channel_half *half = &l.row->half[atomic_load(&l.row->turn) % 2];
		uint32_t *const fields[] = { &half->n_in, &half->n_taken,
			&half->receiving.msg_len, &half->sending.msg_len,
			(uint32_t *)&half->reply, (uint32_t *)&half->sent };
		size_t at = (size_t)rand_r(&random) % ARRAY_LEN(fields);

		*fields[at] ^= 1u << rand_r(&random) % 32;
		reply_done(&reply);
		struct channel_row *row = NULL;
		int r = stands_resume(l.stands, 5, &in, &reply, 1, &row);

		assert_true(in.len <= in.n_taken && in.n_taken <= LIMIT_REQUEST_BYTES);
		assert_true(reply.sent <= reply.size);
		refused += r < 0;
		if (r < 0)
			l.row = stands_begin(l.stands, 5, &vm_a, "/a/channel");
		stand_note(l.row, &(struct requests){ 0 }, &(struct reply){ 0 });
		if (reply.size)
			stands_drop_reply(l.stands, reply.kept);
		reply_done(&reply);
	}
	assert_true(refused > 1000);
	/* what the row did not name any more */
	leave_again(&l);
	struct arena_bytes bytes;
	uint32_t at = 0;

	assert_false(arena_next(l.arena, &at, &bytes));
	left_done(&l);
}

static void a_reply_of_another_connection_is_not_sent(void **state)
{
	(void)state;
	struct left l;
	struct requests in = { 0 };
	struct reply reply = { 0 };
	struct channel_row *row = NULL;

	leave(&l);
	struct channel_row *other = stands_begin(l.stands, 6, &vm_b, "/b/channel");

	reply_set_refusal(&reply);
	stands_keep_reply(l.stands, other, &reply);
	stand_note(l.row, &in, &reply);
	reply_done(&reply);
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), -EBADMSG);
	assert_int_equal(reply.size, 0);
	/* nor is there anything of that one any more */
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), -EBADMSG);
	assert_int_equal(stands_resume(l.stands, 6, &in, &reply, 1, &row), 0);
	assert_int_equal(stands_resume(l.stands, 7, &in, &reply, 1, &row), -EBADMSG);
	left_done(&l);
}

/* Leaves a reply of which nothing was sent yet.  Return: its id. */
static uint64_t leave_reply(struct stands *stands, struct channel_row *row)
{
	struct reply reply = { 0 };

	reply_set_refusal(&reply);
	stands_keep_reply(stands, row, &reply);
	stand_note(row, &(struct requests){ 0 }, &reply);
	uint64_t id = reply.kept;

	assert_int_not_equal(id, 0);
	reply_done(&reply);
	return id;
}

static void replies_stay_whatever_others_wait_for(void **state)
{
	(void)state;
	struct left l;
	struct requests in = { 0 };
	struct reply reply = { 0 };
	struct channel_row *row = NULL;

	leave(&l);
	struct channel_row *other = stands_begin(l.stands, 6, &vm_b, "/b/channel");
	uint64_t id = leave_reply(l.stands, l.row);

	/* the other one waits for none; or for one for which there was no room */
	assert_int_equal(id % ARENA_ITEMS, 0);
	leave_again(&l);
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
	assert_int_equal(reply.kept, id);
	reply_done(&reply);
	reply_set_refusal(&reply);
	stand_note(other, &in, &reply);
	leave_again(&l);
	reply_done(&reply);
	assert_int_equal(stands_resume(l.stands, 6, &in, &reply, 1, &row), -EBADMSG);
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
	assert_int_equal(reply.kept, id);
	reply_done(&reply);
	left_done(&l);
}

static void connections_that_ended_meanwhile_are_forgotten(void **state)
{
	(void)state;
	struct left l;
	struct requests in = { 0 };
	struct reply reply = { 0 };
	struct channel_row *row = NULL;
	char path[HANDOVER_CHANNEL_PATH];
	struct arena_bytes bytes;
	struct uuid vm;
	uint32_t at = 0, n = 0;

	leave(&l);
	leave_reply(l.stands, l.row);
	/* of the same VM: the first has ended, and nobody was there to see it */
	leave_reply(l.stands, stands_begin(l.stands, 9, &vm_a, "/a2/channel"));
	leave_reply(l.stands, stands_begin(l.stands, 7, &vm_a, "/a1/channel"));
	leave_again(&l);
	assert_true(stands_next(l.stands, &at, &vm, path));
	assert_int_equal(uuid_compare(&vm, &vm_a), 0);
	assert_string_equal(path, "/a2/channel");
	assert_false(stands_next(l.stands, &at, &vm, path));
	for (at = 0; arena_next(l.arena, &at, &bytes); n++)
		;
	assert_int_equal(n, 1);
	/* that of a VM that has ended gives its place to another, if that needs it */
	for (uint64_t i = 0; i < HANDOVER_CHANNELS - 1; i++) {
		vm.b[2] = (uint8_t)i;
		vm.b[3] = (uint8_t)(i >> 8);
		assert_non_null(stands_begin(l.stands, 10 + i, &vm, "/x/channel"));
	}
	assert_non_null(stands_begin(l.stands, 99999, &vm_b, "/b/channel"));
	assert_int_equal(stands_resume(l.stands, 9, &in, &reply, 1, &row), -EBADMSG);
	assert_null(stands_begin(l.stands, 100000, &vm_b, "/b/channel"));
	at = 0;
	assert_false(arena_next(l.arena, &at, &bytes));
	left_done(&l);
}

/* Two rows that say of themselves that they are one connection: its reply goes once. */
static void a_reply_that_two_have_goes_once(void **state)
{
	(void)state;
	struct left l;
	struct requests in = { 0 };
	struct reply reply = { 0 };
	struct channel_row *row = NULL, *twin = NULL;

	leave(&l);
	leave_reply(l.stands, l.row);
	twin = stands_begin(l.stands, 6, &vm_b, "/b/channel");
	memcpy(twin->half, l.row->half, sizeof(twin->half));
	atomic_store(&twin->turn, atomic_load(&l.row->turn));
	atomic_store(&twin->key, 5);
	leave_again(&l);
	assert_int_equal(stands_resume(l.stands, 5, &in, &reply, 1, &row), 0);
	assert_true(row != twin && reply.kept);
	/* until the twin has to give its place away */
	for (uint64_t i = 0; i < HANDOVER_CHANNELS - 1; i++)
		assert_non_null(stands_begin(l.stands, 10 + i, &vm_b, "/x/channel"));
	stands_drop_reply(l.stands, reply.kept);
	stands_end(l.stands, row);
	reply_done(&reply);
	left_done(&l);
}

static void paths_are_not_believed(void **state)
{
	(void)state;
	struct left l;
	char path[HANDOVER_CHANNEL_PATH], longest[2 * HANDOVER_CHANNEL_PATH];
	struct uuid vm;
	uint32_t at = 0;

	leave(&l);
	memset(l.row->path, 'x', sizeof(l.row->path));
	assert_true(stands_next(l.stands, &at, &vm, path));
	assert_int_equal(strlen(path), HANDOVER_CHANNEL_PATH - 1);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_non_null(stands_begin(l.stands, 6, &vm_b, longest));
	assert_true(stands_next(l.stands, &at, &vm, path));
	assert_string_equal(path, "");
	left_done(&l);
}

/* ---- the keeper's part ---- */

static void loop_turn(struct loop *loop)
{
	loop_wake(loop);
	loop_run_once(loop);
}

static struct socket_given get(struct sockets *s, const struct guest *g)
{
	struct socket_given given = { .fd = -1 };

	assert_int_equal(sockets_get(s, g->path, true, &given), 0);
	assert_true(given.fd >= 0 && given.kept && given.id);
	return given;
}

static void a_connection_is_kept_until_somebody_shuts_it(void **state)
{
	(void)state;
	struct loop *loop = NULL;
	struct guest g;

	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	struct sockets *s = sockets_new(loop, false);
	struct socket_given given = { .fd = -1 };

	guest_init(&g, 1);
	assert_int_equal(sockets_get(s, g.path, true, &given), -ENOENT);
	guest_listen(&g);
	uint64_t last = 0;

	for (int i = 0; i < 4; i++) {
		struct socket_given first = get(s, &g);

		assert_false(first.resumed);
		assert_true(first.id > last);
		last = first.id;
		guest_accept(&g);
		struct socket_given again = get(s, &g);

		assert_true(again.resumed);
		assert_int_equal(again.id, first.id);
		assert_int_equal(again.fd, first.fd);
		/* not as long as somebody else may use it */
		assert_int_equal(sockets_get(s, g.path, false, &given), -EAGAIN);
		/* by QEMU, or by a worker; seen by the loop, or when it is asked for */
		if (i % 2)
			close(TAKE_FD(g.fd));
		else
			assert_int_equal(shutdown(first.fd, SHUT_RDWR), 0);
		if (i < 2)
			loop_run_once(loop);
		if (i % 2)
			continue;
		char c;

		assert_int_equal(read(g.fd, &c, 1), 0);
		close(TAKE_FD(g.fd));
	}
	sockets_free(s);
	loop_free(loop);
	guest_done(&g);
}

static void what_no_worker_asks_for_ends(void **state)
{
	(void)state;
	struct loop *loop = NULL;
	struct guest a, b;

	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	struct sockets *s = sockets_new(loop, false);

	guest_init(&a, 1);
	guest_init(&b, 2);
	guest_listen(&a);
	guest_listen(&b);
	get(s, &a);
	get(s, &b);
	guest_accept(&a);
	guest_accept(&b);
	sockets_expect_all(s);
	clock_offset_s += 30;
	assert_true(get(s, &a).resumed);
	/* the next one has as long as the last */
	sockets_expect_all(s);
	clock_offset_s += 40;
	assert_true(get(s, &b).resumed);
	loop_turn(loop);
	assert_false(readable(a.fd, 0));
	clock_offset_s += 30;
	loop_turn(loop);
	char c;

	assert_true(readable(a.fd, PATIENCE_MS));
	assert_int_equal(read(a.fd, &c, 1), 0);
	assert_false(readable(b.fd, 0));
	assert_true(get(s, &b).resumed);
	assert_false(get(s, &a).resumed);
	sockets_free(s);
	loop_free(loop);
	guest_done(&a);
	guest_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_sees_nothing_of_deaths),
		cmocka_unit_test(what_the_kernel_counted_is_known),
		cmocka_unit_test(rows_are_not_believed),
		cmocka_unit_test(a_reply_of_another_connection_is_not_sent),
		cmocka_unit_test(replies_stay_whatever_others_wait_for),
		cmocka_unit_test(connections_that_ended_meanwhile_are_forgotten),
		cmocka_unit_test(a_reply_that_two_have_goes_once),
		cmocka_unit_test(paths_are_not_believed),
		cmocka_unit_test(a_connection_is_kept_until_somebody_shuts_it),
		cmocka_unit_test(what_no_worker_asks_for_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
