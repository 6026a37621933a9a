/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prometheus' text (vhostmd(8), METRICS FOR PROMETHEUS), taken apart where it stands: nothing is
 * copied or allocated, and the text is changed.  Knows nothing of what figures mean.  A line that
 * is none is passed over.  One thread for each text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PROM_TEXT_LABELS = 16 }; /* of one line; a line with more is passed over */

struct prom_label {
	const char *name, *value; /* without escapes */
};

struct prom_line {
	const char *family;
	struct prom_label labels[PROM_TEXT_LABELS];
	size_t n_labels;
	double value; /* finite */
};

struct prom_text {
	char *at, *end;
	/* families that do not matter are passed over before their labels are looked at; NULL: all do */
	bool (*wanted)(void *ctx, const char *family);
	void *ctx;
};

/* @text: @size bytes, and one more that is writable, behind them. */
void prom_text_begin(struct prom_text *t, char *text, size_t size);

/* The next sample; its texts stay until @text goes.  Return: false at the end. */
bool prom_text_next(struct prom_text *t, struct prom_line *ret);

/* The value of a label, NULL if the line has none of that name. */
const char *prom_text_label(const struct prom_line *line, const char *name);
