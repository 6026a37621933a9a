/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "system.h"

#include <windows.h>
#include <shellapi.h>

#include <fcntl.h>
#include <io.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "windows/win.h"

int64_t system_boot_ns(void)
{
	return clock_mono_ns(); /* QueryPerformanceCounter(), which goes on */
}

int64_t system_coarse_ns(void)
{
	return clock_mono_ns();
}

void system_pause_ms(int ms)
{
	Sleep((DWORD)ms);
}

void system_sleep_until(int64_t mono_ns)
{
	for (int64_t left; (left = mono_ns - clock_mono_ns()) > 0;)
		Sleep((DWORD)(left / NS_PER_MS < 60000 ? left / NS_PER_MS + 1 : 60000));
}

bool system_is_path(const char *where)
{
	return strpbrk(where, "/\\");
}

const char *system_getenv(const char *name, struct buf *room)
{
	_cleanup_free_ wchar_t *wide_name = win_wide(name);
	DWORD n = wide_name ? GetEnvironmentVariableW(wide_name, NULL, 0) : 0;
	_cleanup_free_ wchar_t *wide = n ? calloc(n, sizeof(*wide)) : NULL;

	if (wide && GetEnvironmentVariableW(wide_name, wide, n) < n) {
		_cleanup_free_ char *text = win_narrow(wide);

		if (text)
			buf_adds(room, text);
		else
			room->failed = true;
	} else if (!wide_name || n) {
		room->failed = true;
	}
	return n && !room->failed ? buf_str(room) : NULL;
}

/* What main() was given is in the code page of the system, and without what that lacks. */
static char **arguments(void)
{
	int n = 0;
	wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &n);
	char **argv = wide ? calloc((size_t)n + 1, sizeof(*argv)) : NULL;

	for (int i = 0; i < n && argv; i++) {
		argv[i] = win_narrow(wide[i]);
		if (!argv[i])
			argv = NULL;
	}
	LocalFree(wide);
	return argv;
}

char **system_start(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	_setmode(_fileno(stdout), _O_BINARY);
	_setmode(_fileno(stderr), _O_BINARY);
	char **own = arguments();

	if (!own) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return own;
}
