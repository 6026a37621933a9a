/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An action's command line with its tokens (formats: configuration file).
 *
 * CONNECT, ID, VMID and UUID have values that no shell can take for anything but text, and
 * are replaced as they are.  NAME may hold any character, so a command never contains it:
 * where the shell would read it as (part of) one word, the command gets a reference to the
 * environment variable VHOSTMD_NAME instead, with the quotes that keep it one word.
 * Everywhere else (in single quotes, in `...`, in a here-document, in what another
 * interpreter will parse) the name itself is put in, and only names without special
 * characters are accepted there.
 *
 * Compiled once for each configuration, immutable afterwards; any thread.
 */
#pragma once

#include <stdbool.h>

#include "core/snapshot.h"

struct action_template;
struct strbuf;

/*
 * @text: the action; @in_vm: replace the VM's tokens too; @uri: for CONNECT, NULL for
 * nothing, must satisfy action_uri_valid().
 */
struct action_template *action_template_new(
	const char *text, bool in_vm, const char *uri);
void action_template_free(struct action_template *t); /* NULL is accepted */

/*
 * Why the command must not be run for a VM of that name; NULL if it may.
 * Return: a static text for people.
 */
const char *action_template_refuses(const struct action_template *t, const char *name);

/* Appends the command for a VM (NULL for the host) that is not refused. */
void action_template_expand(
	const struct action_template *t, const struct vm_ident *vm, struct strbuf *out);

/* True if the URI holds only characters that are safe between single quotes. */
bool action_uri_valid(const char *uri);
