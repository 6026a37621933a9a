/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop: late events, numbers that outlive their watches, timers, children, failures. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/loop.h"

#define PATIENCE_NS (20 * NS_PER_S)

/* ---- a kernel that is out of what is asked for ---- */

static int failing_epoll_create, failing_eventfd, failing_epoll_ctl; /* errno; 0: works */

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
	errno = failing_epoll_create;
	return failing_epoll_create ? -1 : __real_epoll_create1(flags);
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags)
{
	errno = failing_eventfd;
	return failing_eventfd ? -1 : __real_eventfd(count, flags);
}

int __real_epoll_ctl(int set, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int set, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_ctl(int set, int op, int fd, struct epoll_event *ev)
{
	errno = failing_epoll_ctl;
	return failing_epoll_ctl ? -1 : __real_epoll_ctl(set, op, fd, ev);
}

/* ---- what the tests share ---- */

static struct loop *make_loop(void)
{
	struct loop *loop = NULL;

	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	return loop;
}

static void count_event(void *ctx, uint32_t events)
{
	(void)events;
	++*(unsigned *)ctx;
}

static void count_timer(void *ctx)
{
	++*(unsigned *)ctx;
}

static void no_timer(void *ctx)
{
	(void)ctx;
}

/* One round, of at most that long. */
static void run_for(struct loop *loop, int64_t ns)
{
	uint64_t end = loop_add_timer(loop, clock_mono_ns() + ns, no_timer, NULL);

	loop_run_once(loop);
	loop_del(loop, &end);
}

static void run_until(struct loop *loop, const unsigned *count, unsigned n)
{
	int64_t deadline = clock_mono_ns() + PATIENCE_NS;

	while (*count < n && clock_mono_ns() < deadline)
		run_for(loop, NS_PER_S);
	assert_int_equal(*count, n);
}

static void make_pair(int fds[2])
{
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
		0);
}

static void poke(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

/* ---- descriptors ---- */

/* What a callback owns: the first one that is called deletes all, and closes them. */
struct owner {
	struct loop *loop;
	uint64_t watches[4];
	int fds[4][2];
	unsigned n_events, n_later;
	bool reuse; /* the slots are used again at once */
};

static void end_all(void *ctx, uint32_t events)
{
	struct owner *o = ctx;

	assert_true(events & EPOLLIN);
	o->n_events++;
	for (int i = 0; i < 4; i++) {
		loop_del(o->loop, &o->watches[i]);
		assert_int_equal(o->watches[i], 0);
		close(TAKE_FD(o->fds[i][0]));
	}
	for (int i = 0; i < 4 && o->reuse; i++) {
		o->fds[i][0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_int_equal(loop_add_fd(o->loop, o->fds[i][0], EPOLLIN, count_event,
					 &o->n_later, &o->watches[i]),
			0);
	}
}

static void drop_all_in_one_batch(bool reuse)
{
	struct owner *o = calloc(1, sizeof(*o));

	*o = (struct owner){ .loop = make_loop(), .reuse = reuse };
	for (int i = 0; i < 4; i++) {
		make_pair(o->fds[i]);
		assert_int_equal(loop_add_fd(o->loop, o->fds[i][0], EPOLLIN, end_all, o,
					 &o->watches[i]),
			0);
		poke(o->fds[i][1]);
	}
	loop_run_once(o->loop);
	run_for(o->loop, 0);
	assert_int_equal(o->n_events, 1);
	assert_int_equal(o->n_later, 0);
	for (int i = 0; i < 4; i++) {
		close_p(&o->fds[i][0]);
		close(o->fds[i][1]);
	}
	loop_free(o->loop);
	free(o);
}

static void events_of_one_batch_do_not_reach_what_was_deleted(void **state)
{
	(void)state;
	drop_all_in_one_batch(false);
}

static void events_of_one_batch_do_not_reach_what_took_the_place(void **state)
{
	(void)state;
	drop_all_in_one_batch(true);
}

static void an_old_number_is_harmless(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	unsigned n = 0, n_timer = 0;
	int fds[2];
	uint64_t first = 0, second = 0, none = 0;

	make_pair(fds);
	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, &n, &first), 0);
	uint64_t old = first;

	loop_del(loop, &first);
	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, &n, &second), 0);
	assert_true(second != old);
	assert_int_equal(loop_set_events(loop, old, 0), -ENOENT);
	loop_set_timer(loop, old, 0);
	loop_set_timer(loop, second, 0); /* no timer */
	uint64_t again = old;

	loop_del(loop, &again);
	loop_del(loop, &first);
	loop_del(loop, &none);
	uint64_t far = UINT64_MAX;

	loop_del(loop, &far);
	poke(fds[1]);
	run_for(loop, PATIENCE_NS);
	assert_int_equal(n, 1);
	loop_del(loop, &second);
	uint64_t timer = loop_add_timer(loop, 0, count_timer, &n_timer);

	loop_del(loop, &old);
	assert_int_equal(loop_set_events(loop, timer, EPOLLIN), -ENOENT);
	run_for(loop, 0);
	assert_int_equal(n_timer, 1);
	assert_int_equal(n, 1);
	loop_free(loop);
	close(fds[0]);
	close(fds[1]);
}

static void other_events_can_be_asked_for(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	unsigned n = 0;
	int fds[2];
	uint64_t watch = 0;

	make_pair(fds);
	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, &n, &watch), 0);
	run_for(loop, 0);
	assert_int_equal(n, 0);
	assert_int_equal(loop_set_events(loop, watch, EPOLLOUT), 0);
	run_for(loop, PATIENCE_NS);
	assert_int_equal(n, 1);
	assert_int_equal(loop_set_events(loop, watch, EPOLLIN), 0);
	run_for(loop, 0);
	assert_int_equal(n, 1);
	loop_del(loop, &watch);
	loop_free(loop);
	close(fds[0]);
	close(fds[1]);
}

/* As a child does between fork and exec: the file lives on after it was closed here. */
static void a_copy_held_elsewhere_reports_nothing(bool in_order)
{
	struct loop *loop = make_loop();
	unsigned *n = calloc(1, sizeof(*n)), n_after = 0;
	int fds[2], after[2];
	uint64_t watch = 0, watch_after = 0;

	make_pair(fds);
	make_pair(after);
	int copy = dup(fds[0]);

	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, n, &watch), 0);
	assert_int_equal(
		loop_add_fd(loop, after[0], EPOLLIN, count_event, &n_after, &watch_after),
		0);
	if (in_order)
		loop_del(loop, &watch);
	close(fds[0]);
	loop_del(loop, &watch);
	free(n);
	poke(fds[1]);
	/* nothing wakes it: it does not spin */
	for (int i = 0; i < 3; i++) {
		int64_t start = clock_mono_ns();

		run_for(loop, 20 * NS_PER_MS);
		assert_true(clock_mono_ns() - start >= 20 * NS_PER_MS);
	}
	poke(after[1]);
	run_for(loop, PATIENCE_NS);
	assert_int_equal(n_after, 1);
	loop_free(loop);
	close(copy);
	close(fds[1]);
	close(after[0]);
	close(after[1]);
}

static void what_is_closed_while_copied_reports_nothing(void **state)
{
	(void)state;
	a_copy_held_elsewhere_reports_nothing(true);
}

static void what_is_closed_too_early_reports_nothing(void **state)
{
	(void)state;
	a_copy_held_elsewhere_reports_nothing(false);
}

/* ---- timers ---- */

struct order {
	struct loop *loop;
	int64_t at[200];
	uint64_t watches[200];
	unsigned n_fired;
	int64_t last;
};

struct order_timer {
	struct order *order;
	unsigned i;
};

static void in_order(void *ctx)
{
	struct order_timer *t = ctx;
	struct order *o = t->order;

	assert_true(o->at[t->i] >= o->last);
	assert_true(clock_mono_ns() >= o->at[t->i]);
	o->last = o->at[t->i];
	o->n_fired++;
}

static void timers_go_off_in_order_and_never_early(void **state)
{
	(void)state;
	struct order o = { .loop = make_loop() };
	struct order_timer timers[ARRAY_LEN(o.at)];
	int64_t start = clock_mono_ns();
	unsigned expected = 0;

	srand(1);
	for (unsigned i = 0; i < ARRAY_LEN(o.at); i++) {
		timers[i] = (struct order_timer){ &o, i };
		o.at[i] = start + rand() % (20 * NS_PER_MS);
		o.watches[i] = loop_add_timer(o.loop, o.at[i], in_order, &timers[i]);
	}
	for (unsigned i = 0; i < ARRAY_LEN(o.at); i++) {
		if (i % 3 == 0) {
			loop_del(o.loop, &o.watches[i]);
			continue;
		}
		if (i % 3 == 1)
			o.at[i] = start + rand() % (20 * NS_PER_MS);
		loop_set_timer(o.loop, o.watches[i], i % 7 ? o.at[i] : LOOP_NEVER);
		expected += i % 7 != 0;
	}
	run_until(o.loop, &o.n_fired, expected);
	run_for(o.loop, 30 * NS_PER_MS);
	assert_int_equal(o.n_fired, expected);
	loop_free(o.loop);
}

struct eager {
	struct loop *loop;
	uint64_t timer;
	_Atomic unsigned n;
};

static void set_again_at_once(void *ctx)
{
	struct eager *e = ctx;

	atomic_fetch_add(&e->n, 1);
	loop_set_timer(e->loop, e->timer, 0);
}

static void a_timer_set_to_the_past_does_not_keep_others_waiting(void **state)
{
	(void)state;
	struct eager e = { .loop = make_loop() };
	unsigned n = 0, n_timer = 0;
	int fds[2];
	uint64_t watch = 0;

	make_pair(fds);
	poke(fds[1]);
	assert_int_equal(
		loop_add_fd(e.loop, fds[0], EPOLLIN, count_event, &n, &watch), 0);
	e.timer = loop_add_timer(e.loop, 0, set_again_at_once, &e);
	loop_add_timer(e.loop, 0, count_timer, &n_timer);
	for (unsigned i = 1; i <= 3; i++) {
		loop_run_once(e.loop);
		assert_int_equal(e.n, i);
		assert_int_equal(n, i);
		assert_int_equal(n_timer, 1);
	}
	loop_free(e.loop);
	close(fds[0]);
	close(fds[1]);
}

/* ---- children ---- */

struct child {
	struct loop *loop;
	pid_t pid;
	uint64_t watch;
	unsigned n;
	int status;
	bool was_there; /* during the callback */
};

static void on_child(void *ctx, int status)
{
	struct child *c = ctx;

	c->n++;
	c->status = status;
	c->was_there = kill(c->pid, 0) == 0;
	loop_del(c->loop, &c->watch); /* has no meaning any more, and does no harm */
}

/* Return: where the child waits until it is closed; it exits with @status then. */
static int start_child(struct child *c, int status)
{
	int fds[2];
	char byte;

	assert_int_equal(pipe(fds), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) < 0 ? 99 : status);
	}
	close(fds[0]);
	return fds[1];
}

static void assert_reaped(const struct child *c)
{
	assert_true(c->was_there);
	assert_int_equal(waitpid(c->pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_child_is_reaped_by_event(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct child c = { .loop = loop };
	int release = start_child(&c, 7);

	c.watch = loop_add_child(loop, c.pid, on_child, &c);
	run_for(loop, 20 * NS_PER_MS);
	assert_int_equal(c.n, 0);
	close(release);
	run_until(loop, &c.n, 1);
	assert_int_equal(c.status, 7);
	assert_reaped(&c);
	release = start_child(&c, 0);
	c.watch = loop_add_child(loop, c.pid, on_child, &c);
	kill(c.pid, SIGKILL);
	run_until(loop, &c.n, 2);
	assert_int_equal(c.status, 128 + SIGKILL);
	assert_reaped(&c);
	close(release);
	loop_free(loop);
}

static void a_child_that_was_reaped_elsewhere_is_told(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct child c = { .loop = loop };

	close(start_child(&c, 0));
	c.watch = loop_add_child(loop, c.pid, on_child, &c);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	run_until(loop, &c.n, 1);
	assert_int_equal(c.status, -ECHILD);
	loop_free(loop);
}

static void a_deleted_child_is_left_to_the_caller(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct child c = { .loop = loop };
	int release = start_child(&c, 3), status = 0;

	c.watch = loop_add_child(loop, c.pid, on_child, &c);
	loop_del(loop, &c.watch);
	close(release);
	run_for(loop, 20 * NS_PER_MS);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_int_equal(c.n, 0);
	loop_free(loop);
}

/* Descriptors have run out when the child is there already; @again: they come back. */
static void reap_without_pidfd(bool again)
{
	struct loop *loop = make_loop();
	struct child c = { .loop = loop };
	int release = start_child(&c, 5);
	struct rlimit limit, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	c.watch = loop_add_child(loop, c.pid, on_child, &c);
	if (again) {
		setrlimit(RLIMIT_NOFILE, &limit);
		run_for(loop, 70 * NS_PER_MS); /* has a pidfd from here on */
		run_for(loop, 70 * NS_PER_MS);
	}
	close(release);
	run_until(loop, &c.n, 1);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(c.status, 5);
	assert_reaped(&c);
	loop_free(loop);
}

static void a_child_is_reaped_without_descriptors(void **state)
{
	(void)state;
	reap_without_pidfd(false);
	reap_without_pidfd(true);
}

/* ---- other threads ---- */

struct mailbox {
	struct loop *loop;
	_Atomic unsigned posted;
	unsigned taken, n_woken; /* loop's thread only */
	int plain;               /* handed over without a lock: by the wake alone */
};

static void on_mail(void *ctx)
{
	struct mailbox *m = ctx;

	m->taken = atomic_load(&m->posted);
	m->n_woken++;
}

static void *post_mail(void *arg)
{
	struct mailbox *m = arg;

	m->plain = 17;
	for (int i = 0; i < 1000; i++) {
		atomic_fetch_add(&m->posted, 1);
		loop_wake(m->loop);
	}
	return NULL;
}

static void another_thread_wakes_it(void **state)
{
	(void)state;
	struct mailbox m = { 0 };
	pthread_t thread;

	assert_int_equal(loop_new(on_mail, &m, &m.loop), 0);
	assert_int_equal(pthread_create(&thread, NULL, post_mail, &m), 0);
	while (m.taken < 1000)
		loop_run_once(m.loop);
	assert_int_equal(m.plain, 17);
	assert_true(m.n_woken >= 1 && m.n_woken <= 1000);
	pthread_join(thread, NULL);
	loop_free(m.loop);
}

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void another_thread_stops_it(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct eager busy = { .loop = loop };
	pthread_t thread;

	busy.timer = loop_add_timer(loop, 0, set_again_at_once, &busy);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
	loop_stop(loop);
	pthread_join(thread, NULL);
	unsigned n = busy.n;

	loop_run_once(loop); /* nothing is called any more */
	assert_int_equal(busy.n, n);
	loop_free(loop);
}

static void it_has_a_thread_of_its_own(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct eager busy = { .loop = loop };

	loop_end_thread(NULL);
	loop_end_thread(loop); /* which leaves it as it is */
	assert_false(loop_stopping(loop));
	busy.timer = loop_add_timer(loop, 0, set_again_at_once, &busy);
	assert_int_equal(loop_start_thread(loop, "fifteen letters"), 0);
	while (!atomic_load(&busy.n))
		sched_yield();
	loop_end_thread(loop);
	unsigned n = busy.n;

	loop_run_once(loop); /* nothing is called any more */
	assert_int_equal(busy.n, n);
	loop_end_thread(loop);
	loop_free(loop);
}

/* ---- failures ---- */

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void failures_at_its_start_leave_nothing_behind(void **state)
{
	(void)state;
	int *const failing[] = { &failing_epoll_create, &failing_eventfd,
		&failing_epoll_ctl };
	unsigned before = count_fds();

	for (size_t i = 0; i < ARRAY_LEN(failing); i++) {
		struct loop *loop = NULL;

		*failing[i] = EMFILE;
		assert_int_equal(loop_new(NULL, NULL, &loop), -EMFILE);
		*failing[i] = 0;
		assert_null(loop);
		assert_int_equal(count_fds(), before);
	}
	loop_free(NULL);
}

static void a_descriptor_that_cannot_be_watched_is_refused(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	unsigned n = 0;
	uint64_t watch = 42;
	int fds[2];

	make_pair(fds);
	failing_epoll_ctl = ENOSPC;
	assert_int_equal(
		loop_add_fd(loop, fds[0], EPOLLIN, count_event, &n, &watch), -ENOSPC);
	failing_epoll_ctl = 0;
	assert_int_equal(watch, 42);
	assert_int_equal(loop_add_fd(loop, -1, EPOLLIN, count_event, &n, &watch), -EBADF);
	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, &n, &watch), 0);
	poke(fds[1]);
	run_for(loop, PATIENCE_NS);
	assert_int_equal(n, 1);
	loop_free(loop);
	close(fds[0]);
	close(fds[1]);
}

/* The set cannot be replaced at once: it is later, and until then nothing is told. */
static void a_set_that_cannot_be_replaced_is_later(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	unsigned *n = calloc(1, sizeof(*n));
	int fds[2];
	uint64_t watch = 0;

	make_pair(fds);
	int copy = dup(fds[0]);

	assert_int_equal(loop_add_fd(loop, fds[0], EPOLLIN, count_event, n, &watch), 0);
	poke(fds[1]);
	close(fds[0]);
	loop_del(loop, &watch);
	free(n);
	failing_epoll_create = EMFILE;
	for (int i = 0; i < 3; i++)
		run_for(loop, 0);
	failing_epoll_create = 0;
	int64_t start = clock_mono_ns();

	run_for(loop, 20 * NS_PER_MS);
	assert_true(clock_mono_ns() - start >= 20 * NS_PER_MS);
	loop_free(loop);
	close(copy);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_of_one_batch_do_not_reach_what_was_deleted),
		cmocka_unit_test(events_of_one_batch_do_not_reach_what_took_the_place),
		cmocka_unit_test(an_old_number_is_harmless),
		cmocka_unit_test(other_events_can_be_asked_for),
		cmocka_unit_test(what_is_closed_while_copied_reports_nothing),
		cmocka_unit_test(what_is_closed_too_early_reports_nothing),
		cmocka_unit_test(timers_go_off_in_order_and_never_early),
		cmocka_unit_test(a_timer_set_to_the_past_does_not_keep_others_waiting),
		cmocka_unit_test(a_child_is_reaped_by_event),
		cmocka_unit_test(a_child_that_was_reaped_elsewhere_is_told),
		cmocka_unit_test(a_deleted_child_is_left_to_the_caller),
		cmocka_unit_test(a_child_is_reaped_without_descriptors),
		cmocka_unit_test(another_thread_wakes_it),
		cmocka_unit_test(another_thread_stops_it),
		cmocka_unit_test(it_has_a_thread_of_its_own),
		cmocka_unit_test(failures_at_its_start_leave_nothing_behind),
		cmocka_unit_test(a_descriptor_that_cannot_be_watched_is_refused),
		cmocka_unit_test(a_set_that_cannot_be_replaced_is_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
