/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect/actions/actions.h"
#include "collect/actions/runner.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "conf/conf.h"
#include "conf/disk_access.h"
#include "conf/host_key.h"
#include "control/control.h"
#include "core/catalogue.h"
#include "core/snapshot.h"
#include "fs/content.h"
#include "fs/serve.h"
#include "handover/handover.h"
#include "http/http.h"
#include "keeper/good_conf.h"
#include "keeper/keeper.h"
#include "mdisk/disks.h"
#include "model/board.h"
#include "model/description.h"
#include "model/plan.h"
#include "model/registry.h"
#include "shared_path.h"
#include "util/caps.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/signals.h"
#include "util/strbuf.h"
#include "virtio/channels.h"
#include "xenstore/xenstore.h"

/* So long after another's death the processors are for those who waited for what he showed. */
#define LULL_NS (100 * NS_PER_MS)

static struct plan *make_plan(
	const struct worker *w, const struct plan *before, const struct conf *conf)
{
	const struct plan_settings settings = { .period_ns = conf->period_ns,
		.slow_period_ns = conf->slow_period_ns,
		.balloon_period_ns = conf->balloon_period_ns,
		.grants = conf->grants,
		.action_path = conf->action_path,
		.action_user = worker_action_user(w, conf, true),
		.action_timeout_ns = conf->action_timeout_ns,
		.action_max_parallel = conf->action_max_parallel };

	return plan_new(before, conf->specs, &settings);
}

/* ---- settings of the parts, from the configuration ---- */

static struct content_config content_config(const struct worker *w)
{
	const struct conf *conf = w->conf;

	return (struct content_config){
		.nodes = { .shared_disk = conf_has_shared_disk(conf),
			.disks = conf->transports & TRANSPORT_VBD },
		.mode = conf->file_mode,
		.gid = conf->file_gid,
		.disk_mode = disk_access_mode(w->params->disk_access, conf),
		.disk_gid = disk_access_gid(w->params->disk_access, conf),
	};
}

static struct channels_config channels_config(const struct conf *conf)
{
	return (struct channels_config){ .enabled = conf->transports & TRANSPORT_VIRTIO,
		.max_channels = conf->max_channels,
		.max_requests = conf->max_requests,
		.expiration_ns = conf->expiration_ns };
}

/* What needs the key and has none stays closed to guests.  @complaints: NULL, or for who asked. */
static void take_host_key(const struct worker *w, struct conf *conf,
	const struct conf *before, struct strbuf *complaints)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text };

	if (host_key_take(conf, before, w->params->config_file, &report) == 0)
		return;
	log_lines(LOG_LEVEL_ERROR, strbuf_str(&text));
	if (complaints)
		strbuf_adds(complaints, strbuf_str(&text));
}

/* ---- wiring ---- */

static void on_registry(void *ctx, enum registry_event event, struct run *run)
{
	struct worker *w = ctx;

	if (event == RUN_DESCRIBED) {
		_cleanup_description_ struct description *d =
			registry_description(w->registry, run);

		channels_set(w->channels, &run->ident.uuid, d->channel_path);
	} else if (event == RUN_GONE) {
		channels_set(w->channels, &run->ident.uuid, NULL);
	} else if (event == RUN_APPEARED) {
		actions_kick(w->actions);
	}
}

static void on_connected(void *ctx)
{
	const struct worker *w = ctx;

	sampler_kick(w->sampler);
}

/* Any thread of the session's: nobody can read any more. */
static void on_lost(void *ctx)
{
	struct worker *w = ctx;

	atomic_store(&w->lost, true);
	kill(getpid(), SIGTERM); /* for the main thread, which waits for it */
}

static int connect_channel(void *ctx, const char *path, struct channel_socket *ret)
{
	const struct worker *w = ctx;
	struct keeper_socket socket = { .fd = -1 };
	int r = keeper_connect(w->keeper_fd, path, &socket);

	*ret = (struct channel_socket){ socket.fd, socket.id, socket.resumed };
	return r;
}

static bool fill(void *ctx, struct fact *facts, struct strbuf *product)
{
	const struct worker *w = ctx;

	return virt_fill(atomic_load(&w->virt), facts, product);
}

/* ---- reload ---- */

static void place_disk(struct worker *w)
{
	const struct conf *conf = w->conf;

	shared_path_set(w->shared_path,
		conf_has_shared_disk(conf) ? conf->disk_path : NULL, conf->period_ns);
}

/* Who may read the files may ask for what they say. */
static struct control_readers readers_of(const struct conf *conf)
{
	return (struct control_readers){ .everybody = conf->file_mode & S_IROTH,
		.has_gid = conf->file_mode & S_IRGRP,
		.gid = conf->file_gid };
}

/* What of a configuration is the exports' own. */
static void on_plan(void *ctx, const struct plan *plan)
{
	struct worker *w = ctx;
	struct content_config cc = content_config(w);
	struct channels_config chc = channels_config(w->conf);
	struct control_readers readers = readers_of(w->conf);

	atomic_store(&w->period_ns, plan->settings.period_ns);
	disks_set_size(w->disks, w->conf->disk_size_bytes, clock_mono_ns());
	content_set_config(w->content, &cc);
	channels_set_config(w->channels, &chc);
	http_set_everybody(w->http, w->conf->file_mode & S_IROTH);
	control_set_readers(w->control, &readers);
	xenstore_set(w->xenstore, w->conf->transports & TRANSPORT_XENSTORE,
		w->conf->period_ns);
}

static void apply(struct worker *w, struct conf *conf)
{
	_cleanup_plan_ struct plan *before = board_plan(w->board);
	_cleanup_plan_ struct plan *plan = make_plan(w, before, conf);

	conf_unref(w->conf);
	w->conf = conf;
	if (plan->vm_reads & READS(PROCESS_IO) && !w->process_io)
		log_warning(
			"process.io.* need rights that were given up at the start, when "
			"they were not asked for: they need a restart");
	runner_reload(w->runner);
	board_set_plan(w->board, plan);
	place_disk(w);
}

/* For status: what became of the file, when all of it is done. */
static void note_conf(struct worker *w, bool refused)
{
	atomic_store(&w->conf_mistakes, w->conf->mistakes);
	atomic_store(&w->conf_refused, refused);
	atomic_fetch_add(&w->conf_reads, 1);
}

/* Return: what became of it, for who asked; @text: what is wrong with it, for him and the log. */
static struct control_reload read_again(struct worker *w, struct strbuf *text)
{
	struct conf_report report = {
		.text = text, .tolerant = true, .in_force = w->conf
	};
	struct control_reload what = { .file = w->params->config_file };
	struct conf *conf = NULL;
	int r = conf_load(w->params->config_file, &report, &conf);

	log_lines(LOG_LEVEL_WARNING, strbuf_str(text));
	if (r < 0) {
		log_error("%s is not used: the configuration in force stays",
			w->params->config_file);
		note_conf(w, true);
		what.refused = true;
		return what;
	}
	take_host_key(w, conf, w->conf, text);
	apply(w, conf);
	if (!report.errors)
		keeper_report_conf(w->keeper_fd, conf->hash);
	note_conf(w, false);
	log_info("%s is in force", w->params->config_file);
	what.mistakes = conf->mistakes;
	return what;
}

static void reload(struct worker *w)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t begun = control_reload_begins(w->control);
	struct control_reload what = read_again(w, &text);

	content_renew_documents(w->content); /* the status among them */
	what.complaints = strbuf_str(&text);
	control_reloaded(w->control, begun, &what);
}

/* ---- what the control socket is asked for, on its thread ---- */

/* The main thread waits for it. */
static void ask_for_reload(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGHUP);
}

static int ask_for_upgrade(void *ctx)
{
	const struct worker *w = ctx;

	return keeper_upgrade(w->keeper_fd);
}

static int upgrade_state_of(void *ctx, struct strbuf *why, int *ret_fd)
{
	const struct worker *w = ctx;
	int r = keeper_upgrade_state(w->keeper_fd, why, ret_fd);

	/* one that is not heard any more is about to end us */
	return r == -EPIPE || r == -ECONNRESET ? -EINPROGRESS : r;
}

static void set_log_level(void *ctx, enum log_level level)
{
	struct worker *w = ctx;

	handover_set_log_level(w->handover, level);
	log_set_level(level);
	keeper_report_log_level(w->keeper_fd);
}

/* ---- life ---- */

static void start_http(struct worker *w)
{
	int fds[LISTENERS_MAX];
	size_t n = listeners_of(&w->listeners, LISTENER_HTTP, fds);

	w->http = http_start(w->tree, fds, n, w->conf->file_mode & S_IROTH);
}

static void start_control(struct worker *w)
{
	int fds[LISTENERS_MAX];
	const struct control_params params = { .fds = fds,
		.n_fds = listeners_of(&w->listeners, LISTENER_CONTROL, fds),
		.readers = readers_of(w->conf),
		.has_group = w->params->has_control_group,
		.group = w->params->control_gid,
		.version = w->told_version,
		.status = worker_status,
		.blame = worker_blame,
		.reload = ask_for_reload,
		.upgrade = ask_for_upgrade,
		.upgrade_state = upgrade_state_of,
		.set_log_level = set_log_level,
		.ctx = w };

	w->control = control_start(&params);
}

/* What serves; then what is there is served. */
static int start_exports(struct worker *w, const struct keeper_parcel *parcel)
{
	struct content_config cc = content_config(w);
	struct channels_config chc = channels_config(w->conf);
	struct actions_params ap = { .board = w->board,
		.registry = w->registry,
		.runner = w->runner,
		.connect = w->params->connect,
		.uri = w->params->uri ? w->params->uri : getenv("LIBVIRT_DEFAULT_URI"),
		.max_files = w->max_files };
	struct sampler_params sp = { .board = w->board,
		.registry = w->registry,
		.root_fd = w->root_fd,
		.inherited = w->inherited,
		.delays = { w->keeper_fd, keeper_delays, keeper_report_no_delays } };

	w->shared_path = shared_path_new(w->tree, w->keeper_fd, w->params->mount);
	disks_inherit(w->disks, w->handover, w->arena, clock_mono_ns());
	w->content = content_new(w->tree, w->disks, &cc, worker_status, w);
	w->sampler = sampler_new(&sp); /* the first reader finds something */
	if (w->first)
		place_disk(w); /* and who finds that finds the link, too */
	content_inherit(w->content, w->handover, w->arena);
	w->serve = serve_start(
		parcel->fuse_fd, w->handover, parcel->number, w->content, on_lost, w);
	if (!w->serve)
		return -EIO;
	/* what was left to us is served; what is missing yet comes as on any other day */
	if (!w->first)
		keeper_report_ready(w->keeper_fd);
	start_http(w);
	start_control(w);
	xenstore_start(w->xenstore, w->tree, w->conf->period_ns);
	w->channels = channels_start(w->tree, &chc, connect_channel, w);
	w->actions = actions_start(&ap);
	if (!w->channels || !w->actions)
		return -EIO;
	channels_hand_on(w->channels, w->handover, w->arena);
	board_subscribe(w->board, (struct plan_listener){ on_plan, w });
	atomic_store(&w->up, true);
	return 0;
}

/* Until when a successor leaves the processors to readers: not longer than to the next sample. */
static int64_t lull_end_ns(struct worker *w)
{
	_cleanup_view_ struct view *view = tree_view(w->tree);
	int64_t sample_ns = view->host->updated_mono_ns + atomic_load(&w->period_ns);
	int64_t most_ns = clock_mono_ns() + LULL_NS;

	return sample_ns < most_ns ? sample_ns : most_ns;
}

/* Return: the signal that cut it short, or 0. */
static int lull(struct worker *w, const sigset_t *signals)
{
	int64_t ns = w->inherited ? lull_end_ns(w) - clock_mono_ns() : 0;
	struct timespec time = ns_to_timespec(ns > 0 ? ns : 0);
	int sig = ns > 0 ? sigtimedwait(signals, NULL, &time) : 0;

	return sig < 0 ? 0 : sig;
}

/* What fills the tree. */
static int start_collectors(struct worker *w)
{
	struct virt_params vp = { .board = w->board,
		.registry = w->registry,
		.root_fd = w->root_fd,
		.uri = w->params->uri,
		.on_connected = on_connected,
		.ctx = w };
	int r = sampler_start(w->sampler, fill, w);

	if (r < 0)
		return r;
	/* which is there, if those before us had it */
	if (!w->first)
		place_disk(w);
	w->sampling = true;
	registry_subscribe(w->registry, (struct registry_listener){ on_registry, w });
	struct virt *virt = NULL;

	r = virt_start(&vp, &virt);
	if (r < 0)
		return r;
	atomic_store(&w->virt, virt);
	return 0;
}

/* Return: false if something could not be stopped, so that nothing may be freed. */
static bool stop(struct worker *w)
{
	actions_end(w->actions);
	bool served = serve_stop(w->serve);

	control_stop(w->control); /* it, too, says what all others do */
	/* finders first: then nothing is reported any more */
	bool asked = virt_stop(w->virt);

	if (!served)
		log_warning("somebody keeps a directory of %s locked: ending without "
			    "waiting for them",
			w->params->mount);
	if (!asked)
		log_warning("libvirt does not answer: ending without waiting for it");
	if (!served || !asked)
		return false;
	if (w->sampling)
		sampler_stop(w->sampler);
	virt_free(w->virt);
	actions_stop(w->actions);
	channels_stop(w->channels);
	http_stop(w->http);
	control_free(w->control);
	xenstore_stop(w->xenstore);
	content_free(w->content);
	sampler_free(w->sampler);
	shared_path_free(w->shared_path);
	board_free(w->board);
	disks_free(w->disks);
	arena_free(w->arena);
	registry_free(w->registry);
	tree_free(w->tree);
	return true;
}

/*
 * Each VM needs some ten descriptors; what the administrator allows may be used.
 * Return: the limit before that, 0 if it is unknown.
 */
static uint64_t raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	uint64_t before = limit.rlim_cur;

	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return before;
}

static void block_signals(sigset_t *set)
{
	signals_handled(set);
	/* all threads inherit this; only sigwait() takes them */
	sigprocmask(SIG_SETMASK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* The last one that a worker came up with, or that the daemon was started with. */
static struct conf *last_conf(const struct worker *w, const struct good_conf *good)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf_report report = { .text = &text, .tolerant = true };
	struct conf *conf = NULL;

	if (good && good->hash != w->params->conf->hash &&
		conf_parse(strbuf_str(&good->text), good->text.len,
			w->params->config_file, &report, &conf) == 0)
		return conf;
	return conf_ref(w->params->conf);
}

/*
 * Who comes after another takes what is in the file now, as a reload would.  One that can not
 * be used, or with which workers crash, is passed over.
 */
static struct conf *first_conf(struct worker *w, const struct keeper_parcel *parcel)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct conf *last = last_conf(w, parcel->good_conf), *conf = NULL;
	struct conf_report report = { .text = &text, .tolerant = true, .in_force = last };

	if (w->first || conf_is_of(last, w->params->config_file))
		return last;
	int r = conf_load(w->params->config_file, &report, &conf);

	log_lines(LOG_LEVEL_WARNING, strbuf_str(&text));
	if (r == 0 && !parcel->distrust) {
		conf_unref(last);
		w->mistaken = report.errors;
		return conf;
	}
	log_error("%s is not used: the configuration before it stays in force",
		w->params->config_file);
	atomic_store(&w->conf_refused, true);
	conf_unref(conf);
	return last;
}

static int open_handover(struct worker *w, const struct keeper_parcel *parcel)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	w->handover = handover_map(parcel->handover_fd, &why);
	close(parcel->handover_fd);
	if (!w->handover) {
		log_error("what was left by the last worker: %s", strbuf_str(&why));
		return -EINVAL;
	}
	handover_keep(w->handover);
	w->first = parcel->number == 0;
	if (parcel->distrust)
		handover_distrust(w->handover);
	w->arena = arena_new(&w->handover->arena);
	return 0;
}

/* ---- what was left to us, and what we leave ---- */

static bool runs(void *ctx, int pid, uint64_t start_ticks)
{
	const struct worker *w = ctx;

	return qemu_proc_runs(w->root_fd, pid, start_ticks);
}

static void *begin_checkpoint(void *ctx, size_t *ret_size)
{
	const struct worker *w = ctx;

	return halves_begin(&w->handover->checkpoint, ret_size);
}

/* Of what is published so often at least the memory for two is kept, but for one time in so many. */
#define KEEP_HALF_NS (NS_PER_S / 2)
#define KEEP_HALVES 64u

/* The other half's memory is given back, unless it is likely to be needed at once. */
static void commit_checkpoint(void *ctx, size_t size)
{
	struct worker *w = ctx;
	int64_t now = clock_mono_ns();
	bool seldom = now - w->committed_mono_ns >= KEEP_HALF_NS;

	halves_commit(&w->handover->checkpoint, size);
	w->committed_mono_ns = now;
	if (seldom || ++w->kept_halves % KEEP_HALVES == 0)
		halves_trim(&w->handover->checkpoint);
}

/* Shows what was shown before, unless that was the end of those before us. */
static void inherit(struct worker *w)
{
	const struct halves *checkpoint = &w->handover->checkpoint;
	struct board_inheritance from = { .runs = runs, .ctx = w };

	board_follow(w->board, &w->handover->generation);
	board_set_sink(
		w->board, (struct board_sink){ begin_checkpoint, commit_checkpoint, w });
	board_set_sizes(w->board, disks_sizes(w->disks));
	from.bytes = halves_get(checkpoint, &from.size);
	if (w->first || !from.bytes)
		return;
	int r = board_inherit(w->board, &from);

	/* which may be another one now */
	disks_set_size(w->disks, w->conf->disk_size_bytes, clock_mono_ns());

	if (r < 0)
		log_warning("what the last worker showed is not used: %s",
			r == -EPROTO ? "it was of another version" : "it is damaged");
	w->inherited = r == 0;
}

/* An upgrade is the keeper's business, whoever else is told of it. */
static bool goes_on(int sig)
{
	return sig == 0 || sig == SIGHUP || sig == SIGUSR2;
}

int worker_run(const struct worker_params *params, const struct keeper_parcel *parcel)
{
	struct worker w = { .params = params,
		.keeper_fd = parcel->keeper_fd,
		.listeners = parcel->listeners,
		.start_mono_ns = clock_mono_ns() };
	sigset_t signals;

	block_signals(&signals);
	mem_keep_little();
	w.max_files = raise_file_limit();
	if (open_handover(&w, parcel) < 0)
		return EXIT_FAILURE;
	w.conf = first_conf(&w, parcel);
	note_conf(&w, atomic_load(&w.conf_refused));
	atomic_store(&w.period_ns, w.conf->period_ns);
	take_host_key(&w, w.conf, NULL, NULL); /* root's alone */
	w.change_user =
		!params->user_is_for_all && caps_effective() & CAP_TO_BIT(CAP_SETUID);
	w.xenstore =
		xenstore_open(w.conf->transports & TRANSPORT_XENSTORE); /* likewise */
	_cleanup_plan_ struct plan *plan = make_plan(&w, NULL, w.conf);

	if (worker_drop_rights(&w, plan) < 0) {
		runner_stop(w.runner);
		return EXIT_FAILURE;
	}
	w.told_version = worker_version(parcel->failed);
	w.root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w.tree = tree_new();
	w.registry = registry_new();
	w.board = board_new(w.tree, w.registry, plan);
	w.disks = disks_new(w.conf->disk_size_bytes);
	inherit(&w);
	int r = start_exports(&w, parcel), sig = 0;

	if (r == 0) {
		worker_drop_calls(&w);
		sig = lull(&w, &signals);
	}
	if (r == 0 && goes_on(sig))
		r = start_collectors(&w);
	if (r == 0 && goes_on(sig)) {
		if (w.first)
			keeper_report_ready(w.keeper_fd);
		if (!w.mistaken)
			keeper_report_conf(w.keeper_fd, w.conf->hash);
	}
	while (r == 0 && goes_on(sig)) {
		if (sig == SIGHUP)
			reload(&w);
		sigwait(&signals, &sig);
	}
	if (atomic_load(&w.lost)) {
		log_error("%s was unmounted or its connection aborted: ending",
			params->mount);
		r = -ENOTCONN;
	}
	if (!stop(&w))
		_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	runner_stop(w.runner);
	conf_unref(w.conf);
	free(w.told_version);
	handover_unmap(w.handover);
	listeners_close(&w.listeners, false);
	close_p(&w.root_fd);
	close_p(&w.keeper_fd);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
