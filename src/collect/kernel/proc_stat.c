/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/proc_stat.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "util/fileio.h"
#include "util/parse.h"

/*
 * The fields of a stat file behind the name, which may hold anything: proc(5).
 * @ret: field 3 and following, as numbers, as far as they are there and fit; @state:
 * field 3 itself, a letter.
 */
static void parse_stat(
	const char *text, uint64_t *ret, bool *have, size_t max, char *state)
{
	const char *p = strrchr(text, ')');

	if (!p || p[1] != ' ' || !p[2])
		return;
	*state = p[2];
	p += 3;
	for (size_t n = 1; n < max && *p == ' '; n++) {
		p++;
		bool negative = *p == '-';

		p += negative;
		const char *before = p;

		/* a number at the text's end may have lost digits */
		have[n] = parse_u64_at(&p, &ret[n]) == 0 && !negative && *p;
		if (p == before)
			return;
	}
}

int proc_stat_read(int fd, struct stat_fields *ret)
{
	char text[2048], state = 0;
	ssize_t r = pread_text(fd, text, sizeof(text));

	*ret = (struct stat_fields){ 0 };
	if (r < 0)
		return (int)r;
	parse_stat(text, ret->v, ret->have, STAT_MAX, &state);
	/* a zombie waits for its parent: it has ended */
	return state == 'Z' || state == 'X' || state == 'x' ? -ESRCH : 0;
}

int proc_statm_read(int fd, struct stat_fields *ret)
{
	char text[256];
	uint64_t pages = 0;
	ssize_t n = pread_text(fd, text, sizeof(text));
	const char *p = text;

	*ret = (struct stat_fields){ 0 };
	if (n < 0)
		return (int)n;
	/* all pages, then those that are resident; that more follows shows that it is whole */
	if (parse_u64_at(&p, &pages) < 0 || !pages || *p++ != ' ')
		return -ENODATA;
	ret->have[STAT_RSS] = parse_u64_at(&p, &ret->v[STAT_RSS]) == 0 && *p == ' ';
	return ret->have[STAT_RSS] ? 0 : -ENODATA;
}
