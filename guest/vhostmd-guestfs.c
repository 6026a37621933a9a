/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vhostmd-guestfs(1): mounts what the host tells this guest, as the host has it. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "fs/content.h"
#include "fs/serve.h"
#include "handover/handover.h"
#include "mdisk/disks.h"
#include "told.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "vhostmd/metrics.h"

enum { EXIT_USAGE = 2 };

/* Of disks, which are not shown. */
#define NO_DISK_BYTES 4096u

#define DEFAULT_PERIOD_S 5.0
#define MIN_PERIOD_S 0.1
#define MAX_PERIOD_S 86400.0

/* How long a device may take: nobody but the end of the program waits for it. */
#define READ_MS 2000u

struct options {
	const char *mount, *source, *uuid;
	double period_s;
	bool allow_other, foreground;
};

struct guestfs {
	struct options options;
	struct vhostmd_source *source;
	struct told_tree *told;
	struct content *content;

	struct lock lock; /* guards what status() tells */
	struct strbuf path, problem;
	int64_t read_ns; /* monotonic time of the last reading */
	double age_s;    /* of what it brought */
	bool stopped;
};

/* ---- reading ---- */

/* Return: whether there was something to show. */
static bool bring(struct guestfs *g)
{
	struct vhostmd_snapshot *now = NULL;
	int r = vhostmd_read(g->source, &now);
	_cleanup_strbuf_ struct strbuf problem = STRBUF_INIT;

	if (r < 0) {
		strbuf_adds(&problem, vhostmd_strerror(r));
	} else {
		_cleanup_free_ struct told_metric *all = NULL;
		size_t n = told_metrics(now, &all);

		told_tree_show(
			g->told, all, n, vhostmd_snapshot_uuid(now), clock_real_ns());
	}
	lock_take(&g->lock);
	bool news = strcmp(strbuf_str(&g->problem), strbuf_str(&problem)) != 0;

	strbuf_clear(&g->problem);
	strbuf_adds(&g->problem, strbuf_str(&problem));
	if (now) {
		strbuf_clear(&g->path);
		strbuf_adds(&g->path, vhostmd_snapshot_path(now));
		g->read_ns = clock_mono_ns();
		g->age_s = vhostmd_snapshot_age(now);
		g->stopped = vhostmd_snapshot_freshness(now) == VHOSTMD_STOPPED;
	}
	lock_release(&g->lock);
	if (news && problem.len)
		log_warning("the metrics cannot be read: %s", strbuf_str(&problem));
	else if (news)
		log_info("the metrics can be read again");
	vhostmd_snapshot_free(now);
	return r == 0;
}

static void status(void *ctx, struct strbuf *out)
{
	struct guestfs *g = ctx;

	lock_take(&g->lock);
	strbuf_addf(out, "version: %s\npid: %d\nsource: %s\nread_ms_ago: %" PRId64 "\n",
		VHOSTMD_VERSION, getpid(), strbuf_str(&g->path),
		(clock_mono_ns() - g->read_ns) / NS_PER_MS);
	strbuf_addf(out, "unchanged_s: %.1f\nhost: %s\n", g->age_s,
		g->stopped ? "says nothing new any more" : "tells");
	strbuf_addf(
		out, "problem: %s\n", g->problem.len ? strbuf_str(&g->problem) : "none");
	lock_release(&g->lock);
}

/* ---- serving ---- */

/* Somebody has unmounted it. */
static void on_lost(void *ctx)
{
	(void)ctx;
	kill(getpid(), SIGTERM);
}

static void wait_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
}

/* Reads again each period, until a signal comes. */
static void read_on(struct guestfs *g, const sigset_t *signals)
{
	int64_t period_ns = (int64_t)(g->options.period_s * NS_PER_S);
	int64_t next_ns = clock_mono_ns() + period_ns;

	for (;;) {
		int64_t left_ns = next_ns - clock_mono_ns();
		struct timespec wait = ns_to_timespec(left_ns > 0 ? left_ns : 0);

		if (sigtimedwait(signals, NULL, &wait) > 0)
			return;
		if (errno != EAGAIN)
			continue;
		(void)bring(g);
		next_ns += period_ns;
		/* what was missed while the device hung is not made up for */
		if (next_ns < clock_mono_ns())
			next_ns = clock_mono_ns() + period_ns;
	}
}

static int serve(struct guestfs *g, int fuse_fd)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	_cleanup_close_ int memory = handover_create();
	struct handover *handover = memory >= 0 ? handover_map(memory, &why) : NULL;
	struct disks *disks = disks_new(NO_DISK_BYTES);
	const struct content_config config = { .mode = 0444, .gid = getegid() };
	int r = EXIT_FAILURE;
	sigset_t signals;

	wait_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, NULL); /* before there are threads */
	if (!handover) {
		log_error("there is no memory for the session: %s",
			memory < 0 ? strerror(-memory) : strbuf_str(&why));
		close(fuse_fd);
		disks_free(disks);
		return r;
	}
	g->content = content_new(told_tree_readers(g->told), disks, &config, status, g);
	struct serve *serve = serve_start(fuse_fd, handover, 0, g->content, on_lost, g);

	if (serve) {
		read_on(g, &signals);
		r = EXIT_SUCCESS;
		if (!serve_stop(serve))
			_exit(r); /* a thread of it goes on */
	}
	content_free(g->content);
	disks_free(disks);
	handover_unmap(handover);
	return r;
}

/* ---- mounting ---- */

/*
 * libfuse mounts, by fusermount3 where the user is not root, for a session that is never
 * served: its device is for ours.
 */
static struct fuse_session *mount_at(const struct options *o)
{
	static const struct fuse_lowlevel_ops none;
	char name[] = "vhostmd-guestfs", option[] = "-o";
	char text[] = "ro,nosuid,nodev,noexec,default_permissions,"
		      "fsname=vhostmd,subtype=vhostmd,allow_other";
	char *argv[] = { name, option, text, NULL };

	if (!o->allow_other)
		*strrchr(text, ',') = '\0';
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *session = fuse_session_new(&args, &none, sizeof(none), NULL);

	fuse_opt_free_args(&args);
	if (session && fuse_session_mount(session, o->mount) == 0)
		return session;
	fprintf(stderr, "vhostmd-guestfs: %s cannot be mounted on\n", o->mount);
	if (session)
		fuse_session_destroy(session);
	return NULL;
}

static int mount_and_serve(struct guestfs *g)
{
	struct fuse_session *session = mount_at(&g->options);
	int r = EXIT_FAILURE;

	if (!session)
		return r;
	int fd = fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 0);

	/* who waited for us finds it mounted; what he asks is answered in a moment */
	if (fd < 0 || fuse_daemonize(g->options.foreground) < 0) {
		fprintf(stderr, "vhostmd-guestfs: %s\n", strerror(errno));
		if (fd >= 0)
			close(fd);
	} else {
		log_init(false, !g->options.foreground);
		r = serve(g, fd);
	}
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return r;
}

/* ---- options ---- */

enum { OPTION_ALLOW_OTHER = 256 };

static const struct option long_options[] = {
	{ "source", required_argument, NULL, 's' },
	{ "uuid", required_argument, NULL, 'u' },
	{ "period", required_argument, NULL, 'p' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "allow-other", no_argument, NULL, OPTION_ALLOW_OTHER },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ 0 },
};

static int usage(FILE *to)
{
	fputs("Usage: vhostmd-guestfs [OPTION...] DIRECTORY\n"
	      "Mounts the metrics that the host shows to this virtual machine, a file each.\n\n"
	      "  -s, --source SOURCE  auto (the default), disk, channel, or a device or file\n"
	      "  -u, --uuid UUID      which VM this is, where its firmware does not tell\n"
	      "  -p, --period SECONDS how often it reads (5)\n"
	      "  -f, --foreground     do not go into the background\n"
	      "      --allow-other    for all users (root, or user_allow_other in fuse.conf)\n"
	      "  -h, --help           print this\n"
	      "  -V, --version        print the version\n",
		to);
	return to == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

/* Return: -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "s:u:p:fhV", long_options, NULL)) != -1)
		switch (c) {
		case 's':
			o->source = optarg;
			break;
		case 'u':
			o->uuid = optarg;
			break;
		case 'p':
			if (parse_real(optarg, &o->period_s) < 0 ||
				!(o->period_s >= MIN_PERIOD_S &&
					o->period_s <= MAX_PERIOD_S)) {
				fprintf(stderr,
					"vhostmd-guestfs: a period is from %g to %g seconds\n",
					MIN_PERIOD_S, MAX_PERIOD_S);
				return EXIT_USAGE;
			}
			break;
		case 'f':
			o->foreground = true;
			break;
		case OPTION_ALLOW_OTHER:
			o->allow_other = true;
			break;
		case 'h':
			return usage(stdout);
		case 'V':
			puts("vhostmd-guestfs " VHOSTMD_VERSION);
			return EXIT_SUCCESS;
		default:
			return usage(stderr);
		}
	if (argc - optind != 1)
		return usage(stderr);
	o->mount = argv[optind];
	return -1;
}

static int open_source(struct guestfs *g)
{
	const struct options *o = &g->options;
	int r = vhostmd_open(o->source, &g->source);

	if (r == 0)
		r = vhostmd_set_timeout(g->source, READ_MS);
	if (r == 0 && o->uuid)
		r = vhostmd_set_uuid(g->source, o->uuid);
	if (r < 0)
		fprintf(stderr, "vhostmd-guestfs: %s\n", vhostmd_strerror(r));
	return r;
}

int main(int argc, char **argv)
{
	struct guestfs g = {
		.options.period_s = DEFAULT_PERIOD_S,
	};
	int r = parse_options(argc, argv, &g.options);

	if (r >= 0)
		return r;
	r = EXIT_FAILURE;
	lock_init(&g.lock);
	g.told = told_tree_new();
	if (open_source(&g) == 0) {
		if (bring(&g))
			r = mount_and_serve(&g);
		else
			fputs(vhostmd_tried(g.source), stderr);
	}
	vhostmd_close(g.source);
	told_tree_free(g.told);
	strbuf_done(&g.path);
	strbuf_done(&g.problem);
	lock_done(&g.lock);
	return r;
}
