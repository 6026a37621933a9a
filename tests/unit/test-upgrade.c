/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a keeper hands on to the program that it executes: whole, or not believed. */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handover/layout.h"
#include "keeper/baggage.h"
#include "keeper/sockets.h"
#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/loop.h"
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
	fds[STATE_FD_MORE] = memfd_create("more", 0);
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
	receive_refuses(&s, "version 3, not 2");
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
	_cleanup_strbuf_ struct strbuf other = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf parts = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	const char *others[] = { "", "1", "1:", "1:1:", "::", "0:0:1.1.56" };

	(void)state;
	layout_describe(&parts);
	strbuf_addf(
		&ours, "%u:%u:%s", STATE_VERSION, HANDOVER_VERSION, strbuf_str(&parts));
	assert_int_equal(upgrade_can(strbuf_str(&ours), &why), 0);
	/* of another layout whose parts are known */
	strbuf_addf(&other, "%u:9999:%s", STATE_VERSION, strbuf_str(&parts));
	assert_int_equal(upgrade_can(strbuf_str(&other), &why), 0);
	strbuf_addc(&other, '0');
	assert_int_equal(upgrade_can(strbuf_str(&other), &why), -EPROTO);
	strbuf_clear(&other);
	strbuf_addf(&other, "%u:%u:%s", STATE_VERSION + 1, HANDOVER_VERSION,
		strbuf_str(&parts));
	assert_int_equal(upgrade_can(strbuf_str(&other), &why), -EPROTO);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(upgrade_can(others[i], &why), -EPROTO);
		assert_non_null(strstr(strbuf_str(&why), strbuf_str(&ours)));
	}
}

/* ---- a handover of another layout ---- */

/* One that has its parts in the opposite order; of version 999. */
static int shuffled(void)
{
	struct {
		struct handover_head head;
		struct layout_index index;
	} top = { { HANDOVER_MAGIC, 999, 0 }, layout_own };
	uint64_t at = 4096;

	for (uint64_t i = 0; i < layout_own.n; i++) {
		uint64_t to = layout_own.n - 1 - i;

		top.index.parts[to] = layout_own.parts[i];
		top.index.parts[to].at = at;
		at = (at + layout_own.parts[i].bytes + 4095) / 4096 * 4096;
	}
	int fd = memfd_create("old", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)at), 0);
	assert_int_equal(pwrite(fd, &top, sizeof(top), 0), sizeof(top));
	return fd;
}

static struct layout_index read_index(int fd)
{
	struct layout_index index;

	assert_int_equal(pread(fd, &index, sizeof(index), sizeof(struct handover_head)),
		sizeof(index));
	return index;
}

static void write_index(int fd, const struct layout_index *index)
{
	assert_int_equal(pwrite(fd, index, sizeof(*index), sizeof(struct handover_head)),
		sizeof(*index));
}

/* Writes a field of struct handover where that one has it. */
static void put(int fd, size_t field, const void *data, size_t bytes)
{
	struct layout_index index = read_index(fd);

	for (uint64_t i = 0; i < layout_own.n; i++) {
		const uint64_t at = layout_own.parts[i].at;

		if (field < at || field >= at + layout_own.parts[i].bytes)
			continue;
		for (uint64_t j = 0; j < index.n; j++)
			if (index.parts[j].part == layout_own.parts[i].part)
				assert_int_equal(
					pwrite(fd, data, bytes,
						(off_t)(index.parts[j].at + field - at)),
					bytes);
		return;
	}
	fail();
}

#define PUT(fd, field, value)                                                            \
	put(fd, offsetof(struct handover, field), &(__typeof__(value)){ value },         \
		sizeof(value))

static struct handover *migrate(int fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	_cleanup_close_ int new_fd = layout_migrate(fd, &why);

	assert_true(new_fd >= 0);
	struct handover *h = handover_map(new_fd, &why);

	assert_non_null(h);
	return h;
}

static void what_is_known_is_taken_over(void **state)
{
	_cleanup_close_ int fd = shuffled();

	(void)state;
	PUT(fd, generation, UINT64_C(77));
	PUT(fd, latches_top, UINT64_C(3));
	PUT(fd, init_bytes, UINT32_C(104));
	PUT(fd, slots[7].head.bytes, UINT32_C(40));
	PUT(fd, told[LIMIT_ARMED - 1].key, UINT64_C(4711));
	PUT(fd, latches[2].key, UINT64_C(9));
	PUT(fd, arena.top, UINT64_C(1));
	PUT(fd, checkpoint.half[1].sequence, UINT64_C(5));
	PUT(fd, log_level, (uint32_t)LOG_LEVEL_WARNING + 1);
	struct handover *h = migrate(fd);

	assert_int_equal(h->generation, 77);
	assert_int_equal(h->latches_top, 3);
	assert_int_equal(h->init_bytes, 104);
	assert_int_equal(h->slots[7].head.bytes, 40);
	assert_int_equal(h->told[LIMIT_ARMED - 1].key, 4711);
	assert_int_equal(h->told[0].key, 0);
	assert_int_equal(h->latches[2].key, 9);
	assert_int_equal(h->arena.top, 1);
	assert_int_equal(h->checkpoint.half[1].sequence, 5);
	assert_int_equal(h->log_level, LOG_LEVEL_WARNING + 1);
	handover_unmap(h);
}

/* Latches of another version, and so images, and a level of the log are left; nothing else. */
static void what_need_not_be_known_is_left(void **state)
{
	_cleanup_close_ int fd = shuffled();
	struct layout_index index = read_index(fd);

	(void)state;
	for (uint64_t i = 0; i < index.n; i++)
		if (index.parts[i].part == LAYOUT_LATCHES ||
			index.parts[i].part == LAYOUT_LOG)
			index.parts[i].version++;
	write_index(fd, &index);
	PUT(fd, latches_top, UINT64_C(3));
	PUT(fd, latches[2].key, UINT64_C(9));
	PUT(fd, arena.top, UINT64_C(1));
	PUT(fd, told[0].key, UINT64_C(4711));
	struct handover *h = migrate(fd);

	assert_int_equal(h->latches_top, 0);
	assert_int_equal(h->latches[2].key, 0);
	assert_int_equal(h->arena.top, 0);
	assert_int_equal(h->told[0].key, 4711);
	handover_unmap(h);
}

static void migrate_refuses(int fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	assert_true(layout_migrate(fd, &why) < 0);
	assert_true(why.len > 0);
}

static void damaged_layouts_are_refused(void **state)
{
	_cleanup_close_ int fd = shuffled();
	const struct layout_index good = read_index(fd);
	struct layout_index bad = good;

	(void)state;
	for (uint64_t i = 0; i < good.n; i++) {
		if (good.parts[i].part != LAYOUT_TOLD)
			continue;
		bad.parts[i].at = UINT64_MAX - 10;
		write_index(fd, &bad);
		migrate_refuses(fd);
		bad.parts[i].at = UINT64_C(1) << 40;
		write_index(fd, &bad);
		migrate_refuses(fd);
		bad.parts[i] = good.parts[i];
		bad.parts[i].version++;
		write_index(fd, &bad);
		migrate_refuses(fd);
		bad.parts[i] = good.parts[i];
		bad.parts[i].bytes--;
		write_index(fd, &bad);
		migrate_refuses(fd);
		bad = good;
	}
	bad.n = 0;
	write_index(fd, &bad);
	migrate_refuses(fd);
	bad.n = UINT64_MAX; /* what is there is looked at */
	write_index(fd, &bad);
	handover_unmap(migrate(fd));
	write_index(fd, &good);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	migrate_refuses(fd);
	assert_int_equal(ftruncate(fd, 20), 0);
	migrate_refuses(fd);
	migrate_refuses(-1);
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

/* ---- what is handed on besides ---- */

static void pack_two(struct strbuf *out)
{
	strbuf_clear(out);
	baggage_begin(out, "<conf/>", 7);
	baggage_add(out, &(struct baggage_socket){ 900, 7, "/b/channel" });
	baggage_add(out, &(struct baggage_socket){ 30, 8, "/a/channel" });
}

static void baggage_arrives_as_it_was(void **state)
{
	(void)state;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, in = STRBUF_INIT;
	struct baggage_socket socket;
	struct baggage b;

	pack_two(&out);
	_cleanup_close_ int fd = state_send_more(&out);

	assert_true(fd >= 0);
	assert_int_equal(state_receive_more(fd, out.len - 1, &in), -EFBIG);
	assert_int_equal(state_receive_more(fd, out.len, &in), 0);
	assert_int_equal(in.len, out.len);
	assert_int_equal(baggage_open(in.data, in.len, 900, &b), 0);
	assert_int_equal(b.conf_bytes, 7);
	assert_memory_equal(b.conf, "<conf/>", 7);
	assert_true(baggage_next(&b, &socket));
	assert_int_equal(socket.id, 900);
	assert_int_equal(socket.fd, 7);
	assert_string_equal(socket.path, "/b/channel");
	assert_true(baggage_next(&b, &socket));
	assert_int_equal(socket.id, 30);
	assert_string_equal(socket.path, "/a/channel");
	assert_false(baggage_next(&b, &socket));
	/* somebody could write to it still; it is none */
	_cleanup_close_ int open_fd = memfd_create("open", MFD_ALLOW_SEALING);

	assert_int_equal(state_receive_more(open_fd, 100, &in), -EINVAL);
	assert_int_equal(state_receive_more(-1, 100, &in), -EINVAL);
}

static int open_baggage(const struct strbuf *bytes, size_t size)
{
	struct baggage b;

	/* in memory of that size: nobody reads behind it */
	_cleanup_free_ char *copy = malloc(size ? size : 1);

	memcpy(copy, bytes->data, size);
	return baggage_open(copy, size, 900, &b);
}

static void baggage_is_not_believed(void **state)
{
	(void)state;
	static const struct baggage_socket bad[] = {
		{ 0, 7, "/channel" },
		{ 901, 7, "/channel" }, /* a time to come */
		{ 900, 2, "/channel" },
		{ 900, -1, "/channel" },
		{ 900, 7, "channel" },
		{ 900, 7, "" },
	};
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	pack_two(&out);
	assert_int_equal(open_baggage(&out, out.len), 0);
	const size_t whole = out.len;
	const size_t second = sizeof("/a/channel") + 16,
		     first = sizeof("/b/channel") + 16;

	for (size_t n = 0; n < whole; n++)
		assert_int_equal(open_baggage(&out, n) == 0,
			n == whole - second || n == whole - second - first);
	/* an id that was there before */
	baggage_add(&out, &(struct baggage_socket){ 30, 9, "/c/channel" });
	assert_int_equal(open_baggage(&out, out.len), -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		strbuf_clear(&out);
		baggage_begin(&out, NULL, 0);
		baggage_add(&out, &bad[i]);
		assert_int_equal(open_baggage(&out, out.len), -EINVAL);
	}
	/* a path of no bytes, and nothing behind */
	strbuf_clear(&out);
	baggage_begin(&out, NULL, 0);
	baggage_add(&out, &bad[ARRAY_LEN(bad) - 1]);
	memset(out.data + out.len - 1 - sizeof(uint32_t), 0, sizeof(uint32_t));
	assert_int_equal(open_baggage(&out, out.len - 1), -EINVAL);
	/* each bit of it */
	pack_two(&out);
	for (size_t i = 0; i < 8 * out.len; i++) {
		out.data[i / 8] ^= (char)(1 << i % 8);
		open_baggage(&out, out.len);
		out.data[i / 8] ^= (char)(1 << i % 8);
	}
	out.data[8]++;
	assert_int_equal(open_baggage(&out, out.len), -EPROTO);
}

/* Something that listens.  Return: its descriptor. */
static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(path);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

struct handed_on {
	char dir[TMP_PATH_SIZE], path[TMP_PATH_SIZE + 32];
	int listener, left, memory;
	struct socket_given was[3];
	struct strbuf bytes;
};

/* Several connections, each with a name of its own. */
static const char *name_of(const struct handed_on *h, int i)
{
	static char name[TMP_PATH_SIZE + 16];

	snprintf(name, sizeof(name), "%s/%d", h->dir, i);
	return name;
}

/* In the program that is executed: descriptors have the numbers that they had. */
static void check_handed_on(const struct handed_on *h)
{
	struct socket_given is = { .fd = -1 };
	struct loop *loop = NULL;

	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	struct sockets *s = sockets_new(loop, false);

	assert_int_equal(sockets_adopt_all(s, &h->bytes), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sockets_get(s, name_of(h, i), true, &is), 0);
		assert_true(is.resumed && is.kept);
		assert_int_equal(is.id, h->was[i].id);
		assert_int_equal(is.fd, h->was[i].fd);
		assert_int_equal(fcntl(is.fd, F_GETFD), FD_CLOEXEC);
	}
	/* a new one is none of those */
	assert_int_equal(sockets_get(s, h->path, true, &is), 0);
	assert_false(is.resumed);
	assert_true(is.id > h->was[2].id);
	/* what is left open of channels is closed, and nothing else */
	sockets_end_left();
	assert_int_equal(fcntl(h->left, F_GETFD), -1);
	assert_int_equal(fcntl(is.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(h->listener, F_GETFD), 0);
	assert_int_equal(fcntl(h->memory, F_GETFD), 0);
	sockets_free(s);
	loop_free(loop);
}

static void connections_outlive_the_program(void **state)
{
	(void)state;
	struct handed_on h = { .bytes = STRBUF_INIT };
	struct loop *loop = NULL;
	int status = 0;

	tmp_path(h.dir, "vhostmd-upgrade.XXXXXX");
	assert_non_null(mkdtemp(h.dir));
	snprintf(h.path, sizeof(h.path), "%s/org.github.vhostmd.1", h.dir);
	h.listener = listen_at(h.path);
	h.memory = memfd_create("no socket", 0);
	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	struct sockets *s = sockets_new(loop, false);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(link(h.path, name_of(&h, i)), 0);
		assert_int_equal(sockets_get(s, name_of(&h, i), true, &h.was[i]), 0);
	}
	baggage_begin(&h.bytes, NULL, 0);
	sockets_pack(s, &h.bytes);
	/* one twice, and what is no socket */
	baggage_add(&h.bytes, &(struct baggage_socket){ 2, h.was[0].fd, "/x" });
	baggage_add(&h.bytes, &(struct baggage_socket){ 1, h.memory, "/y" });
	h.left = fcntl(h.was[0].fd, F_DUPFD, 3);
	fcntl(h.listener, F_SETFD, 0);
	sockets_inherit(s, true);
	pid_t pid = fork();

	if (pid == 0) {
		check_handed_on(&h);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	sockets_free(s);
	loop_free(loop);
	strbuf_done(&h.bytes);
	close(h.left);
	close(h.listener);
	close(h.memory);
	for (int i = 0; i < 3; i++)
		unlink(name_of(&h, i));
	unlink(h.path);
	rmdir(h.dir);
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
		cmocka_unit_test(baggage_arrives_as_it_was),
		cmocka_unit_test(baggage_is_not_believed),
		cmocka_unit_test(connections_outlive_the_program),
		cmocka_unit_test(versions_are_compared),
		cmocka_unit_test(what_is_known_is_taken_over),
		cmocka_unit_test(what_need_not_be_known_is_left),
		cmocka_unit_test(damaged_layouts_are_refused),
		cmocka_unit_test(the_program_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
