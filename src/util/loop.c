/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * A watch lives in a slot.  Its number is the slot's index and generation; the generation
 * moves on when the watch is deleted, so that a number outlives its watch without harm.
 * epoll is given the number, never a pointer: an event that was fetched in one batch with
 * the event whose callback deletes its watch finds another generation and is dropped, also
 * if the slot is in use again.
 *
 * The kernel's set holds open files, not descriptors: a descriptor that is closed while a
 * copy lives elsewhere (in a child between fork and exec, say) stays in the set, cannot be
 * taken out by its number any more, and goes on being reported.  So what is watched leaves
 * the set before it is closed.  If somebody closed it earlier all the same, removing it
 * fails; then the set itself is replaced by a new one of the living watches.
 *
 * Timers are a binary heap of slots, ordered by time and then by when they were set.  What
 * is set while timers go off is not due before the next round, so that one that sets itself
 * to a time that has passed cannot keep the descriptors waiting.
 *
 * A child is watched by its pidfd.  Where none can be had (descriptors run out) it is
 * looked at now and then instead, with the timer that each watch could have: a child that
 * was started is reaped in any case.  It is reaped only after the callback, because until
 * then the number of its process group cannot be somebody else's.
 */
#include "util/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

#define N_EVENTS 64
#define NO_PIDFD_NS (50 * NS_PER_MS) /* between two looks at a child without a pidfd */
#define NOT_TIMED SIZE_MAX
#define NO_SLOT UINT32_MAX

enum kind { WATCH_NONE, WATCH_FD, WATCH_TIMER, WATCH_CHILD };

struct watch {
	enum kind kind;
	uint32_t generation;
	uint32_t next_free; /* WATCH_NONE */
	uint32_t events;
	int fd; /* the caller's, or a child's pidfd, which is ours; -1: none */
	pid_t pid;
	size_t timed; /* its place in the heap, NOT_TIMED: none */
	int64_t at_ns;
	uint64_t turn; /* among those of the same time */
	union {
		void (*fd)(void *ctx, uint32_t events);
		void (*timer)(void *ctx);
		void (*child)(void *ctx, int status);
	} cb;
	void *ctx;
};

struct loop {
	void (*woken)(void *ctx);
	void *ctx;
	int wake_fd;
	_Atomic bool stopping;

	/* loop_start_thread()'s caller's */
	pthread_t thread;
	bool has_thread;

	/* loop's thread only */
	int epoll_fd;
	bool stale; /* the set holds files that are none of the watches' */
	struct watch *slots;
	size_t n_slots, cap_slots;
	uint32_t free_slot;
	uint32_t *heap;
	size_t n_heap, cap_heap;
	uint64_t n_turns;
	int64_t round_ns; /* timers up to here are going off; INT64_MIN: none are */
};

/* ---- slots ---- */

static uint64_t number(const struct loop *loop, uint32_t slot)
{
	return (uint64_t)loop->slots[slot].generation << 32 | slot;
}

static struct watch *find(struct loop *loop, uint64_t watch)
{
	uint32_t slot = (uint32_t)watch;

	if (slot >= loop->n_slots || loop->slots[slot].generation != watch >> 32)
		return NULL;
	return loop->slots[slot].kind == WATCH_NONE ? NULL : &loop->slots[slot];
}

static uint32_t slot_of(const struct loop *loop, const struct watch *w)
{
	return (uint32_t)(w - loop->slots);
}

/* Pointers to watches hold until the next call of this. */
static struct watch *watch_new(struct loop *loop, enum kind kind, void *ctx)
{
	if (loop->free_slot == NO_SLOT) {
		loop->slots = xgrow(loop->slots, loop->n_slots, &loop->cap_slots,
			sizeof(*loop->slots));
		assert(loop->n_slots < NO_SLOT);
		loop->free_slot = (uint32_t)loop->n_slots++;
		/* the first generation is 1: no number is 0 */
		loop->slots[loop->free_slot] =
			(struct watch){ .generation = 1, .next_free = NO_SLOT };
	}
	struct watch *w = &loop->slots[loop->free_slot];

	loop->free_slot = w->next_free;
	*w = (struct watch){ .kind = kind,
		.generation = w->generation,
		.fd = -1,
		.timed = NOT_TIMED,
		.ctx = ctx };
	return w;
}

static void watch_free(struct loop *loop, struct watch *w)
{
	w->kind = WATCH_NONE;
	if (++w->generation == 0)
		w->generation = 1;
	w->next_free = loop->free_slot;
	loop->free_slot = slot_of(loop, w);
}

/* ---- the heap of timers ---- */

static bool earlier(const struct loop *loop, size_t a, size_t b)
{
	const struct watch *wa = &loop->slots[loop->heap[a]],
			   *wb = &loop->slots[loop->heap[b]];

	return wa->at_ns != wb->at_ns ? wa->at_ns < wb->at_ns : wa->turn < wb->turn;
}

static void swap(struct loop *loop, size_t a, size_t b)
{
	uint32_t slot = loop->heap[a];

	loop->heap[a] = loop->heap[b];
	loop->heap[b] = slot;
	loop->slots[loop->heap[a]].timed = a;
	loop->slots[loop->heap[b]].timed = b;
}

static void sift_up(struct loop *loop, size_t i)
{
	for (; i && earlier(loop, i, (i - 1) / 2); i = (i - 1) / 2)
		swap(loop, i, (i - 1) / 2);
}

static void sift_down(struct loop *loop, size_t i)
{
	for (;;) {
		size_t first = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
			if (child < loop->n_heap && earlier(loop, child, first))
				first = child;
		if (first == i)
			return;
		swap(loop, i, first);
		i = first;
	}
}

static void unset(struct loop *loop, struct watch *w)
{
	size_t i = w->timed;

	if (i == NOT_TIMED)
		return;
	swap(loop, i, --loop->n_heap);
	w->timed = NOT_TIMED;
	if (i < loop->n_heap) {
		sift_up(loop, i);
		sift_down(loop, i);
	}
}

static void set(struct loop *loop, struct watch *w, int64_t at_ns)
{
	unset(loop, w);
	if (at_ns == LOOP_NEVER)
		return;
	w->at_ns = at_ns > loop->round_ns ? at_ns : loop->round_ns + 1;
	w->turn = loop->n_turns++;
	loop->heap =
		xgrow(loop->heap, loop->n_heap, &loop->cap_heap, sizeof(*loop->heap));
	w->timed = loop->n_heap;
	loop->heap[loop->n_heap++] = slot_of(loop, w);
	sift_up(loop, w->timed);
}

/* ---- the kernel's set ---- */

static int control(const struct loop *loop, int epoll_fd, int op, const struct watch *w)
{
	struct epoll_event ev = { .events = w->events,
		.data.u64 = number(loop, slot_of(loop, w)) };

	return epoll_ctl(epoll_fd, op, w->fd, &ev) < 0 ? -errno : 0;
}

static int add_wake(const struct loop *loop, int epoll_fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0 ? -errno : 0;
}

/* A new set of the living watches.  Left for later when descriptors have run out. */
static void replace_set(struct loop *loop)
{
	_cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || add_wake(loop, fd) < 0)
		return;
	for (size_t i = 0; i < loop->n_slots; i++) {
		const struct watch *w = &loop->slots[i];
		int r = w->kind != WATCH_NONE && w->fd >= 0
			? control(loop, fd, EPOLL_CTL_ADD, w)
			: 0;

		/* one that was closed elsewhere has no place in it */
		if (r == -ENOMEM || r == -ENOSPC)
			return;
	}
	close(loop->epoll_fd);
	loop->epoll_fd = TAKE_FD(fd);
	loop->stale = false;
}

static void leave_set(struct loop *loop, const struct watch *w)
{
	if (w->fd >= 0 && control(loop, loop->epoll_fd, EPOLL_CTL_DEL, w) < 0)
		loop->stale = true;
}

/* ---- watches ---- */

int loop_add_fd(struct loop *loop, int fd, uint32_t events,
	void (*cb)(void *ctx, uint32_t events), void *ctx, uint64_t *ret_watch)
{
	struct watch *w = watch_new(loop, WATCH_FD, ctx);

	w->fd = fd;
	w->events = events;
	w->cb.fd = cb;
	int r = control(loop, loop->epoll_fd, EPOLL_CTL_ADD, w);

	if (r < 0) {
		watch_free(loop, w);
		return r;
	}
	*ret_watch = number(loop, slot_of(loop, w));
	return 0;
}

int loop_set_events(struct loop *loop, uint64_t watch, uint32_t events)
{
	struct watch *w = find(loop, watch);

	if (!w || w->kind != WATCH_FD)
		return -ENOENT;
	if (w->events == events)
		return 0;
	w->events = events;
	return control(loop, loop->epoll_fd, EPOLL_CTL_MOD, w);
}

uint64_t loop_add_timer(
	struct loop *loop, int64_t at_mono_ns, void (*cb)(void *ctx), void *ctx)
{
	struct watch *w = watch_new(loop, WATCH_TIMER, ctx);

	w->cb.timer = cb;
	set(loop, w, at_mono_ns);
	return number(loop, slot_of(loop, w));
}

void loop_set_timer(struct loop *loop, uint64_t watch, int64_t at_mono_ns)
{
	struct watch *w = find(loop, watch);

	if (w && w->kind == WATCH_TIMER)
		set(loop, w, at_mono_ns);
}

static void open_pidfd(struct loop *loop, struct watch *w)
{
	w->fd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	w->events = EPOLLIN;
	if (w->fd >= 0 && control(loop, loop->epoll_fd, EPOLL_CTL_ADD, w) < 0)
		close(TAKE_FD(w->fd));
	set(loop, w, w->fd < 0 ? clock_mono_ns() + NO_PIDFD_NS : LOOP_NEVER);
}

uint64_t loop_add_child(
	struct loop *loop, pid_t pid, void (*cb)(void *ctx, int status), void *ctx)
{
	struct watch *w = watch_new(loop, WATCH_CHILD, ctx);

	w->pid = pid;
	w->cb.child = cb;
	open_pidfd(loop, w);
	return number(loop, slot_of(loop, w));
}

static void forget(struct loop *loop, struct watch *w)
{
	unset(loop, w);
	leave_set(loop, w);
	if (w->kind == WATCH_CHILD)
		close_p(&w->fd);
	watch_free(loop, w);
}

void loop_del(struct loop *loop, uint64_t *watch)
{
	struct watch *w = find(loop, TAKE_VALUE(*watch, 0));

	if (w)
		forget(loop, w);
}

/* ---- running ---- */

/* Return: true if it has ended; then its status, or -errno. */
static bool has_ended(pid_t pid, int *ret_status)
{
	siginfo_t info = { 0 };
	int r = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);

	if (r == 0 && info.si_pid == 0)
		return false;
	*ret_status = r < 0                  ? -errno
		: info.si_code == CLD_EXITED ? info.si_status
					     : 128 + info.si_status;
	return true;
}

static void look_at_child(struct loop *loop, struct watch *w)
{
	struct watch was = *w;
	siginfo_t info = { 0 };
	int status = 0;

	if (!has_ended(w->pid, &status)) {
		if (w->fd < 0)
			open_pidfd(loop, w);
		return;
	}
	forget(loop, w);
	was.cb.child(was.ctx, status);
	if (status >= 0)
		waitid(P_PID, (id_t)was.pid, &info, WEXITED | WNOHANG);
}

static void on_wake(struct loop *loop)
{
	uint64_t count = 0;

	if (read(loop->wake_fd, &count, sizeof(count)) > 0 && loop->woken &&
		!loop_stopping(loop))
		loop->woken(loop->ctx);
}

static void on_event(struct loop *loop, const struct epoll_event *ev)
{
	struct watch *w = ev->data.u64 ? find(loop, ev->data.u64) : NULL;

	if (!ev->data.u64)
		on_wake(loop);
	else if (w && w->kind == WATCH_FD)
		w->cb.fd(w->ctx, ev->events);
	else if (w)
		look_at_child(loop, w);
}

static void run_timers(struct loop *loop)
{
	loop->round_ns = clock_mono_ns();
	while (loop->n_heap && !loop_stopping(loop)) {
		struct watch *w = &loop->slots[loop->heap[0]];

		if (w->at_ns > loop->round_ns)
			break;
		unset(loop, w);
		if (w->kind == WATCH_TIMER)
			w->cb.timer(w->ctx);
		else
			look_at_child(loop, w);
	}
	loop->round_ns = INT64_MIN;
}

static int timeout_ms(const struct loop *loop)
{
	if (!loop->n_heap)
		return -1;
	int64_t left = loop->slots[loop->heap[0]].at_ns - clock_mono_ns();

	if (left <= 0)
		return 0;
	return left / NS_PER_MS >= INT_MAX ? INT_MAX
					   : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

void loop_run_once(struct loop *loop)
{
	struct epoll_event events[N_EVENTS];

	if (loop->stale)
		replace_set(loop);
	int n = epoll_wait(loop->epoll_fd, events, N_EVENTS, timeout_ms(loop));

	assert(n >= 0 || errno == EINTR); /* or it would spin */
	for (int i = 0; i < n && !loop_stopping(loop); i++)
		on_event(loop, &events[i]);
	run_timers(loop);
}

void loop_run(struct loop *loop)
{
	while (!loop_stopping(loop))
		loop_run_once(loop);
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopping, true);
	loop_wake(loop);
}

bool loop_stopping(const struct loop *loop)
{
	return atomic_load(&loop->stopping);
}

/* ---- a thread of its own ---- */

static void *loop_main(void *loop)
{
	loop_run(loop);
	return NULL;
}

int loop_start_thread(struct loop *loop, const char *name)
{
	int r = pthread_create(&loop->thread, NULL, loop_main, loop);

	if (r)
		return -r;
	pthread_setname_np(loop->thread, name);
	loop->has_thread = true;
	return 0;
}

void loop_end_thread(struct loop *loop)
{
	if (!loop || !loop->has_thread)
		return;
	loop_stop(loop);
	pthread_join(loop->thread, NULL);
	loop->has_thread = false;
}

/* ---- life ---- */

int loop_new(void (*woken)(void *ctx), void *ctx, struct loop **ret)
{
	_cleanup_close_ int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	if (epoll_fd < 0)
		return -errno;
	_cleanup_close_ int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (wake_fd < 0)
		return -errno;
	struct loop made = { .woken = woken,
		.ctx = ctx,
		.wake_fd = wake_fd,
		.epoll_fd = epoll_fd,
		.free_slot = NO_SLOT,
		.round_ns = INT64_MIN };
	int r = add_wake(&made, epoll_fd);

	if (r < 0)
		return r;
	*ret = xmalloc(sizeof(made));
	**ret = made;
	wake_fd = epoll_fd = -1;
	return 0;
}

/* Takes nothing out of the set: a forked child frees its copy, and the set is the parent's. */
void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	for (size_t i = 0; i < loop->n_slots; i++)
		if (loop->slots[i].kind == WATCH_CHILD)
			close_p(&loop->slots[i].fd);
	close(loop->epoll_fd);
	close(loop->wake_fd);
	free(loop->slots);
	free(loop->heap);
	free(loop);
}
