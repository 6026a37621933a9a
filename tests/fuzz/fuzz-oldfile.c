/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file that an older vhostmd left is written on, whatever is in it, and keeps its size. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/metric_list.h"
#include "core/snapshot.h"
#include "fuzz.h"
#include "mdisk/image.h"
#include "mdisk/oldfile.h"
#include "specs.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

int __wrap_inotify_init1(int flags);

/* There is none to be had: its end would take milliseconds. */
int __wrap_inotify_init1(int flags)
{
	(void)flags;
	return -1;
}

static int not_removed(void *ctx)
{
	(void)ctx;
	return -1;
}

static void not_over(void *ctx)
{
	(void)ctx;
}

static void wait_written(struct oldfile *of)
{
	_cleanup_strbuf_ struct strbuf status = STRBUF_INIT;

	do {
		sched_yield();
		strbuf_clear(&status);
		oldfile_status(of, &status);
	} while (!strstr(strbuf_str(&status), ".writes: 1"));
}

static void check(int fd, off_t size)
{
	char bytes[LIMIT_DISK_BYTES_MIN];
	struct image_header h;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size != size ||
		pread(fd, bytes, sizeof(bytes), 0) != sizeof(bytes) ||
		image_parse_header(bytes, sizeof(bytes), &h) < 0 || h.busy ||
		h.length > sizeof(bytes) - IMAGE_HEADER_BYTES ||
		h.checksum != image_checksum(bytes + IMAGE_HEADER_BYTES, h.length))
		abort();
}

static struct tree *make_tree(void)
{
	struct spec_set *specs =
		specs_named(METRIC_UINT64, (const char *const[]){ "n", NULL });
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	const struct value v = value_u64(1);

	metric_list_builder_add(b, 0, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	struct tree *tree = tree_new();

	tree_publish(tree, 1, snapshot_new(NULL, 1, &list, 1, 1), NULL, 0);
	metric_list_unref(list);
	spec_set_unref(specs);
	return tree;
}

/* A memfd itself is not counted among those who have the file open. */
static int open_again(int fd)
{
	_cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);

	return open(path, O_RDWR | O_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tree *tree;
	_cleanup_close_ int memory = memfd_create("oldfile", MFD_CLOEXEC);
	_cleanup_close_ int fd = open_again(memory); /* there is a reader */
	struct oldfile *of = NULL;
	off_t whole = size > LIMIT_DISK_BYTES_MIN ? (off_t)size : LIMIT_DISK_BYTES_MIN;

	if (!tree)
		tree = make_tree();
	const struct oldfile_params params = { .tree = tree,
		.path = "/proc/self/none",
		.period_ns = 60 * NS_PER_S,
		.removed = not_removed,
		.over = not_over };

	if (fd < 0 || pwrite(fd, data, size, 0) != (ssize_t)size ||
		ftruncate(fd, whole) < 0 ||
		oldfile_start(&params, open_again(memory), &of) < 0)
		abort();
	wait_written(of);
	oldfile_stop(of);
	check(fd, whole);
	return 0;
}
