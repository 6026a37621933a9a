/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A kernel that answers as it seldom does: dumps that are interrupted, files that fail. */
#include "fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "collect/kernel/link_stats.h"
#include "collect/kernel/qemu_proc.h"
#include "model/vm_sample.h"
#include "util/clock.h"

/* ---- rtnetlink, played at the link line ---- */

static uint32_t sequence;
static unsigned n_dumps, n_received;
static unsigned interrupted_dumps; /* the first ones */
static bool interrupted_at_the_end;

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	struct nlmsghdr h;

	(void)fd;
	(void)flags;
	memcpy(&h, buf, sizeof(h));
	sequence = h.nlmsg_seq;
	n_dumps++;
	n_received = 0;
	return (ssize_t)len;
}

/* An interface of the dump's number, then the end. */
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
	struct {
		struct nlmsghdr h;
		struct if_stats_msg msg;
		struct rtattr a;
		uint64_t words[2];
	} m = { .h = { .nlmsg_len = sizeof(m),
			.nlmsg_type = RTM_NEWSTATS,
			.nlmsg_seq = sequence },
		.msg = { .ifindex = n_dumps },
		.a = { .rta_len = sizeof(struct rtattr) + 16,
			.rta_type = IFLA_STATS_LINK_64 },
		.words = { 11, 22 } };
	bool end = n_received++ > 0;

	(void)fd;
	(void)flags;
	if (end)
		m.h = (struct nlmsghdr){ .nlmsg_len = NLMSG_LENGTH(0),
			.nlmsg_type = NLMSG_DONE,
			.nlmsg_seq = sequence };
	if (n_dumps <= interrupted_dumps && end == interrupted_at_the_end)
		m.h.nlmsg_flags |= NLM_F_DUMP_INTR;
	assert_true(len >= sizeof(m));
	memcpy(buf, &m, m.h.nlmsg_len);
	return (ssize_t)m.h.nlmsg_len;
}

/* Return: how many dumps it took. */
static unsigned dump(unsigned interrupted, bool at_the_end)
{
	struct link_stats *ls = link_stats_new();

	n_dumps = 0;
	interrupted_dumps = interrupted;
	interrupted_at_the_end = at_the_end;
	assert_int_equal(link_stats_dump(ls), 0);
	/* the last dump is what is known, and nothing of those before */
	assert_non_null(link_stats_find(ls, (int)n_dumps));
	assert_null(link_stats_find(ls, (int)n_dumps - 1));
	link_stats_free(ls);
	return n_dumps;
}

static void an_interrupted_dump_does_not_pass_for_whole(void **state)
{
	(void)state;
	assert_int_equal(dump(0, false), 1);
	assert_int_equal(dump(1, false), 2);
	assert_int_equal(dump(1, true), 2);
	assert_int_equal(dump(3, true), 4);
	/* where interfaces come and go all the time it has an end */
	assert_int_equal(dump(1000, false), 4);
}

/* ---- files of a process ---- */

#define UUID_TEXT "00010203-0405-0607-0809-0a0b0c0d0e0f"
#define N_VCPUS 4

static struct vm_ident ident = { .id = 3,
	.name = "a",
	.uuid = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } } };

/* A file, or what is opened but never read: a directory. */
static void set_schedstat(struct fixture *f, unsigned vcpu, bool readable)
{
	char path[96], text[32];

	snprintf(path, sizeof(path), "proc/4711/task/%u/schedstat", 4712 + vcpu);
	snprintf(text, sizeof(text), "%u 10 1\n", 1000 + vcpu);
	unlinkat(f->fd, path, 0);
	unlinkat(f->fd, path, AT_REMOVEDIR);
	if (readable)
		fixture_add(f, path, text);
	else
		assert_int_equal(mkdirat(f->fd, path, 0755), 0);
}

static void add_process(struct fixture *f)
{
	static const char args[] = "qemu\0-uuid\0" UUID_TEXT;
	char path[96], text[64];

	fixture_init(f);
	fixture_add(f, "run/libvirt/qemu/a.pid", "4711\n");
	fixture_add(f, "proc/4711/stat",
		"4711 (qemu) S 1 2 3 0 -1 138412416 500 0 7 0 100 200 0 0 20 0 5 0 7777 "
		"1458028544 10 18446744073709551615 1 2\n");
	for (unsigned i = 0; i < N_VCPUS; i++) {
		snprintf(path, sizeof(path), "proc/4711/task/%u/comm", 4712 + i);
		snprintf(text, sizeof(text), "CPU %u/KVM\n", i);
		fixture_add(f, path, text);
		set_schedstat(f, i, true);
	}
	_cleanup_close_ int fd =
		openat(f->fd, "proc/4711/cmdline", O_WRONLY | O_CREAT, 0644);

	assert_int_equal(write(fd, args, sizeof(args)), sizeof(args));
}

static void a_vcpu_that_cannot_be_read_hides_no_other(void **state)
{
	(void)state;
	struct fixture f;
	struct qemu_proc *proc = NULL;
	struct vm_sample s = { 0 };

	add_process(&f);
	set_schedstat(&f, 1, false);
	assert_int_equal(qemu_proc_open(f.fd, &ident, ~0u, &proc), 0);
	for (int i = 0; i < 3; i++) {
		vm_sample_clear(&s);
		assert_int_equal(qemu_proc_sample(proc, &s), 0);
		assert_int_equal(s.n_vcpus, N_VCPUS);
		for (unsigned n = 0; n < N_VCPUS; n++) {
			assert_int_equal(s.vcpus[n].number, n);
			assert_int_equal(s.vcpus[n].have_time, n != 1);
		}
	}
	/* once it can be read, it soon is */
	set_schedstat(&f, 1, true);
	for (int i = 0; i < 20; i++) {
		vm_sample_clear(&s);
		s.mono_ns = (i + 1) * NS_PER_S;
		assert_int_equal(qemu_proc_sample(proc, &s), 0);
	}
	assert_int_equal(s.n_vcpus, N_VCPUS);
	assert_true(s.vcpus[1].have_time && s.vcpus[1].time_ns == 1001);
	qemu_proc_free(proc);
	vm_sample_done(&s);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interrupted_dump_does_not_pass_for_whole),
		cmocka_unit_test(a_vcpu_that_cannot_be_read_hides_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
