/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was learnt of one VM at one moment, and what follows from two such moments.  Filled
 * by the fast lane from the kernel, or from libvirt's statistics; owned by one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/catalogue.h"
#include "core/fact.h"

struct vcpu_sample {
	unsigned number;
	uint64_t time_ns, delay_ns, wait_ns;
	bool have_time, have_delay, have_wait;
};

struct nic_sample {
	unsigned number;
	const char *name;     /* of the host's interface; borrowed */
	uint64_t counters[8]; /* as VM_NET_RX_BYTES and following */
	bool have;
};

struct vm_sample {
	int64_t time_ns; /* real time */
	int64_t mono_ns;
	uint64_t known; /* READS() of READS_EITHER: what all was learnt of */
	struct fact facts[VM_SCALAR_COUNT];
	struct vcpu_sample *vcpus; /* sorted by number */
	size_t n_vcpus, cap_vcpus;
	struct nic_sample *nics; /* sorted by number */
	size_t n_nics, cap_nics;
};

/* Forgets the figures and keeps the memory. */
void vm_sample_clear(struct vm_sample *s);
void vm_sample_done(struct vm_sample *s);

/* A new vCPU or interface at the end, all zero but for the number. */
struct vcpu_sample *vm_sample_add_vcpu(struct vm_sample *s, unsigned number);
struct nic_sample *vm_sample_add_nic(struct vm_sample *s, unsigned number);

#define VM_RATES (VM_SCALAR_COUNT - VM_USAGE_CPU)

/* The counters that rates are made of, and the last rates. */
struct vm_counters {
	int64_t mono_ns; /* 0: none yet */
	struct fact cpu, delay, wait, throttled, pressure;
	struct fact rates[VM_RATES]; /* VM_USAGE_CPU and following */
};

/*
 * Sums over the vCPUs (VM_VCPUS_*), then the rates since @last (VM_USAGE_*, formulas in the
 * catalogue), which moves on to @s.  A counter that went back gives no rate; over less
 * than the kernel's tick the last rates stand.
 */
void vm_sample_derive(struct vm_sample *s, struct vm_counters *last);
