/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a keeper hands on to the program that it executes: whole, or not believed. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

/* A state as a keeper writes it, with descriptors of the right kinds. */
struct handed {
	struct keeper_state state;
	int sockets[2];
};

static int make_handed(void **state)
{
	struct handed *h = calloc(1, sizeof(*h));
	int32_t *fds = h->state.fds;

	state_begin(&h->state);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, h->sockets), 0);
	fds[STATE_FD_FUSE] = open("/dev/null", O_RDWR);
	fds[STATE_FD_HANDOVER] = memfd_create("handover", 0);
	fds[STATE_FD_PID_FILE] = memfd_create("pid", 0);
	fds[STATE_FD_SOCKET] = h->sockets[0];
	fds[STATE_FD_BEFORE] = open("/proc/self/exe", O_PATH);
	h->state.serves = 1;
	h->state.n_workers = 2;
	h->state.workers[0] = 1000001;
	h->state.workers[1] = 1000002;
	h->state.n_started = 7;
	h->state.ready_ns = 1;
	h->state.link_kept = -1;
	strcpy(h->state.link, "/dev/shm/vhostmd0");
	strcpy(h->state.program, "/usr/sbin/vhostmd");
	*state = h;
	return 0;
}

static int free_handed(void **state)
{
	struct handed *h = *state;

	for (int i = 0; i < STATE_FDS; i++)
		close(h->state.fds[i]);
	close(h->sockets[1]);
	free(h);
	return 0;
}

static int check(const struct keeper_state *s, struct keeper_state *ret)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int r = state_check(s, sizeof(*s), clock_mono_ns(), ret, &why);

	assert_int_equal(r<0, why.len> 0);
	return r;
}

static void it_arrives_as_it_was(void **state)
{
	const struct handed *h = *state;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct keeper_state got;
	int fd = state_send(&h->state);

	assert_true(fd >= 0);
	/* only what says so is inherited by a program */
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	state_inherit(&h->state, true);
	for (int i = 0; i < STATE_FDS; i++)
		assert_int_equal(fcntl(h->state.fds[i], F_GETFD), 0);
	assert_int_equal(state_receive(fd, &got, &why), 0);
	assert_memory_equal(&got, &h->state, sizeof(got));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	for (int i = 0; i < STATE_FDS; i++)
		assert_int_equal(fcntl(h->state.fds[i], F_GETFD), FD_CLOEXEC);
}

static void receive_refuses(struct keeper_state *s, const char *says)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct keeper_state got;

	assert_true(state_receive(state_send(s), &got, &why) < 0);
	assert_non_null(strstr(strbuf_str(&why), says));
}

static void others_are_refused(void **state)
{
	struct handed *h = *state;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct keeper_state s = h->state, got;

	s.version++;
	receive_refuses(&s, "version 2, not 1");
	s = h->state;
	s.pid++;
	receive_refuses(&s, "another process'");
	s = h->state;
	s.fds[STATE_FD_FUSE] = h->sockets[1];
	receive_refuses(&s, "another process'");
	s = h->state;
	s.fds[STATE_FD_SOCKET] = 1000;
	receive_refuses(&s, "another process'");

	/* somebody could write to it still */
	int open_fd = memfd_create("open", MFD_ALLOW_SEALING);

	assert_int_equal(write(open_fd, &h->state, sizeof(h->state)), sizeof(h->state));
	assert_int_equal(state_receive(open_fd, &got, &why), -EINVAL);
	/* too long, too short, nothing at all */
	assert_int_equal(
		state_check(&h->state, sizeof(h->state) - 1, clock_mono_ns(), &got, &why),
		-EPROTO);
	assert_int_equal(state_check("", 0, 0, &got, &why), -EINVAL);
	assert_true(state_receive(-1, &got, &why) < 0);
}

/* Each of these would have the keeper do something that it must not. */
static void damage_is_refused(void **state)
{
	const struct handed *h = *state;
	const struct keeper_state good = h->state;
	struct keeper_state got, s = good;

#define REFUSED(damage)                                                                  \
	do {                                                                             \
		s = good;                                                                \
		damage;                                                                  \
		assert_int_equal(check(&s, &got), -EINVAL);                              \
	} while (0)
	assert_int_equal(check(&s, &got), 0);
	REFUSED(s.magic[0] = 'x');
	REFUSED(memset(s.link, '/', sizeof(s.link)));
	REFUSED(memset(s.program, '/', sizeof(s.program)));
	REFUSED(memset(s.writer, '1', sizeof(s.writer)));
	REFUSED(strcpy(s.link, "relative"));
	REFUSED(strcpy(s.program, ""));
	REFUSED(s.fds[STATE_FD_FUSE] = -1);
	REFUSED(s.fds[STATE_FD_HANDOVER] = 2);
	REFUSED(s.fds[STATE_FD_PID_FILE] = s.fds[STATE_FD_FUSE]);
	REFUSED(s.fds[STATE_FD_BEFORE] = -2);
	REFUSED(s.fds[STATE_FD_SOCKET] = 0);
	/* kill(-1) ends everybody, and 0 ourselves */
	REFUSED(s.workers[1] = -1);
	REFUSED(s.workers[0] = 0);
	REFUSED(s.workers[0] = 1);
	REFUSED(s.workers[0] = s.pid);
	REFUSED(s.workers[1] = s.workers[0]);
	REFUSED(s.n_workers = STATE_WORKERS + 1);
	REFUSED(s.n_workers = UINT32_MAX);
	REFUSED(s.n_started = 1);
	REFUSED((s.n_workers = 0, s.serves = 1));
	REFUSED(s.serves = 0); /* with a socket */
	REFUSED(s.serves = 2);
	REFUSED(s.back = 2);
	REFUSED(s.mounted = 2);
	REFUSED(s.created_dir = 2);
	REFUSED(s.init_bytes = HANDOVER_INIT_MAX + 1);
	REFUSED(s.link_kept = -2);
	REFUSED(s.link_kept = STATE_PATH_MAX);
	REFUSED(s.ready_ns = INT64_MAX);
	REFUSED(s.down_ns = -1);
#undef REFUSED
}

static void versions_are_compared(void **state)
{
	_cleanup_strbuf_ struct strbuf ours = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	const char *others[] = { "", "1", "1.", "0.0", "99.99", "1.3 " };

	(void)state;
	strbuf_addf(&ours, "%u.%u", STATE_VERSION, HANDOVER_VERSION);
	assert_int_equal(upgrade_can(strbuf_str(&ours), &why), 0);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(upgrade_can(others[i], &why), -EPROTO);
		assert_non_null(strstr(strbuf_str(&why), strbuf_str(&ours)));
	}
}

/* By the name that it was called, unless that is another program's. */
static void the_program_is_found(void **state)
{
	_cleanup_free_ char *self = upgrade_program("vhostmd");
	_cleanup_free_ char *other = upgrade_program("/bin/sh");
	_cleanup_free_ char *gone = upgrade_program("/nowhere/vhostmd");
	char link[] = "/tmp/test-upgrade-XXXXXX";

	(void)state;
	assert_non_null(strstr(self, "test-upgrade"));
	assert_int_equal(access(self, X_OK), 0);
	assert_string_equal(other, self);
	assert_string_equal(gone, self);
	close(mkstemp(link));
	unlink(link);
	assert_int_equal(symlink(self, link), 0);
	_cleanup_free_ char *called = upgrade_program(link);

	unlink(link);
	assert_string_equal(called, link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			it_arrives_as_it_was, make_handed, free_handed),
		cmocka_unit_test_setup_teardown(
			others_are_refused, make_handed, free_handed),
		cmocka_unit_test_setup_teardown(
			damage_is_refused, make_handed, free_handed),
		cmocka_unit_test(versions_are_compared),
		cmocka_unit_test(the_program_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
