/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which rendering of a document was told lately.  A program that copies a file asks for its
 * name twice, for stat(2) and for open(2), and wants to find one file.  (How often the kernel
 * asks then differs.)  So for about 100 ms all get the same; who is told one in that time gets
 * it for as long again, and somewhat longer while he asks on without a pause.  Of constant
 * size; knows ids, not bytes.  Any thread.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct held;

struct held *held_new(void);
void held_free(struct held *held); /* NULL is accepted */

#define HELD_DOCUMENTS 3u

/*
 * @document: below HELD_DOCUMENTS.  @reader: the thread that asks.
 * Return: the id that it is to be told; 0: a new one, for held_told().
 */
uint64_t held_get(struct held *held, unsigned document, pid_t reader, int64_t now_ns);
void held_told(
	struct held *held, unsigned document, pid_t reader, uint64_t id, int64_t now_ns);

/* From now on everybody is told a new one. */
void held_forget(struct held *held);
