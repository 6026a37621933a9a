/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * model, core: what is published and written with less work, as little has changed, is what would be
 * made from nothing: snapshots that follow others, and checkpoints that repeat the last one.
 */
#include "plans.h"
#include "samples.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/histogram.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "model/board.h"
#include "model/registry.h"
#include "model/run.h"
#include "util/cleanup.h"
#include "util/parse.h"

#define VMS 5u
#define BYTES (64u << 10)
#define STEPS 4000

/* Slots of specs_of(), and one more if there is more. */
enum { TIME, DELAYS, WAITS, NAMES, READS_, AGE, STALE, GENERATION, UNAVAILABLE, TEXT };

static struct spec_set *specs_of(bool more)
{
	struct spec_set *specs = spec_set_new(16);

	specs->n = 0;
	if (more)
		want(specs, "vcpus", "vcpu.current", METRIC_UINT32, NULL);
	want(specs, "time", "cpu.time", METRIC_UINT64, NULL);
	want(specs, "delay*", "vcpu.*.delay", METRIC_UINT64, NULL);
	want(specs, "waits", "delay.histogram", METRIC_HISTOGRAM, NULL);
	want(specs, "block.*.name", "block.*.name", METRIC_STRING, NULL);
	want(specs, "block.*.rd.reqs", "block.*.rd.reqs", METRIC_UINT64, NULL);
	want(specs, "age", "sample.slow.age", METRIC_REAL64, NULL);
	want(specs, "stale", "sample.stale", METRIC_UINT32, NULL);
	want(specs, "generation", "sample.generation", METRIC_UINT64, NULL);
	want(specs, "unavailable", "sample.unavailable", METRIC_STRING, NULL);
	/* about the sample, but a text */
	want(specs, "age as text", "sample.slow.age", METRIC_STRING, NULL);
	return specs;
}

struct world {
	struct spec_set *specs;
	uint32_t more; /* slots before the first */
	struct plan *plan;
	struct tree *tree;
	struct registry *registry;
	struct board *board;
	struct run *runs[VMS]; /* NULL: it does not run */
	int64_t now;
	uint64_t random;
	char halves[2][BYTES];
	unsigned half; /* which was written last */
	size_t room, written;
	unsigned n_followed; /* snapshots that were made from the last ones */
};

static unsigned one_of(struct world *w, unsigned n)
{
	w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(w->random >> 33) % n;
}

static void *begin(void *ctx, size_t *ret_size)
{
	struct world *w = ctx;

	*ret_size = w->room;
	w->written = 0;
	w->half = !w->half;
	/* whoever repeats what is not there any more is seen */
	memset(w->halves[w->half], 0xa5, BYTES);
	return w->halves[w->half];
}

static void commit(void *ctx, size_t size)
{
	struct world *w = ctx;

	w->written = size;
}

static void world_init(struct world *w, uint64_t seed)
{
	*w = (struct world){ .specs = specs_of(false),
		.tree = tree_new(),
		.registry = registry_new(),
		.now = NS_PER_S,
		.random = seed,
		.room = BYTES };
	w->plan = plan_of(w->specs);
	w->board = board_new(w->tree, w->registry, w->plan);
	board_set_sink(w->board, (struct board_sink){ begin, commit, w });
}

static void world_done(struct world *w)
{
	for (size_t i = 0; i < VMS; i++)
		run_unref(w->runs[i]);
	board_free(w->board);
	registry_free(w->registry);
	tree_free(w->tree);
	plan_unref(w->plan);
	spec_set_unref(w->specs);
}

/* ---- what happens ---- */

static void appear(struct world *w, unsigned i)
{
	char name[16];
	struct vm_ident vm = { .uuid = { { (uint8_t)(i + 1) } }, .id = (int)i + 1 };

	snprintf(name, sizeof(name), "vm%u", i);
	vm.name = name;
	w->runs[i] = registry_report(
		w->registry, registry_order(w->registry), &vm, HYPERVISOR_QEMU);
	assert_non_null(w->runs[i]);
}

static void disappear(struct world *w, unsigned i)
{
	registry_report_gone(
		w->registry, registry_order(w->registry), &w->runs[i]->ident.uuid);
	run_unref(TAKE_PTR(w->runs[i]));
}

/* Few values, so that many stay what they are. */
static void add_some(struct world *w, struct metric_list_builder *b, uint32_t slot,
	const char *index, unsigned n)
{
	struct value v = value_u64(one_of(w, n));

	if (one_of(w, 8) == 0)
		metric_list_builder_add(b, slot, index, NULL);
	else
		metric_list_builder_add_source(b, slot, index, &v);
}

static void sample_fast(struct world *w, struct run *run)
{
	struct metric_list_builder *b = metric_list_builder_new(w->specs, w->now);
	struct histogram h = { .kind = HISTOGRAM_WAITS, .counts = { one_of(w, 2) } };
	struct value v = value_histogram(&h);

	add_some(w, b, w->more + TIME, NULL, 3);
	if (one_of(w, 8))
		add_some(w, b, w->more + DELAYS, "0", 3);
	else
		metric_list_builder_add_absent(b, w->more + DELAYS);
	if (one_of(w, 8) == 0)
		add_some(w, b, w->more + DELAYS, "1", 3);
	metric_list_builder_add(b, w->more + WAITS, NULL, &v);
	board_update(w->board, run, LANE_FAST, metric_list_builder_finish(b));
}

static void sample_slow(struct world *w, struct run *run)
{
	struct metric_list_builder *b = metric_list_builder_new(w->specs, w->now);
	struct value name = value_string(one_of(w, 4) ? "vda" : "sda");

	metric_list_builder_set_device(b, name.s);
	metric_list_builder_add(b, w->more + NAMES, "0", &name);
	add_some(w, b, w->more + READS_, "0", 4);
	/* sometimes what the other lane tells, too */
	if (one_of(w, 8) == 0)
		add_some(w, b, w->more + TIME, NULL, 3);
	board_update(w->board, run, LANE_LIBVIRT, metric_list_builder_finish(b));
}

static void sample_about(struct world *w, struct run *run)
{
	struct metric_list_builder *b = metric_list_builder_new(w->specs, w->now);
	struct value age = value_real(one_of(w, 100) / 7.0),
		     text = value_string(one_of(w, 2) ? "7" : "8");

	if (one_of(w, 16) == 0)
		metric_list_builder_add_absent(b, w->more + AGE);
	else
		metric_list_builder_add(b, w->more + AGE, NULL, &age);
	add_some(w, b, w->more + STALE, NULL, 2);
	if (one_of(w, 3) == 0)
		metric_list_builder_add(b, w->more + TEXT, NULL, &text);
	board_update(w->board, run, LANE_ABOUT, metric_list_builder_finish(b));
}

static void configure(struct world *w)
{
	struct plan *old = w->plan;

	w->more = one_of(w, 2);
	struct spec_set *specs = specs_of(w->more);

	w->plan = plan_after(old, specs);
	spec_set_unref(w->specs);
	w->specs = specs;
	board_set_plan(w->board, w->plan);
	plan_unref(old);
}

static void happen(struct world *w)
{
	unsigned i = one_of(w, VMS), what = one_of(w, 64);
	struct run *run = w->runs[i];

	w->now += NS_PER_MS;
	if (what == 0)
		configure(w);
	else if (what == 1)
		w->room = one_of(w, 4) ? BYTES : one_of(w, 3000);
	else if (!run)
		appear(w, i);
	else if (what == 2)
		disappear(w, i);
	else if (what < 12)
		sample_fast(w, run);
	else if (what < 20)
		sample_slow(w, run);
	else if (what < 44)
		sample_about(w, run);
	else if (what < 60)
		(void)board_keep(w->board, run, LANE_FAST, w->now);
	else if (what == 60)
		atomic_store(&run->ended_mono_ns, one_of(w, 2));
	else
		atomic_store(&run->slow_mono_ns, w->now);
}

/* ---- what must be so ---- */

static void assert_same_place(const struct metric *a, const struct metric *b)
{
	if (a->label->spec->entry->collector != COLLECTOR_SNAPSHOT) {
		assert_ptr_equal(a, b);
		return;
	}
	assert_ptr_equal(a->label, b->label);
	assert_int_equal(a->available, b->available);
	assert_int_equal(a->value.type, b->value.type);
	if (a->value.type == METRIC_STRING)
		assert_string_equal(a->value.s, b->value.s);
	else
		assert_int_equal(a->value.u, b->value.u);
}

static void assert_as_new(const struct snapshot *s)
{
	struct snapshot *fresh = snapshot_new(s->is_host ? NULL : &s->vm, s->generation,
		s->lists, s->n_lists - s->tells_of_itself, s->updated_mono_ns);

	assert_int_equal(s->n, fresh->n);
	for (size_t i = 0; i < s->n; i++)
		assert_same_place(snapshot_metric(s, i), snapshot_metric(fresh, i));
	assert_int_equal(s->n_histograms, fresh->n_histograms);
	for (size_t i = 0; i < s->n_histograms; i++)
		assert_ptr_equal(snapshot_histogram(s, i), snapshot_histogram(fresh, i));
	assert_int_equal(s->shape, fresh->shape);
	assert_int_equal(s->time_ns, fresh->time_ns);
	assert_int_equal(s->key, fresh->key);
	assert_int_equal(s->name_hash, fresh->name_hash);
	assert_int_equal(s->collected, fresh->collected);
	assert_int_equal(s->tells_of_itself, fresh->tells_of_itself);
	assert_string_equal(s->uuid_text, fresh->uuid_text);
	if (!s->is_host)
		assert_string_equal(s->vm.name, fresh->vm.name);
	snapshot_unref(fresh);
}

static void assert_all_as_new(struct world *w, const struct view *before)
{
	_cleanup_view_ struct view *view = tree_view(w->tree);
	char *bytes = xcalloc(1, BYTES);
	size_t needed = 0;
	size_t n = board_checkpoint(w->board, bytes, w->room, &needed);

	for (size_t i = 0; i < view->n_vms; i++) {
		const struct snapshot *s = view->vms[i],
				      *old = view_find_key(before, s->key);

		assert_as_new(s);
		w->n_followed += old && s != old && s->places == old->places;
	}
	assert_as_new(view->host);
	assert_int_equal(w->written, n);
	assert_memory_equal(w->halves[w->half], bytes, n);
	free(bytes);
}

static void what_is_made_with_less_work_is_the_same(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct world *w = xcalloc(1, sizeof(*w));

		world_init(w, seed);
		for (unsigned i = 0; i < STEPS; i++) {
			_cleanup_view_ struct view *before = tree_view(w->tree);

			for (unsigned k = one_of(w, 4); k; k--)
				happen(w);
			board_publish(w->board);
			assert_all_as_new(w, before);
		}
		/* else nothing was tried */
		assert_in_range(w->n_followed, STEPS / 8, 10 * STEPS);
		world_done(w);
		free(w);
	}
}

static void what_is_not_alike_is_made_anew(void **state)
{
	(void)state;
	static const struct vm_ident vm = { .uuid = { { 1 } }, .id = 1, .name = "a" };
	struct vm_ident other = vm;
	struct world *w = xcalloc(1, sizeof(*w));
	struct metric_list_builder *b[2];
	struct value v = value_u64(7);

	world_init(w, 1);
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		b[i] = metric_list_builder_new(w->specs, w->now);
	metric_list_builder_add_source(b[0], TIME, NULL, &v);
	metric_list_builder_add_source(b[1], READS_, "0", &v);
	struct metric_list *lists[] = { metric_list_builder_finish(b[0]), NULL,
		metric_list_builder_finish(b[1]) };
	struct metric_list *reversed[] = { lists[2], lists[0] };
	struct snapshot *before = snapshot_new(&vm, 1, lists, 3, 1);
	struct snapshot *next = snapshot_next(before, &vm, 2, lists, 3, 2);

	assert_non_null(next);
	assert_ptr_equal(next->places, before->places);
	snapshot_unref(before);
	assert_null(snapshot_next(next, &vm, 3, lists, 1, 3));
	assert_null(snapshot_next(next, &vm, 3, lists, 0, 3));
	assert_null(snapshot_next(next, &vm, 3, reversed, 2, 3));
	assert_null(snapshot_next(next, NULL, 3, lists, 3, 3));
	other.id = 2;
	assert_null(snapshot_next(next, &other, 3, lists, 3, 3));
	other = vm;
	other.name = "b";
	assert_null(snapshot_next(next, &other, 3, lists, 3, 3));
	snapshot_unref(next);
	metric_list_unref(lists[0]);
	metric_list_unref(lists[2]);
	world_done(w);
	free(w);
}

static struct metric_list *age_list(struct world *w, double seconds)
{
	struct metric_list_builder *b = metric_list_builder_new(w->specs, w->now);
	struct value v = value_real(seconds);

	metric_list_builder_add(b, AGE, NULL, &v);
	return metric_list_builder_finish(b);
}

/* The last checkpoint is looked at where it is repeated: what is not, is not. */
static void what_sleeps_is_copied(void **state)
{
	(void)state;
	struct world *w = xcalloc(1, sizeof(*w));
	const uint64_t reads = UINT64_C(0x1122334455667788), other = reads + 1;
	struct value v = value_u64(reads);

	world_init(w, 1);
	appear(w, 0);
	struct metric_list_builder *b = metric_list_builder_new(w->specs, w->now);

	metric_list_builder_add_source(b, READS_, "0", &v);
	board_update(w->board, w->runs[0], LANE_FAST, metric_list_builder_finish(b));
	board_update(w->board, w->runs[0], LANE_ABOUT, age_list(w, 1.5));
	board_publish(w->board);
	char varint[16] = { 0 };
	size_t n = 0;

	for (uint64_t u = reads; u || !n; u >>= 7)
		varint[n++] = (char)((u & 0x7f) | (u >> 7 ? 0x80 : 0));
	char *last = w->halves[w->half], *at = memmem(last, w->written, varint, n);

	assert_non_null(at);
	at[0] ^= 1; /* no VM has told that */
	assert_true(board_keep(w->board, w->runs[0], LANE_FAST, w->now + 1));
	board_update(w->board, w->runs[0], LANE_ABOUT, age_list(w, 2.5));
	board_publish(w->board);
	at = w->halves[w->half] + (at - last);
	assert_true(at[0] == (varint[0] ^ 1));
	assert_memory_equal(at + 1, varint + 1, n - 1);
	/* nor does it stay so */
	for (int i = 0; i < 64; i++)
		board_publish(w->board);
	assert_non_null(memmem(w->halves[w->half], w->written, varint, n));
	/* a figure moves: all is written anew */
	v = value_u64(other);
	b = metric_list_builder_new(w->specs, w->now);
	metric_list_builder_add_source(b, READS_, "0", &v);
	board_update(w->board, w->runs[0], LANE_FAST, metric_list_builder_finish(b));
	board_publish(w->board);
	varint[0] = (char)((other & 0x7f) | 0x80);
	assert_non_null(memmem(w->halves[w->half], w->written, varint, n));
	world_done(w);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_with_less_work_is_the_same),
		cmocka_unit_test(what_is_not_alike_is_made_anew),
		cmocka_unit_test(what_sleeps_is_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
