/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets that clients connect to: what is opened, what is refused, what is left alone. */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/address.h"
#include "keeper/baggage.h"
#include "keeper/listeners.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* ---- addresses ---- */

static void addresses_are_read_as_they_are_written(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool is_local;
	} good[] = {
		{ "unix:/run/x", true },
		{ "unix:/run/a:b", true },
		{ "127.0.0.1:1", true },
		{ "127.255.0.9:65535", true },
		{ "[::1]:9177", true },
		{ "[::ffff:127.0.0.1]:9177", true },
		{ "0.0.0.0:9177", false },
		{ "128.0.0.1:9177", false },
		{ "10.0.0.1:9177", false },
		{ "[::]:9177", false },
		{ "[::ffff:10.0.0.1]:9177", false },
		{ "[fe80::1]:9177", false },
	};
	static const char *const bad[] = { "", ":", "9177", ":9177", "127.0.0.1",
		"127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:+1",
		"127.0.0.1:1 ", " 127.0.0.1:1", "127.1:1", "::1:9177", "[::1]9177",
		"[::1]:", "[]:1", "[127.0.0.1]:1", "localhost:9177", "*:9177",
		"[::1%lo]:9177", "unix:", "unix:x", "unix:/", "unix:/x/", "unix:@x",
		"/run/x" };
	char path[200] = "unix:/";

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT, again = STRBUF_INIT;
		struct address a, b;

		assert_int_equal(address_parse(good[i].text, &a, &why), 0);
		assert_int_equal(why.len, 0);
		assert_int_equal(address_is_local(&a), good[i].is_local);
		address_print(&a, &again);
		assert_string_equal(strbuf_str(&again), good[i].text);
		for (size_t k = 0; k < ARRAY_LEN(good); k++) {
			address_parse(good[k].text, &b, &why);
			assert_int_equal(address_equal(&a, &b), i == k);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		struct address a;

		if (address_parse(bad[i], &a, &why) != -EINVAL || !why.len)
			fail_msg("%s", bad[i]);
	}
	for (size_t n = 106; n <= 107; n++) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		struct address a;

		memset(path + 6, 'x', n);
		path[6 + n] = '\0';
		assert_int_equal(address_parse(path, &a, &why), n == 106 ? 0 : -EINVAL);
	}
}

/* ---- opening ---- */

struct trial {
	char dir[TMP_PATH_SIZE];
	char *path; /* of a UNIX socket */
	struct listeners listeners;
	struct strbuf why;
};

static int begin(void **state)
{
	struct trial *t = xcalloc(1, sizeof(*t));

	assert_non_null(mkdtemp(tmp_path(t->dir, "listeners-XXXXXX")));
	t->path = xasprintf("%s/socket", t->dir);
	*state = t;
	return 0;
}

static int end(void **state)
{
	struct trial *t = *state;

	listeners_close(&t->listeners, true);
	strbuf_done(&t->why);
	unlink(t->path);
	rmdir(t->dir);
	free(t->path);
	free(t);
	return 0;
}

/* @address: NULL: none.  For HTTP. */
static int open_at(struct trial *t, const char *address, bool any)
{
	struct listen_wish wishes[LISTENER_KINDS] = {
		[LISTENER_HTTP] = { .address = address, .any = any }
	};

	strbuf_clear(&t->why);
	listeners_drop_unwished(&t->listeners, wishes);
	return listeners_open(&t->listeners, wishes, false, &t->why);
}

static int open_path(struct trial *t)
{
	_cleanup_free_ char *address = xasprintf("unix:%s", t->path);

	return open_at(t, address, false);
}

static bool connects(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(addr.sun_path, path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
}

/* What a program that has died leaves, or one that lives: its descriptor. */
static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void a_socket_is_for_its_group_and_goes(void **state)
{
	struct trial *t = *state;
	_cleanup_free_ char *address = xasprintf("unix:%s", t->path);
	struct listen_wish wishes[LISTENER_KINDS] = {
		[LISTENER_HTTP] = { .address = address, .has_gid = true, .gid = 1 }
	};
	int fds[LISTENERS_MAX];
	mode_t mask = umask(0);
	struct stat st;

	/* only root can give files to other groups */
	wishes[LISTENER_HTTP].gid = geteuid() == 0 ? 1 : getegid();
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	assert_int_equal(umask(mask), 0); /* as it was */
	assert_int_equal(stat(t->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	assert_int_equal(st.st_gid, wishes[LISTENER_HTTP].gid);
	assert_int_equal(st.st_uid, geteuid());
	assert_true(connects(t->path));
	assert_int_equal(listeners_of(&t->listeners, LISTENER_CONTROL, fds), 0);
	assert_int_equal(listeners_of(&t->listeners, LISTENER_HTTP, fds), 1);
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
	/* whom it was for before may not go on */
	listeners_drop_unwished(&t->listeners, wishes);
	assert_int_equal(t->listeners.n, 1);
	wishes[LISTENER_HTTP].gid++;
	listeners_drop_unwished(&t->listeners, wishes);
	assert_int_equal(t->listeners.n, 0);
	assert_false(exists(t->path));
	wishes[LISTENER_HTTP].gid--;
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	/* what is there is not opened again */
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	assert_int_equal(t->listeners.n, 1);
	listeners_close(&t->listeners, true);
	assert_false(exists(t->path));
}

/* A worker closes what it was given, and the name stays. */
static void who_only_closes_removes_nothing(void **state)
{
	struct trial *t = *state;

	assert_int_equal(open_path(t), 0);
	listeners_close(&t->listeners, false);
	assert_true(exists(t->path));
}

static void what_a_dead_one_left_is_replaced(void **state)
{
	struct trial *t = *state;

	close(listen_at(t->path));
	assert_true(exists(t->path));
	assert_int_equal(open_path(t), 0);
	assert_true(connects(t->path));
}

static void what_is_not_ours_is_left_alone(void **state)
{
	struct trial *t = *state;
	int fd = listen_at(t->path);

	assert_int_equal(open_path(t), -EADDRINUSE);
	assert_non_null(strstr(strbuf_str(&t->why), "somebody listens there already"));
	assert_true(connects(t->path));
	close(fd);
	unlink(t->path);
	close(open(t->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	assert_int_equal(open_path(t), -EEXIST);
	assert_non_null(strstr(strbuf_str(&t->why), t->path));
	assert_true(exists(t->path));
	unlink(t->path);
	assert_int_equal(symlink("/dev/null", t->path), 0);
	assert_int_equal(open_path(t), -EEXIST);
	assert_true(exists(t->path));
	unlink(t->path);
	if (geteuid() != 0)
		return;
	close(listen_at(t->path));
	assert_int_equal(lchown(t->path, 1, 1), 0);
	assert_int_equal(open_path(t), -EEXIST);
	assert_true(exists(t->path));
}

/* Somebody replaced ours: in the end it is his. */
static void what_stands_in_our_place_stays(void **state)
{
	struct trial *t = *state;

	assert_int_equal(open_path(t), 0);
	/* while ours is there, so that it has another number */
	_cleanup_free_ char *other = xasprintf("%s.new", t->path);
	int fd = listen_at(other);

	assert_int_equal(rename(other, t->path), 0);
	listeners_close(&t->listeners, true);
	assert_true(exists(t->path));
	close(fd);
}

/* Whoever serves it asks who has connected; and where nobody asked for it, it may be missing. */
static void one_for_all_users_may_be_missing(void **state)
{
	struct trial *t = *state;
	_cleanup_free_ char *address = xasprintf("unix:%s", t->path);
	struct listen_wish wishes[LISTENER_KINDS] = { [LISTENER_CONTROL] = {
							      .address = address,
							      .by_peer = true,
							      .optional = true } };
	struct stat st;

	close(open(t->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	assert_int_equal(t->listeners.n, 0);
	assert_non_null(strstr(strbuf_str(&t->why), "no socket of ours"));
	assert_int_equal(stat(t->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	wishes[LISTENER_CONTROL].optional = false;
	strbuf_clear(&t->why);
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), -EEXIST);
	unlink(t->path);
	strbuf_clear(&t->why);
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	assert_int_equal(t->why.len, 0);
	assert_int_equal(stat(t->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	listeners_close(&t->listeners, true);
	/* nor is it opened where one was given */
	wishes[LISTENER_CONTROL].optional = true;
	_cleanup_free_ char *given = xasprintf("%s.given", t->path);

	t->listeners.list[t->listeners.n++] =
		(struct listener){ .kind = LISTENER_CONTROL, .fd = listen_at(given) };
	assert_int_equal(listeners_open(&t->listeners, wishes, false, &t->why), 0);
	assert_int_equal(t->listeners.n, 1);
	assert_false(exists(t->path));
	unlink(given);
}

/* A port that is free: the kernel chose it, and it is let go. */
static char *free_port(const char *host)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(addr);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	return xasprintf("%s:%u", host, ntohs(addr.sin_port));
}

static void other_hosts_are_asked_for(void **state)
{
	struct trial *t = *state;
	_cleanup_free_ char *all = free_port("0.0.0.0"), *local = free_port("127.0.0.1");

	assert_int_equal(open_at(t, all, false), -EPERM);
	assert_non_null(strstr(strbuf_str(&t->why), all));
	assert_non_null(strstr(strbuf_str(&t->why), "--http-any"));
	assert_int_equal(t->listeners.n, 0);
	assert_int_equal(open_at(t, all, true), 0);
	/* and where something else is wished that is not there any more */
	assert_int_equal(open_at(t, local, false), 0);
	assert_int_equal(t->listeners.n, 1);
	struct listeners second = { .n = 0 };
	struct listen_wish wishes[LISTENER_KINDS] = { [LISTENER_CONTROL] = {
							      .address = local } };

	assert_int_equal(listeners_open(&second, wishes, false, &t->why), -EADDRINUSE);
	assert_non_null(strstr(strbuf_str(&t->why), "--control"));
	/* a program that is on trial and wishes nothing takes nothing away */
	assert_int_equal(
		listeners_open(&t->listeners, (struct listen_wish[LISTENER_KINDS]){ 0 },
			false, &t->why),
		0);
	assert_int_equal(t->listeners.n, 1);
	assert_int_equal(open_at(t, NULL, false), 0);
	assert_int_equal(t->listeners.n, 0);
}

/* ---- handing on ---- */

/* What the next program finds of what this one packs. */
static void hand_on(struct listeners *from, struct listeners *to)
{
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;

	baggage_begin(&bytes, "x", 1);
	listeners_pack(from, &bytes);
	listeners_inherit(from, true);
	listeners_adopt(to, &bytes);
}

static void it_outlives_the_program(void **state)
{
	struct trial *t = *state;
	struct listeners next = { .n = 0 };

	assert_int_equal(open_path(t), 0);
	hand_on(&t->listeners, &next);
	assert_int_equal(next.n, 1);
	assert_int_equal(next.list[0].fd, t->listeners.list[0].fd);
	assert_int_equal(next.list[0].kind, LISTENER_HTTP);
	assert_true(next.list[0].own);
	assert_int_equal(fcntl(next.list[0].fd, F_GETFD), FD_CLOEXEC);
	t->listeners = next;
	assert_int_equal(open_path(t), 0);
	assert_int_equal(t->listeners.n, 1);
	assert_int_equal(t->listeners.list[0].fd, next.list[0].fd);
	listeners_close(&t->listeners, true);
	assert_false(exists(t->path));
}

/* Its name is gone: nobody would find it. */
static void what_has_lost_its_name_is_opened_again(void **state)
{
	struct trial *t = *state;
	struct listeners next = { .n = 0 };

	assert_int_equal(open_path(t), 0);
	unlink(t->path);
	hand_on(&t->listeners, &next);
	t->listeners = next;
	assert_int_equal(open_path(t), 0);
	assert_int_equal(t->listeners.n, 1);
	assert_true(connects(t->path));
}

/* From a socket unit: neither its name nor its address is ours. */
static void what_was_given_stays_its_givers(void **state)
{
	struct trial *t = *state;
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	_cleanup_free_ char *all = free_port("0.0.0.0");
	int fd = listen_at(t->path);
	struct address a;

	(void)fcntl(fd, F_SETFD, 0);
	baggage_begin(&bytes, NULL, 0);
	listener_pack(LISTENER_CONTROL, fd, false, LISTENERS_MAX, &bytes);
	listeners_adopt(&t->listeners, &bytes);
	assert_int_equal(t->listeners.n, 1);
	assert_int_equal(t->listeners.list[0].kind, LISTENER_CONTROL);
	assert_int_equal(open_at(t, NULL, false), 0);
	assert_int_equal(t->listeners.n, 1);
	listeners_close(&t->listeners, true);
	assert_true(exists(t->path));

	assert_int_equal(open_at(t, all, true), 0);
	assert_int_equal(address_of(t->listeners.list[0].fd, &a), 0);
	t->listeners.list[0].own = false;
	assert_int_equal(open_at(t, NULL, false), -EPERM);
	assert_int_equal(open_at(t, NULL, true), 0);
	assert_int_equal(t->listeners.n, 1);
}

/* Nothing but a socket that listens and was inherited is taken over. */
static void others_descriptors_are_not_taken(void **state)
{
	struct trial *t = *state;
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	int fds[2], file = open("/dev/null", O_RDONLY), own = listen_at(t->path);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	baggage_begin(&bytes, NULL, 0);
	listener_pack(LISTENER_HTTP, fds[0], true, 8, &bytes);
	listener_pack(LISTENER_HTTP, file, true, 7, &bytes);
	listener_pack(LISTENER_HTTP, own, true, 6, &bytes); /* close-on-exec */
	listener_pack(LISTENER_HTTP, 999, true, 5, &bytes);
	listeners_adopt(&t->listeners, &bytes);
	assert_int_equal(t->listeners.n, 0);
	/* what nobody adopted goes */
	(void)fcntl(own, F_SETFD, 0);
	listeners_end_left();
	assert_int_equal(fcntl(own, F_GETFD), -1);
	assert_int_equal(fcntl(file, F_GETFD), 0);
	close(file);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_as_they_are_written),
#define TRIAL(f) cmocka_unit_test_setup_teardown(f, begin, end)
		TRIAL(a_socket_is_for_its_group_and_goes),
		TRIAL(who_only_closes_removes_nothing),
		TRIAL(what_a_dead_one_left_is_replaced),
		TRIAL(what_is_not_ours_is_left_alone),
		TRIAL(what_stands_in_our_place_stays),
		TRIAL(one_for_all_users_may_be_missing),
		TRIAL(other_hosts_are_asked_for),
		TRIAL(it_outlives_the_program),
		TRIAL(what_has_lost_its_name_is_opened_again),
		TRIAL(what_was_given_stays_its_givers),
		TRIAL(others_descriptors_are_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
