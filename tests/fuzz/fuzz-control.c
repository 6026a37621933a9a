/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket, from both sides: a line that anybody may send, and an answer of whoever.  What is
 * a request is written the same, and an answer is made of what is in it.
 */
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "control/verb.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

static void check_request(const char *line, size_t size)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct control_request request = { .verb = CONTROL_VERBS };

	if (!verb_parse(line, size, &request, &why)) {
		/* one line, and the kind of the error is its first word */
		if (!strchr(strbuf_str(&why), ' ') || strchr(strbuf_str(&why), '\n'))
			abort();
		return;
	}
	_cleanup_free_ char *again = xasprintf("vhostmd 1 %s%s%s",
		verb_name(request.verb), request.has_level ? " " : "",
		request.has_level ? log_level_name(request.level) : "");

	if (why.len || strlen(again) != size || memcmp(again, line, size) != 0)
		abort();
}

static void check_answer(const char *bytes, size_t size)
{
	_cleanup_answer_ struct control_answer a = { 0 };

	if (control_parse(bytes, size, &a) < 0) {
		if (a.word || a.text || a.body)
			abort();
		return;
	}
	_cleanup_free_ char *again = xasprintf("%s%s%s%s%s\n%s\n", a.ok ? "ok" : "error",
		*a.word ? " " : "", a.word, *a.text ? " " : "", a.text, a.body);
	_cleanup_free_ char *value = control_value(&a, "worker");

	/* a space at the end of a line is nothing's */
	if (strlen(again) > size || size - strlen(again) > 2 ||
		(value && (strchr(value, '\n') || !strstr(a.body, value))))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *bytes = xmalloc(size + 1);

	memcpy(bytes, data, size);
	bytes[size] = '\0';
	check_request(bytes, size);
	check_answer(bytes, size);
	return 0;
}
