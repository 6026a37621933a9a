/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host sent, once it is understood: the metrics of the host and of this VM, found by
 * name in constant time, and the text itself.  Immutable, reference-counted, any thread.
 *
 * A shared disk lists several VMs.  Which one is this is decided here, for all metrics at once:
 * by a uuid that the document has and that may be this VM's.  Metrics of others are dropped,
 * so that nobody finds them by mistake.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "identity.h"
#include "util/cleanup.h"
#include "util/uuid.h"
#include "vhostmd/metrics.h"

/* The texts are the document's. */
struct vhostmd_metric {
	const char *name, *unit, *text;
	uint32_t at,
		len; /* of the value in the XML, as it stands there; 0: in no usual form */
	uint32_t hash;
	uint8_t type, context;
	bool is_bad; /* no known type, or no value of that type: an error where it is looked up */
	union {
		int64_t i;
		uint64_t u;
		double real;
	} value; /* of a number, by its type */
};

struct document {
	_Atomic unsigned refs;
	struct buf xml;    /* as the host sent it */
	struct form *form; /* shared by documents that differ in nothing but values */
	char *texts;       /* values; the form has the others */
	const char *uuid;  /* of this VM's metrics; NULL: there are none */
	const char *id;    /* the same; "" */
	bool is_own;       /* it is meant for this VM alone */
	bool is_malformed; /* it is no document: there is nothing but the text */
	bool is_anonymous; /* it lists VMs, and there is no telling which one is this */
	bool is_regular;   /* another may be read like this one */
	size_t root_end; /* where in the XML there is nothing to follow but white space */
	size_t n_good; /* the first of the metrics, which are the host's and then the VM's */
	size_t n_bad; /* the others */
	struct vhostmd_metric metrics[];
};

/*
 * @xml: moves into the document if that is made.  @own: who this VM may be.  @is_own: what the
 * host sends is meant for this VM alone, whatever it calls it.
 * @like: NULL, or a document that was made with the same @own, which is likely to have the same
 * metrics: what is the same there to the byte is not read again.  All that is found is the same as
 * without it.
 * Return: 0 or VHOSTMD_ERR_MEMORY; a document with one reference.
 */
int document_new(struct buf *xml, const struct identity *own, bool is_own,
	const struct document *like, struct document **ret);
struct document *document_ref(struct document *d);
void document_unref(struct document *d); /* NULL is accepted */

/* The first metric of that name, which may be bad; NULL: none. */
const struct vhostmd_metric *document_find(
	const struct document *d, metric_context context, const char *name);

static inline void document_unref_p(struct document **d)
{
	document_unref(*d);
}
#define _cleanup_document_ _cleanup_(document_unref_p)
