/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Short texts from everywhere: a uuid, a number, a unit, a source, a URI, a name, a pid file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collect/actions/template.h"
#include "core/catalogue.h"
#include "core/fname.h"
#include "core/unit.h"
#include "core/value.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/pidfile.h"
#include "util/strbuf.h"
#include "util/uuid.h"

static void check_uuid(const char *word)
{
	char text[UUID_TEXT_LEN + 1];
	struct uuid uuid, again;

	if (uuid_parse(word, &uuid) < 0)
		return;
	uuid_format(&uuid, text);
	if (strcasecmp(text, word) != 0 || uuid_parse(text, &again) < 0 ||
		uuid_compare(&uuid, &again) != 0)
		abort();
}

static void check_numbers(const char *word)
{
	char text[32];
	uint64_t u = 0;
	int64_t i = 0;
	double real = 0;

	if (parse_u64(word, &u) == 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)u);
		if (strcmp(text, *word == '0' ? word + strspn(word, "0") - !u : word) !=
			0)
			abort();
	}
	if (parse_i64(word, &i) == 0 && i >= 0 &&
		(parse_u64(word, &u) < 0) != (*word == '-'))
		abort();
	if (parse_real(word, &real) == 0 && !isfinite(real))
		abort();
}

/* Of a name that was not cut the bytes can be told from its escaped form. */
static void check_fname(const char *word)
{
	_cleanup_strbuf_ struct strbuf name = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf back = STRBUF_INIT;
	unsigned c = 0;

	fname_escape(word, &name);
	if (!name.len || name.len > 255 || strchr(name.data, '/') ||
		!strcmp(name.data, ".") || !strcmp(name.data, ".."))
		abort();
	if (!strcmp(name.data, "%") || strstr(name.data, "%~"))
		return;
	for (const char *p = name.data; *p; p++) {
		if (*p == '%' && sscanf(p + 1, "%2X", &c) == 1)
			p += 2;
		else
			c = (unsigned char)*p;
		strbuf_addc(&back, (char)c);
	}
	if (strcmp(strbuf_str(&back), word) != 0)
		abort();
}

static void check_pidfile(const uint8_t *data, size_t size)
{
	char path[64];
	int fd = memfd_create("pid", MFD_CLOEXEC), held = -1;
	pid_t pid = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	int r = pidfile_acquire(path, &held, &pid);

	if ((r == 0) != (held >= 0) || (r == 0 && pidfile_write(held) < 0))
		abort();
	pidfile_release(path, held);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *word = xstrndup((const char *)data, size);
	enum metric_type type;

	check_uuid(word);
	check_numbers(word);
	check_fname(word);
	check_pidfile(data, size);
	(void)unit_find(word);
	(void)metric_type_parse(word, &type);
	if (!catalogue_find(word))
		(void)catalogue_suggest(word);
	if (action_uri_valid(word) && strpbrk(word, "' \t\n\\"))
		abort();
	return 0;
}
