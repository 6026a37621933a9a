/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `vhostmdctl top --batch` prints: CSV (RFC 4180), or JSON, an object a line.  Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct strbuf;
struct top_model;
struct top_vm;

/* When it was, and of whom. */
struct top_record {
	const struct top_model *model;
	const struct top_vm *const *vms;
	size_t n;
	int64_t mono_ns, real_ns; /* now, by both clocks */
};

void top_csv_add_header(struct strbuf *out);
void top_csv_add(const struct top_record *record, struct strbuf *out);

/* With the host, vCPUs, disks and interfaces; null: not known. */
void top_json_add(const struct top_record *record, struct strbuf *out);
