/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/baggage.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "util/limits.h"
#include "util/strbuf.h"

static const char magic[8] = "vhmore";

struct head {
	char magic[8];
	uint32_t version;
	uint32_t conf_bytes;
};

/* What is before each path. */
struct item {
	uint64_t id;
	int32_t fd;
	uint32_t path_bytes; /* with its end */
};

void baggage_begin(struct strbuf *out, const void *conf, size_t conf_bytes)
{
	struct head head = { .version = BAGGAGE_VERSION,
		.conf_bytes = (uint32_t)conf_bytes };

	memcpy(head.magic, magic, sizeof(magic));
	strbuf_add(out, &head, sizeof(head));
	if (conf_bytes)
		strbuf_add(out, conf, conf_bytes);
}

void baggage_add(struct strbuf *out, const struct baggage_socket *socket)
{
	const struct item item = { socket->id, socket->fd,
		(uint32_t)strlen(socket->path) + 1 };

	strbuf_add(out, &item, sizeof(item));
	strbuf_add(out, socket->path, item.path_bytes);
}

/* Return: the bytes of the one that is there, or 0 if it cannot be. */
static size_t take(const char *at, size_t size, struct baggage_socket *ret)
{
	struct item item;

	if (size < sizeof(item))
		return 0;
	memcpy(&item, at, sizeof(item));
	size -= sizeof(item);
	at += sizeof(item);
	/* 0 to 2 are everybody's */
	if (!item.id || item.fd < 3 || !item.path_bytes || item.path_bytes > PATH_MAX ||
		item.path_bytes > size || *at != '/' ||
		strnlen(at, item.path_bytes) + 1 != item.path_bytes)
		return 0;
	*ret = (struct baggage_socket){ item.id, item.fd, at };
	return sizeof(item) + item.path_bytes;
}

bool baggage_next(struct baggage *b, struct baggage_socket *ret)
{
	size_t n = take(b->at, (size_t)(b->end - b->at), ret);

	b->at += n;
	return n;
}

int baggage_open(const void *bytes, size_t size, int64_t now_ns, struct baggage *ret)
{
	const char *text = bytes;
	struct head head = { 0 };

	memcpy(&head, bytes, size < sizeof(head) ? size : sizeof(head));
	if (memcmp(head.magic, magic, sizeof(magic)) != 0 ||
		head.version != BAGGAGE_VERSION)
		return -EPROTO;
	if (size < sizeof(head) || head.conf_bytes > LIMIT_CONF_BYTES ||
		head.conf_bytes > size - sizeof(head))
		return -EINVAL;
	struct baggage b = { .conf = text + sizeof(head),
		.conf_bytes = head.conf_bytes,
		.at = text + sizeof(head) + head.conf_bytes,
		.end = text + size };
	struct baggage all = b;
	struct baggage_socket socket;
	uint64_t last = (uint64_t)now_ns + 1;

	while (baggage_next(&all, &socket)) {
		if (socket.id >= last)
			return -EINVAL;
		last = socket.id;
	}
	if (all.at != all.end)
		return -EINVAL;
	*ret = b;
	return 0;
}
