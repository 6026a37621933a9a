/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Labels and texts as Prometheus reads them.  Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strbuf;

/* @quoted: it stands in quotes. */
void prom_add_escaped(const char *text, size_t len, bool quoted, struct strbuf *out);

/* @separator: in front of it; ',' afterwards. */
void prom_add_label(const char *name, const char *value, size_t len, char *separator,
	struct strbuf *out);
