/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "failure.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "buf.h"
#include "util/cleanup.h"
#include "vhostmd/metrics.h"

#define EXPORT __attribute__((visibility("default")))

/* By the number of the error, sign reversed.  The errno is what the old functions set. */
static const struct {
	int number;
	const char *text;
} errors[] = {
	[-VHOSTMD_OK] = { 0, "no error" },
	[-VHOSTMD_ERR_INVALID] = { EINVAL, "invalid argument" },
	[-VHOSTMD_ERR_MEMORY] = { ENOMEM, "out of memory" },
	[-VHOSTMD_ERR_NO_SOURCE] = { ENOENT, "neither a metrics disk nor a channel" },
	[-VHOSTMD_ERR_PERMISSION] = { EACCES, "permission denied" },
	[-VHOSTMD_ERR_IO] = { EIO, "the device fails" },
	[-VHOSTMD_ERR_NOT_A_DISK] = { ENODATA, "no metrics disk" },
	[-VHOSTMD_ERR_UNSTABLE] = { EBUSY, "its content did not become stable in time" },
	[-VHOSTMD_ERR_CORRUPT] = { EBADMSG,
		"header, length, checksum or document is wrong" },
	[-VHOSTMD_ERR_IN_USE] = { EBUSY, "another program is using it" },
	[-VHOSTMD_ERR_TIMEOUT] = { ETIMEDOUT, "no answer in time" },
	[-VHOSTMD_ERR_REFUSED] = { EPROTO, "the host refused the request" },
	[-VHOSTMD_ERR_NO_METRIC] = { ENOMSG, "no such metric" },
	[-VHOSTMD_ERR_UNAVAILABLE] = { ENOMSG, "the host cannot tell it now" },
	[-VHOSTMD_ERR_UNLIMITED] = { ENOMSG, "no limit is set" },
	[-VHOSTMD_ERR_TYPE] = { EBADMSG, "it is no number" },
	[-VHOSTMD_ERR_RANGE] = { ERANGE, "the number does not fit" },
	[-VHOSTMD_ERR_IDENTITY] = { ENOMSG,
		"no telling which of the virtual machines this one is" },
	[-VHOSTMD_ERR_SAME_SAMPLE] = { EAGAIN, "both are of the same sample" },
	[-VHOSTMD_ERR_MOVED] = { ESTALE,
		"the virtual machine was started, restored or migrated in between" },
	[-VHOSTMD_ERR_RESET] = { ESTALE, "the figure is less than before" },
	[-VHOSTMD_ERR_UNSUPPORTED] = { EOPNOTSUPP, "not part of this library" },
};
static_assert(ARRAY_LEN(errors) == -VHOSTMD_ERR_UNSUPPORTED + 1, "each error has a text");

EXPORT const char *vhostmd_strerror(int error)
{
	size_t i = 0 - (size_t)error;

	return i < ARRAY_LEN(errors) ? errors[i].text : "unknown error";
}

int failure_to_errno(int error)
{
	size_t i = 0 - (size_t)error;

	return i < ARRAY_LEN(errors) ? errors[i].number : EIO;
}

int failure_from_errno(int error)
{
	switch (error) {
	case ENOMEM:
		return VHOSTMD_ERR_MEMORY;
	case EACCES:
	case EPERM:
		return VHOSTMD_ERR_PERMISSION;
	case ENOENT:
	case ENOTDIR:
	case ENXIO:
	case ENODEV:
		return VHOSTMD_ERR_NO_SOURCE;
	case EBUSY:
		return VHOSTMD_ERR_IN_USE;
	default:
		return VHOSTMD_ERR_IO;
	}
}

int failure_note(struct buf *tried, const char *what, int error)
{
	buf_addf(tried, "%s: %s\n", what, vhostmd_strerror(error));
	return error;
}

int failure_note_errno(struct buf *tried, const char *what, int error)
{
	buf_addf(tried, "%s: %s\n", what, strerror(error));
	return failure_from_errno(error);
}
