/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a disk shows, and numbers that tell one state of it from another.  Pure functions. */
#pragma once

#include <stdint.h>

struct disks_place;
struct strbuf;

/* Of the newest publication that has changed what it shows. */
uint64_t place_generation(const struct disks_place *place);

/* Real time of that, differing with each publication that changes it. */
int64_t place_time(const struct disks_place *place, uint64_t generation);

/*
 * Which run of the VM it shows, the same in every process: of another one no byte may be
 * served.  0: none, or all.
 */
uint64_t place_run(const struct disks_place *place);

/* Appends the document.  Return: the real time of its newest sample. */
int64_t place_render(const struct disks_place *place, struct strbuf *content);
