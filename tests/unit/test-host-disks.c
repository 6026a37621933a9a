/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks that are devices of the host: whose path is which, and what VMs show of them. */
#include "fast-sample.h"
#include "plans.h"
#include "process.h"
#include "samples.h"
#include "stage.h"

#include <errno.h>
#include <poll.h>
#include <sys/sysmacros.h>

#include "collect/kernel/disk_find.h"
#include "collect/kernel/disk_stats.h"
#include "collect/kernel/fast_disks.h"
#include "collect/kernel/fast_vm.h"
#include "collect/kernel/qemu_proc.h"
#include "collect/kernel/sampler.h"
#include "collect/libvirt/domain_xml.h"
#include "model/description.h"
#include "util/limits.h"
#include "util/strbuf.h"

#define SDA DISK_DEVICE(8, 0)
#define GOOD "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n"

/* ---- paths ---- */

static void assert_device(struct disk_finder *finder, const char *path, uint64_t device)
{
	struct host_disk disk = { 0 };

	if (disk_find(finder, path, &disk) < 0 || disk.device != device)
		fail_msg("%s is %llx", path, (unsigned long long)disk.device);
}

static void assert_no_device(struct disk_finder *finder, const char *path, int error)
{
	struct host_disk disk = { .device = 77 };

	assert_int_equal(disk_find(finder, path, &disk), error);
	assert_int_equal(disk.device, 77);
}

/* A host's devices, and who looks paths up among them. */
struct devices {
	struct fixture f;
	struct disk_finder *finder;
};

static void devices_init(struct devices *d)
{
	struct fixture *f = &d->f;

	fixture_init(f);
	fixture_add(f, "proc/diskstats",
		"8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"
		"8 1 sda1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 0\n"
		"8 16 sdb 2 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"
		"253 3 dm-3 9 2 3 4 5 6 7 8 9 10 11 12 13 14 15 0 0\n");
	fixture_add(f, "sys/class/block/sda/dev", "8:0\n");
	fixture_add(f, "sys/class/block/sda1/dev", "8:1\n");
	fixture_add(f, "sys/class/block/cciss!c0d0/dev", "104:0\n");
	fixture_add(f, "sys/dev/block/8:0/mq/0/cpu_list", "0\n");
	fixture_add(f, "sys/dev/block/8:0/queue/iostats", "1\n");
	fixture_add(f, "sys/dev/block/8:1/partition", "1\n");
	fixture_add(f, "run/udev/data/b8:0",
		"S:disk/by-id/wwn-0x5000\nS:disk/by-path/pci-0\nE:ID_MODEL=x\nG:systemd\n");
	fixture_add(f, "run/udev/data/b8:16", "S:disk/by-id/wwn-0x5000\nL:-5\nS:twice\n");
	fixture_add(f, "run/udev/data/b253:3",
		"I:123\nL:50\nS:disk/by-id/wwn-0x5000\nS:vg0/data\nS:mapper/vg0-data\nS:\n");
	fixture_add(f, "run/udev/data/b8:1", "S:twice\nL:-5\n");
	/* of a device that is no more */
	fixture_add(f, "run/udev/data/b8:32", "S:disk/by-id/old\n");
	d->finder = disk_finder_new(f->fd);
}

static void devices_done(struct devices *d)
{
	disk_finder_free(d->finder);
	fixture_done(&d->f);
}

static int set_up_devices(void **state)
{
	struct devices *d = xcalloc(1, sizeof(*d));

	devices_init(d);
	*state = d;
	return 0;
}

static int tear_down_devices(void **state)
{
	devices_done(*state);
	free(*state);
	return 0;
}

static void paths_are_the_kernels_names_or_udevs(void **state)
{
	struct devices *d = *state;

	assert_device(d->finder, "/dev/sda", SDA);
	assert_device(d->finder, "/dev//sda", SDA);
	assert_device(d->finder, "/dev/sda1", DISK_DEVICE(8, 1));
	assert_device(d->finder, "/dev/cciss/c0d0", DISK_DEVICE(104, 0));
	assert_device(d->finder, "/dev/disk/by-path/pci-0", SDA);
	assert_device(d->finder, "/dev/vg0/data", DISK_DEVICE(253, 3));
	assert_device(d->finder, "/dev/mapper/vg0-data", DISK_DEVICE(253, 3));
	/* of several the one that udev prefers; none if nobody can tell */
	assert_device(d->finder, "/dev/disk/by-id/wwn-0x5000", DISK_DEVICE(253, 3));
	assert_no_device(d->finder, "/dev/twice", -ENODEV);
	assert_no_device(d->finder, "/dev/disk/by-id/old", -ENODEV);
	/* what has changed is seen when it is looked up anew */
	fixture_add(&d->f, "run/udev/data/b8:16", "S:vg0/other\n");
	assert_no_device(d->finder, "/dev/vg0/other", -ENODEV);
	disk_finder_forget(d->finder);
	assert_device(d->finder, "/dev/vg0/other", DISK_DEVICE(8, 16));
	assert_device(d->finder, "/dev/twice", DISK_DEVICE(8, 1));
}

/* A domain's XML is what somebody wrote. */
static void hostile_paths_are_nothing(void **state)
{
	struct devices *d = *state;
	static const char *const paths[] = { "", "/", "sda", "dev/sda", "/dev", "/dev/",
		"/dev//", "/dev/.", "/dev/..", "/dev/../dev/sda", "/dev/./sda",
		"/dev/sda/..", "/dev/../../etc/passwd", "../../etc/passwd", "/devsda",
		"/dev/sda\n", "/dev/vg0/\ndata", "/dev/\x7f", "/etc/passwd", "\xff" };
	static const char *const unknown[] = { "/dev/ ", "/dev/sdz", "/dev/sda/x",
		"/dev/\xff\xfe", "/dev/%s%n", "/dev/...", "/dev/class!block!sda" };
	char path[5000];

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_no_device(d->finder, paths[i], -EINVAL);
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_no_device(d->finder, unknown[i], -ENODEV);
	memset(path, 'a', sizeof(path));
	memcpy(path, "/dev/", 5);
	path[sizeof(path) - 1] = '\0';
	assert_no_device(d->finder, path, -EINVAL);
	path[LIMIT_DEVICE_PATH_BYTES] = '\0';
	assert_no_device(d->finder, path, -EINVAL);
	path[LIMIT_DEVICE_PATH_BYTES - 1] = '\0';
	assert_no_device(d->finder, path, -ENODEV);
	/* what stands where a number should */
	static const char *const numbers[] = { "", "\n", "8\n", "8:\n", ":0\n", "8:0",
		"8:0 \n", "8:0\n8:1\n", "-8:0\n", "4096:0\n", "8:1048576\n",
		"99999999999999999999:0\n" };

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		fixture_add(&d->f, "sys/class/block/sda/dev", numbers[i]);
		assert_no_device(d->finder, "/dev/sda", -ENODEV);
	}
}

/* What udev says has its bounds, too. */
static void udevs_files_may_be_anything(void **state)
{
	struct devices *d = *state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	fixture_add(&d->f, "run/udev/data/b8:16",
		"S\nS:\nL:\nL:x\nL:99999999999999999999999\nX:vg0/x\nS:vg0/torn");
	assert_device(d->finder, "/dev/vg0/torn", DISK_DEVICE(8, 16));
	assert_no_device(d->finder, "/dev/vg0/x", -ENODEV);
	while (text.len < LIMIT_UDEV_FILE_BYTES)
		strbuf_adds(&text, "E:FILLING=it up\nS:vg0/x\n");
	fixture_add(&d->f, "run/udev/data/b8:16", strbuf_str(&text));
	disk_finder_forget(d->finder);
	assert_no_device(d->finder, "/dev/vg0/x", -ENODEV);
	assert_device(d->finder, "/dev/vg0/data", DISK_DEVICE(253, 3));
}

static void what_is_below_dev_counts(void **state)
{
	struct devices *d = *state;

	/* nothing outside of the root, whatever a link says, and no file */
	fixture_add(&d->f, "dev/file", "");
	assert_no_device(d->finder, "/dev/file", -ENOTBLK);
	assert_int_equal(symlinkat("../../../../../../dev/null", d->f.fd, "dev/up"), 0);
	assert_int_equal(symlinkat("/dev/null", d->f.fd, "dev/root"), 0);
	assert_int_equal(symlinkat("loop", d->f.fd, "dev/loop"), 0);
	assert_no_device(d->finder, "/dev/up", -ENODEV);
	assert_no_device(d->finder, "/dev/root", -ENODEV);
	assert_no_device(d->finder, "/dev/loop", -ENODEV);
	/* a node is what it is, whatever sysfs and udev say of its name */
	if (mknodat(d->f.fd, "dev/sda", S_IFBLK | 0600, makedev(253, 3)) == 0) {
		assert_device(d->finder, "/dev/sda", DISK_DEVICE(253, 3));
		assert_int_equal(mkdirat(d->f.fd, "dev/vg0", 0755), 0);
		assert_int_equal(symlinkat("../sda", d->f.fd, "dev/vg0/lv"), 0);
		assert_int_equal(symlinkat("/dev/sda", d->f.fd, "dev/vg0/abs"), 0);
		assert_device(d->finder, "/dev/vg0/lv", DISK_DEVICE(253, 3));
		assert_device(d->finder, "/dev/vg0/abs", DISK_DEVICE(253, 3));
	}
}

/* Every user of the host may make links in /dev/shm: to others' devices, and to what hangs. */
static void what_users_make_below_dev_is_no_device(void **state)
{
	struct devices *d = *state;
	static const char *const names[] = { "shm", "mqueue", "hugepages" };
	bool node = mkdirat(d->f.fd, "dev", 0755) == 0 &&
		mknodat(d->f.fd, "dev/sda", S_IFBLK | 0600, makedev(253, 3)) == 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *dir = xasprintf("dev/%s", names[i]);
		_cleanup_free_ char *link = xasprintf("%s/mine", dir);
		_cleanup_free_ char *path = xasprintf("/%s", link);
		_cleanup_free_ char *twice = xasprintf("/dev//%s//mine", names[i]);

		(void)mkdirat(d->f.fd, dir, 0755);
		(void)symlinkat("../sda", d->f.fd, link);
		assert_no_device(d->finder, path, -EINVAL);
		assert_no_device(d->finder, twice, -EINVAL);
	}
	/* which is not what begins so */
	if (node) {
		assert_int_equal(symlinkat("sda", d->f.fd, "dev/shm0"), 0);
		assert_device(d->finder, "/dev/shm0", DISK_DEVICE(253, 3));
	}
}

static void what_is_not_counted_is_not_zero(void **state)
{
	struct devices *d = *state;
	struct host_disk disk = { 0 };

	assert_int_equal(disk_find(d->finder, "/dev/sda", &disk), 0);
	assert_true(disk.counts_flushes);
	assert_int_equal(disk_find(d->finder, "/dev/sda1", &disk), 0);
	assert_false(disk.counts_flushes);
	assert_int_equal(disk_find(d->finder, "/dev/vg0/data", &disk), 0);
	assert_false(disk.counts_flushes);
	fixture_add(&d->f, "sys/dev/block/8:0/queue/iostats", "0\n");
	assert_no_device(d->finder, "/dev/sda", -ENODATA);
	/* of a partition it is the disk's; here no link leads to that */
	fixture_add(&d->f, "sys/dev/block/queue/iostats", "0\n");
	assert_no_device(d->finder, "/dev/sda1", -ENODATA);
}

/* ---- VMs ---- */

#define DISK(type, source, target)                                                       \
	"<disk type='" type "' device='disk'><source " source "/><target dev='" target   \
	"'/></disk>"

static struct description *described(const char *disks)
{
	_cleanup_free_ char *xml = xasprintf("<domain type='kvm'><memory>2048</memory>"
					     "<devices>%s</devices></domain>",
		disks);
	struct description *d = description_new();

	assert_int_equal(domain_xml_parse(xml, "x", NULL, d), 0);
	return d;
}

static void only_whole_devices_are_of_the_host(void **state)
{
	(void)state;
	struct description *d = described(
		DISK("file", "file='/a.img'", "vda") DISK("block", "dev='/dev/sda'",
			"vdb") DISK("network", "protocol='rbd' name='p/i'", "vdc")
			DISK("volume", "pool='p' volume='v'", "vdd") DISK("file",
				"dev='/dev/sda'", "vde") "<disk type='block' "
							 "device='cdrom'><target "
							 "dev='sdx'/></disk>"
							 "<disk type='block' "
							 "device='lun'><source "
							 "dev='/dev/sda'/></disk>"
							 "<disk type='block'><source "
							 "dev='/dev/sda'><slices><slice "
							 "type='storage' offset='1' "
							 "size='2'/></slices></source></"
							 "disk>"
							 "<disk type='block'/><disk/>");

	assert_int_equal(d->n_disks, 10);
	for (size_t i = 0; i < d->n_disks; i++)
		assert_int_equal(d->disks[i].device != NULL, i == 1);
	assert_string_equal(d->disks[1].device, "/dev/sda");
	description_unref(d);
}

/* A VM of whose process the fixture has the files. */
struct vm {
	struct run *run;
	struct fast_vm *fv;
};

static void vm_init(struct vm *vm, const struct fixture *f, const struct plan *plan)
{
	struct qemu_proc *proc = NULL;

	vm->run = run_new(&ident, HYPERVISOR_QEMU);
	vm->fv = fast_vm_new(vm->run, NULL);
	assert_int_equal(qemu_proc_open(f->fd, &ident, plan->vm_reads, &proc), 0);
	fast_vm_hand_process(vm->fv, proc);
}

static void vm_done(struct vm *vm)
{
	fast_vm_free(vm->fv);
	run_unref(vm->run);
}

static struct spec_set *wanted(void)
{
	struct spec_set *specs = spec_set_new(8);

	specs->n = 0;
	want(specs, "node*", "hostdisk.*.node", METRIC_STRING, NULL);
	want(specs, "rd*", "hostdisk.*.rd.bytes", METRIC_UINT64, "KiB");
	want(specs, "fl*", "hostdisk.*.fl.reqs", METRIC_UINT64, NULL);
	want(specs, "dc*", "hostdisk.*.discard.reqs", METRIC_UINT64, NULL);
	want(specs, "first", "hostdisk.0.rd.reqs", METRIC_UINT64, NULL);
	want(specs, "second", "hostdisk.1.rd.reqs", METRIC_UINT64, NULL);
	return specs;
}

/* What is wanted, of which process and devices. */
struct sampling {
	struct devices host;
	struct disk_stats *stats;
	struct fixture process;
	struct spec_set *specs;
	struct plan *plan;
	struct vm_sample scratch;
};

static int set_up_sampling(void **state)
{
	struct sampling *s = xcalloc(1, sizeof(*s));

	devices_init(&s->host);
	s->stats = disk_stats_new(s->host.f.fd);
	add_process(&s->process);
	s->specs = wanted();
	s->plan = plan_of(s->specs);
	*state = s;
	return 0;
}

static int tear_down_sampling(void **state)
{
	struct sampling *s = *state;

	vm_sample_done(&s->scratch);
	plan_unref(s->plan);
	spec_set_unref(s->specs);
	fixture_done(&s->process);
	disk_stats_free(s->stats);
	devices_done(&s->host);
	free(s);
	return 0;
}

/* @stats: NULL: they cannot be read. */
static struct metric_list *sample(
	struct sampling *s, struct vm *vm, const struct disk_stats *stats)
{
	(void)fast_vm_take_in(vm->fv);
	struct metric_list *list =
		fast_vm_sample(vm->fv, s->plan, NULL, stats, &s->scratch);

	assert_non_null(list);
	return list;
}

static void assert_absent(const struct metric_list *list, const char *name)
{
	const struct metric *m = find_or_null(list, name);

	assert_true(!m || m->absent);
}

static void assert_unavailable(const struct metric_list *list, const char *name)
{
	const struct metric *m = find(list, name);

	assert_true(!m->available && !m->absent);
}

static void two_vms_show_the_device_that_they_share(void **state)
{
	struct sampling *s = *state;
	struct vm vms[2];

	assert_int_equal(
		s->plan->vm_reads, READS(HOSTDISKS)); /* and libvirt is not asked */
	assert_int_equal(plan_libvirt_reads(s->plan, 0), 0);
	struct description *d = described(DISK("file", "file='/a'", "vda") DISK("block",
		"dev='/dev/vg0/data'", "vdb") DISK("block", "dev='/dev/sda'", "vdc"));

	assert_int_equal(disk_stats_read(s->stats), 0);
	for (size_t i = 0; i < 2; i++) {
		vm_init(&vms[i], &s->process, s->plan);
		struct metric_list *list = sample(s, &vms[i], s->stats);

		/* as long as nobody has looked */
		assert_unavailable(list, "first");
		assert_null(find_or_null(list, "rd1"));
		metric_list_unref(list);
		fast_vm_hand_disks(vms[i].fv, fast_disks_new(s->host.finder, d));
		list = sample(s, &vms[i], s->stats);
		assert_absent(list, "first");
		assert_absent(list, "rd0");
		assert_u64(list, "second", 9);
		assert_u64(list, "rd1", 1); /* of 3 sectors */
		assert_string_equal(find(list, "node1")->value.s, "dm-3");
		assert_string_equal(metric_device(find(list, "node1")), "vdb");
		assert_absent(list, "fl1");
		assert_u64(list, "dc1", 12);
		assert_u64(list, "fl2", 16);
		assert_string_equal(find(list, "node2")->value.s, "sda");
		assert_string_equal(metric_device(find(list, "fl2")), "vdc");
		assert_string_equal(
			find(list, "fl2")->label->source, "hostdisk.2.fl.reqs");
		metric_list_unref(list);
	}
	/* one that cannot be read for a moment is unavailable */
	struct metric_list *list = sample(s, &vms[0], NULL);

	assert_unavailable(list, "second");
	assert_unavailable(list, "node2");
	metric_list_unref(list);
	for (size_t i = 0; i < 2; i++)
		vm_done(&vms[i]);
	description_unref(d);
}

/* What names it has another number now: that is found when it is looked up again. */
static void a_device_that_is_renumbered_is_found_again(void **state)
{
	struct sampling *s = *state;
	struct fixture *f = &s->host.f;
	struct disk_finder *finder = s->host.finder;
	struct vm vm;
	struct description *d = described(DISK("block", "dev='/dev/vg0/data'", "vda"));

	vm_init(&vm, &s->process, s->plan);
	struct fast_disks *before = fast_disks_new(finder, d);

	fast_vm_hand_disks(vm.fv, fast_disks_ref(before));
	assert_int_equal(disk_stats_read(s->stats), 0);
	struct metric_list *list = sample(s, &vm, s->stats);

	assert_u64(list, "first", 9);
	metric_list_unref(list);
	fixture_add(f, "proc/diskstats", "253 4 dm-4 12 2 3 4 5 6 7 8 9 10 11\n");
	assert_int_equal(
		renameat(f->fd, "run/udev/data/b253:3", f->fd, "run/udev/data/b253:4"),
		0);
	assert_int_equal(disk_stats_read(s->stats), 0);
	list = sample(s, &vm, s->stats);
	assert_unavailable(list, "first");
	metric_list_unref(list);
	struct fast_disks *same = fast_disks_new(finder, d);

	assert_true(fast_disks_equal(before, same));
	fast_disks_unref(same);
	disk_finder_forget(finder);
	struct fast_disks *after = fast_disks_new(finder, d);

	assert_false(fast_disks_equal(before, after));
	assert_true(fast_disks_may_change(after));
	fast_vm_hand_disks(vm.fv, after);
	list = sample(s, &vm, s->stats);
	assert_u64(list, "first", 9); /* it goes on from there */
	assert_string_equal(find(list, "node0")->value.s, "dm-4");
	assert_absent(list, "dc0"); /* of that kernel */
	metric_list_unref(list);
	fixture_add(f, "proc/diskstats", "253 4 dm-4 15 2 3 4 5 6 7 8 9 10 11\n");
	assert_int_equal(disk_stats_read(s->stats), 0);
	list = sample(s, &vm, s->stats);
	assert_u64(list, "first", 12);
	metric_list_unref(list);
	/* and then it is gone */
	fixture_add(f, "proc/diskstats", GOOD);
	disk_finder_forget(finder);
	fast_vm_hand_disks(vm.fv, fast_disks_new(finder, d));
	assert_int_equal(disk_stats_read(s->stats), 0);
	list = sample(s, &vm, s->stats);
	assert_absent(list, "first");
	metric_list_unref(list);
	fast_disks_unref(before);
	vm_done(&vm);
	description_unref(d);
}

/* ---- the whole lane ---- */

static bool shows(struct tree *tree, const char *name, uint64_t value)
{
	struct view *view = tree_view(tree);
	bool found = false;

	for (size_t i = 0; view->n_vms && i < view->vms[0]->n; i++) {
		const struct metric *m = snapshot_metric(view->vms[0], i);

		found |= !strcmp(m->label->name, name) && m->available &&
			m->value.u == value;
	}
	view_unref(view);
	return found;
}

static void wait_for(struct tree *tree, const char *name, uint64_t value)
{
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while (!shows(tree, name, value)) {
		if (clock_mono_ns() > deadline)
			fail_msg("%s does not become %llu", name,
				(unsigned long long)value);
		poll(NULL, 0, 2);
	}
}

static void disks_are_plugged_while_the_vm_runs(void **state)
{
	(void)state;
	struct spec_set *none = spec_set_new(0), *specs = wanted();
	_cleanup_plan_ struct plan *plan = plan_of(none), *more = plan_after(plan, specs);
	struct fixture f;
	struct stage s;

	add_process(&f);
	fixture_add(&f, "sys/class/block/sda/dev", "8:0\n");
	fixture_add(&f, "proc/diskstats", GOOD);
	stage_init(&s, plan);
	const struct sampler_params params = {
		.board = s.board, .registry = s.registry, .root_fd = f.fd
	};
	struct sampler *sampler = sampler_new(&params);

	assert_int_equal(sampler_start(sampler, NULL, NULL), 0);
	struct run *run = registry_report(
		s.registry, registry_order(s.registry), &ident, HYPERVISOR_QEMU);

	registry_describe(s.registry, run, described(DISK("file", "file='/a'", "vda")));
	board_set_plan(s.board, more);
	registry_describe(s.registry, run,
		described(DISK("file", "file='/a'", "vda")
				DISK("block", "dev='/dev/sda'", "vdb")));
	wait_for(s.tree, "second", 1);
	fixture_add(&f, "proc/diskstats", "8 0 sda 7 2 3 4 5 6 7 8 9 10 11\n");
	wait_for(s.tree, "second", 7);
	assert_false(shows(s.tree, "first", 7));
	registry_describe(
		s.registry, run, described(DISK("block", "dev='/dev/sda'", "vdb")));
	wait_for(s.tree, "first", 7);
	assert_false(shows(s.tree, "second", 7));
	sampler_stop(sampler);
	sampler_free(sampler);
	run_unref(run);
	stage_done(&s);
	spec_set_unref(none);
	spec_set_unref(specs);
	fixture_done(&f);
}

int main(void)
{
#define WITH_DEVICES(name)                                                               \
	cmocka_unit_test_setup_teardown(name, set_up_devices, tear_down_devices)
#define SAMPLING(name)                                                                   \
	cmocka_unit_test_setup_teardown(name, set_up_sampling, tear_down_sampling)
	const struct CMUnitTest tests[] = {
		WITH_DEVICES(paths_are_the_kernels_names_or_udevs),
		WITH_DEVICES(hostile_paths_are_nothing),
		WITH_DEVICES(udevs_files_may_be_anything),
		WITH_DEVICES(what_is_below_dev_counts),
		WITH_DEVICES(what_users_make_below_dev_is_no_device),
		WITH_DEVICES(what_is_not_counted_is_not_zero),
		cmocka_unit_test(only_whole_devices_are_of_the_host),
		SAMPLING(two_vms_show_the_device_that_they_share),
		SAMPLING(a_device_that_is_renumbered_is_found_again),
		cmocka_unit_test(disks_are_plugged_while_the_vm_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
