/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The waits of a VM's vCPUs as a histogram that counts on: the steps of bpf/delay_format.h put
 * together into the buckets of core/histogram.  Pure but for the clock, of which a new one has its
 * origin; any thread.
 */
#pragma once

struct delay_spread;
struct histogram;

/* One that has counted nothing, owned by the caller: free(). */
struct histogram *delay_histogram_new(void);

/*
 * Adds what was counted meanwhile: a bucket's are shorter than its bound, which is where a step
 * begins.  The sum is of all waits, whether or not they are counted, to the unit of the spread.
 */
void delay_histogram_add(struct histogram *h, const struct delay_spread *spread);
