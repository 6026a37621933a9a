/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/handover.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

static const struct handover_head head = { .magic = HANDOVER_MAGIC,
	.version = HANDOVER_VERSION,
	.bytes = sizeof(struct handover) };

static_assert(sizeof(struct handover) <= UINT32_MAX, "the size has its place");

static_assert(offsetof(struct told_row, lookups) == offsetof(struct ledger_row, value),
	"ledger_set() sets it");

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3; glibc 2.38 */
#endif

/* An administrator may forbid those that could be executed (vm.memfd_noexec=2). */
static int create_memory(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("vhostmd", flags | MFD_NOEXEC_SEAL);

	return fd < 0 && errno == EINVAL ? memfd_create("vhostmd", flags) : fd;
}

int handover_create(void)
{
	_cleanup_close_ int fd = create_memory();

	if (fd < 0 || ftruncate(fd, sizeof(struct handover)) < 0)
		return -errno;
	if (pwrite(fd, &head, sizeof(head), 0) < 0 ||
		pwrite(fd, &layout_own, sizeof(layout_own), sizeof(head)) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return TAKE_FD(fd);
}

struct handover *handover_map(int fd, struct strbuf *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct handover)) {
		strbuf_adds(why, "it has another size");
		return NULL;
	}
	struct handover *h =
		mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (h == MAP_FAILED) {
		strbuf_adds(why, strerror(errno));
		return NULL;
	}
	/* a core would have all of it, and its readers wait for that */
	(void)madvise(h, sizeof(*h), MADV_DONTDUMP);
	if (memcmp(&h->head, &head, sizeof(head)) != 0) {
		strbuf_adds(why, "it is of another version");
		handover_unmap(h);
		return NULL;
	}
	return h;
}

void handover_mend(struct handover *h)
{
	h->head = head;
	h->index = layout_own;
}

void handover_forgive(struct handover *h)
{
	for (size_t i = 0; i < HANDOVER_SLOTS; i++)
		atomic_store(&h->notes[i].attempts, 0);
}

void handover_distrust(struct handover *h)
{
	halves_clear(&h->checkpoint);
	atomic_store(&h->arena.top, 0);
	atomic_store(&h->latches_top, 0);
	atomic_store(&h->channels_top, 0);
}

bool handover_log_level(const struct handover *h, enum log_level *ret)
{
	uint32_t level = atomic_load(&h->log_level);

	if (level < 1 || level > LOG_LEVEL_COUNT)
		return false;
	*ret = (enum log_level)(level - 1);
	return true;
}

void handover_set_log_level(struct handover *h, enum log_level level)
{
	atomic_store(&h->log_level, (uint32_t)level + 1);
}

void handover_forget_log_level(struct handover *h)
{
	atomic_store(&h->log_level, 0);
}

void handover_keep(struct handover *h)
{
	(void)madvise(h, sizeof(*h), MADV_DONTFORK);
}

void handover_unmap(struct handover *h)
{
	if (h)
		munmap(h, sizeof(*h));
}

struct ledger *handover_told(struct handover *h)
{
	return ledger_new(h->told, sizeof(h->told[0]), LIMIT_ARMED, &h->told_top);
}

struct ledger *handover_polls(struct handover *h)
{
	return ledger_new(h->polls, sizeof(h->polls[0]), LIMIT_POLLS, &h->polls_top);
}

struct ledger *handover_latches(struct handover *h)
{
	return ledger_new(
		h->latches, sizeof(h->latches[0]), HANDOVER_LATCHES, &h->latches_top);
}

struct ledger *handover_channels(struct handover *h)
{
	return ledger_new(
		h->channels, sizeof(h->channels[0]), HANDOVER_CHANNELS, &h->channels_top);
}
