/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of a QEMU process, pid 4711, that runs the VM `ident`. */
#pragma once

#include "fixture.h"

#include "core/snapshot.h"

#define UUID_TEXT "00010203-0405-0607-0809-0a0b0c0d0e0f"

static struct vm_ident ident = { .id = 3,
	.name = "a b",
	.uuid = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } } };

static inline void add_binary(
	struct fixture *f, const char *path, const char *bytes, size_t n)
{
	fixture_add(f, path, "");
	_cleanup_close_ int fd = openat(f->fd, path, O_WRONLY);

	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
}

static inline void add_cmdline_of(struct fixture *f, const char *guest, const char *uuid)
{
	char args[256];
	int n = snprintf(args, sizeof(args), "qemu%c-name%cguest=%s%c-uuid%c%s%c-S%c", 0,
		0, guest, 0, 0, uuid, 0, 0);

	add_binary(f, "proc/4711/cmdline", args, (size_t)n);
}

static inline void add_cmdline(struct fixture *f, const char *uuid)
{
	add_cmdline_of(f, "a b", uuid);
}

static inline void add_thread(
	struct fixture *f, unsigned tid, const char *comm, const char *stat)
{
	char path[96];

	snprintf(path, sizeof(path), "proc/4711/task/%u/comm", tid);
	fixture_add(f, path, comm);
	snprintf(path, sizeof(path), "proc/4711/task/%u/schedstat", tid);
	fixture_add(f, path, stat);
	snprintf(path, sizeof(path), "proc/4711/task/%u/stat", tid);
	fixture_add(f, path,
		"1 (CPU 0/KVM) S 1 2 3 0 -1 64 5 0 7 0 1 2 0 0 20 0 1 0 8888 1 10 1\n");
	snprintf(path, sizeof(path), "proc/4711/task/%u/sched", tid);
	fixture_add(f, path,
		"CPU 0/KVM (1, #threads: 3)\nse.exec_start  :  1.0\n"
		"wait_sum                :   2.500000\n");
}

static inline void remove_thread(struct fixture *f, unsigned tid)
{
	static const char *const files[] = { "comm", "schedstat", "sched", "stat" };
	char path[96];

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "proc/4711/task/%u/%s", tid, files[i]);
		unlinkat(f->fd, path, 0);
	}
	snprintf(path, sizeof(path), "proc/4711/task/%u", tid);
	assert_int_equal(unlinkat(f->fd, path, AT_REMOVEDIR), 0);
}

/* Threads are field 20, the start field 22, resident pages field 24. */
static inline void set_stat(struct fixture *f, unsigned threads)
{
	char text[256];

	snprintf(text, sizeof(text),
		"4711 (CPU ) 1/KVM\n) S 1 2 3 0 -1 138412416 500 0 7 0 100 200 0 0 20 0 %u 0 "
		"7777 1458028544 10 18446744073709551615 1 2\n",
		threads);
	fixture_add(f, "proc/4711/stat", text);
}

static inline void add_process(struct fixture *f)
{
	fixture_init(f);
	fixture_add(f, "run/libvirt/qemu/a b.pid", "4711\n");
	add_cmdline(f, UUID_TEXT);
	set_stat(f, 4);
	fixture_add(f, "proc/4711/io",
		"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 60\n"
		"cancelled_write_bytes: 10\n");
	add_thread(f, 4711, "qemu-system-x86\n", "1 1 1\n");
	add_thread(f, 4713, "CPU 1/TCG\n", "2000 20 1\n");
	add_thread(f, 4712, "CPU 0/KVM\n", "1000 10 1\n");
	add_thread(f, 4714, "CPU x/KVM\n", "1 1 1\n");
	add_thread(f, 4715, "IO iothread1\n", "500 5 1\n");
}
