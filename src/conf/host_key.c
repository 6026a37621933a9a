/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/host_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/strbuf.h"

int host_key_read(const char *path, uint8_t ret[GRANTS_KEY_BYTES])
{
	_cleanup_close_ int fd =
		open_at(AT_FDCWD, path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	int r = read_all(fd, GRANTS_KEY_BYTES, &text);

	if (r == -EFBIG || (r == 0 && text.len != GRANTS_KEY_BYTES))
		return -ENOMSG;
	if (r == 0)
		memcpy(ret, text.data, GRANTS_KEY_BYTES);
	return r;
}

static int write_key(int fd)
{
	uint8_t key[GRANTS_KEY_BYTES];

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	ssize_t n = write(fd, key, sizeof(key));

	if (n != sizeof(key))
		return n < 0 ? -errno : -EIO;
	return fsync(fd) < 0 ? -errno : 0;
}

/* Whole or not at all, also for another who makes it just then. */
static int make_key(const char *path)
{
	_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	_cleanup_free_ char *draft = xasprintf("%s.XXXXXX", path);

	if (*dir && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = mkostemp(draft, O_CLOEXEC); /* its mode is 0600 */

	if (fd < 0)
		return -errno;
	int r = write_key(fd);

	if (r == 0 && link(draft, path) < 0 && errno != EEXIST)
		r = -errno;
	unlink(draft);
	return r;
}

static const char *reason(int r)
{
	return r == -ENOMSG         ? "it is not of 16 bytes"
		: r == -EMEDIUMTYPE ? "it is no regular file"
				    : strerror(-r);
}

static bool use_on(struct grants *g, const char *path, const struct conf *before)
{
	if (!before || !before->grants || !before->grants->has_key ||
		strcmp(before->host_key_path, path) != 0)
		return false;
	memcpy(g->key, before->grants->key, sizeof(g->key));
	return true;
}

int host_key_take(struct conf *conf, const struct conf *before, const char *file,
	struct conf_report *report)
{
	struct grants *g = conf->grants;
	const char *path = conf->host_key_path;

	if (!g || !path || !grants_need_key(g))
		return 0;
	int r = host_key_read(path, g->key);

	if (r == -ENOENT) {
		r = make_key(path);
		if (r == 0)
			r = host_key_read(path, g->key);
	}
	if (r == -EACCES && use_on(g, path, before))
		r = 0;
	g->has_key = r == 0;
	if (r == 0)
		return 0;
	report->errors++;
	strbuf_addf(report->text,
		"%s:%u: error: host key %s: %s; VMs whose set needs it see nothing of the "
		"host\n",
		file, conf->host_key_line, path, reason(r));
	return r;
}

void host_key_describe(const struct conf *conf, struct strbuf *out)
{
	uint8_t key[GRANTS_KEY_BYTES];

	if (!conf->grants || !grants_need_key(conf->grants))
		return;
	int r = host_key_read(conf->host_key_path, key);

	strbuf_addf(out, "host key: %s%s%s\n", conf->host_key_path,
		r == -ENOENT ? ", which will be made"
			: r  ? ", which cannot be used: "
			     : "",
		r < 0 && r != -ENOENT ? reason(r) : "");
}
