/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/strbuf.h"
#include "util/text.h"

/* Kinds of lines; what comes when there is no room any more has no limit. */
#define MAX_KINDS 256u

static _Atomic int least = LOG_LEVEL_INFO; /* enum log_level: the least that is written */

/* Immutable after log_init() and log_set_journal(). */
static bool log_to_syslog;
static log_journal *log_to_journal;

/* Lines of one format. */
struct kind {
	const char *fmt;
	int64_t full_ns;   /* monotonic, when LOG_BURST may be written again */
	uint64_t left_out; /* since that was said */
	int64_t left_ns;   /* the last of them */
	char *example;     /* the first of them */
};

static struct lock limit_lock = LOCK_INIT; /* guards kinds; nothing is taken inside */
static struct kind kinds[MAX_KINDS];
static size_t n_kinds;
static _Atomic uint64_t n_left_out;

void log_init(bool verbose, bool to_syslog)
{
	log_set_level(verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	log_to_syslog = to_syslog;
	if (to_syslog)
		openlog("vhostmd", LOG_PID, LOG_DAEMON);
}

void log_set_journal(log_journal *journal)
{
	log_to_journal = journal;
}

bool log_has_journal(void)
{
	return log_to_journal;
}

/* ---- levels ---- */

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&least, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&least, memory_order_relaxed);
}

static const char *const level_names[] = { [LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug" };
static_assert(ARRAY_LEN(level_names) == LOG_LEVEL_COUNT, "a name for each level");

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

bool log_level_find(const char *word, size_t len, enum log_level *ret)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		if (len == strlen(level_names[i]) && !memcmp(word, level_names[i], len)) {
			*ret = (enum log_level)i;
			return true;
		}
	return false;
}

/* ---- writing ---- */

/* @line: as others see it. */
static void write_line(
	enum log_level level, const struct log_about *about, const char *line)
{
	static const int priority[] = { [LOG_LEVEL_ERROR] = LOG_ERR,
		[LOG_LEVEL_WARNING] = LOG_WARNING,
		[LOG_LEVEL_INFO] = LOG_INFO,
		[LOG_LEVEL_DEBUG] = LOG_DEBUG };
	static const char *const word[] = { [LOG_LEVEL_ERROR] = "error: ",
		[LOG_LEVEL_WARNING] = "warning: ",
		[LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "debug: " };
	static_assert(ARRAY_LEN(priority) == LOG_LEVEL_COUNT &&
			ARRAY_LEN(word) == LOG_LEVEL_COUNT,
		"a priority and a word for each level");
	static const struct log_about nothing = { 0 };

	if (log_to_syslog) {
		syslog(priority[level], "%s%s", word[level], line);
		return;
	}
	if (log_to_journal && log_to_journal(level, about ? about : &nothing, line))
		return;
	/* One write, so that lines of several threads do not mix. */
	_cleanup_strbuf_ struct strbuf full = STRBUF_INIT;

	strbuf_addf(&full, "vhostmd: %s%s\n", word[level], line);
	ssize_t n = write(STDERR_FILENO, full.data, full.len);

	(void)n; /* nowhere left to complain to */
}

/* ---- the limit ---- */

static struct kind *kind_locked(const char *fmt)
{
	assert_locked(&limit_lock);
	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i].fmt == fmt)
			return &kinds[i];
	if (n_kinds == MAX_KINDS)
		return NULL;
	kinds[n_kinds] = (struct kind){ .fmt = fmt };
	return &kinds[n_kinds++];
}

/*
 * One more line of a kind.  Return: whether it may be written.
 * @line: kept as an example if it is the first that may not.
 */
static bool admit(const char *fmt, const char *line, int64_t now_ns)
{
	lock_take(&limit_lock);
	struct kind *kind = kind_locked(fmt);
	bool admitted = true;

	if (kind) {
		if (kind->full_ns < now_ns)
			kind->full_ns = now_ns;
		admitted = kind->full_ns - now_ns <= (LOG_BURST - 1) * NS_PER_S;
		if (admitted) {
			kind->full_ns += NS_PER_S;
		} else {
			if (!kind->left_out++)
				kind->example = strdup(line); /* NULL: none is said */
			kind->left_ns = now_ns;
			atomic_fetch_add(&n_left_out, 1);
		}
	}
	lock_release(&limit_lock);
	return admitted;
}

/* Takes out one kind of which lines were left out, though none since a second ago. */
static bool take_left_out(int64_t now_ns, struct kind *ret)
{
	bool found = false;

	lock_take(&limit_lock);
	for (size_t i = 0; i < n_kinds && !found; i++) {
		struct kind *kind = &kinds[i];

		if (!kind->left_out || now_ns - kind->left_ns < NS_PER_S)
			continue;
		*ret = *kind;
		kind->left_out = 0;
		kind->example = NULL;
		found = true;
	}
	lock_release(&limit_lock);
	return found;
}

static void say_left_out(int64_t now_ns)
{
	struct kind kind;

	while (take_left_out(now_ns, &kind)) {
		_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;

		strbuf_addf(&line,
			"too many lines: %" PRIu64 " of a kind were left out, first: %s",
			kind.left_out, kind.example ? kind.example : "?");
		write_line(LOG_LEVEL_WARNING, NULL, strbuf_str(&line));
		free(kind.example);
	}
}

uint64_t log_left_out(void)
{
	return atomic_load(&n_left_out);
}

/* ---- lines ---- */

void log_write(enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	_cleanup_strbuf_ struct strbuf raw = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	va_list ap;

	if (level > log_level())
		return;
	int64_t now_ns = clock_mono_ns();

	va_start(ap, fmt);
	strbuf_vaddf(&raw, fmt, ap);
	va_end(ap);
	text_add_printable(strbuf_str(&raw), &line);
	say_left_out(now_ns);
	if (admit(fmt, strbuf_str(&line), now_ns))
		write_line(level, about, strbuf_str(&line));
}

void log_lines(enum log_level level, const char *text)
{
	if (level > log_level())
		return;
	for (size_t n; *text; text += n + (text[n] == '\n')) {
		_cleanup_strbuf_ struct strbuf raw = STRBUF_INIT;
		_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;

		n = strcspn(text, "\n");
		strbuf_add(&raw, text, n);
		text_add_printable(strbuf_str(&raw), &line);
		write_line(level, NULL, strbuf_str(&line));
	}
}
