/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel was told, against a kernel that is simulated (kernel-cache.h): readers,
 * answers that come late, notifications in between, VMs that come and go.  At rest nothing
 * that is cached may differ from what the newest view answers.
 * ARMED_SEED: of the first run; ARMED_STEPS: of all runs together.
 */
#include "kernel-cache.h"
#include "world.h"

#include "core/blob.h"
#include "core/snapshot.h"
#include "fs/content.h"
#include "mdisk/disks.h"
#include "mdisk/image.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/strbuf.h"

#ifdef __SANITIZE_THREAD__
#define STEPS 100000u
#else
#define STEPS 1000000u
#endif
#define RUN_STEPS 20000u
#define REST_EVERY 150u

/* ---- the model ---- */

#define MAX_PENDING 12u
#define MAX_QUEUED 256u

enum op { OP_LOOKUP, OP_STAT, OP_READ, OP_LIST };
enum stage { SENT, ANSWERED, TOLD }; /* then taken in */

struct request {
	enum op op;
	enum stage stage;
	uint64_t ino; /* of LOOKUP: the directory */
	uint64_t stamp;
	char name[64];
	unsigned page;
	pid_t reader;
	struct timespec dir_time;
	int r;
	struct content_answer answer;
	struct content_bytes bytes;
	struct strbuf link;
	struct node_entry *entries;
	struct content_answer *answers;
	size_t n;
};

struct given_back {
	uint64_t ino, n;
};

struct model {
	struct world w;
	int64_t since_ns;
	struct disks *disks;
	struct content_config config;
	struct content *c;
	struct kernel k;
	struct request requests[MAX_PENDING];
	size_t n_requests;
	struct given_back forgets[MAX_QUEUED];
	size_t n_forgets;
	/* the notifier: what it has in hand, and how far it is */
	struct armed_change *changes;
	size_t n_changes, at;
	unsigned phase;
	bool known;
	struct entry entries[MAX_ENTRIES]; /* the entries' thread */
	size_t n_entries;
};

static unsigned first_seed, run_seed, run_step;

#define CHECK(cond, ...)                                                                 \
	do {                                                                             \
		if (!(cond)) {                                                           \
			fprintf(stderr, "ARMED_SEED=%u, step %u: ", run_seed, run_step); \
			fprintf(stderr, __VA_ARGS__);                                    \
			fputc('\n', stderr);                                             \
			fail();                                                          \
		}                                                                        \
	} while (0)

static void reload(struct model *m)
{
	m->config.mode = random_below(&m->w, 2) ? 0444 : 0440;
	m->config.nodes.disks = random_below(&m->w, 4) != 0;
	m->config.nodes.shared_disk = random_below(&m->w, 4) != 0;
	m->since_ns = ++fake_ns;
	content_set_config(m->c, &m->config);
}

/* ---- requests ---- */

static void answer_one(struct model *m, struct request *q)
{
	struct stat *st = &(struct stat){ 0 };
	struct inode *node = inode_get(&m->k, q->ino);

	if (node)
		st = &node->st;
	switch (q->op) {
	case OP_LOOKUP:
		q->r = content_lookup(m->c, q->ino, q->name, q->reader, &q->answer);
		break;
	case OP_STAT:
		q->r = content_stat(m->c, q->ino, q->reader, &q->answer);
		break;
	case OP_READ:
		if (S_ISLNK(st->st_mode))
			q->r = content_readlink(
				m->c, q->ino, &q->link, &q->bytes.generation);
		else
			q->r = content_read(m->c, q->ino, false, q->reader,
				(uint64_t)q->page * PAGE_BYTES, PAGE_BYTES, &q->bytes);
		break;
	case OP_LIST:
		q->r = content_list(
			m->c, q->ino, 0, SIZE_MAX, true, &q->entries, &q->answers, &q->n);
		break;
	}
	q->stage = ANSWERED;
}

static void told_one(struct model *m, struct request *q)
{
	q->stage = TOLD;
	if (q->r < 0)
		return;
	if (q->op == OP_LIST && q->n)
		content_told(m->c, q->answers[0].generation);
	else if (q->op == OP_READ)
		content_told(m->c, q->bytes.generation);
	else if (q->op == OP_LOOKUP || q->op == OP_STAT)
		content_told(m->c, q->answer.generation);
}

static void finish_reads(struct model *m, uint64_t ino);
static void send_request(
	struct model *m, enum op op, uint64_t ino, const char *name, unsigned page);

static void take_attr(struct model *m, struct inode *node,
	const struct content_answer *answer, uint64_t stamp)
{
	if (node->attr_stamp <= stamp && attr_differ(node, &answer->st))
		finish_reads(m, node->ino);
	attr_take(&m->k, node, &answer->st, answer->keep_attr, stamp);
}

static void take_entry(struct model *m, uint64_t parent, const char *name,
	const struct content_answer *answer, uint64_t stamp)
{
	struct inode *node = inode_make(&m->k, answer->id);
	struct entry *e = entry_get(&m->k, parent, name);

	node->lookups++;
	take_attr(m, node, answer, stamp);
	if (answer->keep_entry)
		entry_set(&m->k, parent, name, answer->id);
	else if (e)
		entry_drop(&m->k, e);
}

static void take_list(struct model *m, struct request *q)
{
	struct strbuf names = STRBUF_INIT;
	struct inode *dir;

	for (size_t i = 0; i < q->n; i++) {
		strbuf_addf(&names, "%s\n", q->entries[i].name);
		/* serve.c: not counted */
		if (q->answers[i].keep_attr)
			take_entry(
				m, q->ino, q->entries[i].name, &q->answers[i], q->stamp);
	}
	dir = inode_get(&m->k, q->ino);
	free(dir->listing);
	dir->listing = strbuf_steal(&names);
	dir->listing_time = q->dir_time;
}

static void take_page(struct model *m, struct request *q)
{
	struct inode *node = inode_get(&m->k, q->ino);
	struct page *page = &node->pages[q->page];
	const char *data = q->bytes.blob ? q->bytes.data : strbuf_str(&q->link);

	page->cached = true;
	page->size = q->bytes.blob ? q->bytes.size + q->bytes.zeros : q->link.len;
	memset(page->data, 0, PAGE_BYTES);
	memcpy(page->data, data, q->bytes.blob ? q->bytes.size : q->link.len);
	/* what ends early is shorter than it was said to be */
	off_t end = (off_t)(q->page * PAGE_BYTES + page->size);

	if (page->size < PAGE_BYTES && q->stamp >= node->attr_stamp &&
		end < node->st.st_size) {
		node->st.st_size = end;
		node->attr_stamp = ++m->k.stamp;
	}
}

static void request_done(struct request *q)
{
	if (q->r >= 0)
		blob_unref(q->bytes.blob);
	strbuf_done(&q->link);
	node_entries_free(q->entries, q->n);
	free(q->answers);
}

/* Who asked has what he needs for the next thing, for how long ever it is kept. */
static void go_on(struct model *m, struct inode *node)
{
	unsigned page = random_below(&m->w, 4);

	if (S_ISDIR(node->st.st_mode) || (off_t)(page * PAGE_BYTES) >= node->st.st_size ||
		node->pages[page].cached)
		return;
	send_request(m, OP_READ, node->ino, "", page);
}

/* Takes a request one step further; at last its answer reaches who asked. */
static void advance(struct model *m, size_t i)
{
	struct request *q = &m->requests[i];

	if (q->stage == SENT) {
		answer_one(m, q);
		return;
	}
	if (q->stage == ANSWERED) {
		told_one(m, q);
		return;
	}
	struct request mine = *q;

	/* out of the way: taking it in may finish others */
	*q = m->requests[--m->n_requests];
	if (mine.r >= 0 && mine.op == OP_LOOKUP) {
		take_entry(m, mine.ino, mine.name, &mine.answer, mine.stamp);
		go_on(m, inode_get(&m->k, mine.answer.id));
	} else if (mine.r >= 0 && mine.op == OP_STAT) {
		take_attr(m, inode_get(&m->k, mine.ino), &mine.answer, mine.stamp);
		go_on(m, inode_get(&m->k, mine.ino));
	}
	if (mine.r >= 0 && mine.op == OP_READ)
		take_page(m, &mine);
	if (mine.r >= 0 && mine.op == OP_LIST)
		take_list(m, &mine);
	request_done(&mine);
}

static void finish(struct model *m, uint64_t ino, bool in_dir)
{
	for (size_t i = 0; i < m->n_requests;) {
		const struct request *q = &m->requests[i];
		bool dir_op = q->op == OP_LOOKUP || q->op == OP_LIST;

		if (q->ino == ino && (in_dir ? dir_op : q->op == OP_READ)) {
			advance(m, i);
			i = 0;
		} else {
			i++;
		}
	}
}

static void finish_reads(struct model *m, uint64_t ino)
{
	finish(m, ino, false);
}

static void send_request(
	struct model *m, enum op op, uint64_t ino, const char *name, unsigned page)
{
	for (size_t i = 0; i < m->n_requests; i++) {
		const struct request *q = &m->requests[i];

		/* who asks for the same waits for that */
		if (q->op == op && q->ino == ino && q->page == page &&
			!strcmp(q->name, name))
			return;
	}
	if (m->n_requests == MAX_PENDING)
		return;
	struct request *q = &m->requests[m->n_requests++];
	struct inode *node = inode_get(&m->k, ino);

	*q = (struct request){ .op = op,
		.ino = ino,
		.page = page,
		.reader = (pid_t)(1 + random_below(&m->w, 3)),
		.stamp = m->k.stamp,
		.link = STRBUF_INIT };
	snprintf(q->name, sizeof(q->name), "%s", name);
	if (node)
		q->dir_time = node->st.st_mtim;
}

/* The answer does not come to whom it is for: he was killed. */
static void lose(struct model *m, size_t i)
{
	struct request *q = &m->requests[i];

	if (q->op == OP_READ || q->stage != ANSWERED)
		return;
	if (q->r >= 0 && q->op == OP_LOOKUP)
		content_forgotten(m->c, q->answer.id, 1);
	for (size_t k = 0; k < q->n; k++)
		content_forgotten(m->c, q->answers[k].id, 1);
	told_one(m, q);
	request_done(q);
	*q = m->requests[--m->n_requests];
}

/* ---- readers ---- */

static void use(struct model *m, struct inode *node)
{
	int64_t version;
	unsigned page = random_below(&m->w, 4);

	/* to open, to stat, or to read past the known end */
	if ((!node->attr_valid && !S_ISLNK(node->st.st_mode)) ||
		random_below(&m->w, 8) == 0) {
		send_request(m, OP_STAT, node->ino, "", 0);
		return;
	}
	if (S_ISDIR(node->st.st_mode)) {
		send_request(m, OP_LIST, node->ino, "", 0);
		return;
	}
	if ((off_t)(page * PAGE_BYTES) >= node->st.st_size)
		page = 0;
	if (!node->pages[page].cached)
		send_request(m, OP_READ, node->ino, "", page);
	if (S_ISREG(node->st.st_mode) && random_below(&m->w, 8) == 0 &&
		content_version(m->c, node->ino, &version) == 0)
		content_watch(m->c, node->ino);
}

/* Walks as far as names are known, and asks for the next one. */
static void walk(struct model *m)
{
	const char *path[4] = { NULL };
	char buf[64];
	uint64_t at = NODE_ROOT;

	random_path(&m->w, path, buf, sizeof(buf));
	for (unsigned i = 0; i < 4 && path[i]; i++) {
		const struct entry *e = entry_get(&m->k, at, path[i]);

		if (!inode_get(&m->k, at))
			return;
		if (!e) {
			send_request(m, OP_LOOKUP, at, path[i], 0);
			return;
		}
		at = e->ino;
	}
	if (inode_get(&m->k, at))
		use(m, inode_get(&m->k, at));
}

static struct inode *random_inode(struct model *m)
{
	unsigned skip = random_below(&m->w, (unsigned)m->k.n_inodes);

	for (size_t i = 0;; i = (i + 1) % INODE_BUCKETS)
		for (struct inode *node = m->k.inodes[i]; node; node = node->next)
			if (!skip--)
				return node;
}

static bool is_busy(const struct model *m, uint64_t ino)
{
	for (size_t i = 0; i < m->n_requests; i++)
		if (m->requests[i].ino == ino)
			return true;
	return ino == NODE_ROOT || (m->phase == 1 && m->changes[m->at].ino == ino);
}

static void evict(struct model *m, uint64_t ino)
{
	if (is_busy(m, ino) || m->n_forgets == MAX_QUEUED)
		return;
	uint64_t n = inode_evict(&m->k, ino);

	m->forgets[m->n_forgets++] = (struct given_back){ ino, n };
}

static void forget(struct model *m)
{
	if (!m->n_forgets)
		return;
	content_forgotten(m->c, m->forgets[0].ino, m->forgets[0].n);
	memmove(m->forgets, m->forgets + 1, --m->n_forgets * sizeof(m->forgets[0]));
}

/* ---- notifications ---- */

static void next_change(struct model *m)
{
	m->phase = 0;
	m->at++;
	if (m->at < m->n_changes)
		return;
	/* the names' turn */
	for (size_t i = 0; i < m->n_changes; i++) {
		struct entry *e = &m->entries[m->n_entries];

		if (!m->changes[i].name)
			continue;
		CHECK(m->n_entries < MAX_ENTRIES, "too many entries to take back");
		e->parent = m->changes[i].parent;
		snprintf(e->name, sizeof(e->name), "%s", m->changes[i].name);
		m->n_entries++;
	}
	armed_changes_free(m->changes, m->n_changes);
	m->changes = NULL;
	m->n_changes = m->at = 0;
}

/* As in serve.c: the attributes, then the pages. */
static void notify(struct model *m)
{
	if (!m->n_changes) {
		content_wake(m->c);
		m->at = 0;
		m->n_changes = content_changes(m->c, &m->changes);
		if (!m->n_changes)
			armed_changes_free(m->changes, 0);
		return;
	}
	const struct armed_change *change = &m->changes[m->at];
	struct inode *node = inode_get(&m->k, change->ino);

	if (!change->node) {
		next_change(m);
	} else if (m->phase == 0) {
		m->known = node != NULL;
		if (node)
			attr_drop(&m->k, node);
		m->phase = 1;
	} else if (m->phase == 1) {
		if (m->known) {
			finish_reads(m, change->ino);
			drop_pages(node);
		}
		m->phase = 2;
	} else {
		content_taken(m->c, change->ino, m->known);
		next_change(m);
	}
}

static void take_back_entry(struct model *m)
{
	if (!m->n_entries)
		return;
	struct entry e = m->entries[0];
	struct inode *dir = inode_get(&m->k, e.parent);

	memmove(m->entries, m->entries + 1, --m->n_entries * sizeof(e));
	if (!dir)
		return;
	finish(m, e.parent, true);
	attr_drop(&m->k, dir);
	free(dir->listing);
	dir->listing = NULL;
	struct entry *known = entry_get(&m->k, e.parent, e.name);

	if (known)
		entry_drop(&m->k, known);
}

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
	size_t n = b.size - IMAGE_HEADER_BYTES;

	while (h.length > n && text[h.length - 1] == '\n')
		h.length--;
	CHECK(h.length == n && !memcmp(text, b.data + IMAGE_HEADER_BYTES, n),
		"disk %lx holds\n%.*sinstead of\n%.*s", node->ino, (int)h.length, text,
		(int)n, b.data + IMAGE_HEADER_BYTES);
	blob_unref(b.blob);
}

static bool is_cached(const struct inode *node)
{
	bool cached = node->attr_valid;

	for (unsigned i = 0; i < N_PAGES; i++)
		cached |= node->pages[i].cached;
	return cached;
}

static void check_node(struct model *m, struct content *fresh, struct inode *node)
{
	struct content_answer a;
	enum node_kind document;
	bool disk = node->ino == NODE_SHARED_DISK ||
		node->ino >> 60 == NODE_DISK - NODE_VM + 1;
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
	CHECK(!node->attr_valid ||
			(a.st.st_size == node->st.st_size &&
				a.st.st_mode == node->st.st_mode &&
				a.st.st_mtim.tv_sec == node->st.st_mtim.tv_sec &&
				a.st.st_mtim.tv_nsec == node->st.st_mtim.tv_nsec),
		"node %lx: size %jd mode %o time %ld.%09ld, not %jd %o %ld.%09ld",
		node->ino, (intmax_t)node->st.st_size, node->st.st_mode,
		node->st.st_mtim.tv_sec, node->st.st_mtim.tv_nsec, (intmax_t)a.st.st_size,
		a.st.st_mode, a.st.st_mtim.tv_sec, a.st.st_mtim.tv_nsec);
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

static void step(struct model *m)
{
	unsigned what = random_below(&m->w, 100);

	fake_ns += random_below(&m->w, 50) ? random_below(&m->w, 200000)
					   : random_below(&m->w, 400) * NS_PER_MS;
	if (what < 30)
		walk(m);
	else if (what < 40)
		use(m, random_inode(m));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_old_stays_in_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
