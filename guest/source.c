/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "channel.h"
#include "disk.h"
#include "document.h"
#include "failure.h"
#include "finder.h"
#include "port.h"
#include "system.h"
#include "util/cleanup.h"
#include "util/clock.h"

#define EXPORT __attribute__((visibility("default")))

#define TIMEOUT_DEFAULT_MS 10000u
#define STOPPED_NS (15 * NS_PER_S) /* three of a host's usual periods */
#define STOPPED_PERIODS 3

enum mode { MODE_AUTO, MODE_DISK, MODE_CHANNEL, MODE_PATH };

/*
 * Theory of operation.  What was found is remembered: an open disk or, while there is none, the
 * path of a channel.  It is read again at the next call; when that fails it is forgotten, and all
 * is looked for anew, disks first.  `last` is the newest document of whatever place: the same
 * bytes are not parsed again.
 */
struct vhostmd_source {
	enum mode mode;
	unsigned timeout_ms;
	struct buf root; /* "" */
	struct buf path; /* what was asked for, MODE_PATH */
	struct buf tried;

	struct identity own;
	bool has_own; /* the firmware was asked, or the caller said so */

	struct disk disk;      /* remembered if open, */
	struct buf disk_path;  /* and where */
	struct buf channel;    /* remembered if not empty */
	bool channel_is_known; /* what lay in it is gone */

	struct document *last; /* NULL: nothing was read yet */
	int64_t last_ns;       /* system_boot_ns() since when it is so */
	int64_t longest_ns;    /* the longest that a document lasted */
	bool moved;            /* there was one before the last */
};

EXPORT void vhostmd_close(struct vhostmd_source *s)
{
	if (!s)
		return;
	disk_close(&s->disk);
	document_unref(s->last);
	buf_done(&s->root);
	buf_done(&s->path);
	buf_done(&s->tried);
	buf_done(&s->disk_path);
	buf_done(&s->channel);
	free(s);
}

static int mode_of(const char *where, enum mode *ret)
{
	if (!where || !strcmp(where, "auto"))
		*ret = MODE_AUTO;
	else if (!strcmp(where, "disk"))
		*ret = MODE_DISK;
	else if (!strcmp(where, "channel"))
		*ret = MODE_CHANNEL;
	else if (system_is_path(where))
		*ret = MODE_PATH;
	else
		return VHOSTMD_ERR_INVALID;
	return 0;
}

int source_open_below(const char *root, const char *where, struct vhostmd_source **ret)
{
	enum mode mode;

	if (!ret || mode_of(where, &mode) < 0)
		return VHOSTMD_ERR_INVALID;
	struct vhostmd_source *s = calloc(1, sizeof(*s));

	if (!s)
		return VHOSTMD_ERR_MEMORY;
	s->mode = mode;
	s->timeout_ms = TIMEOUT_DEFAULT_MS;
	s->disk = DISK_CLOSED;
	buf_adds(&s->root, root);
	buf_adds(&s->path, where ? where : "");
	if (s->root.failed || s->path.failed) {
		vhostmd_close(s);
		return VHOSTMD_ERR_MEMORY;
	}
	*ret = s;
	return 0;
}

EXPORT int vhostmd_open(const char *where, struct vhostmd_source **ret)
{
	_cleanup_buf_ struct buf room = BUF_INIT;

	if (!where)
		where = system_getenv("VHOSTMD_SOURCE", &room);
	return room.failed ? VHOSTMD_ERR_MEMORY : source_open_below("", where, ret);
}

EXPORT int vhostmd_set_timeout(struct vhostmd_source *s, unsigned timeout_ms)
{
	if (!s || !timeout_ms)
		return VHOSTMD_ERR_INVALID;
	s->timeout_ms = timeout_ms;
	return 0;
}

EXPORT int vhostmd_set_uuid(struct vhostmd_source *s, const char *uuid)
{
	struct identity own = { .n = 1 };

	if (!s || (uuid && uuid_parse(uuid, &own.uuids[0]) < 0))
		return VHOSTMD_ERR_INVALID;
	s->own = own;
	s->has_own = uuid != NULL;
	/* it was understood as another's */
	document_unref(s->last);
	s->last = NULL;
	return 0;
}

EXPORT const char *vhostmd_tried(const struct vhostmd_source *s)
{
	return s ? buf_str(&s->tried) : "";
}

/* ---- documents ---- */

/* Makes a document of what was read, or takes the last one if that is the same. */
static int understand(
	struct vhostmd_source *s, struct buf *xml, bool is_own, struct document **ret)
{
	if (!s->has_own) {
		finder_identity(buf_str(&s->root), &s->own);
		s->has_own = true;
	}
	if (s->last && s->last->xml.len == xml->len &&
		!memcmp(s->last->xml.data, xml->data, xml->len)) {
		*ret = document_ref(s->last);
		return 0;
	}
	return document_new(xml, &s->own, is_own, s->last, ret);
}

static bool number_of(const struct document *d, const char *name, uint64_t *ret)
{
	const struct vhostmd_metric *m = document_find(d, METRIC_CONTEXT_VM, name);

	return m && vhostmd_metric_u64(m, ret) == 0;
}

/* True if the same run of this VM was at a later generation already. */
static bool is_older(const struct document *d, const struct document *last)
{
	uint64_t session, last_session, generation, last_generation;

	return last && number_of(d, "domain.session", &session) &&
		number_of(last, "domain.session", &last_session) &&
		number_of(d, "sample.generation", &generation) &&
		number_of(last, "sample.generation", &last_generation) &&
		session == last_session && generation < last_generation;
}

/* Makes @d the last document; the reference moves. */
static void remember(struct vhostmd_source *s, struct document *d, int64_t now)
{
	if (s->last != d) {
		if (s->last) {
			s->moved = true;
			if (now - s->last_ns > s->longest_ns)
				s->longest_ns = now - s->last_ns;
		}
		s->last_ns = now;
	}
	document_unref(s->last);
	s->last = d;
}

/* ---- places ---- */

static int read_disk(
	struct vhostmd_source *s, struct disk *d, int64_t deadline, struct document **ret)
{
	_cleanup_buf_ struct buf xml = BUF_INIT;
	int r = disk_read(d, s->last ? &s->last->xml : NULL, deadline, &xml);

	if (r == 1) {
		*ret = document_ref(s->last);
		return 0;
	}
	return r < 0 ? r : understand(s, &xml, false, ret);
}

static int read_channel(struct vhostmd_source *s, const char *path, int64_t deadline,
	struct document **ret)
{
	_cleanup_document_ struct document *d = NULL;
	bool settle = !s->channel_is_known;

	for (int tries = 0; tries < 2; tries++) {
		_cleanup_buf_ struct buf xml = BUF_INIT;
		int r = channel_read(path, settle, deadline, &xml, &s->tried);

		document_unref_p(&d);
		d = NULL;
		if (r == 0) {
			r = understand(s, &xml, true, &d);
			if (r < 0)
				failure_note(&s->tried, path, r);
		}
		s->channel_is_known = r == 0;
		if (r < 0)
			return r;
		if (!is_older(d, s->last))
			break;
		settle =
			true; /* it was meant for somebody else, or the host began anew */
	}
	*ret = TAKE_PTR(d);
	return 0;
}

/* There may be a better one. */
static bool is_poor(const struct document *d)
{
	return d->is_anonymous || d->is_malformed;
}

/* A search for disks. */
struct search {
	struct vhostmd_source *s;
	int64_t deadline;
	struct document *document; /* NULL: none was found yet */
	int error;                 /* the most telling one */
};

/* Which of two failures says more of what is wrong: that there is nothing says least. */
static int worse(int a, int b)
{
	static const int little[] = { 0, VHOSTMD_ERR_NO_SOURCE, VHOSTMD_ERR_NOT_A_DISK };

	if (b == VHOSTMD_ERR_MEMORY)
		return b;
	for (size_t i = 0; i < ARRAY_LEN(little); i++) {
		if (a == little[i])
			return b ? b : a;
		if (b == little[i])
			return a;
	}
	return a;
}

static void set_path(struct buf *at, const char *path)
{
	buf_clear(at);
	buf_adds(at, path);
}

/*
 * Reads a disk that may hold metrics.  One whose VMs are all others' is taken if there is no
 * better one.
 */
static bool try_disk(const char *path, void *data)
{
	struct search *search = data;
	struct vhostmd_source *s = search->s;
	_cleanup_(disk_close) struct disk d = DISK_CLOSED;
	_cleanup_document_ struct document *document = NULL;
	int r = disk_open(path, &d, &s->tried);

	if (r == 0) {
		r = disk_probe(&d);
		if (r == 0)
			r = read_disk(s, &d, search->deadline, &document);
		if (r < 0)
			failure_note(&s->tried, path, r);
	}
	if (r < 0) {
		search->error = worse(search->error, r);
		return false;
	}
	if (!search->document || !is_poor(document)) {
		document_unref(search->document);
		search->document = TAKE_PTR(document);
		disk_close(&s->disk);
		s->disk = TAKE_VALUE(d, DISK_CLOSED);
		set_path(&s->disk_path, path);
		if (s->disk_path.failed) {
			disk_close(&s->disk);
			document_unref(search->document);
			search->document = NULL;
			search->error = VHOSTMD_ERR_MEMORY;
			return true;
		}
	}
	return !is_poor(search->document);
}

static int find_disk(struct vhostmd_source *s, int64_t deadline, struct document **ret)
{
	struct search search = { .s = s, .deadline = deadline };

	int r = finder_disks(buf_str(&s->root), try_disk, &search);

	if (r == 0)
		search.error = failure_note(&s->tried, "block devices of at most 256 MiB",
			VHOSTMD_ERR_NOT_A_DISK);
	if (!search.document)
		return r < 0 ? r : search.error;
	*ret = search.document;
	return 0;
}

static int find_channel(struct vhostmd_source *s, int64_t deadline, struct document **ret)
{
	char path[512];
	int r = finder_channel(buf_str(&s->root), path, sizeof(path));

	buf_clear(&s->channel);
	if (r < 0)
		return failure_note(&s->tried, "virtio-serial port", r);
	set_path(&s->channel, path);
	r = s->channel.failed ? VHOSTMD_ERR_MEMORY : read_channel(s, path, deadline, ret);
	if (r < 0)
		buf_clear(&s->channel);
	return r;
}

/* The same where a disk is there that does not know this VM: the channel does. */
static int find_own_channel(
	struct vhostmd_source *s, int64_t deadline, struct document **ret)
{
	struct document *d = NULL;
	int r = find_channel(s, deadline, &d);

	if (r < 0)
		return r;
	disk_close(&s->disk);
	document_unref(*ret);
	*ret = d;
	return 0;
}

/* What was read last time.  Return: VHOSTMD_ERR_NO_SOURCE if nothing is remembered. */
static int read_again(struct vhostmd_source *s, int64_t deadline, struct document **ret)
{
	int r = VHOSTMD_ERR_NO_SOURCE;

	if (disk_is_at(&s->disk, buf_str(&s->disk_path))) {
		r = read_disk(s, &s->disk, deadline, ret);
		if (r < 0) {
			failure_note(&s->tried, buf_str(&s->disk_path), r);
			disk_close(&s->disk);
		}
	} else if (s->channel.len) {
		r = read_channel(s, s->channel.data, deadline, ret);
		if (r < 0)
			buf_clear(&s->channel);
	}
	return r;
}

/* The device that the caller named. */
static int read_path(struct vhostmd_source *s, int64_t deadline, struct document **ret)
{
	const char *path = buf_str(&s->path);

	if (port_is_at(path)) {
		set_path(&s->channel, path);
		return s->channel.failed ? VHOSTMD_ERR_MEMORY
					 : read_channel(s, path, deadline, ret);
	}
	int r = disk_open(path, &s->disk, &s->tried);

	if (r < 0)
		return r;
	set_path(&s->disk_path, path);
	r = s->disk_path.failed ? VHOSTMD_ERR_MEMORY
				: read_disk(s, &s->disk, deadline, ret);
	if (r < 0) {
		failure_note(&s->tried, path, r);
		disk_close(&s->disk);
	}
	return r;
}

static int read_document(struct vhostmd_source *s, struct document **ret)
{
	int64_t start = system_coarse_ns() + SYSTEM_COARSE_NS;
	int64_t patience = s->timeout_ms * NS_PER_MS;
	int64_t deadline = start + patience;
	/* or nothing would be left for the channel */
	int64_t disk_deadline = s->mode == MODE_AUTO ? start + patience / 2 : deadline;
	int r = read_again(s, disk_deadline, ret);

	if (r == 0)
		return 0;
	disk_close(&s->disk);
	if (s->mode == MODE_PATH)
		return read_path(s, deadline, ret);
	if (s->mode != MODE_CHANNEL)
		r = worse(r, find_disk(s, disk_deadline, ret));
	if (*ret && (s->mode == MODE_DISK || !is_poor(*ret)))
		return 0;
	if (s->mode != MODE_DISK)
		r = worse(find_own_channel(s, deadline, ret), r);
	if (*ret)
		return 0;
	return r == VHOSTMD_ERR_NOT_A_DISK && s->mode == MODE_AUTO ? VHOSTMD_ERR_NO_SOURCE
								   : r;
}

static enum vhostmd_freshness freshness(
	const struct vhostmd_source *s, bool is_channel, int64_t now)
{
	int64_t age = now - s->last_ns;

	if (age > STOPPED_NS && age / STOPPED_PERIODS > s->longest_ns)
		return VHOSTMD_STOPPED;
	return s->moved || is_channel ? VHOSTMD_FRESH : VHOSTMD_UNKNOWN;
}

/* Reads what is there now and makes it the last document.  @ret: borrowed from the source. */
static int read_last(struct vhostmd_source *s, struct document **ret, int64_t *ret_now)
{
	struct document *d = NULL;

	buf_clear(&s->tried);
	int r = read_document(s, &d);

	if (r < 0)
		return r;
	*ret_now = system_boot_ns();
	remember(s, d, *ret_now);
	*ret = d;
	return 0;
}

EXPORT int vhostmd_read(struct vhostmd_source *s, struct vhostmd_snapshot **ret)
{
	struct document *d = NULL;
	int64_t now = 0;

	if (!s || !ret)
		return VHOSTMD_ERR_INVALID;
	int r = read_last(s, &d, &now);

	if (r < 0)
		return r;
	bool is_channel = disk_is_closed(&s->disk);
	const char *path = buf_str(is_channel ? &s->channel : &s->disk_path);

	if (d->is_malformed)
		return failure_note(&s->tried, path, VHOSTMD_ERR_CORRUPT);
	size_t path_size = strlen(path) + 1;
	struct vhostmd_snapshot *snapshot = malloc(sizeof(*snapshot) + path_size);

	if (!snapshot)
		return VHOSTMD_ERR_MEMORY;
	*snapshot = (struct vhostmd_snapshot){ .document = document_ref(d),
		.read_ns = now,
		.age_ns = now - s->last_ns,
		.freshness = freshness(s, is_channel, now),
		.is_channel = is_channel };
	memcpy(snapshot->path, path, path_size);
	*ret = snapshot;
	return 0;
}

EXPORT int vhostmd_read_text(struct vhostmd_source *s, char **ret, size_t *ret_len)
{
	struct document *d = NULL;
	int64_t now = 0;

	if (!s || !ret || !ret_len)
		return VHOSTMD_ERR_INVALID;
	int r = read_last(s, &d, &now);

	if (r < 0)
		return r;
	char *text = malloc(d->xml.len + 1);

	if (!text)
		return VHOSTMD_ERR_MEMORY;
	memcpy(text, buf_str(&d->xml), d->xml.len + 1);
	*ret = text;
	*ret_len = d->xml.len;
	return 0;
}
