/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of a VM's process, in part written by the VM's QEMU (names of threads), and of its
 * cgroup.
 */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>

#include "collect/kernel/qemu_proc.h"
#include "files.h"
#include "fuzz.h"
#include "model/home_threads.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/limits.h"

#define EVERYTHING (~UINT64_C(0))

static void check(const struct vm_sample *s)
{
	if (s->n_vcpus > LIMIT_VCPUS || s->n_iothreads > LIMIT_THREADS)
		abort();
	for (size_t i = 0; i < VM_SCALAR_COUNT; i++) {
		const struct fact *f = &s->facts[i];

		if (f->have && (f->absent || f->value.type == METRIC_STRING))
			abort();
		if (f->have && f->value.type == METRIC_REAL64 && !isfinite(f->value.real))
			abort();
	}
}

static void sample(struct qemu_proc *proc)
{
	_cleanup_run_ struct run *run =
		run_new(&(struct vm_ident){ .name = "a" }, HYPERVISOR_QEMU);
	struct vm_counters last = { 0 };
	struct vm_sample s = { 0 };
	struct home_threads home;
	uint64_t shares = 0;
	int64_t now = 0;

	run_set_process(run, 4711, 1, open_at(FILES_ROOT, "proc/4711/stat", O_RDONLY));
	do {
		vm_sample_clear(&s);
		s.mono_ns = now += 1000000000;
		if (qemu_proc_sample(proc, &s) < 0)
			break;
		vm_sample_derive(&s, &last);
		check(&s);
		(void)qemu_proc_shares(proc, &shares);
		(void)run_is_stopped(run);
		home_threads_before(FILES_ROOT, run, &home);
		bool stands = home_threads_after(FILES_ROOT, run, &home);

		if (home_threads_look(FILES_ROOT, run, &home) == HOME_SLEPT && !stands)
			abort();
		home_threads_note_main(FILES_ROOT, run, &home);
		if (home_threads_look(FILES_ROOT, run, &home) == HOME_SLEPT)
			abort();
	} while (files_next());
	vm_sample_done(&s);
	vm_counters_done(&last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vm_ident ident = { .id = 3,
		.name = "a,<b",
		.uuid = { { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 } } };
	/* without what stat alone has, statm is read in its place */
	static const uint64_t reads[] = { EVERYTHING, EVERYTHING & ~READS(PROCESS) };

	for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
		struct qemu_proc *proc = NULL;

		files_begin(data, size);
		int r = qemu_proc_open(FILES_ROOT, &ident, reads[i], &proc);

		if ((r < 0) != !proc)
			abort();
		if (proc)
			sample(proc);
		qemu_proc_free(proc);
		files_end();
	}
	return 0;
}
