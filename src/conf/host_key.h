/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The key of the hashes that guests see in place of the host's name: a file of 16 bytes. */
#pragma once

#include <stdint.h>

#include "core/grants.h"

struct conf;
struct conf_report;
struct strbuf;

#define HOST_KEY_PATH "/var/lib/vhostmd/host-key"

/*
 * Gives the grants of a configuration their key, if they need one, before anybody else sees
 * them.  The file is made with a random key, mode 0600, with its directory, if there is none.
 * @before: the configuration in force, or NULL: its key is used on if it is of the same file,
 * which this process may not read (any more).  @file: the configuration's, for @report.
 * Return: 0 or -errno, after adding the error to @report; then what needs the key stays
 * closed.
 */
int host_key_take(struct conf *conf, const struct conf *before, const char *file,
	struct conf_report *report);

/*
 * Reads the key; makes no file.  Return: 0 or -errno, -ENOMSG if it is not of 16 bytes,
 * -EMEDIUMTYPE if it is no regular file.
 */
int host_key_read(const char *path, uint8_t ret[GRANTS_KEY_BYTES]);

/* Appends a line for people, if the grants need a key. */
void host_key_describe(const struct conf *conf, struct strbuf *out);
