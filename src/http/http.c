/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmicrohttpd has no thread and no listening socket here: our loop waits for its epoll
 * descriptor and for its timeouts, and hands it the connections that we accept.
 */
#include "http/http.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/blob.h"
#include "http/clients.h"
#include "http/page.h"
#include "http/renderings.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* Accepted at once; then those that are there are served. */
#define ACCEPT_MAX 16

/* Until it is tried again, when there are no descriptors. */
#define PAUSE_NS (100 * NS_PER_MS)

struct door {
	struct http *http;
	int fd;
	uint64_t watch;
};

struct http {
	struct tree *tree; /* immutable after http_start() */
	struct loop *loop;
	_Atomic bool everybody;
	_Atomic uint64_t requests, refused, cut, compressed; /* for status */
	_Atomic unsigned connections;

	/* its thread's alone */
	struct MHD_Daemon *mhd;
	struct renderings *renderings;
	struct clients clients;
	struct client newcomer; /* that libmicrohttpd is being given */
	struct door doors[LIMIT_HTTP_SOCKETS];
	size_t n_doors;
	uint64_t mhd_watch;
	uint64_t mhd_timer, clients_timer, pause_timer;
};

bool http_is_built_in(void)
{
	return true;
}

/* ---- answers ---- */

static void let_go(void *blob)
{
	blob_unref(blob);
}

static enum MHD_Result take_header(
	void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct http_wants *wants = ctx;

	(void)kind;
	if (!strcasecmp(name, MHD_HTTP_HEADER_ACCEPT) && value)
		negotiate_accept(wants, value);
	else if (!strcasecmp(name, MHD_HTTP_HEADER_ACCEPT_ENCODING) && value)
		negotiate_encoding(wants, value);
	return MHD_YES;
}

static struct MHD_Response *response_of(struct blob *blob)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer_with_free_callback_cls(
			blob->size, blob->data, let_go, blob_ref(blob));

	if (!response)
		blob_unref(blob);
	return response;
}

static enum MHD_Result send_response(
	struct MHD_Connection *connection, unsigned status, struct MHD_Response *response)
{
	if (!response)
		return MHD_NO;
	enum MHD_Result r = MHD_queue_response(connection, status, response);

	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result send_page(
	struct MHD_Connection *connection, const struct page *page)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(page->text),
			(void *)(uintptr_t)page->text, MHD_RESPMEM_PERSISTENT);

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->type);
	if (page->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	return send_response(connection, page->status, response);
}

static enum MHD_Result send_metrics(
	struct http *h, struct client *c, struct MHD_Connection *connection)
{
	static const char *const types[] = {
		[HTTP_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
		[HTTP_OPENMETRICS] =
			"application/openmetrics-text; version=1.0.0; charset=utf-8",
	};
	struct http_wants wants = { 0 };

	MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, &wants);
	enum http_format format = negotiate_format(&wants);
	bool gzip = negotiate_gzip(&wants);
	_cleanup_blob_ struct blob *blob = renderings_get(h->renderings, format, &gzip);
	struct MHD_Response *response = response_of(blob);

	atomic_store(&h->compressed, renderings_compressed(h->renderings));
	if (!response)
		return MHD_NO;
	clients_begin(&h->clients, c, blob, clock_mono_ns());
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, types[format]);
	MHD_add_response_header(
		response, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
	if (gzip)
		MHD_add_response_header(
			response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
	return send_response(connection, MHD_HTTP_OK, response);
}

static struct client *client_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static bool has_header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* None of ours needs one. */
static bool has_body(struct MHD_Connection *connection)
{
	return has_header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH) ||
		has_header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/*
 * Called when the headers are there, and again when all is.  What has a body is answered before
 * that, which nobody reads: the connection is closed then.
 */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection,
	const char *path, const char *method, const char *version, const char *upload,
	size_t *upload_size, void **request)
{
	struct http *h = ctx;
	struct client *c = client_of(connection);

	(void)version;
	(void)upload;
	(void)upload_size;
	if (!*request && !has_body(connection)) {
		*request = h;
		return MHD_YES;
	}
	*request = h;
	if (!c)
		return MHD_NO;
	atomic_fetch_add(&h->requests, 1);
	const struct page *page =
		page_of(method, path, c->is_ip && !atomic_load(&h->everybody));

	if (!page)
		return send_metrics(h, c, connection);
	if (page->status != MHD_HTTP_OK)
		atomic_fetch_add(&h->refused, 1);
	return send_page(connection, page);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode how)
{
	struct client *c = client_of(connection);

	(void)ctx;
	(void)request;
	(void)how;
	if (c)
		clients_end(c, clock_mono_ns());
}

/* ---- connections ---- */

/* What a connection is known by, as far as that can be told; different ones may share a number. */
static uint64_t owner_of(int fd, const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
	struct ucred cred = { 0 };
	socklen_t size = sizeof(cred);

	if (peer->ss_family == AF_INET)
		return siphash24(&in->sin_addr, sizeof(in->sin_addr));
	if (peer->ss_family ==
		AF_INET6) /* its network, where a host has any number of them */
		return siphash24(&in6->sin6_addr, sizeof(in6->sin6_addr) / 2);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 ? 0 : cred.uid;
}

static void on_connection(void *ctx, struct MHD_Connection *connection,
	void **socket_context, enum MHD_ConnectionNotificationCode how)
{
	struct http *h = ctx;

	(void)connection;
	if (how == MHD_CONNECTION_NOTIFY_STARTED)
		*socket_context = clients_add(&h->clients, &h->newcomer, clock_mono_ns());
	else if (*socket_context)
		clients_remove(&h->clients, TAKE_PTR(*socket_context));
	atomic_store(&h->connections, (unsigned)h->clients.n);
}

/* What there is to do is done, and waited for what comes next. */
static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	MHD_run(h->mhd);
	loop_set_timer(h->loop, h->mhd_timer,
		MHD_get_timeout(h->mhd, &ms) == MHD_YES
			? clock_mono_ns() + (int64_t)ms * NS_PER_MS
			: LOOP_NEVER);
	loop_set_timer(
		h->loop, h->clients_timer, clients_expire(&h->clients, clock_mono_ns()));
	atomic_store(&h->cut, h->clients.n_cut);
}

static void on_mhd(void *ctx, uint32_t events)
{
	(void)events;
	run(ctx);
}

/* Of libmicrohttpd's time, and of clients'. */
static void on_time(void *ctx)
{
	run(ctx);
}

/* @fd: taken over. */
static void add_connection(
	struct http *h, int fd, const struct sockaddr_storage *peer, socklen_t len)
{
	h->newcomer = (struct client){
		.fd = fd, .owner = owner_of(fd, peer), .is_ip = peer->ss_family != AF_UNIX
	};
	if (!clients_make_room(&h->clients, h->newcomer.owner))
		run(h); /* who was cut off for it goes */
	if (h->clients.n == LIMIT_HTTP_CLIENTS) {
		close(fd);
		return;
	}
	/* it closes what it does not take */
	MHD_add_connection(h->mhd, fd, (const struct sockaddr *)peer, len);
}

static void watch_doors(struct http *h, bool open)
{
	for (size_t i = 0; i < h->n_doors; i++)
		loop_set_events(h->loop, h->doors[i].watch, open ? EPOLLIN : 0);
}

static void on_pause_end(void *ctx)
{
	watch_doors(ctx, true);
}

static void on_door(void *ctx, uint32_t events)
{
	struct door *door = ctx;
	struct http *h = door->http;

	(void)events;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t len = sizeof(peer);
		int fd = accept4(door->fd, (struct sockaddr *)&peer, &len,
			SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_connection(h, fd, &peer, len);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			errno == ENOMEM) {
			watch_doors(h, false);
			loop_set_timer(
				h->loop, h->pause_timer, clock_mono_ns() + PAUSE_NS);
			break;
		} else if (errno == EAGAIN) {
			break;
		}
	}
	run(h);
}

/* ---- life ---- */

static int open_mhd(struct http *h)
{
	h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
		on_request, h, MHD_OPTION_CONNECTION_LIMIT, LIMIT_HTTP_CLIENTS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_HTTP_REQUEST_BYTES,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	const union MHD_DaemonInfo *info =
		h->mhd ? MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;

	if (!info)
		return -ENOMEM;
	h->mhd_timer = loop_add_timer(h->loop, LOOP_NEVER, on_time, h);
	h->clients_timer = loop_add_timer(h->loop, LOOP_NEVER, on_time, h);
	h->pause_timer = loop_add_timer(h->loop, LOOP_NEVER, on_pause_end, h);
	return loop_add_fd(h->loop, info->epoll_fd, EPOLLIN, on_mhd, h, &h->mhd_watch);
}

static int open_doors(struct http *h, const int *fds, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n && i < LIMIT_HTTP_SOCKETS; i++) {
		struct door *door = &h->doors[h->n_doors++];

		*door = (struct door){ .http = h, .fd = fds[i] };
		r = loop_add_fd(h->loop, door->fd, EPOLLIN, on_door, door, &door->watch);
	}
	return r;
}

static void http_free(struct http *h)
{
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	loop_free(h->loop);
	renderings_free(h->renderings);
	free(h);
}

struct http *http_start(struct tree *tree, const int *fds, size_t n_fds, bool everybody)
{
	if (!n_fds)
		return NULL;
	struct http *h = xcalloc(1, sizeof(*h));
	int r = loop_new(NULL, NULL, &h->loop);

	h->renderings = renderings_new(tree);
	atomic_store(&h->everybody, everybody);
	if (r == 0)
		r = open_mhd(h);
	if (r == 0)
		r = open_doors(h, fds, n_fds);
	if (r == 0)
		r = loop_start_thread(h->loop, "http");
	if (r == 0)
		return h;
	log_error("no HTTP is served: %s", strerror(-r));
	http_free(h);
	return NULL;
}

void http_stop(struct http *h)
{
	if (!h)
		return;
	loop_end_thread(h->loop);
	http_free(h);
}

void http_set_everybody(struct http *h, bool everybody)
{
	if (h)
		atomic_store(&h->everybody, everybody);
}

void http_status(struct http *h, struct strbuf *out)
{
	if (!h)
		return;
	strbuf_addf(out,
		"http.connections: %u\nhttp.requests: %" PRIu64 "\nhttp.refused: %" PRIu64
		"\nhttp.cut: %" PRIu64 "\nhttp.compressed: %" PRIu64 "\n",
		atomic_load(&h->connections), atomic_load(&h->requests),
		atomic_load(&h->refused), atomic_load(&h->cut),
		atomic_load(&h->compressed));
}
