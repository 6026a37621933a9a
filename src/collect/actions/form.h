/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The form of an action: whether a VM's name is nothing but data in it, whatever it holds.
 *
 * That is known only of what is listed here: a part of the shell's grammar (pipelines, lists,
 * if, assignments, $x, $(...), quotes), a number of commands, and for each of these which
 * arguments and whose output it may get that a name had a part in.  Everything else, a command
 * that is not in the list or a character that is not expected, makes the form unknown.  So
 * nothing has to be known of what executes its arguments or its input: it is not listed.
 *
 * Pure functions; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define FORM_MAX_DOMAINS 16

/* A NAME that is the domain in a command of virsh's. */
struct form_domain {
	size_t offset;
	bool by_id; /* the command takes no uuid for it */
};

struct form {
	bool echoed; /* the name is an argument of echo, which reads escapes */
	struct form_domain domains[FORM_MAX_DOMAINS];
	size_t n_domains;
};

/*
 * Reads an action of context vm.
 * Return: true if every NAME, and every $VHOSTMD_NAME, is data in it, with the rest in *@ret;
 * false if that is not known.
 */
bool form_read(const char *text, struct form *ret);

/* The domain that the NAME at this offset is; NULL: none. */
const struct form_domain *form_find_domain(const struct form *form, size_t offset);

/* A character of a shell's names: a letter of ASCII, a digit or '_'. */
bool form_is_word_char(char c);

/* @list: ends with NULL. */
bool form_in_list(const char *word, const char *const *list);

/* True if the word @token starts at @p of @text and is a whole word. */
bool form_token_at(const char *text, const char *p, const char *token);
