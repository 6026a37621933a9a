/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtio/request.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "util/wire.h"
#include "virtio/stand.h"

/* Guests' programs give up after 5 s. */
#define FORGET_NS (5 * NS_PER_S)

/* Line ends may be CRLF: carriage returns are not part of any request. */
static size_t drop_cr(char *s, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (s[i] != '\r')
			s[kept++] = s[i];
	return kept;
}

void requests_forget(struct requests *in, int64_t now_ns)
{
	if (now_ns - in->since_ns > FORGET_NS)
		requests_clear(in);
}

void requests_received(struct requests *in, size_t n, int64_t now_ns)
{
	in->len += drop_cr(in->bytes + in->len, n);
	in->n_taken += n;
	in->since_ns = now_ns;
}

int requests_receive(struct requests *in, struct channel_row *row, int fd, int64_t now_ns)
{
	ssize_t n = stand_receive(
		row, fd, in->bytes + in->len, LIMIT_REQUEST_BYTES - in->n_taken);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return -ECONNRESET;
	requests_received(in, (size_t)n, now_ns);
	return 0;
}

/* The length of the first request with its end; 0: it has none. */
static size_t first_len(const struct requests *in)
{
	const char *end = memmem(in->bytes, in->len, WIRE_END, strlen(WIRE_END));

	return end ? (size_t)(end - in->bytes) + strlen(WIRE_END) : 0;
}

enum request requests_first(const struct requests *in)
{
	size_t n = first_len(in);

	if (!n)
		return in->n_taken < LIMIT_REQUEST_BYTES ? REQUEST_UNFINISHED
							 : REQUEST_NONSENSE;
	return n == strlen(WIRE_REQUEST) && !memcmp(in->bytes, WIRE_REQUEST, n)
		? REQUEST_DOCUMENT
		: REQUEST_NONSENSE;
}

void requests_drop(struct requests *in)
{
	enum request first = requests_first(in);

	if (first == REQUEST_NONSENSE)
		requests_clear(in);
	if (first != REQUEST_DOCUMENT)
		return;
	in->len -= strlen(WIRE_REQUEST);
	in->n_taken = in->len;
	memmove(in->bytes, in->bytes + strlen(WIRE_REQUEST), in->len);
}

void requests_clear(struct requests *in)
{
	in->len = in->n_taken = 0;
}
