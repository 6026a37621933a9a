/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What scripts/bench compares with: plain bulk calls, nothing else.
 * bulk URI GROUPS ROUNDS: makes ROUNDS calls of virConnectGetAllDomainStats with the
 * statistics groups of the bit mask and prints how many domains the last one returned.
 */
#include <stdio.h>
#include <stdlib.h>

#include <libvirt/libvirt.h>

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: bulk URI GROUPS ROUNDS\n");
		return 2;
	}
	virConnectPtr conn = virConnectOpenReadOnly(argv[1]);
	unsigned groups = (unsigned)strtoul(argv[2], NULL, 0);
	long rounds = strtol(argv[3], NULL, 10);
	int n = -1;

	for (long i = 0; conn && i < rounds; i++) {
		virDomainStatsRecordPtr *records = NULL;

		n = virConnectGetAllDomainStats(conn, groups, &records,
			VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE |
				VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
		virDomainStatsRecordListFree(records);
	}
	printf("%d\n", n);
	if (conn)
		virConnectClose(conn);
	return n < 0;
}
