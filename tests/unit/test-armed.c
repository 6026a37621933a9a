/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel was told, against a kernel that is simulated (kernel-model.h): readers,
 * answers that come late, notifications in between, VMs that come and go.  At rest nothing
 * that is cached may differ from what the newest view answers.
 * ARMED_SEED: of the first run; ARMED_STEPS: of all runs together.
 */
#include "kernel-model.h"

#include "fs/armed.h"
#include "handover/handover.h"
#include "handover/ledger.h"
#include "mdisk/image.h"
#include "util/limits.h"

#define STEPS ROUNDS(1000000u)
#define RUN_STEPS 20000u
#define REST_EVERY 150u

/* ---- at rest ---- */

static void status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "ok\n");
}

static void settle(struct model *m)
{
	for (unsigned i = 0; i < 12; i++) {
		while (m->n_requests)
			advance(m, 0);
		while (m->n_forgets)
			forget(m);
		do {
			notify(m);
		} while (m->n_changes);
		while (m->n_entries)
			take_back_entry(m);
		/* beyond every time that anything is left for */
		fake_ns += 300 * NS_PER_MS;
	}
}

static void check_listing(
	struct model *m, struct content *fresh, struct inode *node, const struct stat *st)
{
	struct strbuf names = STRBUF_INIT;
	struct node_entry *entries = NULL;
	struct content_answer *answers = NULL;
	size_t n = 0;

	/* who opens it sees its time first */
	if (!node->listing || node->listing_time.tv_sec != st->st_mtim.tv_sec ||
		node->listing_time.tv_nsec != st->st_mtim.tv_nsec)
		return;
	CHECK(content_list(
		      fresh, node->ino, 0, SIZE_MAX, false, &entries, &answers, &n) == 0,
		"directory %lx: a listing of nothing", node->ino);
	for (size_t i = 0; i < n; i++)
		strbuf_addf(&names, "%s\n", entries[i].name);
	CHECK(!strcmp(strbuf_str(&names), node->listing),
		"directory %lx lists\n%sinstead of\n%s", node->ino, node->listing,
		strbuf_str(&names));
	strbuf_done(&names);
	node_entries_free(entries, n);
	free(answers);
	(void)m;
}

static void check_pages(struct content *fresh, const struct inode *node, bool link)
{
	for (unsigned i = 0; i < N_PAGES; i++) {
		const struct page *page = &node->pages[i];
		struct content_bytes b = { 0 };
		struct strbuf text = STRBUF_INIT;
		int r;

		if (!page->cached)
			continue;
		r = link ? content_readlink(fresh, node->ino, &text, &b.generation)
			 : content_read(fresh, node->ino, true, 1, i * PAGE_BYTES,
				   PAGE_BYTES, &b);
		CHECK(r == 0, "node %lx: a page of nothing (%d)", node->ino, r);
		const char *data = link ? strbuf_str(&text) : b.data;
		size_t n = link ? text.len : b.size;

		CHECK(page->size == n && !memcmp(page->data, data, n),
			"node %lx: page %u holds '%.*s', not '%.*s'", node->ino, i,
			(int)page->size, page->data, (int)n, data);
		blob_unref(b.blob);
		strbuf_done(&text);
	}
}

static bool is_pending(const struct model *m, enum op op, uint64_t ino, unsigned page)
{
	for (size_t i = 0; i < m->n_requests; i++) {
		const struct request *q = &m->requests[i];

		if (q->op == op && q->ino == ino && q->page == page)
			return true;
	}
	return false;
}

static void ask_and_wait(struct model *m, enum op op, uint64_t ino, unsigned page)
{
	while (m->n_requests == MAX_PENDING)
		advance(m, random_below(&m->w, MAX_PENDING));
	send_request(m, op, ino, "", page);
	while (is_pending(m, op, ino, page))
		advance(m, random_below(&m->w, (unsigned)m->n_requests));
}

/* What others do meanwhile, for a few milliseconds at most. */
static void meanwhile(struct model *m, uint64_t disk)
{
	unsigned what = random_below(&m->w, 8);

	fake_ns += random_below(&m->w, 800) * 1000;
	if (what == 0) {
		publish(&m->w);
		/* no VM starts and stops while somebody reads the disk of it */
		m->w.steady = true;
	} else if (what == 1) {
		read_direct(m, disk, random_below(&m->w, 4));
	} else if (what < 4) {
		send_request(m, OP_STAT, disk, "", 0);
	} else if (what < 6 && m->n_requests) {
		advance(m, random_below(&m->w, (unsigned)m->n_requests));
	}
}

/* One read(2) of a page of a disk.  Return: false if there is nothing to be had. */
static bool guest_page(struct model *m, uint64_t ino, unsigned page, char *ret)
{
	struct inode *node = inode_get(&m->k, ino);

	if (!attr_valid(node, fake_ns))
		ask_and_wait(m, OP_STAT, ino, 0);
	meanwhile(m, ino);
	if (!node->pages[page].cached)
		ask_and_wait(m, OP_READ, ino, page);
	if (!node->pages[page].cached)
		return false;
	memcpy(ret, node->pages[page].data, PAGE_BYTES);
	meanwhile(m, ino);
	return true;
}

/* As the time of its disk tells. */
static bool vm_runs(struct model *m, uint64_t disk)
{
	return inode_get(&m->k, disk)->st.st_mtim.tv_nsec & 1;
}

/*
 * A guest's rules: a header that does not say busy, the content, the same header again.
 * Nobody who got an answer waits for long to take it in.
 */
static void guest_reads(struct model *m, uint64_t ino)
{
	static char image[N_PAGES * PAGE_BYTES], again[PAGE_BYTES];
	struct image_header h, last;

	while (m->n_requests)
		advance(m, 0);
	if (!guest_page(m, ino, 0, image) ||
		image_parse_header(image, PAGE_BYTES, &h) < 0 || h.busy ||
		h.length >= sizeof(image) - IMAGE_HEADER_BYTES)
		return;
	bool ran = vm_runs(m, ino);

	for (unsigned i = 1; i * PAGE_BYTES < IMAGE_HEADER_BYTES + h.length; i++)
		if (!guest_page(m, ino, i, image + i * PAGE_BYTES))
			return;
	if (!guest_page(m, ino, 0, again) ||
		image_parse_header(again, PAGE_BYTES, &last) < 0 || last.busy ||
		last.checksum != h.checksum || last.length != h.length)
		return;
	/* a VM without metrics of its own has the same header when it has stopped */
	if (vm_runs(m, ino) != ran)
		return;
	/* what ran, or runs again, may have had another image of that tick, so of that sum */
	CHECK(image_checksum(image + IMAGE_HEADER_BYTES, h.length) == h.checksum ||
			fake_ns - m->w.moved_ns < IMAGE_TICK_NS,
		"disk %lx is torn", ino);
}

/* One read(2) of a disk: the attributes, then what is not cached. */
static void read_disk(struct model *m, struct inode *node, unsigned page)
{
	send_request(m, OP_STAT, node->ino, "", 0);
	while (m->n_requests)
		advance(m, m->n_requests - 1);
	if (!node->pages[page].cached)
		send_request(m, OP_READ, node->ino, "", page);
	while (m->n_requests)
		advance(m, m->n_requests - 1);
}

static size_t document_len(const char *text, size_t len)
{
	while (len > 0 && strchr(" \t\n", text[len - 1]))
		len--;
	return len;
}

/* What a guest reads, from pages as far as they are cached, is whole and new. */
static void check_disk(struct model *m, struct content *fresh, struct inode *node)
{
	static char image[N_PAGES * PAGE_BYTES];
	struct content_bytes b = { 0 };
	struct image_header h = { 0 };

	/* it moves on, and may be busy for a moment if others come, of another disk or this */
	read_disk(m, node, 0);
	fake_ns += 30 * NS_PER_MS;
	for (unsigned i = 0; i < N_PAGES; i++) {
		read_disk(m, node, i);
		memcpy(image + i * PAGE_BYTES, node->pages[i].data, PAGE_BYTES);
	}
	CHECK(image_parse_header(image, sizeof(image), &h) == 0 && !h.busy &&
			h.length < sizeof(image) - IMAGE_HEADER_BYTES,
		"disk %lx: busy %u, length %u", node->ino, h.busy, h.length);
	const char *text = image + IMAGE_HEADER_BYTES;

	CHECK(image_checksum(text, h.length) == h.checksum, "disk %lx is torn",
		node->ino);
	CHECK(content_read(fresh, node->ino, true, 1, 0, sizeof(image), &b) == 0,
		"disk %lx: pages of nothing", node->ino);
	/* made at another time, it is padded in another way */
	size_t len = document_len(text, h.length);
	size_t n = document_len(b.data + IMAGE_HEADER_BYTES, b.size - IMAGE_HEADER_BYTES);

	CHECK(len == n && !memcmp(text, b.data + IMAGE_HEADER_BYTES, n),
		"disk %lx holds\n%.*sinstead of\n%.*s", node->ino, (int)len, text, (int)n,
		b.data + IMAGE_HEADER_BYTES);
	blob_unref(b.blob);
}

static bool is_cached(const struct inode *node)
{
	bool cached = attr_valid(node, fake_ns);

	for (unsigned i = 0; i < N_PAGES; i++)
		cached |= node->pages[i].cached;
	return cached;
}

static void check_node(struct model *m, struct content *fresh, struct inode *node)
{
	struct content_answer a;
	enum node_kind document;
	bool disk = is_disk(node->ino);
	int r;

	if (node_is_document(node->ino, &document))
		return; /* never changes, but is dropped */
	r = content_stat(fresh, node->ino, 1, &a);
	if (r < 0) {
		/* who reads a disk asks for its attributes first */
		CHECK(disk || !is_cached(node), "node %lx is gone but cached", node->ino);
		return;
	}
	if (disk) {
		check_disk(m, fresh, node);
		return;
	}
	CHECK(!attr_valid(node, fake_ns) ||
			(a.st.st_size == node->st.st_size &&
				a.st.st_mode == node->st.st_mode &&
				a.st.st_mtim.tv_sec == node->st.st_mtim.tv_sec &&
				a.st.st_mtim.tv_nsec == node->st.st_mtim.tv_nsec),
		"node %lx: size %jd mode %o time %ld.%09ld, not %jd %o %ld.%09ld",
		node->ino, (intmax_t)node->st.st_size, node->st.st_mode,
		node->st.st_mtim.tv_sec, node->st.st_mtim.tv_nsec, (intmax_t)a.st.st_size,
		a.st.st_mode, a.st.st_mtim.tv_sec, a.st.st_mtim.tv_nsec);
	int64_t newest = 0, told = 0;

	/* who watches was woken for what there is to be read */
	CHECK(content_version(fresh, node->ino, &newest) == 0 &&
			content_version(m->c, node->ino, &told) == 0 && newest == told,
		"node %lx: a watcher has seen %jd, not %jd", node->ino, (intmax_t)told,
		(intmax_t)newest);
	if (S_ISDIR(a.st.st_mode))
		check_listing(m, fresh, node, &a.st);
	else
		check_pages(fresh, node, S_ISLNK(a.st.st_mode));
}

static void check_rest(struct model *m)
{
	struct disks *disks = disks_new(DISK_BLOCK_BYTES);

	if (random_below(&m->w, 2)) {
		/* news that comes while nobody does anything */
		settle(m);
		for (unsigned i = 0; i < 40; i++) {
			walk(m);
			while (m->n_requests)
				advance(m, 0);
		}
		publish(&m->w);
	}
	settle(m);
	/* another process, that was never asked: ids mean the same to it */
	int64_t now_ns = fake_ns;

	fake_ns = m->since_ns;
	struct content *fresh = content_new(m->w.tree, disks, &m->config, status, NULL);

	fake_ns = now_ns;
	for (size_t i = 0; i < INODE_BUCKETS; i++)
		for (struct inode *node = m->k.inodes[i]; node; node = node->next)
			check_node(m, fresh, node);
	for (size_t i = 0; i < m->k.n_entries; i++) {
		const struct entry *e = &m->k.entries[i];
		struct content_answer a = { 0 };
		int r = content_lookup(fresh, e->parent, e->name, 1, &a);

		CHECK(r == 0 && a.id == e->ino, "%s in %lx leads to %lx, not to %lx (%d)",
			e->name, e->parent, e->ino, a.id, r);
	}
	content_free(fresh);
	disks_free(disks);
}

/* ---- a run ---- */

static void reload(struct model *m)
{
	m->config.mode = random_below(&m->w, 2) ? 0444 : 0440;
	m->config.nodes.disks = random_below(&m->w, 4) != 0;
	m->config.nodes.shared_disk = random_below(&m->w, 4) != 0;
	m->since_ns = ++fake_ns;
	content_set_config(m->c, &m->config);
}

static void guest_reads_any(struct model *m)
{
	const struct inode *node = random_inode(m);

	for (size_t i = m->k.n_inodes; i > 0 && !is_disk(node->ino); i--)
		node = random_inode(m);
	if (is_disk(node->ino))
		guest_reads(m, node->ino);
	m->w.steady = false;
}

static void step(struct model *m)
{
	unsigned what = random_below(&m->w, 100);

	fake_ns += random_below(&m->w, 50) ? random_below(&m->w, 200000)
					   : random_below(&m->w, 400) * NS_PER_MS;
	if (what < 30)
		walk(m);
	else if (what < 38)
		use(m, random_inode(m));
	else if (what < 40)
		guest_reads_any(m);
	else if (what < 68 && m->n_requests)
		advance(m, random_below(&m->w, (unsigned)m->n_requests));
	else if (what < 69 && m->n_requests)
		lose(m, random_below(&m->w, (unsigned)m->n_requests));
	else if (what < 84)
		notify(m);
	else if (what < 88)
		take_back_entry(m);
	else if (what < 91)
		evict(m, random_inode(m)->ino);
	else if (what < 94)
		forget(m);
	else if (what < 99)
		publish(&m->w);
	else if (random_below(&m->w, 4) == 0)
		reload(m);
}

static void model_init(struct model *m, unsigned seed)
{
	*m = (struct model){ .config = { .nodes = { .shared_disk = true, .disks = true },
				     .mode = 0444 } };
	world_init(&m->w, seed);
	m->disks = disks_new(DISK_BLOCK_BYTES);
	publish(&m->w);
	m->since_ns = fake_ns;
	m->c = content_new(m->w.tree, m->disks, &m->config, status, NULL);
	inode_make(&m->k, NODE_ROOT)->lookups = 1;
}

static void model_done(struct model *m)
{
	settle(m);
	kernel_done(&m->k);
	content_free(m->c);
	disks_free(m->disks);
	world_done(&m->w);
}

static unsigned from_env(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void nothing_old_stays_in_the_kernel(void **state)
{
	(void)state;
	static struct model m;
	unsigned steps = from_env("ARMED_STEPS", STEPS);

	first_seed = from_env("ARMED_SEED", 1);
	for (run_seed = first_seed; steps > 0; run_seed++) {
		unsigned n = steps < RUN_STEPS ? steps : RUN_STEPS;

		model_init(&m, run_seed);
		for (run_step = 0; run_step < n; run_step++) {
			step(&m);
			if (run_step % REST_EVERY == REST_EVERY - 1)
				check_rest(&m);
		}
		model_done(&m);
		steps -= n;
	}
}

/* ---- what the process before us told ---- */

static void no_entry(void *ctx, struct armed_heir *heir)
{
	(void)ctx;
	(void)heir;
}

static bool all_touched(void *ctx, uint64_t group)
{
	(void)ctx;
	(void)group;
	return true;
}

static enum armed_verdict all_changed(
	void *ctx, uint64_t ino, int64_t version, uint64_t *ret_group)
{
	(void)ctx;
	(void)ino;
	(void)version;
	*ret_group = ARMED_TREE;
	return ARMED_CHANGED;
}

/* What a read gets: the old text, or what is new (NULL), of @size. */
static const char *read_at(struct armed *a, size_t size, int64_t now_ns)
{
	static char text[16];
	_cleanup_blob_ struct blob *told = NULL;

	const struct armed_question question = {
		.size = size, .reading = true, .ns = now_ns
	};

	if (!armed_recall(a, 1, &question, &told))
		return NULL;
	assert_true(told->size < sizeof(text));
	memcpy(text, told->data, told->size);
	text[told->size] = '\0';
	return text;
}

/* Takes back what there is to be taken back. */
static void take_all_back(struct armed *a, int64_t now_ns)
{
	const struct armed_now now = {
		.ns = now_ns, .touched = all_touched, .check = all_changed
	};
	struct armed_change *changes;
	int64_t again_ns;
	size_t n = armed_collect(a, &now, &changes, &again_ns);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(armed_taken(a, changes[i].ino, true, now_ns), 0);
	armed_changes_free(changes, n);
}

/* A read that was sent while nobody served is answered by the size that it knows. */
static void who_waited_for_the_next_process_reads_what_he_was_told(void **state)
{
	(void)state;
	_Alignas(64) struct told_row rows[4] = { 0 };
	_Atomic uint64_t top = 0;
	struct armed *first = armed_new(), *next = armed_new();
	_cleanup_blob_ struct blob *old = blob_new("99\n", 3, 1, 1);
	const struct armed_node node = {
		.ino = 1, .group = ARMED_TREE, .version = 1, .told = old, .entered = true
	};
	bool entry;

	armed_inherit(first, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	assert_true(armed_set(first, &node, &entry));
	armed_free(first);

	armed_inherit(next, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	take_all_back(next, NS_PER_S);
	for (unsigned i = 1; i < 5; i++) {
		assert_string_equal(read_at(next, 4, i * NS_PER_S), "99\n");
		/* what it gets is taken back again */
		take_all_back(next, i * NS_PER_S);
	}
	armed_caught_up(next, 5 * NS_PER_S);
	assert_string_equal(read_at(next, 4, 5 * NS_PER_S), "99\n");
	take_all_back(next, 5 * NS_PER_S);
	assert_null(read_at(next, 4, 6 * NS_PER_S));
	armed_free(next);
}

/* @text: what @ino is told. */
static void tell(struct armed *a, uint64_t ino, int64_t version, const char *text)
{
	_cleanup_blob_ struct blob *blob = blob_new(text, strlen(text), 1, version);
	const struct armed_node node = { .ino = ino,
		.group = ARMED_TREE,
		.version = version,
		.generation = 1,
		.told = blob,
		.entered = true };
	bool entry;

	assert_true(armed_set(a, &node, &entry));
}

/* He would read what is old for as long as processes die before all have caught up. */
static void who_waited_reads_what_is_new_if_its_size_is_known(void **state)
{
	(void)state;
	_Alignas(64) struct told_row rows[4] = { 0 };
	_Atomic uint64_t top = 0;
	struct armed *first = armed_new(), *next = armed_new();

	armed_inherit(first, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	tell(first, 1, 1, "99\n");
	tell(first, 1, 2, "98\n");
	armed_free(first);

	armed_inherit(next, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	/* until it is taken back the kernel may have the rest of it */
	assert_string_equal(read_at(next, 3, NS_PER_S), "98\n");
	take_all_back(next, NS_PER_S);
	assert_null(read_at(next, 3, NS_PER_S));
	assert_null(read_at(next, 2, NS_PER_S));
	/* whose size was another one before */
	assert_string_equal(read_at(next, 4, NS_PER_S), "98\n");
	armed_free(next);

	/* nobody has forgotten by then that it was smaller */
	next = armed_new();
	rows[0] = rows[1] = (struct told_row){ 0 };
	armed_inherit(next, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	tell(next, 1, 1, "9\n");
	tell(next, 1, 2, "99\n");
	armed_free(next);
	next = armed_new();
	armed_inherit(next, ledger_new(rows, sizeof(rows[0]), 4, &top), no_entry, NULL);
	take_all_back(next, NS_PER_S);
	assert_string_equal(read_at(next, 3, NS_PER_S), "99\n");
	armed_free(next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waited_reads_what_is_new_if_its_size_is_known),
		cmocka_unit_test(who_waited_for_the_next_process_reads_what_he_was_told),
		cmocka_unit_test(nothing_old_stays_in_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
