/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sysfs and /proc/cpuinfo say of processors. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collect/kernel/cpu_frequency.h"
#include "collect/kernel/cpu_topology.h"
#include "files.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/strbuf.h"

/* The end of "0-99": of more than that is nothing to be learnt, but it takes long. */
static bool is_short(const char *list)
{
	for (; *list; list++)
		if (*list == '-' && strspn(list + 1, "0123456789") > 2)
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf online = STRBUF_INIT;
	struct cpu_counts counts;

	files_begin(data, size);
	(void)read_file_at(FILES_ROOT, "sys/devices/system/cpu/online", 4096, &online);
	if (is_short(strbuf_str(&online))) {
		cpu_topology_count(FILES_ROOT, strbuf_str(&online), &counts);
		if (counts.cpus > LIMIT_CPUS || counts.cores > counts.cpus ||
			counts.sockets > counts.cpus || !counts.cpus != !counts.cores ||
			!counts.cpus != !counts.sockets)
			abort();
	}
	/* 1 THz */
	if (cpu_frequency_nominal_mhz(FILES_ROOT) > 1000000)
		abort();
	files_end();
	return 0;
}
