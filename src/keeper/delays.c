/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/delays.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/delay_loader.h"
#include "keeper/apart.h"
#include "keeper/baggage.h"
#include "keeper/message.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/strbuf.h"

static_assert(DELAY_FDS <= MESSAGE_FDS, "all fit into an answer");
static_assert(
	BAGGAGE_LISTENERS + DELAY_FDS <= BAGGAGE_DELAYS, "each has an id of its own");

/* A path that no channel has. */
static void name_it(uint32_t bits, char ret[64])
{
	snprintf(ret, 64, "/bpf/%" PRIx64 "/%" PRIu32, delay_program(), bits);
}

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

	if (d->fds[0] >= 0 && !d->bits)
		delays_drop(d, true);
	if (d->fds[0] < 0) {
		answer->result = apart_attach(d->fds, &d->bits, &why);
		name_it(d->bits, d->name);
		if (answer->result < 0)
			say_refusal(d, answer->result, strbuf_str(&why));
		else
			log_info("waits of vCPUs are counted: eBPF is attached");
	}
	answer->bits = d->bits;
	snprintf(answer->why, sizeof(answer->why), "%s", strbuf_str(&why));
	return answer->result < 0 ? NULL : d->fds;
}

/* Says so to who has the maps still. */
static void set_detached(const struct keeper_delays *d)
{
	size_t bytes = delay_threads_bytes(d->bits);
	struct delay_bucket *threads = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED, d->fds[DELAY_FD_THREADS], 0);

	if (threads == MAP_FAILED)
		return;
	__atomic_store_n(&delay_head(threads, d->bits)->detached, 1, __ATOMIC_RELEASE);
	munmap(threads, bytes);
}

void delays_drop(struct keeper_delays *d, bool mine)
{
	if (d->fds[0] < 0)
		return;
	if (mine) {
		if (d->bits)
			set_detached(d);
		log_info("waits of vCPUs are counted no more: eBPF is detached");
	}
	for (int i = 0; i < DELAY_FDS; i++)
		close_p(&d->fds[i]);
	*d = KEEPER_DELAYS_INIT;
}

/* ---- handing on ---- */

void delays_pack(const struct keeper_delays *d, struct strbuf *baggage)
{
	for (uint64_t i = 0; d->fds[0] >= 0 && i < DELAY_FDS; i++)
		baggage_add(baggage,
			&(struct baggage_socket){
				BAGGAGE_DELAYS - i, d->fds[i], d->name });
}

void delays_inherit(const struct keeper_delays *d, bool inherit)
{
	for (int i = 0; d->fds[0] >= 0 && i < DELAY_FDS; i++)
		(void)fcntl(d->fds[i], F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

/* One that was taken over is inherited no more. */
static bool is_inherited(int fd)
{
	static const char kind[] = "anon_inode:bpf";
	char path[64], target[sizeof(kind)] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fcntl(fd, F_GETFD) == 0 &&
		readlink(path, target, strlen(kind)) == (ssize_t)strlen(kind) &&
		!strcmp(target, kind);
}

/* Return: of how many bits; 0: it is not what we would attach. */
static uint32_t bits_of(const char *name)
{
	char ours[64];

	for (uint32_t bits = DELAY_LEAST_BITS; bits <= DELAY_MOST_BITS; bits++) {
		name_it(bits, ours);
		if (!strcmp(name, ours))
			return bits;
	}
	return 0;
}

static void end_left(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");

	for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
		int fd = (int)strtol(e->d_name, NULL, 10);

		if (fd >= 3 && is_inherited(fd))
			close(fd);
	}
}

/* Return: how many there are in @ret, close-on-exec. */
static int take_over(const struct strbuf *bytes, struct keeper_delays *ret)
{
	struct baggage_socket item;
	struct baggage baggage;
	int n = 0;

	if (!bytes->len ||
		baggage_open(bytes->data, bytes->len, clock_mono_ns(), &baggage) < 0)
		return 0;
	while (baggage_next(&baggage, &item)) {
		uint64_t i = BAGGAGE_DELAYS - item.id;

		if (i >= DELAY_FDS || !is_inherited(item.fd))
			continue;
		(void)fcntl(item.fd, F_SETFD, FD_CLOEXEC);
		ret->fds[i] = item.fd;
		snprintf(ret->name, sizeof(ret->name), "%s", item.path);
		n++;
	}
	return n;
}

void delays_adopt(struct keeper_delays *d, const struct strbuf *bytes)
{
	struct keeper_delays found = KEEPER_DELAYS_INIT;

	if (take_over(bytes, &found) == DELAY_FDS) {
		found.bits = bits_of(found.name);
		*d = found;
	} else {
		for (int i = 0; i < DELAY_FDS; i++)
			close_p(&found.fds[i]);
	}
	end_left();
}
