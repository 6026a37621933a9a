/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/disk_find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "collect/kernel/disk_stats.h"
#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* What udev names a device besides, below /dev. */
struct link {
	char *name;
	uint64_t device;
	int64_t priority; /* of several devices with that link the highest has it */
};

struct disk_finder {
	int root_fd;
	struct disk_stats *devices; /* those that there are */
	bool links_read;            /* since disk_finder_forget() */
	struct link *links;         /* sorted by name, then the highest priority */
	size_t n_links, cap_links;
};

struct disk_finder *disk_finder_new(int root_fd)
{
	struct disk_finder *f = xcalloc(1, sizeof(*f));

	f->root_fd = root_fd;
	f->devices = disk_stats_new(root_fd);
	return f;
}

void disk_finder_forget(struct disk_finder *f)
{
	for (size_t i = 0; i < f->n_links; i++)
		free(f->links[i].name);
	f->n_links = 0;
	f->links_read = false;
}

void disk_finder_free(struct disk_finder *f)
{
	if (!f)
		return;
	disk_finder_forget(f);
	free(f->links);
	disk_stats_free(f->devices);
	free(f);
}

/* ---- udev ---- */

static void add_link(struct disk_finder *f, const char *name, size_t len, uint64_t device)
{
	if (!len || len >= LIMIT_DEVICE_PATH_BYTES || f->n_links == LIMIT_DEVICE_LINKS)
		return;
	f->links = xgrow(f->links, f->n_links, &f->cap_links, sizeof(*f->links));
	f->links[f->n_links++] =
		(struct link){ .name = xstrndup(name, len), .device = device };
}

/*
 * "S:disk/by-id/x" is a link, "L:-100" the priority of all of the device's.  Who writes the file
 * puts another one in its place, so it is always whole.
 */
static void read_links(struct disk_finder *f, const char *text, uint64_t device)
{
	size_t first = f->n_links;
	int64_t priority = 0;

	for (const char *p = text; *p; p = proc_next_line(p)) {
		size_t len = strcspn(p, "\n");

		if (len > 2 && !strncmp(p, "S:", 2))
			add_link(f, p + 2, len - 2, device);
		if (len > 2 && len < 16 && !strncmp(p, "L:", 2)) {
			_cleanup_free_ char *number = xstrndup(p + 2, len - 2);

			(void)parse_i64(number, &priority);
		}
	}
	for (size_t i = first; i < f->n_links; i++)
		f->links[i].priority = priority;
}

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	if (c)
		return c;
	return x->priority > y->priority ? -1 : x->priority < y->priority;
}

/* Of the devices that the kernel has, and no others: udev's files may be older. */
static void read_all_links(struct disk_finder *f)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	size_t n = 0;

	f->links_read = true;
	if (disk_stats_read(f->devices) < 0)
		return;
	const struct disk_counters *devices = disk_stats_all(f->devices, &n);

	for (size_t i = 0; i < n; i++) {
		uint64_t device = devices[i].device;
		_cleanup_free_ char *path = xasprintf("run/udev/data/b%u:%u",
			(unsigned)(device >> 32), (unsigned)device);

		if (read_file_at(f->root_fd, path, LIMIT_UDEV_FILE_BYTES, &text) == 0)
			read_links(f, strbuf_str(&text), device);
	}
	if (f->n_links)
		qsort(f->links, f->n_links, sizeof(*f->links), compare_links);
}

/* Of two with the same right nobody can tell whose it is. */
static int find_link(struct disk_finder *f, const char *name, uint64_t *ret)
{
	size_t low = 0, high;

	if (!f->links_read)
		read_all_links(f);
	high = f->n_links;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(f->links[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == f->n_links || strcmp(f->links[low].name, name) != 0)
		return -ENODEV;
	const struct link *link = &f->links[low], *next = link + 1;

	if (low + 1 < f->n_links && !strcmp(next->name, name) &&
		next->priority == link->priority && next->device != link->device)
		return -ENODEV;
	*ret = link->device;
	return 0;
}

/* ---- the kernel's names ---- */

/* "cciss/c0d0" is "cciss!c0d0" in sysfs. */
static int find_node(const struct disk_finder *f, const char *name, uint64_t *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *path = xasprintf("sys/class/block/%s/dev", name);

	for (char *p = path + strlen("sys/class/block/"), *end = p + strlen(name);
		p < end; p++)
		if (*p == '/')
			*p = '!';
	if (read_file_at(f->root_fd, path, 64, &text) < 0)
		return -ENODEV;
	const char *p = strbuf_str(&text);

	return disk_device_parse(&p, ret) == 0 && !strcmp(p, "\n") ? 0 : -ENODEV;
}

/* ---- what is there ---- */

/* Return: -ENODEV if nothing is. */
static int find_there(const struct disk_finder *f, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *path = xasprintf("dev/%s", name);
	_cleanup_close_ int fd = open_in_root(f->root_fd, path, O_PATH);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -ENODEV;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	*ret = DISK_DEVICE(major(st.st_rdev), minor(st.st_rdev));
	return 0;
}

/* ---- what is counted ---- */

static bool there_is(const struct disk_finder *f, const char *device, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", device, name);

	return faccessat(f->root_fd, path, F_OK, 0) == 0;
}

/*
 * A partition is counted as the disk is told to.  Flushes are counted where there is a queue of
 * requests, which neither partitions nor LVM and the like have.
 */
static int look_at(const struct disk_finder *f, struct host_disk *disk)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ char *device = xasprintf("sys/dev/block/%u:%u",
		(unsigned)(disk->device >> 32), (unsigned)disk->device);
	_cleanup_free_ char *setting = xasprintf("%s/%squeue/iostats", device,
		there_is(f, device, "partition") ? "../" : "");

	disk->counts_flushes = there_is(f, device, "mq");
	if (read_file_at(f->root_fd, setting, 64, &text) == 0 &&
		!strcmp(strbuf_str(&text), "0\n"))
		return -ENODATA;
	return 0;
}

/*
 * File systems of their own below /dev, in which others than root make links.  Whoever may would
 * show a VM the counters of any device, another one each time that it is looked up, or lead to
 * what never answers.
 */
static bool is_of_users(const char *name)
{
	static const char *const dirs[] = { "shm/", "mqueue/", "hugepages/" };
	bool is = false;

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		is |= !strncmp(name, dirs[i], strlen(dirs[i]));
	return is;
}

/*
 * The part behind "/dev/", without empty components.  No step may lead up, and nothing that a
 * line or a terminal would not hold is a name.  Return: NULL if it is no such path.
 */
static char *name_below_dev(const char *path)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;

	if (strncmp(path, "/dev/", 5) != 0 ||
		strnlen(path, LIMIT_DEVICE_PATH_BYTES) == LIMIT_DEVICE_PATH_BYTES)
		return NULL;
	for (const char *p = path + 5; *p;) {
		size_t n = strcspn(p, "/");

		for (size_t i = 0; i < n; i++)
			if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
				return NULL;
		if ((n == 1 && *p == '.') || (n == 2 && !strncmp(p, "..", 2)))
			return NULL;
		if (n && name.len)
			strbuf_addc(&name, '/');
		strbuf_add(&name, p, n);
		p += n + (p[n] == '/');
	}
	return name.len && !is_of_users(strbuf_str(&name)) ? strbuf_steal(&name) : NULL;
}

int disk_find(struct disk_finder *f, const char *path, struct host_disk *ret)
{
	_cleanup_free_ char *name = name_below_dev(path);
	struct host_disk disk = { 0 };

	if (!name)
		return -EINVAL;
	int r = find_there(f, name, &disk.device);

	if (r == -ENODEV)
		r = find_node(f, name, &disk.device);
	if (r == -ENODEV)
		r = find_link(f, name, &disk.device);
	if (r == 0)
		r = look_at(f, &disk);
	if (r == 0)
		*ret = disk;
	return r;
}
