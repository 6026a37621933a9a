/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/listeners.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/address.h"
#include "keeper/baggage.h"
#include "keeper/manager.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * How many may wait to be accepted, as far as the system lets them: a worker's end takes a moment, and
 * who floods the queue of a UNIX socket has others refused.
 */
#define BACKLOG 4096

static_assert(LISTENERS_MAX < BAGGAGE_LISTENERS, "each has an id of its own");

static const char *const names[] = {
	[LISTENER_HTTP] = "http",
	[LISTENER_CONTROL] = "control",
};
static_assert(ARRAY_LEN(names) == LISTENER_KINDS, "a name for each kind");

const char *listener_name(enum listener_kind kind)
{
	return names[kind];
}

bool listener_kind_of(const char *name, enum listener_kind *ret)
{
	for (int i = 0; i < LISTENER_KINDS; i++)
		if (!strcmp(name, names[i])) {
			*ret = (enum listener_kind)i;
			return true;
		}
	return false;
}

/* ---- from one program to the next ---- */

/* What stands where channels have a path; none of theirs ends so. */
#define OWN "/own/"
#define GIVEN "/given/"

void listener_pack(enum listener_kind kind, int fd, bool own, unsigned number,
	struct strbuf *baggage)
{
	_cleanup_free_ char *path = xasprintf("%s%s", own ? OWN : GIVEN, names[kind]);

	assert(number >= 1 && number <= LISTENERS_MAX);
	baggage_add(
		baggage, &(struct baggage_socket){ BAGGAGE_OLD_FILE + number, fd, path });
}

void listeners_pack(const struct listeners *ls, struct strbuf *baggage)
{
	for (size_t i = 0; i < ls->n; i++)
		listener_pack(ls->list[i].kind, ls->list[i].fd, ls->list[i].own,
			(unsigned)(LISTENERS_MAX - i), baggage);
}

void listeners_inherit(const struct listeners *ls, bool inherit)
{
	for (size_t i = 0; i < ls->n; i++)
		(void)fcntl(ls->list[i].fd, F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

static bool option_is_set(int fd, int option)
{
	int is = 0;
	socklen_t len = sizeof(is);

	return getsockopt(fd, SOL_SOCKET, option, &is, &len) == 0 && is;
}

/* It may be that of anybody. */
static bool is_inherited_listener(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return fcntl(fd, F_GETFD) == 0 &&
		getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
		type == SOCK_STREAM && option_is_set(fd, SO_ACCEPTCONN);
}

/* Notes which name a UNIX socket has, if it is one of ours. */
static void find_name(struct listener *l)
{
	struct address a;
	struct stat st;

	if (!l->own || address_of(l->fd, &a) < 0 || a.any.sa_family != AF_UNIX ||
		lstat(a.un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
		st.st_uid != geteuid())
		return;
	l->dev = st.st_dev;
	l->inode = st.st_ino;
	l->gid = st.st_gid;
}

static bool parse_packed(const char *path, enum listener_kind *ret_kind, bool *ret_own)
{
	*ret_own = !strncmp(path, OWN, strlen(OWN));
	if (!*ret_own && strncmp(path, GIVEN, strlen(GIVEN)) != 0)
		return false;
	return listener_kind_of(path + strlen(*ret_own ? OWN : GIVEN), ret_kind);
}

/* The descriptor is taken over. */
static void add(struct listeners *ls, enum listener_kind kind, int fd, bool own)
{
	struct listener l = { .kind = kind, .fd = fd, .own = own };

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd, F_SETFL, O_NONBLOCK | fcntl(fd, F_GETFL));
	find_name(&l);
	ls->list[ls->n++] = l;
}

void listeners_adopt(struct listeners *ls, const struct strbuf *bytes)
{
	struct baggage_socket item;
	struct baggage baggage;
	enum listener_kind kind;
	bool own;

	if (!bytes->len ||
		baggage_open(bytes->data, bytes->len, clock_mono_ns(), &baggage) < 0)
		return;
	while (baggage_next(&baggage, &item))
		if (item.id <= BAGGAGE_LISTENERS && ls->n < LISTENERS_MAX &&
			parse_packed(item.path, &kind, &own) &&
			is_inherited_listener(item.fd))
			add(ls, kind, item.fd, own);
}

void listeners_end_left(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (fd >= 3 && is_inherited_listener(fd))
			close(fd);
	}
}

/* ---- opening ---- */

static int open_ip(const struct address *a)
{
	_cleanup_close_ int fd =
		socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	/* connections that are over keep no port from us */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a->any, a->len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* Removes what a vhostmd left that died.  Return: 0 if nothing is there; -errno with @why. */
static int make_room(const struct address *a, struct strbuf *why)
{
	struct stat st;

	if (lstat(a->un.sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid()) {
		strbuf_adds(why, "something is there that is no socket of ours");
		return -EEXIST;
	}
	_cleanup_close_ int fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &a->any, a->len) == 0 || errno != ECONNREFUSED) {
		strbuf_adds(why, "somebody listens there already");
		return -EADDRINUSE;
	}
	return unlink(a->un.sun_path) < 0 ? -errno : 0;
}

/* It has its mode and group from the beginning, so that nobody else can be in between. */
static int bind_unix(int fd, const struct address *a, const struct listen_wish *wish)
{
	gid_t gid = getegid();
	mode_t mask = 0;
	int r = 0;

	if (wish->has_gid && wish->gid != gid && setegid(wish->gid) < 0)
		return -errno;
	mask = umask(wish->by_peer ? 0111 : 0117);
	if (bind(fd, &a->any, a->len) < 0)
		r = -errno;
	umask(mask);
	if (wish->has_gid && wish->gid != gid && setegid(gid) < 0)
		abort(); /* we would make all else as that group */
	return r;
}

static int open_unix(
	const struct address *a, const struct listen_wish *wish, struct strbuf *why)
{
	int r = make_room(a, why);
	_cleanup_close_ int fd = r < 0
		? -1
		: socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (r < 0)
		return r;
	if (fd < 0)
		return -errno;
	r = bind_unix(fd, a, wish);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	return r < 0 ? r : TAKE_FD(fd);
}

static void close_one(struct listeners *ls, size_t i, bool remove)
{
	struct listener l = ls->list[i];
	struct address a;
	struct stat st;

	ls->n--;
	memmove(&ls->list[i], &ls->list[i + 1], (ls->n - i) * sizeof(l));
	if (remove && l.own && l.inode && address_of(l.fd, &a) == 0 &&
		lstat(a.un.sun_path, &st) == 0 && st.st_dev == l.dev &&
		st.st_ino == l.inode)
		unlink(a.un.sun_path);
	if (remove && l.own)
		manager_forget_listener(listener_name(l.kind));
	close(l.fd);
}

/* What is ours by an earlier wish, or has lost its name, is not what is wished now. */
static bool is_wished(const struct listener *l, const struct address *wished)
{
	struct address a;

	return address_of(l->fd, &a) == 0 && address_equal(&a, wished) &&
		(a.any.sa_family != AF_UNIX || l->inode);
}

/* Return: whether what is wished is there. */
static bool is_there(
	const struct listeners *ls, enum listener_kind kind, const struct address *wished)
{
	for (size_t i = 0; i < ls->n; i++)
		if (ls->list[i].kind == kind && ls->list[i].own &&
			is_wished(&ls->list[i], wished))
			return true;
	return false;
}

void listeners_drop_unwished(struct listeners *ls, const struct listen_wish *wishes)
{
	for (size_t i = ls->n; i-- > 0;) {
		const struct listener *l = &ls->list[i];
		const struct listen_wish *wish = &wishes[l->kind];
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		struct address a;

		if (!l->own)
			continue;
		if (!wish->address || address_parse(wish->address, &a, &why) < 0 ||
			!is_wished(l, &a) ||
			(l->inode && l->gid != (wish->has_gid ? wish->gid : getegid())))
			close_one(ls, i, true);
	}
}

static int refuse_if_not_local(
	const struct address *a, enum listener_kind kind, struct strbuf *why)
{
	if (address_is_local(a))
		return 0;
	address_print(a, why);
	strbuf_addf(why,
		": other hosts could connect there, unencrypted; --%s-any allows that",
		names[kind]);
	return -EPERM;
}

/* What somebody gave is looked at, too: one slip in a unit, and everybody sees it. */
static int check_given(
	const struct listeners *ls, enum listener_kind kind, struct strbuf *why)
{
	struct address a;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ls->n; i++) {
		if (ls->list[i].kind != kind || ls->list[i].own)
			continue;
		r = address_of(ls->list[i].fd, &a);
		if (r == 0)
			r = refuse_if_not_local(&a, kind, why);
	}
	return r;
}

static bool is_given(const struct listeners *ls, enum listener_kind kind)
{
	for (size_t i = 0; i < ls->n; i++)
		if (ls->list[i].kind == kind && !ls->list[i].own)
			return true;
	return false;
}

static int open_wish(struct listeners *ls, enum listener_kind kind,
	const struct listen_wish *wish, bool store, struct strbuf *why)
{
	struct address a;
	int r = wish->address ? address_parse(wish->address, &a, why) : 0;

	if (r == 0 && !wish->any && !wish->by_peer)
		r = check_given(ls, kind, why);
	if (r == 0 && !wish->any && wish->address)
		r = refuse_if_not_local(&a, kind, why);
	if (r < 0 || !wish->address || is_there(ls, kind, &a) ||
		(wish->optional && is_given(ls, kind)))
		return r;
	if (ls->n == LISTENERS_MAX)
		return -ENFILE;
	int fd = a.any.sa_family == AF_UNIX ? open_unix(&a, wish, why) : open_ip(&a);

	if (fd < 0)
		return fd;
	add(ls, kind, fd, true);
	if (store)
		manager_store_listener(names[kind], fd);
	return 0;
}

int listeners_open(struct listeners *ls, const struct listen_wish *wishes, bool store,
	struct strbuf *why)
{
	for (int i = 0; i < LISTENER_KINDS; i++) {
		_cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;
		int r = open_wish(ls, (enum listener_kind)i, &wishes[i], store, &reason);

		if (r == 0)
			continue;
		strbuf_addf(why, "%s--%s: ", why->len ? "; " : "", names[i]);
		if (wishes[i].address && r != -EPERM && r != -EINVAL)
			strbuf_addf(why, "%s: ", wishes[i].address);
		strbuf_adds(why, reason.len ? strbuf_str(&reason) : strerror(-r));
		if (!wishes[i].optional)
			return r;
	}
	return 0;
}

void listeners_close(struct listeners *ls, bool remove)
{
	while (ls->n)
		close_one(ls, ls->n - 1, remove);
}

size_t listeners_of(
	const struct listeners *ls, enum listener_kind kind, int ret[LISTENERS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < ls->n; i++)
		if (ls->list[i].kind == kind)
			ret[n++] = ls->list[i].fd;
	return n;
}
