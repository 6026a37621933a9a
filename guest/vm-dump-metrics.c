/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vm-dump-metrics(1): prints the metrics that the host shows to this guest. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "disk.h"
#include "dump.h"
#include "system.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "vhostmd/metrics.h"
#include "whole_file.h"
#include "why.h"
#include "xenstore.h"

/* vm-dump-metrics(1), EXIT STATUS */
enum {
	EXIT_USAGE = 2,
	EXIT_NO_METRIC = 3,
	EXIT_NO_VALUE = 4,
	EXIT_HELD_BACK = 5,
	EXIT_NOT_KNOWN = 6
};

/* Longer than the shipped configuration looks at disks (15 s), with a sample at each end. */
#define WHY_INTERVAL_S 20
#define WHY_POLL_NS (250 * NS_PER_MS)
/* Hosts are known that sample once a minute. */
#define WHY_PATIENCE_NS (65 * NS_PER_S)

enum format { FORMAT_NONE, FORMAT_XML, FORMAT_TABLE, FORMAT_JSON, FORMAT_PROMETHEUS };

static const char *const format_names[] = {
	[FORMAT_XML] = "xml",
	[FORMAT_TABLE] = "table",
	[FORMAT_JSON] = "json",
	[FORMAT_PROMETHEUS] = "prometheus",
};

struct options {
	const char *source; /* NULL: the environment's, or both */
	bool xenstore;
	const char *uuid, *metric, *dest, *textfile;
	const char *probe;  /* NULL, or nothing else is done */
	enum format format; /* FORMAT_NONE: xml, or what goes with --watch */
	double watch_s;     /* 0: once */
	bool why;
	double interval_s; /* 0: of its own choice */
	bool verbose;
};

/* What has no letter. */
enum {
	OPTION_SOURCE = 256,
	OPTION_FORMAT,
	OPTION_METRIC,
	OPTION_WATCH,
	OPTION_TEXTFILE,
	OPTION_UUID,
	OPTION_WHY,
	OPTION_INTERVAL,
	OPTION_JSON,
	OPTION_PROBE
};

static const struct option long_options[] = {
	{ "verbose", no_argument, NULL, 'v' },
	{ "vbd", no_argument, NULL, 'b' },
	{ "virtio", no_argument, NULL, 'i' },
	{ "xenstore", no_argument, NULL, 'x' },
	{ "dest", required_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },
	{ "source", required_argument, NULL, OPTION_SOURCE },
	{ "format", required_argument, NULL, OPTION_FORMAT },
	{ "metric", required_argument, NULL, OPTION_METRIC },
	{ "watch", required_argument, NULL, OPTION_WATCH },
	{ "textfile", required_argument, NULL, OPTION_TEXTFILE },
	{ "uuid", required_argument, NULL, OPTION_UUID },
	{ "why", no_argument, NULL, OPTION_WHY },
	{ "interval", required_argument, NULL, OPTION_INTERVAL },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "probe", required_argument, NULL, OPTION_PROBE },
	{ 0 },
};

static int usage(FILE *to)
{
	fprintf(to,
		"Usage: vm-dump-metrics [OPTION...]\n"
		"Prints the metrics that the host shows to this virtual machine.\n\n"
		"  -b, --vbd            read the metrics disk\n"
		"  -i, --virtio         ask over the virtio-serial channel\n"
		"  -x, --xenstore       read from xenstore, of a host with Xen\n"
		"  -d, --dest FILE      write to FILE instead of standard output\n"
		"  -v, --verbose        say what is tried\n"
		"  -h, --help           print this\n\n"
		"  --source SOURCE      auto, disk, channel, or a device or image file\n"
		"  --uuid UUID          which VM this is, where its firmware does not tell\n"
		"  --format FORMAT      xml (as the host sent it), table, json or prometheus\n"
		"  --metric NAME        the value of one metric; host:NAME, vm:NAME\n"
		"  --watch SECONDS      again and again: what changed, and how fast\n"
		"  --textfile FILE      write FILE for node_exporter\n"
		"  --why                look twice, and say whether anything holds this\n"
		"                       machine back, and what; takes half a minute\n"
		"  --interval SECONDS   how long --why looks (20)\n"
		"  --json               the same as --format json\n"
		"  --probe DEVICE       say by the exit status if this is a metrics disk\n\n"
		"Without -b, -i, -x and --source: the disk, then the channel.\n"
		"Exit status: 0 success, 1 failure, 2 wrong usage, 3 no such metric,\n"
		"4 the metric has no value now; --why: 0 nothing holds it back,\n"
		"5 something does, 6 nothing known does, but not all is known.\n");
	return to == stdout ? EXIT_SUCCESS : EXIT_USAGE;
}

/* ---- output ---- */

/* Where there is no file: standard output. */
static int put(const char *path, const char *text, size_t len, mode_t mode)
{
	int r = 0;

	if (path)
		r = whole_file_write(path, text, len, mode);
	else if (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0)
		r = -errno;
	if (r == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "vm-dump-metrics: %s: %s\n", path ? path : "standard output",
		strerror(-r));
	return EXIT_FAILURE;
}

static int put_text(const char *path, const struct strbuf *text)
{
	return put(path, strbuf_str(text), text->len, 0666);
}

static int nothing_read(const struct vhostmd_source *source)
{
	fputs(vhostmd_tried(source), stderr);
	fprintf(stderr,
		"vm-dump-metrics: no metrics could be read; tried is what stands above\n");
	return EXIT_FAILURE;
}

/* ---- one metric ---- */

/* "host:NAME" and "vm:NAME" name the context; else it is the VM's or, without one, the host's. */
static int find_metric(const struct vhostmd_snapshot *now, const char *name,
	const struct vhostmd_metric **ret)
{
	if (!strncmp(name, "host:", 5))
		return vhostmd_find(now, METRIC_CONTEXT_HOST, name + 5, ret);
	if (!strncmp(name, "vm:", 3))
		return vhostmd_find(now, METRIC_CONTEXT_VM, name + 3, ret);
	int vm = vhostmd_find(now, METRIC_CONTEXT_VM, name, ret);

	if (vm == 0 || vhostmd_find(now, METRIC_CONTEXT_HOST, name, ret) == 0)
		return 0;
	return vm;
}

static int no_metric(const char *name, int error)
{
	fprintf(stderr, "vm-dump-metrics: %s: %s\n", name, vhostmd_strerror(error));
	switch (error) {
	case VHOSTMD_ERR_NO_METRIC:
	case VHOSTMD_ERR_IDENTITY:
		return EXIT_NO_METRIC;
	case VHOSTMD_ERR_UNAVAILABLE:
	case VHOSTMD_ERR_UNLIMITED:
		return EXIT_NO_VALUE;
	default:
		return EXIT_FAILURE;
	}
}

/* ---- once ---- */

static int put_snapshot(const struct options *o, const struct vhostmd_snapshot *now)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const struct vhostmd_metric *m = NULL;
	int r = o->metric ? find_metric(now, o->metric, &m) : 0;

	if (r < 0)
		return no_metric(o->metric, r);
	if (m)
		strbuf_addf(&out, "%s\n", vhostmd_metric_text(m));
	else if (o->format == FORMAT_TABLE)
		dump_table(now, &out);
	else if (o->format == FORMAT_JSON)
		dump_json(now, &out);
	else if (o->format == FORMAT_PROMETHEUS || o->textfile)
		dump_prometheus(now, &out);
	else
		strbuf_adds(&out, vhostmd_snapshot_xml(now, NULL));
	return o->textfile ? put(o->textfile, strbuf_str(&out), out.len, 0644)
			   : put_text(o->dest, &out);
}

/* As the host wrote it, were it no XML. */
static int put_as_it_is(const struct options *o, struct vhostmd_source *source)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (vhostmd_read_text(source, &text, &len) < 0)
		return nothing_read(source);
	if (o->verbose)
		fputs(vhostmd_tried(source), stderr);
	return put(o->dest, text, len, 0666);
}

static int once(const struct options *o, struct vhostmd_source *source)
{
	struct vhostmd_snapshot *now = NULL;

	if (!o->metric && !o->textfile && o->format <= FORMAT_XML)
		return put_as_it_is(o, source);
	if (vhostmd_read(source, &now) < 0)
		return nothing_read(source);
	if (o->verbose)
		fputs(vhostmd_tried(source), stderr);
	int status = put_snapshot(o, now);

	vhostmd_snapshot_free(now);
	return status;
}

/* ---- what holds it back ---- */

/*
 * True if the host sampled anew.  What only its monitors' figures made new does not count: their
 * age is of the sample before.
 */
static bool is_next_sample(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now)
{
	static const char age[] = "sample.slow.age";
	const char *was = NULL, *is = NULL;
	int r = vhostmd_deltas_valid(before, now);

	if (r < 0)
		return r != VHOSTMD_ERR_SAME_SAMPLE;
	return vhostmd_get_text(before, METRIC_CONTEXT_VM, age, &was) < 0 ||
		vhostmd_get_text(now, METRIC_CONTEXT_VM, age, &is) < 0 ||
		strcmp(was, is) != 0;
}

/*
 * Reads until there is a sample after that of @than, so that the time of reading is that of the
 * sample.  Return: 0 or an exit status; @than is freed.
 */
static int read_next(struct vhostmd_source *source, struct vhostmd_snapshot *than,
	struct vhostmd_snapshot **ret)
{
	int64_t start_ns = clock_mono_ns();
	int status = EXIT_SUCCESS;

	for (;;) {
		struct vhostmd_snapshot *now = NULL;

		system_sleep_until(clock_mono_ns() + WHY_POLL_NS);
		if (vhostmd_read(source, &now) < 0) {
			status = nothing_read(source);
			break;
		}
		if (is_next_sample(than, now)) {
			*ret = now;
			break;
		}
		vhostmd_snapshot_free(now);
		if (clock_mono_ns() - start_ns > WHY_PATIENCE_NS) {
			fprintf(stderr,
				"vm-dump-metrics: the host has said nothing new for %d s\n",
				(int)(WHY_PATIENCE_NS / NS_PER_S));
			status = EXIT_FAILURE;
			break;
		}
	}
	vhostmd_snapshot_free(than);
	return status;
}

/* Reads the sample that begins next.  Return: 0 or an exit status. */
static int read_fresh(struct vhostmd_source *source, struct vhostmd_snapshot **ret)
{
	struct vhostmd_snapshot *now = NULL;

	return vhostmd_read(source, &now) < 0 ? nothing_read(source)
					      : read_next(source, now, ret);
}

static int put_reasons(const struct options *o, const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct why_report report;

	why_look(before, now, &report);
	if (o->format == FORMAT_JSON)
		dump_why_json(&report, &out);
	else
		dump_why(&report, &out);
	enum why_degree degree = report.error ? WHY_UNKNOWN : why_verdict(&report);

	why_done(&report);
	if (put_text(o->dest, &out) != EXIT_SUCCESS)
		return EXIT_FAILURE;
	return degree == WHY_NONE       ? EXIT_SUCCESS
		: degree == WHY_UNKNOWN ? EXIT_NOT_KNOWN
					: EXIT_HELD_BACK;
}

static int why(const struct options *o, struct vhostmd_source *source)
{
	double interval_s = o->interval_s > 0 ? o->interval_s : WHY_INTERVAL_S;
	struct vhostmd_snapshot *before = NULL, *now = NULL;

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "vm-dump-metrics: looking for %g s\n", interval_s);
	int status = read_fresh(source, &before);

	if (status == EXIT_SUCCESS) {
		system_sleep_until(clock_mono_ns() + (int64_t)(interval_s * NS_PER_S));
		status = read_fresh(source, &now);
	}
	if (o->verbose)
		fputs(vhostmd_tried(source), stderr);
	if (status == EXIT_SUCCESS)
		status = put_reasons(o, before, now);
	vhostmd_snapshot_free(before);
	vhostmd_snapshot_free(now);
	return status;
}

/* ---- again and again ---- */

/* True if what is there is worth to be shown. */
static bool is_news(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now)
{
	if (vhostmd_snapshot_freshness(now) == VHOSTMD_STOPPED) {
		fprintf(stderr,
			"vm-dump-metrics: the host has said nothing new for %.0f s\n",
			vhostmd_snapshot_age(now));
		return false;
	}
	if (before && vhostmd_deltas_valid(before, now) == VHOSTMD_ERR_MOVED)
		fprintf(stderr, "vm-dump-metrics: %s\n",
			vhostmd_strerror(VHOSTMD_ERR_MOVED));
	return !before || vhostmd_deltas_valid(before, now) != VHOSTMD_ERR_SAME_SAMPLE;
}

static int put_changes(const struct options *o, const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const struct vhostmd_metric *only = NULL;
	int r = o->metric ? find_metric(now, o->metric, &only) : 0;

	if (o->textfile || o->format != FORMAT_NONE)
		return put_snapshot(o, now);
	if (r < 0)
		return no_metric(o->metric, r);
	if (before) {
		dump_changes(before, now, only, &out);
		if (!only)
			strbuf_addc(&out, '\n');
	} else if (!only) {
		dump_table(now, &out);
		strbuf_addc(&out, '\n');
	} else {
		dump_changes(now, now, only, &out);
	}
	return put_text(o->dest, &out);
}

static int watch(const struct options *o, struct vhostmd_source *source)
{
	struct vhostmd_snapshot *before = NULL;
	int64_t next_ns = clock_mono_ns();

	for (;;) {
		struct vhostmd_snapshot *now = NULL;

		if (vhostmd_read(source, &now) < 0) {
			(void)nothing_read(source);
		} else {
			bool news = is_news(before, now);

			if (news && put_changes(o, before, now) == EXIT_FAILURE)
				return EXIT_FAILURE; /* nobody reads it, or the disk is full */
			if (news || !before) {
				vhostmd_snapshot_free(before);
				before = now;
			} else {
				vhostmd_snapshot_free(now);
			}
		}
		next_ns += (int64_t)(o->watch_s * NS_PER_S);
		if (next_ns < clock_mono_ns())
			next_ns = clock_mono_ns();
		system_sleep_until(next_ns);
	}
}

/* ---- options ---- */

static int wrong(const char *what, const char *word)
{
	fprintf(stderr, "vm-dump-metrics: %s%s%s\n", word ? word : "", word ? ": " : "",
		what);
	return usage(stderr);
}

/* @xenstore: in place of a source of the library's. */
static int set_source(struct options *o, const char *source, bool xenstore)
{
	bool chosen = o->source || o->xenstore;

	if (chosen &&
		(xenstore != o->xenstore || (source && strcmp(source, o->source) != 0)))
		return wrong("only one of -b, -i and -x, or --source", NULL);
	o->source = source;
	o->xenstore = xenstore;
	return 0;
}

static int set_format(struct options *o, const char *word)
{
	for (size_t i = FORMAT_XML; i < ARRAY_LEN(format_names); i++) {
		if (!strcmp(word, format_names[i])) {
			o->format = (enum format)i;
			return 0;
		}
	}
	return wrong("no such format", word);
}

static int set_seconds(double *ret, const char *word)
{
	if (parse_real(word, ret) < 0 || *ret < 0.1 || *ret > 86400)
		return wrong("seconds from 0.1 to 86400", word);
	return 0;
}

/* Return: 0, or an exit status. */
static int set_option(struct options *o, int key, const char *word)
{
	switch (key) {
	case 'b':
		return set_source(o, "disk", false);
	case 'i':
		return set_source(o, "channel", false);
	case 'x':
		return set_source(o, NULL, true);
	case OPTION_SOURCE:
		return set_source(o, word, false);
	case OPTION_FORMAT:
		return set_format(o, word);
	case OPTION_WATCH:
		return set_seconds(&o->watch_s, word);
	case OPTION_INTERVAL:
		return set_seconds(&o->interval_s, word);
	case OPTION_JSON:
		return set_format(o, "json");
	case OPTION_WHY:
		o->why = true;
		return 0;
	case OPTION_METRIC:
		o->metric = word;
		return 0;
	case OPTION_TEXTFILE:
		o->textfile = word;
		return 0;
	case OPTION_UUID:
		o->uuid = word;
		return 0;
	case OPTION_PROBE:
		o->probe = word;
		return 0;
	case 'd':
		o->dest = word;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	default:
		return usage(stderr);
	}
}

static int check(const struct options *o)
{
	if (o->textfile && (o->dest || o->metric || o->format))
		return wrong(
			"--textfile goes with none of -d, --metric and --format", NULL);
	if (o->metric && o->format)
		return wrong("only one of --metric and --format", NULL);
	if (o->dest && o->watch_s > 0)
		return wrong("only one of -d and --watch", NULL);
	if (o->why && (o->metric || o->textfile || o->watch_s > 0))
		return wrong(
			"--why goes with none of --metric, --textfile and --watch", NULL);
	if (o->why && o->format != FORMAT_NONE && o->format != FORMAT_JSON)
		return wrong("--why has words or JSON", format_names[o->format]);
	if (o->xenstore &&
		(o->metric || o->textfile || o->watch_s > 0 || o->why || o->uuid ||
			o->format > FORMAT_XML))
		return wrong("-x goes with -d alone", NULL);
	if (o->interval_s > 0 && !o->why)
		return wrong("--interval goes with --why", NULL);
	return 0;
}

/* For udev's rules: silent, one small read. */
static int probe(const struct options *o)
{
	_cleanup_buf_ struct buf tried = BUF_INIT;
	struct disk d = DISK_CLOSED;
	int r = disk_open(o->probe, &d, &tried);

	if (r == 0)
		r = disk_probe(&d);
	else if (o->verbose)
		fputs(buf_str(&tried), stderr);
	disk_close(&d);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* As it is there: one document, of this VM alone. */
static int dump_xenstore(const struct options *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT, tried = BUF_INIT;
	int r = xenstore_read(clock_mono_ns() + XENSTORE_WAIT_NS, &text, &tried);

	if (r == 0)
		return put(o->dest, buf_str(&text), text.len, 0666);
	fputs(buf_str(&tried), stderr);
	return nothing_read(NULL);
}

static int run(const struct options *o)
{
	struct vhostmd_source *source = NULL;
	bool is_auto = !o->source || !strcmp(o->source, "auto");

	if (o->xenstore)
		return dump_xenstore(o);
	if (vhostmd_open(o->source, &source) < 0)
		return wrong("no such source", o->source ? o->source : "VHOSTMD_SOURCE");
	(void)vhostmd_set_timeout(source, is_auto ? 20000 : 10000); /* 10 s each */
	if (o->uuid && vhostmd_set_uuid(source, o->uuid) < 0) {
		vhostmd_close(source);
		return wrong("no uuid", o->uuid);
	}
	int status = o->why      ? why(o, source)
		: o->watch_s > 0 ? watch(o, source)
				 : once(o, source);

	vhostmd_close(source);
	return status;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int key = 0, status = 0;

	argv = system_start(argc, argv);
	while (status == 0 &&
		(key = getopt_long(argc, argv, "vbixd:h", long_options, NULL)) != -1) {
		if (key == 'h')
			return usage(stdout);
		status = set_option(&o, key, optarg);
	}
	if (status == 0 && optind < argc) {
		fprintf(stderr, "vm-dump-metrics: '%s' is not expected\n", argv[optind]);
		status = usage(stderr);
	}
	if (status == 0)
		status = check(&o);
	if (status)
		return status;
	return o.probe ? probe(&o) : run(&o);
}
