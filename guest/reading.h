/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a document says, from its start to its end: the metrics, in their order, and which VMs it
 * lists.  What documents are made of (guest/document); it knows nothing of values.  One thread.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "document.h"
#include "util/limits.h"
#include "xml.h"

/* Whose a metric is: the host's, the number of a uuid of struct identity, or neither. */
enum { OWNER_HOST = -1, OWNER_OTHER = -2 };

/* The most that is read at all, so that offsets of texts are short (guest/disk, channel). */
static_assert(LIMIT_DISK_BYTES_MAX < UINT32_MAX / 2, "offsets of texts");

/* A metric while the document is read: texts are offsets of the reader's strings. */
struct found {
	uint32_t name, unit, text;
	uint32_t len;  /* if it is usual */
	bool is_usual; /* in its form: the text is where the value is in the XML */
	int8_t owner;
	int8_t type; /* -1: unknown */
};

/* What a metric's start tag says. */
struct meaning {
	size_t tag; /* its number; 0: of none */
	uint32_t unit;
	int8_t owner, type;
	bool is_other; /* of no known context */
};

struct reading {
	struct xml xml;
	struct meaning meanings[XML_TAGS]; /* of the tags that are kept */
	const char *start;                 /* of the document */
	const struct identity *own;
	bool is_own; /* as document_new() */
	struct buf strings;
	struct buf found;             /* of struct found */
	struct buf word;              /* an attribute at a time */
	struct buf uuid;              /* of the first VM that is listed */
	uint32_t other_id;            /* of the same */
	uint32_t ids[IDENTITY_UUIDS]; /* 0: none yet */
	bool has_vm, several;         /* VMs are listed, more than one */
	uint32_t known; /* a bit for each uuid of this VM's that is listed */
	bool is_whole;  /* it is a document */
};

/*
 * Reads @xml, which lives longer than @r.  @own, @is_own: as document_new().  If it is no document
 * nothing was found in it.  Return: 0 or VHOSTMD_ERR_MEMORY; @r is to be done in any case.
 */
int reading_init(struct reading *r, const struct buf *xml, const struct identity *own,
	bool is_own);
void reading_done(struct reading *r);

/* The metrics that were found.  Another VM's may be among them. */
const struct found *reading_found(const struct reading *r, size_t *ret_n);

/*
 * Which VM of the document is this one.  Return: the owner of its metrics; OWNER_HOST: none
 * of them.  The firmware may be read in two byte orders: if VMs of both are listed there is no
 * telling.
 */
int reading_choose(const struct reading *r);
