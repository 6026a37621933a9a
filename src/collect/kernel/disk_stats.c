/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/disk_stats.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/search.h"
#include "util/strbuf.h"

/* Devices that come and go while it is read may hide others; it is read again so many times. */
#define MAX_READS 4

/* What each line has had since Linux 2.6.25; discards and flushes came later. */
#define FIRST_FIGURES 11u

#define MAX_MAJOR 4095u
#define MAX_MINOR ((1u << 20) - 1)

#define SECTOR_BYTES 512u

/* A place among the lines by the device's number. */
struct place {
	uint64_t device;
	size_t line;
};

/* Those of one read. */
struct lines {
	struct disk_counters *at; /* in the file's order */
	size_t n, cap;
};

struct disk_stats {
	int root_fd;
	int fd; /* kept open; -1: not open */
	struct strbuf text;
	struct lines now, before;
	bool valid;           /* the last read went well */
	struct place *places; /* of now, sorted by device */
	size_t n_places, cap_places;
	uint32_t told;
};

struct disk_stats *disk_stats_new(int root_fd)
{
	struct disk_stats *ds = xcalloc(1, sizeof(*ds));

	ds->root_fd = root_fd;
	ds->fd = -1;
	return ds;
}

void disk_stats_free(struct disk_stats *ds)
{
	if (!ds)
		return;
	close_p(&ds->fd);
	strbuf_done(&ds->text);
	free(ds->now.at);
	free(ds->before.at);
	free(ds->places);
	free(ds);
}

/* ---- lines ---- */

enum number_kind { PLAIN, SECTORS, MILLISECONDS, MOMENT };

static const enum number_kind kinds[] = {
	PLAIN, PLAIN, SECTORS, MILLISECONDS, /* reads */
	PLAIN, PLAIN, SECTORS, MILLISECONDS, /* writes */
	MOMENT, MILLISECONDS, MILLISECONDS,  /* under way, busy, queue */
	PLAIN, PLAIN, SECTORS, MILLISECONDS, /* discards */
	PLAIN, MILLISECONDS,                 /* flushes */
};
static_assert(ARRAY_LEN(kinds) == HOSTDISK_FIGURES, "a kind for each figure");

#define FIGURE(key) (VM_HOSTDISK_##key - VM_HOSTDISK_RD_REQS)
static_assert(FIGURE(INFLIGHT) == 8 && FIGURE(FL_TIMES) == 16, "in the file's order");

int disk_device_parse(const char **pos, uint64_t *ret)
{
	const char *p = *pos;
	uint64_t major = 0, minor = 0;

	if (parse_u64_at(&p, &major) < 0 || major > MAX_MAJOR || *p++ != ':' ||
		parse_u64_at(&p, &minor) < 0 || minor > MAX_MINOR)
		return -EINVAL;
	*pos = p;
	*ret = DISK_DEVICE(major, minor);
	return 0;
}

/* Moves behind blanks, at least one.  Return: false if there is none. */
static bool skip_blanks(const char **pos)
{
	size_t n = strspn(*pos, " ");

	*pos += n;
	return n > 0;
}

/* "   8       0 sda 1 2 3": up to the name. */
static bool take_head(const char **pos, struct disk_counters *ret)
{
	uint64_t major = 0, minor = 0;

	*pos += strspn(*pos, " ");
	if (parse_u64_at(pos, &major) < 0 || major > MAX_MAJOR || !skip_blanks(pos) ||
		parse_u64_at(pos, &minor) < 0 || minor > MAX_MINOR || !skip_blanks(pos))
		return false;
	size_t n = strcspn(*pos, " \n");

	if (!n || n >= sizeof(ret->node) || !utf8_valid(*pos, n))
		return false;
	ret->device = DISK_DEVICE(major, minor);
	memcpy(ret->node, *pos, n);
	ret->node[n] = '\0';
	*pos += n;
	return true;
}

/* Its numbers as they stand there; what newer kernels write behind them is not ours. */
static bool take_numbers(const char *p, uint64_t *raw, size_t *ret_n)
{
	size_t n = 0;

	while (n < HOSTDISK_FIGURES && skip_blanks(&p) && *p != '\n') {
		if (parse_u64_at(&p, &raw[n]) < 0 || (*p != ' ' && *p != '\n'))
			return false;
		n++;
	}
	*ret_n = n;
	return n >= FIRST_FIGURES;
}

static void set_figure(
	struct disk_counters *c, size_t i, uint64_t number, uint64_t factor)
{
	if (number > UINT64_MAX / factor)
		return;
	c->figures[i] = number * factor;
	c->known |= UINT32_C(1) << i;
}

/* @before: of the same device, NULL: not known. */
static void set_time(struct disk_counters *c, size_t i, uint64_t raw,
	const struct disk_counters *before)
{
	bool known = before && before->known >> i & 1;
	uint64_t last = known ? before->figures[i] / (uint64_t)NS_PER_MS : 0, whole = raw;

	if (raw <= UINT32_MAX && last) {
		whole = (last & ~(uint64_t)UINT32_MAX) | raw;
		/* less, and not a little: it has begun again */
		if (whole < last && last - whole > UINT32_MAX / 2)
			whole += UINT64_C(1) << 32;
	}
	set_figure(c, i, whole, NS_PER_MS);
}

/* Another device has got the number of one that went, for no device completes fewer requests. */
static bool is_other(const uint64_t *raw, const struct disk_counters *before)
{
	return raw[FIGURE(RD_REQS)] < before->figures[FIGURE(RD_REQS)] ||
		raw[FIGURE(WR_REQS)] < before->figures[FIGURE(WR_REQS)];
}

static void set_figures(struct disk_counters *c, const uint64_t *raw, size_t n,
	const struct disk_counters *before)
{
	if (before && is_other(raw, before))
		before = NULL;
	for (size_t i = 0; i < n; i++)
		switch (kinds[i]) {
		case PLAIN:
			set_figure(c, i, raw[i], 1);
			break;
		case SECTORS:
			set_figure(c, i, raw[i], SECTOR_BYTES);
			break;
		case MILLISECONDS:
			set_time(c, i, raw[i], before);
			break;
		case MOMENT:
			/* older kernels counted below zero at times */
			if (raw[i] <= INT32_MAX)
				set_figure(c, i, raw[i], 1);
			break;
		}
}

/* ---- a read ---- */

static uint64_t place_device(const void *places, size_t i)
{
	const struct place *at = places;

	return at[i].device;
}

static const struct disk_counters *find_in(
	const struct disk_stats *ds, const struct lines *lines, uint64_t device)
{
	size_t i = search_key(ds->places, ds->n_places, place_device, device);

	return i < ds->n_places && ds->places[i].device == device
		? &lines->at[ds->places[i].line]
		: NULL;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* Of a device that is told of twice the first line counts. */
static void set_places(struct disk_stats *ds)
{
	ds->n_places = 0;
	for (size_t i = 0; i < ds->now.n; i++) {
		ds->places = xgrow(
			ds->places, ds->n_places, &ds->cap_places, sizeof(*ds->places));
		ds->places[ds->n_places++] = (struct place){ ds->now.at[i].device, i };
	}
	if (ds->n_places)
		qsort(ds->places, ds->n_places, sizeof(*ds->places), compare_places);
	size_t n = 0;

	for (size_t i = 0; i < ds->n_places; i++)
		if (!n || ds->places[n - 1].device != ds->places[i].device)
			ds->places[n++] = ds->places[i];
	ds->n_places = n;
}

/* Those before are in ds->before, and places are theirs. */
static void add_line(struct disk_stats *ds, const char *p)
{
	struct lines *now = &ds->now;
	uint64_t raw[HOSTDISK_FIGURES];
	size_t n = 0;

	now->at = xgrow(now->at, now->n, &now->cap, sizeof(*now->at));
	struct disk_counters *c = &now->at[now->n];

	*c = (struct disk_counters){ 0 };
	if (!take_head(&p, c) || !take_numbers(p, raw, &n))
		return;
	const struct disk_counters *before =
		now->n < ds->before.n && ds->before.at[now->n].device == c->device
		? &ds->before.at[now->n]
		: find_in(ds, &ds->before, c->device);

	set_figures(c, raw, n, before && !strcmp(before->node, c->node) ? before : NULL);
	ds->told |= (UINT32_C(1) << n) - 1;
	now->n++;
}

static bool same_devices(const struct lines *a, const struct lines *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; same && i < a->n; i++)
		same = a->at[i].device == b->at[i].device;
	return same;
}

bool disk_stats_parse(struct disk_stats *ds, const char *text)
{
	struct lines before = ds->before;

	ds->before = ds->now;
	ds->now = before;
	ds->now.n = 0;
	ds->told = 0;
	for (const char *p = text; strchr(p, '\n'); p = proc_next_line(p))
		if (ds->now.n < LIMIT_BLOCK_DEVICES)
			add_line(ds, p);
	ds->valid = true;
	if (same_devices(&ds->now, &ds->before))
		return false;
	set_places(ds);
	return true;
}

static int read_once(struct disk_stats *ds, bool *ret_changed)
{
	if (ds->fd < 0)
		ds->fd = open_at(ds->root_fd, "proc/diskstats", O_RDONLY);
	if (ds->fd < 0 || lseek(ds->fd, 0, SEEK_SET) < 0)
		return -errno;
	int r = read_all(ds->fd, LIMIT_PROC_FILE_BYTES, &ds->text);

	if (r == 0)
		*ret_changed = disk_stats_parse(ds, strbuf_str(&ds->text));
	return r;
}

int disk_stats_read(struct disk_stats *ds)
{
	bool changed = true;
	int r = 0;

	for (int i = 0; i < MAX_READS && r == 0 && changed; i++)
		r = read_once(ds, &changed);
	if (r < 0) {
		ds->valid = false;
		close_p(&ds->fd);
		ds->fd = -1;
	}
	return r;
}

const struct disk_counters *disk_stats_find(const struct disk_stats *ds, uint64_t device)
{
	return ds->valid ? find_in(ds, &ds->now, device) : NULL;
}

const struct disk_counters *disk_stats_all(const struct disk_stats *ds, size_t *ret_n)
{
	*ret_n = ds->valid ? ds->now.n : 0;
	return ds->now.at;
}

uint32_t disk_stats_told(const struct disk_stats *ds)
{
	return ds->told;
}
