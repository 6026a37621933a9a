/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fs/names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/hash.h"
#include "util/lock.h"
#include "util/mem.h"
#include "util/sync.h"

#define N_BUCKETS 1024u

struct name {
	struct name *next;           /* in the order of adding */
	struct name *next_in_bucket; /* those that came first stand first */
	uint64_t hash, parent;
	char *text;
};

struct names {
	struct lock lock; /* guards all below */
	pthread_cond_t wake;
	struct name *first, **end;
	struct name *buckets[N_BUCKETS];
	size_t n;
	bool closed;
};

struct names *names_new(void)
{
	struct names *names = xcalloc(1, sizeof(*names));

	lock_init(&names->lock);
	cond_init_monotonic(&names->wake);
	names->end = &names->first;
	return names;
}

/* Return: its text. */
static char *take_locked(struct names *names, uint64_t *ret_parent)
{
	assert_locked(&names->lock);
	struct name *name = names->first, **at;
	char *text = name->text;

	*ret_parent = name->parent;
	for (at = &names->buckets[name->hash % N_BUCKETS]; *at != name;)
		at = &(*at)->next_in_bucket;
	*at = name->next_in_bucket;
	names->first = name->next;
	if (!names->first)
		names->end = &names->first;
	names->n--;
	free(name);
	return text;
}

void names_free(struct names *names)
{
	uint64_t parent;

	if (!names)
		return;
	lock_take(&names->lock);
	while (names->first)
		free(take_locked(names, &parent));
	lock_release(&names->lock);
	pthread_cond_destroy(&names->wake);
	lock_done(&names->lock);
	free(names);
}

/* Return: whether it is new, and there is room for it. */
static bool add_locked(struct names *names, uint64_t parent, char *text)
{
	assert_locked(&names->lock);
	uint64_t hash = siphash24(text, strlen(text)) ^ parent;
	struct name **at = &names->buckets[hash % N_BUCKETS];

	for (; *at; at = &(*at)->next_in_bucket)
		if ((*at)->parent == parent && !strcmp((*at)->text, text))
			return false;
	if (names->n == NAMES_MAX)
		return false;
	*at = xcalloc(1, sizeof(**at));
	**at = (struct name){ .hash = hash, .parent = parent, .text = text };
	*names->end = *at;
	names->end = &(*at)->next;
	names->n++;
	return true;
}

void names_add(struct names *names, uint64_t parent, char *name)
{
	lock_take(&names->lock);
	bool added = add_locked(names, parent, name);

	if (added)
		pthread_cond_signal(&names->wake);
	lock_release(&names->lock);
	if (!added)
		free(name);
}

char *names_take(struct names *names, uint64_t *ret_parent)
{
	char *text = NULL;

	lock_take(&names->lock);
	while (!names->first && !names->closed)
		lock_wait(&names->lock, &names->wake, INT64_MAX);
	if (!names->closed)
		text = take_locked(names, ret_parent);
	lock_release(&names->lock);
	return text;
}

void names_close(struct names *names)
{
	lock_take(&names->lock);
	names->closed = true;
	pthread_cond_broadcast(&names->wake);
	lock_release(&names->lock);
}

size_t names_count(struct names *names)
{
	lock_take(&names->lock);
	size_t n = names->n;

	lock_release(&names->lock);
	return n;
}
