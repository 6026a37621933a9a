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
	bool takes_level; /* which needs RIGHT_GROUP */
} verbs[] = {
	[CONTROL_VERSION] = { "version", RIGHT_ANYBODY, false },
	[CONTROL_STATUS] = { "status", RIGHT_READER, false },
	[CONTROL_BLAME] = { "blame", RIGHT_READER, false },
	[CONTROL_RELOAD] = { "reload", RIGHT_GROUP, false },
	[CONTROL_UPGRADE] = { "upgrade", RIGHT_GROUP, false },
	[CONTROL_LOG] = { "log", RIGHT_READER, true },
};
static_assert(ARRAY_LEN(verbs) == CONTROL_VERBS, "a line for each verb");

const char *verb_name(enum control_verb verb)
{
	return verbs[verb].name;
}

enum control_right verb_needs(const struct control_request *request)
{
	return request->has_level ? RIGHT_GROUP : verbs[request->verb].needs;
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

/* What is behind a verb, if anything is.  @at: behind the space. */
static bool take_argument(const char *at, const char *end,
	struct control_request *request, struct strbuf *why)
{
	const char *name = verbs[request->verb].name;

	if (!verbs[request->verb].takes_level) {
		strbuf_addf(why, "malformed %s takes no argument", name);
		return false;
	}
	request->has_level = log_level_find(at, (size_t)(end - at), &request->level);
	if (!request->has_level)
		strbuf_addf(
			why, "malformed %s takes error, warning, info or debug", name);
	return request->has_level;
}

bool verb_parse(
	const char *line, size_t len, struct control_request *ret, struct strbuf *why)
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
		struct control_request request = { .verb = (enum control_verb)i };

		if (word + n != end && !take_argument(at, end, &request, why))
			return false;
		*ret = request;
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
