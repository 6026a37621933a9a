/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linked into a vhostmd of stand-ins (host.py), in place of some of libvirt's functions: its test
 * driver, which lists and describes VMs of a file, passes for QEMU's, and of each VM tells what
 * $VHOSTMD_STAND_INS/<name> holds: a line "field value" for each figure, a number or a text.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libvirt/libvirt.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

const char *virConnectGetType(virConnectPtr conn)
{
	(void)conn;
	return "QEMU";
}

/* Return: 0, or -1 if there is no such file. */
static int read_figures(const char *name, virDomainStatsRecord *record)
{
	const char *dir = getenv("VHOSTMD_STAND_INS");
	_cleanup_free_ char *path = xasprintf("%s/%s", dir ? dir : "", name);
	FILE *f = fopen(path, "re");
	char line[256];
	int cap = 0;

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		char *value = strchr(str_trim(line), ' ');
		uint64_t number;

		if (!value)
			continue;
		*value++ = '\0';
		if (parse_u64(value, &number) == 0)
			virTypedParamsAddULLong(
				&record->params, &record->nparams, &cap, line, number);
		else
			virTypedParamsAddString(
				&record->params, &record->nparams, &cap, line, value);
	}
	fclose(f);
	return 0;
}

/* As libvirt's: VMs of which nothing is known are left out. */
int virDomainListGetStats(virDomainPtr *doms, unsigned int stats,
	virDomainStatsRecordPtr **ret, unsigned int flags)
{
	int n = 0, n_doms = 0;

	(void)stats;
	(void)flags;
	while (doms[n_doms])
		n_doms++;
	*ret = xcalloc((size_t)n_doms + 1, sizeof(**ret));
	for (int i = 0; i < n_doms; i++) {
		virDomainStatsRecord *record = xcalloc(1, sizeof(*record));

		if (read_figures(virDomainGetName(doms[i]), record) < 0) {
			free(record);
			continue;
		}
		virDomainRef(doms[i]);
		record->dom = doms[i];
		(*ret)[n++] = record;
	}
	return n;
}

void virDomainStatsRecordListFree(virDomainStatsRecordPtr *records)
{
	for (virDomainStatsRecordPtr *r = records; r && *r; r++) {
		virTypedParamsFree((*r)->params, (*r)->nparams);
		virDomainFree((*r)->dom);
		free(*r);
	}
	free(records);
}
