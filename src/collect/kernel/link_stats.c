/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/link_stats.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* Interfaces that come and go interrupt a dump; it is asked for again so many times. */
#define MAX_DUMPS 4

#define BUFFER_BYTES 65536u /* the kernel fills at most 32 KiB of it */

struct link_stats {
	int fd; /* -1: not open */
	uint32_t sequence;
	bool interrupted; /* the dump: some interfaces may not be in it */
	char *buffer;
	struct link_counters *links; /* sorted by ifindex once a dump is whole */
	size_t n, cap;
};

struct link_stats *link_stats_new(void)
{
	struct link_stats *ls = xcalloc(1, sizeof(*ls));

	ls->fd = -1;
	return ls;
}

void link_stats_free(struct link_stats *ls)
{
	if (!ls)
		return;
	close_p(&ls->fd);
	free(ls->buffer);
	free(ls->links);
	free(ls);
}

static void add_link(struct link_stats *ls, int ifindex, const void *data, size_t len)
{
	struct rtnl_link_stats64 s = { 0 };

	if (ls->n == LIMIT_LINKS)
		return;
	/* older kernels know fewer fields, newer ones more */
	memcpy(&s, data, len < sizeof(s) ? len : sizeof(s));
	ls->links = xgrow(ls->links, ls->n, &ls->cap, sizeof(*ls->links));
	ls->links[ls->n++] = (struct link_counters){ .ifindex = ifindex,
		.rx_bytes = s.rx_bytes,
		.rx_packets = s.rx_packets,
		.rx_errors = s.rx_errors,
		.rx_dropped = s.rx_dropped + s.rx_missed_errors,
		.tx_bytes = s.tx_bytes,
		.tx_packets = s.tx_packets,
		.tx_errors = s.tx_errors,
		.tx_dropped = s.tx_dropped };
}

/* What follows a header; the kernel's own macros would drop the const. */
static const void *behind(const void *header, size_t header_len)
{
	return (const char *)header + header_len;
}

static void read_stats_message(struct link_stats *ls, const struct nlmsghdr *h)
{
	const struct if_stats_msg *msg = behind(h, NLMSG_HDRLEN);
	size_t head = NLMSG_ALIGN(sizeof(*msg));

	if (h->nlmsg_len < NLMSG_LENGTH(head))
		return;
	const struct rtattr *a = behind(msg, head);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(head);

	while (left >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= left) {
		if (a->rta_type == IFLA_STATS_LINK_64)
			add_link(ls, (int)msg->ifindex, behind(a, RTA_LENGTH(0)),
				RTA_PAYLOAD(a));
		size_t step = RTA_ALIGN(a->rta_len);

		if (step >= left)
			return;
		left -= step;
		a = behind(a, step);
	}
}

int link_stats_parse(struct link_stats *ls, const void *buf, size_t len)
{
	const struct nlmsghdr *h = buf;

	while (len >= sizeof(*h) && h->nlmsg_len >= sizeof(*h) && h->nlmsg_len <= len) {
		if (h->nlmsg_seq == ls->sequence) {
			/* on the message after the change, at the latest on the last one */
			ls->interrupted |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *e = behind(h, NLMSG_HDRLEN);
				bool whole = h->nlmsg_len >= NLMSG_LENGTH(sizeof(*e));

				return whole && e->error < 0 ? e->error : -EIO;
			}
			if (h->nlmsg_type == RTM_NEWSTATS)
				read_stats_message(ls, h);
		}
		size_t step = NLMSG_ALIGN(h->nlmsg_len);

		if (step >= len)
			return 1;
		len -= step;
		h = behind(h, step);
	}
	return len ? -EBADMSG : 1;
}

static int open_socket(struct link_stats *ls)
{
	/* the kernel answers while it is asked: a wait would mean that it never will */
	const struct timeval patience = { .tv_sec = 1 };

	ls->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (ls->fd < 0)
		return -errno;
	setsockopt(ls->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (!ls->buffer)
		ls->buffer = xmalloc(BUFFER_BYTES);
	return 0;
}

static int request_dump(struct link_stats *ls)
{
	struct {
		struct nlmsghdr h;
		struct if_stats_msg msg;
	} request = { .h = { .nlmsg_len = sizeof(request),
			      .nlmsg_type = RTM_GETSTATS,
			      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			      .nlmsg_seq = ++ls->sequence },
		.msg = { .family = AF_UNSPEC,
			.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64) } };

	if (send(ls->fd, &request, sizeof(request), 0) < 0)
		return -errno;
	return 0;
}

static int compare_links(const void *a, const void *b)
{
	const struct link_counters *x = a, *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

static int dump_once(struct link_stats *ls)
{
	int r = request_dump(ls);

	ls->n = 0;
	ls->interrupted = false;
	for (bool more = r == 0; more;) {
		ssize_t n = recv(ls->fd, ls->buffer, BUFFER_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : link_stats_parse(ls, ls->buffer, (size_t)n);
		more = r > 0;
	}
	return r;
}

int link_stats_dump(struct link_stats *ls)
{
	int r = ls->fd < 0 ? open_socket(ls) : 0;

	ls->n = 0;
	ls->interrupted = r == 0;
	/* the last one is taken as it is: what it tells is true, but it may not tell all */
	for (int i = 0; i < MAX_DUMPS && r == 0 && ls->interrupted; i++)
		r = dump_once(ls);
	if (r < 0) {
		/* what is left of the answer must not meet the next question */
		ls->n = 0;
		close_p(&ls->fd);
		ls->fd = -1;
	}
	if (ls->n)
		qsort(ls->links, ls->n, sizeof(*ls->links), compare_links);
	return r;
}

const struct link_counters *link_stats_find(const struct link_stats *ls, int ifindex)
{
	struct link_counters key = { .ifindex = ifindex };

	return ls->n ? bsearch(&key, ls->links, ls->n, sizeof(key), compare_links) : NULL;
}

int link_find(int root_fd, const char *name, int *ret_ifindex, bool *ret_swapped)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	uint64_t index = 0;

	if (!*name || *name == '.' || strchr(name, '/'))
		return -EINVAL;
	_cleanup_free_ char *path = xasprintf("sys/class/net/%s/ifindex", name);
	_cleanup_free_ char *tun = xasprintf("sys/class/net/%s/tun_flags", name);
	int r = read_file_at(root_fd, path, 64, &text);

	if (r < 0)
		return r;
	if (!text.len || parse_u64(str_trim(text.data), &index) < 0 || !index ||
		index > INT_MAX)
		return -EINVAL;
	*ret_ifindex = (int)index;
	*ret_swapped = faccessat(root_fd, tun, F_OK, 0) == 0;
	return 0;
}
