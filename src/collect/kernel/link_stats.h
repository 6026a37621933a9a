/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counters of all network interfaces of the host, from one rtnetlink dump
 * (RTM_GETSTATS, IFLA_STATS_LINK_64: rtnetlink(7), linux/if_link.h).  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_stats;

/* As the host counts them; /proc/net/dev names and adds them up the same way. */
struct link_counters {
	int ifindex;
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};

/* Opens nothing yet. */
struct link_stats *link_stats_new(void);
void link_stats_free(struct link_stats *ls); /* NULL is accepted */

/*
 * Replaces what is known with a new dump, which is repeated if interfaces came or went
 * meanwhile.  Return: 0, or -errno; then nothing is known.
 */
int link_stats_dump(struct link_stats *ls);

/* The interface's counters as of the last dump; NULL if it did not exist then. */
const struct link_counters *link_stats_find(const struct link_stats *ls, int ifindex);

/*
 * Reads one buffer of netlink messages, as the kernel sends them.
 * Return: 1 if the dump goes on, 0 at its end, -errno.
 */
int link_stats_parse(struct link_stats *ls, const void *buf, size_t len);

/*
 * The kernel's number for an interface now, and how its counters are to be read: a tap's
 * far end is the guest, so that what the host sends is what the guest receives.
 * @root_fd: the directory that holds sys.  Return: 0, or -errno.
 */
int link_find(int root_fd, const char *name, int *ret_ifindex, bool *ret_swapped);
