/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client's life, on one connection:
 *
 *   READING    its line comes, within REQUEST_NS
 *   RELOADING  until a reload is over that began after it had asked
 *   UPGRADING  until the keeper refuses, or this process is replaced, which ends the connection
 *   ANSWERING  what the socket did not take at once goes out, within ANSWER_NS
 *
 * and then it is closed.  Who waits for something is told by the kernel when the client is gone.
 */
#include "control/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/places.h"
#include "control/verb.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Whoever is on this host needs milliseconds. */
#define REQUEST_NS (5 * NS_PER_S)
#define ANSWER_NS (5 * NS_PER_S)

/* Accepted at once; then those that are there are served. */
#define ACCEPT_MAX 16

/* Until it is tried again, when there are no descriptors. */
#define PAUSE_NS (100 * NS_PER_MS)

enum client_state { READING, RELOADING, UPGRADING, ANSWERING };

struct client {
	struct control *control;
	int fd;
	uint64_t watch;
	enum client_state state;
	int64_t until_ns; /* it is cut off then */
	char line[LIMIT_CONTROL_REQUEST_BYTES];
	size_t n;
	uint64_t reload; /* RELOADING: which one answers it */
	struct strbuf out;
	size_t sent;
};

struct door {
	struct control *control;
	int fd;
	uint64_t watch;
};

struct control {
	/* immutable after control_start() */
	struct control_params params;
	struct loop *loop;
	struct door doors[LIMIT_CONTROL_SOCKETS];
	size_t n_doors;

	_Atomic uint64_t requests, refused, cut; /* for status */
	_Atomic unsigned connections;
	_Atomic uint64_t asked; /* reloads */

	struct lock lock;
	struct control_policy policy; /* guarded by lock */
	uint64_t answered;            /* guarded by lock: up to which reload */
	struct strbuf answer;         /* guarded by lock: of that */

	/* its thread's alone */
	struct client *clients[PLACES_MAX]; /* who has been there for longest first */
	struct place places[PLACES_MAX];    /* of the same */
	size_t n_clients;
	uint64_t expire_timer, pause_timer;
	int upgrade_fd; /* tells when upgrade_state() is to be asked again; -1: nothing does */
	uint64_t upgrade_watch;
};

/* ---- who it is ---- */

/* A member of groups by setgroups(2), of which SO_PEERCRED tells nothing, is one as well. */
static gid_t *peer_groups(int fd, size_t *ret_n)
{
	gid_t *gids = NULL;
	socklen_t size = 0;

	/* its size first; a process cannot change what its connection began with */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 &&
		errno == ERANGE) {
		gids = xmalloc(size + sizeof(*gids));
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &size) == 0) {
			*ret_n = size / sizeof(*gids);
			return gids;
		}
	}
	free(gids);
	*ret_n = 0;
	return xmalloc(sizeof(*gids));
}

/* Return: what it may.  @ret: who it is, without its groups. */
static enum control_right right_of_peer(struct control *c, int fd, struct peer *ret)
{
	struct ucred cred = { 0 };
	socklen_t size = sizeof(cred);
	size_t n = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0) {
		*ret = (struct peer){ .uid = (uid_t)-1 };
		return RIGHT_ANYBODY;
	}
	_cleanup_free_ gid_t *gids = peer_groups(fd, &n);

	gids[n] = cred.gid; /* there is room for it */
	struct peer peer = {
		.uid = cred.uid, .pid = cred.pid, .gids = gids, .n_gids = n + 1
	};

	lock_take(&c->lock);
	enum control_right right = right_of(&peer, &c->policy);

	lock_release(&c->lock);
	*ret = (struct peer){ .uid = cred.uid, .pid = cred.pid };
	return right;
}

/* ---- clients ---- */

static void client_remove(struct client *cl)
{
	struct control *c = cl->control;
	size_t i = 0;

	while (c->clients[i] != cl)
		i++;
	c->n_clients--;
	memmove(&c->clients[i], &c->clients[i + 1],
		(c->n_clients - i) * sizeof(c->clients[0]));
	memmove(&c->places[i], &c->places[i + 1],
		(c->n_clients - i) * sizeof(c->places[0]));
	atomic_store(&c->connections, (unsigned)c->n_clients);
	loop_del(c->loop, &cl->watch);
	close(cl->fd);
	strbuf_done(&cl->out);
	free(cl);
}

static void expire(struct control *c)
{
	int64_t now_ns = clock_mono_ns(), next_ns = LOOP_NEVER;

	for (size_t i = c->n_clients; i-- > 0;) {
		struct client *cl = c->clients[i];

		if (cl->until_ns <= now_ns) {
			atomic_fetch_add(&c->cut, 1);
			client_remove(cl);
		} else if (cl->until_ns < next_ns) {
			next_ns = cl->until_ns;
		}
	}
	loop_set_timer(c->loop, c->expire_timer, next_ns);
}

static void on_expire(void *ctx)
{
	expire(ctx);
}

/* Return: whether its answer is sent, as far as it can be; if not, its socket takes no more now. */
static bool send_on(struct client *cl)
{
	while (cl->sent < cl->out.len) {
		ssize_t n = send(cl->fd, cl->out.data + cl->sent, cl->out.len - cl->sent,
			MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno != EAGAIN;
		cl->sent += (size_t)n;
	}
	return true;
}

/* Lines of a text that are not empty: the one that ends the answer is. */
static void add_lines(const char *text, size_t max, struct strbuf *out)
{
	size_t until = out->len + max;

	while (*text) {
		size_t n = strcspn(text, "\n");

		if (out->len + n + 1 > until) {
			strbuf_adds(out, "and more\n");
			break;
		}
		if (n) {
			strbuf_add(out, text, n);
			strbuf_addc(out, '\n');
		}
		text += n + (text[n] == '\n');
	}
}

/* What is in cl->out is its answer, but for the end.  The client may be no more afterwards. */
static void answer(struct client *cl)
{
	strbuf_addc(&cl->out, '\n');
	cl->state = ANSWERING;
	cl->until_ns = clock_mono_ns() + ANSWER_NS;
	if (send_on(cl))
		client_remove(cl);
	else
		loop_set_events(cl->control->loop, cl->watch, EPOLLOUT);
}

static void refuse(struct client *cl, const char *why)
{
	atomic_fetch_add(&cl->control->refused, 1);
	strbuf_addf(&cl->out, "error %s\n", why);
	answer(cl);
}

static void wait_as(struct client *cl, enum client_state state)
{
	cl->state = state;
	cl->until_ns = INT64_MAX;
	/* its end is told all the same */
	loop_set_events(cl->control->loop, cl->watch, 0);
}

/* ---- upgrades ---- */

static void stop_upgrade_watch(struct control *c)
{
	loop_del(c->loop, &c->upgrade_watch);
	close_p(&c->upgrade_fd);
	c->upgrade_fd = -1;
}

/* Clients that wait may be no more afterwards. */
static void answer_upgrade(struct control *c, int r, const char *why)
{
	_cleanup_free_ char *refusal = xasprintf("refused %s", *why ? why : strerror(-r));

	for (size_t i = c->n_clients; i-- > 0;) {
		struct client *cl = c->clients[i];

		if (cl->state != UPGRADING)
			continue;
		if (r < 0) {
			refuse(cl, refusal);
			continue;
		}
		strbuf_adds(&cl->out, "ok\n");
		answer(cl);
	}
}

static void on_upgrade(void *ctx, uint32_t events);

/* The same. */
static void look_at_upgrade(struct control *c)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int r = c->params.upgrade_state(c->params.ctx, &why, &c->upgrade_fd);

	if (r == -EINPROGRESS && c->upgrade_fd < 0)
		return;
	if (r == -EINPROGRESS) {
		r = loop_add_fd(c->loop, c->upgrade_fd, EPOLLIN, on_upgrade, c,
			&c->upgrade_watch);
		if (r == 0)
			return;
	}
	stop_upgrade_watch(c);
	answer_upgrade(c, r, strbuf_str(&why));
}

static void on_upgrade(void *ctx, uint32_t events)
{
	struct control *c = ctx;

	(void)events;
	stop_upgrade_watch(c);
	look_at_upgrade(c);
	expire(c);
}

static void ask_for_upgrade(struct client *cl)
{
	struct control *c = cl->control;
	int r = c->params.upgrade(c->params.ctx);

	if (r < 0) {
		_cleanup_free_ char *why = xasprintf("refused %s", strerror(-r));

		refuse(cl, why);
		return;
	}
	wait_as(cl, UPGRADING);
	if (c->upgrade_fd < 0)
		look_at_upgrade(c);
}

/* ---- reloads ---- */

static void ask_for_reload(struct client *cl)
{
	struct control *c = cl->control;

	/* in this order: a reload that begins then has it, or another one follows */
	cl->reload = atomic_fetch_add(&c->asked, 1) + 1;
	wait_as(cl, RELOADING);
	c->params.reload(c->params.ctx);
}

/* A reload is over. */
static void on_woken(void *ctx)
{
	struct control *c = ctx;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	lock_take(&c->lock);
	uint64_t answered = c->answered;

	strbuf_add(&text, c->answer.data, c->answer.len);
	lock_release(&c->lock);
	for (size_t i = c->n_clients; i-- > 0;) {
		struct client *cl = c->clients[i];

		if (cl->state != RELOADING || cl->reload > answered)
			continue;
		strbuf_add(&cl->out, text.data, text.len);
		answer(cl);
	}
	expire(c);
}

uint64_t control_reload_begins(struct control *c)
{
	return c ? atomic_load(&c->asked) : 0;
}

void control_reloaded(
	struct control *c, uint64_t begun, const struct control_reload *what)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (!c)
		return;
	if (what->refused)
		strbuf_addf(&text,
			"error refused %s was refused: the configuration before it is in force\n",
			what->file);
	else
		strbuf_addf(&text, "ok %u %s\n", what->mistakes, what->file);
	add_lines(what->complaints, LIMIT_CONTROL_COMPLAINTS_BYTES, &text);
	lock_take(&c->lock);
	struct strbuf old = c->answer;

	c->answer = text;
	c->answered = begun;
	lock_release(&c->lock);
	text = old;
	loop_wake(c->loop);
}

/* ---- requests ---- */

/* The client may be no more afterwards. */
static void tell(struct client *cl, void (*what)(void *ctx, struct strbuf *out))
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	what(cl->control->params.ctx, &text);
	strbuf_adds(&cl->out, "ok\n");
	add_lines(strbuf_str(&text), text.len + 1, &cl->out);
	answer(cl);
}

static void log_request(const struct control_request *request, const struct peer *peer)
{
	log_info("%s%s%s: asked for by uid %u, process %d", verb_name(request->verb),
		request->has_level ? " " : "",
		request->has_level ? log_level_name(request->level) : "",
		(unsigned)peer->uid, (int)peer->pid);
}

/* Who has less written is written still, and who has more written already. */
static void set_log_level(
	struct control *c, const struct control_request *request, const struct peer *peer)
{
	bool more = request->level > log_level();

	if (!more)
		log_request(request, peer);
	c->params.set_log_level(c->params.ctx, request->level);
	if (more)
		log_request(request, peer);
}

/* The client may be no more afterwards. */
static void tell_log_level(struct client *cl)
{
	strbuf_addf(&cl->out, "ok %s\n", log_level_name(log_level()));
	answer(cl);
}

/* The client may be no more afterwards. */
static void serve(struct client *cl, const struct control_request *request)
{
	struct control *c = cl->control;
	enum control_right needs = verb_needs(request);
	struct peer peer;

	if (right_of_peer(c, cl->fd, &peer) < needs) {
		refuse(cl,
			needs == RIGHT_READER
				? "denied who may read the file status may ask for that"
				: "denied root, and the group of --control-group, may ask for that");
		return;
	}
	if (request->has_level)
		set_log_level(c, request, &peer);
	else if (needs >= RIGHT_GROUP)
		log_request(request, &peer);
	switch (request->verb) {
	case CONTROL_VERSION:
		strbuf_addf(&cl->out, "ok %s", c->params.version);
		answer(cl);
		break;
	case CONTROL_STATUS:
		tell(cl, c->params.status);
		break;
	case CONTROL_BLAME:
		tell(cl, c->params.blame);
		break;
	case CONTROL_RELOAD:
		ask_for_reload(cl);
		break;
	case CONTROL_UPGRADE:
		ask_for_upgrade(cl);
		break;
	case CONTROL_LOG:
		tell_log_level(cl);
		break;
	case CONTROL_VERBS:
		break;
	}
}

/* Its line is there, without its end.  The client may be no more afterwards. */
static void on_line(struct client *cl, size_t len)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct control_request request;

	atomic_fetch_add(&cl->control->requests, 1);
	if (verb_parse(cl->line, len, &request, &why))
		serve(cl, &request);
	else
		refuse(cl, strbuf_str(&why));
}

/* The client may be no more afterwards. */
static void receive(struct client *cl)
{
	ssize_t n = recv(cl->fd, cl->line + cl->n, sizeof(cl->line) - cl->n, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_remove(cl);
		return;
	}
	const char *newline = memchr(cl->line + cl->n, '\n', (size_t)n);

	cl->n += (size_t)n;
	if (newline)
		on_line(cl, (size_t)(newline - cl->line));
	else if (cl->n == sizeof(cl->line))
		refuse(cl, "malformed a request is a short line");
}

static void on_client(void *ctx, uint32_t events)
{
	struct client *cl = ctx;
	struct control *c = cl->control;

	if (cl->state == READING)
		receive(cl);
	else if (events & (EPOLLHUP | EPOLLERR) ||
		(cl->state == ANSWERING && send_on(cl)))
		client_remove(cl);
	expire(c);
}

/* ---- connections ---- */

/* @fd: taken over. */
static void add_client(struct control *c, int fd)
{
	struct peer peer;
	struct place place = { .kind = place_kind_of(right_of_peer(c, fd, &peer)),
		.uid = peer.uid };
	size_t victim = places_victim(c->places, c->n_clients, &place);

	if (victim < c->n_clients) {
		atomic_fetch_add(&c->cut, 1);
		client_remove(c->clients[victim]);
	}
	struct client *cl = xcalloc(1, sizeof(*cl));

	cl->control = c;
	cl->fd = fd;
	cl->until_ns = clock_mono_ns() + REQUEST_NS;
	if (loop_add_fd(c->loop, fd, EPOLLIN, on_client, cl, &cl->watch) < 0) {
		close(fd);
		free(cl);
		return;
	}
	c->places[c->n_clients] = place;
	c->clients[c->n_clients++] = cl;
	atomic_store(&c->connections, (unsigned)c->n_clients);
	receive(cl); /* who is in a hurry has sent his line already */
}

static void watch_doors(struct control *c, bool open)
{
	for (size_t i = 0; i < c->n_doors; i++)
		loop_set_events(c->loop, c->doors[i].watch, open ? EPOLLIN : 0);
}

static void on_pause_end(void *ctx)
{
	watch_doors(ctx, true);
}

static void on_door(void *ctx, uint32_t events)
{
	struct door *door = ctx;
	struct control *c = door->control;

	(void)events;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_client(c, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			errno == ENOMEM) {
			watch_doors(c, false);
			loop_set_timer(
				c->loop, c->pause_timer, clock_mono_ns() + PAUSE_NS);
			break;
		} else if (errno == EAGAIN) {
			break;
		}
	}
	expire(c);
}

/* ---- life ---- */

static bool is_unix(int fd)
{
	int family = 0;
	socklen_t size = sizeof(family);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 &&
		family == AF_UNIX;
}

static int open_doors(struct control *c)
{
	int r = 0;

	for (size_t i = 0;
		r == 0 && i < c->params.n_fds && c->n_doors < LIMIT_CONTROL_SOCKETS;
		i++) {
		struct door *door = &c->doors[c->n_doors];

		if (!is_unix(c->params.fds[i])) {
			log_error(
				"nobody can tell who connects to a control socket that is "
				"no UNIX socket: it is not served");
			continue;
		}
		c->n_doors++;
		*door = (struct door){ .control = c, .fd = c->params.fds[i] };
		r = loop_add_fd(c->loop, door->fd, EPOLLIN, on_door, door, &door->watch);
	}
	return r;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	while (c->n_clients)
		client_remove(c->clients[c->n_clients - 1]);
	loop_free(c->loop);
	close_p(&c->upgrade_fd);
	strbuf_done(&c->answer);
	lock_done(&c->lock);
	free(c);
}

struct control *control_start(const struct control_params *params)
{
	if (!params->n_fds)
		return NULL;
	struct control *c = xcalloc(1, sizeof(*c));

	c->params = *params;
	c->upgrade_fd = -1;
	c->policy = (struct control_policy){ .has_group = params->has_group,
		.group = params->group };
	lock_init(&c->lock);
	control_set_readers(c, &params->readers);
	int r = loop_new(on_woken, c, &c->loop);

	if (r == 0) {
		c->expire_timer = loop_add_timer(c->loop, LOOP_NEVER, on_expire, c);
		c->pause_timer = loop_add_timer(c->loop, LOOP_NEVER, on_pause_end, c);
		r = open_doors(c);
	}
	if (r == 0)
		r = loop_start_thread(c->loop, "control");
	if (r == 0)
		return c;
	log_error("no control socket is served: %s", strerror(-r));
	control_free(c);
	return NULL;
}

void control_stop(struct control *c)
{
	if (c)
		loop_end_thread(c->loop);
}

void control_set_readers(struct control *c, const struct control_readers *readers)
{
	if (!c)
		return;
	lock_take(&c->lock);
	c->policy.everybody = readers->everybody;
	c->policy.has_readers = readers->has_gid;
	c->policy.readers = readers->gid;
	lock_release(&c->lock);
}

void control_status(struct control *c, struct strbuf *out)
{
	if (!c)
		return;
	strbuf_addf(out,
		"control.connections: %u\ncontrol.requests: %" PRIu64
		"\ncontrol.refused: %" PRIu64 "\ncontrol.cut: %" PRIu64 "\n",
		atomic_load(&c->connections), atomic_load(&c->requests),
		atomic_load(&c->refused), atomic_load(&c->cut));
}
