/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/layout.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handover/handover.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define AT(first) offsetof(struct handover, first)
#define ALL(field) AT(field), sizeof(((struct handover *)0)->field)

/* A version is raised when the part is not what it was; its size counts, too. */
const struct layout_index layout_own = { .n = 11,
	.parts = {
		{ LAYOUT_NUMBERS, 1, AT(generation), AT(init_bytes) - AT(generation) },
		{ LAYOUT_INIT, 1, AT(init_bytes),
			AT(init) + HANDOVER_INIT_MAX - AT(init_bytes) },
		{ LAYOUT_NOTES, 1, ALL(notes) },
		{ LAYOUT_SLOTS, 1, ALL(slots) },
		{ LAYOUT_TOLD, 2, ALL(told) },
		{ LAYOUT_POLLS, 1, ALL(polls) },
		{ LAYOUT_LATCHES, 1, ALL(latches) },
		{ LAYOUT_ARENA, 1, ALL(arena) },
		{ LAYOUT_CHECKPOINT, 1, ALL(checkpoint) },
		{ LAYOUT_CHANNELS, 1, AT(channels_top),
			AT(channels) + sizeof(((struct handover *)0)->channels) -
				AT(channels_top) },
		{ LAYOUT_LOG, 1, ALL(log_level) },
	} };

static_assert(AT(index) == sizeof(struct handover_head), "its place never changes");

static bool is_needed(uint32_t part)
{
	return part != LAYOUT_LATCHES && part != LAYOUT_ARENA &&
		part != LAYOUT_CHECKPOINT && part != LAYOUT_CHANNELS &&
		part != LAYOUT_LOG;
}

void layout_describe(struct strbuf *out)
{
	for (uint64_t i = 0; i < layout_own.n; i++)
		if (is_needed(layout_own.parts[i].part))
			strbuf_addf(out, "%s%u.%u.%" PRIu64, out->len ? "," : "",
				layout_own.parts[i].part, layout_own.parts[i].version,
				layout_own.parts[i].bytes);
}

/* Where @old has our part @i.  Return: false if it has none that we know. */
static bool find(const struct layout_index *old, uint64_t size, uint64_t i, uint64_t *ret)
{
	uint64_t n = old->n < LAYOUT_PARTS_MAX ? old->n : LAYOUT_PARTS_MAX;
	uint64_t bytes = layout_own.parts[i].bytes;

	for (uint64_t j = 0; j < n; j++) {
		uint64_t at = old->parts[j].at;

		if (old->parts[j].part != layout_own.parts[i].part ||
			old->parts[j].version != layout_own.parts[i].version ||
			old->parts[j].bytes != bytes || bytes > size || at > size - bytes)
			continue;
		*ret = at;
		return true;
	}
	return false;
}

/* Pages that nobody wrote stay so.  Return: 0 or -errno. */
static int copy(int from_fd, uint64_t from, int to_fd, uint64_t to, uint64_t bytes)
{
	const size_t most = 1u << 16;
	_cleanup_free_ char *buf = xmalloc(most);
	uint64_t done = 0;

	while (done < bytes) {
		off_t data = lseek(from_fd, (off_t)(from + done), SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		if ((uint64_t)data >= from + bytes)
			return 0;
		done = (uint64_t)data - from;
		size_t part = bytes - done < most ? (size_t)(bytes - done) : most;
		ssize_t n = pread(from_fd, buf, part, data);

		if (n <= 0 || pwrite(to_fd, buf, (size_t)n, (off_t)(to + done)) != n)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

static int copy_parts(int old_fd, const struct layout_index *old, uint64_t size, int fd,
	struct strbuf *why)
{
	uint64_t at = 0, arena = 0, latches = 0;
	const uint64_t none = 0;
	int r = 0;

	/* of the two, one alone is of no use */
	bool images = find(old, size, LAYOUT_ARENA - 1, &arena) &&
		find(old, size, LAYOUT_LATCHES - 1, &latches);

	for (uint64_t i = 0; i < layout_own.n && r == 0; i++) {
		uint32_t part = layout_own.parts[i].part;

		if (find(old, size, i, &at)) {
			if (images || (part != LAYOUT_ARENA && part != LAYOUT_LATCHES))
				r = copy(old_fd, at, fd, layout_own.parts[i].at,
					layout_own.parts[i].bytes);
		} else if (is_needed(part)) {
			strbuf_addf(why, "its part %u is not known here", part);
			return -EPROTO;
		}
	}
	if (r == 0 && !images &&
		pwrite(fd, &none, sizeof(none), AT(latches_top)) != sizeof(none))
		r = -errno;
	if (r < 0)
		strbuf_adds(why, strerror(-r));
	return r;
}

int layout_migrate(int old_fd, struct strbuf *why)
{
	struct {
		struct handover_head head;
		struct layout_index index;
	} old;
	struct stat st;

	if (fstat(old_fd, &st) < 0 ||
		pread(old_fd, &old, sizeof(old), 0) != (ssize_t)sizeof(old) ||
		memcmp(old.head.magic, HANDOVER_MAGIC, sizeof(old.head.magic)) != 0) {
		strbuf_adds(why, "it is none");
		return -EPROTO;
	}
	_cleanup_close_ int fd = handover_create();

	if (fd < 0) {
		strbuf_adds(why, strerror(-fd));
		return fd;
	}
	int r = copy_parts(old_fd, &old.index, (uint64_t)st.st_size, fd, why);

	return r < 0 ? r : TAKE_FD(fd);
}
