/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one place that reads XML made by others: what actions print and libvirt's domain
 * XML.  Nothing is fetched, entities are not expanded, sizes are bounded by the caller.
 * Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/catalogue.h"
#include "core/value.h"

struct strbuf;

struct foreign_metric {
	char *name;
	char *unit; /* NULL: none */
	char *text; /* the value's text, holds the memory of a string value */
	struct value value;
};

/*
 * Reads one or more complete <metric> elements, as an action of type "xml" prints them, or
 * a <metrics> document of them.
 * @context: "host" or "vm", which a metric's own context must equal if it names one;
 * @uuid: of the VM, which a metric's own must equal if it names one; NULL for the host.
 * Return: 0; -EINVAL with the reason appended to @why.  The caller frees with
 * foreign_metrics_free().
 */
int foreign_metrics_parse(const char *text, size_t len, const char *context,
	const char *uuid, struct foreign_metric **ret, size_t *ret_n, struct strbuf *why);
void foreign_metrics_free(struct foreign_metric *metrics, size_t n);

/* What a live domain's XML says (libvirt: formatdomain.html). */
struct foreign_domain {
	char *channel_path; /* the host's socket of the channel; NULL: there is none */
	char **nics;        /* the host's name of each interface; NULL: it has none */
	size_t n_nics;
	struct foreign_disk {
		uint64_t iotune[IOTUNE_KEY_COUNT]; /* 0: no limit */
	} * disks;
	size_t n_disks;
	uint64_t vcpus_max;      /* 0: not said */
	uint64_t memory_now_kib; /* what the balloon leaves; 0: not said */
	/* DOMAIN_MEMORY, DOMAIN_CPUTUNE_* and DOMAIN_MEMTUNE_*; 0: no limit is set */
	uint64_t limits[DOMAIN_SCALAR_COUNT];
};

/*
 * Reads a live domain's XML.  @channel: the name of the virtio-serial channel's target.
 * Return: 0, to be freed with foreign_domain_done(); -EINVAL if it is not well-formed.
 */
int foreign_domain_parse(
	const char *xml, const char *channel, struct foreign_domain *ret);
void foreign_domain_done(struct foreign_domain *domain);
