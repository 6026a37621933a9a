/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "http/clients.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/blob.h"
#include "util/clock.h"
#include "util/mem.h"

/* The first request, and an answer: whoever is on this host needs milliseconds. */
#define REQUEST_NS (10 * NS_PER_S)
#define ANSWER_NS (30 * NS_PER_S)
/* The next request on a connection: scrapers keep theirs from one to the next. */
#define NEXT_NS (150 * NS_PER_S)

static void cut(struct clients *cs, struct client *c)
{
	cs->n_cut++;
	c->cut = true;
	c->until_ns = INT64_MAX;
	shutdown(c->fd, SHUT_RDWR);
}

struct client *clients_add(
	struct clients *cs, const struct client *newcomer, int64_t now_ns)
{
	struct client *c = xcalloc(1, sizeof(*c));

	assert(cs->n < LIMIT_HTTP_CLIENTS);
	*c = (struct client){ .fd = newcomer->fd,
		.owner = newcomer->owner,
		.is_ip = newcomer->is_ip,
		.since_ns = now_ns,
		.until_ns = now_ns + REQUEST_NS };
	cs->list[cs->n++] = c;
	return c;
}

void clients_remove(struct clients *cs, struct client *c)
{
	size_t i = 0;

	while (cs->list[i] != c)
		i++;
	cs->n--;
	memmove(&cs->list[i], &cs->list[i + 1], (cs->n - i) * sizeof(struct client *));
	blob_unref(c->blob);
	free(c);
}

/* @more: one that is about to come. */
static size_t count_of(const struct clients *cs, uint64_t owner, uint64_t more)
{
	size_t n = owner == more;

	for (size_t i = 0; i < cs->n; i++)
		n += cs->list[i]->owner == owner && !cs->list[i]->cut;
	return n;
}

/* Who waits goes before who is being answered, and of those who has been there for longer. */
static bool goes_before(const struct client *a, const struct client *b)
{
	if (!a->blob != !b->blob)
		return !a->blob;
	return a->since_ns < b->since_ns;
}

static struct client *find_victim(const struct clients *cs, uint64_t owner)
{
	struct client *victim = NULL;
	size_t most = 0;

	for (size_t i = 0; i < cs->n; i++) {
		struct client *c = cs->list[i];
		size_t n = c->cut ? 0 : count_of(cs, c->owner, owner);

		if (n > most ||
			(n && n == most && c->owner == owner && victim->owner != owner)) {
			most = n;
			victim = c;
		} else if (n && n == most && c->owner == victim->owner &&
			goes_before(c, victim)) {
			victim = c;
		}
	}
	return victim;
}

bool clients_make_room(struct clients *cs, uint64_t owner)
{
	if (cs->n < LIMIT_HTTP_CLIENTS)
		return true;
	struct client *victim = find_victim(cs, owner);

	if (victim)
		cut(cs, victim);
	return false;
}

/* Different ones that are being sent.  @ret_oldest: who is sent the one that was begun first. */
static size_t count_blobs(const struct clients *cs, const struct client **ret_oldest)
{
	const struct client *oldest = NULL;
	size_t n = 0;

	for (size_t i = 0; i < cs->n; i++) {
		const struct client *c = cs->list[i];
		bool is_first = c->blob && !c->cut;

		for (size_t k = 0; is_first && k < i; k++)
			is_first = cs->list[k]->blob != c->blob || cs->list[k]->cut;
		n += is_first;
		if (is_first &&
			(!oldest || c->blob->generation < oldest->blob->generation))
			oldest = c;
	}
	*ret_oldest = oldest;
	return n;
}

void clients_begin(
	struct clients *cs, struct client *c, struct blob *blob, int64_t now_ns)
{
	const struct client *oldest = NULL;

	blob_unref(c->blob);
	c->blob = blob_ref(blob);
	c->since_ns = now_ns;
	c->until_ns = now_ns + ANSWER_NS;
	while (count_blobs(cs, &oldest) > LIMIT_HTTP_RENDERINGS) {
		const struct blob *old = oldest->blob;

		for (size_t i = 0; i < cs->n; i++)
			if (cs->list[i]->blob == old && !cs->list[i]->cut)
				cut(cs, cs->list[i]);
	}
}

void clients_end(struct client *c, int64_t now_ns)
{
	blob_unref(TAKE_PTR(c->blob));
	c->since_ns = now_ns;
	if (!c->cut)
		c->until_ns = now_ns + NEXT_NS;
}

int64_t clients_expire(struct clients *cs, int64_t now_ns)
{
	int64_t next_ns = INT64_MAX;

	for (size_t i = 0; i < cs->n; i++) {
		struct client *c = cs->list[i];

		if (c->until_ns <= now_ns)
			cut(cs, c);
		next_ns = c->until_ns < next_ns ? c->until_ns : next_ns;
	}
	return next_ns;
}
