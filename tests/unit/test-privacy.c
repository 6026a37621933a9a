/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a VM is called and what it does is for itself alone, and for the host as long as it runs:
 * thousands of generations in which VMs come, go and run again under another name, and processes
 * end and leave to the next one what they have.
 *
 * Each uuid has a number, and each run has one that stands in its name and in all its figures;
 * both stand behind marks that nothing else has.  Whatever is served is searched for marks.
 */
#include "handed-on.h"
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/blame.h"
#include "core/blob.h"
#include "fs/content.h"
#include "handover/handover.h"
#include "mdisk/disks.h"
#include "model/board.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/log.h"
#include "util/strbuf.h"
#include "virtio/reply.h"

#define GENERATIONS ROUNDS(3000u)
#define GENERATIONS_MAX (4u * GENERATIONS)
#define DIGITS 6 /* of a number, behind a mark */
#define N_VMS 8u
#define N_FILES 32u /* that are read again when their VM may be gone */
#define FIRST_PID 1000

static const char mark_of_uuid[] = "907708", mark_of_run[] = "907709";

struct vm {
	bool runs;          /* or did */
	unsigned uuid, run; /* their numbers */
};

/* Who runs at a moment. */
struct moment {
	struct vm vms[N_VMS];
};

/* Of a VM, or a document. */
struct file {
	uint64_t id;
	unsigned uuid; /* 0: of all */
};

struct privacy {
	unsigned seed, last; /* the last number that was given */
	struct moment now;
	unsigned uuids[GENERATIONS_MAX]; /* of runs */
	struct file files[N_FILES];
	struct moment published[GENERATIONS_MAX]; /* by generation */
	unsigned n_seen;                          /* marks that were found */

	/* of one process after the other */
	int memory;
	struct handover *handover;
	struct arena *arena;
	struct plan *plan;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct disks *disks;
	struct content *content;
};

static unsigned below(struct privacy *p, unsigned n)
{
	return (unsigned)rand_r(&p->seed) % n;
}

/* Each VM that comes or goes is a line of the log. */
void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...);
void __wrap_log_write(
	enum log_level level, const struct log_about *about, const char *fmt, ...)
{
	(void)level;
	(void)about;
	(void)fmt;
}

/* ---- who is who ---- */

/* The last six bytes are the mark and the number, as they are in its text. */
static struct uuid uuid_of(unsigned number)
{
	struct uuid uuid = { { [6] = 0x40, [8] = 0x80 } };
	char text[13];

	snprintf(text, sizeof(text), "%s%0*u", mark_of_uuid, DIGITS, number);
	for (size_t i = 0; i < 6; i++)
		uuid.b[10 + i] =
			(uint8_t)((text[2 * i] - '0') << 4 | (text[2 * i + 1] - '0'));
	return uuid;
}

static void name_of(const struct vm *vm, char ret[32])
{
	snprintf(ret, 32, "n%s%0*u", mark_of_run, DIGITS, vm->run);
}

/* ---- marks ---- */

/* What may be seen. */
struct sight {
	const struct vm *one;     /* of a run, or: */
	const struct moment *all; /* of all that ran at a moment, or: */
	unsigned uuid;            /* of all runs that it had */
};

static bool is_of(const struct vm *vm, bool is_run, unsigned number)
{
	return vm->runs && number == (is_run ? vm->run : vm->uuid);
}

static bool may_be_seen(
	const struct privacy *p, const struct sight *sight, bool is_run, unsigned number)
{
	if (sight->one)
		return is_of(sight->one, is_run, number);
	if (sight->uuid)
		return number < GENERATIONS_MAX &&
			(is_run ? p->uuids[number] : number) == sight->uuid;
	for (size_t i = 0; sight->all && i < N_VMS; i++)
		if (is_of(&sight->all->vms[i], is_run, number))
			return true;
	return false;
}

static void search(struct privacy *p, const char *what, const struct sight *sight,
	const char *data, size_t size, bool is_run)
{
	const char *mark = is_run ? mark_of_run : mark_of_uuid, *end = data + size;
	const size_t len = strlen(mark);

	while (data && (data = memmem(data, (size_t)(end - data), mark, len))) {
		char digits[DIGITS + 1] = "";

		data += len;
		/* of one that was cut off the beginning is another's, too */
		for (size_t i = 0; i < DIGITS && data + i < end; i++)
			digits[i] = data[i];
		unsigned number = (unsigned)strtoul(digits, NULL, 10);

		if (strlen(digits) == DIGITS && !may_be_seen(p, sight, is_run, number))
			fail_msg("%s at generation %llu shows %s %u", what,
				(unsigned long long)tree_generation(p->tree),
				is_run ? "run" : "uuid", number);
		p->n_seen++;
	}
}

static void inspect(struct privacy *p, const char *what, const struct sight *sight,
	const void *data, size_t size)
{
	search(p, what, sight, data, size, false);
	search(p, what, sight, data, size, true);
}

/* ---- one process ---- */

/* What the host knows of processes. */
static bool still_runs(void *ctx, int pid, uint64_t start_ticks)
{
	const struct privacy *p = ctx;

	(void)start_ticks;
	for (size_t i = 0; i < N_VMS; i++) {
		const struct vm *vm = &p->now.vms[i];

		if (vm->runs && FIRST_PID + (int)vm->run == pid)
			return true;
	}
	return false;
}

/* Each publication shows who runs now. */
static void note_published(struct privacy *p)
{
	uint64_t generation = tree_generation(p->tree);

	assert_true(generation < GENERATIONS_MAX);
	p->published[generation] = p->now;
}

static void *begin_checkpoint(void *ctx, size_t *ret_size)
{
	struct privacy *p = ctx;

	return halves_begin(&p->handover->checkpoint, ret_size);
}

static void commit_checkpoint(void *ctx, size_t size)
{
	struct privacy *p = ctx;

	halves_commit(&p->handover->checkpoint, size);
}

static void say_nothing(void *ctx, struct strbuf *out)
{
	(void)ctx;
	(void)out;
}

static void process_start(struct privacy *p)
{
	static const struct content_config config = { .nodes = { .shared_disk = true,
							      .disks = true },
		.mode = 0444,
		.disk_mode = 0444 };
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct board_inheritance from = { .runs = still_runs, .ctx = p };

	p->handover = handover_map(p->memory, &why);
	assert_non_null(p->handover);
	p->arena = arena_new(&p->handover->arena);
	p->tree = tree_new();
	p->registry = registry_new();
	p->board = board_new(p->tree, p->registry, p->plan);
	board_follow(p->board, &p->handover->generation);
	board_set_sink(
		p->board, (struct board_sink){ begin_checkpoint, commit_checkpoint, p });
	from.bytes = halves_get(&p->handover->checkpoint, &from.size);
	if (from.bytes)
		assert_int_equal(board_inherit(p->board, &from), 0);
	note_published(p);
	p->disks = disks_new(DISK_BLOCK_BYTES);
	disks_inherit(p->disks, p->handover, p->arena, clock_mono_ns());
	p->content = content_new(p->tree, p->disks, &config, say_nothing, p);
	content_inherit(p->content, p->handover, p->arena);
}

static void process_end(struct privacy *p)
{
	content_free(p->content);
	disks_free(p->disks);
	board_free(p->board);
	registry_free(p->registry);
	tree_free(p->tree);
	arena_free(p->arena);
	handover_unmap(p->handover);
}

/* ---- VMs ---- */

/* A run of a uuid that ran before, or of a new one. */
static void start_vm(struct privacy *p, struct vm *vm)
{
	vm->runs = true;
	vm->run = ++p->last;
	if (!vm->uuid || below(p, 4) == 0)
		vm->uuid = p->last;
	assert_true(vm->run < GENERATIONS_MAX);
	p->uuids[vm->run] = vm->uuid;
}

/* Another run of the same uuid may follow at once. */
static void change_vm(struct privacy *p, struct vm *vm)
{
	bool ran = vm->runs;

	vm->runs = false;
	if (!ran || below(p, 2))
		start_vm(p, vm);
}

/* libvirt's ids begin again when that does. */
static struct vm_ident ident_of(const struct vm *vm, char name[32])
{
	name_of(vm, name);
	return (struct vm_ident){
		.uuid = uuid_of(vm->uuid), .id = 1 + (int)(vm->run % 5), .name = name
	};
}

/* Of one without it nobody would know whether it goes on when the next process begins. */
static void find_processes(struct privacy *p)
{
	_cleanup_roster_ struct roster *roster = registry_roster(p->registry);

	for (size_t i = 0; i < N_VMS; i++) {
		const struct vm *vm = &p->now.vms[i];
		struct uuid uuid = uuid_of(vm->uuid);
		struct run *run = vm->runs ? roster_find(roster, &uuid) : NULL;

		if (run && !atomic_load(&run->pid))
			run_set_process(run, FIRST_PID + (int)vm->run, 1, -1);
	}
}

static void report(struct privacy *p, const struct vm *before, const struct vm *now)
{
	const struct uuid uuid = uuid_of(before->uuid);
	char name[32];
	struct vm_ident ident = ident_of(now, name);

	if (before->runs)
		registry_report_gone(p->registry, registry_order(p->registry), &uuid);
	note_published(p);
	if (!now->runs)
		return;
	_cleanup_run_ struct run *run = registry_report(
		p->registry, registry_order(p->registry), &ident, HYPERVISOR_QEMU);

	assert_non_null(run);
	note_published(p);
}

/* The list that a process asks for when it begins. */
static void report_all(struct privacy *p)
{
	char names[N_VMS][32];
	struct vm_ident idents[N_VMS];
	size_t n = 0;

	for (size_t i = 0; i < N_VMS; i++)
		if (p->now.vms[i].runs) {
			idents[n] = ident_of(&p->now.vms[i], names[n]);
			n++;
		}
	registry_report_all(p->registry, registry_list_order(p->registry), idents, n,
		HYPERVISOR_QEMU);
	note_published(p);
}

/* Of another length each time. */
static struct metric_list *text_list(struct privacy *p, const struct vm *vm)
{
	struct metric_list_builder *b = metric_list_builder_new(p->plan->specs, fake_ns);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (unsigned n = below(p, 20) * below(p, 20); n > 0; n--)
		strbuf_addf(&text, "%s%0*u ", mark_of_run, DIGITS, vm->run);
	struct value v = value_string(strbuf_str(&text));

	metric_list_builder_add_named(b, XML, "x.s", NULL, METRIC_STRING, &v);
	return metric_list_builder_finish(b);
}

static struct metric_list *device_list(struct privacy *p, const struct vm *vm)
{
	struct metric_list_builder *b = metric_list_builder_new(p->plan->specs, fake_ns);
	struct value v = value_u64(below(p, 1000));
	char name[32];

	v.type = METRIC_UINT32;
	name_of(vm, name);
	metric_list_builder_set_device(b, name);
	metric_list_builder_add(b, RD_BYTES, "0", &v);
	return metric_list_builder_finish(b);
}

static void sample(struct privacy *p, const struct vm *vm)
{
	_cleanup_roster_ struct roster *roster = registry_roster(p->registry);
	struct uuid uuid = uuid_of(vm->uuid);
	struct run *run = roster_find(roster, &uuid);
	char figure[16];

	assert_non_null(run);
	snprintf(figure, sizeof(figure), "%s%0*u", mark_of_run, DIGITS, vm->run);
	board_update(p->board, run, LANE_FAST,
		fast_list_of(p->plan, strtoull(figure, NULL, 10)));
	if (below(p, 2))
		board_update(p->board, run, LANE_LIBVIRT, device_list(p, vm));
	if (below(p, 2))
		board_update(p->board, run, LANE_ACTION_0 + XML, text_list(p, vm));
}

static int compare_vms(const void *a, const void *b)
{
	const struct blame_vm *x = a, *y = b;

	return uuid_compare(&x->uuid, &y->uuid);
}

/* All waited for all, also for those that are gone. */
static struct blame *blame_all(struct privacy *p)
{
	struct blame *b = blame_new(N_VMS, N_VMS * N_VMS, N_VMS * 32);
	const size_t n = N_VMS;

	b->n_vms = 0;
	for (size_t i = 0; i < n; i++) {
		const struct vm *vm = &p->now.vms[i];

		if (!vm->uuid)
			continue;
		b->vms[b->n_vms++] = (struct blame_vm){ .uuid = uuid_of(vm->uuid),
			.name = b->names + 32 * i,
			.runs = vm->runs };
		name_of(vm, b->names + 32 * i);
	}
	qsort(b->vms, b->n_vms, sizeof(*b->vms), compare_vms);
	b->n_pairs = b->n_vms ? n * n : 0;
	for (size_t i = 0; i < b->n_pairs; i++)
		b->pairs[i] = (struct blame_pair){ .victim = (uint32_t)(i / n % b->n_vms),
			.by = (uint32_t)(i % n % b->n_vms),
			.time = { .all_ns = 1 + (uint64_t)below(p, 1u << 30) } };
	return b;
}

static void sample_some(struct privacy *p)
{
	for (size_t i = 0; i < N_VMS; i++)
		if (p->now.vms[i].runs && below(p, 2))
			sample(p, &p->now.vms[i]);
	if (below(p, 2))
		board_update(
			p->board, NULL, LANE_HOST, host_list(p->plan, below(p, 100)));
	find_processes(p);
	if (below(p, 2))
		board_set_blame(p->board, below(p, 8) ? blame_all(p) : NULL);
	board_publish(p->board);
	note_published(p);
}

/* ---- who reads ---- */

/* Return: the generation that was read; 0: there is no such file now. */
static uint64_t read_file(
	struct privacy *p, const char *what, uint64_t id, const struct sight *sight)
{
	struct content_bytes bytes;
	bool direct = below(p, 2);
	uint64_t offset = below(p, 2) ? 0 : below(p, 4000);
	pid_t reader = 1 + (pid_t)below(p, 3);

	if (content_read(
		    p->content, id, direct, reader, offset, DISK_BLOCK_BYTES, &bytes) < 0)
		return 0;
	uint64_t generation = bytes.blob->generation;
	const struct sight all = { .all = &p->published[generation] };

	inspect(p, what, sight ? sight : &all, bytes.data, bytes.size);
	blob_unref(bytes.blob);
	return generation;
}

static uint64_t look_up(struct privacy *p, uint64_t dir, const char *name)
{
	struct content_answer answer;
	int r = content_lookup(p->content, dir, name, 1 + (pid_t)below(p, 3), &answer);

	return r < 0 ? 0 : answer.id;
}

static void note_file(struct privacy *p, uint64_t id, unsigned uuid)
{
	p->files[below(p, N_FILES)] = (struct file){ id, uuid };
}

static void read_disk(struct privacy *p, const struct vm *vm)
{
	const struct sight own = { .one = vm };
	const struct uuid uuid = uuid_of(vm->uuid);
	char text[UUID_TEXT_LEN + 1], name[UUID_TEXT_LEN + 5];

	uuid_format(&uuid, text);
	snprintf(name, sizeof(name), "%s.img", text);
	uint64_t id = look_up(p, NODE_DISKS, name);

	assert_true(id);
	assert_true(read_file(p, "a disk", id, &own));
	if (below(p, 2))
		read_file(p, "a disk", id, &own);
}

static void read_directory(struct privacy *p, const struct vm *vm)
{
	const struct sight own = { .one = vm };
	char name[32];
	struct node_entry *entries = NULL;
	struct content_answer *answers = NULL;
	size_t n = 0;

	name_of(vm, name);
	uint64_t dir = look_up(p, NODE_VMS, name);

	assert_true(vm->runs || !dir);
	if (!dir ||
		content_list(p->content, dir, 0, 100, true, &entries, &answers, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		uint64_t id = look_up(p, dir, entries[i].name);

		if (entries[i].offset <= NODE_OFFSET_DOTS || !id)
			continue;
		inspect(p, "a name", &own, entries[i].name, strlen(entries[i].name));
		read_file(p, "a file", id, &own);
		note_file(p, id, vm->uuid);
	}
	node_entries_free(entries, n);
	free(answers);
}

static void list_vms(struct privacy *p, uint64_t dir)
{
	const struct sight now = { .all = &p->now };
	struct node_entry *entries = NULL;
	struct content_answer *answers = NULL;
	size_t n = 0;

	assert_int_equal(
		content_list(p->content, dir, 0, 100, false, &entries, &answers, &n), 0);
	for (size_t i = 0; i < n; i++)
		inspect(p, "a listing", &now, entries[i].name, strlen(entries[i].name));
	node_entries_free(entries, n);
	free(answers);
}

/*
 * What was looked up some time ago, perhaps in another process.  As long as the kernel may have a
 * value, a host's reader gets the rest of it, be it of the same VM's last run.
 */
static void read_again(struct privacy *p)
{
	for (size_t i = 0; i < N_FILES; i++) {
		const struct file *file = &p->files[i];
		const struct sight own = { .uuid = file->uuid };

		if (file->id && below(p, 4) == 0)
			read_file(p, "a kept file", file->id, file->uuid ? &own : NULL);
	}
}

static void read_documents(struct privacy *p)
{
	static const char *const names[] = { "metrics.xml", "metrics.prom" };
	uint64_t id = look_up(p, NODE_ROOT, names[below(p, 2)]);

	assert_true(id);
	read_file(p, "a document", id, NULL);
	note_file(p, id, 0);
	read_file(p, "the shared disk", NODE_SHARED_DISK, NULL);
}

static void ask_channel(struct privacy *p, const struct vm *vm)
{
	_cleanup_view_ struct view *view = tree_view(p->tree);
	const struct uuid uuid = uuid_of(vm->uuid);
	const struct sight own = { .one = vm };
	struct reply reply = { 0 };
	int ends[2];
	static char text[LIMIT_UNFETCHED_BYTES];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	reply_set_document(&reply, view, &uuid);
	while (reply.size) {
		assert_int_equal(reply_send(&reply, NULL, ends[0]), 0);
		ssize_t n = read(ends[1], text, sizeof(text));

		assert_true(n > 0);
		inspect(p, "a reply", &own, text, (size_t)n);
	}
	close(ends[0]);
	close(ends[1]);
}

static void take_back(struct privacy *p)
{
	struct armed_change *changes = NULL;
	size_t n = content_changes(p->content, &changes);

	for (size_t i = 0; i < n; i++)
		if (changes[i].node)
			content_taken(p->content, changes[i].ino, below(p, 2));
	armed_changes_free(changes, n);
}

static void read_all(struct privacy *p)
{
	for (size_t i = 0; i < N_VMS; i++) {
		const struct vm *vm = &p->now.vms[i];

		if (!vm->uuid)
			continue;
		if (below(p, 2))
			read_disk(p, vm);
		if (below(p, 4) == 0)
			ask_channel(p, vm);
		if (below(p, 8) == 0)
			read_directory(p, vm);
	}
	list_vms(p, NODE_VMS);
	read_documents(p);
	read_again(p);
}

/* What is left to the next process is of those who are shown, and of nobody who was. */
static void inspect_checkpoint(struct privacy *p)
{
	const struct sight now = { .all = &p->now };
	size_t n = 0;
	const void *bytes = halves_get(&p->handover->checkpoint, &n);

	assert_non_null(bytes);
	inspect(p, "the checkpoint", &now, bytes, n);
}

/* ---- all of it ---- */

/* Between two processes VMs change, too; the next finds out by and by. */
static void replace_process(struct privacy *p)
{
	process_end(p);
	for (size_t i = 0; i < N_VMS; i++)
		if (below(p, 6) == 0)
			change_vm(p, &p->now.vms[i]);
	fake_ns += (int64_t)below(p, 100) * NS_PER_MS;
	process_start(p);
	if (below(p, 2))
		read_all(p);
	report_all(p);
}

static void step(struct privacy *p)
{
	struct vm *vm = &p->now.vms[below(p, N_VMS)], before = *vm;

	fake_ns += (int64_t)below(p, 500) * NS_PER_MS;
	if (below(p, 12) == 0) {
		replace_process(p);
	} else if (below(p, 3) == 0) {
		change_vm(p, vm);
		report(p, &before, vm);
	}
	sample_some(p);
	inspect_checkpoint(p);
	take_back(p);
	read_all(p);
}

static void nothing_of_a_vm_is_seen_by_another(void **state)
{
	struct privacy *p = xcalloc(1, sizeof(*p));

	(void)state;
	p->seed = 1;
	p->memory = handover_create();
	p->plan = checkpoint_plan();
	process_start(p);
	for (unsigned i = 0; i < GENERATIONS || tree_generation(p->tree) < GENERATIONS;
		i++)
		step(p);
	/* there was something to be seen */
	assert_true(p->n_seen > 50 * GENERATIONS);
	assert_true(p->last > GENERATIONS / 10);
	/* and nothing is kept for ever */
	struct arena_bytes bytes;
	unsigned n_kept = 0;

	for (uint32_t at = 0; arena_next(p->arena, &at, &bytes);)
		n_kept++;
	assert_true(n_kept < 500);
	process_end(p);
	plan_unref(p->plan);
	close(p->memory);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_of_a_vm_is_seen_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
