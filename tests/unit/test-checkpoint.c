/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model: what a process leaves to the one that replaces it, as bytes. */
#include "handed-on.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "core/sizes.h"
#include "model/checkpoint.h"
#include "model/checkpoint_format.h"
#include "model/run.h"
#include "util/cleanup.h"

/* ---- a view and its checkpoint, without a board ---- */

struct fixture {
	struct plan *plan;
	struct tree *tree;
	struct view *view;
	struct run *runs[2];      /* in the view's order */
	struct counters counters; /* of each VM */
	uint8_t *bytes;
	size_t size;
};

static struct snapshot *vm_snapshot(struct plan *plan, const struct vm_ident *vm)
{
	struct metric_list *lists[] = { fast_list_of(plan, 7000000000),
		slow_list(plan, 99), act_list(plan, INT64_MIN), group_list(plan),
		xml_list(plan), waits_list(plan, 300, 1) };
	struct snapshot *s = snapshot_new(vm, 5, lists, ARRAY_LEN(lists), fake_ns);

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		for (size_t k = 0; k < lists[i]->n; k++)
			lists[i]->metrics[k].changed_ns = fake_ns - (int64_t)(1 + k);
		metric_list_unref(lists[i]);
	}
	return s;
}

static const struct counter_state counter_states[] = { { .key = 5, .reached = 7 },
	{ .key = 21,
		.reached = 9,
		.fell = true,
		.n_falls = 2,
		.low = 3,
		.base = 6,
		.floor = 8 },
	{ .key = 6, .reached = 0 } };

static const struct past_size disk_sizes[] = { { NS_PER_S, 65536 },
	{ 2 * NS_PER_S, 131072 }, { INT64_MAX, 4u << 20 } };

static struct counters counters_of(const struct counter_state *states, size_t n)
{
	struct counters counters = { 0 };

	for (size_t i = 0; i < n; i++)
		assert_int_equal(counters_restore(&counters, &states[i]), 0);
	return counters;
}

static void assert_same_counters(const struct counters *a, const struct counters *b)
{
	struct counter_state x, y;

	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n_slots; i++) {
		if (!counters_state(a, i, &x))
			continue;
		size_t at = counters_find(b, x.key);

		assert_true(at != SIZE_MAX && counters_state(b, at, &y));
		assert_true(x.reached == y.reached && x.fell == y.fell);
		assert_true(x.n_falls == y.n_falls && x.low == y.low);
		assert_true(x.base == y.base && x.floor == y.floor);
	}
	assert_int_equal(a->n_histograms, b->n_histograms);
	for (size_t i = 0; i < a->n_histograms; i++) {
		uint64_t key = 0;
		const struct histogram *h = counters_histogram_at(a, i, &key);

		assert_true(histogram_equal(h, counters_histogram(b, key)));
	}
}

/* The checkpoint in @size bytes; *@ret_needed: of all of it. */
static size_t write_view(
	const struct fixture *f, void *buf, size_t size, size_t *ret_needed)
{
	struct checkpoint_writer *w = checkpoint_writer_new(buf, size, f->plan, f->view);

	checkpoint_writer_add_sizes(w, disk_sizes, ARRAY_LEN(disk_sizes));
	checkpoint_writer_add(w, f->view->host, NULL, NULL);
	for (size_t i = 0; i < f->view->n_vms; i++)
		checkpoint_writer_add(w, f->view->vms[i], f->runs[i], &f->counters);
	return checkpoint_writer_finish(w, ret_needed);
}

/* A whole one with the host and a VM, as the first of @f->runs, that shows @s.  Return: its bytes. */
static size_t write_one(const struct fixture *f, const struct snapshot *s,
	const struct counters *counters, void *buf, size_t size)
{
	struct checkpoint_writer *w = checkpoint_writer_new(buf, size, f->plan, f->view);
	size_t needed = 0;

	checkpoint_writer_add(w, f->view->host, NULL, NULL);
	checkpoint_writer_add(w, s, f->runs[0], counters);
	size_t written = checkpoint_writer_finish(w, &needed);

	assert_int_equal(written, needed);
	return written;
}

static void set_up(struct fixture *f)
{
	fake_ns = 2 * NS_PER_S;
	*f = (struct fixture){ .plan = checkpoint_plan(),
		.tree = tree_new(),
		.counters = counters_of(counter_states, ARRAY_LEN(counter_states)) };
	/* some are just what metrics show */
	struct metric_list *shown[] = { fast_list_of(f->plan, 7000000000),
		slow_list(f->plan, 99), waits_list(f->plan, 300, 1) };

	for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
		counters_settle(&f->counters, shown[i]);
		metric_list_unref(shown[i]);
	}
	struct snapshot *vms[] = { vm_snapshot(f->plan, &vm_a),
		vm_snapshot(f->plan, &vm_b) };
	struct metric_list *list = host_list(f->plan, 0.25);

	tree_publish(f->tree, 5, snapshot_new(NULL, 5, &list, 1, fake_ns - 9), vms, 2);
	metric_list_unref(list);
	f->view = tree_view(f->tree);
	for (size_t i = 0; i < 2; i++) {
		f->runs[i] = run_new(&f->view->vms[i]->vm, HYPERVISOR_QEMU);
		run_set_process(f->runs[i], 100 + (int)i, 5555, -1);
		atomic_store(&f->runs[i]->session, UINT64_MAX);
		atomic_store(&f->runs[i]->vcpus, 3);
		atomic_store(&f->runs[i]->slow_mono_ns, fake_ns - 1);
		atomic_store(&f->runs[i]->started_mono_ns, fake_ns - 2);
	}
	assert_int_equal(write_view(f, NULL, 0, &f->size), 0);
	size_t needed = 0;

	f->bytes = xmalloc(f->size);
	assert_int_equal(write_view(f, f->bytes, f->size, &needed), f->size);
	assert_int_equal(needed, f->size);
}

static void tear_down(struct fixture *f)
{
	free(f->bytes);
	counters_done(&f->counters);
	for (size_t i = 0; i < 2; i++)
		run_unref(f->runs[i]);
	view_unref(f->view);
	tree_free(f->tree);
	plan_unref(f->plan);
}

static void assert_same_scope(
	const struct snapshot *before, const struct checkpoint_scope *scope)
{
	struct metric_list *list = scope->list;
	struct snapshot *after = snapshot_new(before->is_host ? NULL : &scope->ident, 6,
		&list, 1, scope->updated_mono_ns);

	assert_int_equal(after->n, before->n);
	for (size_t i = 0; i < before->n; i++)
		assert_same_metric(snapshot_metric(before, i), snapshot_metric(after, i));
	assert_int_equal(after->n_histograms, before->n_histograms);
	for (size_t i = 0; i < before->n_histograms; i++)
		assert_same_metric(
			snapshot_histogram(before, i), snapshot_histogram(after, i));
	assert_true(after->shape == before->shape && scope->shape == before->shape);
	assert_int_equal(scope->shape_ns, before->shape_ns);
	assert_int_equal(after->time_ns, before->time_ns);
	assert_int_equal(after->updated_mono_ns, before->updated_mono_ns);
	snapshot_unref(after);
}

/* ---- the bytes ---- */

static void all_kinds_of_values_come_back(void **state)
{
	(void)state;
	struct fixture f;
	struct checkpoint *cp = NULL;

	set_up(&f);
	assert_int_equal(checkpoint_load(f.bytes, f.size, f.plan, &cp), 0);
	assert_int_equal(cp->generation, 5);
	assert_int_equal(cp->vms_generation, 5);
	assert_int_equal(cp->vms_ns, f.view->vms_ns);
	assert_true(cp->vms_shape == f.view->vms_shape);
	assert_int_equal(cp->n_sizes, ARRAY_LEN(disk_sizes));
	assert_memory_equal(cp->sizes, disk_sizes, sizeof(disk_sizes));
	assert_same_scope(f.view->host, &cp->host);
	assert_int_equal(cp->n_vms, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct checkpoint_scope *vm = &cp->vms[i];

		assert_true(run_is(f.runs[i], &vm->ident));
		assert_int_equal(vm->hypervisor, HYPERVISOR_QEMU);
		assert_int_equal(vm->pid, 100 + (int)i);
		assert_int_equal(vm->start_ticks, 5555);
		assert_true(vm->session == UINT64_MAX);
		assert_int_equal(vm->vcpus, 3);
		assert_int_equal(vm->slow_mono_ns, fake_ns - 1);
		assert_int_equal(vm->started_mono_ns, fake_ns - 2);
		assert_same_counters(&f.counters, &vm->counters);
		assert_same_scope(f.view->vms[i], vm);
	}
	checkpoint_free(cp);
	tear_down(&f);
}

/* What does not apply hides what a lane that has not looked yet says of it. */
static void what_does_not_apply_is_known_further(void **state)
{
	(void)state;
	struct fixture f;
	struct checkpoint *cp = NULL;
	uint8_t buf[4096];

	set_up(&f);
	struct metric_list_builder *b = metric_list_builder_new(f.plan->specs, fake_ns);

	metric_list_builder_add_absent(b, STATE);
	metric_list_builder_add_absent(b, RD_BYTES);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *s = snapshot_new(&vm_a, 5, &list, 1, 1);
	size_t size = write_one(&f, s, NULL, buf, sizeof(buf));

	assert_int_equal(checkpoint_load(buf, size, f.plan, &cp), 0);
	assert_int_equal(cp->vms[0].list->n, 2);
	assert_true(cp->vms[0].list->metrics[0].absent);
	assert_true(cp->vms[0].list->metrics[1].absent);
	checkpoint_free(cp);
	snapshot_unref(s);
	metric_list_unref(list);
	tear_down(&f);
}

/* Loads a copy of exactly that size, so that a sanitizer sees a read beyond it. */
static int load_copy(const struct fixture *f, const void *bytes, size_t size)
{
	uint8_t *copy = xmalloc(size ? size : 1);
	struct checkpoint *cp = NULL;

	memcpy(copy, bytes, size);
	int r = checkpoint_load(size ? copy : NULL, size, f->plan, &cp);

	assert_true((r == 0) == (cp != NULL));
	checkpoint_free(cp);
	free(copy);
	return r;
}

static struct snapshot *alike(struct plan *plan, const struct vm_ident *vm)
{
	struct metric_list_builder *b = metric_list_builder_new(plan->specs, fake_ns);
	struct value greatest = value_u64(UINT64_MAX), edge = value_u64(0x80),
		     text = value_string("what both of them say");

	metric_list_builder_add(b, CPU_TIME, NULL, &greatest);
	metric_list_builder_add(b, VCPU_TIME, "314", &edge);
	metric_list_builder_set_device(b, "vdb");
	edge = (struct value){ .type = METRIC_UINT32, .u = 0x7f };
	metric_list_builder_add(b, RD_BYTES, "314", &edge);
	metric_list_builder_set_device(b, NULL);
	metric_list_builder_add_named(b, GROUP, "b", NULL, METRIC_STRING, &text);
	struct metric_list *list = metric_list_builder_finish(b);
	struct snapshot *s = snapshot_new(vm, 5, &list, 1, 1);

	metric_list_unref(list);
	return s;
}

static size_t count(const uint8_t *bytes, size_t size, const char *what)
{
	size_t n = 0;

	for (size_t i = 0; i + strlen(what) <= size; i++)
		n += !memcmp(bytes + i, what, strlen(what));
	return n;
}

static void what_is_the_same_is_written_once(void **state)
{
	(void)state;
	struct fixture f;
	struct snapshot *vms[2];
	struct checkpoint *cp = NULL;
	uint8_t buf[4096];
	size_t needed = 0;

	set_up(&f);
	struct checkpoint_writer *w =
		checkpoint_writer_new(buf, sizeof(buf), f.plan, f.view);

	checkpoint_writer_add(w, f.view->host, NULL, NULL);
	for (size_t i = 0; i < 2; i++) {
		vms[i] = alike(f.plan, &f.runs[i]->ident);
		checkpoint_writer_add(w, vms[i], f.runs[i], NULL);
	}
	size_t size = checkpoint_writer_finish(w, &needed);

	/* an index is of one VM, a text may be of several */
	assert_int_equal(count(buf, size, "314"), 2);
	assert_int_equal(count(buf, size, "both of them"), 1);
	assert_int_equal(checkpoint_load(buf, size, f.plan, &cp), 0);
	assert_int_equal(cp->n_vms, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_same_scope(vms[i], &cp->vms[i]);
		snapshot_unref(vms[i]);
	}
	checkpoint_free(cp);

	/* the greatest number is not the longest that could be written */
	uint8_t *end = memmem(buf, size, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);

	assert_non_null(end);
	end[9] = 0x02;
	assert_int_equal(load_copy(&f, buf, size), -EINVAL);
	end[9] = 0x81;
	assert_int_equal(load_copy(&f, buf, size), -EINVAL);
	end[9] = 0x01;
	assert_int_equal(load_copy(&f, buf, size), 0);
	tear_down(&f);
}

/* More times than there are places for, and counters beyond what metrics show. */
static void each_has_its_own_time_and_counter(void **state)
{
	(void)state;
	struct fixture f;
	struct checkpoint *cp = NULL;
	struct counters counters = { 0 };
	uint8_t buf[8192];

	set_up(&f);
	struct metric_list_builder *b = metric_list_builder_new(f.plan->specs, fake_ns);

	for (unsigned i = 0; i < 3 * CHECKPOINT_TIMES; i++) {
		const struct value v = value_u64(1000 + i);
		char index[16];

		snprintf(index, sizeof(index), "%u", i);
		metric_list_builder_set_device(b, i % 3 ? "vda" : i % 2 ? "vdb" : NULL);
		metric_list_builder_add(b, VCPU_TIME, index, i % 5 ? &v : NULL);
		metric_list_builder_set_changed(b, fake_ns - i % (2 * CHECKPOINT_TIMES));
	}
	struct metric_list *list = metric_list_builder_finish(b);

	counters_settle(&counters, list);
	for (size_t i = 0; i < list->n; i += 7)
		list->metrics[i].value.u -= i;
	struct snapshot *s = snapshot_new(&vm_a, 5, &list, 1, 1);
	size_t size = write_one(&f, s, &counters, buf, sizeof(buf));

	assert_int_equal(checkpoint_load(buf, size, f.plan, &cp), 0);
	assert_same_scope(s, &cp->vms[0]);
	assert_same_counters(&counters, &cp->vms[0].counters);
	checkpoint_free(cp);
	counters_done(&counters);
	snapshot_unref(s);
	metric_list_unref(list);
	tear_down(&f);
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	struct fixture f;

	set_up(&f);
	for (size_t n = 0; n < f.size; n++)
		assert_int_equal(load_copy(&f, f.bytes, n), -EINVAL);
	uint8_t *longer = xcalloc(1, f.size + 1);

	memcpy(longer, f.bytes, f.size);
	assert_int_equal(load_copy(&f, longer, f.size + 1), -EINVAL);
	free(longer);
	tear_down(&f);
}

static void no_flipped_bit_does_harm(void **state)
{
	(void)state;
	struct fixture f;

	set_up(&f);
	for (size_t i = 0; i < 8 * f.size; i++) {
		f.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		(void)load_copy(&f, f.bytes, f.size);
		f.bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t i = 0; i < f.size; i++) {
		uint8_t before = f.bytes[i];

		f.bytes[i] = 0xff;
		(void)load_copy(&f, f.bytes, f.size);
		f.bytes[i] = before;
	}
	assert_int_equal(load_copy(&f, f.bytes, f.size), 0);
	tear_down(&f);
}

static struct checkpoint_header header_of(const struct fixture *f)
{
	struct checkpoint_header h;

	assert_true(f->size > sizeof(h));
	memcpy(&h, f->bytes, sizeof(h));
	return h;
}

/* Loads it with that header, and puts the right one back. */
static int load_with(struct fixture *f, const struct checkpoint_header *header)
{
	struct checkpoint_header before = header_of(f);

	memcpy(f->bytes, header, sizeof(*header));
	int r = load_copy(f, f->bytes, f->size);

	memcpy(f->bytes, &before, sizeof(before));
	return r;
}

static void another_version_is_told_from_damage(void **state)
{
	(void)state;
	struct fixture f;

	set_up(&f);
	struct checkpoint_header h = header_of(&f);

	h.version = CHECKPOINT_VERSION + 1;
	assert_int_equal(load_with(&f, &h), -EPROTO);
	h.version = CHECKPOINT_VERSION_BEFORE - 1;
	assert_int_equal(load_with(&f, &h), -EPROTO);
	/* which had no histograms */
	h.version = CHECKPOINT_VERSION_BEFORE;
	assert_int_equal(load_with(&f, &h), -EINVAL);
	h.magic++;
	assert_int_equal(load_with(&f, &h), -EINVAL);
	tear_down(&f);
}

/* What the version before wrote is what this one writes without histograms. */
static void the_version_before_is_taken_over(void **state)
{
	(void)state;
	struct fixture f;
	uint8_t buf[4096];

	set_up(&f);
	struct counters counters = counters_of(counter_states, ARRAY_LEN(counter_states));
	struct metric_list *list = fast_list_of(f.plan, 1);
	struct snapshot *s = snapshot_new(&vm_a, 5, &list, 1, 1);
	size_t size = write_one(&f, s, &counters, buf, sizeof(buf));
	struct checkpoint_header *h = (struct checkpoint_header *)buf;
	struct checkpoint *cp = NULL;

	h->version = CHECKPOINT_VERSION_BEFORE;
	assert_int_equal(checkpoint_load(buf, size, f.plan, &cp), 0);
	assert_same_scope(s, &cp->vms[0]);
	assert_same_counters(&counters, &cp->vms[0].counters);
	checkpoint_free(cp);
	counters_done(&counters);
	snapshot_unref(s);
	metric_list_unref(list);
	tear_down(&f);
}

/* Where the first histogram of a checkpoint lies. */
static void *histogram_in(const struct fixture *f)
{
	uint64_t bounds = histogram_fingerprint(HISTOGRAM_WAITS);
	uint8_t *at = memmem(f->bytes, f->size, &bounds, sizeof(bounds));

	assert_non_null(at);
	return at - offsetof(struct checkpoint_histogram, bounds);
}

static void histograms_that_cannot_be_are_refused(void **state)
{
	(void)state;
	struct fixture f;
	struct checkpoint_histogram h, wrong[4];
	struct checkpoint *cp = NULL;

	set_up(&f);
	void *at = histogram_in(&f);

	memcpy(&h, at, sizeof(h));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		wrong[i] = h;
	wrong[0].sum = HISTOGRAM_MOST_SUM + 1;
	wrong[1].n_counts = HISTOGRAM_BUCKETS + 1;
	wrong[2].key = 0;
	wrong[3].reserved = 1;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		memcpy(at, &wrong[i], sizeof(h));
		assert_int_equal(load_copy(&f, f.bytes, f.size), -EINVAL);
	}
	/* with bounds that this build does not know, or of another metric, it is left out */
	for (int i = 0; i < 2; i++) {
		wrong[0] = h;
		*(i ? &wrong[0].bounds : &wrong[0].key) += 1;
		memcpy(at, &wrong[0], sizeof(h));
		assert_int_equal(checkpoint_load(f.bytes, f.size, f.plan, &cp), 0);
		assert_int_equal(cp->vms[0].counters.n_histograms, 1 - i);
		assert_int_equal(cp->vms[1].counters.n_histograms, 1);
		assert_int_equal(cp->vms[0].list->n + 1, cp->vms[1].list->n);
		checkpoint_free(TAKE_PTR(cp));
	}
	tear_down(&f);
}

static void counts_that_cannot_be_are_refused(void **state)
{
	(void)state;
	struct fixture f;

	set_up(&f);
	struct checkpoint_header many_vms = header_of(&f), many_specs = header_of(&f),
				 many_sizes = header_of(&f), late = header_of(&f);

	many_vms.n_vms = UINT32_MAX;
	assert_int_equal(load_with(&f, &many_vms), -EINVAL);
	many_specs.n_specs = UINT32_MAX;
	assert_int_equal(load_with(&f, &many_specs), -EINVAL);
	many_sizes.n_sizes = UINT32_MAX;
	assert_int_equal(load_with(&f, &many_sizes), -EINVAL);
	late.generation = UINT64_MAX;
	assert_int_equal(load_with(&f, &late), -EINVAL);
	assert_int_equal(load_copy(&f, f.bytes, f.size), 0);
	/* the monotonic clock cannot have gone back: not of this boot */
	fake_ns -= NS_PER_S;
	assert_int_equal(load_copy(&f, f.bytes, f.size), -EINVAL);
	tear_down(&f);
}

/* They rise, are of the past but for the last, and within the limits. */
static void sizes_that_cannot_be_are_refused(void **state)
{
	(void)state;
	static const struct checkpoint_size wrong[][2] = {
		{ { 1, 65536 }, { INT64_MAX, 65536 } },
		{ { 1, 131072 }, { INT64_MAX, 65536 } },
		{ { 1, 512 }, { INT64_MAX, 65536 } },
		{ { 1, 65536 }, { INT64_MAX, (256u << 20) + 65536u } },
		{ { 1, 65536 }, { 2, 131072 } },
		{ { -1, 65536 }, { INT64_MAX, 131072 } },
		{ { INT64_MAX, 65536 }, { INT64_MAX, 131072 } },
		{ { 60 * NS_PER_S, 65536 }, { INT64_MAX, 131072 } },
	};
	static const struct checkpoint_size right[2] = { { 1, 65536 },
		{ INT64_MAX, 131072 } };
	struct fixture f;

	set_up(&f);
	/* the first of those that are there stays */
	size_t at =
		sizeof(struct checkpoint_header) + f.plan->specs->n * sizeof(uint64_t);
	struct checkpoint_size *sizes = (void *)(f.bytes + at);

	sizes[0] = (struct checkpoint_size){ 0, 1024 };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		memcpy(&sizes[1], wrong[i], sizeof(wrong[i]));
		assert_int_equal(load_copy(&f, f.bytes, f.size), -EINVAL);
	}
	memcpy(&sizes[1], right, sizeof(right));
	assert_int_equal(load_copy(&f, f.bytes, f.size), 0);
	tear_down(&f);
}

/* Where two have the same uuid, or name, nothing is believed. */
static void twins_are_refused(void **state)
{
	(void)state;
	static const struct vm_ident others[] = {
		{ .uuid = { { 1 } }, .id = 9, .name = "other" },
		{ .uuid = { { 9 } }, .id = 9, .name = "a<b> c" },
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct fixture f;

		set_up(&f);
		size_t at = f.view->vms[0]->vm.id == vm_a.id ? 1 : 0;
		size_t needed = 0;

		run_unref(f.runs[at]);
		f.runs[at] = run_new(&others[i], HYPERVISOR_OTHER);
		free(f.bytes);
		write_view(&f, NULL, 0, &f.size);
		f.bytes = xmalloc(f.size);
		assert_int_equal(write_view(&f, f.bytes, f.size, &needed), f.size);
		assert_int_equal(load_copy(&f, f.bytes, f.size), -EINVAL);
		tear_down(&f);
	}
}

static void what_does_not_fit_leaves_the_last_vms_out(void **state)
{
	(void)state;
	struct fixture f;
	size_t last = SIZE_MAX;

	set_up(&f);
	for (size_t room = f.size; room != SIZE_MAX; room--) {
		_cleanup_free_ uint8_t *buf = xmalloc(room ? room : 1);
		size_t needed = 0, size = write_view(&f, buf, room, &needed);
		struct checkpoint *cp = NULL;

		assert_int_equal(needed, f.size);
		assert_true(size <= room);
		if (!size)
			break;
		assert_int_equal(checkpoint_load(buf, size, f.plan, &cp), 0);
		assert_same_scope(f.view->host, &cp->host);
		assert_true(cp->n_vms <= last);
		last = cp->n_vms;
		checkpoint_free(cp);
	}
	assert_int_equal(last, 0);
	tear_down(&f);
}

/* ---- another configuration ---- */

static bool list_has(const struct metric_list *list, const char *name)
{
	for (size_t i = 0; list && i < list->n; i++)
		if (!strcmp(list->metrics[i].label->name, name))
			return true;
	return false;
}

static void another_configuration_gets_what_it_has_in_common(void **state)
{
	(void)state;
	struct fixture f;
	struct checkpoint *cp = NULL;

	set_up(&f);
	_cleanup_plan_ struct plan *plan = changed_plan(change_specs);

	assert_int_equal(checkpoint_load(f.bytes, f.size, plan, &cp), 0);
	assert_false(list_has(cp->host.list, "TotalCPUTime"));
	assert_true(list_has(cp->host.list, "Load"));
	assert_false(list_has(cp->vms[0].list, "cpu.time"));
	assert_true(list_has(cp->vms[0].list, "vcpu.17.time"));
	assert_false(list_has(cp->vms[0].list, "block.0.rd.bytes"));
	assert_true(list_has(cp->vms[0].list, "x.r"));
	checkpoint_free(cp);
	tear_down(&f);
}

/* ---- what it costs ---- */

#define N_BENCH_VMS 200u
#define N_BENCH_VCPUS 40u

/* Real time: clock_gettime() is the test's own. */
static double cpu_us(void)
{
	return (double)clock() * 1e6 / CLOCKS_PER_SEC;
}

static void two_hundred_vms_are_little_work(void **state)
{
	(void)state;
	struct fixture f;
	struct snapshot *vms[N_BENCH_VMS];
	struct counter_state states[20];
	struct run *run = run_new(&vm_a, HYPERVISOR_QEMU);
	size_t needed = 0, size = 4u << 20;
	_cleanup_free_ uint8_t *buf = xmalloc(size);

	set_up(&f);
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		states[i] = (struct counter_state){ .key = 1 + i, .reached = i };
	struct counters counters = counters_of(states, ARRAY_LEN(states));

	for (size_t i = 0; i < N_BENCH_VMS; i++) {
		struct metric_list_builder *b =
			metric_list_builder_new(f.plan->specs, fake_ns);
		struct value v = value_u64(i);

		for (unsigned k = 0; k < N_BENCH_VCPUS; k++) {
			char index[16];

			snprintf(index, sizeof(index), "%u", k);
			metric_list_builder_add(b, VCPU_TIME, index, &v);
		}
		struct metric_list *lists[] = { metric_list_builder_finish(b),
			slow_list(f.plan, 1), group_list(f.plan) };

		vms[i] = snapshot_new(&vm_a, 5, lists, ARRAY_LEN(lists), fake_ns);
		for (size_t k = 0; k < ARRAY_LEN(lists); k++)
			metric_list_unref(lists[k]);
	}
	double best = INFINITY;

	for (unsigned i = 0; i < 20; i++) {
		double start = cpu_us();
		struct checkpoint_writer *w =
			checkpoint_writer_new(buf, size, f.plan, f.view);

		checkpoint_writer_add(w, f.view->host, NULL, NULL);
		for (size_t k = 0; k < N_BENCH_VMS; k++)
			checkpoint_writer_add(w, vms[k], run, &counters);
		size_t written = checkpoint_writer_finish(w, &needed);

		assert_int_equal(written, needed);
		best = fmin(best, cpu_us() - start);
	}
	print_message("%u VMs: %.0f us, %zu bytes a VM\n", N_BENCH_VMS, best,
		needed / N_BENCH_VMS);
	/* sanitizers make it many times slower */
	assert_true(best * ROUNDS(10) / 10 < 20000);
	assert_true(needed / N_BENCH_VMS < 1100);
	counters_done(&counters);
	for (size_t i = 0; i < N_BENCH_VMS; i++)
		snapshot_unref(vms[i]);
	run_unref(run);
	tear_down(&f);
}

/* ---- the fuzzer's corpus ---- */

/* With VHOSTMD_CORPUS=FOLDER: writes it; it depends on the format and checkpoint-specs.h. */
static void write_file(const char *dir, const char *name, const void *data, size_t size)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

static void the_corpus_is_of_this_version(void **state)
{
	(void)state;
	const char *dir = getenv("VHOSTMD_CORPUS");
	struct fixture f;

	set_up(&f);
	if (dir) {
		size_t needed = 0;
		_cleanup_free_ uint8_t *buf = xmalloc(f.size);
		size_t one = write_view(&f, buf, f.size - 1, &needed);

		write_file(dir, "two-vms", f.bytes, f.size);
		write_file(dir, "one-vm", buf, one);
		write_file(dir, "host", buf, write_view(&f, buf, one - 1, &needed));
	}
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds_of_values_come_back),
		cmocka_unit_test(what_does_not_apply_is_known_further),
		cmocka_unit_test(what_is_the_same_is_written_once),
		cmocka_unit_test(each_has_its_own_time_and_counter),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(no_flipped_bit_does_harm),
		cmocka_unit_test(another_version_is_told_from_damage),
		cmocka_unit_test(the_version_before_is_taken_over),
		cmocka_unit_test(histograms_that_cannot_be_are_refused),
		cmocka_unit_test(counts_that_cannot_be_are_refused),
		cmocka_unit_test(sizes_that_cannot_be_are_refused),
		cmocka_unit_test(twins_are_refused),
		cmocka_unit_test(what_does_not_fit_leaves_the_last_vms_out),
		cmocka_unit_test(another_configuration_gets_what_it_has_in_common),
		cmocka_unit_test(two_hundred_vms_are_little_work),
		cmocka_unit_test(the_corpus_is_of_this_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
