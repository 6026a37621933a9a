/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the worker says of itself: the file `status`. */
#include "worker_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collect/actions/actions.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/connection.h"
#include "control/control.h"
#include "core/blame.h"
#include "core/snapshot.h"
#include "http/http.h"
#include "keeper/address.h"
#include "mdisk/disks.h"
#include "shared_path.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "virtio/channels.h"
#include "xenstore/xenstore.h"

/* A scope without update for so many periods counts as stale. */
#define STALE_PERIODS 3

static int64_t age_ms(int64_t now, int64_t then)
{
	return then ? (now - then) / NS_PER_MS : -1;
}

static void status_vms(struct worker *w, const struct view *view, struct strbuf *out)
{
	int64_t now = clock_mono_ns();
	int64_t stale_ns = STALE_PERIODS * atomic_load(&w->period_ns);
	unsigned stale = 0;

	for (size_t i = 0; i < view->n_vms; i++) {
		const struct snapshot *vm = view->vms[i];
		bool is_stale = now - vm->updated_mono_ns > stale_ns;

		stale += is_stale;
		strbuf_addf(out, "vm.%s.age_ms: %" PRId64 "%s\n", vm->uuid_text,
			age_ms(now, vm->updated_mono_ns), is_stale ? " stale" : "");
	}
	strbuf_addf(out, "vms: %zu\nvms.stale: %u\n", view->n_vms, stale);
}

static void status_conf(const struct worker *w, struct strbuf *out)
{
	strbuf_addf(out, "conf.file: %s\nconf.reads: %u\nconf.mistakes: %u\n",
		w->params->config_file, atomic_load(&w->conf_reads),
		atomic_load(&w->conf_mistakes));
	if (atomic_load(&w->conf_refused))
		strbuf_adds(out, "conf.refused: what stands there by now\n");
}

/* Where clients find it. */
static void status_control(const struct worker *w, struct strbuf *out)
{
	int fds[LISTENERS_MAX];
	size_t n = listeners_of(&w->listeners, LISTENER_CONTROL, fds);
	struct address a;

	for (size_t i = 0; i < n; i++)
		if (address_of(fds[i], &a) == 0 && a.any.sa_family == AF_UNIX &&
			*a.un.sun_path) {
			strbuf_addf(out, "control.socket: %s\n", a.un.sun_path);
			return;
		}
}

static void status_self(struct strbuf *out)
{
	struct rusage usage;

	strbuf_addf(out, "log.level: %s\nlog.left_out: %" PRIu64 "\n",
		log_level_name(log_level()), log_left_out());
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		strbuf_addf(out, "cpu_ms: %lld\n",
			(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000LL +
				(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000);
}

char *worker_version(const char *failed)
{
	struct stat program = { 0 };

	/* who has asked for another program looks whether that is the one */
	if (stat("/proc/self/exe", &program) < 0)
		log_warning("/proc/self/exe: %s", strerror(errno));
	return xasprintf("%s\nworker: %d\nprogram: %ju:%ju\n%s%s%s", VHOSTMD_VERSION,
		(int)getpid(), (uintmax_t)program.st_dev, (uintmax_t)program.st_ino,
		failed ? "failed: " : "", failed ? failed : "", failed ? "\n" : "");
}

void worker_status(void *ctx, struct strbuf *out)
{
	struct worker *w = ctx;
	_cleanup_view_ struct view *view = tree_view(w->tree);
	int64_t now = clock_mono_ns();

	strbuf_addf(out, "version: %s\npid: %d\n", VHOSTMD_VERSION, (int)getpid());
	strbuf_addf(out, "uptime_s: %" PRId64 "\n", (now - w->start_mono_ns) / NS_PER_S);
	strbuf_addf(out, "generation: %" PRIu64 "\n", view->generation);
	strbuf_addf(
		out, "period_ms: %" PRId64 "\n", atomic_load(&w->period_ns) / NS_PER_MS);
	strbuf_addf(out, "host.age_ms: %" PRId64 "\n",
		age_ms(now, view->host->updated_mono_ns));
	status_conf(w, out);
	status_control(w, out);
	if (!atomic_load(&w->up))
		return;
	status_self(out);
	sampler_status(w->sampler, out);
	virt_status(w->virt, out);
	actions_status(w->actions, out);
	channels_status(w->channels, out);
	disks_status(w->disks, view, out);
	http_status(w->http, out);
	xenstore_status(w->xenstore, out);
	control_status(w->control, out);
	shared_path_status(w->shared_path, out);
	status_vms(w, view, out);
}

void worker_blame(void *ctx, struct strbuf *out)
{
	struct worker *w = ctx;
	_cleanup_view_ struct view *view = tree_view(w->tree);

	if (atomic_load(&w->up))
		sampler_delay_state(w->sampler, out);
	if (view->blame)
		blame_describe(view->blame, out);
}
