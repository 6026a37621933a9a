/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's entry: options, configuration, becoming a daemon; then keeper.h. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect/actions/rights.h"
#include "collect/actions/template.h"
#include "conf/conf.h"
#include "conf/disk_access.h"
#include "conf/host_key.h"
#include "core/catalogue.h"
#include "core/spec.h"
#include "http/http.h"
#include "journal.h"
#include "keeper/address.h"
#include "keeper/keeper.h"
#include "keeper/manager.h"
#include "keeper/mount.h"
#include "keeper/place.h"
#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "options.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/hypervisor.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/user.h"
#include "worker.h"

enum { EXIT_USAGE = 2 };

/* Whom packages create for the worker (data/vhostmd.sysusers). */
#define OWN_USER "vhostmd"

static int list_sources(bool markdown)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	catalogue_print(&out, markdown);
	fputs(strbuf_str(&out), stdout);
	return EXIT_SUCCESS;
}

static void start_log(const struct options *o, bool to_syslog)
{
	log_init(o->verbose, to_syslog);
	journal_start();
}

/* Reads the configuration; mistakes and warnings are added to @report. */
static struct conf *load(const char *file, struct conf_report *report)
{
	_cleanup_strbuf_ struct strbuf sum = STRBUF_INIT;
	struct conf *conf = NULL;

	conf_load(file, report, &conf);
	if (report->errors)
		strbuf_addf(&sum, "%s: %u mistake%s%s", file, report->errors,
			report->errors == 1 ? "" : "s",
			conf && report->tolerant ? "; the rest is used" : "");
	if (log_has_journal()) {
		log_lines(LOG_LEVEL_WARNING, strbuf_str(report->text));
		log_lines(LOG_LEVEL_WARNING, strbuf_str(&sum));
		return conf;
	}
	fputs(strbuf_str(report->text), stderr);
	if (sum.len)
		fprintf(stderr, "vhostmd: %s\n", strbuf_str(&sum));
	return conf;
}

static void find_disk_access(struct disk_access *ret)
{
	_cleanup_close_ int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	disk_access_find(root_fd, ret);
}

/* Where an action's text limits the names of VMs that it can be run for. */
static void describe_actions(const struct conf *conf, struct strbuf *out)
{
	for (size_t i = 0; i < conf->specs->n; i++) {
		const struct metric_spec *spec = &conf->specs->specs[i];
		const struct action_text action = {
			.text = spec->action, .in_vm = true, .any_name = spec->any_name
		};

		if (!spec->action || spec->context != CONTEXT_VM)
			continue;
		struct action_template *t = action_template_new(&action);
		const char *why = action_template_refuses(t, "a b", conf->action_path);

		if (why)
			strbuf_addf(out, "line %u, %s: for a VM named 'a b', %s\n",
				spec->line, spec->name, why);
		action_template_free(t);
	}
}

/* What stands where the shared disk is expected. */
static void describe_path(const struct conf *conf, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	_cleanup_close_ int fd = -1;

	if (!conf_has_shared_disk(conf))
		return;
	int r = place_open_old(conf->disk_path, &fd, &why);

	if (r == 0)
		strbuf_addf(out,
			"%s is of an older vhostmd: it is written on as it was, until it is "
			"removed, and then becomes the link\n",
			conf->disk_path);
	else if (r != -ENOENT)
		strbuf_addf(out, "%s is in the way: %s; it will be left alone\n",
			conf->disk_path, strbuf_str(&why));
}

/* What actions lack who do not run as root; only root can find out. */
static void describe_rights(
	const struct conf *conf, const char *worker, struct strbuf *out)
{
	const char *name = worker   ? worker
		: conf->action_user ? conf->action_user
				    : "nobody";
	struct user user = { 0 };

	if (geteuid() != 0 || user_resolve(name, &user) < 0 || user.uid == 0)
		return;
	for (size_t i = 0; i < conf->specs->n; i++) {
		const struct metric_spec *spec = &conf->specs->specs[i];
		_cleanup_strbuf_ struct strbuf lacks = STRBUF_INIT;

		if (spec->action)
			rights_foretell(spec->action, &user, conf->action_path, &lacks);
		char *save = NULL;

		for (char *line = lacks.len ? strtok_r(lacks.data, "\n", &save) : NULL;
			line; line = strtok_r(NULL, "\n", &save))
			strbuf_addf(out, "line %u, %s: run as %s it lacks a right: %s\n",
				spec->line, spec->name, name, line);
	}
}

static int check_config(const char *file, const char *worker)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct conf_report report = { .text = &text };
	struct conf *conf = load(file, &report);
	bool ok = !report.errors;

	if (ok) {
		struct disk_access access;

		find_disk_access(&access);
		conf_describe(conf, &out);
		disk_access_describe(&access, conf, &out);
		host_key_describe(conf, &out);
		describe_actions(conf, &out);
		describe_rights(conf, worker, &out);
		describe_path(conf, &out);
		fputs(strbuf_str(&out), stdout);
	}
	conf_unref(conf);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Goes into the background.  The parent waits until all is up and exits with the child's
 * word for it.  Return: where the child reports, or -1 after saying that we stay.
 */
static int daemonize(void)
{
	int fds[2];
	char ok = 1;
	pid_t pid = pipe2(fds, O_CLOEXEC) < 0 ? -1 : fork();

	if (pid < 0) {
		log_error("staying in the foreground: %s", strerror(errno));
		return -1;
	}
	if (pid > 0) {
		close(fds[1]);
		ssize_t n = read(fds[0], &ok, 1);

		_exit(n == 1 && ok == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(fds[0]);
	setsid();
	if (chdir("/") < 0)
		log_warning("/: %s", strerror(errno));
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		dup2(null, fd);
	return fds[1];
}

/*
 * The mount point as the kernel will list it: its parent without symbolic links, its name
 * without slashes behind it.  The mount point itself may be dead and is not touched.
 * Return: a path that the caller frees, or NULL after saying what is wrong.
 */
static char *canonical_mount(const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	size_t n = strlen(copy);

	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	char *slash = strrchr(copy, '/');

	if (!slash[1] || !strcmp(slash, "/.") || !strcmp(slash, "/..")) {
		log_error("--mount: '%s' is no place for a mount point", path);
		return NULL;
	}
	*slash = '\0';
	_cleanup_free_ char *parent = realpath(*copy ? copy : "/", NULL);

	if (!parent) {
		log_error("%s cannot be created: %s: %s", path, *copy ? copy : "/",
			strerror(errno));
		return NULL;
	}
	return xasprintf("%s/%s", strcmp(parent, "/") ? parent : "", slash + 1);
}

/*
 * The worker's user: --user, else vhostmd's own if we can become it.  @ret_uid: his.
 * Return: true, or false after saying that there is no such user.
 */
static bool find_user(const char *option, const char **ret_name, uid_t *ret_uid)
{
	const char *name = option ? option : OWN_USER;
	struct user user = { .uid = geteuid() };
	int r = !option && geteuid() != 0 ? -EPERM : user_resolve(name, &user);

	if (r < 0 && option) {
		log_error("--user: there is no user '%s'", name);
		return false;
	}
	*ret_name = r < 0 ? NULL : name;
	*ret_uid = user.uid;
	return true;
}

static void warn_of_root(const char *user)
{
	if (!user && geteuid() == 0)
		log_warning("there is no user '" OWN_USER "': all runs as root; "
			    "systemd-sysusers creates him, or useradd -r; --user names "
			    "another");
}

static int run_worker(void *ctx, const struct keeper_parcel *parcel)
{
	struct worker_params *params = ctx;
	int status = worker_run(params, parcel);

	conf_unref(params->conf);
	return status;
}

/* For a service that may not mount: data/vhostmd.service.in. */
static int mount_only(const struct options *o)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	_cleanup_free_ char *mount = canonical_mount(o->mount);
	_cleanup_close_ int fd = -1;
	bool created = false;

	umask(022);
	if (!mount)
		return EXIT_FAILURE;
	/* systemd has its descriptor from before, or the service has something to say */
	if (mount_is_held(mount)) {
		log_info("%s is mounted already", mount);
		return EXIT_SUCCESS;
	}
	if (mount_prepare(mount, &created, &why) < 0 ||
		mount_attach(mount, &fd, &why) < 0) {
		log_error("%s", strbuf_str(&why));
		return EXIT_FAILURE;
	}
	int r = manager_store_fuse(fd);

	if (r == 0)
		return EXIT_SUCCESS;
	log_error("%s",
		r == -ENOTCONN ? "--mount-only: no systemd waits for the descriptor"
			       : strerror(-r));
	mount_detach(mount);
	if (created)
		rmdir(mount);
	return EXIT_FAILURE;
}

/* What the daemon is started with. */
struct daemon {
	char *control; /* its address */
	struct disk_access access;
	struct worker_params worker;
	struct keeper_params keeper;
	char *mount;
	struct strbuf channels;
};

static void daemon_done(struct daemon *d)
{
	free(d->control);
	free(d->mount);
	strbuf_done(&d->channels);
}

/* Return: 0, or the exit status after saying what is wrong. */
static int wish_http(const struct options *o, struct listen_wish *ret)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct listen_wish wish = { .address = o->http, .any = o->http_any };
	struct address address;

	if (o->http && !http_is_built_in()) {
		fprintf(stderr,
			"vhostmd: --http: this vhostmd was built without libmicrohttpd\n");
		return EXIT_USAGE;
	}
	if (o->http && address_parse(o->http, &address, &why) < 0) {
		fprintf(stderr, "vhostmd: --http: %s\n", strbuf_str(&why));
		return EXIT_USAGE;
	}
	if (o->http_group) {
		const struct group *group = getgrnam(o->http_group);

		if (!group || !o->http || address.any.sa_family != AF_UNIX) {
			fprintf(stderr, "vhostmd: --http-group: %s '%s'\n",
				group ? "--http has no UNIX socket for"
				      : "there is no group",
				o->http_group);
			return EXIT_USAGE;
		}
		wish.has_gid = true;
		wish.gid = group->gr_gid;
	}
	*ret = wish;
	return 0;
}

/*
 * One for each daemon, wherever that is told to be, as the pid file is: "control" in place of "pid" at
 * its end, else behind it.  The caller frees.
 */
static char *default_control(const char *pid_file)
{
	size_t n = strlen(pid_file);
	bool has = n >= 3 && !strcmp(pid_file + n - 3, "pid");

	return xasprintf(
		"unix:%.*s%scontrol", (int)(has ? n - 3 : n), pid_file, has ? "" : ".");
}

/* Return: 0, or the exit status after saying what is wrong. */
static int wish_control(const struct options *o, struct daemon *d)
{
	struct listen_wish *wish = &d->keeper.listen[LISTENER_CONTROL];
	const struct group *group = o->control_group ? getgrnam(o->control_group) : NULL;

	if (o->control_group && !group) {
		fprintf(stderr, "vhostmd: --control-group: there is no group '%s'\n",
			o->control_group);
		return EXIT_USAGE;
	}
	d->worker.has_control_group = group;
	d->worker.control_gid = group ? group->gr_gid : 0;
	if (o->control && !strcmp(o->control, OPTIONS_NO_CONTROL))
		return 0;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct address address;

	d->control = o->control ? xasprintf("unix:%s", o->control)
				: default_control(o->pid_file);
	*wish = (struct listen_wish){
		.address = d->control, .by_peer = true, .optional = !o->control
	};
	if (!o->control || address_parse(d->control, &address, &why) == 0)
		return 0;
	fprintf(stderr, "vhostmd: --control: %s\n", strbuf_str(&why));
	return EXIT_USAGE;
}

/*
 * @conf: NULL: it is of no use.  @state: what we go on with, NULL: nothing.
 * Return: 0, or the exit status after saying what is wrong.
 */
static int prepare(const struct options *o, struct conf *conf,
	const struct keeper_state *state, struct daemon *d)
{
	if (!conf)
		return EXIT_FAILURE;
	d->worker = (struct worker_params){ .disk_access = &d->access,
		.config_file = o->config_file,
		.user_is_for_all = o->user != NULL,
		.uri = o->uri ? o->uri : hypervisor_uri(),
		.connect = o->uri,
		.conf = conf };
	d->keeper = (struct keeper_params){ .pid_file = o->pid_file,
		.config_file = o->config_file,
		.worker = run_worker,
		.ctx = &d->worker,
		.fuse_fd = -1,
		.handover_fd = -1,
		.state = state,
		.link = conf_has_shared_disk(conf) ? conf->disk_path : NULL };
	if (!state)
		manager_stored(&d->keeper.fuse_fd, &d->keeper.handover_fd, &d->channels);
	d->keeper.channels = &d->channels;
	if (d->worker.uri && !action_uri_valid(d->worker.uri)) {
		fprintf(stderr, "vhostmd: --connect: '%s' is no URI\n", d->worker.uri);
		return EXIT_USAGE;
	}
	int r = wish_http(o, &d->keeper.listen[LISTENER_HTTP]);

	if (r == 0)
		r = wish_control(o, d);
	if (r != 0)
		return r;
	if (geteuid() != 0 && d->keeper.fuse_fd < 0 && !state) {
		fprintf(stderr,
			"vhostmd: must be started as root, to mount %s; --user USER "
			"drops root's rights then\n",
			o->mount);
		return EXIT_FAILURE;
	}
	umask(022); /* directories that we make are for QEMU, too */
	d->mount = canonical_mount(o->mount);
	if (!find_user(o->user, &d->worker.user, &d->keeper.worker_uid) || !d->mount)
		return EXIT_FAILURE;
	find_disk_access(&d->access);
	d->worker.mount = d->keeper.mount = d->mount;
	return 0;
}

/* @warnings: about the configuration; standard error has them already. */
static int run(const struct options *o, struct conf *conf, const char *warnings,
	const struct keeper_state *state, const char *program)
{
	_cleanup_(daemon_done) struct daemon d = { 0 };
	_cleanup_free_ char **words = options_words(o);
	int status = prepare(o, conf, state, &d);
	struct keeper *k = NULL;
	int ready_fd = -1;

	d.keeper.program = program;
	d.keeper.words = words;
	if (status == 0)
		k = keeper_open(&d.keeper);
	if (!k) {
		if (state)
			upgrade_go_back(state, words);
		return status ? status : EXIT_FAILURE;
	}
	warn_of_root(d.worker.user);
	if (!o->foreground && !state) {
		ready_fd = daemonize();
		start_log(o, true);
		warn_of_root(d.worker.user);
	}
	if (!o->foreground && !log_has_journal())
		log_lines(LOG_LEVEL_WARNING, warnings);
	return keeper_run(k, ready_fd);
}

/*
 * What the keeper that executed us hands on.  @ret_state: NULL if nobody did.
 * Return: 0, or -errno after saying what is wrong: we cannot even go back.
 */
static int receive(const struct options *o, struct keeper_state *state,
	const struct keeper_state **ret_state)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	if (o->state_fd < 0)
		return 0;
	int r = state_receive(o->state_fd, state, &why);

	if (r < 0)
		log_error("what was handed on: %s", strbuf_str(&why));
	else
		*ret_state = state;
	return r;
}

static bool is_told_to_end(void)
{
	sigset_t set;

	return sigpending(&set) == 0 && sigismember(&set, SIGTERM);
}

/*
 * The configuration may be written just now, while the last worker serves; and when we are who
 * was executed again there is nobody to go back to.
 */
static struct conf *load_patiently(
	const char *file, struct conf_report *report, const struct keeper_state *state)
{
	struct conf *conf = load(file, report);

	for (int tries = 0; !conf && state && !is_told_to_end(); tries++) {
		if (!state->back && tries >= 20)
			break;
		usleep(100000);
		strbuf_clear(report->text);
		report->errors = report->warnings = 0;
		conf = load(file, report);
	}
	return conf;
}

/* Makes files those that were meant, wherever we are by the time of a reload or the end. */
static int run_anywhere(const struct options *o, const char *name)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	struct options options = *o;
	_cleanup_free_ char *config_file = path_absolute(o->config_file);
	_cleanup_free_ char *pid_file = path_absolute(o->pid_file);
	bool has_control = o->control && strcmp(o->control, OPTIONS_NO_CONTROL) != 0;
	_cleanup_free_ char *control = has_control ? path_absolute(o->control) : NULL;
	_cleanup_free_ char *program = upgrade_program(name);
	const struct keeper_state *state = NULL;
	struct keeper_state handed_on;

	start_log(o, o->state_fd >= 0 && !o->foreground);
	if (receive(o, &handed_on, &state) < 0)
		return EXIT_FAILURE;
	struct conf *conf = load_patiently(o->config_file, &report, state);

	if (!conf && !state)
		return EXIT_FAILURE;
	if (!config_file || !pid_file || (has_control && !control)) {
		fprintf(stderr, "vhostmd: the working directory: %s\n", strerror(errno));
		conf_unref(conf);
		return EXIT_FAILURE;
	}
	options.config_file = config_file;
	options.pid_file = pid_file;
	if (control)
		options.control = control;
	int status = run(&options, conf, strbuf_str(&text), state, program);

	conf_unref(conf);
	return status;
}

/* Says on standard error why not.  What is needed to begin is tried, and nothing changed. */
static int can_take_over(const struct options *o)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	_cleanup_(daemon_done) struct daemon d = { 0 };
	static const struct keeper_state state;

	start_log(o, false);
	if (upgrade_can(o->versions, &why) < 0) {
		fprintf(stderr, "vhostmd: %s\n", strbuf_str(&why));
		return EXIT_FAILURE;
	}
	struct options foreground = *o;

	foreground.foreground = true; /* for who asked, not for syslog */
	struct conf *conf = load(o->config_file, &report);
	int status = prepare(&foreground, conf, &state, &d);

	conf_unref(conf);
	return status;
}

int main(int argc, char **argv)
{
	struct options o;

	if (options_parse(argc, argv, &o) < 0)
		return EXIT_USAGE;
	switch (o.action) {
	case ACTION_HELP:
		options_help();
		return EXIT_SUCCESS;
	case ACTION_VERSION:
		printf("vhostmd %s\n", VHOSTMD_VERSION);
		return EXIT_SUCCESS;
	case ACTION_LIST_SOURCES:
		return list_sources(o.markdown);
	case ACTION_MOUNT_ONLY:
		return mount_only(&o);
	case ACTION_CHECK_CONFIG:
		return check_config(o.config_file, o.user);
	case ACTION_CAN_TAKE_OVER:
		return can_take_over(&o);
	case ACTION_RUN:
		break;
	}
	return run_anywhere(&o, argv[0]);
}
