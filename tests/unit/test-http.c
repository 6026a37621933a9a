/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP: what a client gets for what it asks, whom it shares the room with, and who has to go. */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "core/blob.h"
#include "core/render_prom.h"
#include "core/snapshot.h"
#include "http/clients.h"
#include "http/negotiate.h"
#include "http/page.h"
#include "http/renderings.h"
#include "util/cleanup.h"
#include "util/clock.h"

/* ---- what is wanted ---- */

static void formats_are_as_asked_for(void **state)
{
	(void)state;
	static const struct {
		const char *accept;
		enum http_format format;
	} cases[] = {
		{ NULL, HTTP_TEXT },
		{ "", HTTP_TEXT },
		{ "*/*", HTTP_TEXT },
		{ "text/plain", HTTP_TEXT },
		{ "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			HTTP_TEXT },
		{ "application/*", HTTP_TEXT },
		{ "application/openmetrics-text", HTTP_OPENMETRICS },
		{ "APPLICATION/OpenMetrics-Text ; VERSION=1.0.0 ; charset=utf-8",
			HTTP_OPENMETRICS },
		{ "application/openmetrics-text;version=\"1.0.0\"", HTTP_OPENMETRICS },
		/* Prometheus 2 and 3 */
		{ "application/openmetrics-text;version=1.0.0,application/"
		  "openmetrics-text;version=0.0.1;q=0.75,text/"
		  "plain;version=0.0.4;q=0.5,*/*;q=0.1",
			HTTP_OPENMETRICS },
		{ "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
		  "application/openmetrics-text;version=0.0.1;q=0.4,text/"
		  "plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/"
		  "plain;version=0.0.4;q=0.2,*/*;q=0.1",
			HTTP_OPENMETRICS },
		/* with native histograms, of which there are none */
		{ "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
		  "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/"
		  "plain;version=0.0.4;q=0.5,*/*;q=0.1",
			HTTP_OPENMETRICS },
		{ "application/openmetrics-text;version=0.0.1", HTTP_TEXT },
		{ "application/openmetrics-text;version=2.0.0,*/*;q=0.1", HTTP_TEXT },
		{ "application/openmetrics-text;q=0", HTTP_TEXT },
		{ "application/openmetrics-text;q=0.000", HTTP_TEXT },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.501", HTTP_TEXT },
		{ "application/openmetrics-text;q=0.5,text/plain;q=0.5",
			HTTP_OPENMETRICS },
		/* one that is named counts more than all of its kind */
		{ "application/openmetrics-text;q=0.2,*/*", HTTP_TEXT },
		{ "application/openmetrics-text;q=0.2,text/plain;q=0.1,*/*",
			HTTP_OPENMETRICS },
		{ "application/openmetrics-text;q=0.2,text/*;q=0.1,*/*",
			HTTP_OPENMETRICS },
		/* what is no weight leaves nothing of it */
		{ "application/openmetrics-text;q=2", HTTP_TEXT },
		{ "application/openmetrics-text;q=0.5x", HTTP_TEXT },
		{ "application/openmetrics-text;q=", HTTP_TEXT },
		{ "application/openmetrics-text;q=1.001", HTTP_TEXT },
		{ ",,;;=,application/openmetrics-text,", HTTP_OPENMETRICS },
		/* a comma in quotes ends nothing */
		{ "text/plain;x=\"a,application/openmetrics-text,b\"", HTTP_TEXT },
		{ "text/plain;x=\"\\\",application/openmetrics-text,\"", HTTP_TEXT },
		{ "x;y=\"z", HTTP_TEXT },
		{ "application/openmetrics-textual", HTTP_TEXT },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_wants wants = { 0 };

		if (cases[i].accept)
			negotiate_accept(&wants, cases[i].accept);
		if (negotiate_format(&wants) != cases[i].format)
			fail_msg("%s", cases[i].accept);
		assert_false(negotiate_gzip(&wants));
	}
}

static void headers_may_be_there_twice(void **state)
{
	(void)state;
	struct http_wants wants = { 0 };

	negotiate_accept(&wants, "application/openmetrics-text");
	negotiate_accept(&wants, "text/plain;q=0.5");
	negotiate_encoding(&wants, "br");
	negotiate_encoding(&wants, "gzip");
	assert_int_equal(negotiate_format(&wants), HTTP_OPENMETRICS);
	assert_true(negotiate_gzip(&wants));
}

static void it_is_compressed_for_who_can_read_it(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		bool gzip;
	} cases[] = { { "", false }, { "gzip", true }, { "x-gzip", true },
		{ "GZIP", true }, { "deflate, br", false },
		{ "deflate, gzip;q=0.1, br", true }, { "gzip;q=0", false }, { "*", true },
		{ "*;q=0", false }, { "gzip;q=0,*", false }, { "identity", false },
		{ "identity,gzip;q=0.5", false }, { "gzip,identity;q=0.5", true },
		{ "gzipped", false } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_wants wants = { 0 };

		negotiate_encoding(&wants, cases[i].value);
		if (negotiate_gzip(&wants) != cases[i].gzip)
			fail_msg("%s", cases[i].value);
	}
}

static void all_else_is_refused(void **state)
{
	(void)state;
	static const char *const writing[] = { "POST", "PUT", "DELETE", "OPTIONS",
		"TRACE", "CONNECT", "PATCH", "get", "" };
	static const char *const paths[] = { "/metrics/", "/metrics.prom", "//metrics",
		"/../metrics", "/status", "", "metrics" };

	for (size_t i = 0; i < ARRAY_LEN(writing); i++)
		assert_int_equal(page_of(writing[i], "/metrics", false)->status, 405);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_int_equal(page_of("GET", paths[i], false)->status, 404);
	assert_int_equal(page_of("GET", "/", false)->status, 200);
	assert_int_equal(page_of("HEAD", "/", true)->status, 200);
	assert_null(page_of("GET", "/metrics", false));
	assert_null(page_of("HEAD", "/metrics", false));
	assert_int_equal(page_of("GET", "/metrics", true)->status, 403);
	assert_int_equal(page_of("HEAD", "/metrics", true)->status, 403);
}

/* ---- what is served ---- */

static void publish(struct tree *tree, uint64_t generation)
{
	tree_publish(
		tree, generation, snapshot_new(NULL, generation, NULL, 0, 1), NULL, 0);
}

static void assert_unpacks_to(const struct blob *gz, const struct blob *text)
{
	_cleanup_free_ char *out = malloc(text->size + 1);
	z_stream z = { .next_in = (Bytef *)(uintptr_t)gz->data,
		.avail_in = (uInt)gz->size,
		.next_out = (Bytef *)out,
		.avail_out = (uInt)text->size + 1 };

	assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.total_out, text->size);
	assert_int_equal(z.avail_in, 0);
	assert_memory_equal(out, text->data, text->size);
	inflateEnd(&z);
}

static void each_generation_is_made_once(void **state)
{
	(void)state;
	struct tree *tree = tree_new();
	struct renderings *r = renderings_new(tree);

	for (uint64_t generation = 1; generation <= 2; generation++) {
		publish(tree, generation);
		for (int format = 0; format < HTTP_FORMATS; format++) {
			bool plain = false, gzip = true, again = true;
			_cleanup_view_ struct view *view = tree_view(tree);
			_cleanup_blob_ struct blob *text =
				renderings_get(r, (enum http_format)format, &plain);
			_cleanup_blob_ struct blob *gz =
				renderings_get(r, (enum http_format)format, &gzip);
			_cleanup_blob_ struct blob *same =
				renderings_get(r, (enum http_format)format, &again);

			assert_false(plain);
			assert_true(gzip);
			assert_ptr_equal(text,
				format == HTTP_TEXT ? render_prom_view(view)
						    : render_openmetrics_view(view));
			assert_ptr_equal(gz, same);
			assert_int_equal(gz->generation, generation);
			assert_unpacks_to(gz, text);
		}
		assert_int_equal(renderings_compressed(r), 2 * generation);
	}
	renderings_free(r);
	tree_free(tree);
}

/* ---- who is there ---- */

struct end {
	int ours, theirs;
};

static struct end ends[256];
static size_t n_ends;
static struct clients clients;

static int begin(void **state)
{
	(void)state;
	clients = (struct clients){ .n = 0 };
	n_ends = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	while (clients.n)
		clients_remove(&clients, clients.list[0]);
	while (n_ends) {
		close(ends[--n_ends].ours);
		close(ends[n_ends].theirs);
	}
	return 0;
}

/* What the server does. */
static struct client *come(uint64_t owner, int64_t now_ns)
{
	int fds[2];

	if (!clients_make_room(&clients, owner))
		for (size_t i = clients.n; i-- > 0;)
			if (clients.list[i]->cut)
				clients_remove(&clients, clients.list[i]);
	assert_in_range(clients.n, 0, LIMIT_HTTP_CLIENTS - 1);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
		0);
	ends[n_ends++] = (struct end){ fds[0], fds[1] };
	const struct client newcomer = { .fd = fds[0], .owner = owner };

	return clients_add(&clients, &newcomer, now_ns);
}

/* @fd: of a client, which may have been removed; no other is given it. */
static bool is_there(int fd)
{
	for (size_t i = 0; i < clients.n; i++)
		if (clients.list[i]->fd == fd)
			return !clients.list[i]->cut;
	return false;
}

/* Somebody who comes again and again pushes out his own. */
static void who_floods_takes_from_himself(void **state)
{
	(void)state;
	int other = come(1, 0)->fd;

	for (int i = 0; i < 200; i++) {
		int mine = come(2, 1 + i)->fd;

		assert_true(is_there(mine));
		assert_true(is_there(other));
	}
	assert_int_equal(clients.n, LIMIT_HTTP_CLIENTS);
	assert_int_equal(clients.n_cut, 201 - LIMIT_HTTP_CLIENTS);
}

/* And who has none gets a place from who has most. */
static void who_has_most_gives(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LIMIT_HTTP_CLIENTS - 10; i++)
		come(1, i);
	for (unsigned i = 0; i < 10; i++)
		come(2, i);
	int newcomer = come(3, 100)->fd;
	unsigned n[4] = { 0 };

	for (size_t i = 0; i < clients.n; i++)
		n[clients.list[i]->owner]++;
	assert_int_equal(n[1], LIMIT_HTTP_CLIENTS - 11);
	assert_int_equal(n[2], 10);
	assert_true(is_there(newcomer));
}

static struct blob *rendering(uint64_t generation)
{
	return blob_new("x", 1, generation, 0);
}

/* Of one owner's, who waits goes first, and who came first of those. */
static void who_is_served_stays(void **state)
{
	(void)state;
	_cleanup_blob_ struct blob *blob = rendering(1);
	struct client *served = come(1, 0);
	int idle = come(1, 1)->fd;

	clients_begin(&clients, served, blob, 2);
	for (unsigned i = 2; i < LIMIT_HTTP_CLIENTS; i++)
		come(1, 3);
	come(1, 4);
	assert_true(is_there(served->fd));
	assert_false(is_there(idle));
	/* when it has been served it waits as others do, but came last */
	clients_end(served, 5);
	come(1, 6);
	assert_true(is_there(served->fd));
}

/* Slow readers hold no more than so many renderings: who has the oldest goes, all of them. */
static void old_renderings_go(void **state)
{
	(void)state;
	struct client *slow[2] = { come(1, 0), come(2, 0) };
	_cleanup_blob_ struct blob *first = rendering(1);

	clients_begin(&clients, slow[0], first, 0);
	clients_begin(&clients, slow[1], first, 0);
	for (unsigned i = 0; i < LIMIT_HTTP_RENDERINGS - 1; i++) {
		_cleanup_blob_ struct blob *blob = rendering(2 + i);

		clients_begin(&clients, come(3, 0), blob, 0);
		assert_true(is_there(slow[0]->fd) && is_there(slow[1]->fd));
	}
	struct client *again = come(3, 0);

	clients_begin(&clients, again, first, 0);
	assert_int_equal(clients.n_cut, 0);
	_cleanup_blob_ struct blob *last = rendering(100);
	struct client *newest = come(3, 0);

	clients_begin(&clients, newest, last, 0);
	assert_false(
		is_there(slow[0]->fd) || is_there(slow[1]->fd) || is_there(again->fd));
	assert_true(is_there(newest->fd));
	assert_int_equal(clients.n_cut, 3);
	/* nothing of it is held on to */
	assert_int_equal(first->refs, 4);
	clients_end(slow[0], 0);
	clients_remove(&clients, slow[1]);
	clients_end(again, 0);
	assert_int_equal(first->refs, 1);
}

static bool was_shut(const struct client *c)
{
	char byte;

	for (size_t i = 0; i < n_ends; i++)
		if (ends[i].ours == c->fd)
			return recv(ends[i].theirs, &byte, 1, 0) == 0;
	fail();
	return false;
}

static void nobody_takes_for_ever(void **state)
{
	(void)state;
	_cleanup_blob_ struct blob *blob = rendering(1);
	struct client *silent = come(1, 0), *reader = come(1, 0), *keeper = come(1, 0);

	clients_begin(&clients, reader, blob, 0);
	clients_begin(&clients, keeper, blob, 0);
	clients_end(keeper, 0);
	assert_int_equal(clients_expire(&clients, 10 * NS_PER_S - 1), 10 * NS_PER_S);
	assert_int_equal(clients.n_cut, 0);
	assert_int_equal(clients_expire(&clients, 10 * NS_PER_S), 30 * NS_PER_S);
	assert_true(was_shut(silent));
	assert_false(was_shut(reader));
	/* that it is on its way is no reason to wait for it again */
	assert_int_equal(clients_expire(&clients, 29 * NS_PER_S), 30 * NS_PER_S);
	assert_int_equal(clients_expire(&clients, 30 * NS_PER_S), 150 * NS_PER_S);
	assert_true(was_shut(reader));
	assert_false(was_shut(keeper));
	assert_int_equal(clients_expire(&clients, 150 * NS_PER_S), INT64_MAX);
	assert_true(was_shut(keeper));
	assert_int_equal(clients.n_cut, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_are_as_asked_for),
		cmocka_unit_test(headers_may_be_there_twice),
		cmocka_unit_test(it_is_compressed_for_who_can_read_it),
		cmocka_unit_test(all_else_is_refused),
		cmocka_unit_test(each_generation_is_made_once),
		cmocka_unit_test_setup_teardown(
			who_floods_takes_from_himself, begin, end),
		cmocka_unit_test_setup_teardown(who_has_most_gives, begin, end),
		cmocka_unit_test_setup_teardown(who_is_served_stays, begin, end),
		cmocka_unit_test_setup_teardown(old_renderings_go, begin, end),
		cmocka_unit_test_setup_teardown(nobody_takes_for_ever, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
