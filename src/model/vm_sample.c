/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/vm_sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/clock.h"
#include "util/mem.h"

/* CPU times may be counted in ticks of 1/100 s. */
#define MIN_RATE_NS (10 * NS_PER_MS)

void vm_sample_clear(struct vm_sample *s)
{
	memset(s->facts, 0, sizeof(s->facts));
	s->known = 0;
	s->n_vcpus = s->n_nics = 0;
}

void vm_sample_done(struct vm_sample *s)
{
	free(s->vcpus);
	free(s->nics);
	*s = (struct vm_sample){ 0 };
}

struct vcpu_sample *vm_sample_add_vcpu(struct vm_sample *s, unsigned number)
{
	s->vcpus = xgrow(s->vcpus, s->n_vcpus, &s->cap_vcpus, sizeof(*s->vcpus));
	s->vcpus[s->n_vcpus] = (struct vcpu_sample){ .number = number };
	return &s->vcpus[s->n_vcpus++];
}

struct nic_sample *vm_sample_add_nic(struct vm_sample *s, unsigned number)
{
	s->nics = xgrow(s->nics, s->n_nics, &s->cap_nics, sizeof(*s->nics));
	s->nics[s->n_nics] = (struct nic_sample){ .number = number };
	return &s->nics[s->n_nics++];
}

/* A vCPU that is missing for a moment would come back as a leap: no sum without each part. */
static void add_up_vcpus(struct vm_sample *s)
{
	bool have_time = s->n_vcpus, have_delay = s->n_vcpus, have_wait = s->n_vcpus;
	uint64_t time_ns = 0, delay_ns = 0, wait_ns = 0;

	for (size_t i = 0; i < s->n_vcpus; i++) {
		const struct vcpu_sample *v = &s->vcpus[i];

		have_time &= v->have_time;
		have_delay &= v->have_delay;
		have_wait &= v->have_wait;
		time_ns += v->time_ns;
		delay_ns += v->delay_ns;
		wait_ns += v->wait_ns;
	}
	if (have_time)
		fact_set(&s->facts[VM_VCPUS_TIME], value_u64(time_ns));
	if (have_delay)
		fact_set(&s->facts[VM_VCPUS_DELAY], value_u64(delay_ns));
	if (have_wait)
		fact_set(&s->facts[VM_VCPUS_WAIT], value_u64(wait_ns));
}

/* 100 * (@now - @then) / @whole */
static void set_percent(
	struct fact *ret, const struct fact *now, const struct fact *then, double whole)
{
	if (now->have && then->have && now->value.u >= then->value.u && whole > 0)
		fact_set(ret,
			value_real(
				100.0 * (double)(now->value.u - then->value.u) / whole));
}

static_assert(VM_USAGE_MEMORY_PRESSURE == VM_SCALAR_COUNT - 1, "the rates stand last");

void vm_sample_derive(struct vm_sample *s, struct vm_counters *last)
{
	struct fact *f = s->facts;

	add_up_vcpus(s);
	if (last->mono_ns && s->mono_ns - last->mono_ns < MIN_RATE_NS) {
		memcpy(&f[VM_USAGE_CPU], last->rates, sizeof(last->rates));
		return;
	}
	struct vm_counters now = { .mono_ns = s->mono_ns,
		.cpu = f[VM_CPU_TIME],
		.delay = f[VM_VCPUS_DELAY],
		.wait = f[VM_VCPUS_WAIT],
		.throttled = f[VM_THROTTLED_TIME],
		.pressure = f[VM_PRESSURE_MEMORY_SOME_TOTAL] };

	if (last->mono_ns) {
		double ns = (double)(now.mono_ns - last->mono_ns);
		uint64_t vcpus = f[VM_VCPU_CURRENT].have ? f[VM_VCPU_CURRENT].value.u : 0;
		double whole = ns * (double)vcpus;

		set_percent(&f[VM_USAGE_CPU], &now.cpu, &last->cpu, whole);
		set_percent(&f[VM_USAGE_STEAL], &now.delay, &last->delay, whole);
		set_percent(&f[VM_USAGE_WAIT], &now.wait, &last->wait, whole);
		set_percent(
			&f[VM_USAGE_THROTTLED], &now.throttled, &last->throttled, whole);
		/* a quota above the VM stops others, too */
		if (f[VM_USAGE_THROTTLED].have && f[VM_USAGE_THROTTLED].value.real > 100)
			f[VM_USAGE_THROTTLED].value.real = 100;
		set_percent(&f[VM_USAGE_MEMORY_PRESSURE], &now.pressure, &last->pressure,
			ns / 1000); /* microseconds */
	}
	memcpy(now.rates, &f[VM_USAGE_CPU], sizeof(now.rates));
	*last = now;
}
