/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/user.h"

#define STATUS_BYTES (16u << 20) /* two lines for each of the most VMs */
#define CONF_SAYS_BYTES (4u << 20)

/* Where the systemd unit has it. */
#define UNIT_PID_FILE "/run/vhostmd-daemon/pid"

char *doctor_path(const struct doctor *d, const char *path)
{
	return xasprintf("%s%s", d->real ? "" : d->options->root, path);
}

int doctor_read(const struct doctor *d, const char *path, struct strbuf *out)
{
	int r = read_file_at(d->root_fd, path, DOCTOR_FILE_BYTES, out);

	if (r < 0)
		strbuf_clear(out);
	while (out->len && strchr(" \t\n", out->data[out->len - 1]))
		out->data[--out->len] = '\0';
	return r;
}

bool doctor_exists(const struct doctor *d, const char *path)
{
	return faccessat(d->root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int doctor_user(const struct doctor *d, const char *name, struct user *ret)
{
	_cleanup_free_ char *path = doctor_path(d, "/etc/passwd");
	char buf[1024];
	struct passwd pw, *found = NULL;

	if (d->real)
		return user_resolve(name, ret);
	_cleanup_fclose_ FILE *f = fopen(path, "re");

	while (f && fgetpwent_r(f, &pw, buf, sizeof(buf), &found) == 0)
		if (!strcmp(pw.pw_name, name)) {
			*ret = (struct user){
				.change = true, .uid = pw.pw_uid, .gid = pw.pw_gid
			};
			return 0;
		}
	return -ENOENT;
}

/* ---- status ---- */

size_t doctor_status_lines(char *text, struct status_line **ret)
{
	size_t n = 0, cap = 0;
	char *save = NULL;

	*ret = NULL;
	for (char *line = strtok_r(text, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		char *colon = strstr(line, ": ");

		if (!colon)
			continue;
		*colon = '\0';
		*ret = xgrow(*ret, n, &cap, sizeof(**ret));
		(*ret)[n++] = (struct status_line){ line, colon + 2 };
	}
	return n;
}

const char *doctor_status(const struct doctor *d, const char *key)
{
	for (size_t i = 0; i < d->n_status; i++)
		if (!strcmp(d->status[i].key, key))
			return d->status[i].value;
	return NULL;
}

int64_t doctor_status_number(const struct doctor *d, const char *key, int64_t otherwise)
{
	const char *value = doctor_status(d, key);
	uint64_t n = 0;

	if (!value || parse_u64_at(&value, &n) < 0 || n > INT64_MAX)
		return otherwise;
	return (int64_t)n;
}

static int read_status(const void *path, int out)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(AT_FDCWD, path, STATUS_BYTES, &text);

	if (r == 0)
		doctor_answer(out, &text);
	return -r;
}

int doctor_ask_status(const struct doctor *d, struct strbuf *text)
{
	_cleanup_free_ char *path = xasprintf("%s/status", d->mount_path);

	return doctor_ask(read_status, path, DOCTOR_ANSWER_MS, STATUS_BYTES, text);
}

/* ---- the mount ---- */

/* Its parent without symbolic links; itself may be dead and is not touched. */
static char *canonical(const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	size_t n = strlen(copy);

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	char *slash = strrchr(copy, '/');

	if (!slash || !slash[1])
		return TAKE_PTR(copy);
	*slash = '\0';
	_cleanup_free_ char *parent = realpath(*copy ? copy : "/", NULL);

	if (!parent)
		return xstrdup(path);
	return xasprintf("%s/%s", strcmp(parent, "/") ? parent : "", slash + 1);
}

static void gather_mount(struct doctor *d)
{
	d->mount = d->real ? canonical(d->options->mount) : xstrdup(d->options->mount);
	d->mount_path = doctor_path(d, d->mount);
	doctor_mounts_read(d, "proc/self/mountinfo", &d->mounts);
	const struct doctor_mount *mount = doctor_mounts_at(&d->mounts, d->mount);

	if (!mount)
		return;
	if (!doctor_mount_is_ours(mount)) {
		d->mount_state = MOUNT_OTHER;
		return;
	}
	d->mount_state = doctor_mount_state(d->mount_path, &d->mount_error);
	if (d->mount_state != MOUNT_ANSWERS)
		return;
	int r = doctor_ask_status(d, &d->status_text);

	if (r != 0) {
		d->mount_error = r < 0 ? -r : r;
		d->mount_state = r == -ETIMEDOUT ? MOUNT_SILENT : MOUNT_FAILS;
		strbuf_clear(&d->status_text);
	}
	if (d->status_text.len)
		d->n_status = doctor_status_lines(d->status_text.data, &d->status);
}

/* ---- processes ---- */

static bool has_fuse_open(const struct doctor *d, const char *pid)
{
	char path[64], target[16];

	snprintf(path, sizeof(path), "proc/%s/fd", pid);
	_cleanup_close_ int fd = open_at(d->root_fd, path, O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(TAKE_FD(fd)) : NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target));

		if (n == 9 && !memcmp(target, "/dev/fuse", 9))
			return true;
	}
	return false;
}

/* The number after @key of /proc/PID/status. */
static uint64_t number_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	uint64_t n = 0;

	if (at) {
		at += strlen(key);
		at += strspn(at, " \t");
		parse_u64_at(&at, &n);
	}
	return n;
}

static void look_at_process(struct doctor *d, const char *pid, size_t *cap)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t n = 0;
	char path[64];

	if (parse_u64(pid, &n) < 0 || n > INT32_MAX)
		return;
	snprintf(path, sizeof(path), "proc/%s/comm", pid);
	if (doctor_read(d, path, &text) < 0 || strcmp(strbuf_str(&text), "vhostmd") != 0)
		return;
	snprintf(path, sizeof(path), "proc/%s/status", pid);
	doctor_read(d, path, &text);
	const char *state = strstr(strbuf_str(&text), "\nState:\t");
	struct doctor_process process = { .pid = (pid_t)n,
		.parent = (pid_t)number_of(strbuf_str(&text), "\nPPid:"),
		.uid = (uid_t)number_of(strbuf_str(&text), "\nUid:"),
		.state = state ? state[8] : '?',
		.serves = has_fuse_open(d, pid) };

	if (process.state == 'Z' || process.state == 'X')
		return; /* has ended */
	d->processes = xgrow(d->processes, d->n_processes, cap, sizeof(*d->processes));
	d->processes[d->n_processes++] = process;
}

static void gather_processes(struct doctor *d)
{
	_cleanup_close_ int fd = open_at(d->root_fd, "proc", O_RDONLY | O_DIRECTORY);
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(TAKE_FD(fd)) : NULL;
	size_t cap = 0;
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		look_at_process(d, e->d_name, &cap);
}

/* ---- whose file system it is ---- */

/* Whom the pid file names, if he lives and holds it locked. */
static pid_t owner_of(const char *pid_file)
{
	_cleanup_close_ int fd = open_at(AT_FDCWD, pid_file, O_RDONLY | O_NONBLOCK);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint64_t pid = 0;

	if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	if (read_all(fd, 64, &text) < 0 || !text.len ||
		parse_u64(str_trim(text.data), &pid) < 0 || pid > INT32_MAX)
		return 0;
	return (pid_t)pid;
}

static const struct doctor_process *find_process(const struct doctor *d, pid_t pid)
{
	for (size_t i = 0; i < d->n_processes; i++)
		if (d->processes[i].pid == pid)
			return &d->processes[i];
	return NULL;
}

static void gather_daemon(struct doctor *d)
{
	_cleanup_free_ char *unit_file = doctor_path(d, UNIT_PID_FILE);
	const char *file = d->options->pid_file;

	d->keeper = owner_of(file);
	if (!d->keeper && owner_of(unit_file)) {
		file = unit_file;
		d->keeper = owner_of(file);
	}
	d->pid_file = xstrdup(file);
	d->worker = (pid_t)doctor_status_number(d, "pid", 0);
	const struct doctor_process *worker = find_process(d, d->worker);

	/* who answers runs, whatever its pid file is */
	if (!d->keeper && worker)
		d->keeper = worker->parent;
}

/* ---- the configuration ---- */

static int check_config(const void *ctx, int out)
{
	const struct doctor_options *o = ctx;
	char *const words[] = { xstrdup(o->daemon), xstrdup("--check-config"),
		xstrdup(o->conf_file), NULL };

	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		return EMFILE;
	close(out);
	execv(words[0], words);
	return errno == ENOENT ? 127 : 126;
}

static void gather_conf(struct doctor *d)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };

	conf_load(d->options->conf_file, &report, &d->conf);
	d->conf_said = doctor_ask(
		check_config, d->options, DOCTOR_CONF_MS, CONF_SAYS_BYTES, &d->conf_text);
}

void doctor_gather(struct doctor *d)
{
	d->real = !strcmp(d->options->root, "/");
	d->root_fd = open(d->options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	gather_mount(d);
	gather_processes(d);
	gather_daemon(d);
	gather_conf(d);
}

void doctor_done(struct doctor *d)
{
	close_p(&d->root_fd);
	free(d->mount);
	free(d->mount_path);
	doctor_mounts_done(&d->mounts);
	strbuf_done(&d->status_text);
	free(d->status);
	free(d->processes);
	free(d->pid_file);
	conf_unref(d->conf);
	strbuf_done(&d->conf_text);
}
