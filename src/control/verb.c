/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/verb.h"

#include <assert.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

#define NAME "vhostmd"
#define PROTOCOL "1"

static const struct {
	const char *name;
	enum control_right needs;
} verbs[] = {
	[CONTROL_VERSION] = { "version", RIGHT_ANYBODY },
	[CONTROL_STATUS] = { "status", RIGHT_READER },
	[CONTROL_RELOAD] = { "reload", RIGHT_GROUP },
	[CONTROL_UPGRADE] = { "upgrade", RIGHT_GROUP },
};
static_assert(ARRAY_LEN(verbs) == CONTROL_VERBS, "a line for each verb");

const char *verb_name(enum control_verb verb)
{
	return verbs[verb].name;
}

enum control_right verb_needs(enum control_verb verb)
{
	return verbs[verb].needs;
}

/* Takes the next word from *@at, and the space behind it.  Return: its length; it may be 0. */
static size_t next_word(const char **at, const char *end, const char **ret_word)
{
	const char *word = *at;
	const char *space = word < end ? memchr(word, ' ', (size_t)(end - word)) : NULL;

	*ret_word = word;
	*at = space ? space + 1 : end;
	return (size_t)((space ? space : end) - word);
}

static bool is_word(const char *word, size_t len, const char *text)
{
	return len == strlen(text) && !memcmp(word, text, len);
}

bool verb_parse(const char *line, size_t len, enum control_verb *ret, struct strbuf *why)
{
	const char *at = line, *end = line + len, *word = NULL;
	size_t n = next_word(&at, end, &word);

	if (!is_word(word, n, NAME)) {
		strbuf_adds(why, "malformed a request is \"" NAME " " PROTOCOL " VERB\"");
		return false;
	}
	n = next_word(&at, end, &word);
	if (!is_word(word, n, PROTOCOL)) {
		strbuf_adds(why, "protocol version " PROTOCOL " is spoken here");
		return false;
	}
	n = next_word(&at, end, &word);
	for (int i = 0; i < CONTROL_VERBS; i++) {
		if (!is_word(word, n, verbs[i].name))
			continue;
		if (word + n != end) {
			strbuf_addf(why, "malformed %s takes no argument", verbs[i].name);
			return false;
		}
		*ret = (enum control_verb)i;
		return true;
	}
	strbuf_adds(why, "unknown there are the verbs");
	for (int i = 0; i < CONTROL_VERBS; i++)
		strbuf_addf(why, " %s", verbs[i].name);
	return false;
}

static bool is_in(const struct peer *peer, gid_t gid)
{
	for (size_t i = 0; i < peer->n_gids; i++)
		if (peer->gids[i] == gid)
			return true;
	return false;
}

enum control_right right_of(const struct peer *peer, const struct control_policy *policy)
{
	if (peer->uid == 0)
		return RIGHT_ROOT;
	if (policy->has_group && is_in(peer, policy->group))
		return RIGHT_GROUP;
	if (policy->everybody || (policy->has_readers && is_in(peer, policy->readers)))
		return RIGHT_READER;
	return RIGHT_ANYBODY;
}
