/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "finder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "identity.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/parse.h"
#include "util/wire.h"
#include "vhostmd/metrics.h"

#define SECTOR_BYTES 512u

/* Room for a path: names in sysfs are short, and a longer one is cut, which is no file's. */
#define PATH_BYTES 512

static void make_path(char ret[static PATH_BYTES], const char *root, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void make_path(char ret[static PATH_BYTES], const char *root, const char *fmt, ...)
{
	int n = snprintf(ret, PATH_BYTES, "%s", root);
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && n < PATH_BYTES)
		vsnprintf(ret + n, (size_t)(PATH_BYTES - n), fmt, ap);
	va_end(ap);
}

/* Reads a short file of the kernel's.  Return: false if there is none. */
static bool read_text(const char *path, char *ret, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	if (n < 0)
		return false;
	ret[n] = '\0';
	char *trimmed = str_trim(ret);

	memmove(ret, trimmed, strlen(trimmed) + 1);
	return true;
}

/* ---- disks ---- */

/* A search: what it has found out so far. */
struct walk {
	const char *root;
	finder_fn *fn;
	void *data;
	int result; /* as finder_disks() returns it */
};

static DIR *open_folder(const char *path, int *ret_error)
{
	DIR *dir = opendir(path);

	if (!dir && errno == ENOMEM)
		*ret_error = VHOSTMD_ERR_MEMORY;
	return dir;
}

/* 0 if the attribute cannot be read. */
static uint64_t attribute(const char *root, const char *disk, const char *name)
{
	char path[PATH_BYTES], text[64];
	uint64_t v = 0;

	make_path(path, root, "/sys/block/%s/%s", disk, name);
	if (read_text(path, text, sizeof(text)))
		(void)parse_u64(text, &v);
	return v;
}

/* Made of other disks or of memory, or with a medium that moves. */
static bool is_of_a_kind(const char *name)
{
	static const char *const never[] = { "loop", "ram", "zram", "fd", "sr", "dm-",
		"md", "mtdblock", "nbd" };

	if (name[0] == '.')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (!strncmp(name, never[i], strlen(never[i])))
			return false;
	return true;
}

static bool has_partitions(struct walk *w, const char *disk)
{
	char path[PATH_BYTES];
	bool found = false;

	make_path(path, w->root, "/sys/block/%s", disk);
	_cleanup_closedir_ DIR *dir = open_folder(path, &w->result);

	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir))
		found = !strncmp(e->d_name, disk, strlen(disk));
	return found;
}

/* A metrics disk is small, and large ones may be slow to answer. */
static bool is_candidate(struct walk *w, const char *disk)
{
	uint64_t sectors = is_of_a_kind(disk) ? attribute(w->root, disk, "size") : 0;

	return sectors &&
		sectors <= (LIMIT_DISK_BYTES_MAX + DISK_BLOCK_BYTES) / SECTOR_BYTES &&
		!attribute(w->root, disk, "removable") && !has_partitions(w, disk);
}

/* Return: whether the search is over. */
static bool visit(struct walk *w, const char *path)
{
	if (w->result == 0)
		w->result = 1;
	return w->fn(path, w->data);
}

/* Walks over those that are read-only, or those that are not. */
static bool walk(struct walk *w, bool read_only)
{
	char path[PATH_BYTES];
	bool end = false;

	make_path(path, w->root, "/sys/block");
	_cleanup_closedir_ DIR *dir = open_folder(path, &w->result);

	for (struct dirent *e = dir ? readdir(dir) : NULL; e && !end; e = readdir(dir)) {
		if (!is_candidate(w, e->d_name) ||
			(attribute(w->root, e->d_name, "ro") != 0) != read_only)
			continue;
		make_path(path, w->root, "/dev/%s", e->d_name);
		/* the kernel's name of /dev/cciss/c0d0 */
		for (char *c = path + strlen(w->root) + strlen("/dev/"); *c; c++)
			*c = *c == '!' ? '/' : *c;
		end = visit(w, path);
	}
	return end;
}

int finder_disks(const char *root, finder_fn *fn, void *data)
{
	struct walk w = { .root = root, .fn = fn, .data = data };
	char path[PATH_BYTES];

	make_path(path, root, "/dev/vhostmd");
	if ((access(path, F_OK) == 0 && visit(&w, path)) || walk(&w, true) ||
		walk(&w, false))
		w.result = 1;
	return w.result;
}

/* ---- channel ---- */

int finder_channel(const char *root, char *ret, size_t size)
{
	char path[PATH_BYTES], name[128];
	int r = VHOSTMD_ERR_NO_SOURCE;

	make_path(path, root, "/dev/virtio-ports/" WIRE_CHANNEL_NAME);
	if (access(path, F_OK) == 0) {
		snprintf(ret, size, "%s", path);
		return 0;
	}
	/* without udev ports have no names but in sysfs */
	make_path(path, root, "/sys/class/virtio-ports");
	_cleanup_closedir_ DIR *dir = open_folder(path, &r);

	for (struct dirent *e = dir ? readdir(dir) : NULL; e && r < 0; e = readdir(dir)) {
		make_path(path, root, "/sys/class/virtio-ports/%s/name", e->d_name);
		if (e->d_name[0] == '.' || !read_text(path, name, sizeof(name)) ||
			strcmp(name, WIRE_CHANNEL_NAME) != 0)
			continue;
		snprintf(ret, size, "%s/dev/%s", root, e->d_name);
		r = 0;
	}
	return r;
}

/* ---- identity ---- */

/* z/Architecture tells in the middle of other things: "VM00 UUID:  ...". */
static bool sysinfo_uuid(const char *root, struct uuid *ret)
{
	static const char key[] = "VM00 UUID:";
	char path[PATH_BYTES], text[8192];

	make_path(path, root, "/proc/sysinfo");
	char *at = read_text(path, text, sizeof(text)) ? strstr(text, key) : NULL;

	if (!at)
		return false;
	at += strlen(key);
	at += strspn(at, " \t");
	at[strcspn(at, " \t\n")] = '\0';
	return uuid_parse(at, ret) == 0;
}

void finder_identity(const char *root, struct identity *ret)
{
	static const char *const files[] = { "/sys/class/dmi/id/product_uuid",
		"/sys/hypervisor/uuid", "/proc/device-tree/vm,uuid",
		"/proc/device-tree/hypervisor/vm,uuid" };
	struct uuid uuid;
	char path[PATH_BYTES], text[64];

	ret->n = 0;
	for (size_t i = 0; i < ARRAY_LEN(files) && !ret->n; i++) {
		make_path(path, root, "%s", files[i]);
		if (read_text(path, text, sizeof(text)) && uuid_parse(text, &uuid) == 0)
			identity_add(ret, &uuid);
	}
	if (!ret->n && sysinfo_uuid(root, &uuid))
		identity_add(ret, &uuid);
}
