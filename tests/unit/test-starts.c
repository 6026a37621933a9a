/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads and descriptors that cannot be had.  Each part is started with the first, the second,
 * ... one refused, until nothing is refused any more: either it says that it failed and leaves
 * nothing behind (the sanitizers look for that), or it works.
 */
#include "fixture.h"
#include "plans.h"
#include "samples.h"
#include "stage.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <libvirt/libvirt.h>

#include "collect/actions/actions.h"
#include "collect/actions/runner.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "fs/content.h"
#include "fs/serve.h"
#include "handover/handover.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"
#include "virtio/channels.h"

/* ---- what is refused ---- */

static atomic_int n_wanted;
static atomic_int refuse_from, refuse_to; /* the numbers of those that are not granted */

static bool refused(void)
{
	int n = atomic_fetch_add(&n_wanted, 1);

	return n >= atomic_load(&refuse_from) && n < atomic_load(&refuse_to);
}

int __real_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg);
int __real_eventfd(unsigned int count, int flags);
int __wrap_eventfd(unsigned int count, int flags);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);

int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *), void *arg)
{
	return refused() ? EAGAIN : __real_pthread_create(thread, attr, main, arg);
}

int __wrap_eventfd(unsigned int count, int flags)
{
	if (!refused())
		return __real_eventfd(count, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_epoll_create1(int flags)
{
	if (!refused())
		return __real_epoll_create1(flags);
	errno = EMFILE;
	return -1;
}

/* From now on the @at-th, counted from 0, and the following are refused, @n in all. */
static void refuse(int at, int n)
{
	atomic_store(&refuse_to, 0);
	atomic_store(&n_wanted, 0);
	atomic_store(&refuse_from, at);
	atomic_store(&refuse_to, at + n);
}

static bool were_refused(void)
{
	return atomic_load(&n_wanted) > atomic_load(&refuse_from);
}

/* ---- what all need ---- */

struct parts {
	struct spec_set *specs;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct sampler *sampler;
	int root_fd;
};

static void parts_init(struct parts *p)
{
	refuse(0, 0);
	p->specs = all_of(COLLECTOR_LIBVIRT);
	p->tree = tree_new();
	p->registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(p->specs);

	p->board = board_new(p->tree, p->registry, plan);
	p->root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct sampler_params sp = {
		.board = p->board, .registry = p->registry, .root_fd = p->root_fd
	};

	p->sampler = sampler_new(&sp);
}

static void parts_done(struct parts *p)
{
	refuse(0, 0);
	sampler_free(p->sampler);
	board_free(p->board);
	registry_free(p->registry);
	tree_free(p->tree);
	spec_set_unref(p->specs);
	close(p->root_fd);
}

/* @start: starts, and stops if it did.  Return: whether it did. */
static void refuse_each(bool (*start)(struct parts *p), int least)
{
	bool started = false;
	int at;

	for (at = 0; !started; at++) {
		struct parts p;

		parts_init(&p);
		refuse(at, 1);
		started = start(&p);
		assert_int_equal(started, !were_refused());
		parts_done(&p);
	}
	assert_true(at > least);
}

/* ---- the parts ---- */

static void no_status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	(void)out;
}

static void not_lost(void *ctx)
{
	(void)ctx;
	fail();
}

static bool start_serve(struct parts *p)
{
	const struct content_config config = { .mode = 0444, .disk_mode = 0444 };
	struct disks *disks = disks_new(65536);
	struct content *content = content_new(p->tree, disks, &config, no_status, NULL);
	int fds[2];

	/* for the kernel's side, which never asks */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	_cleanup_close_ int memory = handover_create();
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct handover *handover = handover_map(memory, &why);
	struct serve *serve = serve_start(fds[0], handover, 0, content, not_lost, NULL);

	assert_true(serve_stop(serve));
	close(fds[1]);
	content_free(content);
	handover_unmap(handover);
	disks_free(disks);
	return serve;
}

static int connect_nowhere(void *ctx, const char *path, struct channel_socket *ret)
{
	(void)ctx;
	(void)path;
	(void)ret;
	return -ENOENT;
}

static bool start_channels(struct parts *p)
{
	const struct channels_config config = { .enabled = true,
		.max_channels = 1,
		.max_requests = 1,
		.expiration_ns = NS_PER_S };
	struct channels *channels =
		channels_start(p->tree, &config, connect_nowhere, NULL);

	channels_stop(channels);
	return channels;
}

static bool start_actions(struct parts *p)
{
	const struct runner_params of_runner = { .grant = { .any = true } };
	struct actions_params params = { .board = p->board, .registry = p->registry };

	assert_int_equal(runner_start(&of_runner, &params.runner), 0);
	struct actions *actions = actions_start(&params);

	actions_stop(actions);
	runner_stop(params.runner);
	return actions;
}

static bool start_sampler(struct parts *p)
{
	int r = sampler_start(p->sampler, fill_nothing, NULL);

	if (r == 0)
		sampler_stop(p->sampler);
	return r == 0;
}

static void on_connected(void *ctx)
{
	(void)ctx;
}

static int start_libvirt(struct parts *p, struct virt **ret)
{
	struct virt_params params = { .board = p->board,
		.registry = p->registry,
		.uri = "test:///default",
		.on_connected = on_connected };

	return virt_start(&params, ret);
}

static bool start_virt(struct parts *p)
{
	struct virt *virt = NULL;

	if (start_libvirt(p, &virt) < 0)
		return false;
	assert_true(virt_stop(virt));
	virt_free(virt);
	refuse(0, 0); /* a worker may have been refused: that is another test's */
	return true;
}

static void a_refused_thread_or_descriptor_is_an_error_of_the_start(void **state)
{
	(void)state;
	refuse_each(start_serve, 6);
	refuse_each(start_channels, 3);
	refuse_each(start_actions, 2);
	refuse_each(start_sampler, 2);
	refuse_each(start_virt, 4);
}

/* ---- while all runs ---- */

static uint64_t n_calls(struct virt *virt)
{
	struct fact facts[FLEET_KEY_COUNT] = { 0 };
	_cleanup_strbuf_ struct strbuf product = STRBUF_INIT;

	(void)virt_fill(virt, facts, &product);
	return facts[FLEET_SELF_SLOW_CALLS].value.u;
}

static void a_refused_worker_is_asked_for_again(void **state)
{
	(void)state;
	struct virt *virt = NULL;
	struct parts p;

	parts_init(&p);
	/* scheduler, describe, events, connect; then the first worker, twice */
	refuse(4, 2);
	assert_int_equal(start_libvirt(&p, &virt), 0);
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while (!n_calls(virt) && clock_mono_ns() < deadline)
		poll(NULL, 0, 5);
	assert_true(were_refused());
	assert_true(n_calls(virt) > 0);
	assert_true(virt_stop(virt));
	virt_free(virt);
	parts_done(&p);
}

/* ---- a URI that is none ---- */

static atomic_uint n_connects;

virConnectPtr __real_virConnectOpenReadOnly(const char *uri);
virConnectPtr __wrap_virConnectOpenReadOnly(const char *uri);

virConnectPtr __wrap_virConnectOpenReadOnly(const char *uri)
{
	atomic_fetch_add(&n_connects, 1);
	return __real_virConnectOpenReadOnly(uri);
}

/* Return: how often it was tried until the state was known and three periods were over. */
static unsigned try_to_connect(const char *uri, const char *state)
{
	struct virt *virt = NULL;
	struct parts p;
	bool known = false;

	parts_init(&p);
	struct virt_params params = { .board = p.board,
		.registry = p.registry,
		.uri = uri,
		.on_connected = on_connected };

	atomic_store(&n_connects, 0);
	assert_int_equal(virt_start(&params, &virt), 0);
	int64_t least = clock_mono_ns() + 3500 * NS_PER_MS;
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while ((!known || clock_mono_ns() < least) && clock_mono_ns() < deadline) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		virt_status(virt, &text);
		known = strstr(strbuf_str(&text), state) != NULL;
		poll(NULL, 0, 20);
	}
	assert_true(known);
	assert_true(virt_stop(virt));
	virt_free(virt);
	parts_done(&p);
	return atomic_load(&n_connects);
}

static void a_uri_without_a_driver_is_not_tried_for_ever(void **state)
{
	(void)state;
	assert_int_equal(try_to_connect("test+nosuch:///default", ": hopeless\n"), 1);
	/* one that may come to life is */
	assert_true(try_to_connect("test:///nonexistent/file", ": failed\n") > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_thread_or_descriptor_is_an_error_of_the_start),
		cmocka_unit_test(a_refused_worker_is_asked_for_again),
		cmocka_unit_test(a_uri_without_a_driver_is_not_tried_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
