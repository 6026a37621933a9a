/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/strbuf.h"
#include "util/text.h"

/* Immutable after log_init(). */
static bool log_verbose;
static bool log_to_syslog;

void log_init(bool verbose, bool to_syslog)
{
	log_verbose = verbose;
	log_to_syslog = to_syslog;
	if (to_syslog)
		openlog("vhostmd", LOG_PID, LOG_DAEMON);
}

void log_write(enum log_level level, const char *fmt, ...)
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
	_cleanup_strbuf_ struct strbuf raw = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;
	va_list ap;

	if (level == LOG_LEVEL_DEBUG && !log_verbose)
		return;
	va_start(ap, fmt);
	strbuf_vaddf(&raw, fmt, ap);
	va_end(ap);
	text_add_printable(strbuf_str(&raw), &line);
	if (log_to_syslog) {
		syslog(priority[level], "%s%s", word[level], strbuf_str(&line));
		return;
	}
	/* One write, so that lines of several threads do not mix. */
	strbuf_addc(&line, '\n');
	_cleanup_strbuf_ struct strbuf full = STRBUF_INIT;

	strbuf_addf(&full, "vhostmd: %s%s", word[level], strbuf_str(&line));
	ssize_t n = write(STDERR_FILENO, full.data, full.len);

	(void)n; /* nowhere left to complain to */
}

void log_lines(enum log_level level, const char *text)
{
	for (size_t n; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		log_write(level, "%.*s", (int)n, text);
	}
}
