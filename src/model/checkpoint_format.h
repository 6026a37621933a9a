/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fixed parts of a checkpoint, as they lie in its bytes; for who writes and who loads it
 * alone.  No padding, so that no byte of this process' memory gets into it unmeant.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "util/limits.h"

#define CHECKPOINT_MAGIC UINT64_C(0x7470636474736f68) /* "hostdcpt" */
#define CHECKPOINT_VERSION 4u

/* Had no histograms, and a 0 where there is their number; it is loaded as any other. */
#define CHECKPOINT_VERSION_BEFORE 3u

struct checkpoint_header {
	uint64_t magic;
	uint32_t version;
	uint32_t n_specs;
	uint64_t size; /* of all of it */
	uint64_t generation, vms_shape, vms_generation;
	int64_t vms_ns;
	uint32_t n_vms, n_sizes;
};
static_assert(sizeof(struct checkpoint_header) == 64, "no padding");

struct checkpoint_vm {
	uint8_t uuid[16];
	int32_t id;
	uint32_t hypervisor;
	uint32_t pid, reserved; /* 0 */
	uint64_t start_ticks, session, shares;
	uint64_t vcpus, rss_kib, balloon_kib;
	int64_t since_mono_ns, started_mono_ns, slow_mono_ns;
};
static_assert(sizeof(struct checkpoint_vm) == 104, "no padding");

struct checkpoint_size {
	int64_t until_mono_ns; /* INT64_MAX: it is so now */
	uint64_t bytes;
};

struct checkpoint_head {
	uint64_t shape;
	int64_t shape_ns, time_ns, updated_mono_ns;
	uint32_t n_metrics, n_counters, n_fallen, n_histograms;
};
static_assert(sizeof(struct checkpoint_head) == 48, "no padding");

/* What follows a metric does so in this order. */
enum {
	HAS_TIME = 1u << 0,   /* 64 bits: since when it has its value, a new one */
	HAS_NUMBER = 1u << 1, /* the value: a real's 64 bits, an integer as a varint */
	HAS_INDEX = 1u << 2,
	HAS_DEVICE = 1u << 3,
	HAS_NAME = 1u << 4, /* its own */
	HAS_UNIT = 1u << 5, /* with a name of its own */
	HAS_TEXT = 1u << 6, /* the value */
	IS_ABSENT = 1u << 7,
	SAME_DEVICE = 1u << 8, /* as the one before it that has one */
	IS_REACHED = 1u << 9,  /* its counter has reached that number, and never fell */
	SAME_INDEX = 1u << 10, /* as the one of the scope before it that has one */
	SAME_TEXT = 1u << 11,  /* as the last of its slot, which may be another VM's */
	HAS_HISTOGRAM = 1u << 12, /* the value: that of its key */
	METRIC_FLAGS = (1u << 13) - 1,
};

/* A varint: seven bits a byte, the lowest first; the eighth says that another follows. */
#define VARINT_BYTES_MAX 10u

/*
 * Most values of a scope are of a few times.  Each takes the next place when it comes, after
 * the last one the first again; whoever has no time of his own names the place.
 */
#define CHECKPOINT_TIMES 16u

struct checkpoint_metric {
	uint16_t slot; /* in the header's specs */
	uint16_t flags;
	uint8_t type;
	uint8_t time; /* the place; 0 with HAS_TIME */
};
static_assert(sizeof(struct checkpoint_metric) == 6, "no padding");
static_assert(LIMIT_CONF_METRICS <= UINT16_MAX + 1u, "each has a slot");

struct checkpoint_counter {
	uint64_t key, reached;
};

struct checkpoint_fallen {
	uint64_t key, reached, n_falls, low, base, floor;
};
static_assert(sizeof(struct checkpoint_fallen) == 48, "no padding");

/* The counts follow, each a varint. */
struct checkpoint_histogram {
	uint64_t key, sum;
	uint64_t bounds; /* their fingerprint: another build may have others */
	uint32_t n_counts, reserved; /* 0 */
};
static_assert(sizeof(struct checkpoint_histogram) == 32, "no padding");
