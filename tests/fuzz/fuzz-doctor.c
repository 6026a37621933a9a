/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the doctor reads: the list of mounts, the file status; and what it prints of them. */
#include <stdlib.h>

#include "doctor_private.h"
#include "files.h"
#include "fuzz.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/text.h"

static void read_mounts(const uint8_t *data, size_t size)
{
	const struct doctor d = { .root_fd = FILES_ROOT };
	struct doctor_mounts mounts = { 0 };

	files_begin_one("proc/self/mountinfo", data, size);
	doctor_mounts_read(&d, "proc/self/mountinfo", &mounts);
	for (size_t i = 0; i < mounts.n; i++) {
		if (!doctor_mounts_at(&mounts, mounts.mounts[i].target))
			abort();
		(void)doctor_mounts_below(&mounts, mounts.mounts[i].target);
	}
	doctor_mounts_done(&mounts);
	files_end();
}

static void read_status(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);
	struct doctor d = { 0 };

	d.n_status = doctor_status_lines(text, &d.status);
	for (size_t i = 0; i < d.n_status; i++)
		if (!doctor_status(&d, d.status[i].key) ||
			doctor_status_number(&d, d.status[i].key, 0) < 0)
			abort();
	free(d.status);
	free(text);
}

static void print(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	char *text = xstrndup((const char *)data, size);

	text_add_printable(text, &out);
	for (size_t i = 0; i < out.len; i++)
		if ((unsigned char)out.data[i] < 0x20 || out.data[i] == 0x7f)
			abort();
	if (!utf8_valid(strbuf_str(&out), out.len))
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_mounts(data, size);
	read_status(data, size);
	print(data, size);
	return 0;
}
