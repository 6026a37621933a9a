/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/disk_access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

#define QEMU_CONF "etc/libvirt/qemu.conf"
#define LIMIT_QEMU_CONF_BYTES (1u << 20)
#define NSS_BYTES 16384
#define MEMBER_GROUPS 256

/*
 * A setting of qemu.conf, a line `key = "value"`; the last one counts.
 * Return: the value, the caller's to free; NULL if it is not set.
 */
static char *setting(const char *text, const char *key)
{
	size_t len = strlen(key);
	char *value = NULL;

	for (const char *line = text; *line;
		line += strcspn(line, "\n"), line += !!*line) {
		const char *p = line + strspn(line, " \t");

		if (strncmp(p, key, len) != 0)
			continue;
		p += len + strspn(p + len, " \t");
		if (*p++ != '=')
			continue;
		p += strspn(p, " \t");
		const char quote[] = { *p, '\n', '\0' };

		if (*p != '"' && *p != '\'')
			continue;
		free(value);
		value = xstrndup(p + 1, strcspn(p + 1, quote));
	}
	return value;
}

/* libvirt takes "+107" and "107" for numbers, the latter if there is no such name. */
static bool number(const char *text, gid_t *ret)
{
	uint64_t n = 0;

	if (parse_u64(text + (*text == '+'), &n) < 0 || n > INT32_MAX)
		return false;
	*ret = (gid_t)n;
	return true;
}

static bool group_by_name(const char *name, gid_t *ret)
{
	_cleanup_free_ char *buf = xmalloc(NSS_BYTES);
	struct group group, *found = NULL;

	getgrnam_r(name, &group, buf, NSS_BYTES, &found);
	if (found)
		*ret = found->gr_gid;
	return found || number(name, ret);
}

static bool is_member(const struct passwd *user, gid_t gid)
{
	gid_t groups[MEMBER_GROUPS];
	int n = MEMBER_GROUPS;

	if (getgrouplist(user->pw_name, user->pw_gid, groups, &n) < 0)
		n = 0; /* too many: then it is not certain */
	for (int i = 0; i < n; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/*
 * A process of libvirt's is in all groups of its user, whatever else it is in.  The one that is
 * called like him is for nobody else; his first one may be kvm (Debian), which people are in who
 * run VMs of their own.
 */
static bool group_of_user(const char *name, gid_t *ret)
{
	_cleanup_free_ char *buf = xmalloc(NSS_BYTES);
	struct passwd user, *found = NULL;
	gid_t uid = 0;

	getpwnam_r(name, &user, buf, NSS_BYTES, &found);
	if (!found && number(name, &uid))
		getpwuid_r(uid, &user, buf, NSS_BYTES, &found);
	if (!found)
		return false;
	_cleanup_free_ char *group_buf = xmalloc(NSS_BYTES);
	struct group group, *own = NULL;

	getgrnam_r(found->pw_name, &group, group_buf, NSS_BYTES, &own);
	*ret = own && is_member(found, own->gr_gid) ? own->gr_gid : found->pw_gid;
	return true;
}

/* Whom distributions build libvirt for.  Return: NULL if that is not clear. */
static const char *usual_user(gid_t *ret)
{
	static const char *const names[] = { "libvirt-qemu", "qemu" };
	const char *name = NULL;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (group_of_user(names[i], ret)) {
			if (name)
				return NULL;
			name = names[i];
		}
	return name;
}

void disk_access_find(int root_fd, struct disk_access *ret)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = read_file_at(root_fd, QEMU_CONF, LIMIT_QEMU_CONF_BYTES, &text);

	*ret = (struct disk_access){ 0 };
	if (r < 0 && r != -ENOENT) {
		snprintf(ret->why, sizeof(ret->why), "/" QEMU_CONF ": %s", strerror(-r));
		return;
	}
	_cleanup_free_ char *user = setting(strbuf_str(&text), "user");
	_cleanup_free_ char *group = setting(strbuf_str(&text), "group");

	if (group) {
		ret->known = group_by_name(group, &ret->gid);
		snprintf(ret->why, sizeof(ret->why), "group '%s' of /" QEMU_CONF, group);
	} else if (user) {
		ret->known = group_of_user(user, &ret->gid);
		snprintf(ret->why, sizeof(ret->why), "user '%s' of /" QEMU_CONF, user);
	} else {
		const char *name = usual_user(&ret->gid);

		ret->known = name;
		snprintf(ret->why, sizeof(ret->why), "%s%s%s",
			name ? "user '" : "no user of QEMU's is set or usual here",
			name ? name : "", name ? "', as usual" : "");
	}
}

mode_t disk_access_mode(const struct disk_access *access, const struct conf *conf)
{
	if (conf->disk_mode)
		return conf->disk_mode;
	return access->known || conf->has_disk_gid ? 0440 : 0444;
}

gid_t disk_access_gid(const struct disk_access *access, const struct conf *conf)
{
	if (conf->has_disk_gid)
		return conf->disk_gid;
	return access->known ? access->gid : 0;
}

void disk_access_describe(
	const struct disk_access *access, const struct conf *conf, struct strbuf *out)
{
	_cleanup_free_ char *buf = xmalloc(NSS_BYTES);
	struct group group, *found = NULL;
	gid_t gid = disk_access_gid(access, conf);

	getgrgid_r(gid, &group, buf, NSS_BYTES, &found);
	strbuf_addf(out, "who reads disks: mode %04o, group ",
		(unsigned)disk_access_mode(access, conf));
	if (found)
		strbuf_adds(out, found->gr_name);
	else
		strbuf_addf(out, "%u", (unsigned)gid);
	if (!conf->has_disk_gid)
		strbuf_addf(out, " (QEMU's%s: %s)", access->known ? "" : " is not known",
			access->why);
	strbuf_addc(out, '\n');
}
