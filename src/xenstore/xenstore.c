/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Theory of operation.
 *
 * Each beat makes the list of entries that of the VMs of the current view, and of those that were written
 * and are gone.  Then a round walks over the list: for each entry as many requests as it needs, one after
 * another, each sent when the reply to the one before has come:
 *
 *   of a VM     is it a domain of this Xen?  (a path below one that is not would be made)
 *               then write, if the document is another one than was written
 *               then permissions, if they were not set: until then they are those of the domain's path
 *   gone        remove, and forget the entry
 *
 * A beat that comes while a round goes on changes the list and lets the round go on.  What is refused is
 * tried again, later each time.  xenstored that does not answer is waited for: the round stands, the rest
 * of vhostmd goes on.  When the connection is lost all counts as not written, and it is connected anew,
 * with growing pauses.
 */
#include "xenstore/xenstore.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/render_xml.h"
#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "xenstore/xs_message.h"

#define SOCKET "/run/xenstored/socket"

#define PAUSE_MIN_NS NS_PER_S
#define PAUSE_MAX_NS (60 * NS_PER_S)
#define SILENCE_NS (5 * NS_PER_S) /* then that is said */

#define PATH_BYTES 64u

struct entry {
	struct uuid uuid;
	int id;
	bool gone;
	bool written, permitted;
	uint64_t hash;     /* of what was written */
	int64_t retry_ns;  /* monotonic; not before */
	int64_t pause_ns;  /* before the retry after that; 0: nothing was refused */
	size_t left_out;   /* metrics, as was logged */
	uint64_t new_hash; /* of what is being written */
};

struct settings {
	bool enabled;
	int64_t period_ns;
};

struct xenstore {
	/* immutable while the thread runs */
	struct tree *tree;
	struct loop *loop; /* NULL: there is no thread */

	_Atomic bool ever; /* enabled; for status, as what follows */
	_Atomic bool connected, silent;
	_Atomic unsigned n_written, n_refused, n_cut;

	struct lock lock; /* guards what is to come */
	struct settings new_settings;

	/* its thread's alone, once there is one */
	struct settings settings;
	int early_fd; /* of xenstore_open(): for the first time; -1, or -errno */
	int fd;       /* -1: not connected */
	uint64_t watch;
	struct xs_message message;
	enum xs_type asked; /* while a message is open, of entries[at] */
	struct entry *entries;
	size_t n, cap;
	size_t at; /* where the round is; n: it is over */
	uint64_t beat, silence, reconnect;
	int64_t pause_ns;
	int failure; /* that was logged: -errno, 0: none */
};

/* Return: a descriptor, or -errno. */
static int connect_socket(void)
{
	const char *path = secure_getenv("XENSTORED_PATH");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = -1;

	if (!path)
		path = SOCKET;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

static void path_of(const struct entry *e, char ret[static PATH_BYTES])
{
	snprintf(ret, PATH_BYTES, "/local/domain/%d/" XS_METRICS, e->id);
}

/* ---- the connection ---- */

static void fail(struct xenstore *xs, int r)
{
	if (r != xs->failure && xs->settings.enabled)
		log_error(
			"xenstore: %s%s; no VM gets metrics by it until it can be reached",
			r == -EPROTO ? "xenstored sends what is no answer" : strerror(-r),
			r == -EACCES ? ", as rights were given up; restart vhostmd" : "");
	xs->failure = r;
	xs->pause_ns = xs->pause_ns ? 2 * xs->pause_ns : PAUSE_MIN_NS;
	if (xs->pause_ns > PAUSE_MAX_NS)
		xs->pause_ns = PAUSE_MAX_NS;
	loop_set_timer(xs->loop, xs->reconnect,
		xs->settings.enabled ? clock_mono_ns() + xs->pause_ns : LOOP_NEVER);
}

static void count(struct xenstore *xs)
{
	unsigned written = 0, refused = 0, cut = 0;

	for (size_t i = 0; i < xs->n; i++) {
		written += xs->entries[i].written && xs->entries[i].permitted;
		refused += xs->entries[i].pause_ns != 0;
		cut += xs->entries[i].left_out != 0;
	}
	atomic_store(&xs->n_written, written);
	atomic_store(&xs->n_refused, refused);
	atomic_store(&xs->n_cut, cut);
}

static void disconnect(struct xenstore *xs, int r)
{
	loop_del(xs->loop, &xs->watch);
	close(TAKE_FD(xs->fd));
	xs->message.open = false;
	xs->message.in_len = 0;
	loop_set_timer(xs->loop, xs->silence, LOOP_NEVER);
	atomic_store(&xs->connected, false);
	atomic_store(&xs->silent, false);
	for (size_t i = 0; i < xs->n; i++)
		xs->entries[i].written = xs->entries[i].permitted = false;
	xs->at = xs->n;
	count(xs);
	fail(xs, r);
}

/* Something was said: one that was silent is not. */
static void heard(struct xenstore *xs)
{
	if (atomic_exchange(&xs->silent, false))
		log_info("xenstore: xenstored answers again");
	xs->failure = 0;
	xs->pause_ns = 0;
	loop_set_timer(xs->loop, xs->silence, LOOP_NEVER);
}

static void on_silence(void *ctx)
{
	struct xenstore *xs = ctx;

	atomic_store(&xs->silent, true);
	log_error(
		"xenstore: xenstored does not answer; no VM gets news by it until it does");
}

/* ---- requests ---- */

/* Where it cannot be sent at all the reply will not come, which on_socket() finds. */
static void ask(struct xenstore *xs, enum xs_type type, const char *path,
	const void *value, size_t size)
{
	int r = xs_message_set(&xs->message, type, path, value, size);

	assert(r == 0); /* render_xml_fit() has seen to it */
	xs->asked = type;
	loop_set_events(xs->loop, xs->watch, EPOLLIN | EPOLLOUT);
	loop_set_timer(xs->loop, xs->silence, clock_mono_ns() + SILENCE_NS);
}

static void note_left_out(struct entry *e, const struct snapshot *vm, size_t left_out)
{
	if (left_out && !e->left_out)
		log_warning("xenstore: VM '%s' (%s): %zu metrics are left out, as it has "
			    "room for %u bytes",
			vm->vm.name, vm->uuid_text, left_out, XS_PAYLOAD_MAX);
	e->left_out = left_out;
}

/* Return: false if it is what was written. */
static bool ask_to_write(struct xenstore *xs, struct entry *e)
{
	_cleanup_view_ struct view *view = tree_view(xs->tree);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct snapshot *vm = view_find_uuid(view, &e->uuid);
	char path[PATH_BYTES];

	if (!vm || vm->vm.id != e->id)
		return false; /* the next beat removes it */
	path_of(e, path);
	render_xml_private(view->host, vm, true, &text);
	note_left_out(e, vm, render_xml_fit(&text, xs_message_room(path)));
	e->new_hash = siphash24(text.data, text.len);
	if (e->written && e->new_hash == e->hash)
		return false;
	ask(xs, XS_WRITE, path, text.data, text.len);
	return true;
}

/* dom0 owns it, and nobody but the domain reads it. */
static void ask_to_permit(struct xenstore *xs, const struct entry *e)
{
	char path[PATH_BYTES], who[32];
	int n = snprintf(who, sizeof(who), "n0%cr%d", 0, e->id);

	path_of(e, path);
	ask(xs, XS_SET_PERMS, path, who, (size_t)n + 1);
}

/* Return: true if something was asked. */
static bool begin(struct xenstore *xs, struct entry *e)
{
	char text[PATH_BYTES];

	if (e->gone) {
		path_of(e, text);
		ask(xs, XS_RM, text, NULL, 0);
		return true;
	}
	if (clock_mono_ns() < e->retry_ns)
		return false;
	snprintf(text, sizeof(text), "%d", e->id);
	ask(xs, XS_IS_DOMAIN_INTRODUCED, text, NULL, 0);
	return true;
}

/* The next request, if none is on its way. */
static void go_on(struct xenstore *xs)
{
	if (xs->fd < 0 || xs->message.open)
		return;
	for (; xs->at < xs->n; xs->at++)
		if (begin(xs, &xs->entries[xs->at]))
			return;
	loop_set_events(xs->loop, xs->watch, EPOLLIN);
	count(xs);
}

static void drop_entry(struct xenstore *xs, size_t i)
{
	xs->entries[i] = xs->entries[--xs->n]; /* which has its turn now */
}

static void refused(struct xenstore *xs, struct entry *e, const char *why)
{
	_cleanup_view_ struct view *view = tree_view(xs->tree);
	const struct snapshot *vm = view_find_uuid(view, &e->uuid);

	if (!e->pause_ns && vm)
		log_error("xenstore: VM '%s' (%s): xenstored refuses its metrics: %.64s",
			vm->vm.name, vm->uuid_text, why);
	e->pause_ns = e->pause_ns ? 2 * e->pause_ns : PAUSE_MIN_NS;
	if (e->pause_ns > PAUSE_MAX_NS)
		e->pause_ns = PAUSE_MAX_NS;
	e->retry_ns = clock_mono_ns() + e->pause_ns;
}

/* The reply to what entries[at] was asked for.  Return: true if there is more of it to ask. */
static bool take(struct xenstore *xs, struct entry *e, bool error, const char *text)
{
	if (error) {
		if (!e->gone)
			refused(xs, e, text);
		return false;
	}
	switch (xs->asked) {
	case XS_IS_DOMAIN_INTRODUCED:
		/* other hypervisors' VMs have numbers, too */
		return text[0] == 'T' && ask_to_write(xs, e);
	case XS_WRITE:
		e->written = true;
		e->hash = e->new_hash;
		e->pause_ns = 0;
		if (!e->permitted)
			ask_to_permit(xs, e);
		return !e->permitted;
	case XS_SET_PERMS:
		e->permitted = true;
		return false;
	default:
		return false;
	}
}

static void on_socket(void *ctx, uint32_t events)
{
	struct xenstore *xs = ctx;
	bool error = false;
	const char *text = NULL;
	int r = 0;

	if (events & EPOLLOUT && xs->message.open && !xs_message_is_sent(&xs->message))
		r = xs_message_send(&xs->message, xs->fd);
	if (r == 0 && xs_message_is_sent(&xs->message))
		loop_set_events(xs->loop, xs->watch, EPOLLIN);
	if (r == 0 && events & ~(uint32_t)EPOLLOUT)
		r = xs_message_receive(&xs->message, xs->fd, &error, &text);
	if (r < 0) {
		disconnect(xs, r);
		return;
	}
	if (r == 0)
		return;
	heard(xs);
	struct entry *e = &xs->entries[xs->at];

	if (take(xs, e, error, text))
		return;
	if (xs->asked == XS_RM)
		drop_entry(xs, xs->at);
	else if (!e->gone) /* else it is removed now */
		xs->at++;
	go_on(xs);
}

/* ---- beats ---- */

static struct entry *find(struct xenstore *xs, const struct snapshot *vm)
{
	for (size_t i = 0; i < xs->n; i++)
		if (xs->entries[i].id == vm->vm.id &&
			uuid_compare(&xs->entries[i].uuid, &vm->vm.uuid) == 0)
			return &xs->entries[i];
	return NULL;
}

static void list_vms(struct xenstore *xs)
{
	_cleanup_view_ struct view *view = tree_view(xs->tree);

	for (size_t i = 0; i < xs->n; i++)
		xs->entries[i].gone = true;
	for (size_t i = 0; xs->settings.enabled && i < view->n_vms; i++) {
		const struct snapshot *vm = view->vms[i];
		struct entry *e = find(xs, vm);

		if (!e) {
			xs->entries = xgrow(xs->entries, xs->n, &xs->cap, sizeof(*e));
			e = &xs->entries[xs->n++];
			*e = (struct entry){ .uuid = vm->vm.uuid, .id = vm->vm.id };
		}
		e->gone = false;
	}
	/* of what was never written nothing must be removed; not what is being asked for */
	for (size_t i = xs->n; i-- > 0;)
		if (xs->entries[i].gone && !xs->entries[i].written && !xs->message.open)
			drop_entry(xs, i);
}

static void on_beat(void *ctx)
{
	struct xenstore *xs = ctx;
	bool over = xs->at >= xs->n || xs->fd < 0;

	list_vms(xs);
	if (over && !xs->message.open)
		xs->at = 0;
	loop_set_timer(xs->loop, xs->beat,
		xs->settings.enabled ? clock_mono_ns() + xs->settings.period_ns
				     : LOOP_NEVER);
	go_on(xs);
}

static void take_connection(struct xenstore *xs, int fd)
{
	int r = fd;

	if (r >= 0) {
		xs->fd = fd;
		r = loop_add_fd(xs->loop, fd, EPOLLIN, on_socket, xs, &xs->watch);
		if (r < 0)
			close(TAKE_FD(xs->fd));
	}
	if (r < 0) {
		fail(xs, r);
		return;
	}
	atomic_store(&xs->connected, true);
	on_beat(xs);
}

static void on_reconnect(void *ctx)
{
	struct xenstore *xs = ctx;

	int early_fd = TAKE_FD(xs->early_fd);

	if (xs->fd < 0 && xs->settings.enabled)
		take_connection(xs, early_fd >= 0 ? early_fd : connect_socket());
	else
		close_p(&early_fd);
}

static void on_wake(void *ctx)
{
	struct xenstore *xs = ctx;

	lock_take(&xs->lock);
	xs->settings = xs->new_settings;
	lock_release(&xs->lock);
	on_reconnect(xs);
	on_beat(xs);
}

/* ---- life ---- */

/* When it is enabled first; where no thread can be had the next reload tries it again. */
static void start(struct xenstore *xs)
{
	int r = loop_new(on_wake, xs, &xs->loop);

	atomic_store(&xs->ever, true);
	if (r == 0) {
		xs->beat = loop_add_timer(xs->loop, LOOP_NEVER, on_beat, xs);
		xs->silence = loop_add_timer(xs->loop, LOOP_NEVER, on_silence, xs);
		xs->reconnect = loop_add_timer(xs->loop, LOOP_NEVER, on_reconnect, xs);
		loop_wake(xs->loop); /* it connects then */
		r = loop_start_thread(xs->loop, "xenstore");
	}
	if (r == 0)
		return;
	log_error("no metrics by xenstore: %s", strerror(-r));
	loop_free(TAKE_PTR(xs->loop));
}

struct xenstore *xenstore_open(bool enabled)
{
	struct xenstore *xs = xcalloc(1, sizeof(*xs));

	lock_init(&xs->lock);
	xs->settings.enabled = enabled;
	xs->early_fd = enabled ? connect_socket() : -1;
	xs->fd = -1;
	return xs;
}

void xenstore_start(struct xenstore *xs, struct tree *tree, int64_t period_ns)
{
	xs->tree = tree;
	xenstore_set(xs, xs->settings.enabled, period_ns);
}

void xenstore_stop(struct xenstore *xs)
{
	if (!xs)
		return;
	loop_end_thread(xs->loop);
	close_p(&xs->early_fd);
	close_p(&xs->fd);
	loop_free(xs->loop);
	lock_done(&xs->lock);
	free(xs->entries);
	free(xs);
}

void xenstore_set(struct xenstore *xs, bool enabled, int64_t period_ns)
{
	lock_take(&xs->lock);
	xs->new_settings = (struct settings){ enabled, period_ns };
	lock_release(&xs->lock);
	if (xs->loop)
		loop_wake(xs->loop);
	else if (enabled)
		start(xs);
}

void xenstore_status(struct xenstore *xs, struct strbuf *out)
{
	if (!atomic_load(&xs->ever))
		return;
	strbuf_addf(out,
		"xenstore.connected: %d%s\nxenstore.written: %u\nxenstore.refused: %u\n"
		"xenstore.cut: %u\n",
		atomic_load(&xs->connected), atomic_load(&xs->silent) ? " silent" : "",
		atomic_load(&xs->n_written), atomic_load(&xs->n_refused),
		atomic_load(&xs->n_cut));
}
