/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * libmetrics: what the host of this virtual machine says of itself and of the machine.
 *
 * A *source* is where metrics come from: a metrics disk, or a virtio-serial channel.  A
 * *snapshot* is all that was there at one moment: what is looked up in it fits together, and
 * stays as it is until it is freed.  libmetrics(3) explains, with examples.
 *
 *     struct vhostmd_source *source;
 *     struct vhostmd_snapshot *now;
 *     double steal;
 *
 *     if (vhostmd_open(NULL, &source) == 0 && vhostmd_read(source, &now) == 0 &&
 *         vhostmd_get_real(now, METRIC_CONTEXT_VM, "usage.steal", &steal) == 0)
 *             printf("%.1f %%\n", steal);
 *
 * Errors.  What returns an int returns 0 or one of enum vhostmd_error, all of them negative,
 * and leaves what it would have given untouched then.  errno is not used.
 *
 * Threads.  Any function may be called by any thread; a source by one at a time, unless all of
 * them only read it (functions that take it as const).  Snapshots never change: any number of
 * threads may share one.  Nothing is locked, and the child of a fork(2) goes on with what it
 * has, though a source should be read by one process alone.
 *
 * The library prints nothing, ends nothing, starts no threads, keeps no signal, and changes
 * no setting of the process.  Where memory is short it says VHOSTMD_ERR_MEMORY.
 */
#ifndef VHOSTMD_METRICS_H
#define VHOSTMD_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include <vhostmd/libmetrics.h> /* metric_type, metric_context */

#ifdef __cplusplus
extern "C" {
#endif

/** Why something failed. */
enum vhostmd_error {
	VHOSTMD_OK = 0,
	VHOSTMD_ERR_INVALID = -1,    /**< an argument makes no sense */
	VHOSTMD_ERR_MEMORY = -2,     /**< memory is short */
	VHOSTMD_ERR_NO_SOURCE = -3,  /**< neither a metrics disk nor a channel */
	VHOSTMD_ERR_PERMISSION = -4, /**< there may be one, but not for this user */
	VHOSTMD_ERR_IO = -5,         /**< the device fails */
	VHOSTMD_ERR_NOT_A_DISK = -6, /**< it holds no metrics */
	VHOSTMD_ERR_UNSTABLE = -7,   /**< the disk was being written, all the time */
	VHOSTMD_ERR_CORRUPT = -8,    /**< length, checksum or document is wrong */
	VHOSTMD_ERR_IN_USE = -9,   /**< another program talks on the channel, too long */
	VHOSTMD_ERR_TIMEOUT = -10, /**< the host did not answer in time */
	VHOSTMD_ERR_REFUSED = -11, /**< the host refused the request */
	VHOSTMD_ERR_NO_METRIC = -12,   /**< there is no such metric */
	VHOSTMD_ERR_UNAVAILABLE = -13, /**< there is, but the host cannot tell it now */
	VHOSTMD_ERR_UNLIMITED = -14,   /**< it is a limit, and none is set */
	VHOSTMD_ERR_TYPE = -15,        /**< a text is no number */
	VHOSTMD_ERR_RANGE = -16,       /**< the number does not fit */
	VHOSTMD_ERR_IDENTITY = -17,    /**< no telling which of the VMs this one is */
	VHOSTMD_ERR_SAME_SAMPLE = -18, /**< both snapshots show the same sample */
	VHOSTMD_ERR_MOVED = -19, /**< started anew or migrated: counters began again */
	VHOSTMD_ERR_RESET = -20, /**< the figure is less than before */
	VHOSTMD_ERR_UNSUPPORTED = -21 /**< not part of this library */
};

/**
 * The meaning of an error in English, for people.
 * @param error  one of enum vhostmd_error; of anything else it says so.
 * @return a text that is never freed, never NULL.
 */
const char *vhostmd_strerror(int error);

/* ---- sources ---- */

struct vhostmd_source;

/**
 * Makes a source.  Nothing is read or looked for before vhostmd_read().
 *
 * @param where  NULL or "auto": the metrics disk or, where there is none, the channel; what was
 *        found is remembered, and looked for again when it fails.  "disk": among the small
 *        disks.  "channel": the port org.github.vhostmd.1.  Anything with a '/' in it (on
 *        Windows with any separator of folders): that device, or file with an image.  With NULL
 *        the environment's VHOSTMD_SOURCE comes first, unless the program has rights that its
 *        user has not.
 * @param ret  gets the source, the caller's, for vhostmd_close().
 * @return 0, VHOSTMD_ERR_INVALID, VHOSTMD_ERR_MEMORY.
 */
int vhostmd_open(const char *where, struct vhostmd_source **ret);

/** Frees a source; NULL is accepted.  Its snapshots stay. */
void vhostmd_close(struct vhostmd_source *source);

/**
 * How long vhostmd_read() may take, about: a device that hangs in the kernel takes longer.
 * @param timeout_ms  for all its tries; without this 10,000.  Not 0.
 */
int vhostmd_set_timeout(struct vhostmd_source *source, unsigned timeout_ms);

/**
 * Which VM this is, where the firmware does not tell.
 * @param uuid  36 characters, as the host knows the VM; NULL: ask the firmware again.
 */
int vhostmd_set_uuid(struct vhostmd_source *source, const char *uuid);

/**
 * What the last vhostmd_read() tried in vain, a line each with the reason; "" if nothing.
 * Valid until the next one.
 */
const char *vhostmd_tried(const struct vhostmd_source *source);

/* ---- snapshots ---- */

struct vhostmd_snapshot;

/**
 * Reads all metrics as they are at one moment.
 * @param ret  gets the snapshot, the caller's, for vhostmd_snapshot_free().
 * @return 0 or an error; vhostmd_tried() has details.
 */
int vhostmd_read(struct vhostmd_source *source, struct vhostmd_snapshot **ret);

/**
 * Reads what is there as it is, though it may be no document: hosts of long ago wrote values
 * without escaping them.  Length and checksum are right.
 * @param ret  gets the text, which ends in NUL; the caller's, for free(3).
 * @param ret_len  gets its length.
 */
int vhostmd_read_text(struct vhostmd_source *source, char **ret, size_t *ret_len);

/** Frees a snapshot with all that was found in it; NULL is accepted. */
void vhostmd_snapshot_free(struct vhostmd_snapshot *snapshot);

/**
 * The document as the host sent it, to the byte.
 * @param ret_len  if not NULL gets its length.
 * @return a text that ends in NUL and lives as long as the snapshot.
 */
const char *vhostmd_snapshot_xml(
	const struct vhostmd_snapshot *snapshot, size_t *ret_len);

/** The device or file that it was read from. */
const char *vhostmd_snapshot_path(const struct vhostmd_snapshot *snapshot);

/** Whether it came over a channel: 1, or from a disk: 0. */
int vhostmd_snapshot_is_channel(const struct vhostmd_snapshot *snapshot);

/**
 * The uuid under which the host has this VM.
 * @return 36 characters; NULL if the snapshot has no metric of it.
 */
const char *vhostmd_snapshot_uuid(const struct vhostmd_snapshot *snapshot);

/**
 * For how long the host has said nothing new, as far as this source saw: seconds since it
 * first read just these bytes.  0 at the first look.
 */
double vhostmd_snapshot_age(const struct vhostmd_snapshot *snapshot);

/** How the host's side is, as far as can be seen from here. */
enum vhostmd_freshness {
	/** a first look at a disk: it may have stood still for long */
	VHOSTMD_UNKNOWN = 0,
	/** the host answered, or the figures moved since the look before */
	VHOSTMD_FRESH = 1,
	/** nothing moved for 15 s, and for three times as long as ever before */
	VHOSTMD_STOPPED = 2
};

/** Whether somebody is still there who brings new figures. */
enum vhostmd_freshness vhostmd_snapshot_freshness(
	const struct vhostmd_snapshot *snapshot);

/**
 * Which run of the VM on which host the figures are of: another number says that the VM was
 * started, restored or migrated in between, so that counters began anew.  Hosts that tell no
 * session have one made of the host's name, the VM's id and uuid.
 * @return 0, or VHOSTMD_ERR_IDENTITY without any metric of this VM.
 */
int vhostmd_snapshot_session(const struct vhostmd_snapshot *snapshot, uint64_t *ret);

/* ---- metrics ---- */

struct vhostmd_metric;

/** How many metrics there are: the host's, then this VM's; never another VM's. */
size_t vhostmd_snapshot_count(const struct vhostmd_snapshot *snapshot);

/**
 * One after another, in the host's order.
 * @return borrowed from the snapshot; NULL if @p i is not less than vhostmd_snapshot_count().
 */
const struct vhostmd_metric *vhostmd_snapshot_at(
	const struct vhostmd_snapshot *snapshot, size_t i);

/**
 * One by name; constant time.
 * @param ret  gets the metric, borrowed from the snapshot.
 * @return 0; VHOSTMD_ERR_NO_METRIC; VHOSTMD_ERR_UNAVAILABLE if the host names it among those
 *        that it cannot tell now (sample.unavailable), VHOSTMD_ERR_UNLIMITED among limits that
 *        are not set (domain.unlimited); VHOSTMD_ERR_IDENTITY in the VM's context where there
 *        is no telling which of the VMs on a shared disk this is.
 */
int vhostmd_find(const struct vhostmd_snapshot *snapshot, metric_context context,
	const char *name, const struct vhostmd_metric **ret);

const char *vhostmd_metric_name(const struct vhostmd_metric *metric);
metric_context vhostmd_metric_context(const struct vhostmd_metric *metric);
metric_type vhostmd_metric_type(const struct vhostmd_metric *metric);

/** What the number counts, as the host writes it: "s", "KiB", ...; "" if it does not say. */
const char *vhostmd_metric_unit(const struct vhostmd_metric *metric);

/** The value as the host wrote it, UTF-8, without white space around it; any type. */
const char *vhostmd_metric_text(const struct vhostmd_metric *metric);

/**
 * The value as a number, of any numeric type that it fits: fractions are cut towards zero.
 * @return 0, VHOSTMD_ERR_TYPE, VHOSTMD_ERR_RANGE.
 */
int vhostmd_metric_u64(const struct vhostmd_metric *metric, uint64_t *ret);
int vhostmd_metric_i64(const struct vhostmd_metric *metric, int64_t *ret);
int vhostmd_metric_real(const struct vhostmd_metric *metric, double *ret);

/**
 * How old the value is, at least, seconds: vhostmd_snapshot_age() and, of what only the VM's
 * monitor knows, sample.slow.age.
 */
double vhostmd_metric_age(
	const struct vhostmd_snapshot *snapshot, const struct vhostmd_metric *metric);

/** vhostmd_find() and the value at once. */
int vhostmd_get_u64(const struct vhostmd_snapshot *snapshot, metric_context context,
	const char *name, uint64_t *ret);
int vhostmd_get_i64(const struct vhostmd_snapshot *snapshot, metric_context context,
	const char *name, int64_t *ret);
int vhostmd_get_real(const struct vhostmd_snapshot *snapshot, metric_context context,
	const char *name, double *ret);

/** @param ret  gets a text that lives as long as the snapshot. */
int vhostmd_get_text(const struct vhostmd_snapshot *snapshot, metric_context context,
	const char *name, const char **ret);

/* ---- two snapshots ---- */

/**
 * Whether counters of two snapshots may be subtracted from each other.
 * @return 0; VHOSTMD_ERR_SAME_SAMPLE: nothing new came in between; VHOSTMD_ERR_MOVED: the VM
 *        was started, restored or migrated; VHOSTMD_ERR_INVALID: @p now is the older one.
 */
int vhostmd_deltas_valid(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now);

/**
 * Seconds between two snapshots: by the host's clock where both have host.uptime or
 * host.time, else between the readings, which may be off by the host's period.
 */
double vhostmd_elapsed(
	const struct vhostmd_snapshot *before, const struct vhostmd_snapshot *now);

/**
 * How fast a counter grows, each second, in its own unit.
 * @return 0; what vhostmd_deltas_valid() and vhostmd_find() return; VHOSTMD_ERR_TYPE;
 *        VHOSTMD_ERR_RESET if it fell.
 */
int vhostmd_rate(const struct vhostmd_snapshot *before,
	const struct vhostmd_snapshot *now, metric_context context, const char *name,
	double *ret);

#ifdef __cplusplus
}
#endif

#endif
