/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a command lacks because it does not run as root: foretold from its text, recognised in
 * what it says when it runs; and the virsh that needs less.  No state; any thread.
 */
#pragma once

struct strbuf;
struct user;

struct right {
	const char *sign;   /* what a command says that lacks it */
	const char *lacks;  /* for people, without a period */
	const char *remedy; /* what the administrator can do */
};

/* The right whose lack a command's standard error tells of; NULL: it tells of none. */
const struct right *rights_complaint(const char *err);

/*
 * The directory to stand in front of that user's PATH, whose virsh adds --readonly; the
 * caller frees.  NULL if there is none that he may use.
 */
char *rights_virsh_dir(const struct user *user);

/*
 * Foretells what the action @text lacks when @user runs it with that PATH, as far as its text
 * and this host's files show.  Appends one line for each, without a line's end in the last;
 * nothing if nothing is known to be missing.
 */
void rights_foretell(
	const char *text, const struct user *user, const char *path, struct strbuf *out);
