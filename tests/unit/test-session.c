/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FUSE session that outlives its process, against a stand-in for the kernel: the other end
 * of a socket.
 */
#define FUSE_USE_VERSION 312

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fuse.h>

#include <fuse_lowlevel.h>

#include "fs/session.h"
#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

struct owner {
	struct session session; /* must be first */
};

static unsigned n_statfs;

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct statvfs st = { .f_bsize = 4096, .f_namemax = 255 };

	(void)ino;
	n_statfs++;
	fuse_reply_statfs(req, &st);
}

/* Answers with what no thread has looked at yet. */
static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const size_t len = 3 * (size_t)sysconf(_SC_PAGESIZE);
	char *text = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)ino;
	assert_ptr_not_equal(text, MAP_FAILED);
	fuse_reply_buf(req, text + 1, len - 1);
	munmap(text, len);
}

static const struct fuse_lowlevel_ops ops = { .statfs = op_statfs,
	.readlink = op_readlink };

static size_t n_written, n_absent; /* pages */

static bool is_present(int pagemap, uintptr_t page)
{
	uint64_t entry = 0; /* of the kernel's Documentation/admin-guide/mm/pagemap.rst */

	assert_int_equal(
		pread(pagemap, &entry, sizeof(entry), (off_t)(page * sizeof(entry))),
		sizeof(entry));
	return entry >> 63;
}

/* In the place of libc's: looks at what of an answer is in memory when it is given. */
ssize_t writev(int fd, const struct iovec *iov, int n)
{
	const uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
	_cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	assert_true(pagemap >= 0);
	for (int i = 0; i < n; i++) {
		uintptr_t at = (uintptr_t)iov[i].iov_base, end = at + iov[i].iov_len;

		for (uintptr_t page = at / size; page * size < end; page++) {
			n_absent += !is_present(pagemap, page);
			n_written++;
		}
	}
	return syscall(SYS_writev, fd, iov, n);
}

static void process(struct session *s, const struct fuse_buf *buf)
{
	session_process(s, buf);
}

struct world {
	int memory;
	struct handover *handover;
	int kernel; /* its end */
	unsigned n_before;
	struct owner owner;
};

/* A worker, after as many others as @handover says. */
static void begin(struct world *w)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	w->kernel = fds[1];
	assert_int_equal(session_open(&w->owner, fds[0], w->handover, w->n_before++, &ops,
				 sizeof(ops)),
		0);
}

/* It ends as if it were killed: nothing that it says arrives. */
static void end(struct world *w)
{
	close(w->kernel);
	session_close(&w->owner.session);
}

static int make_world(void **state)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct world *w = xcalloc(1, sizeof(*w));

	w->memory = handover_create();
	w->handover = handover_map(w->memory, &why);
	assert_non_null(w->handover);
	begin(w);
	n_statfs = 0;
	*state = w;
	return 0;
}

static int free_world(void **state)
{
	struct world *w = *state;

	end(w);
	handover_unmap(w->handover);
	close(w->memory);
	free(w);
	return 0;
}

static void ask(const struct world *w, uint32_t opcode, uint64_t unique)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in init;
	} request = { .head = { .len = sizeof(request.head),
			      .opcode = opcode,
			      .unique = unique,
			      .nodeid = 1 },
		.init = { .major = 7, .minor = 36, .max_readahead = 131072 } };

	if (opcode == FUSE_INIT)
		request.head.len = sizeof(request);
	assert_int_equal(
		send(w->kernel, &request, request.head.len, 0), request.head.len);
}

/* Receives, and answers if told to. */
static void serve_one(struct world *w, bool answers)
{
	struct fuse_buf buf = { 0 };

	assert_true(session_receive(&w->owner.session, 0, &buf) > 0);
	if (!answers)
		return;
	process(&w->owner.session, &buf);
	session_answered(&w->owner.session, 0);
}

/* Return: the error of the next answer that the kernel gets; 1: there is none. */
static int answered(const struct world *w, uint64_t *ret_unique)
{
	char text[4096];
	struct fuse_out_header head;

	if (recv(w->kernel, text, sizeof(text), 0) < (ssize_t)sizeof(head))
		return 1;
	memcpy(&head, text, sizeof(head));
	*ret_unique = head.unique;
	return head.error;
}

static void assert_answer(const struct world *w, uint64_t unique, int error)
{
	uint64_t is = 0;

	assert_int_equal(answered(w, &is), error);
	assert_int_equal(is, unique);
}

static void assert_nothing(const struct world *w)
{
	uint64_t is = 0;

	assert_int_equal(answered(w, &is), 1);
}

/* The next worker's first words: names are dropped, unanswered requests shall come again. */
static void assert_resumed(const struct world *w, bool begun)
{
	if (begun)
		assert_answer(w, 0, 8);
	assert_answer(w, 0, 7);
}

static void agree(struct world *w)
{
	ask(w, FUSE_INIT, 2);
	serve_one(w, true);
	assert_answer(w, 2, 0);
	assert_true(w->handover->init_bytes > 0);
}

static void the_beginning_is_not_answered_again(void **state)
{
	struct world *w = *state;

	session_resume(&w->owner.session, process);
	assert_nothing(w);
	agree(w);
	for (unsigned i = 0; i < 3; i++) {
		end(w);
		begin(w);
		session_resume(&w->owner.session, process);
		assert_resumed(w, true);
		assert_nothing(w);
		ask(w, FUSE_STATFS, 4 + i);
		serve_one(w, true);
		assert_answer(w, 4 + i, 0);
	}
}

static void a_beginning_that_nobody_answered_is_answered(void **state)
{
	struct world *w = *state;

	ask(w, FUSE_INIT, 2);
	serve_one(w, false);
	end(w);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_answer(w, 2, 0);
	assert_resumed(w, false);
	assert_true(w->handover->init_bytes > 0);
	ask(w, FUSE_STATFS, 4);
	serve_one(w, true);
	assert_answer(w, 4, 0);
}

static void what_was_read_and_not_answered_is_answered_once(void **state)
{
	struct world *w = *state;

	agree(w);
	ask(w, FUSE_STATFS, 6);
	serve_one(w, false);
	end(w);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_answer(w, 0, 8);
	assert_answer(w, 6, 0);
	assert_answer(w, 0, 7);
	end(w);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_resumed(w, true);
	assert_nothing(w);
	assert_int_equal(n_statfs, 1);
}

static void dies(struct session *s, const struct fuse_buf *buf)
{
	(void)s;
	(void)buf;
}

static void what_ends_one_worker_after_another_gets_an_error(void **state)
{
	struct world *w = *state;

	agree(w);
	ask(w, FUSE_STATFS, 6);
	serve_one(w, false);
	for (unsigned i = 0; i < 3; i++) {
		const uint32_t bytes = sizeof(struct fuse_in_header);
		uint32_t attempts = i + 1;

		end(w);
		begin(w);
		session_resume(&w->owner.session, dies);
		assert_resumed(w, true);
		/* that is where it died */
		w->handover->slots[0].head.bytes = bytes;
		w->handover->notes[0].attempts = attempts;
	}
	end(w);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_answer(w, 0, 8);
	assert_answer(w, 6, -EIO);
	assert_answer(w, 0, 7);
	assert_int_equal(w->handover->slots[0].head.bytes, 0);
	assert_int_equal(n_statfs, 0);
}

/* Nobody knows why it was killed, but by whom: the request is not to blame. */
static void what_somebody_kills_workers_at_is_answered(void **state)
{
	struct world *w = *state;
	const uint32_t bytes = sizeof(struct fuse_in_header);

	agree(w);
	ask(w, FUSE_STATFS, 6);
	serve_one(w, false);
	for (uint32_t i = 0; i < 10; i++) {
		end(w);
		handover_forgive(w->handover);
		begin(w);
		session_resume(&w->owner.session, dies);
		assert_resumed(w, true);
		/* that is where it was killed */
		w->handover->slots[0].head.bytes = bytes;
		w->handover->notes[0].attempts = i + 1;
	}
	end(w);
	handover_forgive(w->handover);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_answer(w, 0, 8);
	assert_answer(w, 6, 0);
	assert_answer(w, 0, 7);
	assert_int_equal(n_statfs, 1);
}

/* Or who is killed just then has whoever waits for it get an error. */
static void an_answer_is_in_memory_when_it_is_given(void **state)
{
	struct world *w = *state;

	agree(w);
	n_written = n_absent = 0;
	ask(w, FUSE_READLINK, 7);
	serve_one(w, true);
	assert_true(n_written >= 3);
	assert_int_equal(n_absent, 0);
}

static void who_waits_for_a_change_is_woken(void **state)
{
	struct world *w = *state;

	agree(w);
	struct ledger *polls = handover_polls(w->handover);

	ledger_add(polls, 77, 1);
	ledger_free(polls);
	end(w);
	begin(w);
	assert_answer(w, 0, FUSE_NOTIFY_POLL);
	session_resume(&w->owner.session, process);
	assert_resumed(w, true);
	end(w);
	begin(w);
	session_resume(&w->owner.session, process);
	assert_resumed(w, true);
	assert_nothing(w);
}

/* What is left of a session's beginning may be anything: who asks is answered. */
static void a_damaged_beginning_is_no_end(void **state)
{
	struct world *w = *state;
	struct fuse_in_header head;
	uint64_t unique = 4;

	agree(w);
	memcpy(&head, w->handover->init, sizeof(head));
	const uint32_t bytes = w->handover->init_bytes;
	char good[HANDOVER_INIT_MAX];

	memcpy(good, w->handover->init, sizeof(good));
	for (unsigned i = 0; i < 2 * bytes; i++) {
		memcpy(w->handover->init, good, sizeof(good));
		w->handover->init_bytes = bytes;
		if (i < bytes)
			w->handover->init[i] = (char)(w->handover->init[i] ^ 0xff);
		else
			w->handover->init_bytes = i - bytes;
		end(w);
		begin(w);
		session_resume(&w->owner.session, process);
		while (answered(w, &head.unique) != 1)
			;
		unique += 2;
		ask(w, FUSE_STATFS, unique);
		serve_one(w, true);
		assert_answer(w, unique, 0);
		assert_nothing(w);
	}
}

/* Nothing that an earlier worker wrote ends a later one. */
static void what_is_in_the_slots_may_be_anything(void **state)
{
	struct world *w = *state;
	unsigned seed = 1;

	agree(w);
	for (unsigned i = 0; i < 3000; i++) {
		struct slot *slot = &w->handover->slots[i % HANDOVER_SLOTS];
		unsigned n = (unsigned)rand_r(&seed) % 200;

		for (unsigned at = 0; at < n; at++)
			slot->request[at] = (char)rand_r(&seed);
		if (rand_r(&seed) % 2)
			slot->head.bytes = (unsigned)rand_r(&seed) % 300;
		if (rand_r(&seed) % 4 == 0)
			slot->head.opcode = (unsigned)rand_r(&seed) % 60;
		/* of these libfuse keeps, until the process ends, what belongs to nothing */
		if (slot->head.opcode == FUSE_INTERRUPT ||
			slot->head.opcode == FUSE_NOTIFY_REPLY)
			slot->head.opcode = FUSE_GETATTR;
		if (rand_r(&seed) % 100 == 0)
			w->handover->init[(unsigned)rand_r(&seed) % 80] ^= 1;
		if (rand_r(&seed) % 100 == 0)
			w->handover->init_bytes = (unsigned)rand_r(&seed);
		end(w);
		begin(w);
		session_resume(&w->owner.session, process);
	}
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, make_world, free_world)
	const struct CMUnitTest tests[] = {
		IN_WORLD(the_beginning_is_not_answered_again),
		IN_WORLD(a_beginning_that_nobody_answered_is_answered),
		IN_WORLD(what_was_read_and_not_answered_is_answered_once),
		IN_WORLD(what_ends_one_worker_after_another_gets_an_error),
		IN_WORLD(what_somebody_kills_workers_at_is_answered),
		IN_WORLD(an_answer_is_in_memory_when_it_is_given),
		IN_WORLD(who_waits_for_a_change_is_woken),
		IN_WORLD(a_damaged_beginning_is_no_end),
		IN_WORLD(what_is_in_the_slots_may_be_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
