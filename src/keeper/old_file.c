/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keeper/old_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/baggage.h"
#include "keeper/manager.h"
#include "keeper/private.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

void old_file_keep(struct keeper *k, int fd)
{
	old_file_drop(k);
	k->old_file_fd = fd;
	if (!k->mounted)
		manager_store_old_file(fd);
}

void old_file_drop(struct keeper *k)
{
	if (k->old_file_fd < 0)
		return;
	if (!k->mounted)
		manager_forget_old_file();
	close(TAKE_FD(k->old_file_fd));
}

void old_file_pack(const struct keeper *k, struct strbuf *out)
{
	if (k->old_file_fd >= 0)
		baggage_add(out,
			&(struct baggage_socket){ BAGGAGE_OLD_FILE, k->old_file_fd,
				BAGGAGE_OLD_FILE_PATH });
}

void old_file_inherit(const struct keeper *k, bool inherit)
{
	if (k->old_file_fd >= 0)
		(void)fcntl(k->old_file_fd, F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

static bool is_inherited_file(int fd)
{
	struct stat st;

	return fcntl(fd, F_GETFD) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		(fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

void old_file_adopt(struct keeper *k, const struct strbuf *bytes)
{
	struct baggage_socket item;
	struct baggage baggage;

	if (!bytes->len ||
		baggage_open(bytes->data, bytes->len, clock_mono_ns(), &baggage) < 0)
		return;
	while (baggage_next(&baggage, &item)) {
		if (item.id != BAGGAGE_OLD_FILE || !is_inherited_file(item.fd))
			continue;
		(void)fcntl(item.fd, F_SETFD, FD_CLOEXEC);
		close_p(&k->old_file_fd);
		k->old_file_fd = item.fd;
	}
}
