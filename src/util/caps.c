/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = { .version =
							   _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

uint64_t caps_effective(void)
{
	struct __user_cap_data_struct data[2] = { { 0 } };

	return get(data) < 0 ? 0 : (uint64_t)data[1].effective << 32 | data[0].effective;
}

int caps_keep(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version =
							   _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };
	int r = get(data);

	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0; /* that takes the ambient ones away, too */
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int caps_bound(uint64_t keep)
{
	for (int cap = 0; cap < 64; cap++) {
		int is = prctl(PR_CAPBSET_READ, cap);

		if (is < 0)
			break; /* the kernel knows no more of them */
		if (is && !(keep & CAP_TO_BIT(cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
			return -errno;
	}
	return 0;
}
