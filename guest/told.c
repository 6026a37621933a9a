/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "told.h"

#include "util/mem.h"
#include "vhostmd/metrics.h"

size_t told_metrics(const struct vhostmd_snapshot *s, struct told_metric **ret)
{
	size_t n = vhostmd_snapshot_count(s);

	*ret = xcalloc(n + 1, sizeof(**ret));
	for (size_t i = 0; i < n; i++) {
		const struct vhostmd_metric *m = vhostmd_snapshot_at(s, i);
		struct told_metric *told = &(*ret)[i];

		*told = (struct told_metric){ .name = vhostmd_metric_name(m),
			.unit = vhostmd_metric_unit(m),
			.text = vhostmd_metric_text(m),
			.type = vhostmd_metric_type(m),
			.is_host = vhostmd_metric_context(m) == METRIC_CONTEXT_HOST };
		(void)vhostmd_metric_u64(m, &told->u);
		(void)vhostmd_metric_i64(m, &told->i);
		(void)vhostmd_metric_real(m, &told->real);
	}
	return n;
}
