/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's log: standard error or syslog.  Any thread; one line a call.  Control
 * characters in the finished line are written as \xNN, so that names from outside cannot
 * forge lines.  Libraries (util, core) do not log; collectors and front ends log a problem
 * once for each change of state, which is their own business, not this module's.
 */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
};

/* Before other threads start.  @verbose also shows LOG_LEVEL_DEBUG. */
void log_init(bool verbose, bool to_syslog);

void log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Each line of a text. */
void log_lines(enum log_level level, const char *text);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
