/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Built without ncurses. */
#include "ctl.h"
#include "top_screen.h"

struct top_screen *top_screen_open(const struct top_query *query, bool colour)
{
	(void)query;
	(void)colour;
	ctl_error("top: this build has no screen: it was made without ncurses");
	ctl_hint("vhostmdctl top --batch prints the same as CSV, with --json as JSON");
	return NULL;
}

void top_screen_close(struct top_screen *screen)
{
	(void)screen;
}

void top_screen_draw(struct top_screen *screen, const struct top_scene *scene)
{
	(void)screen;
	(void)scene;
}

bool top_screen_keys(struct top_screen *screen, const struct top_scene *scene)
{
	(void)screen;
	(void)scene;
	return false;
}
