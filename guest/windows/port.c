/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver of virtio-serial ports, vioser, gives each the name \\.\Global\NAME.  What can be done
 * at once it does or, while the host's end is closed or its queue is full, refuses for want of
 * resources; a read of nothing waits.  A named pipe is a port as well.
 */
#include "port.h"

#include <windows.h>

#include <errno.h>
#include <string.h>

#include "failure.h"
#include "system.h"
#include "util/clock.h"
#include "vhostmd/metrics.h"
#include "windows/win.h"

/* The host's end is closed, or another program has the port. */
#define PAUSE_MS 20

bool port_is_at(const char *path)
{
	static const char *const places[] = { "\\\\.\\Global\\", "\\\\.\\pipe\\" };

	return !_strnicmp(path, places[0], strlen(places[0])) ||
		!_strnicmp(path, places[1], strlen(places[1]));
}

int port_open(const char *path, int64_t deadline_ns, struct port *ret, struct buf *tried)
{
	HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);

	if (!event)
		return failure_note(tried, path, VHOSTMD_ERR_MEMORY);
	for (;;) {
		intptr_t h = win_open(
			path, GENERIC_READ | GENERIC_WRITE, 0, FILE_FLAG_OVERLAPPED);
		int error = errno;

		if (h != -1) {
			*ret = (struct port){ .handle = h, .event = (intptr_t)event };
			return 0;
		}
		if (error != EBUSY || clock_mono_ns() >= deadline_ns) {
			CloseHandle(event);
			return error == EBUSY
				? failure_note(tried, path, VHOSTMD_ERR_IN_USE)
				: failure_note_errno(tried, path, error);
		}
		system_pause_ms(PAUSE_MS);
	}
}

void port_close(struct port *p)
{
	if (p->handle != -1) {
		CloseHandle((HANDLE)p->handle);
		CloseHandle((HANDLE)p->event);
	}
	*p = PORT_CLOSED;
}

static DWORD left_ms(int64_t deadline_ns)
{
	int64_t left = deadline_ns - clock_mono_ns();

	return left <= 0                   ? 0
		: left / NS_PER_MS < 60000 ? (DWORD)(left / NS_PER_MS + 1)
					   : 60000;
}

/*
 * Waits for what was begun, and calls it off at the deadline: when this returns, nobody writes to
 * the caller's memory any more.  Return: what was done of it; or -1, with GetLastError().
 */
static ssize_t finish(struct port *p, OVERLAPPED *io, int64_t deadline_ns)
{
	DWORD done = 0;

	while (WaitForSingleObject(io->hEvent, left_ms(deadline_ns)) == WAIT_TIMEOUT)
		if (clock_mono_ns() >= deadline_ns) {
			CancelIoEx((HANDLE)p->handle, io);
			break;
		}
	return GetOverlappedResult((HANDLE)p->handle, io, &done, TRUE) ? (ssize_t)done
								       : -1;
}

/* Sends or receives once.  Return: how much; 0: nothing now, try again; or an error. */
static ssize_t transfer(
	struct port *p, const void *from, void *to, size_t n, int64_t deadline_ns)
{
	OVERLAPPED io = { .hEvent = (HANDLE)p->event };
	DWORD size = n < 1u << 20 ? (DWORD)n : 1u << 20;
	BOOL ok = to ? ReadFile((HANDLE)p->handle, to, size, NULL, &io)
		     : WriteFile((HANDLE)p->handle, from, size, NULL, &io);

	if (ok || GetLastError() == ERROR_IO_PENDING) {
		ssize_t r = finish(p, &io, deadline_ns);

		if (r >= 0)
			return r;
	}
	switch (GetLastError()) {
	case ERROR_OPERATION_ABORTED:
	case ERROR_NO_SYSTEM_RESOURCES:
	case ERROR_DEVICE_NOT_CONNECTED:
		return 0;
	default:
		return failure_from_errno(win_errno(GetLastError()));
	}
}

static ssize_t transfer_until(
	struct port *p, const void *from, void *to, size_t n, int64_t deadline_ns)
{
	for (;;) {
		ssize_t r = transfer(p, from, to, n, deadline_ns);

		if (r)
			return r;
		if (clock_mono_ns() >= deadline_ns)
			return VHOSTMD_ERR_TIMEOUT;
		system_pause_ms(PAUSE_MS);
	}
}

ssize_t port_send(struct port *p, const void *bytes, size_t n, int64_t deadline_ns)
{
	return transfer_until(p, bytes, NULL, n, deadline_ns);
}

ssize_t port_receive(struct port *p, void *ret, size_t n, int64_t deadline_ns)
{
	return transfer_until(p, NULL, ret, n, deadline_ns);
}
