/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"

#define FSTYPE "fuse.vhostmd"

/* Space, tab, newline and backslash are written as \ooo. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' &&
			strspn(s + 1, "01234567") >= 3) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				(s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* id parent major:minor root target options [shared:N ...] - type source options */
static bool take_line(char *line, struct doctor_mount *ret)
{
	enum { DEVICE = 2, TARGET = 4, OPTIONS = 5, N_FIELDS };
	char *fields[N_FIELDS], *save = NULL, *word;
	bool shared = false;

	for (size_t i = 0; i < N_FIELDS; i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!fields[i])
			return false;
	}
	while ((word = strtok_r(NULL, " ", &save)) && strcmp(word, "-") != 0)
		shared |= !strncmp(word, "shared:", 7);
	word = word ? strtok_r(NULL, " ", &save) : NULL;
	if (!word)
		return false;
	unescape(fields[TARGET]);
	*ret = (struct doctor_mount){ .device = xstrdup(fields[DEVICE]),
		.target = xstrdup(fields[TARGET]),
		.type = xstrdup(word),
		.shared = shared };
	return true;
}

int doctor_mounts_read(
	const struct doctor *d, const char *path, struct doctor_mounts *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(d->root_fd, path, DOCTOR_FILE_BYTES, &text);
	size_t cap = 0;
	char *save = NULL;

	if (r < 0)
		return r;
	*ret = (struct doctor_mounts){ 0 };
	for (char *line = text.len ? strtok_r(text.data, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		struct doctor_mount mount;

		if (!take_line(line, &mount))
			continue;
		ret->mounts = xgrow(ret->mounts, ret->n, &cap, sizeof(*ret->mounts));
		ret->mounts[ret->n++] = mount;
	}
	return 0;
}

void doctor_mounts_done(struct doctor_mounts *mounts)
{
	for (size_t i = 0; i < mounts->n; i++) {
		free(mounts->mounts[i].device);
		free(mounts->mounts[i].target);
		free(mounts->mounts[i].type);
	}
	free(mounts->mounts);
	*mounts = (struct doctor_mounts){ 0 };
}

const struct doctor_mount *doctor_mounts_at(
	const struct doctor_mounts *mounts, const char *target)
{
	/* the last one is on top */
	for (size_t i = mounts->n; i > 0; i--)
		if (!strcmp(mounts->mounts[i - 1].target, target))
			return &mounts->mounts[i - 1];
	return NULL;
}

/* How much of @path the directory @target is; 0: it does not lie in there. */
static size_t covers(const char *target, const char *path)
{
	size_t n = strlen(target);

	if (!strcmp(target, "/"))
		return 1;
	return !strncmp(target, path, n) && path[n] == '/' ? n : 0;
}

const struct doctor_mount *doctor_mounts_below(
	const struct doctor_mounts *mounts, const char *path)
{
	const struct doctor_mount *found = NULL;
	size_t best = 0;

	for (size_t i = 0; i < mounts->n; i++) {
		size_t n = covers(mounts->mounts[i].target, path);

		if (n && n >= best) {
			best = n;
			found = &mounts->mounts[i];
		}
	}
	return found;
}

bool doctor_mount_is_ours(const struct doctor_mount *mount)
{
	return mount && !strcmp(mount->type, FSTYPE);
}

/* The kernel remembers attributes of a file system whose server is gone, but not this. */
static int ask_file_system(const void *path, int out)
{
	struct statvfs st;

	(void)out;
	return statvfs(path, &st) < 0 ? errno : 0;
}

enum mount_state doctor_mount_state(const char *path, int *ret_error)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = doctor_ask(ask_file_system, path, DOCTOR_ANSWER_MS, 0, &text);

	*ret_error = r < 0 ? -r : r;
	if (r == -ETIMEDOUT)
		return MOUNT_SILENT;
	return r == 0 ? MOUNT_ANSWERS : r == ENOTCONN ? MOUNT_DEAD : MOUNT_FAILS;
}
