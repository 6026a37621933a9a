/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration file (formats: configuration file; vhostmd.conf(5)).  Reads the
 * existing grammar and the additions; finds all mistakes in one go.  Never fetches a DTD or
 * an entity.  One thread at a time; the result is immutable and reference-counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct grants;
struct spec_set;
struct strbuf;

enum conf_transport {
	TRANSPORT_VBD = 1 << 0,
	TRANSPORT_VIRTIO = 1 << 1,
	TRANSPORT_XENSTORE = 1 << 2,
};

struct conf {
	_Atomic unsigned refs;
	uint64_t hash;       /* of its text */
	unsigned mistakes;   /* in it, and it is without what they stand in */
	unsigned transports; /* of enum conf_transport */
	int64_t period_ns;
	int64_t slow_period_ns; /* of what needs VMs' monitors; at least period_ns */
	int64_t balloon_period_ns; /* of what guests say of their memory; at least slow_period_ns */

	char *disk_path;          /* NULL: no shared disk */
	uint64_t disk_size_bytes; /* a multiple of DISK_BLOCK_BYTES */
	mode_t disk_mode;         /* 0: disk_access.h decides */
	bool has_disk_gid;        /* if not, the same */
	gid_t disk_gid;

	unsigned max_channels;
	unsigned max_requests; /* a second, of one channel */
	int64_t expiration_ns;

	char *action_path; /* PATH of actions */
	char *action_user; /* NULL: the daemon's own, or nobody if that is root */
	int64_t action_timeout_ns;
	unsigned action_max_parallel;

	mode_t file_mode;
	gid_t file_gid;

	struct spec_set *specs;

	struct grants *grants; /* NULL: every guest sees all of the host */
	char *host_key_path;   /* of grants (host_key.h); NULL: none, or a mistake */
	unsigned host_key_line;
};

/*
 * What is wrong with a file, one a line: "FILE:LINE: error: TEXT" or "... warning: ...".
 * A mistake costs what it stands in, a metric or a setting, and nothing else; so it is an
 * error to who checks a file, and a warning to who runs with the rest.  An error to both is
 * what leaves nothing to run with.  There is no LINE where the file cannot be read.
 */
struct conf_report {
	struct strbuf *text; /* lines are appended */
	bool tolerant;       /* mistakes are warnings, with what becomes of each */
	/* at a reload: whose settings stay where the file's cannot be used; NULL: defaults */
	const struct conf *in_force;
	unsigned errors;   /* mistakes, however they are called */
	unsigned warnings; /* others */
};

/*
 * Reads a file.
 * Return: 0, the configuration with one reference in *@ret, without what the mistakes in
 * @report stand in; -EINVAL if that leaves no configuration, or -errno if the file cannot
 * be read, -EMEDIUMTYPE if it is no regular file; all are in @report, too.
 */
int conf_load(const char *file, struct conf_report *report, struct conf **ret);

/* True if that is what stands in @file now. */
bool conf_is_of(const struct conf *conf, const char *file);

/* The same for text in memory; @file is only a name. */
int conf_parse(const char *text, size_t len, const char *file, struct conf_report *report,
	struct conf **ret);

struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf); /* NULL is accepted */

/* True if the configuration asks for the shared disk. */
bool conf_has_shared_disk(const struct conf *conf);

/* Appends a description for people: what a daemon with this file would do. */
void conf_describe(const struct conf *conf, struct strbuf *out);
