/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The <grants> part of the configuration.  Here a mistake costs more than what it stands in:
 * it never lets a guest see more than was meant, so where that is not certain, nothing.
 */
#pragma once

#include <libxml/tree.h>

struct conf;
struct conf_reader;
struct strbuf;

/* Reads conf->grants and where their key is.  After all else of @root. */
void conf_read_grants(struct conf_reader *rd, xmlNode *root, struct conf *conf);

/* Appends what each set shows and who has it. */
void conf_describe_grants(const struct conf *conf, struct strbuf *out);
