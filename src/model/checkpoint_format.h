/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fixed parts of a checkpoint, as they lie in its bytes; for who writes and who loads it
 * alone.  No padding, so that no byte of this process' memory gets into it unmeant.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define CHECKPOINT_MAGIC UINT64_C(0x7470636474736f68) /* "hostdcpt" */
#define CHECKPOINT_VERSION 2u

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
	uint32_t n_metrics, n_counters, n_fallen, reserved; /* 0 */
};
static_assert(sizeof(struct checkpoint_head) == 48, "no padding");

/* Strings follow in this order. */
enum {
	HAS_INDEX = 1u << 0,
	HAS_DEVICE = 1u << 1,
	HAS_NAME = 1u << 2, /* its own */
	HAS_UNIT = 1u << 3, /* with a name of its own */
	HAS_TEXT = 1u << 4, /* the value */
	IS_AVAILABLE = 1u << 5,
	IS_ABSENT = 1u << 6,
	METRIC_FLAGS = (1u << 7) - 1,
};

struct checkpoint_metric {
	uint32_t slot; /* in the header's specs */
	uint16_t type, flags;
	int64_t changed_ns;
	uint64_t value; /* a real's bits; 0 without one, and of a text */
};
static_assert(sizeof(struct checkpoint_metric) == 24, "no padding");

struct checkpoint_counter {
	uint64_t key, reached;
};

struct checkpoint_fallen {
	uint64_t key, reached, n_falls, low, base, floor;
};
static_assert(sizeof(struct checkpoint_fallen) == 48, "no padding");
