/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-time.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"

#define START_NS (1000 * NS_PER_S)
#define REAL_OFFSET_NS (1700000000 * NS_PER_S)

/* Real time; a thread that has not come to rest by then never will. */
#define PATIENCE_S 60

#define MAX_LINES 4096u

struct thread {
	struct thread *next;
	pthread_t id;
	void *(*main)(void *arg);
	void *arg;
	bool ended;
};

struct waiter {
	struct waiter *next;
	pthread_cond_t *cond; /* NULL: waits for @ready */
	int64_t deadline_ns;  /* INT64_MAX: none */
	bool woken;
	bool (*ready)(void *ctx);
	void *ctx;
	bool of_program;
};

static pthread_mutex_t lock =
	PTHREAD_MUTEX_INITIALIZER; /* guards all of this; innermost */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int64_t now_ns = START_NS;
static struct thread *threads;
static unsigned n_running;     /* that have not ended */
static struct waiter *waiters; /* who has waited longest first */
static char *lines[MAX_LINES];
static unsigned n_lines;

static __thread bool of_program;

int __real_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __real_pthread_cond_broadcast(pthread_cond_t *cond);
int __real_clock_gettime(clockid_t id, struct timespec *ret);

int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __wrap_pthread_timedjoin_np(pthread_t id, void **ret, const struct timespec *until);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
void __wrap_log_write(enum log_level level, const struct log_about *about,
	const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void fake_lock(void)
{
	pthread_mutex_lock(&lock);
}

void fake_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void fake_changed_locked(void)
{
	__real_pthread_cond_broadcast(&changed);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	fake_lock();
	*ret = ns_to_timespec(now_ns + (id == CLOCK_MONOTONIC ? 0 : REAL_OFFSET_NS));
	fake_unlock();
	return 0;
}

/* ---- rest ---- */

static bool is_ready_locked(const struct waiter *w)
{
	return w->woken || w->deadline_ns <= now_ns || (w->ready && w->ready(w->ctx));
}

static bool at_rest_locked(void)
{
	unsigned n = 0;

	for (const struct waiter *w = waiters; w; w = w->next) {
		if (!w->of_program)
			continue;
		if (is_ready_locked(w))
			return false;
		n++;
	}
	return n == n_running;
}

static bool all_ended_locked(void)
{
	return !n_running;
}

/* Aborts where it takes so long that it will never be. */
static void wait_until_locked(bool (*is_so)(void))
{
	struct timespec until;

	__real_clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (!is_so())
		if (__real_pthread_cond_timedwait(&changed, &lock, &until)) {
			fprintf(stderr, "the threads do not come to rest\n");
			abort();
		}
}

static void settle_locked(void)
{
	wait_until_locked(at_rest_locked);
}

void fake_settle(void)
{
	fake_lock();
	settle_locked();
	fake_unlock();
}

/* The first deadline, at most @target. */
static int64_t next_deadline_locked(int64_t target)
{
	for (const struct waiter *w = waiters; w; w = w->next)
		if (w->of_program && w->deadline_ns < target)
			target = w->deadline_ns;
	return target;
}

static void advance_to_locked(int64_t target)
{
	settle_locked();
	while (now_ns < target) {
		now_ns = next_deadline_locked(target);
		fake_changed_locked();
		settle_locked();
	}
}

void fake_advance(int64_t ns)
{
	fake_lock();
	advance_to_locked(now_ns + ns);
	fake_unlock();
}

/* ---- waiting ---- */

static void wait_as_locked(struct waiter *w)
{
	struct waiter **at = &waiters;

	w->of_program = of_program;
	while (*at)
		at = &(*at)->next;
	*at = w;
	fake_changed_locked();
	while (!is_ready_locked(w)) {
		/* who waits in the test's thread waits in vain if nobody does anything */
		if (!of_program && at_rest_locked() && w->deadline_ns < INT64_MAX)
			advance_to_locked(w->deadline_ns);
		else
			__real_pthread_cond_wait(&changed, &lock);
	}
	for (at = &waiters; *at != w; at = &(*at)->next)
		continue;
	*at = w->next;
}

void fake_wait_locked(bool (*ready)(void *ctx), void *ctx)
{
	struct waiter w = { .deadline_ns = INT64_MAX, .ready = ready, .ctx = ctx };

	wait_as_locked(&w);
}

static int wait_for_cond(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline)
{
	struct waiter w = { .cond = cond, .deadline_ns = deadline };

	fake_lock();
	pthread_mutex_unlock(mutex);
	wait_as_locked(&w);
	fake_unlock();
	pthread_mutex_lock(mutex);
	return w.woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	return wait_for_cond(cond, mutex, INT64_MAX);
}

int __wrap_pthread_cond_timedwait(
	pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	return wait_for_cond(cond, mutex, until->tv_sec * NS_PER_S + until->tv_nsec);
}

static void wake(pthread_cond_t *cond, bool all)
{
	fake_lock();
	for (struct waiter *w = waiters; w; w = w->next) {
		if (w->cond != cond || w->woken)
			continue;
		w->woken = true;
		if (!all)
			break;
	}
	fake_changed_locked();
	fake_unlock();
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
	wake(cond, false);
	return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
	wake(cond, true);
	return 0;
}

/* ---- threads ---- */

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	of_program = true;
	void *ret = t->main(t->arg);

	fake_lock();
	t->ended = true;
	n_running--;
	fake_changed_locked();
	fake_unlock();
	return ret;
}

int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg)
{
	struct thread *t = xcalloc(1, sizeof(*t));

	*t = (struct thread){ .main = main, .arg = arg };
	fake_lock();
	int r = __real_pthread_create(&t->id, attr, thread_main, t);

	assert(r == 0);
	t->next = threads;
	threads = t;
	n_running++;
	*thread = t->id;
	fake_unlock();
	return 0;
}

static bool has_ended(void *ctx)
{
	const struct thread *t = ctx;

	return t->ended;
}

int __wrap_pthread_timedjoin_np(pthread_t id, void **ret, const struct timespec *until)
{
	struct waiter w = { .ready = has_ended,
		.deadline_ns =
			until->tv_sec * NS_PER_S + until->tv_nsec - REAL_OFFSET_NS };
	struct thread *t;

	fake_lock();
	/* an id may be that of a detached thread that is over: the newest is meant */
	for (t = threads; !pthread_equal(t->id, id); t = t->next)
		continue;
	w.ctx = t;
	wait_as_locked(&w);
	bool ended = t->ended;

	fake_unlock();
	return ended ? pthread_join(id, ret) : ETIMEDOUT;
}

/* ---- the log ---- */

void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	char *line = NULL;
	va_list args;

	(void)level;
	(void)about;
	va_start(args, fmt);
	assert(vasprintf(&line, fmt, args) >= 0);
	va_end(args);
	fake_lock();
	assert(n_lines < MAX_LINES);
	lines[n_lines++] = line;
	fake_unlock();
}

unsigned fake_logged(const char *text)
{
	unsigned n = 0;

	fake_lock();
	for (unsigned i = 0; i < n_lines; i++)
		n += strstr(lines[i], text) != NULL;
	fake_unlock();
	return n;
}

void fake_time_reset(void)
{
	/* a thread that nobody joins may be about to end */
	fake_lock();
	wait_until_locked(all_ended_locked);
	fake_unlock();
	while (n_lines)
		free(lines[--n_lines]);
	while (threads) {
		struct thread *t = threads;

		threads = t->next;
		free(t);
	}
}
