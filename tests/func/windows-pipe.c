/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For windows.sh, built with mingw-w64: a named pipe in place of a virtio-serial port, of which one
 * program at a time has the other end.
 *
 *     windows-pipe NAME WORD...
 *
 * Words, one after the other: "accept" waits for the next client, "hear" for a request of it, which
 * is printed, "hold" until it closes its end; anything else is a file, whose content is sent.
 * "take" in place of all that is a client, which has the pipe until it is killed.
 */
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

static void fail(const char *what)
{
	fprintf(stderr, "windows-pipe: %s: error %lu\n", what, GetLastError());
	exit(1);
}

static void accept_client(HANDLE pipe)
{
	DisconnectNamedPipe(pipe);
	if (!ConnectNamedPipe(pipe, NULL) && GetLastError() != ERROR_PIPE_CONNECTED)
		fail("accept");
	say("accepted");
}

static void hear(HANDLE pipe)
{
	char text[256] = "";
	DWORD len = 0, n = 0;

	while (!strstr(text, "\n\n")) {
		if (len + 1 >= sizeof(text) ||
			!ReadFile(pipe, text + len, (DWORD)sizeof(text) - 1 - len, &n,
				NULL))
			fail("hear");
		len += n;
		text[len] = '\0';
	}
	text[strcspn(text, "\n")] = '\0';
	say(text);
}

static void hold(HANDLE pipe)
{
	char rest[256];
	DWORD n = 0;

	while (ReadFile(pipe, rest, sizeof(rest), &n, NULL))
		;
	say("closed");
}

static void send_file(HANDLE pipe, const char *path)
{
	static char bytes[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
	DWORD done = 0;

	if (!f)
		fail(path);
	fclose(f);
	/* who has heard enough does not wait for the rest */
	if (!WriteFile(pipe, bytes, (DWORD)n, &done, NULL) || done != n)
		say("unsent");
}

static int take(const char *name)
{
	HANDLE pipe = CreateFileA(
		name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);

	if (pipe == INVALID_HANDLE_VALUE)
		fail("take");
	say("taken");
	Sleep(INFINITE);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	_setmode(_fileno(stdout), _O_BINARY);
	if (!strcmp(argv[2], "take"))
		return take(argv[1]);
	HANDLE pipe = CreateNamedPipeA(argv[1], PIPE_ACCESS_DUPLEX,
		PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT, 1, 65536, 65536, 0,
		NULL);

	if (pipe == INVALID_HANDLE_VALUE)
		fail("create");
	say("ready");
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "accept"))
			accept_client(pipe);
		else if (!strcmp(argv[i], "hear"))
			hear(pipe);
		else if (!strcmp(argv[i], "hold"))
			hold(pipe);
		else
			send_file(pipe, argv[i]);
	}
	return 0;
}
