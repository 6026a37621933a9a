/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * A connected channel is in one of three states, told apart by the events it waits for:
 *
 *   listening (EPOLLIN)   nothing to do until the guest says something
 *   sending (EPOLLOUT)    of a reply the socket has not taken all yet
 *   waiting (none)        it has something to do, but not now: it waits for its budget, for
 *                         the guest to take the reply before, or for its turn
 *
 * A turn is at most one read and one reply.  A channel that had none just now has its turn at
 * once.  All others stand in a line, and so do those that are to be connected.  A few of the
 * line have their turns after each look at the sockets, and no more than so many in a
 * millisecond: so who asks seldom waits for a few turns of others and finds a thread that has
 * time, however many there are that ask all the time.  Who spends more than the budget has no
 * turn before it is earned, and is not read from, so that QEMU and in the end the guest's
 * write(2) wait.
 *
 * What a guest has not fetched: QEMU reads the socket only while the guest has the port open
 * and room in its ring; of what is read by then the guest's kernel forgets all at close(2).
 * The rest stays in the socket, and the next program that opens the port gets it.  The kernel
 * tells how much of what we sent was not read (SIOCOUTQ), so no reply is made while any is
 * left of the one before: whatever is sent is the newest there is.  What is left after
 * FETCH_NS, longer than any guest's program waits, is taken back: when we hang up, QEMU closes
 * its end with all that is in it, and listens again.  So whoever opens the port later than that
 * finds nothing.  Nothing tells us that a port was closed, so who opens it earlier finds the old
 * reply, or its end.
 *
 * Where it is connected through the keeper, which keeps the connection, all that is received and
 * sent is counted in a row that outlives us (virtio/stand.h).  We end such a connection by
 * shutting it, which the keeper sees, too.
 */
#include "virtio/channels.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "core/snapshot.h"
#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "virtio/budget.h"
#include "virtio/reply.h"
#include "virtio/request.h"
#include "virtio/stand.h"

#define RETRY_MIN_NS (100 * NS_PER_MS)
#define RETRY_MAX_NS (30 * NS_PER_S)
#define STEADY_NS (5 * NS_PER_S) /* a connection that held so long was a good one */

#define SAVED_S 10         /* the budget that a quiet channel saves up */
#define PART_OF_REQUEST 20 /* so many reads that end no request cost as much as one */
#define TURNS_AT_ONCE 4    /* of those that stand in line */
#define TURNS_NS NS_PER_MS /* in so long ... */
#define TURNS 8u           /* ... so many */

/* Between two looks at whether a reply was taken. */
#define LOOK_MIN_NS NS_PER_MS
#define LOOK_MAX_NS (256 * NS_PER_MS)

#define FETCH_NS (6 * NS_PER_S)   /* guests' programs wait 5 s for a reply */
#define QUIET_NS (600 * NS_PER_S) /* between two lines of the log on one channel */

/* What strains a channel, in the order of the lines of the status file. */
enum strain {
	STRAIN_DELAYED,   /* a request over the budget */
	STRAIN_REFUSED,   /* nonsense */
	STRAIN_UNFETCHED, /* a reply that was taken back */
	STRAIN_COUNT
};

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

	struct budget budget;           /* outlives connections, as does what follows */
	unsigned strains[STRAIN_COUNT]; /* since the last line of the log */
	bool strained;                  /* ever */
	int64_t logged_ns;

	/* while it is connected */
	int64_t connected_ns, turn_ns;
	struct channel_row *row; /* for who comes after us; NULL: it ends with us */
	struct requests requests;
	struct reply reply;
	uint32_t events; /* the state */
	uint64_t later;  /* the timer that ends waiting */
	uint64_t fetch;  /* the timer that takes a reply back */
	int64_t look_ns; /* before the next look at whether the reply was taken */
	bool in_line;
	TAILQ_ENTRY(channel) line;
};

/* What other threads want changed. */
struct order {
	struct uuid uuid;
	char *path; /* NULL: remove */
};

struct channels {
	struct tree *tree;
	int (*connect)(void *ctx, const char *path, struct channel_socket *ret);
	void *ctx;
	/* immutable once there is a channel; NULL: connections end with us */
	struct stands *stands;
	struct loop *loop;
	_Atomic unsigned n_connected, n_strained;
	_Atomic uint64_t strains[STRAIN_COUNT];

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
	bool stopped;   /* who comes next goes on with what is there */
	TAILQ_HEAD(, channel) line;
	uint64_t turns;   /* the timer that gives turns to the line */
	int64_t turns_ns; /* since then ... */
	unsigned n_turns; /* ... so many were given */
};

/* A place is free: those that wait may try. */
static void offer_place(struct channels *cs)
{
	for (size_t i = 0; cs->full && i < cs->n; i++)
		if (TAKE_VALUE(cs->list[i]->waiting, false))
			loop_set_timer(cs->loop, cs->list[i]->retry, 0);
	cs->full = false;
}

static void leave_line(struct channels *cs, struct channel *c)
{
	if (TAKE_VALUE(c->in_line, false))
		TAILQ_REMOVE(&cs->line, c, line);
}

/* Nobody goes on with it, but for who comes after us. */
static void hang_up(struct channels *cs, struct channel *c)
{
	if (!cs->stopped) {
		if (cs->stands)
			shutdown(c->fd, SHUT_RDWR);
		stands_end(cs->stands, TAKE_PTR(c->row));
		stands_drop_reply(cs->stands, c->reply.kept);
	}
	close(TAKE_FD(c->fd));
	requests_clear(&c->requests);
	reply_done(&c->reply);
}

static void note_stand(struct channel *c)
{
	stand_note(c->row, &c->requests, &c->reply);
}

static void disconnect(struct channels *cs, struct channel *c)
{
	leave_line(cs, c);
	if (c->fd < 0)
		return;
	/* first this: a child about to run a command may hold a copy for a moment */
	loop_del(cs->loop, &c->watch);
	loop_set_timer(cs->loop, c->later, LOOP_NEVER);
	loop_set_timer(cs->loop, c->fetch, LOOP_NEVER);
	hang_up(cs, c);
	atomic_fetch_sub(&cs->n_connected, 1);
	offer_place(cs);
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
	loop_del(cs->loop, &c->later);
	loop_del(cs->loop, &c->fetch);
	atomic_fetch_sub(&cs->n_strained, c->strained);
	free(c->path);
	free(c);
}

/* By uuid: a channel does not know its VM's name, which changes. */
#define say(c, level, ...)                                                               \
	log_write(level, &(const struct log_about){ NULL, &(c)->uuid, NULL }, __VA_ARGS__)

/* ---- what guests do to their channels ---- */

static void log_strain(struct channels *cs, struct channel *c)
{
	_cleanup_view_ struct view *view = tree_view(cs->tree);
	const struct snapshot *vm = view_find_uuid(view, &c->uuid);
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&c->uuid, uuid);
	say(c, LOG_LEVEL_WARNING,
		"VM %s (%s) strains its channel: %u times over <max_requests> %u a "
		"second, %u requests refused, %u replies not fetched",
		vm ? vm->vm.name : "?", uuid, c->strains[STRAIN_DELAYED],
		cs->config.max_requests, c->strains[STRAIN_REFUSED],
		c->strains[STRAIN_UNFETCHED]);
}

static void note_strain(struct channels *cs, struct channel *c, enum strain strain)
{
	int64_t now = clock_mono_ns();

	atomic_fetch_add(&cs->strains[strain], 1);
	c->strains[strain]++;
	if (!TAKE_VALUE(c->strained, true))
		atomic_fetch_add(&cs->n_strained, 1);
	if (c->logged_ns && now - c->logged_ns < QUIET_NS)
		return;
	c->logged_ns = now;
	log_strain(cs, c);
	memset(c->strains, 0, sizeof(c->strains));
}

/* ---- talking ---- */

static void set_state(struct channels *cs, struct channel *c, uint32_t events)
{
	c->events = events;
	loop_set_events(cs->loop, c->watch, events);
}

static void wait_until(struct channels *cs, struct channel *c, int64_t at_ns)
{
	set_state(cs, c, 0);
	loop_set_timer(cs->loop, c->later, at_ns);
}

static void join_line(struct channels *cs, struct channel *c)
{
	if (c->in_line)
		return;
	set_state(cs, c, 0);
	if (TAILQ_EMPTY(&cs->line))
		loop_set_timer(cs->loop, cs->turns, 0);
	TAILQ_INSERT_TAIL(&cs->line, c, line);
	c->in_line = true;
}

/* What one request costs. */
static int64_t cost_ns(const struct channels *cs)
{
	return NS_PER_S / cs->config.max_requests;
}

static void spend(struct channels *cs, struct channel *c, int64_t now, int64_t ns)
{
	budget_spend(&c->budget, now, ns, SAVED_S * NS_PER_S - cost_ns(cs));
}

/* What is to be done next. */
static void go_on(struct channels *cs, struct channel *c)
{
	if (c->reply.size)
		set_state(cs, c, EPOLLOUT);
	else if (requests_first(&c->requests) != REQUEST_UNFINISHED)
		join_line(cs, c);
	else
		set_state(cs, c, EPOLLIN);
}

/* Return: 0, or -errno when the channel is lost. */
static int send_reply(struct channels *cs, struct channel *c)
{
	uint64_t kept = c->reply.kept;
	int r = reply_send(&c->reply, c->row, c->fd);

	if (r < 0)
		return r;
	note_stand(c);
	if (!c->reply.size)
		stands_drop_reply(cs->stands, kept);
	go_on(cs, c);
	return 0;
}

/* Something was sent, or will be, that is not fetched yet. */
static void await_fetch(struct channels *cs, struct channel *c, int64_t now)
{
	c->look_ns = LOOK_MIN_NS;
	loop_set_timer(cs->loop, c->fetch, now + FETCH_NS);
}

static int answer(struct channels *cs, struct channel *c, int64_t now)
{
	enum request request = requests_first(&c->requests);

	spend(cs, c, now, cost_ns(cs));
	requests_drop(&c->requests);
	if (request == REQUEST_DOCUMENT) {
		_cleanup_view_ struct view *view = tree_view(cs->tree);

		reply_set_document(&c->reply, view, &c->uuid);
	} else {
		note_strain(cs, c, STRAIN_REFUSED);
		reply_set_refusal(&c->reply);
	}
	stands_keep_reply(cs->stands, c->row, &c->reply);
	note_stand(c);
	await_fetch(cs, c, now);
	return send_reply(cs, c);
}

/* Receives once.  Return: 0, or -errno when the channel is lost. */
static int receive(struct channels *cs, struct channel *c, int64_t now)
{
	requests_forget(&c->requests, now);
	note_stand(c);
	int r = requests_receive(&c->requests, c->row, c->fd, now);

	if (r == 0)
		note_stand(c);
	if (r == 0 && requests_first(&c->requests) == REQUEST_UNFINISHED)
		spend(cs, c, now, cost_ns(cs) / PART_OF_REQUEST);
	return r == -EAGAIN ? 0 : r;
}

/* The same. */
static int take_turn(struct channels *cs, struct channel *c)
{
	int64_t now = clock_mono_ns();

	c->turn_ns = now;
	if (!budget_allows(&c->budget, now)) {
		note_strain(cs, c, STRAIN_DELAYED);
		wait_until(cs, c, c->budget.earned_ns);
		return 0;
	}
	if (requests_first(&c->requests) == REQUEST_UNFINISHED) {
		int r = receive(cs, c, now);

		if (r < 0)
			return r;
	}
	if (requests_first(&c->requests) == REQUEST_UNFINISHED) {
		set_state(cs, c, EPOLLIN);
		return 0;
	}
	if (!reply_is_taken(c->fd)) {
		wait_until(cs, c, now + c->look_ns);
		if (c->look_ns < LOOK_MAX_NS)
			c->look_ns *= 2;
		return 0;
	}
	return answer(cs, c, now);
}

static void lose(struct channels *cs, struct channel *c, int r)
{
	say(c, LOG_LEVEL_DEBUG, "channel %s: %s", c->path, strerror(-r));
	disconnect(cs, c);
	if (clock_mono_ns() - c->connected_ns >= STEADY_NS)
		c->pause_ns = RETRY_MIN_NS;
	retry_later(cs, c);
}

static void on_event(void *ctx, uint32_t events)
{
	struct channel *c = ctx;
	struct channels *cs = c->channels;
	int r = 0;

	if (!(events & c->events))
		r = -ECONNRESET; /* only EPOLLHUP or EPOLLERR */
	else if (c->events == EPOLLOUT)
		r = send_reply(cs, c);
	else if (clock_mono_ns() - c->turn_ns < cost_ns(cs))
		join_line(cs, c);
	else
		r = take_turn(cs, c);
	if (r < 0)
		lose(cs, c, r);
}

static void on_later(void *ctx)
{
	struct channel *c = ctx;

	join_line(c->channels, c);
}

static void on_unfetched(void *ctx)
{
	struct channel *c = ctx;
	struct channels *cs = c->channels;

	if (!c->reply.size && reply_is_taken(c->fd))
		return;
	note_strain(cs, c, STRAIN_UNFETCHED);
	disconnect(cs, c);
	/* at once: what the guest says meanwhile is lost */
	loop_set_timer(cs->loop, c->retry, 0);
}

/* ---- connecting ---- */

static void note_failure(struct channel *c, int r)
{
	/* between a VM's start and QEMU's listening, and at its end, this is usual */
	if (!c->failing && c->pause_ns > 5 * NS_PER_S) {
		say(c, LOG_LEVEL_WARNING, "channel %s cannot be connected: %s", c->path,
			strerror(-r));
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

/* Goes on with a connection that another process served, or begins a new one. */
static int take_stand(
	struct channels *cs, struct channel *c, const struct channel_socket *socket)
{
	if (!socket->resumed) {
		c->row = cs->stands
			? stands_begin(cs->stands, socket->id, &c->uuid, c->path)
			: NULL;
		return 0;
	}
	int r = stands_resume(cs->stands, socket->id, &c->requests, &c->reply,
		clock_mono_ns(), &c->row);

	if (r < 0)
		shutdown(socket->fd, SHUT_RDWR);
	return r;
}

/* Return: 0, or -errno; then there is no connection. */
static int connect_channel(struct channels *cs, struct channel *c)
{
	struct channel_socket socket = { .fd = -1 };
	int r = cs->connect(cs->ctx, c->path, &socket);

	if (r == 0)
		r = take_stand(cs, c, &socket);
	if (r < 0) {
		close_p(&socket.fd);
		return r;
	}
	c->fd = socket.fd;
	r = loop_add_fd(cs->loop, c->fd, EPOLLIN, on_event, c, &c->watch);
	if (r < 0)
		hang_up(cs, c);
	return r;
}

static void try_connect(struct channels *cs, struct channel *c)
{
	c->waiting = !has_place(cs);
	if (c->waiting)
		return;
	int r = connect_channel(cs, c);

	if (r < 0) {
		note_failure(c, r);
		retry_later(cs, c);
		return;
	}
	if (c->failing)
		say(c, LOG_LEVEL_INFO, "channel %s is connected", c->path);
	/* what QEMU does not fetch costs memory */
	setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){ LIMIT_UNFETCHED_BYTES },
		sizeof(int));
	c->failing = false;
	c->connected_ns = clock_mono_ns();
	c->events = EPOLLIN;
	atomic_fetch_add(&cs->n_connected, 1);
	/* somebody else has answered before us */
	if (c->reply.size || !reply_is_taken(c->fd))
		await_fetch(cs, c, c->connected_ns);
	go_on(cs, c);
}

static void on_retry(void *ctx)
{
	struct channel *c = ctx;

	join_line(c->channels, c);
}

/* ---- the line ---- */

static void turn_of_first(struct channels *cs)
{
	struct channel *c = TAILQ_FIRST(&cs->line);

	leave_line(cs, c);
	if (c->fd < 0) {
		try_connect(cs, c);
		return;
	}
	int r = take_turn(cs, c);

	if (r < 0)
		lose(cs, c, r);
}

static void give_turns(void *ctx)
{
	struct channels *cs = ctx;
	int64_t now = clock_mono_ns();

	if (now - cs->turns_ns >= TURNS_NS) {
		cs->turns_ns = now;
		cs->n_turns = 0;
	}
	for (int i = 0; i < TURNS_AT_ONCE && cs->n_turns < TURNS; i++) {
		if (TAILQ_EMPTY(&cs->line))
			return;
		cs->n_turns++;
		turn_of_first(cs);
	}
	/* the sockets have their turn first */
	loop_set_timer(
		cs->loop, cs->turns, cs->n_turns < TURNS ? 0 : cs->turns_ns + TURNS_NS);
}

/* ---- who is to be connected ---- */

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
		say(c, LOG_LEVEL_WARNING,
			"channel %s is detached: its VM got no update for too long",
			c->path);
		detach(cs, c);
	} else {
		say(c, LOG_LEVEL_INFO, "channel %s is attached again", c->path);
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
		.retry = loop_add_timer(cs->loop, LOOP_NEVER, on_retry, c),
		.later = loop_add_timer(cs->loop, LOOP_NEVER, on_later, c),
		.fetch = loop_add_timer(cs->loop, LOOP_NEVER, on_unfetched, c),
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

/* ---- the others' side ---- */

struct channels *channels_start(struct tree *tree, const struct channels_config *config,
	int (*connect)(void *ctx, const char *path, struct channel_socket *ret),
	void *ctx)
{
	struct channels *cs = xcalloc(1, sizeof(*cs));
	int r = loop_new(take_orders, cs, &cs->loop);

	cs->tree = tree;
	cs->connect = connect;
	cs->ctx = ctx;
	cs->config = *config;
	TAILQ_INIT(&cs->line);
	lock_init(&cs->lock);
	if (r == 0) {
		cs->check = loop_add_timer(cs->loop, LOOP_NEVER, check_all, cs);
		cs->turns = loop_add_timer(cs->loop, LOOP_NEVER, give_turns, cs);
		r = loop_start_thread(cs->loop, HANDOVER_CHANNELS_THREAD);
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
	loop_end_thread(cs->loop);
	cs->stopped = cs->stands;
	while (cs->n)
		channel_free(cs, cs->list[--cs->n]);
	free(cs->list);
	for (size_t i = 0; i < cs->n_orders; i++)
		free(cs->orders[i].path);
	free(cs->orders);
	stands_free(cs->stands);
	loop_free(cs->loop);
	lock_done(&cs->lock);
	free(cs);
}

void channels_hand_on(struct channels *cs, struct handover *handover, struct arena *arena)
{
	_cleanup_view_ struct view *view = tree_view(cs->tree);
	char path[HANDOVER_CHANNEL_PATH];
	struct uuid vm;

	cs->stands = stands_new(handover, arena);
	for (uint32_t at = 0; stands_next(cs->stands, &at, &vm, path);)
		if (path[0] && view_find_uuid(view, &vm))
			channels_set(cs, &vm, path);
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
	static const char *const names[] = { "delayed", "refused", "unfetched" };

	static_assert(ARRAY_LEN(names) == STRAIN_COUNT, "a name each");
	strbuf_addf(out, "channels.connected: %u\nchannels.strained: %u\n",
		atomic_load(&cs->n_connected), atomic_load(&cs->n_strained));
	for (int i = 0; i < STRAIN_COUNT; i++)
		strbuf_addf(out, "channels.%s: %" PRIu64 "\n", names[i],
			atomic_load(&cs->strains[i]));
}
