/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What Windows has for that needs Xen's own drivers. */
#include "xenstore.h"

#include "failure.h"
#include "vhostmd/metrics.h"

int xenstore_read(int64_t deadline_ns, struct buf *out, struct buf *tried)
{
	(void)deadline_ns;
	(void)out;
	return failure_note(tried, "xenstore", VHOSTMD_ERR_UNSUPPORTED);
}
