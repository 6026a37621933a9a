/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The terminal of `vhostmdctl top`.  Nothing else knows ncurses.  There is one at a time; one
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "top_columns.h"

struct top_model;
struct top_screen;

/* What is to be seen. */
struct top_scene {
	const struct top_model *model;
	int64_t now_ns;   /* monotonic */
	int64_t lost_ns;  /* since when nobody answers; 0: somebody does */
	const char *lost; /* why */
};

/*
 * Takes the terminal.  @query: what is shown at first; its filter is copied.
 * Return: NULL after saying why not.
 */
struct top_screen *top_screen_open(const struct top_query *query, bool colour);

/* Gives it back as it was; NULL is accepted. */
void top_screen_close(struct top_screen *screen);

void top_screen_draw(struct top_screen *screen, const struct top_scene *scene);

/* Takes all keys that there are, and draws what they change.  Return: false: to end. */
bool top_screen_keys(struct top_screen *screen, const struct top_scene *scene);
