/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text forms that several files of the kernel have in common.  Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/fact.h"

/* Sets a fact to the number at @p; leaves it as it is where there is none that fits. */
void fact_set_u64(struct fact *fact, const char *p);

/* The start of the next line, or the end of the text. */
const char *proc_next_line(const char *p);

/* True if the text has lines and does not end within one: what it lacks does not exist. */
bool proc_is_whole(const char *text);

/* True if the line at @p starts with @word, followed by white space or ':'; *@ret: the rest. */
bool proc_line_is(const char *p, const char *word, const char **ret);

/* The number in the first line that starts with @word. */
bool proc_find_u64(const char *text, const char *word, uint64_t *ret);

/* Reads a decimal number with or without a fraction and moves behind it. */
bool proc_take_real(const char **p, double *ret);

/* What a pressure file (kernel: Documentation/accounting/psi.rst) says, in this order. */
enum { PRESSURE_AVG10, PRESSURE_AVG60, PRESSURE_AVG300, PRESSURE_TOTAL, PRESSURE_COUNT };

/*
 * @some, @full: PRESSURE_COUNT facts each, of which those that the text names are set, and
 * the others are absent, as is full pressure on processors with old kernels.
 */
void proc_parse_pressure(const char *text, struct fact *some, struct fact *full);

/* The kernel counts none: those that were not set are absent. */
void proc_no_pressure(struct fact *some, struct fact *full);
