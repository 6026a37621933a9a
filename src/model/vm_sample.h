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

struct histogram;

/* How long waits for a processor were; in the order of VM_DELAY_P50 and VM_VCPU_DELAY_P50. */
enum delay_figure { DELAY_P50, DELAY_P90, DELAY_P99, DELAY_MAX, DELAY_FIGURES };

struct delay_figures {
	bool have;
	uint64_t ns[DELAY_FIGURES];
};

/* Whose fault they were, in percent of all that a VM's vCPUs waited; as VM_DELAY_BY_VMS and following. */
#define DELAY_SHARES 7

struct delay_shares {
	double percent[DELAY_SHARES];
};

/* Of all of a VM's vCPUs. */
struct vm_delays {
	struct delay_figures figures;
	struct delay_shares shares; /* have as figures have */
	/* all since the first time that they were read; owned; NULL: they never were */
	struct histogram *histogram;
};

void vm_delays_done(struct vm_delays *delays);

/* Of an I/O thread the time alone. */
struct vcpu_sample {
	unsigned number;
	uint32_t tid; /* 0: it is not known which thread that is */
	uint64_t start_ticks;
	struct delay_figures spread;
	uint64_t time_ns, delay_ns, wait_ns;
	bool have_time, have_delay, have_wait;
};

struct nic_sample {
	unsigned number;
	const char *name;     /* of the host's interface; borrowed */
	uint64_t counters[8]; /* as VM_NET_RX_BYTES and following */
	bool have;
};

#define HOSTDISK_FIGURES (VM_HOSTDISK_FL_TIMES - VM_HOSTDISK_RD_REQS + 1)

/* A disk that is a device of the host. */
struct disk_sample {
	unsigned number;  /* among all of the VM's disks */
	uint64_t device;  /* which of the host's it is */
	const char *name; /* as the VM's bus names it; NULL: not said; borrowed */
	const char *node; /* as the host's kernel names it; NULL: not known; borrowed */
	uint32_t counted; /* bits of figures: the others there are none of */
	uint32_t known;   /* likewise: which can be had now */
	uint64_t figures[HOSTDISK_FIGURES]; /* as VM_HOSTDISK_RD_REQS and following */
};

struct vm_sample {
	int64_t time_ns; /* real time */
	int64_t mono_ns;
	uint32_t pid;         /* of its process; 0: not known */
	uint64_t start_ticks; /* when that started */
	uint64_t known;       /* READS() of READS_EITHER: what all was learnt of */
	struct fact facts[VM_SCALAR_COUNT];
	uint64_t cgroup; /* which one counts the VM's time; 0: none, or not known */
	struct vcpu_sample *vcpus; /* sorted by number */
	size_t n_vcpus, cap_vcpus;
	struct vcpu_sample *iothreads; /* sorted by number */
	size_t n_iothreads, cap_iothreads;
	bool iothreads_known; /* there are no others */
	struct {
		bool time, delay, wait, spread;
	} uncounted; /* of no vCPU is it counted, so that there is none of it */
	struct nic_sample *nics; /* sorted by number */
	size_t n_nics, cap_nics;
	struct disk_sample *disks; /* sorted by number */
	size_t n_disks, cap_disks;
	bool disks_known; /* no others are devices of the host */
};

/* Forgets the figures and keeps the memory. */
void vm_sample_clear(struct vm_sample *s);
void vm_sample_done(struct vm_sample *s);

/* A new vCPU, I/O thread, interface or disk at the end, all zero but for the number. */
struct vcpu_sample *vm_sample_add_vcpu(struct vm_sample *s, unsigned number);
struct vcpu_sample *vm_sample_add_iothread(struct vm_sample *s, unsigned number);
struct nic_sample *vm_sample_add_nic(struct vm_sample *s, unsigned number);
struct disk_sample *vm_sample_add_disk(struct vm_sample *s, unsigned number);

/*
 * Stands for all figures of @s, not for when they were read: two samples of which it is equal have
 * the same figures.  Names that are borrowed are told apart by where they lie.
 */
uint64_t vm_sample_digest(const struct vm_sample *s);

/* There is none of what is made from any of @reads, READS() of KERNEL_SOURCES. */
void vm_sample_set_absent(struct vm_sample *s, uint64_t reads);

#define VM_RATES (VM_SCALAR_COUNT - VM_USAGE_CPU)

/*
 * A counter whose thing may be replaced by another one, which counts from its own start: a
 * vCPU that was unplugged and plugged, the cgroup of a process that was moved, the device behind
 * a disk.  It goes on
 * from where it was; what was counted between the last look at the one and the first at the
 * other is lost.
 */
struct vm_counter {
	bool have;
	uint64_t raw;  /* last seen */
	uint64_t base; /* modulo 2^64: what is shown is @raw and this */
};

/* What is known of a vCPU, or an I/O thread, that is there or was once. */
struct vcpu_counters {
	unsigned number;
	struct vm_counter time, delay, wait;
	/* at the last rate, and when that was; 0: it was not there, or could not be read */
	uint64_t last_delay, last_wait;
	int64_t delay_mono_ns, wait_mono_ns;
};

/* What is known of a disk that is a device of the host, or was one once. */
struct disk_goes_on {
	uint64_t key; /* of its name, or its number if it has none */
	uint64_t device;
	struct vm_counter figures[HOSTDISK_FIGURES];
};

struct vcpu_list {
	struct vcpu_counters *at;
	size_t n, cap;
};

/* What all samples of a run so far have in common: the counters, and the last rates. */
struct vm_counters {
	int64_t mono_ns; /* of the last rates; 0: none yet */
	uint64_t cgroup;
	struct vm_counter time, user, system;
	struct vcpu_list vcpus, iothreads;
	struct disk_goes_on *disks;
	size_t n_disks, cap_disks;
	struct fact cpu, throttled, pressure; /* at the last rates */
	struct fact rates[VM_RATES];          /* VM_USAGE_CPU and following */
};

void vm_counters_done(struct vm_counters *c);

/* A copy that shares nothing with @c, for the caller to be done with. */
struct vm_counters vm_counters_copy(const struct vm_counters *c);

/*
 * First the counters of @s go on from where they were (struct vm_counter).  Then the sums
 * over vCPUs and I/O threads, those that were unplugged included, so that no sum falls
 * (VM_VCPUS_*, VM_IOTHREADS_TIME), and what is left (VM_EMULATOR_TIME).  Then the rates since
 * @last (VM_USAGE_*, formulas in the catalogue), which moves on to @s.  A counter that went
 * back gives no rate; over less than the kernel's tick the last rates stand.  What is made of
 * a counter that is absent is so, too.
 */
void vm_sample_derive(struct vm_sample *s, struct vm_counters *last);
