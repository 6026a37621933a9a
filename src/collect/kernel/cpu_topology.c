/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/cpu_topology.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* A file below cpu<N>/topology, and the characters of which nothing can be told. */
struct source {
	const char *file, *blank;
};

/*
 * CPUs of one core have the same siblings.  The names of Linux 5.3 first; lists are shorter
 * than masks.
 */
static const struct source core_sources[] = {
	{ "core_cpus_list", "\n" },
	{ "thread_siblings_list", "\n" },
	{ "core_cpus", "0,\n" },
	{ "thread_siblings", "0,\n" },
};

/* The id comes last: on IBM Z it counts within a book, on a POWER LPAR it is -1. */
static const struct source socket_sources[] = {
	{ "package_cpus_list", "\n" },
	{ "core_siblings_list", "\n" },
	{ "package_cpus", "0,\n" },
	{ "core_siblings", "0,\n" },
	{ "physical_package_id", "\n" },
};

/* Ids that, all together, name a core where there are no siblings. */
static const char *const core_ids[] = { "drawer_id", "book_id", "physical_package_id",
	"die_id", "cluster_id", "core_id" };

struct counter {
	int root_fd;
	struct strbuf text;
	uint64_t *cores, *sockets; /* hashes of what names each CPU's */
	size_t n;
};

static bool read_topology(struct counter *c, unsigned cpu, const char *file)
{
	char path[96];

	snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%u/topology/%s", cpu,
		file);
	return read_file_at(c->root_fd, path, LIMIT_SYSFS_FILE_BYTES, &c->text) == 0;
}

/* Hashes the first of @sources that says something, and which one it is. */
static bool hash_siblings(struct counter *c, unsigned cpu, const struct source *sources,
	size_t n, uint64_t *ret)
{
	for (size_t i = 0; i < n; i++) {
		if (!read_topology(c, cpu, sources[i].file) ||
			strspn(strbuf_str(&c->text), sources[i].blank) == c->text.len)
			continue;
		strbuf_adds(&c->text, sources[i].file);
		*ret = siphash24(c->text.data, c->text.len);
		return true;
	}
	return false;
}

/* Without a core id each CPU is a core. */
static uint64_t hash_ids(struct counter *c, unsigned cpu)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
	bool have = false;

	for (size_t i = 0; i < ARRAY_LEN(core_ids); i++) {
		have = read_topology(c, cpu, core_ids[i]) && c->text.data[0] != '-';
		strbuf_addf(&all, "%s ", have ? strbuf_str(&c->text) : "");
	}
	if (!have)
		strbuf_addf(&all, "cpu%u", cpu);
	return siphash24(all.data, all.len);
}

static void add_cpu(struct counter *c, unsigned cpu)
{
	uint64_t *core = &c->cores[c->n], *socket = &c->sockets[c->n];

	c->n++;
	if (!hash_siblings(c, cpu, core_sources, ARRAY_LEN(core_sources), core))
		*core = hash_ids(c, cpu);
	/* those of which nothing is known are in one */
	if (!hash_siblings(c, cpu, socket_sources, ARRAY_LEN(socket_sources), socket))
		*socket = 0;
}

static void add_list(struct counter *c, const char *p)
{
	uint64_t first = 0, last = 0;

	while (parse_u64_at(&p, &first) == 0) {
		last = first;
		if (*p == '-' && (p++, parse_u64_at(&p, &last) < 0))
			return;
		for (; first <= last && first < LIMIT_CPUS && c->n < LIMIT_CPUS; first++)
			add_cpu(c, (unsigned)first);
		if (*p++ != ',')
			return;
	}
}

static int compare_hashes(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static size_t count_distinct(uint64_t *hashes, size_t n)
{
	size_t distinct = 0;

	qsort(hashes, n, sizeof(*hashes), compare_hashes);
	for (size_t i = 0; i < n; i++)
		distinct += !i || hashes[i] != hashes[i - 1];
	return distinct;
}

void cpu_topology_count(int root_fd, const char *online, struct cpu_counts *ret)
{
	_cleanup_free_ uint64_t *cores = xcalloc(LIMIT_CPUS, sizeof(*cores));
	_cleanup_free_ uint64_t *sockets = xcalloc(LIMIT_CPUS, sizeof(*sockets));
	struct counter c = { .root_fd = root_fd, .cores = cores, .sockets = sockets };

	add_list(&c, online);
	strbuf_done(&c.text);
	*ret = (struct cpu_counts){ .cpus = c.n,
		.cores = count_distinct(cores, c.n),
		.sockets = count_distinct(sockets, c.n) };
}
