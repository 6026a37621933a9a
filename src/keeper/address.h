/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where somebody can be connected to: a UNIX socket's path, or an IP address and a port.  Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct strbuf;

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
	socklen_t len;
};

/*
 * unix:PATH with an absolute path, ADDRESS:PORT or [ADDRESS6]:PORT, in numbers.
 * Return: 0, or -EINVAL with @why.
 */
int address_parse(const char *text, struct address *ret, struct strbuf *why);

/* Appends it in that form. */
void address_print(const struct address *address, struct strbuf *out);

bool address_equal(const struct address *a, const struct address *b);

/* Whether this host alone can connect there: a UNIX socket, or a loopback address. */
bool address_is_local(const struct address *address);

/* Of a socket.  Return: 0, -errno, or -EAFNOSUPPORT for another family. */
int address_of(int fd, struct address *ret);
