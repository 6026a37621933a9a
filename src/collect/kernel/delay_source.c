/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/delay_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/delay_maps.h"
#include "collect/kernel/delay_histogram.h"
#include "collect/kernel/delay_pairs.h"
#include "collect/kernel/delays.h"
#include "core/blame.h"
#include "core/catalogue.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

enum state {
	STATE_UNKNOWN, /* what the process before us left */
	STATE_OFF,     /* nobody asks for it */
	STATE_ATTACHED,
	STATE_REFUSED,
};

struct delay_source {
	struct delay_keeper keeper; /* immutable */

	_Atomic(enum state) state;    /* the finder's to change */
	struct delays *_Atomic fresh; /* handed over */

	/* sampler thread only */
	struct delays *delays;
	bool told_no_room, told_no_pairs;

	/* for status */
	_Atomic uint64_t vcpus, room, no_room, lost, pairs, pairs_room, pairs_lost_ns;
	struct lock lock; /* guards why; taken alone */
	char *why;
};

struct delay_source *delay_source_new(const struct delay_keeper *keeper)
{
	struct delay_source *s = xcalloc(1, sizeof(*s));

	s->keeper = *keeper;
	atomic_init(&s->state, keeper->get ? STATE_UNKNOWN : STATE_OFF);
	lock_init(&s->lock);
	return s;
}

void delay_source_free(struct delay_source *s)
{
	if (!s)
		return;
	delays_free(atomic_load(&s->fresh));
	delays_free(s->delays);
	lock_done(&s->lock);
	free(s->why);
	free(s);
}

/* ---- the finder's side ---- */

static void set_why(struct delay_source *s, const char *why)
{
	lock_take(&s->lock);
	free(s->why);
	s->why = why ? xstrdup(why) : NULL;
	lock_release(&s->lock);
}

/* Return: the state that follows. */
static enum state attach(struct delay_source *s)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct delay_maps maps = { .fds = { -1, -1, -1 } };
	struct delays *fresh = NULL;

	if (!s->keeper.get)
		strbuf_adds(&why, "there is nobody to attach it");
	else if (s->keeper.get(s->keeper.fd, &maps, &why) == 0)
		fresh = delays_new(&maps, clock_mono_ns());
	if (fresh) {
		set_why(s, NULL);
		delays_free(atomic_exchange(&s->fresh, fresh));
		return STATE_ATTACHED;
	}
	if (!why.len) {
		strbuf_addf(&why, "its memory cannot be mapped: %s", strerror(errno));
		log_warning("waits of vCPUs: %s: delay.* do not apply", strbuf_str(&why));
	}
	set_why(s, strbuf_str(&why));
	return STATE_REFUSED;
}

bool delay_source_look(struct delay_source *s, bool wanted)
{
	enum state state = atomic_load(&s->state);

	if (wanted && (state == STATE_UNKNOWN || state == STATE_OFF)) {
		atomic_store(&s->state, attach(s));
	} else if (!wanted && state != STATE_OFF) {
		atomic_store(&s->state, STATE_OFF);
		s->keeper.let_go(s->keeper.fd);
	}
	return atomic_load(&s->fresh) != NULL;
}

/* ---- the sampler's side ---- */

bool delay_source_begin(struct delay_source *s, bool wanted)
{
	struct delays *fresh = atomic_exchange(&s->fresh, NULL);

	if (fresh || !wanted)
		delays_free(TAKE_PTR(s->delays));
	if (wanted)
		s->delays = fresh ? fresh : s->delays;
	else
		delays_free(fresh);
	if (s->delays)
		delays_begin(s->delays);
	return fresh && wanted;
}

static void say_room(struct delay_source *s, const struct delay_counts *counts)
{
	if (!counts->no_room || s->told_no_room)
		return;
	s->told_no_room = true;
	log_warning(
		"waits of vCPUs: there is room for %zu: the figures of %zu cannot be had",
		counts->room, counts->no_room);
}

static void end_pairs(struct delay_source *s, int64_t now_ns)
{
	struct delay_pairs_counts counts = { 0 };

	if (s->delays) {
		delay_pairs_turn(delays_pairs(s->delays), now_ns);
		counts = delay_pairs_counts(delays_pairs(s->delays));
	}
	if (counts.lost_ns && !s->told_no_pairs) {
		s->told_no_pairs = true;
		log_warning(
			"waits of vCPUs: there is room for %zu pairs of VMs: which VM some waited for is not known",
			counts.room);
	}
	atomic_store(&s->pairs, counts.pairs);
	atomic_store(&s->pairs_room, counts.room);
	atomic_store(&s->pairs_lost_ns, counts.lost_ns);
}

struct blame *delay_source_blame(struct delay_source *s)
{
	return s->delays ? delay_pairs_blame(delays_pairs(s->delays)) : NULL;
}

void delay_source_end(struct delay_source *s, bool reads_all)
{
	struct delay_counts counts = { 0 };
	int64_t now_ns = clock_mono_ns();

	if (!reads_all)
		return;
	if (s->delays) {
		delays_end(s->delays, now_ns);
		counts = delays_counts(s->delays);
		say_room(s, &counts);
	}
	end_pairs(s, now_ns);
	atomic_store(&s->vcpus, counts.vcpus);
	atomic_store(&s->room, counts.room);
	atomic_store(&s->no_room, counts.no_room);
	atomic_store(&s->lost, counts.lost);
}

static void set_absent(struct vm_sample *sample)
{
	sample->uncounted.spread = true;
	vm_sample_set_absent(sample, READS(DELAYS));
}

static void set_all(struct vm_sample *sample, const struct vm_delays *all)
{
	if (!all->figures.have)
		return;
	for (size_t i = 0; i < DELAY_FIGURES; i++)
		fact_set(&sample->facts[VM_DELAY_P50 + i], value_u64(all->figures.ns[i]));
	for (size_t i = 0; i < DELAY_SHARES; i++)
		fact_set(&sample->facts[VM_DELAY_BY_VMS + i],
			value_real(all->shares.percent[i]));
	fact_set(&sample->facts[VM_DELAY_HISTOGRAM], value_histogram(all->histogram));
}

/* Counts what is known of how many vCPUs; adds the waits of those that are. */
static void read_vcpus(struct delays *d, struct vm_sample *sample,
	struct delay_spread *all, size_t counts[DELAY_DEAD + 1])
{
	for (size_t i = 0; i < sample->n_vcpus; i++) {
		struct vcpu_sample *v = &sample->vcpus[i];
		/* what is not known of it may be that it ran */
		uint64_t ran_ns = v->have_time ? v->time_ns : (uint64_t)sample->mono_ns;
		const struct delay_thread thread = { v->tid, v->start_ticks, ran_ns };

		counts[v->tid ? delays_read(d, &thread, sample->mono_ns, &v->spread, all)
			      : DELAY_UNSEEN]++;
	}
}

/*
 * The figures of a VM are those of its vCPUs that are known: one that was plugged in just now, or
 * was not seen yet, takes none from the others.  One that never will be, for want of room, does.
 * What the others waited is counted meanwhile, for when it is shown again.
 */
static struct vm_delays read_vm(struct delays *d, const struct vm_ident *ident,
	struct vm_sample *sample, struct vm_delays *last)
{
	size_t counts[DELAY_DEAD + 1] = { 0 };
	struct delay_spread all = { 0 };

	if (!sample->pid)
		return (struct vm_delays){ 0 };
	struct delay_vm *vm = delay_pairs_vm(delays_pairs(d), ident, sample->mono_ns);

	if (!delays_tell_process(d, sample->pid, sample->start_ticks, delay_vm_use(vm)))
		return (struct vm_delays){ 0 };
	read_vcpus(d, sample, &all, counts);
	delay_vm_waited(vm, all.by);
	if (counts[DELAY_KNOWN] && !last->histogram)
		last->histogram = delay_histogram_new();
	if (counts[DELAY_KNOWN])
		delay_histogram_add(last->histogram, &all);
	if (counts[DELAY_NO_ROOM] || counts[DELAY_DEAD])
		return (struct vm_delays){ 0 };
	if (counts[DELAY_STOOD])
		return *last;
	if (!counts[DELAY_KNOWN])
		return (struct vm_delays){ 0 };
	return (struct vm_delays){ .figures = delay_spread_figures(&all),
		.shares = delay_spread_shares(&all) };
}

void delay_source_sample(struct delay_source *s, const struct vm_ident *ident,
	struct vm_sample *sample, struct vm_delays *last)
{
	if (atomic_load(&s->state) == STATE_REFUSED || !s->keeper.get) {
		set_absent(sample);
		return;
	}
	struct vm_delays now = { 0 };

	if (s->delays)
		now = read_vm(s->delays, ident, sample, last);
	now.histogram = last->histogram;
	*last = now;
	set_all(sample, last);
}

/* ---- status ---- */

void delay_source_state(struct delay_source *s, struct strbuf *out)
{
	enum state state = atomic_load(&s->state);

	lock_take(&s->lock);
	strbuf_addf(out, "bpf: %s\n",
		state == STATE_ATTACHED      ? "attached"
			: state == STATE_OFF ? "off"
			: s->why             ? s->why
					     : "unknown");
	lock_release(&s->lock);
}

void delay_source_status(struct delay_source *s, struct strbuf *out)
{
	delay_source_state(s, out);
	if (atomic_load(&s->state) != STATE_ATTACHED)
		return;
	strbuf_addf(out,
		"bpf.vcpus: %" PRIu64 "\nbpf.room: %" PRIu64 "\nbpf.no_room: %" PRIu64
		"\nbpf.lost: %" PRIu64 "\nbpf.pairs: %" PRIu64
		"\nbpf.pairs_room: %" PRIu64 "\nbpf.pairs_lost_ms: %" PRIu64 "\n",
		atomic_load(&s->vcpus), atomic_load(&s->room), atomic_load(&s->no_room),
		atomic_load(&s->lost), atomic_load(&s->pairs),
		atomic_load(&s->pairs_room),
		atomic_load(&s->pairs_lost_ns) / (uint64_t)NS_PER_MS);
}
