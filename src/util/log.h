/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's log: standard error, syslog, or a journal with fields.  Any thread; one line a
 * call.  Control characters in the finished line are written as \xNN, so that names from outside
 * cannot forge lines.  Libraries (util, core) do not log; collectors and front ends log a problem
 * once for each change of state, which is their own business.  Should that not be enough, because
 * somebody outside changes the state again and again, lines of one kind (of one format) are let
 * through at LOG_BURST at once and one a second after that; what was left out is said with the
 * next line that is written a second later, and counted for status.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uuid;

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
};

/* All VMs of a large host may come at once. */
#define LOG_BURST 1000

/* What a line is about, for who searches by field; NULL: not about any. */
struct log_about {
	const char *vm; /* its name */
	const struct uuid *uuid;
	const char *metric;
};

/* A VM that is known by `name` and `uuid`. */
#define LOG_VM(ident) (&(const struct log_about){ (ident).name, &(ident).uuid, NULL })

/*
 * Before other threads start.  Lines up to LOG_LEVEL_INFO are written, with @verbose those of
 * LOG_LEVEL_DEBUG, too.
 */
void log_init(bool verbose, bool to_syslog);

/* From now on lines up to @level are written, and no others.  Children begin with it.  Any thread. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* "error", "warning", "info" or "debug". */
const char *log_level_name(enum log_level level);

/* The level of that name.  @word: any bytes.  Return: false: there is none. */
bool log_level_find(const char *word, size_t len, enum log_level *ret);

/*
 * A journal: @line has no control characters and no newline.  @about is never NULL.
 * Return: false if it cannot be written there; then it goes to standard error.
 */
typedef bool log_journal(
	enum log_level level, const struct log_about *about, const char *line);

/* Lines go there in place of standard error.  Before other threads start. */
void log_set_journal(log_journal *journal);

/* Whether one was set. */
bool log_has_journal(void);

/* @about: NULL: nothing in particular. */
void log_write(enum log_level level, const struct log_about *about, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Each line of a text, without a limit. */
void log_lines(enum log_level level, const char *text);

/* How many lines were left out so far. */
uint64_t log_left_out(void);

#define log_error(...) log_write(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
