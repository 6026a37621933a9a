/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that do to their channels what they can, over real sockets.  Time stands still until
 * the test moves it.
 */
#include "channel-guest.h"

#include <linux/sockios.h>
#include <pthread.h>
#include <semaphore.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "core/blob.h"
#include "core/render_xml.h"
#include "util/log.h"

/* ---- the clock, the log, and who is sent to first ---- */

/*
 * 0: time flows; else it moves by a nanosecond with each look at it, because what the loop
 * leaves for its next round is due just after this one.
 */
static _Atomic int64_t frozen_ns;

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	if (id != CLOCK_MONOTONIC || !atomic_load(&frozen_ns))
		return __real_clock_gettime(id, ret);
	*ret = ns_to_timespec(atomic_fetch_add(&frozen_ns, 1));
	return 0;
}

static _Atomic unsigned n_rounds; /* how often the loop went to sleep */

int __real_epoll_wait(int set, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int set, struct epoll_event *events, int n, int timeout_ms);
int __wrap_epoll_wait(int set, struct epoll_event *events, int n, int timeout_ms)
{
	atomic_fetch_add(&n_rounds, 1);
	return __real_epoll_wait(set, events, n, timeout_ms);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_lines_seen[1 << 16]; /* guarded by log_lock */

void __wrap_log_write(enum log_level level, const struct log_about *about,
	const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	va_list ap;

	(void)about;
	if (level == LOG_LEVEL_DEBUG)
		return;
	pthread_mutex_lock(&log_lock);
	size_t len = strlen(log_lines_seen);

	va_start(ap, fmt);
	vsnprintf(log_lines_seen + len, sizeof(log_lines_seen) - len, fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&log_lock);
}

static unsigned logged(const char *text)
{
	unsigned n = 0;

	pthread_mutex_lock(&log_lock);
	for (const char *at = log_lines_seen; (at = strstr(at, text)); at++)
		n++;
	pthread_mutex_unlock(&log_lock);
	return n;
}

static _Atomic unsigned n_sent;
static _Atomic int sent_to[4096]; /* descriptors, in order */

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	atomic_store(&sent_to[atomic_fetch_add(&n_sent, 1) % ARRAY_LEN(sent_to)], fd);
	return __real_sendmsg(fd, msg, flags);
}

/* ---- guests that do what they can ---- */

/* Channels whose time stands still, and a guest that has nothing to do with the others. */
struct siege {
	struct tree *tree;
	struct channels_config config;
	struct channels *cs;
	struct guest bad, good;
};

static void siege_begin(struct siege *s, unsigned max_requests, const char *text)
{
	*s = (struct siege){ .tree = tree_new(), .config = usual };
	atomic_store(&frozen_ns, clock_mono_ns());
	pthread_mutex_lock(&log_lock);
	log_lines_seen[0] = '\0';
	pthread_mutex_unlock(&log_lock);
	publish(s->tree, 1, text);
	s->config.max_requests = max_requests;
	s->cs = channels_start(s->tree, &s->config, connect_unix, NULL);
	guest_init(&s->bad, 1);
	guest_init(&s->good, 2);
	guest_listen(&s->bad);
	guest_listen(&s->good);
	channels_set(s->cs, &s->bad.uuid, s->bad.path);
	channels_set(s->cs, &s->good.uuid, s->good.path);
	guest_accept(&s->bad);
	guest_accept(&s->good);
}

static void siege_end(struct siege *s)
{
	channels_stop(s->cs);
	guest_done(&s->bad);
	guest_done(&s->good);
	tree_free(s->tree);
	atomic_store(&frozen_ns, 0);
}

/* Lets time pass; the loop has been round with the new one when it returns. */
static void pass_of(struct channels *cs, int64_t ns)
{
	atomic_fetch_add(&frozen_ns, ns);
	/* it may have been on its way when time passed */
	for (int i = 0; i < 2; i++) {
		unsigned before = atomic_load(&n_rounds);

		channels_set(cs, &(struct uuid){ { 255 } }, NULL); /* nobody */
		while (atomic_load(&n_rounds) == before)
			sched_yield();
	}
}

static void pass(struct siege *s, int64_t ns)
{
	pass_of(s->cs, ns);
}

/* Whether something can be read after so many milliseconds. */
static bool readable_within(struct siege *s, int fd, int ms)
{
	for (int i = 0; i < ms && !readable(fd, 0); i++)
		pass(s, NS_PER_MS);
	return readable(fd, 0);
}

static char *receive(struct siege *s, struct guest *g)
{
	assert_true(readable_within(s, g->fd, 1000));
	return guest_receive(g);
}

static void hears(struct siege *s, struct guest *g, const char *expected)
{
	_cleanup_free_ char *answer = receive(s, g);

	if (!strstr(answer, expected))
		fail_msg("%s is not %s", answer, expected);
}

static void asks(struct siege *s, struct guest *g)
{
	guest_send(g, GET);
	hears(s, g, "</metrics>\n\n");
}

static bool has_status(struct channels *cs, const char *line)
{
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;

	channels_status(cs, &status);
	return strstr(strbuf_str(&status), line);
}

static void comes_to(struct siege *s, const char *line)
{
	for (int i = 0; i < 1000 && !has_status(s->cs, line); i++)
		pass(s, NS_PER_MS);
	if (!has_status(s->cs, line))
		fail_msg("no %s", line);
}

static void accepts(struct siege *s, struct guest *g)
{
	assert_true(readable_within(s, g->listener, 1000));
	guest_accept(g);
}

static int bytes_waiting(int fd)
{
	int n = 0;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void who_asks_too_often_is_answered_later(void **state)
{
	(void)state;
	struct siege s;

	siege_begin(&s, 1, "text");
	for (int i = 0; i < 10; i++) /* what a quiet channel has saved */
		asks(&s, &s.bad);
	assert_true(has_status(s.cs, "channels.delayed: 0\n"));
	guest_send(&s.bad, GET GET);
	comes_to(&s, "channels.delayed: 1\n");
	assert_false(readable_within(&s, s.bad.fd, 700));
	asks(&s, &s.good);
	/* nothing is lost */
	for (int i = 0; i < 2; i++) {
		hears(&s, &s.bad, "</metrics>");
		assert_false(readable_within(&s, s.bad.fd, 700));
	}
	/* it is named, once in ten minutes */
	assert_true(has_status(s.cs, "channels.strained: 1\n"));
	assert_int_equal(
		logged("VM vm (01000000-0000-0000-0000-000000000000) strains"), 1);
	assert_int_equal(logged("strains"), 1);
	pass(&s, 700 * NS_PER_S);
	for (int i = 0; i < 10; i++)
		asks(&s, &s.bad);
	guest_send(&s.bad, GET);
	comes_to(&s, "channels.delayed: 3\n");
	assert_int_equal(logged("strains"), 2);
	siege_end(&s);
}

/* Carriage returns, which are dropped, are no way to be read from for nothing. */
static void requests_without_an_end_are_refused_and_paid_for(void **state)
{
	(void)state;
	static const char *const kinds[] = { "\r", "x", "\n \n" };
	char flood[32 << 10];

	for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
		struct siege s;

		siege_begin(&s, 1, "text");
		for (size_t i = 0; i < sizeof(flood); i++)
			flood[i] = kinds[kind][i % strlen(kinds[kind])];
		assert_int_equal(write(s.bad.fd, flood, sizeof(flood)), sizeof(flood));
		for (int i = 0; i < 10; i++)
			hears(&s, &s.bad, INVALID);
		comes_to(&s, "channels.delayed: 1\n");
		assert_true(has_status(s.cs, "channels.refused: 10\n"));
		assert_false(readable_within(&s, s.bad.fd, 700));
		asks(&s, &s.good);
		assert_int_equal(logged("strains"), 1);
		siege_end(&s);
	}
}

static int bytes_not_taken(const struct guest *g)
{
	int n = 0;

	assert_int_equal(ioctl(g->fd, SIOCOUTQ, &n), 0);
	return n;
}

/* Bytes one by one: each wakes the daemon, and none ends a request. */
static void a_dripping_guest_is_read_from_now_and_then(void **state)
{
	(void)state;
	struct siege s;
	int n = 0;

	siege_begin(&s, 1, "text");
	while (n < 1000 && has_status(s.cs, "channels.delayed: 0\n")) {
		assert_int_equal(write(s.bad.fd, "x", 1), 1);
		for (n++; bytes_not_taken(&s.bad) && has_status(s.cs, "delayed: 0\n");)
			pass(&s, NS_PER_MS / 4);
	}
	/* twenty such reads cost as much as a request, of which ten are saved */
	assert_in_range(n, 170, 220);
	asks(&s, &s.good);
	siege_end(&s);
}

static void half_a_request_is_forgotten(void **state)
{
	(void)state;
	struct siege s;

	siege_begin(&s, 10, "text");
	guest_send(&s.bad, "GET /metr");
	while (bytes_not_taken(&s.bad))
		pass(&s, NS_PER_MS);
	pass(&s, 6 * NS_PER_S); /* whoever began it has given up */
	asks(&s, &s.bad);
	siege_end(&s);
}

static void no_reply_is_made_while_another_waits(void **state)
{
	(void)state;
	struct siege s;

	siege_begin(&s, 10, "old");
	guest_send(&s.bad, GET GET GET);
	assert_true(readable_within(&s, s.bad.fd, 100));
	int n = bytes_waiting(s.bad.fd);

	for (int i = 0; i < 3000; i++)
		pass(&s, NS_PER_MS);
	asks(&s, &s.good);
	assert_int_equal(bytes_waiting(s.bad.fd), n);
	publish(s.tree, 2, "new");
	hears(&s, &s.bad, ">old<");
	hears(&s, &s.bad, ">new<");
	hears(&s, &s.bad, ">new<");
	siege_end(&s);
}

/* QEMU closes its end with all that is in it, and takes the next connection. */
static void what_nobody_fetches_is_taken_back(void **state)
{
	(void)state;
	struct siege s;
	char byte;

	siege_begin(&s, 10, "old");
	guest_send(&s.bad, GET GET);
	assert_true(readable_within(&s, s.bad.fd, 100));
	assert_int_equal(read(s.bad.fd, &byte, 1), 1);
	pass(&s, 5 * NS_PER_S); /* so long guests' programs wait */
	assert_false(readable_within(&s, s.bad.listener, 100));
	int old = TAKE_FD(s.bad.fd);

	accepts(&s, &s.bad);
	assert_false(readable_within(&s, s.bad.fd, 100));
	publish(s.tree, 2, "new");
	guest_send(&s.bad, GET);
	hears(&s, &s.bad, ">new<");
	asks(&s, &s.good);
	assert_true(has_status(s.cs, "channels.unfetched: 1\n"));
	assert_int_equal(logged("VM vm "), 1);
	close(old);
	/* what is fetched stays connected */
	pass(&s, 100 * NS_PER_S);
	asks(&s, &s.bad);
	siege_end(&s);
}

static void a_reader_of_a_byte_a_second_is_cut_off(void **state)
{
	(void)state;
	struct siege s;
	static char text[4 << 20];
	char byte;

	memset(text, 'x', sizeof(text) - 1);
	siege_begin(&s, 10, text);
	guest_send(&s.bad, GET);
	guest_send(&s.good, GET);
	assert_true(readable_within(&s, s.bad.fd, 100));
	assert_true(readable_within(&s, s.good.fd, 100));
	/* both are sent from the same bytes, and the sockets hold few of them */
	_cleanup_view_ struct view *view = tree_view(s.tree);
	const struct blob *shared = render_xml_fragment(view->host);

	assert_int_equal(atomic_load(&shared->refs), 3);
	publish(s.tree, 2, "new");
	for (int i = 0; i < 6; i++) {
		assert_int_equal(read(s.bad.fd, &byte, 1), 1);
		assert_in_range(bytes_waiting(s.bad.fd), 1, 64 << 10);
		pass(&s, NS_PER_S);
	}
	/* they have nothing of the old one any more */
	close(TAKE_FD(s.bad.fd));
	close(TAKE_FD(s.good.fd));
	accepts(&s, &s.bad);
	accepts(&s, &s.good);
	guest_send(&s.bad, GET);
	hears(&s, &s.bad, ">new<");
	assert_int_equal(atomic_load(&shared->refs), 1);
	siege_end(&s);
}

static void who_hangs_up_at_once_is_not_called_all_the_time(void **state)
{
	(void)state;
	struct siege s;

	siege_begin(&s, 10, "text");
	for (int pause_ms = 100; pause_ms <= 1600; pause_ms *= 2) {
		close(TAKE_FD(s.bad.fd));
		comes_to(&s, "channels.connected: 1\n");
		assert_false(readable_within(&s, s.bad.listener, pause_ms - 30));
		accepts(&s, &s.bad);
		comes_to(&s, "channels.connected: 2\n");
	}
	pass(&s, 10 * NS_PER_S); /* well again */
	close(TAKE_FD(s.bad.fd));
	comes_to(&s, "channels.connected: 1\n");
	assert_true(readable_within(&s, s.bad.listener, 150));
	siege_end(&s);
}

/* ---- many ---- */

#define MANY 1024u

/* Connections without listeners; a connection to "stop" holds the loop up. */
struct crowd {
	unsigned n;
	int ours[MANY], theirs[MANY];
	sem_t stopped, go;
};

static int connect_crowd(void *ctx, const char *path, struct channel_socket *ret)
{
	struct crowd *c = ctx;
	unsigned i = (unsigned)atoi(path);
	int fds[2];

	if (!strcmp(path, "stop")) {
		sem_post(&c->stopped);
		sem_wait(&c->go);
		return -ENOENT;
	}
	if (i >= MANY ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) <
			0)
		return -EMFILE;
	c->ours[i] = fds[0];
	c->theirs[i] = fds[1];
	ret->fd = fds[0];
	return 0;
}

static struct uuid nth_uuid(unsigned i)
{
	return (struct uuid){ { 9, (uint8_t)(i >> 8), (uint8_t)i } };
}

static struct channels *crowd_begin(struct crowd *c, unsigned n, struct tree *tree)
{
	struct channels_config config = usual;
	_cleanup_free_ char *all = xasprintf("channels.connected: %u\n", n);

	config.max_channels = MANY;
	c->n = n;
	sem_init(&c->stopped, 0, 0);
	sem_init(&c->go, 0, 0);
	struct channels *cs = channels_start(tree, &config, connect_crowd, c);

	for (unsigned i = 0; i < n; i++) {
		struct uuid uuid = nth_uuid(i);
		char path[16];

		snprintf(path, sizeof(path), "%u", i);
		channels_set(cs, &uuid, path);
	}
	wait_status(cs, all);
	return cs;
}

static void crowd_end(struct crowd *c, struct channels *cs)
{
	channels_stop(cs);
	for (unsigned i = 0; i < c->n; i++)
		close(c->theirs[i]);
	sem_destroy(&c->stopped);
	sem_destroy(&c->go);
}

static void crowd_say(struct crowd *c, unsigned i, const char *text)
{
	assert_int_equal(write(c->theirs[i], text, strlen(text)), (ssize_t)strlen(text));
}

static void crowd_hears(struct crowd *c, unsigned i)
{
	struct guest g = { .fd = c->theirs[i] };
	_cleanup_free_ char *answer = guest_receive(&g);

	assert_non_null(strstr(answer, "</metrics>"));
}

/* However many ask all the time: they have their turns after who does not. */
static void who_asks_seldom_is_answered_first(void **state)
{
	(void)state;
	enum { N = 40, SELDOM = 39 };
	static struct crowd c;
	struct tree *tree = make_tree();
	struct uuid stop = nth_uuid(MANY);

	struct channels *cs = crowd_begin(&c, N, tree);

	atomic_store(&frozen_ns, clock_mono_ns() + NS_PER_S);
	for (unsigned i = 0; i < SELDOM; i++) {
		crowd_say(&c, i, GET);
		crowd_hears(&c, i);
	}
	channels_set(cs, &stop, "stop");
	sem_wait(&c.stopped);
	atomic_store(&n_sent, 0);
	for (unsigned i = 0; i < SELDOM; i++)
		crowd_say(&c, i, GET);
	crowd_say(&c, SELDOM, GET);
	sem_post(&c.go);
	for (unsigned i = 0; i < N; i++) {
		while (!readable(c.theirs[i], 0))
			pass_of(cs, NS_PER_MS);
		crowd_hears(&c, i);
	}
	assert_int_equal(atomic_load(&sent_to[0]), c.ours[SELDOM]);
	for (unsigned i = 0; i < SELDOM; i++) /* and each the one after the other */
		assert_int_equal(atomic_load(&sent_to[i + 1]), c.ours[i]);
	crowd_end(&c, cs);
	atomic_store(&frozen_ns, 0);
	tree_free(tree);
}

static void a_thousand_that_flood_and_never_read_cost_little(void **state)
{
	(void)state;
	static struct crowd c;
	static char text[64 << 10];
	struct rlimit files;
	struct tree *tree = tree_new();
	unsigned n = MANY;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * MANY + 100)
		n = (unsigned)(files.rlim_cur - 100) / 2;
	memset(text, 'x', sizeof(text) - 1);
	publish(tree, 1, text);
	struct channels *cs = crowd_begin(&c, n, tree);

	atomic_store(&n_sent, 0);
	for (unsigned i = 1; i < n; i++)
		for (int k = 0; k < 30; k++)
			crowd_say(&c, i, i % 2 ? GET : "garbage\n\n");
	for (int k = 0; k < 50; k++) {
		crowd_say(&c, 0, GET);
		crowd_hears(&c, 0);
	}
	/* each was answered once, whole or in part, from the same bytes */
	for (unsigned i = 1; i < n; i++) {
		assert_true(readable(c.theirs[i], PATIENCE_MS));
		assert_in_range(bytes_waiting(c.theirs[i]), 1, 64 << 10);
	}
	_cleanup_view_ struct view *view = tree_view(tree);

	assert_in_range(atomic_load(&render_xml_fragment(view->host)->refs), 2, n + 1);
	assert_in_range(atomic_load(&n_sent), n, 4 * n);
	crowd_end(&c, cs);
	tree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_asks_too_often_is_answered_later),
		cmocka_unit_test(requests_without_an_end_are_refused_and_paid_for),
		cmocka_unit_test(a_dripping_guest_is_read_from_now_and_then),
		cmocka_unit_test(half_a_request_is_forgotten),
		cmocka_unit_test(no_reply_is_made_while_another_waits),
		cmocka_unit_test(what_nobody_fetches_is_taken_back),
		cmocka_unit_test(a_reader_of_a_byte_a_second_is_cut_off),
		cmocka_unit_test(who_hangs_up_at_once_is_not_called_all_the_time),
		cmocka_unit_test(who_asks_seldom_is_answered_first),
		cmocka_unit_test(a_thousand_that_flood_and_never_read_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
