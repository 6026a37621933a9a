/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define UNIX "unix:"

static int parse_path(const char *path, struct address *ret, struct strbuf *why)
{
	struct address a = { .un = { .sun_family = AF_UNIX } };
	size_t n = strlen(path);

	if (path[0] != '/' || path[n - 1] == '/') {
		strbuf_addf(why, "'%s' is no absolute path of a socket", path);
		return -EINVAL;
	}
	if (n >= sizeof(a.un.sun_path)) {
		strbuf_addf(why, "a socket's path has no more than %zu bytes",
			sizeof(a.un.sun_path) - 1);
		return -EINVAL;
	}
	memcpy(a.un.sun_path, path, n + 1);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	*ret = a;
	return 0;
}

/* @host: without brackets; those tell that it is an IPv6 address. */
static bool set_host(const char *host, bool is_6, uint16_t port, struct address *ret)
{
	struct address a = { .len = is_6 ? sizeof(a.in6) : sizeof(a.in) };

	if (is_6) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
	} else {
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons(port);
	}
	if (inet_pton(a.any.sa_family, host,
		    is_6 ? (void *)&a.in6.sin6_addr : (void *)&a.in.sin_addr) != 1)
		return false;
	*ret = a;
	return true;
}

int address_parse(const char *text, struct address *ret, struct strbuf *why)
{
	if (!strncmp(text, UNIX, strlen(UNIX)))
		return parse_path(text + strlen(UNIX), ret, why);
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	bool is_6 = n > 2 && text[0] == '[' && text[n - 1] == ']';
	_cleanup_free_ char *host = is_6 ? xstrndup(text + 1, n - 2) : xstrndup(text, n);
	uint64_t port = 0;

	if (colon && parse_u64(colon + 1, &port) == 0 && port > 0 && port <= UINT16_MAX &&
		set_host(host, is_6, (uint16_t)port, ret))
		return 0;
	strbuf_addf(why,
		"'%s' is none of unix:PATH, ADDRESS:PORT and [ADDRESS6]:PORT in numbers",
		text);
	return -EINVAL;
}

void address_print(const struct address *a, struct strbuf *out)
{
	char host[INET6_ADDRSTRLEN] = "?";

	switch (a->any.sa_family) {
	case AF_UNIX:
		strbuf_addf(out, UNIX "%s", a->un.sun_path);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		strbuf_addf(out, "%s:%u", host, ntohs(a->in.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		strbuf_addf(out, "[%s]:%u", host, ntohs(a->in6.sin6_port));
		break;
	default:
		strbuf_addf(out, "family %d", a->any.sa_family);
	}
}

bool address_equal(const struct address *a, const struct address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	switch (a->any.sa_family) {
	case AF_UNIX:
		return !strcmp(a->un.sun_path, b->un.sun_path);
	case AF_INET:
		return a->in.sin_port == b->in.sin_port &&
			a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case AF_INET6:
		return a->in6.sin6_port == b->in6.sin6_port &&
			IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
	default:
		return false;
	}
}

static bool is_loopback(const struct in_addr *addr)
{
	return (ntohl(addr->s_addr) >> IN_CLASSA_NSHIFT) == IN_LOOPBACKNET;
}

bool address_is_local(const struct address *a)
{
	struct in_addr mapped;

	switch (a->any.sa_family) {
	case AF_UNIX:
		return true;
	case AF_INET:
		return is_loopback(&a->in.sin_addr);
	case AF_INET6:
		memcpy(&mapped, &a->in6.sin6_addr.s6_addr[12], sizeof(mapped));
		return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr) ||
			(IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) && is_loopback(&mapped));
	default:
		return false;
	}
}

int address_of(int fd, struct address *ret)
{
	struct sockaddr_storage storage = { 0 };
	struct address a = { 0 };
	socklen_t len = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &len) < 0)
		return -errno;
	if (storage.ss_family != AF_UNIX && storage.ss_family != AF_INET &&
		storage.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	/* a path of full length has no end of its own */
	a.len = len < sizeof(a.un) ? len : sizeof(a.un);
	memcpy(&a.any, &storage, a.len);
	if (storage.ss_family == AF_UNIX)
		a.un.sun_path[sizeof(a.un.sun_path) - 1] = '\0';
	*ret = a;
	return 0;
}
