/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What doctor.c and its checks share; nobody else includes it.  One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "doctor.h"
#include "util/strbuf.h"

/* A file system that does not answer so long is as good as dead; libvirt likewise. */
#define DOCTOR_ANSWER_MS 2000
/* Commands of the configuration are looked at one by one. */
#define DOCTOR_CONF_MS 30000
/* What is read of one file of the host; there are hosts with thousands of mounts. */
#define DOCTOR_FILE_BYTES (16u << 20)

enum severity {
	SEVERITY_OK,
	SEVERITY_NOTE,
	SEVERITY_WARNING,
	SEVERITY_FAULT,
	SEVERITY_COUNT
};

struct finding {
	enum severity severity;
	char *found;
	struct strbuf remedy; /* lines */
};

/* A line of mountinfo (proc(5)). */
struct doctor_mount {
	char *device; /* major:minor */
	char *target;
	char *type;
	bool shared; /* passes on what is mounted below it */
};

struct doctor_mounts {
	struct doctor_mount *mounts;
	size_t n;
};

enum mount_state {
	MOUNT_NONE,
	MOUNT_OTHER, /* of another type */
	MOUNT_ANSWERS,
	MOUNT_DEAD,   /* its server is gone */
	MOUNT_SILENT, /* no answer in time */
	MOUNT_FAILS,  /* mount_error says how */
};

struct status_line {
	char *key, *value;
};

/* A process whose name is vhostmd. */
struct doctor_process {
	pid_t pid, parent;
	uid_t uid;
	char state;  /* of ps(1): T is stopped */
	bool serves; /* has /dev/fuse open, as far as we may see that */
};

struct conf;

struct doctor {
	const struct doctor_options *options;
	int root_fd;
	bool real; /* root is "/" */

	/* gathered before the checks */
	char *mount;      /* as the kernel lists it */
	char *mount_path; /* the same with the root before it */
	struct doctor_mounts mounts;
	enum mount_state mount_state;
	int mount_error;
	struct strbuf status_text; /* of the file system's file status */
	struct status_line *status;
	size_t n_status;
	struct doctor_process *processes;
	size_t n_processes;
	char *pid_file;          /* the one that counts */
	pid_t keeper;            /* 0: none runs */
	pid_t worker;            /* 0: not known */
	struct conf *conf;       /* what a daemon would use; NULL: none */
	struct strbuf conf_text; /* what the daemon says of it */
	int conf_said;           /* its exit status, or -errno: it could not be asked */

	/* of the check that is under way */
	struct finding *findings;
	size_t n_findings, cap_findings;
};

struct doctor_check {
	const char *name; /* in JSON */
	void (*look)(struct doctor *d);
};

/* ---- doctor.c: what a check says ---- */

/* Adds what was found; may hold any bytes. */
void doctor_say(struct doctor *d, enum severity severity, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds a line, a command or a setting, to how the last finding is mended. */
void doctor_mend(struct doctor *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- doctor_facts.c: what several checks need ---- */

/* The options are in @d; fills in the rest. */
void doctor_gather(struct doctor *d);
void doctor_done(struct doctor *d);

/* A path of the host as this process opens it, the caller's to free. */
char *doctor_path(const struct doctor *d, const char *path);

/*
 * Reads a file of the host; white space around the text is taken off.
 * Return: 0 or -errno; then @out is empty.
 */
int doctor_read(const struct doctor *d, const char *path, struct strbuf *out);

/* True if a file of the host is there. */
bool doctor_exists(const struct doctor *d, const char *path);

/* A value of the file status; NULL: it has none.  Owned by @d. */
const char *doctor_status(const struct doctor *d, const char *key);

/* The number that it begins with.  Return: @otherwise if there is none. */
int64_t doctor_status_number(const struct doctor *d, const char *key, int64_t otherwise);

/* Takes a text of lines "key: value" apart; @text is written into.  *@ret is to be freed. */
size_t doctor_status_lines(char *text, struct status_line **ret);

/* Asks the file system for its state again; fills @text.  Return: as doctor_ask(). */
int doctor_ask_status(const struct doctor *d, struct strbuf *text);

struct user;

/* Return: 0, or -ENOENT if the host has no such user. */
int doctor_user(const struct doctor *d, const char *name, struct user *ret);

/* ---- doctor_mounts.c ---- */

/* Reads the list of mounts that @path, a mountinfo, is.  Return: 0 or -errno. */
int doctor_mounts_read(
	const struct doctor *d, const char *path, struct doctor_mounts *ret);
void doctor_mounts_done(struct doctor_mounts *mounts);

/* What is mounted on @target, on top; NULL: nothing is. */
const struct doctor_mount *doctor_mounts_at(
	const struct doctor_mounts *mounts, const char *target);

/* What @path lies in, if nothing is mounted on itself. */
const struct doctor_mount *doctor_mounts_below(
	const struct doctor_mounts *mounts, const char *path);

bool doctor_mount_is_ours(const struct doctor_mount *mount);

/* Whether what is mounted at @path, with the root before it, answers. */
enum mount_state doctor_mount_state(const char *path, int *ret_error);

/* ---- doctor_ask.c ---- */

/*
 * Runs @work in a child that has no descriptors but @out, for what it finds out.  The child is
 * killed when the time is over; one that cannot be killed is left behind.
 * @text: what it wrote by then, no longer than @max.
 * Return: what @work returned, 0 to 255; -ETIMEDOUT, -EFBIG, or another -errno.
 */
int doctor_ask(int (*work)(const void *ctx, int out), const void *ctx, int timeout_ms,
	size_t max, struct strbuf *text);

/* All of @text to @out; for such a child. */
void doctor_answer(int out, const struct strbuf *text);

/* ---- the checks ---- */

void check_kernel(struct doctor *d);
void check_fuse(struct doctor *d);
void check_schedstat(struct doctor *d);
void check_pressure(struct doctor *d);
void check_cgroup(struct doctor *d);
void check_selinux(struct doctor *d);
void check_apparmor(struct doctor *d);
void check_disk_readers(struct doctor *d);

void check_mount(struct doctor *d);
void check_visible(struct doctor *d);
void check_leftovers(struct doctor *d);
void check_shared_disk(struct doctor *d);

void check_daemon(struct doctor *d);
void check_worker(struct doctor *d);
void check_other_daemons(struct doctor *d);
void check_user(struct doctor *d);
void check_figures(struct doctor *d);
void check_slow(struct doctor *d);
void check_overruns(struct doctor *d);

void check_configuration(struct doctor *d);
void check_reload(struct doctor *d);
void check_rights(struct doctor *d);

void check_libvirt_socket(struct doctor *d);
void check_libvirt(struct doctor *d); /* doctor_libvirt.c, or doctor_no_libvirt.c */
