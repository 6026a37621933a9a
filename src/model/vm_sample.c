/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/vm_sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/mem.h"

/* CPU times may be counted in ticks of 1/100 s. */
#define MIN_RATE_NS (10 * NS_PER_MS)

void vm_sample_clear(struct vm_sample *s)
{
	memset(s->facts, 0, sizeof(s->facts));
	memset(&s->uncounted, 0, sizeof(s->uncounted));
	s->known = 0;
	s->pid = 0;
	s->start_ticks = 0;
	s->n_vcpus = s->n_iothreads = s->n_nics = s->n_disks = 0;
	s->cgroup = 0;
	s->iothreads_known = s->disks_known = false;
}

void vm_sample_done(struct vm_sample *s)
{
	free(s->vcpus);
	free(s->iothreads);
	free(s->nics);
	free(s->disks);
	*s = (struct vm_sample){ 0 };
}

void vm_delays_done(struct vm_delays *delays)
{
	free(delays->histogram);
	*delays = (struct vm_delays){ 0 };
}

struct vcpu_sample *vm_sample_add_vcpu(struct vm_sample *s, unsigned number)
{
	s->vcpus = xgrow(s->vcpus, s->n_vcpus, &s->cap_vcpus, sizeof(*s->vcpus));
	s->vcpus[s->n_vcpus] = (struct vcpu_sample){ .number = number };
	return &s->vcpus[s->n_vcpus++];
}

struct vcpu_sample *vm_sample_add_iothread(struct vm_sample *s, unsigned number)
{
	s->iothreads = xgrow(
		s->iothreads, s->n_iothreads, &s->cap_iothreads, sizeof(*s->iothreads));
	s->iothreads[s->n_iothreads] = (struct vcpu_sample){ .number = number };
	return &s->iothreads[s->n_iothreads++];
}

struct nic_sample *vm_sample_add_nic(struct vm_sample *s, unsigned number)
{
	s->nics = xgrow(s->nics, s->n_nics, &s->cap_nics, sizeof(*s->nics));
	s->nics[s->n_nics] = (struct nic_sample){ .number = number };
	return &s->nics[s->n_nics++];
}

struct disk_sample *vm_sample_add_disk(struct vm_sample *s, unsigned number)
{
	s->disks = xgrow(s->disks, s->n_disks, &s->cap_disks, sizeof(*s->disks));
	s->disks[s->n_disks] = (struct disk_sample){ .number = number };
	return &s->disks[s->n_disks++];
}

static uint64_t mix(uint64_t sum, uint64_t word)
{
	sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return sum ^ sum >> 29;
}

/* Four sums at once, for each has to wait for its last product. */
static uint64_t digest(uint64_t seed, const void *data, size_t bytes)
{
	uint64_t a = seed ^ bytes, b = seed + 1, c = seed + 2, d = seed + 3;
	const char *at = data;

	while (bytes) {
		uint64_t words[4] = { 0 };
		size_t n = bytes < sizeof(words) ? bytes : sizeof(words);

		memcpy(words, at, n);
		a = mix(a, words[0]);
		b = mix(b, words[1]);
		c = mix(c, words[2]);
		d = mix(d, words[3]);
		at += n;
		bytes -= n;
	}
	return mix(mix(mix(a, b), c), d);
}

uint64_t vm_sample_digest(const struct vm_sample *s)
{
	uint64_t d = digest(s->known, s->facts, sizeof(s->facts));

	d = digest(d, &s->uncounted, sizeof(s->uncounted));
	d = digest(d, s->vcpus, s->n_vcpus * sizeof(*s->vcpus));
	d = digest(d + s->iothreads_known, s->iothreads,
		s->n_iothreads * sizeof(*s->iothreads));
	d = digest(d, s->nics, s->n_nics * sizeof(*s->nics));
	return digest(d + s->disks_known, s->disks, s->n_disks * sizeof(*s->disks));
}

void vm_sample_set_absent(struct vm_sample *s, uint64_t reads)
{
#define READS_OF(key, name, type, unit, kind, reads_, ...) [VM_##key] = (reads_),
	static const uint64_t reads_of[VM_SCALAR_COUNT] = { KERNEL_SOURCES(READS_OF) };
#undef READS_OF

	for (size_t i = 0; i < VM_SCALAR_COUNT; i++)
		if (reads_of[i] & reads)
			fact_set_absent(&s->facts[i]);
}

void vm_counters_done(struct vm_counters *c)
{
	free(c->vcpus.at);
	free(c->iothreads.at);
	free(c->disks);
	*c = (struct vm_counters){ 0 };
}

static void copy_list(struct vcpu_list *list)
{
	struct vcpu_counters *from = list->at;

	list->at = xcalloc(list->n, sizeof(*list->at));
	list->cap = list->n;
	if (list->n)
		memcpy(list->at, from, list->n * sizeof(*list->at));
}

struct vm_counters vm_counters_copy(const struct vm_counters *c)
{
	struct vm_counters copy = *c;

	copy_list(&copy.vcpus);
	copy_list(&copy.iothreads);
	copy.disks = xcalloc(c->n_disks, sizeof(*c->disks));
	copy.cap_disks = c->n_disks;
	if (c->n_disks)
		memcpy(copy.disks, c->disks, c->n_disks * sizeof(*c->disks));
	return copy;
}

/* ---- counters ---- */

/* @other: it is another thing that counts now, whatever it says. */
static uint64_t go_on(struct vm_counter *c, uint64_t raw, bool other)
{
	if (c->have && (other || raw < c->raw))
		c->base += c->raw - raw;
	c->have = true;
	c->raw = raw;
	return raw + c->base;
}

static void go_on_fact(struct vm_counter *c, struct fact *fact, bool other)
{
	if (fact->have)
		fact->value.u = go_on(c, fact->value.u, other);
}

static void go_on_times(struct vm_sample *s, struct vm_counters *last)
{
	bool other = last->time.have && s->cgroup != last->cgroup;

	if (!s->facts[VM_CPU_TIME].have)
		return;
	go_on_fact(&last->time, &s->facts[VM_CPU_TIME], other);
	go_on_fact(&last->user, &s->facts[VM_CPU_USER], other);
	go_on_fact(&last->system, &s->facts[VM_CPU_SYSTEM], other);
	last->cgroup = s->cgroup;
}

/* @hint: where to look first; they come in the same order each time. */
static struct vcpu_counters *find_counters(
	struct vcpu_list *list, unsigned number, size_t hint)
{
	for (size_t k = 0; k < list->n; k++) {
		size_t i = (hint + k) % list->n;

		if (list->at[i].number == number)
			return &list->at[i];
	}
	list->at = xgrow(list->at, list->n, &list->cap, sizeof(*list->at));
	list->at[list->n] = (struct vcpu_counters){ .number = number };
	return &list->at[list->n++];
}

static void go_on_vcpus(struct vcpu_sample *vcpus, size_t n, struct vcpu_list *list)
{
	for (size_t i = 0; i < n; i++) {
		struct vcpu_sample *v = &vcpus[i];
		struct vcpu_counters *c = find_counters(list, v->number, i);

		if (v->have_time)
			v->time_ns = go_on(&c->time, v->time_ns, false);
		if (v->have_delay)
			v->delay_ns = go_on(&c->delay, v->delay_ns, false);
		if (v->have_wait)
			v->wait_ns = go_on(&c->wait, v->wait_ns, false);
	}
}

/* @hint: as above. */
static struct disk_goes_on *find_disk(
	struct vm_counters *last, const struct disk_sample *disk, size_t hint)
{
	uint64_t key =
		disk->name ? siphash24(disk->name, strlen(disk->name)) : disk->number;

	for (size_t k = 0; k < last->n_disks; k++) {
		size_t i = (hint + k) % last->n_disks;

		if (last->disks[i].key == key)
			return &last->disks[i];
	}
	last->disks =
		xgrow(last->disks, last->n_disks, &last->cap_disks, sizeof(*last->disks));
	last->disks[last->n_disks] =
		(struct disk_goes_on){ .key = key, .device = disk->device };
	return &last->disks[last->n_disks++];
}

static void go_on_disks(struct vm_sample *s, struct vm_counters *last)
{
	for (size_t i = 0; i < s->n_disks; i++) {
		struct disk_sample *disk = &s->disks[i];

		if (!disk->known)
			continue; /* the device is not there, or not yet */
		struct disk_goes_on *d = find_disk(last, disk, i);
		bool other = d->device != disk->device;

		for (size_t k = 0; k < HOSTDISK_FIGURES; k++)
			if (disk->known >> k & 1 &&
				k != VM_HOSTDISK_INFLIGHT - VM_HOSTDISK_RD_REQS)
				disk->figures[k] =
					go_on(&d->figures[k], disk->figures[k], other);
		d->device = disk->device;
	}
}

/* ---- sums ---- */

static uint64_t shown(const struct vm_counter *c)
{
	return c->have ? c->raw + c->base : 0;
}

/* One that cannot be read for a moment is no part of a true sum. */
static void add_up_vcpus(struct vm_sample *s, const struct vm_counters *last)
{
	bool have_time = s->n_vcpus, have_delay = s->n_vcpus, have_wait = s->n_vcpus;
	uint64_t time_ns = 0, delay_ns = 0, wait_ns = 0;

	for (size_t i = 0; i < s->n_vcpus; i++) {
		have_time &= s->vcpus[i].have_time;
		have_delay &= s->vcpus[i].have_delay;
		have_wait &= s->vcpus[i].have_wait;
	}
	for (size_t i = 0; i < last->vcpus.n; i++) {
		time_ns += shown(&last->vcpus.at[i].time);
		delay_ns += shown(&last->vcpus.at[i].delay);
		wait_ns += shown(&last->vcpus.at[i].wait);
	}
	if (have_time)
		fact_set(&s->facts[VM_VCPUS_TIME], value_u64(time_ns));
	if (have_delay)
		fact_set(&s->facts[VM_VCPUS_DELAY], value_u64(delay_ns));
	if (have_wait)
		fact_set(&s->facts[VM_VCPUS_WAIT], value_u64(wait_ns));
	s->facts[VM_VCPUS_TIME].absent = s->uncounted.time;
	s->facts[VM_VCPUS_DELAY].absent = s->uncounted.delay;
	s->facts[VM_VCPUS_WAIT].absent = s->uncounted.wait;
}

static void add_up_iothreads(struct vm_sample *s, const struct vm_counters *last)
{
	bool have = s->iothreads_known;
	uint64_t time_ns = 0;

	for (size_t i = 0; i < s->n_iothreads; i++)
		have &= s->iothreads[i].have_time;
	for (size_t i = 0; i < last->iothreads.n; i++)
		time_ns += shown(&last->iothreads.at[i].time);
	if (have)
		fact_set(&s->facts[VM_IOTHREADS_TIME], value_u64(time_ns));
}

/* They are read one after another: what is left may seem to be a little less than nothing. */
static void subtract(struct vm_sample *s)
{
	const struct fact *all = &s->facts[VM_CPU_TIME],
			  *vcpus = &s->facts[VM_VCPUS_TIME],
			  *io = &s->facts[VM_IOTHREADS_TIME];

	if (!all->have || !vcpus->have || !io->have)
		return;
	uint64_t others = vcpus->value.u + io->value.u;

	fact_set(&s->facts[VM_EMULATOR_TIME],
		value_u64(all->value.u > others ? all->value.u - others : 0));
}

/* ---- rates ---- */

/* 100 * @growth / @whole */
static struct value percent(uint64_t growth, double whole)
{
	return value_real(100.0 * (double)growth / whole);
}

static void set_percent(
	struct fact *ret, const struct fact *now, const struct fact *then, double whole)
{
	ret->absent = now->absent;
	if (now->have && then->have && now->value.u >= then->value.u && whole > 0)
		fact_set(ret, percent(now->value.u - then->value.u, whole));
}

/*
 * Adds what one vCPU's counter grew since the last rates, and remembers for the next.  What
 * just came has grown by nothing.
 * Return: false if that is not known: it could not be read now, or then.
 */
static bool add_growth(bool have, bool came, const struct vm_counter *c, uint64_t *last,
	int64_t *last_mono_ns, int64_t rate_mono_ns, int64_t now, uint64_t *growth)
{
	bool known = have && (came || *last_mono_ns == rate_mono_ns);

	if (!have)
		return false;
	if (known && !came)
		*growth += shown(c) - *last;
	*last = shown(c);
	*last_mono_ns = now;
	return known;
}

/* From each vCPU's own growth, so that none that comes or goes shows in it. */
static void rate_vcpus(struct vm_sample *s, struct vm_counters *last, double whole)
{
	bool know_delay = s->n_vcpus, know_wait = s->n_vcpus;
	uint64_t delay = 0, wait = 0;

	for (size_t i = 0; i < s->n_vcpus; i++) {
		const struct vcpu_sample *v = &s->vcpus[i];
		struct vcpu_counters *c = find_counters(&last->vcpus, v->number, i);

		bool came = !c->delay_mono_ns && !c->wait_mono_ns;

		know_delay &= add_growth(v->have_delay, came, &c->delay, &c->last_delay,
			&c->delay_mono_ns, last->mono_ns, s->mono_ns, &delay);
		know_wait &= add_growth(v->have_wait, came, &c->wait, &c->last_wait,
			&c->wait_mono_ns, last->mono_ns, s->mono_ns, &wait);
	}
	s->facts[VM_USAGE_STEAL].absent = s->uncounted.delay;
	s->facts[VM_USAGE_WAIT].absent = s->uncounted.wait;
	if (know_delay && whole > 0)
		fact_set(&s->facts[VM_USAGE_STEAL], percent(delay, whole));
	if (know_wait && whole > 0)
		fact_set(&s->facts[VM_USAGE_WAIT], percent(wait, whole));
}

static_assert(VM_USAGE_MEMORY_PRESSURE == VM_SCALAR_COUNT - 1, "the rates stand last");

static void set_rates(struct vm_sample *s, struct vm_counters *last)
{
	struct fact *f = s->facts, *throttled = &f[VM_USAGE_THROTTLED];
	double ns = last->mono_ns ? (double)(s->mono_ns - last->mono_ns) : 0;
	uint64_t vcpus = f[VM_VCPU_CURRENT].have ? f[VM_VCPU_CURRENT].value.u : 0;
	double whole = ns * (double)vcpus;

	rate_vcpus(s, last, whole);
	set_percent(&f[VM_USAGE_CPU], &f[VM_CPU_TIME], &last->cpu, whole);
	set_percent(throttled, &f[VM_THROTTLED_TIME], &last->throttled, whole);
	/* a quota above the VM stops others, too */
	if (throttled->have && throttled->value.real > 100)
		throttled->value.real = 100;
	set_percent(&f[VM_USAGE_MEMORY_PRESSURE], &f[VM_PRESSURE_MEMORY_SOME_TOTAL],
		&last->pressure, ns / 1000); /* microseconds */
}

void vm_sample_derive(struct vm_sample *s, struct vm_counters *last)
{
	struct fact *f = s->facts;

	go_on_times(s, last);
	go_on_vcpus(s->vcpus, s->n_vcpus, &last->vcpus);
	go_on_vcpus(s->iothreads, s->n_iothreads, &last->iothreads);
	go_on_disks(s, last);
	add_up_vcpus(s, last);
	add_up_iothreads(s, last);
	subtract(s);
	if (last->mono_ns && s->mono_ns - last->mono_ns < MIN_RATE_NS) {
		memcpy(&f[VM_USAGE_CPU], last->rates, sizeof(last->rates));
		return;
	}
	set_rates(s, last);
	last->mono_ns = s->mono_ns;
	last->cpu = f[VM_CPU_TIME];
	last->throttled = f[VM_THROTTLED_TIME];
	last->pressure = f[VM_PRESSURE_MEMORY_SOME_TOTAL];
	memcpy(last->rates, &f[VM_USAGE_CPU], sizeof(last->rates));
}
