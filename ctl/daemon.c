/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "status.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/text.h"

/* A reload reads a file; an upgrade gives up after 15 s by itself (vhostmd(8), UPGRADE). */
#define RELOAD_PATIENCE_NS (10 * NS_PER_S)
#define UPGRADE_PATIENCE_NS (20 * NS_PER_S)
#define POLL_NS (20 * NS_PER_MS)

/* ---- by signals ---- */

/* Who serves the mount, and who keeps it: the worker's parent. */
struct daemon {
	pid_t worker, keeper;
	int64_t reads; /* how often this worker has read its configuration */
};

/* The number behind "PPid:", and that it is a vhostmd.  Return: 0 if it is none. */
static pid_t find_keeper(pid_t worker)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", (int)worker);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (read_file_at(AT_FDCWD, path, 1 << 16, &text) < 0 || !text.len ||
		strncmp(text.data, "Name:\tvhostmd\n", 14) != 0)
		return 0;
	const char *line = strstr(text.data, "\nPPid:");
	long pid = line ? strtol(line + 6, NULL, 10) : 0;

	return pid > 1 ? (pid_t)pid : 0;
}

static int find_daemon(const struct ctl *ctl, struct daemon *ret)
{
	_cleanup_status_ struct status status = { 0 };

	if (status_read(ctl->mount, &status) < 0)
		return CTL_FAILED;
	*ret = (struct daemon){ .worker = (pid_t)status_number(&status, "pid"),
		.reads = status_number(&status, "conf.reads") };
	ret->keeper = ret->worker > 0 ? find_keeper(ret->worker) : 0;
	if (ret->keeper)
		return CTL_OK;
	ctl_error("whoever serves %s is no process of this host", ctl->mount);
	ctl_hint("run vhostmdctl where vhostmd runs, not in a container");
	return CTL_FAILED;
}

static int send_signal(pid_t pid, int sig)
{
	if (kill(pid, sig) == 0)
		return CTL_OK;
	ctl_error("process %d: %s", (int)pid, strerror(errno));
	if (errno == EPERM)
		ctl_hint("run it as root");
	return CTL_FAILED;
}

static void pause_a_moment(void)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };

	nanosleep(&pause, NULL);
}

/* Until this worker, or another one, has read its configuration. */
static int wait_for_reload(const struct ctl *ctl, const struct daemon *was)
{
	for (int64_t until = clock_mono_ns() + RELOAD_PATIENCE_NS;
		clock_mono_ns() < until; pause_a_moment()) {
		_cleanup_status_ struct status status = { 0 };
		const char *file;

		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		if (status_number(&status, "pid") == was->worker &&
			status_number(&status, "conf.reads") == was->reads)
			continue;
		file = status_text(&status, "conf.file");
		int64_t mistakes = status_number(&status, "conf.mistakes");

		if (status_text(&status, "conf.refused")) {
			ctl_error(
				"%s was refused: the configuration before it is in force",
				file ? file : "the file");
			ctl_hint("vhostmdctl check-config says what is wrong with it");
			return CTL_FAILED;
		}
		printf("%s is in force\n", file ? file : "the file");
		if (mistakes > 0) {
			ctl_error("without what %" PRId64 " mistakes stand in", mistakes);
			ctl_hint("vhostmdctl check-config says which");
		}
		return CTL_OK;
	}
	ctl_error("the daemon has not read its configuration within %d s",
		(int)(RELOAD_PATIENCE_NS / NS_PER_S));
	ctl_hint("vhostmdctl doctor, and its log: journalctl -u vhostmd");
	return CTL_FAILED;
}

static int reload_by_signal(const struct ctl *ctl)
{
	struct daemon daemon;
	int r = find_daemon(ctl, &daemon);

	if (r == CTL_OK)
		r = send_signal(daemon.keeper, SIGHUP);
	return r == CTL_OK ? wait_for_reload(ctl, &daemon) : r;
}

static bool runs(pid_t pid, const struct stat *program)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/exe", (int)pid);
	struct stat exe;

	return stat(path, &exe) == 0 && exe.st_ino == program->st_ino &&
		exe.st_dev == program->st_dev;
}

static int upgrade_by_signal(const struct ctl *ctl, const struct stat *program)
{
	struct daemon was;
	int r = find_daemon(ctl, &was);

	if (r == CTL_OK)
		r = send_signal(was.keeper, SIGUSR2);
	if (r != CTL_OK)
		return r;
	for (int64_t until = clock_mono_ns() + UPGRADE_PATIENCE_NS;
		clock_mono_ns() < until; pause_a_moment()) {
		_cleanup_status_ struct status status = { 0 };

		if (kill(was.worker, 0) == 0 || !runs(was.keeper, program))
			continue;
		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		printf("vhostmd %s runs\n",
			status_text(&status, "version") ? status_text(&status, "version")
							: "?");
		return CTL_OK;
	}
	_cleanup_status_ struct status status = { 0 };

	ctl_error("vhostmd goes on with the program that it had");
	if (status_read(ctl->mount, &status) == 0 && status_text(&status, "conf.refused"))
		ctl_hint("another one needs a configuration that can be used: "
			 "vhostmdctl check-config");
	else
		ctl_hint("its log says why: journalctl -u vhostmd");
	return CTL_FAILED;
}

/* ---- at the control socket ---- */

/* Where it is; *@ret is the caller's to free, NULL: the daemon is one that has none. */
static int find_socket(const struct ctl *ctl, char **ret)
{
	_cleanup_status_ struct status status = { 0 };

	if (ctl->control) {
		*ret = xstrdup(ctl->control);
		return CTL_OK;
	}
	if (status_read(ctl->mount, &status) < 0)
		return CTL_FAILED;
	const char *path = status_text(&status, "control.socket");

	*ret = path ? xstrdup(path) : NULL;
	return CTL_OK;
}

/*
 * Whether nobody listens there whom we can reach, or who speaks as we do: then there are signals,
 * unless that is the socket that was named.  @r: of control_ask().
 */
static bool is_not_served(const struct ctl *ctl, int r, const struct control_answer *a)
{
	return !ctl->control &&
		(r == -ENOENT || r == -ECONNREFUSED || r == -EACCES ||
			(r == 0 && !strcmp(a->word, "protocol")));
}

static void print_complaints(const char *lines)
{
	_cleanup_free_ char *copy = xstrdup(lines);
	char *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save))
		ctl_hint("%s", line);
}

/* There was no answer.  Return: CTL_FAILED. */
static int say_silence(const char *path, int r, int64_t patience_ns)
{
	if (r == -ETIMEDOUT || r == -ENODATA)
		ctl_error(
			"%s: no answer within %d s", path, (int)(patience_ns / NS_PER_S));
	else
		ctl_error("%s: %s", path, strerror(-r));
	ctl_hint("vhostmdctl doctor, and the daemon's log: journalctl -u vhostmd");
	return CTL_FAILED;
}

/* Return: CTL_FAILED. */
static int say_refusal(const struct control_answer *a)
{
	ctl_error("%s", a->text);
	print_complaints(a->body);
	if (!strcmp(a->word, "denied"))
		ctl_hint(
			"run it as root, or as who is in the group that --control-group of "
			"vhostmd names");
	return CTL_FAILED;
}

static int reload_at(const struct ctl *ctl, const char *path)
{
	_cleanup_answer_ struct control_answer a = { 0 };
	int r = control_ask_patiently(
		path, "reload", clock_mono_ns() + RELOAD_PATIENCE_NS, &a);

	if (is_not_served(ctl, r, &a))
		return reload_by_signal(ctl);
	if (r < 0)
		return say_silence(path, r, RELOAD_PATIENCE_NS);
	if (!a.ok)
		return say_refusal(&a);
	/* "MISTAKES FILE" */
	size_t n = strcspn(a.text, " ");
	_cleanup_free_ char *mistakes = xstrndup(a.text, n);
	_cleanup_strbuf_ struct strbuf file = STRBUF_INIT;

	text_add_printable(a.text + n + (a.text[n] == ' '), &file);
	printf("%s is in force\n", strbuf_str(&file));
	if (strcmp(mistakes, "0") != 0)
		ctl_error("without what %s mistakes stand in", mistakes);
	else if (*a.body)
		ctl_error("but:");
	print_complaints(a.body);
	return CTL_OK;
}

int daemon_reload(const struct ctl *ctl)
{
	_cleanup_free_ char *path = NULL;
	int r = find_socket(ctl, &path);

	if (r != CTL_OK)
		return r;
	return path ? reload_at(ctl, path) : reload_by_signal(ctl);
}

/* Who serves, as he says. */
struct server {
	char *version, *worker, *program;
	char *failed; /* the version that could not take over from it; NULL: none */
};

static void server_done(struct server *s)
{
	free(s->version);
	free(s->worker);
	free(s->program);
	free(s->failed);
	*s = (struct server){ 0 };
}

static void take_server(const struct control_answer *a, struct server *ret)
{
	server_done(ret);
	*ret = (struct server){ .version = xstrdup(a->text),
		.worker = control_value(a, "worker"),
		.program = control_value(a, "program"),
		.failed = control_value(a, "failed") };
}

/* Return: 0, or -errno. */
static int ask_who_serves(const char *path, int64_t until_ns, struct server *ret)
{
	_cleanup_answer_ struct control_answer a = { 0 };
	int r = control_ask_patiently(path, "version", until_ns, &a);

	if (r < 0)
		return r;
	take_server(&a, ret);
	return ret->worker && ret->program ? 0 : -EPROTO;
}

static int say_it_goes_on(const char *why)
{
	ctl_error("vhostmd goes on with the program that it had: %s", why);
	ctl_hint("its log says more: journalctl -u vhostmd");
	return CTL_FAILED;
}

/* Whoever is asked gives no answer if he gives way; so it is looked at who serves then. */
static int upgrade_at(const struct ctl *ctl, const char *path, const struct stat *program)
{
	_cleanup_free_ char *wanted = xasprintf(
		"%ju:%ju", (uintmax_t)program->st_dev, (uintmax_t)program->st_ino);
	int64_t until_ns = clock_mono_ns() + UPGRADE_PATIENCE_NS;
	_cleanup_(server_done) struct server was = { 0 }, is = { 0 };
	_cleanup_answer_ struct control_answer first = { 0 };
	int r = control_ask_patiently(path, "version", until_ns, &first);

	if (is_not_served(ctl, r, &first))
		return upgrade_by_signal(ctl, program);
	if (r == 0) {
		take_server(&first, &was);
		r = was.worker ? 0 : -EPROTO;
	}
	while (r == 0 && clock_mono_ns() < until_ns) {
		_cleanup_answer_ struct control_answer a = { 0 };

		r = control_ask(path, "upgrade", until_ns, &a);
		if (r == 0 && !a.ok && !strcmp(a.word, "refused"))
			return say_it_goes_on(a.text);
		if (r == 0 && !a.ok)
			return say_refusal(&a);
		if (r == 0 || r == -ENODATA)
			r = ask_who_serves(path, until_ns, &is);
		if (r < 0)
			break;
		bool another = strcmp(is.worker, was.worker) != 0;

		if (another && !strcmp(is.program, wanted)) {
			_cleanup_strbuf_ struct strbuf version = STRBUF_INIT;

			text_add_printable(is.version, &version);
			printf("vhostmd %s runs\n", strbuf_str(&version));
			return CTL_OK;
		}
		if (another && is.failed) {
			_cleanup_free_ char *why =
				xasprintf("version %s has failed", is.failed);

			return say_it_goes_on(why);
		}
		pause_a_moment();
	}
	if (r < 0)
		return say_silence(path, r, UPGRADE_PATIENCE_NS);
	_cleanup_free_ char *why = xasprintf("it is not %s", ctl->program);

	return say_it_goes_on(why);
}

int daemon_upgrade(const struct ctl *ctl)
{
	_cleanup_free_ char *path = NULL;
	struct stat program;
	int r = find_socket(ctl, &path);

	if (r != CTL_OK)
		return r;
	if (stat(ctl->program, &program) < 0) {
		ctl_error("%s: %s", ctl->program, strerror(errno));
		ctl_hint("--program says where vhostmd is installed");
		return CTL_FAILED;
	}
	return path ? upgrade_at(ctl, path, &program) : upgrade_by_signal(ctl, &program);
}

int daemon_status(const struct ctl *ctl, struct status *ret)
{
	_cleanup_answer_ struct control_answer a = { 0 };

	*ret = (struct status){ 0 };
	if (!ctl->control)
		return status_read(ctl->mount, ret) < 0 ? CTL_FAILED : CTL_OK;
	int r = control_ask_patiently(
		ctl->control, "status", clock_mono_ns() + RELOAD_PATIENCE_NS, &a);

	if (r < 0)
		return say_silence(ctl->control, r, RELOAD_PATIENCE_NS);
	if (!a.ok)
		return say_refusal(&a);
	status_parse(a.body, ret);
	return CTL_OK;
}

int daemon_ask(const struct ctl *ctl, const char *verb, const char *otherwise,
	struct control_answer *ret)
{
	_cleanup_free_ char *path = NULL;
	int r = find_socket(ctl, &path);

	*ret = (struct control_answer){ 0 };
	if (r != CTL_OK)
		return r;
	if (!path) {
		ctl_error("the daemon that serves %s has no control socket", ctl->mount);
		ctl_hint("%s", otherwise);
		return CTL_FAILED;
	}
	r = control_ask_patiently(path, verb, clock_mono_ns() + RELOAD_PATIENCE_NS, ret);
	if (r < 0)
		return say_silence(path, r, RELOAD_PATIENCE_NS);
	if (!ret->ok && !strcmp(ret->word, "unknown")) {
		ctl_error("the daemon is older than this: it does not know '%s'", verb);
		ctl_hint("vhostmdctl upgrade");
		return CTL_FAILED;
	}
	return ret->ok ? CTL_OK : say_refusal(ret);
}

int daemon_log(const struct ctl *ctl, const enum log_level *level)
{
	_cleanup_free_ char *verb = xasprintf(
		"log%s%s", level ? " " : "", level ? log_level_name(*level) : "");
	_cleanup_answer_ struct control_answer a = { 0 };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = daemon_ask(ctl, verb,
		"--verbose among its options has it log more, from its next start on",
		&a);

	if (r != CTL_OK)
		return r;
	text_add_printable(a.text, &text);
	printf("%s\n", strbuf_str(&text));
	return CTL_OK;
}

int daemon_check_config(const struct ctl *ctl, const char *file)
{
	_cleanup_status_ struct status status = { 0 };

	if (!file) {
		if (status_read(ctl->mount, &status) < 0)
			return CTL_FAILED;
		file = status_text(&status, "conf.file");
	}
	execl(ctl->program, "vhostmd", "--check-config", file, (char *)NULL);
	ctl_error("%s: %s", ctl->program, strerror(errno));
	return CTL_FAILED;
}
