/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore/xs_message.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

size_t xs_message_room(const char *path)
{
	size_t len = strlen(path) + 1;

	return len < XS_PAYLOAD_MAX ? XS_PAYLOAD_MAX - len : 0;
}

int xs_message_set(struct xs_message *m, enum xs_type type, const char *path,
	const void *value, size_t size)
{
	size_t len = strlen(path) + 1;

	assert(!m->open);
	if (len > XS_PAYLOAD_MAX || size > XS_PAYLOAD_MAX - len)
		return -EMSGSIZE;
	struct xs_header header = {
		.type = type, .number = ++m->number, .len = (uint32_t)(len + size)
	};

	memcpy(m->out, &header, sizeof(header));
	memcpy(m->out + sizeof(header), path, len);
	if (size)
		memcpy(m->out + sizeof(header) + len, value, size);
	m->out_len = sizeof(header) + len + size;
	m->sent = 0;
	m->in_len = 0;
	m->open = true;
	return 0;
}

static int lost(void)
{
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int xs_message_send(struct xs_message *m, int fd)
{
	ssize_t n = send(
		fd, m->out + m->sent, m->out_len - m->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return lost();
	m->sent += (size_t)n;
	return 0;
}

bool xs_message_is_sent(const struct xs_message *m)
{
	return m->sent == m->out_len;
}

int xs_message_receive(
	struct xs_message *m, int fd, bool *ret_error, const char **ret_text)
{
	struct xs_header header = { 0 };
	size_t want = sizeof(header);

	if (m->in_len >= want) {
		memcpy(&header, m->in, sizeof(header));
		want += header.len;
	}
	ssize_t n = recv(fd, m->in + m->in_len, want - m->in_len, MSG_DONTWAIT);

	if (n < 0)
		return lost();
	if (n == 0 && want > m->in_len)
		return -ECONNRESET;
	m->in_len += (size_t)n;
	if (m->in_len < sizeof(header))
		return 0;
	memcpy(&header, m->in, sizeof(header));
	if (header.len > XS_PAYLOAD_MAX)
		return -EPROTO;
	if (m->in_len < sizeof(header) + header.len)
		return 0;
	m->in_len = 0;
	if (header.type == XS_WATCH_EVENT)
		return 0;
	struct xs_header asked;

	memcpy(&asked, m->out, sizeof(asked));
	if (!m->open || !xs_message_is_sent(m) || header.number != m->number ||
		(header.type != asked.type && header.type != XS_ERROR))
		return -EPROTO;
	m->open = false;
	m->in[sizeof(header) + header.len] = '\0';
	*ret_error = header.type == XS_ERROR;
	*ret_text = (const char *)m->in + sizeof(header);
	return 1;
}
