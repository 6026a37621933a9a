/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file tree without a mount: sizes that fit what is read, what the kernel must forget. */
#include "test.h"
#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/blob.h"
#include "fs/content.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

static void no_status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "ok\n");
}

struct fs {
	struct tree *tree;
	struct disks *disks;
	struct content *c;
};

static void fs_init(struct fs *fs)
{
	struct content_config config = { .nodes = all, .mode = 0444, .disk_mode = 0440 };

	fs->tree = tree_new();
	fs->disks = disks_new(DISK_BLOCK_BYTES);
	fs->c = content_new(fs->tree, fs->disks, &config, no_status, NULL);
}

static void fs_done(struct fs *fs)
{
	content_free(fs->c);
	disks_free(fs->disks);
	tree_free(fs->tree);
}

static struct content_answer look_up(struct fs *fs, uint64_t parent, const char *name)
{
	struct content_answer answer;

	assert_int_equal(content_lookup(fs->c, parent, name, 1, &answer), 0);
	return answer;
}

static size_t read_size(struct content *c, uint64_t id, uint64_t offset, size_t size,
	char *ret, size_t *ret_zeros)
{
	struct content_bytes bytes;

	assert_int_equal(content_read(c, id, true, 1, offset, size, &bytes), 0);
	if (ret)
		memcpy(ret, bytes.data, bytes.size);
	*ret_zeros = bytes.zeros;
	blob_unref(bytes.blob);
	return bytes.size;
}

/* True if the kernel is told, within @rounds looks, to forget the node (@name: the entry). */
static bool taken_back(struct fs *fs, uint64_t ino, const char *name, int rounds)
{
	bool found = false;

	while (!found && rounds--) {
		struct armed_change *changes = NULL;

		content_wake(fs->c);
		size_t n = content_changes(fs->c, &changes);

		for (size_t i = 0; i < n; i++)
			found |= changes[i].ino == ino &&
				(name ? changes[i].name && !strcmp(changes[i].name, name)
				      : changes[i].node);
		armed_changes_free(changes, n);
		if (!found)
			poll(NULL, 0, 3);
	}
	return found;
}

/* The bytes that are read are those whose size was told, until that is taken back. */
static void what_is_read_is_what_was_told(void **state)
{
	(void)state;
	struct fs fs;
	size_t zeros = 0;
	char buf[64];

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 1001);
	struct content_answer answer = look_up(&fs, NODE_HOST, "n");
	uint64_t ino = answer.id;

	assert_true(answer.keep_entry && answer.keep_attr);
	assert_int_equal(answer.st.st_size, 5);
	assert_int_equal(answer.st.st_mtim.tv_nsec, 2001);
	publish(fs.tree, 2, 0, 1, 1002);
	assert_int_equal(read_size(fs.c, ino, 0, sizeof(buf), buf, &zeros), 5);
	assert_memory_equal(buf, "1001\n", 5);
	assert_true(taken_back(&fs, ino, NULL, 1));
	/* the kernel has not heard of it yet */
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_mtim.tv_nsec, 2001);
	assert_false(answer.keep_attr);
	assert_int_equal(read_size(fs.c, ino, 0, sizeof(buf), buf, &zeros), 5);
	assert_memory_equal(buf, "1001\n", 5);
	content_taken(fs.c, ino, true);
	/* it may have kept what was read last */
	assert_true(taken_back(&fs, ino, NULL, 1));
	content_taken(fs.c, ino, true);
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_mtim.tv_nsec, 2002);
	assert_int_equal(read_size(fs.c, ino, 0, sizeof(buf), buf, &zeros), 5);
	assert_memory_equal(buf, "1002\n", 5);
	assert_int_equal(read_size(fs.c, ino, 3, 1, buf, &zeros), 1);
	assert_int_equal(read_size(fs.c, ino, 5, 10, NULL, &zeros), 0);
	assert_int_equal(read_size(fs.c, ino, UINT64_MAX, SIZE_MAX, NULL, &zeros), 0);

	/* the same value costs nothing */
	publish(fs.tree, 3, 0, 1, 1002);
	assert_false(taken_back(&fs, ino, NULL, 5));
	/* a node that nobody asked for again neither */
	publish(fs.tree, 4, 0, 1, 1003);
	assert_true(taken_back(&fs, ino, NULL, 1));
	publish(fs.tree, 5, 0, 1, 1004);
	assert_false(taken_back(&fs, ino, NULL, 5));
	/* pages from before a new answer are old, although the answer was new */
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, ino);
	publish(fs.tree, 6, 0, 1, 1005);
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, ino);
	assert_true(taken_back(&fs, ino, NULL, 1));

	/* unavailable: so that a read reaches us, and fails */
	struct content_bytes bytes;

	answer = look_up(&fs, NODE_HOST, "a%2Fb");
	assert_int_equal(answer.st.st_size, 1);
	assert_int_equal(
		content_read(fs.c, answer.id, false, 1, 0, 10, &bytes), -ENODATA);
	assert_int_equal(content_read(fs.c, NODE_HOST, false, 1, 0, 10, &bytes), -EISDIR);
	assert_int_equal(content_read(fs.c, 77, false, 1, 0, 10, &bytes), -ENOENT);
	fs_done(&fs);
}

/*
 * An answer whose reader waits for a processor: the kernel does not know the node yet, and
 * will know it with what the answer says.
 */
static void an_answer_under_way_is_taken_back(void **state)
{
	(void)state;
	struct fs fs;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 1001);
	uint64_t ino = look_up(&fs, NODE_HOST, "n").id;

	publish(fs.tree, 2, 0, 1, 1002);
	for (int i = 0; i < 4; i++) {
		assert_true(taken_back(&fs, ino, NULL, 20));
		content_taken(fs.c, ino, false);
	}
	assert_true(taken_back(&fs, ino, NULL, 20));
	content_taken(fs.c, ino, true);
	assert_false(taken_back(&fs, ino, NULL, 5));

	/* it was evicted, and then asked for once more: that answer is under way */
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, ino);
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, ino);
	content_forgotten(fs.c, ino, 2);
	publish(fs.tree, 3, 0, 1, 1003);
	assert_true(taken_back(&fs, ino, NULL, 1));
	content_taken(fs.c, ino, false);
	assert_true(taken_back(&fs, ino, NULL, 20));
	content_forgotten(fs.c, ino, 1);
	content_taken(fs.c, ino, false);
	assert_false(taken_back(&fs, ino, NULL, 5));

	/* all that a list tells is counted, until it turns out not to fit */
	struct node_entry *entries = NULL;
	struct content_answer *answers = NULL;
	size_t n = 0;

	assert_int_equal(
		content_list(fs.c, NODE_HOST, 0, SIZE_MAX, true, &entries, &answers, &n),
		0);
	publish(fs.tree, 4, 0, 1, 1004);
	assert_true(taken_back(&fs, ino, NULL, 1));
	content_taken(fs.c, ino, false);
	assert_true(taken_back(&fs, ino, NULL, 20));
	for (size_t i = 0; i < n; i++)
		content_forgotten(fs.c, answers[i].id, 1);
	content_taken(fs.c, ino, false);
	assert_false(taken_back(&fs, ino, NULL, 5));
	node_entries_free(entries, n);
	free(answers);
	fs_done(&fs);
}

/* Who is between two reads when a longer value comes finds the end of the old one. */
static void no_file_grows(void **state)
{
	(void)state;
	struct fs fs;
	size_t zeros = 0;
	char buf[64];

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	struct content_answer before = look_up(&fs, NODE_HOST, "n"), answer;

	publish(fs.tree, 2, 0, 1, 10);
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 2);
	/* the name goes on at once, the file of the shorter value stays for a moment */
	assert_true(taken_back(&fs, before.id, "n", 1));
	assert_false(taken_back(&fs, before.id, NULL, 5));
	struct content_answer after = look_up(&fs, NODE_HOST, "n");

	assert_true(after.id != before.id);
	assert_true(after.st.st_ino == before.st.st_ino);
	assert_int_equal(after.st.st_size, 3);
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 2);
	assert_int_equal(read_size(fs.c, before.id, 0, sizeof(buf), buf, &zeros), 2);
	assert_memory_equal(buf, "9\n", 2);
	assert_int_equal(read_size(fs.c, before.id, 2, sizeof(buf), NULL, &zeros), 0);
	assert_int_equal(read_size(fs.c, after.id, 0, sizeof(buf), buf, &zeros), 3);
	assert_memory_equal(buf, "10\n", 3);

	/* also if the value was as short again meanwhile, and he asked then */
	publish(fs.tree, 3, 0, 1, 7);
	assert_true(taken_back(&fs, after.id, "n", 1));
	content_taken(fs.c, before.id, true);
	while (taken_back(&fs, before.id, NULL, 1))
		content_taken(fs.c, before.id, true);
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	publish(fs.tree, 4, 0, 1, 12);
	assert_false(taken_back(&fs, before.id, NULL, 5));
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 2);

	/* who keeps it open comes to see new values also there */
	assert_true(taken_back(&fs, before.id, NULL, 200));
	content_taken(fs.c, before.id, true);
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 3);
	assert_true(answer.keep_attr);
	assert_int_equal(read_size(fs.c, before.id, 0, sizeof(buf), buf, &zeros), 3);
	publish(fs.tree, 5, 0, 1, 11);
	assert_true(taken_back(&fs, before.id, NULL, 1));
	content_taken(fs.c, before.id, true);

	/* a value as short as the first: its pages must go before its name comes back */
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, after.id);
	assert_int_equal(content_stat(fs.c, before.id, 1, &answer), 0);
	publish(fs.tree, 6, 0, 1, 8);
	struct armed_change *changes = NULL;

	content_wake(fs.c);
	assert_int_equal(content_changes(fs.c, &changes), 2);
	size_t node = changes[0].ino == before.id ? 0 : 1, entry = 1 - node;

	assert_true(changes[node].ino == before.id && changes[node].node);
	assert_null(changes[node].name);
	assert_true(changes[entry].ino == after.id && changes[entry].name);
	assert_false(changes[entry].node);
	armed_changes_free(changes, 2);
	content_taken(fs.c, before.id, true);
	assert_int_equal(look_up(&fs, NODE_HOST, "n").id, before.id);

	/* who watches hears of it when it can be read, not before */
	int64_t seen, version;

	assert_int_equal(content_version(fs.c, before.id, &seen), 0);
	publish(fs.tree, 7, 0, 1, 100);
	for (bool taken = false; !taken;) {
		assert_int_equal(content_version(fs.c, before.id, &version), 0);
		assert_true(version == seen);
		taken = taken_back(&fs, before.id, NULL, 200);
		content_taken(fs.c, before.id, true);
	}
	assert_int_equal(content_version(fs.c, before.id, &version), 0);
	assert_true(version != seen);
	fs_done(&fs);
}

/* The node is taken back, by a kernel that has it open.  Return: the bytes that it is given. */
static struct blob *take_back(struct fs *fs, uint64_t ino)
{
	assert_true(taken_back(fs, ino, NULL, 200));
	content_taken(fs->c, ino, true);
	return content_outgrown(fs->c, ino);
}

/* Its old bytes are shown for a moment; then the kernel is given its new ones. */
static struct blob *outgrows(struct fs *fs, uint64_t ino)
{
	struct blob *given;

	do
		given = take_back(fs, ino);
	while (!given);
	return given;
}

/* Its old bytes are shown for a moment; then it is asked for, and has this size. */
static void becomes(struct fs *fs, uint64_t ino, off_t size)
{
	struct content_answer answer;

	while (content_stat(fs->c, ino, 1, &answer) == 0 && answer.st.st_size != size)
		assert_null(take_back(fs, ino));
	assert_int_equal(answer.st.st_size, size);
}

/*
 * Who keeps a file open may have seen its old size, and read when it has more bytes already: the
 * kernel is given them before anybody can hear of them.
 */
static void what_has_outgrown_its_size_is_given(void **state)
{
	(void)state;
	struct fs fs;
	struct content_answer answer;
	size_t zeros;
	char buf[16];

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	uint64_t ino = look_up(&fs, NODE_HOST, "n").id;

	/* as long as it was: it is asked for */
	publish(fs.tree, 2, 0, 1, 8);
	assert_null(take_back(&fs, ino));
	becomes(&fs, ino, 2);

	/* what moves while it is taken back stays for a moment */
	publish(fs.tree, 3, 0, 1, 7);
	assert_true(taken_back(&fs, ino, NULL, 1));
	publish(fs.tree, 4, 0, 1, 1234);
	content_taken(fs.c, ino, true);
	assert_null(content_outgrown(fs.c, ino));
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 2);
	struct blob *given = outgrows(&fs, ino);

	assert_int_equal(given->size, 5);
	assert_memory_equal(given->data, "1234\n", 5);
	blob_unref(given);
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 5);
	assert_int_equal(read_size(fs.c, ino, 0, sizeof(buf), buf, &zeros), 5);

	/* it was told by that, and is taken back; what is shorter shows its end by itself */
	publish(fs.tree, 5, 0, 1, 12);
	assert_null(take_back(&fs, ino));
	becomes(&fs, ino, 3);

	/* the kernel may go by any size that it was told */
	publish(fs.tree, 6, 0, 1, 4321);
	blob_unref(outgrows(&fs, ino));
	fs_done(&fs);
}

/* What was taken back long before is in no reader's way any more: there were newer bytes since. */
static void what_has_moved_shows_nothing_of_long_ago(void **state)
{
	(void)state;
	const struct timespec moment = { .tv_nsec = 300 * NS_PER_MS };
	struct fs fs;
	struct content_answer answer;
	size_t zeros;
	char buf[16];

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 7);
	uint64_t ino = look_up(&fs, NODE_HOST, "n").id;

	publish(fs.tree, 2, 0, 1, 8);
	assert_null(take_back(&fs, ino));
	nanosleep(&moment, NULL);
	publish(fs.tree, 3, 0, 1, 9);
	publish(fs.tree, 4, 0, 1, 10);
	/* the name leads here until that is taken back, too */
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_size, 3);
	assert_int_equal(read_size(fs.c, ino, 0, sizeof(buf), buf, &zeros), 3);
	assert_memory_equal(buf, "10\n", 3);
	assert_true(taken_back(&fs, ino, "n", 1));
	fs_done(&fs);
}

/* What is left as it is for a moment does not keep what a reload changed. */
static void what_has_moved_is_taken_back_after_a_reload(void **state)
{
	(void)state;
	struct fs fs;
	struct content_answer answer;
	const struct content_config config = { .mode = 0400 };

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	uint64_t ino = look_up(&fs, NODE_HOST, "n").id;

	publish(fs.tree, 2, 0, 1, 10);
	content_set_config(fs.c, &config);
	assert_true(taken_back(&fs, ino, "n", 1));
	/* a value as that which was told, at the time of that */
	publish(fs.tree, 1, 0, 1, 9);
	blob_unref(take_back(&fs, ino));
	assert_int_equal(content_stat(fs.c, ino, 1, &answer), 0);
	assert_int_equal(answer.st.st_mode & 0777, 0400);
	fs_done(&fs);
}

/* What was told in an answer that came too late is taken back, too. */
static void late_answers_are_taken_back(void **state)
{
	(void)state;
	struct fs fs;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	struct content_answer late = look_up(&fs, NODE_HOST, "n");

	/* the change is told before the answer arrives: the kernel knows no such file yet */
	publish(fs.tree, 2, 0, 1, 10);
	assert_true(taken_back(&fs, late.id, NULL, 100));
	struct content_answer again = look_up(&fs, NODE_HOST, "n");

	publish(fs.tree, 3, 0, 1, 11);
	content_told(fs.c, again.generation);
	assert_true(taken_back(&fs, again.id, NULL, 100));
	fs_done(&fs);
}

static void entries_vanish_with_their_vms(void **state)
{
	(void)state;
	struct fs fs;
	struct node_entry *entries = NULL;
	struct content_answer *answers = NULL;
	size_t n = 0;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 2, 9);
	struct content_answer vm = look_up(&fs, NODE_VMS, "vm1");
	struct content_answer file = look_up(&fs, vm.id, "n");

	assert_int_equal(
		content_list(fs.c, NODE_VMS, 0, SIZE_MAX, true, &entries, &answers, &n),
		0);
	assert_int_equal(n, 4);
	assert_true(answers[2].keep_entry && answers[3].keep_entry);
	node_entries_free(entries, n);
	free(answers);
	publish(fs.tree, 2, 0, 1, 9);
	struct armed_change *changes = NULL;
	bool dir = false, entry = false, inside = false;

	for (int i = 0; i < 100 && !(dir && entry && inside); i++) {
		content_wake(fs.c);
		n = content_changes(fs.c, &changes);
		for (size_t k = 0; k < n; k++) {
			dir |= changes[k].ino == NODE_VMS && changes[k].node;
			entry |= changes[k].parent == NODE_VMS &&
				!strcmp(changes[k].name, "vm1");
			inside |= changes[k].ino == file.id && changes[k].node;
		}
		armed_changes_free(changes, n);
		poll(NULL, 0, 1);
	}
	assert_true(dir && entry && inside);
	assert_int_equal(content_stat(fs.c, vm.id, 1, &vm), -ENOENT);
	/* who has its directory open finds it empty */
	assert_int_equal(
		content_list(fs.c, vm.id, 0, SIZE_MAX, false, &entries, &answers, &n), 0);
	assert_int_equal(n, 2);
	node_entries_free(entries, n);
	free(answers);
	fs_done(&fs);
}

/* The same VM, ended and started between two looks, under another name. */
static void a_name_that_a_vm_had_is_forgotten(void **state)
{
	(void)state;
	struct fs fs;
	struct content_answer answer;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	struct content_answer vm = look_up(&fs, NODE_VMS, "vm0");
	struct metric_list *list = make_list(9);
	struct vm_ident renamed = { .id = 2, .name = "other" };
	struct snapshot *host = snapshot_new(NULL, 2, &list, 1, 1);
	struct snapshot *snapshot = snapshot_new(&renamed, 2, &list, 1, 1);

	tree_publish(fs.tree, 2, host, &snapshot, 1);
	metric_list_unref(list);
	assert_true(taken_back(&fs, vm.id, "vm0", 1));
	assert_int_equal(content_lookup(fs.c, NODE_VMS, "vm0", 1, &answer), -ENOENT);
	assert_int_equal(look_up(&fs, NODE_VMS, "other").id, vm.id);
	fs_done(&fs);
}

/* Names that lead to a VM but are not listed: there may be any number. */
static void aliases_are_not_remembered(void **state)
{
	(void)state;
	static const struct {
		uint64_t dir;
		const char *listed, *alias;
	} names[] = { { NODE_BY_ID, "1", "001" },
		{ NODE_BY_UUID, "0a000000-0000-0000-0000-000000000000",
			"0A000000-0000-0000-0000-000000000000" },
		{ NODE_VMS, "a%7Fb",
			"a\x7f"
			"b" } };
	struct fs fs;
	uint64_t generation = 1;
	struct metric_list *list = make_list(9);
	struct vm_ident vm = { .uuid = { { 10 } },
		.id = 1,
		.name = "a\x7f"
			"b" };

	fs_init(&fs);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct snapshot *vms[] = { snapshot_new(&vm, generation, &list, 1, 1) };

		tree_publish(fs.tree, generation,
			snapshot_new(NULL, generation, &list, 1, 1), vms, 1);
		struct content_answer alias = look_up(&fs, names[i].dir, names[i].alias);

		assert_true(alias.keep_attr && !alias.keep_entry);
		assert_true(look_up(&fs, names[i].dir, names[i].listed).keep_entry);
		/* and again, although the listed one is known */
		alias = look_up(&fs, names[i].dir, names[i].alias);
		assert_false(alias.keep_entry);
		publish(fs.tree, ++generation, 20, 1, 9);
		content_told(fs.c, alias.generation);
		assert_true(taken_back(&fs, alias.id, names[i].listed, 1));
		generation++;
	}
	metric_list_unref(list);
	fs_done(&fs);
}

/* The next one that is told of a document. */
static struct content_answer next_rendering(
	struct fs *fs, const char *name, uint64_t than)
{
	struct content_answer answer;

	while ((answer = look_up(fs, NODE_ROOT, name)).id == than)
		poll(NULL, 0, 10);
	return answer;
}

/* A reader of a document gets the rest of the rendering that he began with. */
static void a_rendering_stays_what_it_is(void **state)
{
	(void)state;
	struct fs fs;
	char before[4096], after[4096];
	size_t zeros = 0;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	struct content_answer mine = look_up(&fs, NODE_ROOT, "metrics.xml");
	size_t half = (size_t)mine.st.st_size / 2;
	size_t got = read_size(fs.c, mine.id, 0, half, before, &zeros);

	assert_true(mine.keep_attr && !mine.keep_entry);
	publish(fs.tree, 2, 0, 3, 123456789);
	struct content_answer other = next_rendering(&fs, "metrics.xml", mine.id);

	assert_true(other.st.st_size > mine.st.st_size);
	got += read_size(fs.c, mine.id, got, sizeof(before) - got, before + got, &zeros);
	assert_int_equal(got, mine.st.st_size);
	assert_memory_equal(before + got - 11, "</metrics>\n", 11);
	assert_null(memmem(before, got, "123456789", 9));
	assert_int_equal(read_size(fs.c, mine.id, got, 10, NULL, &zeros), 0);
	struct content_answer status = look_up(&fs, NODE_ROOT, "status");

	got = read_size(fs.c, status.id, 0, sizeof(after), after, &zeros);
	assert_memory_equal(after, "ok\n", got);
	assert_true(next_rendering(&fs, "status", status.id).id != status.id);

	/* and of one that is there no more an error, not the rest of another */
	struct content_answer answer;
	struct content_bytes bytes;
	uint64_t dropped = node_document_id(NODE_METRICS_XML, 12345);

	assert_int_equal(content_stat(fs.c, dropped, 0, &answer), -ESTALE);
	for (uint64_t offset = 0; offset <= 4096; offset += 4096)
		assert_int_equal(
			content_read(fs.c, dropped, false, 0, offset, 10, &bytes),
			-ESTALE);
	fs_done(&fs);
}

/* Constant size, zeros to the end, any block size; nothing of it is remembered. */
static void disks_have_a_constant_size(void **state)
{
	(void)state;
	struct fs fs;
	size_t zeros = 0;
	struct content_bytes bytes;

	fs_init(&fs);
	publish(fs.tree, 1, 0, 1, 9);
	struct content_answer disk = look_up(&fs, NODE_DISKS, "vhostmd0.img");
	uint64_t ino = disk.st.st_ino;

	assert_int_equal(disk.st.st_size, DISK_BLOCK_BYTES);
	size_t n = read_size(fs.c, ino, 0, 1u << 20, NULL, &zeros);

	assert_int_equal(n + zeros, DISK_BLOCK_BYTES);
	assert_true(n > 16);
	assert_int_equal(read_size(fs.c, ino, 1, 1, NULL, &zeros), 1);
	assert_int_equal(read_size(fs.c, ino, n - 1, 2, NULL, &zeros), 1);
	assert_int_equal(zeros, 1);
	assert_int_equal(
		read_size(fs.c, ino, DISK_BLOCK_BYTES - 1, 512, NULL, &zeros), 0);
	assert_int_equal(zeros, 1);
	assert_int_equal(read_size(fs.c, ino, DISK_BLOCK_BYTES, 512, NULL, &zeros), 0);
	assert_int_equal(zeros, 0);
	/* nothing is left behind, by whichever way it is read */
	assert_false(disk.keep_attr || disk.keep_entry);
	assert_int_equal(content_read(fs.c, ino, false, 1, 0, 4096, &bytes), 0);
	blob_unref(bytes.blob);
	publish(fs.tree, 3, 0, 1, 11);
	assert_false(taken_back(&fs, ino, NULL, 5));
	fs_done(&fs);
}

/* With one VM or none; the host may stay as it was. */
static void publish_beside(struct fs *fs, uint64_t generation, bool with_host,
	unsigned n_vms, const char *name, uint64_t value)
{
	struct view *before = tree_view(fs->tree);
	struct metric_list *list = make_list(value);
	struct vm_ident vm = { .id = 1, .name = name };
	struct snapshot *vms[1];

	if (n_vms)
		vms[0] = snapshot_new(&vm, generation, &list, 1, 1);
	tree_publish(fs->tree, generation,
		with_host ? snapshot_new(NULL, generation, &list, 1, 1)
			  : snapshot_ref(before->host),
		vms, n_vms);
	metric_list_unref(list);
	view_unref(before);
}

/* A disk in the page cache: a file of one page, dropped when the time is another. */
struct cached_disk {
	uint64_t id;
	struct timespec time;
	char page[4096]; /* as text */
	bool cached;
};

/* Reads it as the kernel does, until @text is there, or is not. */
static void read_until(struct fs *fs, struct cached_disk *disk, const char *text, bool is)
{
	do {
		struct content_answer a;
		struct content_bytes bytes;

		assert_int_equal(content_stat(fs->c, disk->id, 1, &a), 0);
		assert_false(a.keep_attr);
		disk->cached &= a.st.st_mtim.tv_sec == disk->time.tv_sec &&
			a.st.st_mtim.tv_nsec == disk->time.tv_nsec;
		disk->time = a.st.st_mtim;
		if (disk->cached) {
			poll(NULL, 0, 3);
			continue;
		}
		assert_int_equal(content_read(fs->c, disk->id, false, 1, 0,
					 sizeof(disk->page), &bytes),
			0);
		memset(disk->page, 0, sizeof(disk->page));
		/* behind the header */
		memcpy(disk->page, bytes.data + 16, bytes.size - 16);
		disk->cached = true;
		blob_unref(bytes.blob);
	} while ((strstr(disk->page, text) != NULL) != is);
}

/*
 * A disk in the page cache belongs to the host and to a VM that may come and go: it must
 * go on with each of them, whichever it showed when it was read.
 */
static void a_cached_disk_goes_on_without_its_vm_and_with_it(void **state)
{
	(void)state;
	static const char name[] = "00000000-0000-0000-0000-000000000000.img";
	struct fs fs;

	fs_init(&fs);
	publish_beside(&fs, 2, true, 1, "mine", 1111);
	struct cached_disk disk = { .id = look_up(&fs, NODE_DISKS, name).id };

	read_until(&fs, &disk, "context='vm'", true);
	/* the host's alone */
	publish_beside(&fs, 3, false, 0, NULL, 0);
	read_until(&fs, &disk, "context='vm'", false);
	for (uint64_t i = 0; i < 3; i++) {
		static const char *const texts[] = { "<value>4000", "<value>4001",
			"<value>4002" };

		publish_beside(&fs, 4 + i, true, 0, NULL, 4000 + i);
		read_until(&fs, &disk, texts[i], true);
	}
	/* the VM's again, while nothing is new of the host */
	publish_beside(&fs, 7, false, 1, "mine", 2222);
	read_until(&fs, &disk, "<value>2222", true);
	publish_beside(&fs, 8, false, 1, "mine", 3333);
	read_until(&fs, &disk, "<value>3333", true);
	fs_done(&fs);
}

/* A link by number that another VM got in the same moment goes on with that one. */
static void a_number_goes_on_to_another_vm(void **state)
{
	(void)state;
	struct fs fs;
	struct metric_list *list = make_list(9);
	uint64_t ino = 0;

	fs_init(&fs);
	for (uint64_t i = 0; i < 4; i++) {
		/* the last one is the same VM under another name */
		static const char *const names[] = { "one", "two", "three", "four" };
		struct vm_ident vm = { .id = 7, .name = names[i] };
		struct view *before = tree_view(fs.tree);

		vm.uuid.b[0] = i < 2 ? (uint8_t)i : 2;
		struct snapshot *vms[] = { snapshot_new(&vm, i + 2, &list, 1, 1) };

		tree_publish(fs.tree, i + 2, snapshot_ref(before->host), vms, 1);
		view_unref(before);
		if (ino) {
			assert_true(taken_back(&fs, ino, NULL, 1));
			content_taken(fs.c, ino, true);
		}
		struct content_answer answer = look_up(&fs, NODE_BY_ID, "7");

		assert_true(!ino || ino == answer.id);
		ino = answer.id;
	}
	metric_list_unref(list);
	fs_done(&fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_is_what_was_told),
		cmocka_unit_test(an_answer_under_way_is_taken_back),
		cmocka_unit_test(no_file_grows),
		cmocka_unit_test(what_has_outgrown_its_size_is_given),
		cmocka_unit_test(what_has_moved_shows_nothing_of_long_ago),
		cmocka_unit_test(what_has_moved_is_taken_back_after_a_reload),
		cmocka_unit_test(late_answers_are_taken_back),
		cmocka_unit_test(entries_vanish_with_their_vms),
		cmocka_unit_test(a_name_that_a_vm_had_is_forgotten),
		cmocka_unit_test(aliases_are_not_remembered),
		cmocka_unit_test(a_rendering_stays_what_it_is),
		cmocka_unit_test(disks_have_a_constant_size),
		cmocka_unit_test(a_cached_disk_goes_on_without_its_vm_and_with_it),
		cmocka_unit_test(a_number_goes_on_to_another_vm),
	};

	return cmocka_run_group_tests(tests, make_specs, drop_specs);
}
