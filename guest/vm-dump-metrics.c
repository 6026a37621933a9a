/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vm-dump-metrics(1): prints the metrics that the host shows to this guest. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reader.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

enum { EXIT_USAGE = 2 };

enum transport { ANY, DISK, CHANNEL, XENSTORE };

static int usage(FILE *to)
{
	fprintf(to,
		"Usage: vm-dump-metrics [-v] [-b | -i | -x] [-d FILE]\n"
		"Prints the metrics that the host shows to this virtual machine.\n\n"
		"  -b       read the metrics disk\n"
		"  -i       ask over the virtio-serial channel\n"
		"  -x       read from xenstore (not part of this build)\n"
		"  -d FILE  write to FILE instead of standard output\n"
		"  -v       say what is tried\n"
		"  -h       print this\n\n"
		"Without -b, -i and -x: the disk, then the channel.\n"
		"Exit status: 0 success, 1 failure, 2 wrong usage.\n");
	return to == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

static int read_metrics(
	enum transport transport, struct strbuf *out, struct strbuf *tried)
{
	int r = -EOPNOTSUPP;

	if (transport == XENSTORE)
		strbuf_adds(tried, "xenstore: not part of this build\n");
	if (transport == ANY || transport == DISK)
		r = reader_disk(out, tried);
	if (transport == CHANNEL || (transport == ANY && r < 0))
		r = reader_channel(out, tried);
	return r;
}

/* The file appears whole or not at all. */
static int write_file(const char *path, const struct strbuf *text)
{
	_cleanup_fclose_ FILE *f = path ? fopen(path, "we") : stdout;

	if (f && fwrite(text->data, 1, text->len, f) == text->len && fflush(f) == 0) {
		if (!path)
			f = NULL; /* standard output stays open */
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "vm-dump-metrics: %s: %s\n", path ? path : "standard output",
		strerror(errno));
	return EXIT_FAILURE;
}

static int dump(enum transport transport, const char *path, bool verbose)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf tried = STRBUF_INIT;
	int r = read_metrics(transport, &out, &tried);

	if (r < 0 || verbose)
		fputs(strbuf_str(&tried), stderr);
	if (r == 0)
		return write_file(path, &out);
	fprintf(stderr,
		"vm-dump-metrics: no metrics could be read; tried is what stands above\n");
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	enum transport transport = ANY;
	const char *path = NULL;
	bool verbose = false;
	int key = 0;

	while ((key = getopt(argc, argv, "vbixd:h")) != -1) {
		enum transport wanted = key == 'b' ? DISK
			: key == 'i'               ? CHANNEL
			: key == 'x'               ? XENSTORE
						   : ANY;

		if (wanted != ANY && transport != ANY && transport != wanted) {
			fprintf(stderr, "vm-dump-metrics: only one of -b, -i and -x\n");
			return usage(stderr);
		}
		if (wanted != ANY)
			transport = wanted;
		else if (key == 'd')
			path = optarg;
		else if (key == 'v')
			verbose = true;
		else
			return usage(key == 'h' ? stdout : stderr);
	}
	if (optind < argc) {
		fprintf(stderr, "vm-dump-metrics: '%s' is not expected\n", argv[optind]);
		return usage(stderr);
	}
	return dump(transport, path, verbose);
}
