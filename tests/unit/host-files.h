/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of a host with four processors in two sockets. */
#pragma once

#include "fixture.h"

static inline void add_host_fixture(struct fixture *f)
{
	fixture_add(f, "proc/stat",
		"cpu  100 20 30 4000 50 6 7 8 9 10\ncpu0 1 2 3 4\nctxt 12345\n"
		"procs_running 3\nprocs_blocked 1\n");
	fixture_add(f, "proc/meminfo",
		"MemTotal:        1000 kB\nMemFree:          300 kB\nMemAvailable:     600 kB\n"
		"Buffers:           50 kB\nCached:           150 kB\nSwapCached:        10 kB\n"
		"SwapTotal:        500 kB\nSwapFree:         400 kB\nHugePages_Total:     4\n"
		"HugePages_Free:      2\nHugePages_Rsvd:      1\nHugePages_Surp:      0\n"
		"Hugepagesize:       2048 kB\n");
	fixture_add(f, "proc/vmstat",
		"pgpgin 1000\npgpgout 2000\npswpin 3\npswpout 4\npgfault 500\npgmajfault 6\n");
	fixture_add(f, "proc/loadavg", "0.50 1.25 2.00 1/234 5678\n");
	fixture_add(f, "proc/uptime", "1234.56 999.00\n");
	fixture_add(f, "proc/pressure/cpu",
		"some avg10=1.50 avg60=2.50 avg300=3.50 total=12345\n"
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	fixture_add(f, "etc/os-release", "ID=x\nNAME=\"Some Linux\"\n");
	fixture_add(f, "sys/devices/system/cpu/online", "0-3\n");
	for (int cpu = 0; cpu < 4; cpu++) {
		char path[96];
		char id[8];

		snprintf(path, sizeof(path),
			"sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
		snprintf(id, sizeof(id), "%d\n", cpu / 2);
		fixture_add(f, path, id);
		snprintf(path, sizeof(path),
			"sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
		fixture_add(f, path, "0\n");
	}
}
