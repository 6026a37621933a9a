/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handover/halves.h"

#include <string.h>
#include <sys/mman.h>

/* Finds what a stray write did; who means to deceive is found by whoever reads the text. */
static uint64_t checksum(const char *data, size_t bytes)
{
	uint64_t sum = bytes, word;

	for (; bytes >= sizeof(word); data += sizeof(word), bytes -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	word = 0;
	memcpy(&word, data, bytes);
	return (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
}

/* More than there can have been: somebody wrote over it. */
#define SEQUENCE_MAX (UINT64_C(1) << 60)

/* Which is in force. */
static unsigned newest(const struct halves *h)
{
	return atomic_load(&h->half[1].sequence) > atomic_load(&h->half[0].sequence);
}

void *halves_begin(struct halves *h, size_t *ret_size)
{
	if (atomic_load(&h->half[newest(h)].sequence) > SEQUENCE_MAX)
		halves_clear(h);
	unsigned next =
		!newest(h); /* as halves_commit() has it, also where both were cleared */

	atomic_store(&h->half[next].sequence, 0);
	*ret_size = HALF_BYTES;
	return h->memory[next];
}

void halves_commit(struct halves *h, size_t bytes)
{
	unsigned old = newest(h), next = !old;

	h->half[next].bytes = bytes;
	h->half[next].sum = checksum(h->memory[next], bytes);
	atomic_store(&h->half[next].sequence, atomic_load(&h->half[old].sequence) + 1);
}

/* All of it, for what lay there before may have been longer; if it is shared memory. */
void halves_trim(struct halves *h)
{
	(void)madvise(h->memory[!newest(h)], HALF_BYTES, MADV_REMOVE);
}

const void *halves_get(const struct halves *h, size_t *ret_bytes)
{
	unsigned at = newest(h);
	uint64_t bytes = h->half[at].bytes;

	if (!atomic_load(&h->half[at].sequence) || bytes > HALF_BYTES ||
		checksum(h->memory[at], (size_t)bytes) != h->half[at].sum)
		return NULL;
	*ret_bytes = (size_t)bytes;
	return h->memory[at];
}

void halves_clear(struct halves *h)
{
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&h->half[i].sequence, 0);
}
