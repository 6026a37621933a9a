/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of a VM's disks are devices of the host: what the finder found of its description, for the
 * sampler.  Immutable and reference-counted, any thread.
 */
#pragma once

#include <stdbool.h>

struct description;
struct disk_finder;
struct disk_stats;
struct fast_disks;
struct vm_sample;

/* Takes a reference to @description.  Return: the caller owns the one reference. */
struct fast_disks *fast_disks_new(
	struct disk_finder *finder, struct description *description);
struct fast_disks *fast_disks_ref(struct fast_disks *d); /* NULL is accepted */
void fast_disks_unref(struct fast_disks *d);             /* NULL is accepted */

/* The one that they were found of, borrowed; NULL of NULL. */
const struct description *fast_disks_of(const struct fast_disks *d);

/* True if the description says of any disk that it is a device: what that is may change. */
bool fast_disks_may_change(const struct fast_disks *d); /* of NULL false */

/* True if both are the same devices of the same description. */
bool fast_disks_equal(const struct fast_disks *a, const struct fast_disks *b);

/*
 * Adds them with their figures as of the last read to a sample, which borrows names from both.
 * @stats: NULL if there was none.
 */
void fast_disks_sample(const struct fast_disks *d, const struct disk_stats *stats,
	struct vm_sample *sample);
