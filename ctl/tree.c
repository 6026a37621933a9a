/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "core/fname.h"
#include "status.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/glob.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/text.h"
#include "util/uuid.h"

/* A text from an action has 64 KiB at most. */
#define VALUE_BYTES_MAX (128u << 10)

/* ---- VMs ---- */

/* Opens the directory DIR/NAME below the mount.  Return: a descriptor, or -errno. */
static int open_below(const struct ctl *ctl, const char *dir, const char *name)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;

	strbuf_addf(&path, "%s/metrics/%s", ctl->mount, dir);
	if (name) {
		strbuf_addc(&path, '/');
		fname_escape(name, &path);
	}
	int fd = open(strbuf_str(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Return: a descriptor of its directory, or -1 after saying why not. */
static int open_scope(const struct ctl *ctl, const char *scope)
{
	struct uuid uuid;
	uint64_t id;
	int fd;

	if (!strcmp(scope, "host"))
		fd = open_below(ctl, "host", NULL);
	else if (uuid_parse(scope, &uuid) == 0) {
		char text[UUID_TEXT_LEN + 1];

		uuid_format(&uuid, text);
		fd = open_below(ctl, "vm-by-uuid", text);
	} else
		fd = open_below(ctl, "vm", scope);
	if (fd == -ENOENT && parse_u64(scope, &id) == 0)
		fd = open_below(ctl, "vm-by-id", scope);
	if (fd >= 0)
		return fd;
	_cleanup_close_ int mounted = open_below(ctl, "host", NULL);

	if (fd == -ENOENT && mounted >= 0) {
		ctl_error("no VM '%s' runs here", scope);
		ctl_hint("vhostmdctl list shows those that do");
	} else {
		ctl_error("%s: %s", ctl->mount, strerror(-fd));
		ctl_hint("vhostmd does not run, or is mounted elsewhere (--mount): "
			 "systemctl start vhostmd, or vhostmdctl doctor");
	}
	return -1;
}

struct vm {
	char *name, *uuid, *id;
};

/* What a link is to, without the directory; the caller's to free, NULL if there is none. */
static char *link_target(int dirfd, const char *name)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, to, sizeof(to) - 1);

	if (n < 0)
		return NULL;
	to[n] = '\0';
	const char *slash = strrchr(to, '/');

	return xstrdup(slash ? slash + 1 : to);
}

/* Calls @each with each name in a directory of links below the mount, and what it is to. */
static int each_link(const struct ctl *ctl, const char *dir,
	void (*each)(void *ctx, const char *name, char *to), void *ctx)
{
	int fd = open_below(ctl, dir, NULL);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int r = fd < 0 ? fd : -errno;

		ctl_error("%s/metrics/%s: %s", ctl->mount, dir, strerror(-r));
		if (fd >= 0)
			close(fd);
		else
			ctl_hint(
				"vhostmd does not run, or is mounted elsewhere (--mount): "
				"systemctl start vhostmd, or vhostmdctl doctor");
		return r;
	}
	for (struct dirent *e; (e = readdir(d));) {
		char *to = link_target(dirfd(d), e->d_name);

		if (to) /* it is none, or gone by now */
			each(ctx, e->d_name, to);
	}
	return 0;
}

struct vms {
	struct vm *at;
	size_t n, cap;
};

static void add_vm(void *ctx, const char *uuid, char *name)
{
	struct vms *vms = ctx;

	vms->at = xgrow(vms->at, vms->n, &vms->cap, sizeof(*vms->at));
	vms->at[vms->n++] = (struct vm){ .name = name, .uuid = xstrdup(uuid) };
}

struct sought {
	const char *name; /* as a directory is called */
	char *uuid;
};

static void look_for(void *ctx, const char *uuid, char *name)
{
	struct sought *sought = ctx;

	if (!sought->uuid && !strcmp(name, sought->name))
		sought->uuid = xstrdup(uuid);
	free(name);
}

char *tree_find_vm(const struct ctl *ctl, const char *vm)
{
	_cleanup_close_ int fd = open_scope(ctl, vm);
	_cleanup_free_ char *path = xasprintf("%d", fd);
	_cleanup_close_ int fds =
		open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* links were followed */
	_cleanup_free_ char *name = fd < 0 ? NULL : link_target(fds, path);
	struct sought sought = { .name = name };

	if (name)
		(void)each_link(ctl, "vm-by-uuid", look_for, &sought);
	if (fd >= 0 && !sought.uuid)
		ctl_error("'%s' is no VM that runs here", vm);
	return sought.uuid;
}

static int compare_vms(const void *a, const void *b)
{
	const struct vm *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void add_id(void *ctx, const char *id, char *name)
{
	const struct vms *vms = ctx;
	const struct vm key = { .name = name };
	struct vm *vm = vms->n
		? bsearch(&key, vms->at, vms->n, sizeof(*vms->at), compare_vms)
		: NULL;

	if (vm && !vm->id)
		vm->id = xstrdup(id);
	free(name);
}

static void print_vm(const struct vm *vm, const struct status *status, int width)
{
	_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;

	strbuf_addf(&key, "vm.%s.age_ms", vm->uuid);
	int64_t age = status_number(status, strbuf_str(&key));
	const char *text = status_text(status, strbuf_str(&key));

	strbuf_clear(&key);
	strbuf_addf(&key, "vm.%s.slow_age_ms", vm->uuid);
	const char *slow = status_text(status, strbuf_str(&key));

	printf("%-*s  %5s  %s  ", width, vm->name, vm->id ? vm->id : "-", vm->uuid);
	if (age < 0)
		printf("%8s", "-");
	else
		printf("%6" PRId64 ".%" PRId64, age / 1000, age % 1000 / 100);
	printf("%s%s\n", text && strstr(text, "stale") ? "  stale" : "",
		slow && strstr(slow, "silent") ? "  its monitor is silent" : "");
}

static void print_vms_json(const struct vms *vms, const struct status *status)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	strbuf_addc(&out, '[');
	for (size_t i = 0; i < vms->n; i++) {
		const struct vm *vm = &vms->at[i];
		_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;

		strbuf_addf(&key, "vm.%s.age_ms", vm->uuid);
		int64_t age = status_number(status, strbuf_str(&key));

		strbuf_adds(&out, i ? ",\n {\"name\": " : "\n {\"name\": ");
		text_add_json(vm->name, &out);
		strbuf_adds(&out, ", \"uuid\": ");
		text_add_json(vm->uuid, &out);
		strbuf_addf(&out, ", \"id\": %s", vm->id ? vm->id : "null");
		if (age >= 0)
			strbuf_addf(&out, ", \"age_ms\": %" PRId64, age);
		strbuf_addc(&out, '}');
	}
	strbuf_adds(&out, "\n]\n");
	fputs(strbuf_str(&out), stdout);
}

int tree_list(const struct ctl *ctl)
{
	_cleanup_status_ struct status status = { 0 };
	struct vms vms = { 0 };
	int width = 4;

	if (status_read(ctl->mount, &status) < 0 ||
		each_link(ctl, "vm-by-uuid", add_vm, &vms) < 0)
		return CTL_FAILED;
	if (vms.n)
		qsort(vms.at, vms.n, sizeof(*vms.at), compare_vms);
	each_link(ctl, "vm-by-id", add_id, &vms);
	if (ctl->json)
		print_vms_json(&vms, &status);
	for (size_t i = 0; i < vms.n; i++) {
		int n = (int)strlen(vms.at[i].name);

		width = n > width && n <= 40 ? n : width;
	}
	for (size_t i = 0; i < vms.n && !ctl->json; i++) {
		if (i == 0)
			printf("%-*s  %5s  %-36s  %8s\n", width, "NAME", "ID", "UUID",
				"AGE (S)");
		print_vm(&vms.at[i], &status, width);
	}
	if (!vms.n && !ctl->json)
		fprintf(stderr, "no VM runs here\n");
	for (size_t i = 0; i < vms.n; i++) {
		free(vms.at[i].name);
		free(vms.at[i].uuid);
		free(vms.at[i].id);
	}
	free(vms.at);
	return CTL_OK;
}

/* ---- metrics ---- */

struct watched {
	char *name; /* of its file */
	int fd;     /* kept open by `watch`; -1: it is not */
	bool gone;
	char *value; /* what was told last; NULL: it could not be had */
};

struct watcheds {
	struct watched *at;
	size_t n, cap;
};

static void free_watcheds(struct watcheds *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->at[i].name);
		free(w->at[i].value);
		if (w->at[i].fd >= 0)
			close(w->at[i].fd);
	}
	free(w->at);
}

static bool is_pattern(const char *pattern)
{
	return strpbrk(pattern, "*?") != NULL;
}

static bool is_asked_for(const char *name, char *const *patterns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (glob_match(patterns[i], name))
			return true;
	return n == 0;
}

static int compare_watched(const void *a, const void *b)
{
	const struct watched *x = a, *y = b;

	return strverscmp(x->name, y->name);
}

/* The files of @dir that are asked for, by name.  Return: an exit status. */
static int find_files(DIR *dir, const char *scope, char *const *patterns, size_t n,
	struct watcheds *ret)
{
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.' || !is_asked_for(e->d_name, patterns, n))
			continue;
		ret->at = xgrow(ret->at, ret->n, &ret->cap, sizeof(*ret->at));
		ret->at[ret->n++] =
			(struct watched){ .name = xstrdup(e->d_name), .fd = -1 };
	}
	if (ret->n)
		qsort(ret->at, ret->n, sizeof(*ret->at), compare_watched);
	for (size_t i = 0; i < n; i++) {
		bool found = false;

		for (size_t k = 0; k < ret->n; k++)
			found |= glob_match(patterns[i], ret->at[k].name);
		if (found)
			continue;
		ctl_error("'%s' has no metric %s'%s'", scope,
			is_pattern(patterns[i]) ? "like " : "", patterns[i]);
		ctl_hint(
			"it is not configured, or does not apply there; vhostmdctl get '%s' "
			"shows those that are",
			scope);
		return CTL_NOT_FOUND;
	}
	return CTL_OK;
}

/* The value, without the end of its line; the caller's to free.  Return: NULL and errno. */
static char *read_value(int dirfd, struct watched *w, bool keep)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int fd = w->fd >= 0 ? w->fd : openat(dirfd, w->name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno
					   : read_all(fd, VALUE_BYTES_MAX, &text);

	if (keep)
		w->fd = fd;
	else
		close(fd);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	if (text.len && text.data[text.len - 1] == '\n')
		text.data[--text.len] = '\0';
	return xstrdup(strbuf_str(&text));
}

/* An extended attribute of a metric, "" if it has none. */
static void read_attribute(
	int dirfd, const char *name, const char *attribute, char ret[64])
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fgetxattr(fd, attribute, ret, 63);

	ret[n < 0 ? 0 : n] = '\0';
}

static void add_json_value(const char *value, const char *type, struct strbuf *out)
{
	double ignored;

	if (!value)
		strbuf_adds(out, "null");
	else if (strcmp(type, "string") != 0 && parse_real(value, &ignored) == 0)
		strbuf_adds(out, value);
	else
		text_add_json(value, out);
}

static void add_json(int dirfd, const char *name, const char *value, struct strbuf *out)
{
	char type[64], unit[64];

	read_attribute(dirfd, name, "user.vhostmd.type", type);
	read_attribute(dirfd, name, "user.vhostmd.unit", unit);
	text_add_json(name, out);
	strbuf_adds(out, ": {\"value\": ");
	add_json_value(value, type, out);
	strbuf_adds(out, ", \"type\": ");
	text_add_json(type, out);
	if (*unit) {
		strbuf_adds(out, ", \"unit\": ");
		text_add_json(unit, out);
	}
	strbuf_addc(out, '}');
}

static void print_row(int dirfd, const char *name, const char *value, int width)
{
	_cleanup_strbuf_ struct strbuf shown = STRBUF_INIT;
	char unit[64];

	read_attribute(dirfd, name, "user.vhostmd.unit", unit);
	text_add_printable(value ? value : "(cannot be had now)", &shown);
	if (*unit && value) {
		strbuf_addc(&shown, ' ');
		text_add_printable(unit, &shown);
	}
	printf("%-*s  %s\n", width, name, strbuf_str(&shown));
}

static int width_of(const struct watcheds *all)
{
	int width = 0;

	for (size_t i = 0; i < all->n; i++) {
		int n = (int)strlen(all->at[i].name);

		width = n > width && n <= 48 ? n : width;
	}
	return width;
}

int tree_get(const struct ctl *ctl, const char *scope, char *const *patterns, size_t n)
{
	_cleanup_strbuf_ struct strbuf json = STRBUF_INIT;
	bool bare = n == 1 && !is_pattern(patterns[0]) && !ctl->json;
	int fd = open_scope(ctl, scope);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	_cleanup_(free_watcheds) struct watcheds all = { 0 };

	if (!dir)
		return CTL_NOT_FOUND;
	int r = find_files(dir, scope, patterns, n, &all), width = width_of(&all);

	for (size_t i = 0; i < all.n && r == CTL_OK; i++) {
		_cleanup_free_ char *value = read_value(dirfd(dir), &all.at[i], false);

		if (!value && errno == ENOENT)
			continue; /* it went while we looked */
		if (ctl->json) {
			strbuf_adds(&json, json.len ? ",\n " : "{\n ");
			add_json(dirfd(dir), all.at[i].name, value, &json);
		} else if (!bare) {
			print_row(dirfd(dir), all.at[i].name, value, width);
		} else if (value) {
			printf("%s\n", value);
		} else {
			ctl_error(
				"'%s' of '%s' cannot be had now", all.at[i].name, scope);
			r = CTL_NO_VALUE;
		}
	}
	if (ctl->json && r == CTL_OK)
		printf("%s\n}\n", json.len ? strbuf_str(&json) : "{");
	return r;
}

/* ---- changes ---- */

static void print_change(
	const struct ctl *ctl, int dirfd, const struct watched *w, int width)
{
	char stamp[32];
	int64_t now = clock_real_ns();
	time_t s = (time_t)(now / NS_PER_S);
	struct tm tm;

	if (ctl->json) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		strbuf_addf(&out, "{\"time\": %" PRId64 ".%03" PRId64 ", ",
			now / NS_PER_S, now % NS_PER_S / NS_PER_MS);
		add_json(dirfd, w->name, w->value, &out);
		printf("%s}\n", strbuf_str(&out));
	} else {
		strftime(stamp, sizeof(stamp), "%H:%M:%S", localtime_r(&s, &tm));
		printf("%s.%03" PRId64 "  ", stamp, now % NS_PER_S / NS_PER_MS);
		print_row(dirfd, w->name, w->value, width);
	}
	fflush(stdout);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/*
 * Looks at one that is said to have changed.
 * Return: 1: it has, and was printed; 0: it has not; -1: it is gone.
 */
static int look(
	const struct ctl *ctl, int dirfd, struct watched *w, int width, bool first)
{
	char *value = read_value(dirfd, w, true);
	bool gone = !value && errno != ENODATA && errno != EAGAIN;

	if (gone || (!first && same_text(value, w->value))) {
		free(value);
		return gone ? -1 : 0;
	}
	free(w->value);
	w->value = value;
	print_change(ctl, dirfd, w, width);
	return 1;
}

/* One descriptor each. */
static int raise_limit(size_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	if (limit.rlim_cur >= n + 32)
		return 0;
	if (limit.rlim_max < n + 32)
		return -EMFILE;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

/* One that cannot be had cannot be opened, and so not waited for. */
#define RETRY_MS 500

static int follow(
	const struct ctl *ctl, int dirfd, struct watcheds *all, unsigned long count)
{
	struct pollfd *fds = xcalloc(all->n, sizeof(*fds));
	int width = width_of(all);
	unsigned long changes = 0;
	bool first = true;

	while (!ferror(stdout)) {
		size_t left = 0, closed = 0;

		for (size_t i = 0; i < all->n && !(count && changes >= count); i++) {
			struct watched *w = &all->at[i];
			int r = w->gone || (w->fd >= 0 && !fds[i].revents && !first)
				? 0
				: look(ctl, dirfd, w, width, first);

			changes += r > 0 && !first;
			if (r < 0) {
				w->gone = true;
				fprintf(stderr, "%s is gone\n", w->name);
			}
			fds[i] = (struct pollfd){ w->gone ? -1 : w->fd, POLLPRI, 0 };
			left += !w->gone;
			closed += !w->gone && w->fd < 0;
		}
		first = false;
		if (!left || (count && changes >= count) ||
			poll(fds, all->n, closed ? RETRY_MS : -1) < 0)
			break;
	}
	free(fds);
	return ferror(stdout) ? CTL_FAILED : CTL_OK;
}

int tree_watch(const struct ctl *ctl, const char *scope, char *const *patterns, size_t n,
	unsigned long count)
{
	int fd = open_scope(ctl, scope);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	_cleanup_(free_watcheds) struct watcheds all = { 0 };

	if (!dir)
		return CTL_NOT_FOUND;
	int r = find_files(dir, scope, patterns, n, &all);

	if (r != CTL_OK)
		return r;
	if (raise_limit(all.n) < 0) {
		ctl_error("%zu metrics are more than files that may be open", all.n);
		ctl_hint("name some of them, or raise the limit: ulimit -n");
		return CTL_FAILED;
	}
	return follow(ctl, dirfd(dir), &all, count);
}
