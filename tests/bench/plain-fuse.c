/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What read.sh compares with: the least that a FUSE server can be.  Two files, `small` and
 * `disk`, of constant bytes, served direct_io and nothing kept.
 */
#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>

#define DISK_BYTES (256u << 10)

static char disk_bytes[DISK_BYTES];
static const char small_bytes[] = "12345.670000\n";

static struct stat attributes(fuse_ino_t ino)
{
	return (struct stat){ .st_ino = ino,
		.st_mode = ino == 1 ? S_IFDIR | 0755 : S_IFREG | 0444,
		.st_nlink = 1,
		.st_size = ino == 2 ? sizeof(small_bytes) - 1
			: ino == 3  ? DISK_BYTES
				    : 0 };
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = !strcmp(name, "small") ? 2
			: !strcmp(name, "disk")                     ? 3
								    : 0 };

	(void)parent;
	e.attr = attributes(e.ino);
	if (e.ino)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	fuse_reply_attr(req, &st, 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void op_read(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const char *bytes = ino == 2 ? small_bytes : disk_bytes;
	size_t all = ino == 2 ? sizeof(small_bytes) - 1 : DISK_BYTES;
	size_t at = (size_t)off < all ? (size_t)off : all;

	(void)fi;
	fuse_reply_buf(req, bytes + at, size < all - at ? size : all - at);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
};

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	if (argc != 2)
		return 2;
	struct fuse_session *se = fuse_session_new(&args, &ops, sizeof(ops), NULL);

	if (!se || fuse_session_mount(se, argv[1]) != 0)
		return 1;
	fuse_set_signal_handlers(se);
	int r = fuse_session_loop_mt(se, config);

	fuse_session_unmount(se);
	fuse_session_destroy(se);
	fuse_loop_cfg_destroy(config);
	return r != 0;
}
