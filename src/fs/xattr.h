/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes of metrics' files: user.vhostmd.type, .unit, .source and .device.
 * Pure; any thread.
 */
#pragma once

struct metric;
struct strbuf;

/* Appends the value of an attribute.  Return: 0; -ENODATA if the metric has none such. */
int xattr_get(const struct metric *metric, const char *name, struct strbuf *out);

/* Appends the names of those that the metric has, each with a NUL. */
void xattr_list(const struct metric *metric, struct strbuf *out);
