/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "channel.h"

#include <assert.h>
#include <string.h>

#include "buf.h"
#include "failure.h"
#include "port.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/wire.h"
#include "vhostmd/metrics.h"

#define ANSWER_MAX_BYTES (16u << 20)
#define READ_BYTES 65536u
#define REFUSALS_MAX 3

/* Within so long the host has sent what lay in its socket, and the answer behind it. */
#define SETTLE_MIN_NS (20 * NS_PER_MS)
#define SETTLE_MAX_NS (500 * NS_PER_MS)

/*
 * A request is lost with the host that the guest leaves, or with a daemon that ends: so long
 * nothing comes before it is said again.
 */
#define AGAIN_MIN_NS (250 * NS_PER_MS)
#define AGAIN_MAX_NS NS_PER_S

static const char document_start[] = "<metrics>";

static int send_request(struct port *port, int64_t deadline_ns)
{
	const char *p = WIRE_REQUEST;

	while (*p) {
		ssize_t n = port_send(port, p, strlen(p), deadline_ns);

		if (n < 0)
			return (int)n;
		p += n;
	}
	return 0;
}

/* What is received, and where in it the next message starts. */
struct inbox {
	struct buf in;
	size_t start, scanned;
};

/*
 * Where the empty line starts that ends a message; NULL: nowhere.  Documents have many lines, so
 * memmem() has to begin anew all the time; of two newlines one is at every second byte.
 */
static const char *find_end(const char *at, size_t n)
{
	static_assert(sizeof(WIRE_END) == sizeof("\n\n"), "two newlines");

	for (size_t i = 1; i < n; i += 2) {
		if (at[i] != '\n')
			continue;
		if (at[i - 1] == '\n')
			return at + i - 1;
		if (i + 1 < n && at[i + 1] == '\n')
			return at + i;
	}
	return NULL;
}

/*
 * Where the last document of a message of @n bytes starts, or its first byte: an answer that was
 * lost in the middle stands before the next one.  No value has these bytes.
 */
static const char *last_document(const char *message, size_t n)
{
	const size_t len = strlen(document_start);

	for (size_t i = n < len ? 0 : n - len; i > 0; i--)
		if (message[i] == '<' && !memcmp(message + i, document_start, len))
			return message + i;
	return message;
}

/*
 * Takes the next complete message: the remains of an answer that somebody else did not read
 * are dropped.  Return: 0 once a document was found, and is in @out in place of what it held;
 * 1 to read on; VHOSTMD_ERR_REFUSED.
 */
static int take_document(struct inbox *box, struct buf *out)
{
	for (;;) {
		const char *data = box->in.data;
		const char *end = box->in.len > box->scanned
			? find_end(data + box->scanned, box->in.len - box->scanned)
			: NULL;

		if (!end) {
			box->scanned =
				box->in.len > box->start ? box->in.len - 1 : box->start;
			return 1;
		}
		const char *message = data + box->start;
		size_t n = (size_t)(end - message) + 2;

		box->start += n;
		box->scanned = box->start;
		n -= (size_t)(last_document(message, n) - message);
		message = data + box->start - n;
		if (n > strlen(document_start) &&
			!memcmp(message, document_start, strlen(document_start))) {
			buf_clear(out);
			buf_add(out, message, n - 1);
			return out->failed ? VHOSTMD_ERR_MEMORY : 0;
		}
		if (n == strlen(WIRE_REFUSAL) && !memcmp(message, WIRE_REFUSAL, n))
			return VHOSTMD_ERR_REFUSED;
	}
}

/* Waits for something and reads it.  Return: 0 or an error. */
static int receive(struct port *port, int64_t deadline_ns, struct inbox *box)
{
	char *at = buf_reserve(&box->in, READ_BYTES);

	if (!at)
		return VHOSTMD_ERR_MEMORY;
	ssize_t n = port_receive(port, at, READ_BYTES, deadline_ns);

	if (n < 0)
		return (int)n;
	box->in.len += (size_t)n;
	box->in.data[box->in.len] = '\0';
	return box->in.len - box->start > ANSWER_MAX_BYTES ? VHOSTMD_ERR_CORRUPT : 0;
}

/* Drops what was taken, so that memory follows one message and not all. */
static void forget_taken(struct inbox *box)
{
	if (!box->start)
		return;
	memmove(box->in.data, box->in.data + box->start, box->in.len - box->start + 1);
	box->in.len -= box->start;
	box->scanned -= box->start;
	box->start = 0;
}

/* How long to wait for what may follow the first document, which took @took_ns. */
static int64_t settling_ns(int64_t took_ns)
{
	return took_ns < SETTLE_MIN_NS / 2    ? SETTLE_MIN_NS
		: took_ns < SETTLE_MAX_NS / 2 ? 2 * took_ns
					      : SETTLE_MAX_NS;
}

static int64_t again_ns(int64_t patience_ns)
{
	return patience_ns / 4 < AGAIN_MIN_NS    ? AGAIN_MIN_NS
		: patience_ns / 4 > AGAIN_MAX_NS ? AGAIN_MAX_NS
						 : patience_ns / 4;
}

/*
 * Asks, and receives the last document that comes: one that follows at once makes the one before
 * an answer to somebody else.  Asks again where nothing comes for a while.  @settle: as
 * channel_read().
 */
static int ask_and_receive(
	struct port *port, bool settle, int64_t deadline_ns, struct buf *out)
{
	struct inbox box = { .in = BUF_INIT };
	int64_t start = clock_mono_ns(), quiet_ns = 0;
	int64_t pause_ns = again_ns(deadline_ns - start);
	bool found = false;
	int r = send_request(port, deadline_ns);

	while (r >= 0) {
		int64_t now = clock_mono_ns();

		r = take_document(&box, out);
		if (r == 0) {
			found = true;
			quiet_ns = settle ? now + settling_ns(now - start) : now;
			forget_taken(&box);
		} else if (r == 1 && found && !box.in.len) {
			r = receive(port, quiet_ns, &box);
		} else if (r == 1) {
			/* what has begun is read to its end */
			int64_t again = now + pause_ns;

			r = receive(
				port, again < deadline_ns ? again : deadline_ns, &box);
			if (r == VHOSTMD_ERR_TIMEOUT && again < deadline_ns) {
				r = send_request(port, deadline_ns);
				settle = true;
			}
		}
	}
	if (found && r == VHOSTMD_ERR_TIMEOUT && !box.in.len)
		r = 0;
	buf_done(&box.in);
	return r;
}

/*
 * Drops what is there, and what comes until for @quiet_ns nothing did.
 * Return: whether there was anything.
 */
static bool drain(struct port *port, int64_t quiet_ns, int64_t deadline_ns)
{
	char rest[4096];
	size_t n_bytes = 0;
	ssize_t n = 1;

	while (n > 0 && n_bytes < 4 * ANSWER_MAX_BYTES) {
		int64_t until = quiet_ns ? clock_mono_ns() + quiet_ns : 0;

		n = port_receive(port, rest, sizeof(rest),
			until < deadline_ns ? until : deadline_ns);
		n_bytes += n > 0 ? (size_t)n : 0;
	}
	return n_bytes > 0;
}

int channel_read(const char *path, bool settle, int64_t deadline_ns, struct buf *out,
	struct buf *tried)
{
	_cleanup_(port_close) struct port port = PORT_CLOSED;
	int r = port_open(path, deadline_ns, &port, tried);

	if (r < 0)
		return r;
	r = VHOSTMD_ERR_REFUSED;
	/*
	 * A refusal may be the answer to what somebody else began to say before us, and further ones may
	 * be on their way: of much that is nonsense the host refuses each KiB.
	 */
	for (int tries = 0; tries < REFUSALS_MAX && r == VHOSTMD_ERR_REFUSED; tries++) {
		bool dirty = drain(&port, tries ? AGAIN_MIN_NS : 0, deadline_ns);

		r = ask_and_receive(&port, settle || dirty || tries, deadline_ns, out);
	}
	if (r == 0)
		return 0;
	buf_clear(out);
	return failure_note(tried, path, r);
}
