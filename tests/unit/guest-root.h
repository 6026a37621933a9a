/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's / that a test makes: devices are files with images below $root, and so is sysfs.
 * For tests of guest/ that are one file each.
 */
#pragma once

#include "test.h"
#include "tmp.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"
#include "util/cleanup.h"
#include "vhostmd/metrics.h"

#define OWN "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
#define OWN_SWAPPED "b8fde36b-f5be-ec6f-b1b7-e61bbceab708"
#define OTHER "11111111-2222-3333-4444-555555555555"

static char root[TMP_PATH_SIZE];

static inline const char *below(const char *path)
{
	static char full[8][2 * TMP_PATH_SIZE];
	static unsigned next;
	char *buf = full[next++ % 8];

	snprintf(buf, sizeof(full[0]), "%s%s", root, path);
	return buf;
}

static inline void make_folders(const char *path)
{
	char *full = strdup(below(path));

	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	free(full);
}

static inline void put(const char *path, const void *data, size_t n)
{
	make_folders(path);
	FILE *f = fopen(below(path), "we");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

static inline void put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

/* A disk with that content, of 128 KiB or as much as it takes.  @busy: as its header says. */
static inline void put_image(const char *path, const char *content, uint32_t busy)
{
	uint32_t sum = 0, len = (uint32_t)strlen(content);
	size_t bytes = 128 << 10;

	while (bytes < len + 16)
		bytes *= 2;
	_cleanup_free_ unsigned char *image = calloc(1, bytes);

	for (uint32_t i = 0; i < len; i++)
		sum += (unsigned char)content[i];
	const uint32_t header[] = { htonl(0x6d766264), htonl(busy), htonl(sum),
		htonl(len) };

	memcpy(image, header, sizeof(header));
	memcpy(image + sizeof(header), content, len);
	put(path, image, bytes);
}

static inline void put_disk(
	const char *name, const char *size, const char *ro, const char *content)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/%s/size", name);
	put_text(path, size);
	snprintf(path, sizeof(path), "/sys/block/%s/ro", name);
	put_text(path, ro);
	snprintf(path, sizeof(path), "/sys/block/%s/removable", name);
	put_text(path, "0\n");
	snprintf(path, sizeof(path), "/dev/%s", name);
	put_image(path, content, 0);
}

static inline int setup(void **state)
{
	(void)state;
	return mkdtemp(tmp_path(root, "vhostmd-guest.XXXXXX")) ? 0 : -1;
}

static inline int remove_one(
	const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int teardown(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct vhostmd_source *open_source(const char *where)
{
	struct vhostmd_source *s = NULL;

	assert_int_equal(source_open_below(root, where, &s), 0);
	assert_int_equal(vhostmd_set_timeout(s, 2000), 0);
	return s;
}

static inline struct vhostmd_snapshot *read_source(struct vhostmd_source *s)
{
	struct vhostmd_snapshot *now = NULL;
	int r = vhostmd_read(s, &now);

	if (r < 0)
		fail_msg("%s: %s", vhostmd_strerror(r), vhostmd_tried(s));
	return now;
}

/* A snapshot of one document on a disk. */
static inline struct vhostmd_snapshot *snapshot_of(const char *content)
{
	put_image("/dev/one", content, 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));
	struct vhostmd_snapshot *now = read_source(s);

	vhostmd_close(s);
	return now;
}

#define VM(uuid) " context='vm' id='2' uuid='" uuid "'>"
#define METRIC(type, rest, name, value)                                                  \
	"  <metric type='" type "'" rest "\n    <name>" name                             \
	"</name>\n    <value>" value "</value>\n  </metric>\n"
#define HOST " context='host'>"
#define DOC(metrics) "<metrics>\n" metrics "</metrics>\n"

static const char two_vms[] = DOC(METRIC("string", HOST, "HostName", "h") METRIC(
	"uint32", VM(OTHER), "n", "1") METRIC("uint32", VM(OTHER), "others", "1")
		METRIC("uint32", VM(OWN), "n", "2"));

static inline int get(
	const struct vhostmd_snapshot *s, metric_context context, const char *name)
{
	uint64_t u = 0;
	int r = vhostmd_get_u64(s, context, name, &u);

	return r < 0 ? r : (int)u;
}
