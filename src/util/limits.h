/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every maximum that bounds what comes from outside, in one place.  Raising one is safe
 * for correctness; each says what it protects.
 */
#pragma once

/* Configuration. */
#define LIMIT_CONF_BYTES (4u << 20)         /* size of the configuration file */
#define LIMIT_CONF_METRICS 4096u            /* <metric> elements */
#define LIMIT_CONF_VARIABLES 256u           /* <variable> elements of one group */
#define LIMIT_GRANT_SETS 64u                /* places in each snapshot of the host */
#define LIMIT_GRANT_RULES 4096u             /* looked at for each image */
#define LIMIT_CONF_ERRORS 100u              /* mistakes reported before giving up */
#define LIMIT_NAME_BYTES 200u               /* a metric's name; leaves room in NAME_MAX */
#define LIMIT_ACTION_TEXT_BYTES (64u << 10) /* text of one <action> */

/* The metrics disk (formats: 1 KiB to 256 MiB). */
#define LIMIT_DISK_BYTES_MIN 1024u
#define LIMIT_DISK_BYTES_MAX (256u << 20)
#define DISK_BLOCK_BYTES 65536u /* guests read in whole blocks of this size */
#define DISK_BYTES_DEFAULT (1u << 20)
#define LIMIT_DISK_SIZES 4096u /* different ones: LIMIT_DISK_BYTES_MAX in whole blocks */

/* Actions. */
#define LIMIT_ACTION_OUTPUT_BYTES (64u << 10)
#define LIMIT_RUNNER_BYTES (1u << 20)  /* a command with its environment */
#define LIMIT_PLAIN_NAME_BYTES 128u    /* of a VM, in actions that may take it for code */
#define LIMIT_ACTION_XML_METRICS 1024u /* <metric> elements in one output */

/* libvirt. */
#define LIMIT_VMS 16384u       /* domains tracked at once */
#define LIMIT_VM_METRICS 8192u /* metrics of one domain after expanding '*' */
/*
 * Names that were made of patterns, kept until the configuration changes: first asked for by
 * one VM, whose QEMU may invent them, and all together.
 */
#define LIMIT_VM_LABELS 8192u
#define LIMIT_LABELS 131072u
#define LIMIT_SERIES 65536u /* counters of one domain that ever were */
#define LIMIT_DOMAIN_XML_BYTES (8u << 20)
#define LIMIT_METADATA_KEY_BYTES 1024u /* of what a configuration asks for */
#define LIMIT_METADATA_DEPTH 8u
#define LIMIT_METADATA_BYTES 4096u /* of all values of one domain's */
#define LIMIT_DOMAIN_DEVICES 4096u /* interfaces, and disks, of one domain */
#define LIMIT_VCPUS 8192u          /* virtual CPUs of one domain */
#define LIMIT_THREADS 16384u       /* threads of one QEMU process */
#define LIMIT_SCOPE_HISTOGRAMS 8u  /* histograms of one domain that ever were */
#define LIMIT_BLAME_PAIRS                                                                \
	65536u /* of VMs that waited for each other, lines of metrics.prom */

/* A checkpoint: what a process inherits from the one before. */
#define LIMIT_SCOPE_METRICS 65536u         /* metrics of the host, or of one VM */
#define LIMIT_CHECKPOINT_TEXT_BYTES 65000u /* one string; its length has 16 bits */

/* Files whose size or content the kernel was told and may keep. */
#define LIMIT_ARMED (1u << 20)

/* Open files that are polled for changes; those above that are told too often. */
#define LIMIT_POLLS 32768u

/* Network interfaces of the host. */
#define LIMIT_LINKS 131072u

/* Block devices of the host, and how VMs' descriptions and udev may name them. */
#define LIMIT_BLOCK_DEVICES 65536u
#define LIMIT_DEVICE_PATH_BYTES 1024u
#define LIMIT_DEVICE_LINKS (1u << 20)      /* of all devices together */
#define LIMIT_UDEV_FILE_BYTES (256u << 10) /* what udev knows of one device */

/* Channels. */
#define LIMIT_REQUEST_BYTES 1024u /* a request without its end, then it is refused */
#define LIMIT_CHANNELS 65536u
#define LIMIT_CHANNEL_REQUESTS 1000u /* a second, of one channel */
#define LIMIT_UNFETCHED_BYTES                                                            \
	(32 << 10) /* of a reply, in a socket; the kernel takes twice */

/* HTTP. */
#define LIMIT_HTTP_SOCKETS 8u  /* that listen */
#define LIMIT_HTTP_CLIENTS 64u /* connected at once */
#define LIMIT_HTTP_REQUEST_BYTES                                                         \
	8192u                    /* a request's headers, with what is told of them */
#define LIMIT_HTTP_RENDERINGS 8u /* different ones that are being sent */

/* The control socket: connections at once, of root, of the group, of others, of one user of these. */
#define LIMIT_CONTROL_SOCKETS 8u /* that listen */
#define LIMIT_CONTROL_ROOT 16u
#define LIMIT_CONTROL_GROUP 16u
#define LIMIT_CONTROL_OTHER 32u
#define LIMIT_CONTROL_EACH 4u
#define LIMIT_CONTROL_REQUEST_BYTES 256u
#define LIMIT_CONTROL_COMPLAINTS_BYTES (64u << 10) /* about a configuration */

/* Files under /proc and /sys, read in one piece. */
#define LIMIT_PROC_FILE_BYTES (8u << 20)   /* stat: 100 bytes a CPU, 2 an interrupt */
#define LIMIT_SYSFS_FILE_BYTES (64u << 10) /* a list of CPUs at most */
#define LIMIT_CPUS 8192u                   /* as many as any kernel can be built for */
#define LIMIT_CPUINFO_BYTES (64u << 20)    /* some KiB for each CPU */
