/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the XML that an action of type "xml" prints.  Sizes are bounded by the caller.  Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/value.h"

struct strbuf;

struct output_metric {
	char *name;
	char *unit; /* NULL: none */
	char *text; /* the value's text, holds the memory of a string value */
	struct value value;
};

/*
 * Reads one or more complete <metric> elements, as an action of type "xml" prints them, or
 * a <metrics> document of them.
 * @context: "host" or "vm", which a metric's own context must equal if it names one;
 * @uuid: of the VM, which a metric's own must equal if it names one; NULL for the host.
 * Return: 0; -EINVAL with the reason appended to @why.  The caller frees with
 * output_metrics_free().
 */
int output_metrics_parse(const char *text, size_t len, const char *context,
	const char *uuid, struct output_metric **ret, size_t *ret_n, struct strbuf *why);
void output_metrics_free(struct output_metric *metrics, size_t n);
