/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An action's command line with its tokens (formats: configuration file).
 *
 * CONNECT, ID, VMID and UUID have values that nobody can take for anything but text, and are
 * replaced as they are.  NAME may hold any character:
 *
 * - Where a command of virsh's has it as its domain, it is the name if that is plain and can
 *   be no id and no uuid, else the VM's uuid (for domuuid, which takes none, its id).
 * - Where the shell would read it as (part of) one word, it is a reference to the environment
 *   variable VHOSTMD_NAME with the quotes that keep it one word.
 * - Everywhere else (in single quotes, in `...`, in a here-document) the name itself is put in,
 *   if it is plain: letters, digits, '_', '.', '-', not one of the last two at its beginning.
 *
 * A name that is not plain, that may be an id or a uuid, or that is a command is only accepted
 * if all that gets it is known to take it for data (form.h), or the configuration says that
 * every name will do.  Where it would be executed it is accepted of no VM.
 *
 * Compiled once for each configuration, immutable afterwards; any thread.
 */
#pragma once

#include <stdbool.h>

#include "core/snapshot.h"

struct action_template;
struct strbuf;

struct action_text {
	const char *text;
	bool in_vm;    /* replace the VM's tokens too */
	bool any_name; /* the configuration takes every name */
	const char
		*uri; /* for CONNECT, NULL for nothing; must satisfy action_uri_valid() */
};

struct action_template *action_template_new(const struct action_text *action);
void action_template_free(struct action_template *t); /* NULL is accepted */

/*
 * Why the command must not be run for a VM of that name; NULL if it may.
 * @path: where commands are looked for.
 * Return: a static text for people.
 */
const char *action_template_refuses(
	const struct action_template *t, const char *name, const char *path);

/* Appends the command for a VM (NULL for the host) that is not refused. */
void action_template_expand(
	const struct action_template *t, const struct vm_ident *vm, struct strbuf *out);

/* True if the URI holds only characters that are safe between single quotes. */
bool action_uri_valid(const char *uri);
