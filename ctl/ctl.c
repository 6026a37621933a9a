/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/strbuf.h"
#include "util/text.h"

/* @fmt: as printf() */
__attribute__((format(printf, 2, 0))) static void say(
	const char *before, const char *fmt, va_list ap)
{
	_cleanup_strbuf_ struct strbuf raw = STRBUF_INIT;
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT;

	strbuf_vaddf(&raw, fmt, ap);
	text_add_printable(strbuf_str(&raw), &line);
	fflush(stdout);
	fprintf(stderr, "%s%s\n", before, strbuf_str(&line));
}

void ctl_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("vhostmdctl: ", fmt, ap);
	va_end(ap);
}

void ctl_hint(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("  ", fmt, ap);
	va_end(ap);
}
