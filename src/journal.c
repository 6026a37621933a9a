/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"

#include "config.h"

#ifdef HAVE_SYSTEMD

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/strbuf.h"
#include "util/uuid.h"

enum { MESSAGE, PRIORITY, VM_NAME, VM_UUID, METRIC, N_FIELDS };

static bool write_fields(
	enum log_level level, const struct log_about *about, const char *line)
{
	static const int priority[LOG_LEVEL_COUNT] = { LOG_ERR, LOG_WARNING, LOG_INFO,
		LOG_DEBUG };
	struct strbuf text[N_FIELDS] = { 0 };
	struct iovec fields[N_FIELDS];
	char uuid[UUID_TEXT_LEN + 1];
	int n = 0;

	strbuf_addf(&text[MESSAGE], "MESSAGE=%s", line);
	strbuf_addf(&text[PRIORITY], "PRIORITY=%d", priority[level]);
	if (about->vm)
		strbuf_addf(&text[VM_NAME], "VM_NAME=%s", about->vm);
	if (about->uuid) {
		uuid_format(about->uuid, uuid);
		strbuf_addf(&text[VM_UUID], "VM_UUID=%s", uuid);
	}
	if (about->metric)
		strbuf_addf(&text[METRIC], "METRIC=%s", about->metric);
	for (int i = 0; i < N_FIELDS; i++)
		if (text[i].len)
			fields[n++] = (struct iovec){ text[i].data, text[i].len };
	int r = sd_journal_sendv(fields, n);

	for (int i = 0; i < N_FIELDS; i++)
		strbuf_done(&text[i]);
	return r >= 0;
}

static bool is_standard_error(const char *stream)
{
	struct stat st;
	uintmax_t device, inode;
	char rest;

	return stream && sscanf(stream, "%ju:%ju%c", &device, &inode, &rest) == 2 &&
		fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device &&
		st.st_ino == inode;
}

void journal_start(void)
{
	if (is_standard_error(getenv("JOURNAL_STREAM")))
		log_set_journal(write_fields);
}

#else

void journal_start(void)
{
}

#endif
