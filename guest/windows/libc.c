/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/libc.h"

#include <windows.h>
#include <ntsecapi.h>

#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "windows/win.h"

/* mingw-w64's own rounds as it should, but takes the decimal point from the locale. */
double strtod_c(const char *s, char **ret_end)
{
	if (!strcmp(localeconv()->decimal_point, "."))
		return strtod(s, ret_end);
	_locale_t c_locale = _create_locale(LC_ALL, "C");
	double v = _strtod_l(s, ret_end, c_locale);

	_free_locale(c_locale);
	return v;
}

char *find_bytes(const char *in, size_t n, const char *what, size_t n_what)
{
	for (; n_what && n >= n_what; n--, in++) {
		const char *at = memchr(in, what[0], n - n_what + 1);

		if (!at)
			break;
		n -= (size_t)(at - in);
		in = at;
		if (!memcmp(at, what, n_what))
			return (char *)(uintptr_t)at;
	}
	return NULL;
}

void random_bytes(void *ret, size_t n)
{
	(void)RtlGenRandom(ret, (ULONG)n);
}

void host_name(char ret[static HOST_NAME_BYTES])
{
	wchar_t wide[HOST_NAME_BYTES];
	DWORD n = HOST_NAME_BYTES;
	_cleanup_free_ char *name =
		GetComputerNameExW(ComputerNameDnsFullyQualified, wide, &n)
		? win_narrow(wide)
		: NULL;
	size_t len = name ? strnlen(name, HOST_NAME_BYTES - 1) : 0;

	if (len)
		memcpy(ret, name, len);
	ret[len] = '\0';
}
