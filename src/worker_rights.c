/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who the worker is, and what it may do; who starts commands for it. */
#include "worker_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "collect/actions/runner.h"
#include "conf/conf.h"
#include "confine.h"
#include "core/catalogue.h"
#include "core/spec.h"
#include "model/plan.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/strbuf.h"

struct user worker_action_user(const struct worker *w, const struct conf *conf, bool say)
{
	const char *name = conf->action_user ? conf->action_user : "nobody";
	struct user user = { 0 };

	if (!w->change_user) {
		if (conf->action_user && say)
			log_warning(
				"actions run as the daemon's user, not as '%s': only root "
				"without --user can change that",
				conf->action_user);
		return user;
	}
	int r = user_resolve(name, &user);

	if (r < 0) {
		if (say)
			log_error("user '%s' of actions: %s; they run as uid 65534", name,
				r == -ENOENT ? "there is no such user" : strerror(-r));
		user = (struct user){ .change = true, .uid = 65534, .gid = 65534 };
	}
	return user;
}

static struct runner_grant grant(const struct worker *w, const struct conf *conf)
{
	struct runner_grant grant = { .user = worker_action_user(w, conf, false) };

	for (size_t i = 0; i < conf->specs->n; i++)
		grant.any |= conf->specs->specs[i].action != NULL;
	return grant;
}

/* In the runner. */
static int find_grant(void *ctx, struct runner_grant *ret)
{
	const struct worker *w = ctx;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	struct conf *conf = NULL;
	int r = conf_load(w->params->config_file, &report, &conf);

	if (r == 0)
		*ret = grant(w, conf);
	conf_unref(conf);
	return r;
}

/* Who starts commands, as long as we have the right to make him. */
static int start_runner(struct worker *w)
{
	const struct runner_params params = { .grant = grant(w, w->conf),
		.become = w->change_user ? NULL : &w->user,
		.find = find_grant,
		.ctx = w };
	int r = runner_start(&params, &w->runner);

	if (r < 0)
		log_error("actions cannot run: %s", strerror(-r));
	return r;
}

static void describe_rights(const struct worker *w)
{
	_cleanup_strbuf_ struct strbuf caps = STRBUF_INIT;

	confine_describe(&caps);
	log_info("running as uid %u, capabilities: %s", (unsigned)geteuid(),
		strbuf_str(&caps));
	if (geteuid() != 0 && access(w->params->config_file, R_OK) < 0)
		log_warning(
			"%s cannot be read by uid %u (%s): it is in force, but changes "
			"to it need a restart",
			w->params->config_file, (unsigned)geteuid(), strerror(errno));
}

int worker_drop_rights(struct worker *w, const struct plan *plan)
{
	const char *name = w->params->user;
	int r = name ? user_resolve(name, &w->user) : 0;

	if (r < 0) {
		log_error("user '%s': %s", name,
			r == -ENOENT ? "there is no such user" : strerror(-r));
		return r;
	}
	r = start_runner(w);
	if (r < 0)
		return r;
	w->process_io = plan->vm_reads & READS(PROCESS_IO);
	r = confine_rights(&w->user,
		&(struct confine_needs){ .process_io = w->process_io,
			.old_disk = conf_has_shared_disk(w->conf) });
	if (r < 0) {
		log_error("giving up root's rights: %s", strerror(-r));
		return r;
	}
	/* a change of user cancels it */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	describe_rights(w);
	return 0;
}

void worker_drop_calls(const struct worker *w)
{
	const char *uri = w->params->uri ? w->params->uri : getenv("LIBVIRT_DEFAULT_URI");
	bool starts_programs = uri && (strstr(uri, "+ssh:") || strstr(uri, "+ext:"));
	int r = confine_calls(starts_programs);

	if (r < 0)
		log_warning("system calls are not restricted: %s",
			r == -ENOSYS ? "this vhostmd was built without libseccomp"
				     : strerror(-r));
}
