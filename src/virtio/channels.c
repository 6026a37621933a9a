/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio/channels.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/render_xml.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/wire.h"

#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)
#define N_EVENTS 64

struct channel {
	struct uuid uuid;
	char *path;
	int fd;           /* -1: not connected */
	int64_t retry_ns; /* monotonic; when to connect */
	int64_t pause_ns; /* before the retry after that */
	int64_t since_ns; /* monotonic; when the VM was first heard of */
	bool failing;     /* the failure was logged */
	bool expired;
	char in[LIMIT_REQUEST_BYTES + 1];
	size_t in_len;
	struct strbuf out;
	size_t out_sent;
};

/* What other threads want changed. */
struct order {
	struct uuid uuid;
	char *path; /* NULL: remove */
};

struct channels {
	struct tree *tree;
	int (*connect)(void *ctx, const char *path);
	void *ctx;
	pthread_t thread;
	int epoll_fd, wake_fd;
	_Atomic bool stopping;
	_Atomic unsigned n_connected;

	pthread_mutex_t lock; /* guards the orders and the configuration */
	struct order *orders;
	size_t n_orders, cap_orders;
	struct channels_config config;

	/* channels thread only */
	struct channel **list;
	size_t n, cap;
	bool full; /* max_channels was logged */
};

static void disconnect(struct channels *cs, struct channel *c)
{
	if (c->fd < 0)
		return;
	close(TAKE_FD(c->fd)); /* leaves the epoll set by itself */
	atomic_fetch_sub(&cs->n_connected, 1);
	cs->full = false;
	c->in_len = 0;
	c->out_sent = 0;
	strbuf_done(&c->out);
}

static void retry_later(struct channel *c, int64_t now)
{
	c->retry_ns = now + c->pause_ns;
	c->pause_ns = c->pause_ns * 2 < RETRY_MAX_NS ? c->pause_ns * 2 : RETRY_MAX_NS;
}

static void channel_free(struct channels *cs, struct channel *c)
{
	disconnect(cs, c);
	free(c->path);
	free(c);
}

/* ---- talking ---- */

static void watch(struct channels *cs, struct channel *c)
{
	struct epoll_event ev = { .events = c->out.len ? EPOLLOUT : EPOLLIN,
		.data.ptr = c };

	epoll_ctl(cs->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Return: 0, or -errno when the channel is lost. */
static int send_some(struct channels *cs, struct channel *c)
{
	while (c->out_sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->out_sent,
			c->out.len - c->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return -errno;
		c->out_sent += (size_t)n;
	}
	strbuf_done(&c->out);
	c->out_sent = 0;
	watch(cs, c);
	return 0;
}

static void add_document(struct channels *cs, struct channel *c)
{
	_cleanup_view_ struct view *view = tree_view(cs->tree);

	render_xml_private(view->host, view_find_uuid(view, &c->uuid), true, &c->out);
	strbuf_addc(&c->out, '\n');
}

/* Answers the first complete request in the buffer.  Return: false if there is none. */
static bool answer_one(struct channels *cs, struct channel *c)
{
	c->in[c->in_len] = '\0';
	char *end = memmem(c->in, c->in_len, WIRE_END, strlen(WIRE_END));

	if (!end && c->in_len < LIMIT_REQUEST_BYTES)
		return false;
	size_t n = end ? (size_t)(end - c->in) + strlen(WIRE_END) : c->in_len;

	if (n == strlen(WIRE_REQUEST) && !memcmp(c->in, WIRE_REQUEST, n)) {
		add_document(cs, c);
		c->in_len -= n;
		memmove(c->in, c->in + n, c->in_len);
	} else {
		strbuf_adds(&c->out, WIRE_REFUSAL);
		c->in_len = 0;
	}
	return true;
}

/* Line ends may be CRLF: carriage returns are not part of any request. */
static size_t drop_cr(char *s, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (s[i] != '\r')
			s[kept++] = s[i];
	return kept;
}

static int receive(struct channel *c)
{
	char *at = c->in + c->in_len;
	ssize_t n = recv(c->fd, at, LIMIT_REQUEST_BYTES - c->in_len, 0);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	c->in_len += drop_cr(at, (size_t)n);
	return 0;
}

static int talk(struct channels *cs, struct channel *c, uint32_t events)
{
	int r = 0;

	if (c->out.len)
		r = send_some(cs, c);
	else if (events & EPOLLIN)
		r = receive(c);
	else
		r = -ECONNRESET; /* only EPOLLHUP or EPOLLERR */
	while (r == 0 && !c->out.len && answer_one(cs, c)) {
		watch(cs, c);
		r = send_some(cs, c);
	}
	return r;
}

static void on_event(struct channels *cs, struct channel *c, uint32_t events)
{
	int r = talk(cs, c, events);

	if (r == 0)
		return;
	log_debug("channel %s: %s", c->path, strerror(-r));
	disconnect(cs, c);
	c->pause_ns = RETRY_MIN_NS;
	retry_later(c, clock_mono_ns());
}

/* ---- connecting ---- */

static void note_failure(struct channel *c, int r)
{
	/* between a VM's start and QEMU's listening, and at its end, this is usual */
	if (!c->failing && c->pause_ns > 5 * NS_PER_S) {
		log_warning("channel %s cannot be connected: %s", c->path, strerror(-r));
		c->failing = true;
	}
}

static void try_connect(struct channels *cs, struct channel *c, int64_t now)
{
	int fd = cs->connect(cs->ctx, c->path);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	if (fd >= 0 && epoll_ctl(cs->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int r = -errno;

		close(fd);
		fd = r;
	}
	if (fd < 0) {
		note_failure(c, fd);
		retry_later(c, now);
		return;
	}
	if (c->failing)
		log_info("channel %s is connected", c->path);
	c->fd = fd;
	c->failing = false;
	c->pause_ns = RETRY_MIN_NS;
	atomic_fetch_add(&cs->n_connected, 1);
}

static bool is_expired(const struct view *view, const struct channel *c,
	const struct channels_config *config, int64_t now)
{
	const struct snapshot *vm = view_find_uuid(view, &c->uuid);
	int64_t updated = vm && vm->updated_mono_ns > c->since_ns ? vm->updated_mono_ns
								  : c->since_ns;

	return now - updated > config->expiration_ns;
}

static void check_expiration(struct channels *cs, struct channel *c, bool expired)
{
	if (expired && !c->expired) {
		log_warning("channel %s is detached: its VM got no update for too long",
			c->path);
		disconnect(cs, c);
	} else if (!expired && c->expired) {
		log_info("channel %s is attached again", c->path);
		c->retry_ns = 0;
	}
	c->expired = expired;
}

/* Connects and detaches what is due.  Return: how long until the next, in ms. */
static int maintain(struct channels *cs, const struct channels_config *config)
{
	_cleanup_view_ struct view *view = tree_view(cs->tree);
	int64_t now = clock_mono_ns();
	int64_t next = now + config->expiration_ns / 4;

	for (size_t i = 0; i < cs->n; i++) {
		struct channel *c = cs->list[i];

		check_expiration(cs, c, is_expired(view, c, config, now));
		if (!config->enabled)
			disconnect(cs, c);
		if (c->fd >= 0 || c->expired || !config->enabled)
			continue;
		if (atomic_load(&cs->n_connected) >= config->max_channels) {
			if (!cs->full)
				log_warning(
					"<max_channels> %u is reached: other VMs must wait",
					config->max_channels);
			cs->full = true;
			continue;
		}
		if (now >= c->retry_ns)
			try_connect(cs, c, now);
		if (c->fd < 0 && c->retry_ns < next)
			next = c->retry_ns;
	}
	if (!cs->n)
		return -1;
	return next <= now ? 0 : (int)((next - now) / NS_PER_MS + 1);
}

/* ---- orders ---- */

static struct channel *find(struct channels *cs, const struct uuid *uuid, size_t *ret_at)
{
	for (size_t i = 0; i < cs->n; i++) {
		if (uuid_compare(&cs->list[i]->uuid, uuid) == 0) {
			*ret_at = i;
			return cs->list[i];
		}
	}
	return NULL;
}

static void obey(struct channels *cs, struct order *order)
{
	size_t at = 0;
	struct channel *c = find(cs, &order->uuid, &at);

	if (c && order->path && !strcmp(c->path, order->path)) {
		/* perhaps another run of the VM: do not wait for the next retry */
		c->retry_ns = 0;
		return;
	}
	if (c) {
		channel_free(cs, c);
		cs->list[at] = cs->list[--cs->n];
	}
	if (!order->path)
		return;
	c = xcalloc(1, sizeof(*c));
	*c = (struct channel){ .uuid = order->uuid,
		.path = TAKE_PTR(order->path),
		.fd = -1,
		.pause_ns = RETRY_MIN_NS,
		.since_ns = clock_mono_ns() };
	cs->list = xgrow(cs->list, cs->n, &cs->cap, sizeof(*cs->list));
	cs->list[cs->n++] = c;
}

static struct channels_config take_orders(struct channels *cs)
{
	pthread_mutex_lock(&cs->lock);
	struct order *orders = TAKE_PTR(cs->orders);
	size_t n = cs->n_orders;
	struct channels_config config = cs->config;

	cs->n_orders = cs->cap_orders = 0;
	pthread_mutex_unlock(&cs->lock);
	for (size_t i = 0; i < n; i++) {
		obey(cs, &orders[i]);
		free(orders[i].path);
	}
	free(orders);
	return config;
}

static void *channels_main(void *arg)
{
	struct channels *cs = arg;
	struct epoll_event events[N_EVENTS];
	uint64_t count = 0;

	while (!atomic_load(&cs->stopping)) {
		struct channels_config config = take_orders(cs);
		int n = epoll_wait(cs->epoll_fd, events, N_EVENTS, maintain(cs, &config));

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(cs, events[i].data.ptr, events[i].events);
			else if (read(cs->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
	}
	return NULL;
}

/* ---- the others' side ---- */

static void wake(struct channels *cs)
{
	uint64_t one = 1;

	if (write(cs->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

struct channels *channels_start(struct tree *tree, const struct channels_config *config,
	int (*connect)(void *ctx, const char *path), void *ctx)
{
	struct channels *cs = xcalloc(1, sizeof(*cs));
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };

	cs->tree = tree;
	cs->connect = connect;
	cs->ctx = ctx;
	cs->config = *config;
	pthread_mutex_init(&cs->lock, NULL);
	cs->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = cs->epoll_fd < 0 || cs->wake_fd < 0 ||
			epoll_ctl(cs->epoll_fd, EPOLL_CTL_ADD, cs->wake_fd, &ev) < 0
		? errno
		: pthread_create(&cs->thread, NULL, channels_main, cs);

	if (r == 0)
		return cs;
	log_error("channels cannot be served: %s", strerror(r));
	close_p(&cs->epoll_fd);
	close_p(&cs->wake_fd);
	pthread_mutex_destroy(&cs->lock);
	free(cs);
	return NULL;
}

void channels_stop(struct channels *cs)
{
	if (!cs)
		return;
	atomic_store(&cs->stopping, true);
	wake(cs);
	pthread_join(cs->thread, NULL);
	take_orders(cs);
	for (size_t i = 0; i < cs->n; i++)
		channel_free(cs, cs->list[i]);
	free(cs->list);
	close(cs->epoll_fd);
	close(cs->wake_fd);
	pthread_mutex_destroy(&cs->lock);
	free(cs);
}

void channels_set_config(struct channels *cs, const struct channels_config *config)
{
	pthread_mutex_lock(&cs->lock);
	cs->config = *config;
	pthread_mutex_unlock(&cs->lock);
	wake(cs);
}

void channels_set(struct channels *cs, const struct uuid *uuid, const char *path)
{
	pthread_mutex_lock(&cs->lock);
	cs->orders =
		xgrow(cs->orders, cs->n_orders, &cs->cap_orders, sizeof(*cs->orders));
	cs->orders[cs->n_orders++] = (struct order){ *uuid, path ? xstrdup(path) : NULL };
	pthread_mutex_unlock(&cs->lock);
	wake(cs);
}

void channels_status(struct channels *cs, struct strbuf *out)
{
	strbuf_addf(out, "channels.connected: %u\n", atomic_load(&cs->n_connected));
}
