/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/kernel/host_vendor.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "collect/kernel/proc_text.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/*
 * By ID, or by the vendor in CPE_NAME, which several products have in common.  The names are
 * those that packages carry (`rpm --query --queryformat '%{VENDOR}'`); those of dpkg name
 * nobody, so there it is who publishes them.
 */
static const struct {
	const char *id, *vendor;
} vendors[] = {
	{ "suse", "SUSE LLC" },
	{ "sle", "SUSE LLC" },
	{ "sled", "SUSE LLC" },
	{ "sles", "SUSE LLC" },
	{ "sl-micro", "SUSE LLC" },
	{ "opensuse", "openSUSE" },
	{ "redhat", "Red Hat, Inc." },
	{ "rhel", "Red Hat, Inc." },
	{ "rhcos", "Red Hat, Inc." },
	{ "fedora", "Fedora Project" },
	{ "fedoraproject", "Fedora Project" },
	{ "centos", "CentOS" },
	{ "almalinux", "AlmaLinux" },
	{ "rocky", "Rocky Enterprise Software Foundation" },
	{ "ol", "Oracle America" },
	{ "oracle", "Oracle America" },
	{ "amazon", "Amazon Linux" },
	{ "amzn", "Amazon Linux" },
	{ "azurelinux", "Microsoft Corporation" },
	{ "mariner", "Microsoft Corporation" },
	{ "microsoft", "Microsoft Corporation" },
	{ "anolis", "OpenAnolis Community" },
	{ "kylin", "KylinSoft" },
	{ "virtuozzo", "Virtuozzo" },
	{ "debian", "Debian" },
	{ "canonical", "Canonical Ltd." },
	{ "ubuntu", "Canonical Ltd." },
};

/* KEY=value, KEY="value" or KEY='value'.  NULL if there is none or it is empty. */
static char *os_release_value(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = text; *p; p = proc_next_line(p)) {
		if (strncmp(p, key, n) != 0 || p[n] != '=')
			continue;
		p += n + 1;
		size_t quote = *p == '"' || *p == '\'';
		size_t len = quote ? strcspn(p + 1, *p == '"' ? "\"\n" : "'\n")
				   : strcspn(p, "\r\n");

		if (len && utf8_valid(p + quote, len))
			return xstrndup(p + quote, len);
	}
	return NULL;
}

static const char *find_vendor(const char *id, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
		if (strlen(vendors[i].id) == len && !strncasecmp(vendors[i].id, id, len))
			return vendors[i].vendor;
	return NULL;
}

/* "sles", or one of a family: "sles_sap", "opensuse-leap". */
static const char *vendor_by_id(const char *id)
{
	const char *vendor = find_vendor(id, strlen(id));

	return vendor ? vendor : find_vendor(id, strcspn(id, "-_"));
}

/* "cpe:/o:VENDOR:product:..." or "cpe:2.3:o:VENDOR:product:..." */
static const char *vendor_by_cpe(const char *cpe)
{
	const char *p = strstr(cpe, "o:");

	return p ? find_vendor(p + 2, strcspn(p + 2, ":")) : NULL;
}

static char *vendor_of(const char *text)
{
	_cleanup_free_ char *id = os_release_value(text, "ID");
	_cleanup_free_ char *cpe = os_release_value(text, "CPE_NAME");
	const char *known = id ? vendor_by_id(id) : NULL;

	if (!known && cpe)
		known = vendor_by_cpe(cpe);
	if (known)
		return xstrdup(known);
	char *said = os_release_value(text, "VENDOR_NAME");

	return said ? said : os_release_value(text, "NAME");
}

char *host_vendor(int root_fd)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (read_file_at(root_fd, "etc/os-release", LIMIT_PROC_FILE_BYTES, &text) < 0 &&
		read_file_at(
			root_fd, "usr/lib/os-release", LIMIT_PROC_FILE_BYTES, &text) < 0)
		return NULL;
	return vendor_of(strbuf_str(&text));
}
