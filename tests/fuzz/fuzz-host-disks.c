/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /proc/diskstats, what udev and sysfs say of devices, and paths of a domain's disks: lines of a
 * file called "paths".
 */
#include <stdlib.h>
#include <string.h>

#include "collect/kernel/disk_find.h"
#include "collect/kernel/disk_stats.h"
#include "collect/kernel/proc_text.h"
#include "files.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define ALL ((UINT32_C(1) << HOSTDISK_FIGURES) - 1)

static void check(const struct disk_stats *ds)
{
	size_t n = 0;
	const struct disk_counters *at = disk_stats_all(ds, &n);
	uint32_t told = disk_stats_told(ds);

	if (n > LIMIT_BLOCK_DEVICES || told & ~ALL || (n && !told))
		abort();
	for (size_t i = 0; i < n; i++) {
		const struct disk_counters *found = disk_stats_find(ds, at[i].device);

		if (!found || found->device != at[i].device || at[i].known & ~told ||
			!at[i].node[0] || !utf8_valid(at[i].node, strlen(at[i].node)))
			abort();
	}
}

static void find(struct disk_finder *finder, const char *path)
{
	struct host_disk disk = { .device = UINT64_MAX };
	int r = disk_find(finder, path, &disk);

	if ((r == 0) != (disk.device != UINT64_MAX))
		abort();
	if (r == 0 && (disk.device >> 32 > 4095 || (uint32_t)disk.device >> 20))
		abort();
	if (r == 0 && strncmp(path, "/dev/", 5) != 0)
		abort();
}

static void find_all(struct disk_finder *finder)
{
	_cleanup_strbuf_ struct strbuf paths = STRBUF_INIT;

	if (read_file_at(FILES_ROOT, "paths", 65536, &paths) < 0)
		return;
	find(finder, strbuf_str(&paths));
	for (const char *p = strbuf_str(&paths); *p; p = proc_next_line(p)) {
		_cleanup_free_ char *path = xstrndup(p, strcspn(p, "\n"));

		find(finder, path);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_stats *ds = disk_stats_new(FILES_ROOT);
	struct disk_finder *finder = disk_finder_new(FILES_ROOT);

	files_begin(data, size);
	do {
		if (disk_stats_read(ds) == 0)
			check(ds);
		disk_finder_forget(finder);
		find_all(finder);
	} while (files_next());
	disk_finder_free(finder);
	disk_stats_free(ds);
	files_end();
	return 0;
}
