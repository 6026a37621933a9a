/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line: a word in each line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "options.h"
#include "util/cleanup.h"
#include "util/mem.h"

#define MAX_WORDS 16

static void check(int r, const struct options *o)
{
	if (r == -EINVAL && !o->mount)
		return;
	if (r < 0 || o->mount[0] != '/' || !o->config_file || !o->pid_file)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	char name[] = "vhostmd", *argv[MAX_WORDS + 2] = { name }, *rest = text;
	struct options o = { 0 };
	int argc = 1;
	static FILE *nowhere;

	for (char *word = strsep(&rest, "\n"); word && argc <= MAX_WORDS;
		word = strsep(&rest, "\n"))
		argv[argc++] = word;
	if (!nowhere)
		nowhere = fopen("/dev/null", "we");
	FILE *said = stderr;

	stderr = nowhere;
	optind = 0; /* getopt(3): from the start */
	int r = options_parse(argc, argv, &o);

	stderr = said;
	check(r, &o);
	return 0;
}
