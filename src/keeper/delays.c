/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/delays.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "keeper/apart.h"
#include "keeper/message.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/strbuf.h"

static_assert(DELAY_FDS <= MESSAGE_FDS, "all fit into an answer");

static void say_refusal(struct keeper_delays *d, int r, const char *why)
{
	if (d->refused == r)
		return;
	d->refused = r;
	log_warning("waits of vCPUs cannot be counted, delay.* do not apply: %s", why);
}

const int *delays_get(struct keeper_delays *d, struct answer *answer)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	if (d->fds[0] < 0) {
		answer->result = apart_attach(d->fds, &d->bits, &why);
		if (answer->result < 0)
			say_refusal(d, answer->result, strbuf_str(&why));
		else
			log_info("waits of vCPUs are counted: eBPF is attached");
	}
	answer->bits = d->bits;
	snprintf(answer->why, sizeof(answer->why), "%s", strbuf_str(&why));
	return answer->result < 0 ? NULL : d->fds;
}

void delays_suspend(struct keeper_delays *d, bool suspended)
{
	if (d->fds[0] < 0)
		return;
	size_t bytes = delay_threads_bytes(d->bits);
	struct delay_bucket *threads = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED, d->fds[DELAY_FD_THREADS], 0);

	if (threads == MAP_FAILED)
		return;
	__atomic_store_n(
		&delay_head(threads, d->bits)->detached, suspended, __ATOMIC_RELEASE);
	munmap(threads, bytes);
}

void delays_drop(struct keeper_delays *d, bool mine)
{
	if (d->fds[0] < 0)
		return;
	if (mine) {
		delays_suspend(d, true);
		log_info("waits of vCPUs are counted no more: eBPF is detached");
	}
	for (int i = 0; i < DELAY_FDS; i++)
		close_p(&d->fds[i]);
	*d = KEEPER_DELAYS_INIT;
}
