/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bpf/delay_loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/hash.h"
#include "util/strbuf.h"

/* The number of the first name space of processes, in all kernels. */
#define FIRST_PID_NAMESPACE 0xeffffffcu

/* So many vCPUs a processor have room. */
#define VCPUS_A_PROCESSOR 16u

/* The program, as the compiler made it. */
static const _Alignas(8) unsigned char object_bytes[] = {
#include "delay.bpf.bytes"
};

/* By enum delay_fd. */
static const char *const names[DELAY_FDS] = { "vcpus", "threads", "pairs", "on_switch",
	"on_migrate" };

static uint32_t room_bits(void)
{
	long processors = sysconf(_SC_NPROCESSORS_CONF);
	uint64_t vcpus = (uint64_t)(processors > 0 ? processors : 1) * VCPUS_A_PROCESSOR;
	uint32_t bits = DELAY_LEAST_BITS;

	while (bits < DELAY_MOST_BITS && delay_n_vcpus(bits) < vcpus)
		bits++;
	return bits;
}

/* 0: the first one, or it cannot be told. */
static uint32_t pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) < 0 || st.st_ino == FIRST_PID_NAMESPACE
		? 0
		: (uint32_t)st.st_ino;
}

static int set_up(struct bpf_object *object, uint32_t bits)
{
	const struct delay_config config = { .bucket_bits = DELAY_BUCKET_BITS(bits),
		.pair_bits = DELAY_PAIR_BITS(bits),
		.pid_namespace = pid_namespace() };
	struct bpf_map *constants = bpf_object__find_map_by_name(object, ".rodata");
	struct bpf_map *vcpus =
		bpf_object__find_map_by_name(object, names[DELAY_FD_VCPUS]);
	struct bpf_map *threads =
		bpf_object__find_map_by_name(object, names[DELAY_FD_THREADS]);
	struct bpf_map *pairs =
		bpf_object__find_map_by_name(object, names[DELAY_FD_PAIRS]);
	struct bpf_map *processors = bpf_object__find_map_by_name(object, "processors");

	if (!constants || !vcpus || !threads || !pairs || !processors)
		return -EINVAL;
	int r = bpf_map__set_initial_value(constants, &config, sizeof(config));

	if (r == 0)
		r = bpf_map__set_max_entries(vcpus, (uint32_t)delay_n_vcpus(bits));
	if (r == 0)
		r = bpf_map__set_max_entries(
			threads, (uint32_t)delay_n_buckets(bits) + 1);
	if (r == 0)
		r = bpf_map__set_max_entries(
			pairs, (uint32_t)delay_n_pair_buckets(bits) + 1);
	int n = libbpf_num_possible_cpus();

	if (r == 0)
		r = n < 0 ? n : bpf_map__set_max_entries(processors, (uint32_t)n);
	return r;
}

static int dup_fd(int fd)
{
	int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* Return: a descriptor or -errno. */
static int open_map(struct bpf_object *object, const char *name)
{
	return dup_fd(bpf_object__find_map_fd_by_name(object, name));
}

static int attach(struct bpf_object *object, const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	struct bpf_link *link = program ? bpf_program__attach(program) : NULL;

	if (!link)
		return program ? -errno : -EINVAL;
	int fd = dup_fd(bpf_link__fd(link));

	bpf_link__destroy(link); /* its own descriptor */
	return fd;
}

static int open_all(struct bpf_object *object, int fds[DELAY_FDS])
{
	for (int i = 0; i < DELAY_FDS; i++) {
		fds[i] = i < DELAY_MAPS ? open_map(object, names[i])
					: attach(object, names[i]);
		if (fds[i] < 0)
			return fds[i];
	}
	return 0;
}

/* @step: what was tried. */
static int refusal(int r, const char *step, struct strbuf *why)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0) {
		strbuf_adds(why,
			"the kernel does not describe itself: "
			"/sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)");
		return -EOPNOTSUPP;
	}
	if (r == -EPERM || r == -EACCES) {
		strbuf_addf(why, "%s: %s: it needs CAP_BPF and CAP_PERFMON", step,
			strerror(-r));
		return -EPERM;
	}
	strbuf_addf(why, "%s: %s", step, strerror(-r));
	return r;
}

int delay_attach(int ret_fds[DELAY_FDS], uint32_t *ret_bits, struct strbuf *why)
{
	const struct bpf_object_open_opts options = { .sz = sizeof(options),
		.object_name = "vhostmd" };
	int fds[DELAY_FDS] = { -1, -1, -1, -1, -1 };
	uint32_t bits = room_bits();

	libbpf_set_print(NULL); /* the verifier's words alone can fill pages */
	struct bpf_object *object =
		bpf_object__open_mem(object_bytes, sizeof(object_bytes), &options);
	int r = object ? 0 : -errno;

	if (r < 0)
		return refusal(r, "reading the program", why);
	r = set_up(object, bits);
	if (r == 0)
		r = bpf_object__load(object);
	if (r < 0)
		r = refusal(r, "loading it into the kernel", why);
	else if ((r = open_all(object, fds)) < 0)
		r = refusal(r, "attaching it", why);
	bpf_object__close(object);
	for (int i = 0; r < 0 && i < DELAY_FDS; i++)
		close_p(&fds[i]);
	if (r < 0)
		return r;
	memcpy(ret_fds, fds, sizeof(fds));
	*ret_bits = bits;
	return 0;
}

uint64_t delay_program(void)
{
	return siphash24(object_bytes, sizeof(object_bytes)) | 1;
}
