/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 312

#include "fs/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/fuse.h>

#include <fuse_lowlevel.h>

#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/log.h"

/*
 * Linux 6.16: all names must be looked up again; it may be newer than the headers that this is
 * built with.
 */
#define NOTIFY_INC_EPOCH 8

/* A request that so many workers began to answer, each after the last one's end, gets an error. */
#define MAX_ATTEMPTS 3u

static_assert(sizeof(struct slot_head) <= sizeof(struct fuse_in_header) &&
		offsetof(struct slot_head, bytes) ==
			offsetof(struct fuse_in_header, len) &&
		offsetof(struct slot_head, opcode) ==
			offsetof(struct fuse_in_header, opcode) &&
		offsetof(struct slot_head, unique) ==
			offsetof(struct fuse_in_header, unique) &&
		offsetof(struct slot_head, node) ==
			offsetof(struct fuse_in_header, nodeid),
	"the kernel writes it");
static_assert(HANDOVER_INIT_MAX == SESSION_BEGIN_MAX, "the first request fits");

/* ---- what we tell the kernel ourselves ---- */

/* Return: whether the kernel knows it. */
static bool notify(const struct session *s, int code, const void *body, size_t size)
{
	struct fuse_out_header head = { .len = (uint32_t)(sizeof(head) + size),
		.error = code };
	const struct iovec iov[] = { { &head, sizeof(head) },
		{ (void *)(uintptr_t)body, size } };

	return writev(s->fd, iov, size ? 2 : 1) >= 0;
}

/* Who waits is woken, and looks; that he waits is forgotten. */
static void wake_all(struct session *s)
{
	struct handover *h = s->handover;
	struct ledger *polls = handover_polls(h);
	struct fuse_notify_poll_wakeup_out wakeup = { 0 };

	for (uint32_t at = 0; (at = ledger_next(polls, at, &wakeup.kh)) != LEDGER_NONE;
		at++) {
		notify(s, FUSE_NOTIFY_POLL, &wakeup, sizeof(wakeup));
		ledger_drop(polls, at);
	}
	ledger_free(polls);
}

/* ---- what libfuse reads and writes ---- */

/* The kernel begins the session with the first of all requests. */
static void note_begin(struct session *s, const void *request, size_t bytes)
{
	struct fuse_in_header head;

	memcpy(&head, request, sizeof(head));
	if (head.opcode != FUSE_INIT || bytes > sizeof(s->begin))
		return;
	memcpy(s->begin, request, bytes);
	s->begin_bytes = bytes;
	atomic_store(&s->beginning, head.unique);
}

static ssize_t on_read(int fd, void *buf, size_t size, void *owner)
{
	struct session *s = owner;
	ssize_t n = read(fd, buf, size < SLOT_BYTES ? size : SLOT_BYTES);

	if (n >= (ssize_t)sizeof(struct fuse_in_header) &&
		!atomic_load(&s->handover->init_bytes))
		note_begin(s, buf, (size_t)n);
	return n;
}

static ssize_t total(const struct iovec *iov, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	return (ssize_t)bytes;
}

/*
 * Has all of it in this process's memory.  Of what is not there the kernel, once somebody has killed this
 * process, reads no more, and whoever waits for the answer gets an error: of an image that was inherited,
 * of constants that no worker before has used, and of what was swapped out.
 */
static void touch(const struct iovec *iov, int n)
{
	const size_t page = 4096; /* the least that there is */

	for (int i = 0; i < n; i++) {
		const volatile char *bytes = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		for (size_t at = 0; at < len; at += page)
			(void)bytes[at];
		if (len)
			(void)bytes[len - 1];
	}
}

static ssize_t on_writev(int fd, struct iovec *iov, int n, void *owner)
{
	struct session *s = owner;
	const struct fuse_out_header *head = iov[0].iov_base;
	uint64_t unique = head->unique;

	if (unique && unique == s->repeated)
		return total(iov, n);
	touch(iov, n);
	ssize_t r = writev(fd, iov, n);
	uint64_t beginning = atomic_load(&s->beginning);

	/* ENOENT: the process before us answered, and died before it could say so */
	if (unique && unique == beginning && (r > 0 || errno == ENOENT)) {
		memcpy(s->handover->init, s->begin, s->begin_bytes);
		atomic_store(&s->handover->init_bytes, (uint32_t)s->begin_bytes);
		atomic_store(&s->beginning, 0);
	}
	return r;
}

/* The kernel is not to wait for memory while it copies a request there. */
static void keep_slots(const struct session *s)
{
	for (unsigned i = 0; i < HANDOVER_SLOTS; i++)
		(void)mlock(&s->handover->slots[i], sizeof(struct fuse_in_header));
}

int session_open(void *owner, int fuse_fd, struct handover *handover, unsigned number,
	const struct fuse_lowlevel_ops *ops, size_t ops_size)
{
	static const struct fuse_custom_io io = { .writev = on_writev, .read = on_read };
	char name[] = "vhostmd";
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct session *s = owner;

	*s = (struct session){ .handover = handover, .fd = fuse_fd, .number = number };
	lock_init(&s->begin_lock);
	s->fuse = fuse_session_new(&args, ops, ops_size, owner);
	fuse_opt_free_args(&args);
	int r = s->fuse ? fuse_session_custom_io(s->fuse, &io, fuse_fd) : -ENOMEM;

	if (r == 0) {
		keep_slots(s);
		wake_all(s);
		return 0;
	}
	log_error("the FUSE session cannot be set up: %s", strerror(-r));
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	s->fuse = NULL;
	close(fuse_fd);
	return r;
}

void session_close(struct session *s)
{
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	lock_done(&s->begin_lock);
}

/* ---- going on ---- */

/* The kernel has its answer. */
static void repeat_begin(struct session *s, const struct fuse_buf *buf, uint64_t unique)
{
	s->repeated = unique;
	fuse_session_process_buf(s->fuse, buf);
	s->repeated = 0;
	atomic_store(&s->begun, true);
}

/*
 * Before that libfuse has other forms of answers, which no kernel is told that can hand a session on.
 * Who wrote it may have ended in the middle, or have been somebody else's.
 */
#define LEAST_MINOR 23u

/* Tells libfuse what was agreed on.  Return: false if that is not there. */
static bool begin_again(struct session *s)
{
	struct {
		struct fuse_in_header head;
		uint32_t major, minor;
	} first;
	const struct fuse_buf buf = { .mem = s->begin,
		.size = atomic_load(&s->handover->init_bytes) };

	if (buf.size < sizeof(first) || buf.size > sizeof(s->begin))
		return false;
	memcpy(s->begin, s->handover->init, buf.size);
	memcpy(&first, s->begin, sizeof(first));
	if (first.head.opcode != FUSE_INIT || first.head.len != buf.size ||
		!first.head.unique || first.major != FUSE_KERNEL_VERSION ||
		first.minor < LEAST_MINOR)
		return false;
	repeat_begin(s, &buf, first.head.unique);
	return true;
}

/* What every kernel says that is served; libfuse's answers are of the same form for all. */
static void begin_as_usual(struct session *s)
{
	const uint64_t unique = UINT64_MAX; /* of no request */
	struct {
		struct fuse_in_header head;
		struct fuse_init_in init;
	} first = {
		.head = { .len = sizeof(first), .opcode = FUSE_INIT, .unique = unique },
		.init = { .major = FUSE_KERNEL_VERSION,
			.minor = LEAST_MINOR,
			.max_readahead = 128u << 10,
			.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
				FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES }
	};
	const struct fuse_buf buf = { .mem = &first, .size = sizeof(first) };

	log_warning(
		"what the last worker left of the FUSE session's beginning is damaged: "
		"what is usual is taken for it");
	repeat_begin(s, &buf, unique);
}

static void begin_late(struct session *s)
{
	lock_take(&s->begin_lock);
	if (!atomic_load(&s->begun))
		begin_as_usual(s);
	lock_release(&s->begin_lock);
}

void session_process(struct session *s, const struct fuse_buf *buf)
{
	struct fuse_in_header head = { 0 };

	if (!atomic_load(&s->begun) && buf->size >= sizeof(head)) {
		memcpy(&head, buf->mem, sizeof(head));
		if (head.opcode == FUSE_INIT)
			atomic_store(&s->begun,
				true); /* nothing else comes before its answer */
		else
			begin_late(s);
	}
	fuse_session_process_buf(s->fuse, buf);
}

static void answer_error(const struct session *s, const struct slot_head *head)
{
	struct fuse_out_header out = {
		.len = sizeof(out), .error = -EIO, .unique = atomic_load(&head->unique)
	};

	log_error("request %" PRIu64 " (operation %u of node %" PRIx64
		  ") was the end of %u workers: it gets an error",
		out.unique, head->opcode, head->node, MAX_ATTEMPTS);
	if (write(s->fd, &out, sizeof(out)) < 0 && errno != ENOENT)
		log_error("answering it: %s", strerror(errno));
}

static void clear_slot(struct session *s, unsigned i)
{
	slot_clear(&s->handover->slots[i], &s->handover->notes[i]);
}

static void process_inherited(struct session *s, const struct fuse_buf *buf,
	void (*process)(struct session *session, const struct fuse_buf *buf))
{
	if (!atomic_load(&s->handover->init_bytes))
		note_begin(s, buf->mem, buf->size);
	process(s, buf);
}

static void replay_slot(struct session *s, unsigned i,
	void (*process)(struct session *session, const struct fuse_buf *buf))
{
	struct slot *slot = &s->handover->slots[i];
	struct fuse_buf buf = { .mem = slot->request,
		.size = atomic_load(&slot->head.bytes) };

	if (buf.size >= sizeof(struct fuse_in_header) && buf.size <= SLOT_BYTES) {
		if (atomic_fetch_add(&s->handover->notes[i].attempts, 1) >= MAX_ATTEMPTS)
			answer_error(s, &slot->head);
		else
			process_inherited(s, &buf, process);
	}
	clear_slot(s, i);
}

/* One after another, so that it is known which was the end of a worker. */
static void replay(struct session *s,
	void (*process)(struct session *session, const struct fuse_buf *buf))
{
	for (unsigned i = 0; i < HANDOVER_SLOTS; i++)
		if (atomic_load(&s->handover->slots[i].head.bytes))
			replay_slot(s, i, process);
}

void session_resume(struct session *s,
	void (*process)(struct session *session, const struct fuse_buf *buf))
{
	if (!s->number)
		return;
	/* if even the first request was not answered, it is in a slot, or comes again */
	if (begin_again(s))
		notify(s, NOTIFY_INC_EPOCH, NULL, 0);
	replay(s, process);
	/* where it cannot, the slots were all */
	(void)slots_send_again(s->fd);
}

/* ---- requests ---- */

/* Of a thread: not that which the last process used. */
static unsigned slot_of(const struct session *s, unsigned thread)
{
	return s->number % 2 * HANDOVER_THREADS + thread;
}

bool session_is_idle(const struct session *s)
{
	struct pollfd device = { .fd = s->fd, .events = POLLIN };

	return poll(&device, 1, 0) == 0;
}

int session_receive(struct session *s, unsigned thread, struct fuse_buf *buf)
{
	unsigned i = slot_of(s, thread);
	struct slot *slot = &s->handover->slots[i];

	/* also so that the page is there: the kernel is not to wait in the middle */
	slot_clear(slot, &s->handover->notes[i]);
	buf->mem = slot->request;
	int r = fuse_session_receive_buf(s->fuse, buf);

	if (r > 0)
		atomic_fetch_add(&s->handover->notes[i].received, 1);
	return r;
}

void session_answered(struct session *s, unsigned thread)
{
	clear_slot(s, slot_of(s, thread));
}
