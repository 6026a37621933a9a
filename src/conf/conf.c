/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/conf.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "conf/conf_grants.h"
#include "conf/conf_reader.h"
#include "conf/disk_room.h"
#include "core/grants.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/fileio.h"
#include "util/hash.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/refs.h"
#include "util/strbuf.h"

#define SLOW_PERIODS_DEFAULT 3 /* of <update_period> */
#define PERIOD_DEFAULT_NS (5 * NS_PER_S)
#define PERIOD_MIN_S 0.001
#define EXPIRATION_DEFAULT_MIN_NS (3 * NS_PER_S)
#define PERIOD_MAX_S 86400.0

/*
 * The table of <globals>: an element's place, the function that reads it, and where in the
 * configuration to.  A setting that is absent keeps the default of conf_new().
 */
struct setting {
	const char *parent, *name;
	void (*read)(struct conf_reader *rd, xmlNode *node, struct conf *conf);
	enum {
		NOTHING,
		PLAIN,
		TEXT,
		BITS
	} kind;          /* BITS: of many elements, one for each */
	size_t at, size; /* of the field or, if PLAIN, fields */
};

#define FIELDS(first, last)                                                              \
	PLAIN, offsetof(struct conf, first),                                             \
		offsetof(struct conf, last) + sizeof(((struct conf *)NULL)->last) -      \
		offsetof(struct conf, first)
#define FIELD(field) FIELDS(field, field)
#define TEXT_FIELD(field) TEXT, offsetof(struct conf, field), 0
#define BITS_FIELD(field) BITS, offsetof(struct conf, field), 0

/* Free text that nobody needs. */
static void read_disk_name(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	(void)conf;
	free(conf_reader_text(rd, node));
}

/* Return: the text, the caller's to free, or NULL after reporting that it is no path. */
static char *absolute_path(struct conf_reader *rd, xmlNode *node)
{
	_cleanup_free_ char *text = conf_reader_text(rd, node);

	if (!text)
		return NULL;
	if (text[0] != '/') {
		conf_reader_error(rd, node, "<%s> must be an absolute path, not '%s'",
			(const char *)node->name, text);
		return NULL;
	}
	return TAKE_PTR(text);
}

static void read_disk_path(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	free(conf->disk_path);
	conf->disk_path = absolute_path(rd, node);
}

static void read_disk_size(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	static const struct {
		const char *unit;
		uint64_t factor;
	} factors[] = { { "", 1 }, { "k", 1 << 10 }, { "K", 1 << 10 }, { "m", 1 << 20 },
		{ "M", 1 << 20 } };
	_cleanup_free_ char *unit = conf_reader_attribute(node, "unit");
	uint64_t size = 0, factor = 0;

	/* the first letter has always been what counts: files in the field say KiB, too */
	for (size_t i = 0; i < ARRAY_LEN(factors); i++)
		if ((unit ? unit[0] : '\0') == factors[i].unit[0])
			factor = factors[i].factor;
	if (factor && unit && *unit && unit[1])
		conf_reader_odd(rd, node,
			"unit of <size> must be k, K, m or M, not '%s', of which only the "
			"first letter counts",
			unit);
	if (!factor) {
		conf_reader_error(
			rd, node, "unit of <size> must be k, K, m or M, not '%s'", unit);
		return;
	}
	if (!conf_reader_u64(rd, node, 1, LIMIT_DISK_BYTES_MAX, &size))
		return;
	size *= factor;
	if (size < LIMIT_DISK_BYTES_MIN || size > LIMIT_DISK_BYTES_MAX) {
		conf_reader_error(rd, node,
			"<size> must be between 1 KiB and 256 MiB, not %" PRIu64 " bytes",
			size);
		return;
	}
	conf->disk_size_bytes =
		(size + DISK_BLOCK_BYTES - 1) / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
	if (conf->disk_size_bytes != size)
		conf_reader_warning(rd, node,
			"<size> is rounded up to %" PRIu64
			" KiB: guests read whole blocks of 64 KiB",
			conf->disk_size_bytes >> 10);
}

/* The live domain's XML names the right socket whatever stands here. */
static void read_channel_path(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	(void)conf;
	free(absolute_path(rd, node));
}

static void read_max_channels(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	uint64_t n = 0;

	if (conf_reader_u64(rd, node, 1, LIMIT_CHANNELS, &n))
		conf->max_channels = (unsigned)n;
}

static void read_max_requests(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	uint64_t n = 0;

	if (conf_reader_u64(rd, node, 1, LIMIT_CHANNEL_REQUESTS, &n))
		conf->max_requests = (unsigned)n;
}

static void read_expiration(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	double s = 0;

	if (conf_reader_real(rd, node, 0, 10 * PERIOD_MAX_S, &s))
		conf->expiration_ns = (int64_t)(s * 1e9);
}

static void read_period(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	double s = 0;

	if (conf_reader_real(rd, node, PERIOD_MIN_S, PERIOD_MAX_S, &s))
		conf->period_ns = (int64_t)(s * 1e9);
}

static void read_slow_period(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	double s = 0;

	if (conf_reader_real(rd, node, PERIOD_MIN_S, 10 * PERIOD_MAX_S, &s))
		conf->slow_period_ns = (int64_t)(s * 1e9);
}

static void read_balloon_period(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	double s = 0;

	if (conf_reader_real(rd, node, PERIOD_MIN_S, 100 * PERIOD_MAX_S, &s))
		conf->balloon_period_ns = (int64_t)(s * 1e9);
}

static void read_action_path(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	char *text = conf_reader_text(rd, node);

	if (!text)
		return;
	free(conf->action_path);
	conf->action_path = text;
}

static void read_transport(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	static const struct {
		const char *name;
		enum conf_transport bit;
	} known[] = { { "vbd", TRANSPORT_VBD }, { "virtio", TRANSPORT_VIRTIO },
		{ "xenstore", TRANSPORT_XENSTORE } };
	_cleanup_free_ char *text = conf_reader_text(rd, node);

	if (!text)
		return;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcasecmp(text, known[i].name) != 0)
			continue;
		conf->transports |= known[i].bit;
		return;
	}
	conf_reader_error(
		rd, node, "<transport> must be vbd, virtio or xenstore, not '%s'", text);
}

static void read_action_user(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	char *text = conf_reader_text(rd, node);

	if (!text)
		return;
	free(conf->action_user);
	conf->action_user = text;
}

static void read_action_timeout(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	double s = 0;

	if (conf_reader_real(rd, node, 0.1, 3600, &s))
		conf->action_timeout_ns = (int64_t)(s * 1e9);
}

static void read_max_parallel(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	uint64_t n = 0;

	if (conf_reader_u64(rd, node, 1, 256, &n))
		conf->action_max_parallel = (unsigned)n;
}

/* Who wants another mode than the default wants to keep somebody out: a bad one is 0400. */
static mode_t mode_of(struct conf_reader *rd, xmlNode *node)
{
	_cleanup_free_ char *text = conf_reader_text(rd, node);
	unsigned long mode = 0;

	if (text && strlen(text) <= 4 && !text[strspn(text, "01234567")])
		mode = strtoul(text, NULL, 8);
	if (mode && !(mode & ~0444UL))
		return (mode_t)mode;
	if (text)
		conf_reader_error(rd, node,
			"<mode> must be octal with read permissions only, such as 0440, not '%s'",
			text);
	return 0400;
}

static bool group_of(struct conf_reader *rd, xmlNode *node, gid_t *ret)
{
	_cleanup_free_ char *text = conf_reader_text(rd, node);
	_cleanup_free_ char *buf = xmalloc(16384);
	struct group group, *found = NULL;

	if (!text)
		return false;
	getgrnam_r(text, &group, buf, 16384, &found);
	if (found)
		*ret = found->gr_gid;
	else
		conf_reader_error(
			rd, node, "group '%s' does not exist on this host", text);
	return found;
}

static void read_mode(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	conf->file_mode = mode_of(rd, node);
}

static void read_group(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	group_of(rd, node, &conf->file_gid);
}

static void read_disk_mode(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	conf->disk_mode = mode_of(rd, node);
}

static void read_disk_group(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	conf->has_disk_gid = group_of(rd, node, &conf->disk_gid);
}

static_assert(offsetof(struct conf, has_disk_gid) < offsetof(struct conf, disk_gid),
	"fields of one setting, in a row");

static const struct setting settings[] = {
	{ "disk", "name", read_disk_name, NOTHING, 0, 0 },
	{ "disk", "path", read_disk_path, TEXT_FIELD(disk_path) },
	{ "disk", "size", read_disk_size, FIELD(disk_size_bytes) },
	{ "disk", "mode", read_disk_mode, FIELD(disk_mode) },
	{ "disk", "group", read_disk_group, FIELDS(has_disk_gid, disk_gid) },
	{ "virtio", "channel_path", read_channel_path, NOTHING, 0, 0 },
	{ "virtio", "max_channels", read_max_channels, FIELD(max_channels) },
	{ "virtio", "max_requests", read_max_requests, FIELD(max_requests) },
	{ "virtio", "expiration_time", read_expiration, FIELD(expiration_ns) },
	{ "globals", "update_period", read_period, FIELD(period_ns) },
	{ "globals", "slow_period", read_slow_period, FIELD(slow_period_ns) },
	{ "globals", "balloon_period", read_balloon_period, FIELD(balloon_period_ns) },
	{ "globals", "path", read_action_path, TEXT_FIELD(action_path) },
	{ "globals", "transport", read_transport, BITS_FIELD(transports) },
	{ "actions", "user", read_action_user, TEXT_FIELD(action_user) },
	{ "actions", "timeout", read_action_timeout, FIELD(action_timeout_ns) },
	{ "actions", "max_parallel", read_max_parallel, FIELD(action_max_parallel) },
	{ "filesystem", "mode", read_mode, FIELD(file_mode) },
	{ "filesystem", "group", read_group, FIELD(file_gid) },
};

static void keep_text(char **text, char *const *in_force)
{
	free(*text);
	*text = *in_force ? xstrdup(*in_force) : NULL;
}

/* The value in force stays; of a set, all that is in it. */
static void keep(
	const struct setting *setting, struct conf *conf, const struct conf *in_force)
{
	void *to = (char *)conf + setting->at;
	const void *from = (const char *)in_force + setting->at;

	if (setting->kind == TEXT)
		keep_text(to, from);
	else if (setting->kind == BITS)
		*(unsigned *)to |= *(const unsigned *)from;
	else
		memcpy(to, from, setting->size);
}

/* Reads a setting, and says what becomes of one that cannot be used. */
static void read_setting(struct conf_reader *rd, const struct setting *setting,
	xmlNode *node, struct conf *conf)
{
	const struct conf *in_force = rd->report->in_force;

	rd->unusable = false;
	setting->read(rd, node, conf);
	if (!rd->unusable)
		return;
	if (in_force && setting->kind != NOTHING) {
		keep(setting, conf, in_force);
		conf_reader_note(rd, node, "the value of <%s> that is in force stays",
			setting->name);
	} else {
		conf_reader_note(rd, node, "this <%s> is passed over", setting->name);
	}
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (strcmp(settings[i].parent, "globals") &&
			!strcmp(settings[i].parent, name))
			return true;
	return false;
}

/* What may stand in @parent, for messages. */
static void list_settings(const char *parent, struct strbuf *out)
{
	const char *last = "globals";

	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		const char *word = NULL;

		if (!strcmp(settings[i].parent, parent))
			word = settings[i].name;
		else if (!strcmp(parent, "globals") && strcmp(settings[i].parent, last))
			word = settings[i].parent;
		last = settings[i].parent;
		if (word && strcmp(word, "globals"))
			strbuf_addf(out, "%s<%s>", out->len ? ", " : "", word);
	}
}

static const struct setting *find_setting(const char *parent, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++)
		if (!strcmp(settings[i].parent, parent) &&
			!strcmp(settings[i].name, name))
			return &settings[i];
	return NULL;
}

static void read_settings(struct conf_reader *rd, xmlNode *parent, struct conf *conf)
{
	const char *parent_name = (const char *)parent->name;
	static const char *const size_attributes[] = { "unit", NULL };
	static const char *const no_attributes[] = { NULL };

	for (xmlNode *node = conf_reader_first(rd, parent); node;
		node = conf_reader_next(rd, node)) {
		const char *name = (const char *)node->name;
		const struct setting *setting = find_setting(parent_name, name);

		conf_reader_check_attributes(
			rd, node, strcmp(name, "size") ? no_attributes : size_attributes);
		bool section = !strcmp(parent_name, "globals") && is_section(name);

		/* of what is unknown there may be any number, each to be compared with all */
		if ((setting ? setting->kind != BITS : section) &&
			conf_reader_seen_before(node)) {
			conf_reader_odd(rd, node,
				"<%s> stands more than once; the first counts", name);
		} else if (setting) {
			read_setting(rd, setting, node, conf);
		} else if (section) {
			read_settings(rd, node, conf);
		} else {
			_cleanup_strbuf_ struct strbuf known = STRBUF_INIT;

			list_settings(parent_name, &known);
			conf_reader_odd(rd, node, "<%s> is unknown in <%s>; known are %s",
				name, parent_name, strbuf_str(&known));
		}
	}
}

static struct conf *conf_new(void)
{
	struct conf *conf = xcalloc(1, sizeof(*conf));

	refs_init(&conf->refs);
	conf->period_ns = PERIOD_DEFAULT_NS;
	conf->disk_size_bytes = DISK_BYTES_DEFAULT;
	conf->max_channels = 1024;
	conf->max_requests = 10;
	conf->expiration_ns = -1;
	conf->action_path =
		xstrdup("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	conf->action_timeout_ns = 10 * NS_PER_S;
	conf->action_max_parallel = 4;
	conf->file_mode = 0444;
	return conf;
}

struct conf *conf_ref(struct conf *conf)
{
	refs_take(&conf->refs);
	return conf;
}

void conf_unref(struct conf *conf)
{
	if (!conf || !refs_drop(&conf->refs))
		return;
	free(conf->disk_path);
	free(conf->action_path);
	free(conf->action_user);
	free(conf->host_key_path);
	grants_unref(conf->grants);
	spec_set_unref(conf->specs);
	free(conf);
}

static void conf_unref_p(struct conf **conf)
{
	conf_unref(*conf);
}

bool conf_has_shared_disk(const struct conf *conf)
{
	return (conf->transports & TRANSPORT_VBD) && conf->disk_path;
}

static void finish_globals(struct conf_reader *rd, xmlNode *node, struct conf *conf)
{
	int64_t least = 3 * conf->period_ns;

	if (conf->slow_period_ns && conf->slow_period_ns < conf->period_ns) {
		conf_reader_warning(
			rd, node, "<slow_period> is raised to that of <update_period>");
		conf->slow_period_ns = conf->period_ns;
	}
	if (!conf->slow_period_ns)
		conf->slow_period_ns = SLOW_PERIODS_DEFAULT * conf->period_ns;
	if (conf->balloon_period_ns && conf->balloon_period_ns < conf->slow_period_ns)
		conf_reader_warning(rd, node,
			"<balloon_period> is raised to %g s, the slow period",
			(double)conf->slow_period_ns / 1e9);
	if (conf->balloon_period_ns < conf->slow_period_ns)
		conf->balloon_period_ns = conf->slow_period_ns;
	if (!conf->transports)
		conf->transports = TRANSPORT_VBD;
	if (conf->expiration_ns >= 0 && conf->expiration_ns < least)
		conf_reader_warning(rd, node,
			"<expiration_time> is raised to %g s, three times <update_period>",
			(double)least / 1e9);
	/* below a second one slow answer of libvirt's is no reason to detach anybody */
	if (conf->expiration_ns < 0 && least < EXPIRATION_DEFAULT_MIN_NS)
		conf->expiration_ns = EXPIRATION_DEFAULT_MIN_NS;
	if (conf->expiration_ns < least)
		conf->expiration_ns = least;
}

static xmlNode *find_part(xmlNode *root, const char *name)
{
	xmlNode *node = xmlFirstElementChild(root);

	while (node && strcmp((const char *)node->name, name) != 0)
		node = xmlNextElementSibling(node);
	return node;
}

static void check_parts(struct conf_reader *rd, xmlNode *root)
{
	bool metrics = false;

	for (xmlNode *node = conf_reader_first(rd, root); node;
		node = conf_reader_next(rd, node)) {
		const char *name = (const char *)node->name;

		bool globals = !strcmp(name, "globals");

		if (!globals && strcmp(name, "metrics") != 0 && strcmp(name, "grants"))
			conf_reader_odd(rd, node,
				"<%s> is unknown in <vhostmd>, which holds one <globals>, then "
				"one <metrics>, and may hold one <grants>",
				name);
		else if (conf_reader_seen_before(node))
			conf_reader_odd(rd, node, "<%s> stands more than once%s", name,
				globals ? "; the first counts" : "");
		else if (globals && metrics)
			conf_reader_odd(
				rd, node, "<globals> must stand before <metrics>");
		metrics |= *name == 'm';
	}
}

/* Return: false after refusing the file. */
static bool read_root(struct conf_reader *rd, xmlNode *root, struct conf *conf)
{
	bool ours = !strcmp((const char *)root->name, "vhostmd");
	xmlNode *globals = find_part(root, "globals");
	xmlNode *metrics = find_part(root, "metrics");

	if (!ours)
		conf_reader_refuse(rd, root,
			"the outermost element must be <vhostmd>, not <%s>",
			(const char *)root->name);
	else if (!globals)
		conf_reader_refuse(rd, root, "<globals> is missing");
	else if (!metrics)
		conf_reader_refuse(rd, root, "<metrics> is missing");
	if (!ours || !globals || !metrics)
		return false;
	check_parts(rd, root);
	read_settings(rd, globals, conf);
	finish_globals(rd, globals, conf);
	conf->specs = conf_reader_metrics(rd, root);
	if (!conf->specs)
		return false;
	conf_read_grants(rd, root, conf);
	return true;
}

int conf_parse(const char *text, size_t len, const char *file, struct conf_report *report,
	struct conf **ret)
{
	_cleanup_(conf_unref_p) struct conf *conf = conf_new();
	struct conf_reader rd = { .file = file, .report = report };
	unsigned errors = report->errors;
	xmlDoc *doc = conf_reader_open(&rd, text, len);
	bool ok = doc && conf_reader_check_entities(&rd, doc) &&
		read_root(&rd, xmlDocGetRootElement(doc), conf);

	if (doc)
		xmlFreeDoc(doc);
	if (!ok)
		return -EINVAL;
	conf->hash = siphash24(text, len);
	conf->mistakes = report->errors - errors;
	*ret = TAKE_PTR(conf);
	return 0;
}

/* Never waits: a FIFO or a terminal might have nothing to say for ever. */
static int read_conf_file(const char *file, struct strbuf *out)
{
	_cleanup_close_ int fd =
		open_at(AT_FDCWD, file, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? read_all(fd, LIMIT_CONF_BYTES, out) : -EMEDIUMTYPE;
}

bool conf_is_of(const struct conf *conf, const char *file)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	return read_conf_file(file, &text) == 0 &&
		siphash24(strbuf_str(&text), text.len) == conf->hash;
}

int conf_load(const char *file, struct conf_report *report, struct conf **ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_conf_file(file, &text);

	if (r < 0) {
		report->errors++;
		strbuf_addf(report->text, "%s: error: cannot be read: %s\n", file,
			r == -EFBIG                 ? "it is larger than 4 MiB"
				: r == -EMEDIUMTYPE ? "it is no regular file"
						    : strerror(-r));
		return r;
	}
	return conf_parse(strbuf_str(&text), text.len, file, report, ret);
}

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static void describe_metric(const struct metric_spec *spec, struct strbuf *out)
{
	static const char *const kinds[] = { [SPEC_SOURCE] = "source",
		[SPEC_ACTION] = "action",
		[SPEC_GROUP] = "group",
		[SPEC_XML] = "xml" };
	static_assert(ARRAY_LEN(kinds) == SPEC_KIND_COUNT, "a word for each kind");
	bool typed = spec->kind == SPEC_SOURCE || spec->kind == SPEC_ACTION;

	strbuf_addf(out, "  %-4s %-32s %-6s %s",
		spec->context == CONTEXT_HOST ? "host" : "vm", spec->name,
		typed ? metric_type_name(spec->type) : "-", kinds[spec->kind]);
	if (spec->source)
		strbuf_addf(out, " %s", spec->source);
	if (spec->element)
		strbuf_addf(out, " %s", spec->element);
	if (spec->unit)
		strbuf_addf(out, ", shown in %s", spec->unit);
	if (!spec->guest)
		strbuf_adds(out, ", not for guests");
	for (size_t i = 0; i < spec->n_variables; i++)
		strbuf_addf(out, "%s %s", i ? "," : ":", spec->variables[i].name);
	strbuf_addc(out, '\n');
}

void conf_describe(const struct conf *conf, struct strbuf *out)
{
	size_t actions = 0;

	strbuf_addf(out, "update period: %g s\n", (double)conf->period_ns / 1e9);
	strbuf_addf(out, "slow period: %g s, for what needs the VMs' monitors\n",
		(double)conf->slow_period_ns / 1e9);
	if (conf->balloon_period_ns > conf->slow_period_ns)
		strbuf_addf(out,
			"balloon period: %g s, for what guests say of their memory\n",
			(double)conf->balloon_period_ns / 1e9);
	strbuf_addf(out, "private disks: %s, %" PRIu64 " KiB each\n",
		yes_no(conf->transports & TRANSPORT_VBD), conf->disk_size_bytes >> 10);
	strbuf_addf(out, "shared disk: %s%s\n", yes_no(conf_has_shared_disk(conf)),
		conf_has_shared_disk(conf)
			? ", shows every VM's name and metrics to every guest that has it"
			: "; hooks and domains that expect one, at /dev/shm/vhostmd0, find none: "
			  "see THE SHARED DISK in vhostmd.conf(5)");
	if (conf_has_shared_disk(conf))
		strbuf_addf(out, "  linked from %s\n", conf->disk_path);
	disk_room_describe(conf, out);
	strbuf_addf(out, "channels: %s", yes_no(conf->transports & TRANSPORT_VIRTIO));
	if (conf->transports & TRANSPORT_VIRTIO)
		strbuf_addf(out,
			", at most %u, detached after %g s without update, each answered %u "
			"times a second at most",
			conf->max_channels, (double)conf->expiration_ns / 1e9,
			conf->max_requests);
	strbuf_addc(out, '\n');
	conf_describe_grants(conf, out);
	strbuf_addf(out, "metrics: %zu\n", conf->specs->n);
	for (size_t i = 0; i < conf->specs->n; i++) {
		describe_metric(&conf->specs->specs[i], out);
		actions += conf->specs->specs[i].kind != SPEC_SOURCE;
	}
	strbuf_addf(out, "commands run each period: %zu%s\n", actions,
		actions ? ", those of context vm once for each VM" : "");
}
