/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio/channels.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/render_xml.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/wire.h"

#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)

struct channel {
	struct channels *channels;
	struct uuid uuid;
	char *path;
	int fd; /* -1: not connected */
	uint64_t watch;
	uint64_t retry;   /* the timer that connects; set unless it is connected */
	int64_t pause_ns; /* before the retry after that */
	int64_t since_ns; /* monotonic; when the VM was first heard of */
	bool failing;     /* the failure was logged */
	bool expired;
	bool waiting; /* for one of max_channels, instead of for the timer */
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
	struct loop *loop;
	_Atomic unsigned n_connected;

	struct lock lock; /* guards what is to come */
	struct order *orders;
	size_t n_orders, cap_orders;
	struct channels_config new_config;
	bool has_new_config;

	/* channels thread only */
	struct channels_config config;
	struct channel **list;
	size_t n, cap;
	uint64_t check; /* the timer that looks for expired VMs */
	bool full;      /* max_channels was logged; some may be waiting */
};

/* A place is free: those that wait may try. */
static void offer_place(struct channels *cs)
{
	for (size_t i = 0; cs->full && i < cs->n; i++)
		if (TAKE_VALUE(cs->list[i]->waiting, false))
			loop_set_timer(cs->loop, cs->list[i]->retry, 0);
	cs->full = false;
}

static void disconnect(struct channels *cs, struct channel *c)
{
	if (c->fd < 0)
		return;
	/* first this: a child about to run a command may hold a copy for a moment */
	loop_del(cs->loop, &c->watch);
	close(TAKE_FD(c->fd));
	atomic_fetch_sub(&cs->n_connected, 1);
	offer_place(cs);
	c->in_len = 0;
	c->out_sent = 0;
	strbuf_done(&c->out);
}

/* It is not to be connected for now. */
static void detach(struct channels *cs, struct channel *c)
{
	c->waiting = false;
	disconnect(cs, c);
	loop_set_timer(cs->loop, c->retry, LOOP_NEVER);
}

static void retry_later(struct channels *cs, struct channel *c)
{
	loop_set_timer(cs->loop, c->retry, clock_mono_ns() + c->pause_ns);
	c->pause_ns = c->pause_ns * 2 < RETRY_MAX_NS ? c->pause_ns * 2 : RETRY_MAX_NS;
}

static void channel_free(struct channels *cs, struct channel *c)
{
	disconnect(cs, c);
	loop_del(cs->loop, &c->retry);
	free(c->path);
	free(c);
}

/* ---- talking ---- */

static void watch(struct channels *cs, struct channel *c)
{
	loop_set_events(cs->loop, c->watch, c->out.len ? EPOLLOUT : EPOLLIN);
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

static void on_event(void *ctx, uint32_t events)
{
	struct channel *c = ctx;
	struct channels *cs = c->channels;
	int r = talk(cs, c, events);

	if (r == 0)
		return;
	log_debug("channel %s: %s", c->path, strerror(-r));
	disconnect(cs, c);
	c->pause_ns = RETRY_MIN_NS;
	retry_later(cs, c);
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

static bool has_place(struct channels *cs)
{
	if (atomic_load(&cs->n_connected) < cs->config.max_channels)
		return true;
	if (!cs->full)
		log_warning("<max_channels> %u is reached: other VMs must wait",
			cs->config.max_channels);
	cs->full = true;
	return false;
}

static void try_connect(void *ctx)
{
	struct channel *c = ctx;
	struct channels *cs = c->channels;

	c->waiting = !has_place(cs);
	if (c->waiting)
		return;
	int fd = cs->connect(cs->ctx, c->path);
	int r = fd < 0 ? fd : loop_add_fd(cs->loop, fd, EPOLLIN, on_event, c, &c->watch);

	if (r < 0) {
		close_p(&fd);
		note_failure(c, r);
		retry_later(cs, c);
		return;
	}
	if (c->failing)
		log_info("channel %s is connected", c->path);
	c->fd = fd;
	c->failing = false;
	c->pause_ns = RETRY_MIN_NS;
	atomic_fetch_add(&cs->n_connected, 1);
}

static void connect_soon(struct channels *cs, struct channel *c)
{
	if (c->fd < 0 && !c->expired && cs->config.enabled)
		loop_set_timer(cs->loop, c->retry, 0);
}

static bool is_expired(
	const struct channels *cs, const struct view *view, const struct channel *c)
{
	const struct snapshot *vm = view_find_uuid(view, &c->uuid);

	if (!vm)
		return c->expired; /* it has ended: QEMU's end of the channel tells the rest */
	int64_t updated =
		vm->updated_mono_ns > c->since_ns ? vm->updated_mono_ns : c->since_ns;

	return clock_mono_ns() - updated > cs->config.expiration_ns;
}

static void check_expiration(struct channels *cs, struct channel *c, bool expired)
{
	if (expired == c->expired)
		return;
	c->expired = expired;
	if (expired) {
		log_warning("channel %s is detached: its VM got no update for too long",
			c->path);
		detach(cs, c);
	} else {
		log_info("channel %s is attached again", c->path);
		connect_soon(cs, c);
	}
}

/* Detaches and attaches what is due; again after a quarter of the time that VMs have. */
static void check_all(void *ctx)
{
	struct channels *cs = ctx;
	_cleanup_view_ struct view *view = tree_view(cs->tree);

	for (size_t i = 0; i < cs->n; i++)
		check_expiration(cs, cs->list[i], is_expired(cs, view, cs->list[i]));
	loop_set_timer(cs->loop, cs->check,
		cs->n ? clock_mono_ns() + cs->config.expiration_ns / 4 : LOOP_NEVER);
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
		connect_soon(cs, c);
		return;
	}
	if (c) {
		channel_free(cs, c);
		cs->list[at] = cs->list[--cs->n];
	}
	if (!order->path)
		return;
	c = xcalloc(1, sizeof(*c));
	*c = (struct channel){ .channels = cs,
		.uuid = order->uuid,
		.path = TAKE_PTR(order->path),
		.fd = -1,
		.retry = loop_add_timer(cs->loop, LOOP_NEVER, try_connect, c),
		.pause_ns = RETRY_MIN_NS,
		.since_ns = clock_mono_ns() };
	cs->list = xgrow(cs->list, cs->n, &cs->cap, sizeof(*cs->list));
	cs->list[cs->n++] = c;
	connect_soon(cs, c);
}

/* Channels are switched on or off, or there are more or fewer places. */
static void apply(struct channels *cs, const struct channels_config *config)
{
	cs->config = *config;
	for (size_t i = 0; i < cs->n; i++) {
		if (config->enabled)
			connect_soon(cs, cs->list[i]);
		else
			detach(cs, cs->list[i]);
	}
	cs->full = false;
}

static void take_orders(void *ctx)
{
	struct channels *cs = ctx;

	lock_take(&cs->lock);
	struct order *orders = TAKE_PTR(cs->orders);
	size_t n = cs->n_orders;
	struct channels_config config = cs->new_config;
	bool configured = TAKE_VALUE(cs->has_new_config, false);

	cs->n_orders = cs->cap_orders = 0;
	lock_release(&cs->lock);
	if (configured)
		apply(cs, &config);
	for (size_t i = 0; i < n; i++) {
		obey(cs, &orders[i]);
		free(orders[i].path);
	}
	free(orders);
	check_all(cs);
}

static void *channels_main(void *arg)
{
	struct channels *cs = arg;

	loop_run(cs->loop);
	return NULL;
}

/* ---- the others' side ---- */

struct channels *channels_start(struct tree *tree, const struct channels_config *config,
	int (*connect)(void *ctx, const char *path), void *ctx)
{
	struct channels *cs = xcalloc(1, sizeof(*cs));
	int r = loop_new(take_orders, cs, &cs->loop);

	cs->tree = tree;
	cs->connect = connect;
	cs->ctx = ctx;
	cs->config = *config;
	lock_init(&cs->lock);
	if (r == 0) {
		cs->check = loop_add_timer(cs->loop, LOOP_NEVER, check_all, cs);
		r = -pthread_create(&cs->thread, NULL, channels_main, cs);
	}
	if (r == 0)
		return cs;
	log_error("channels cannot be served: %s", strerror(-r));
	loop_free(cs->loop);
	lock_done(&cs->lock);
	free(cs);
	return NULL;
}

void channels_stop(struct channels *cs)
{
	if (!cs)
		return;
	loop_stop(cs->loop);
	pthread_join(cs->thread, NULL);
	while (cs->n)
		channel_free(cs, cs->list[--cs->n]);
	free(cs->list);
	for (size_t i = 0; i < cs->n_orders; i++)
		free(cs->orders[i].path);
	free(cs->orders);
	loop_free(cs->loop);
	lock_done(&cs->lock);
	free(cs);
}

void channels_set_config(struct channels *cs, const struct channels_config *config)
{
	lock_take(&cs->lock);
	cs->new_config = *config;
	cs->has_new_config = true;
	lock_release(&cs->lock);
	loop_wake(cs->loop);
}

void channels_set(struct channels *cs, const struct uuid *uuid, const char *path)
{
	lock_take(&cs->lock);
	cs->orders =
		xgrow(cs->orders, cs->n_orders, &cs->cap_orders, sizeof(*cs->orders));
	cs->orders[cs->n_orders++] = (struct order){ *uuid, path ? xstrdup(path) : NULL };
	lock_release(&cs->lock);
	loop_wake(cs->loop);
}

void channels_status(struct channels *cs, struct strbuf *out)
{
	strbuf_addf(out, "channels.connected: %u\n", atomic_load(&cs->n_connected));
}
