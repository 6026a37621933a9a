/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel of kernel-cache.h at work: requests, answers, notifications, each a step at a
 * time, so that a test can do others in between.
 */
#pragma once

#include "kernel-cache.h"
#include "world.h"

#include "core/blob.h"
#include "core/snapshot.h"
#include "fs/content.h"
#include "mdisk/disks.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/strbuf.h"

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
	struct blob *outgrown;
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

/* ---- requests ---- */

static inline void answer_one(struct model *m, struct request *q)
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

static inline void told_one(struct model *m, struct request *q)
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

static inline void finish_reads(struct model *m, uint64_t ino);
static inline void send_request(
	struct model *m, enum op op, uint64_t ino, const char *name, unsigned page);

static inline void take_attr(struct model *m, struct inode *node,
	const struct content_answer *answer, uint64_t stamp)
{
	if (node->attr_stamp <= stamp && attr_differ(node, &answer->st)) {
		/* the kernel sets the size before it waits for them */
		node->size_missed = true;
		finish_reads(m, node->ino);
	}
	attr_take(&m->k, node, &answer->st,
		answer->keep_attr ? INT64_MAX : fake_ns + answer->attr_ns, stamp);
}

static inline void take_entry(struct model *m, uint64_t parent, const char *name,
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

static inline void take_list(struct model *m, struct request *q)
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

/* Of a metric. */
static inline bool is_value(uint64_t ino)
{
	return ino >> 60 == NODE_VM_METRIC - NODE_VM + 1 ||
		ino >> 60 == NODE_HOST_METRIC - NODE_VM + 1;
}

/* What was told of it was taken back some time ago. */
static inline bool is_late(const struct inode *node)
{
	return !attr_valid(node, fake_ns) &&
		fake_ns - node->attr_dropped_ns > 200 * NS_PER_MS;
}

/* An entry that leads to it is on its way. */
static inline bool is_led_to(const struct model *m, uint64_t ino)
{
	bool found = false;

	for (size_t i = 0; i < m->n_requests; i++) {
		const struct request *q = &m->requests[i];

		found |= q->op == OP_LOOKUP && q->stage != SENT && q->answer.id == ino;
		for (size_t k = 0; k < q->n; k++)
			found |= q->answers[k].id == ino;
	}
	return found;
}

static inline void take_page(struct model *m, struct request *q)
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
	/*
	 * Who reads it sees as much of it as the file is said to have.  Three cases are left to
	 * chance: that the kernel drops an answer, for a notification that came meanwhile; that a
	 * name leads back to a file that somebody kept open for so long; and that he waited, since
	 * he saw the size, for longer than armed.c allows for.
	 */
	CHECK(!is_value(q->ino) || node->size_missed || is_led_to(m, q->ino) ||
			is_late(node) || (off_t)page->size == node->st.st_size,
		"node %lx: '%.*s' of %jd bytes", q->ino, (int)page->size, page->data,
		(intmax_t)node->st.st_size);
}

static inline void request_done(struct request *q)
{
	if (q->r >= 0)
		blob_unref(q->bytes.blob);
	strbuf_done(&q->link);
	node_entries_free(q->entries, q->n);
	free(q->answers);
}

/* Who asked has what he needs for the next thing, for how long ever it is kept. */
static inline void go_on(struct model *m, struct inode *node)
{
	unsigned page = random_below(&m->w, 4);

	if (S_ISDIR(node->st.st_mode) || (off_t)(page * PAGE_BYTES) >= node->st.st_size ||
		node->pages[page].cached)
		return;
	send_request(m, OP_READ, node->ino, "", page);
}

/* Takes a request one step further; at last its answer reaches who asked. */
static inline void advance(struct model *m, size_t i)
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

static inline void finish(struct model *m, uint64_t ino, bool in_dir)
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

static inline void finish_reads(struct model *m, uint64_t ino)
{
	finish(m, ino, false);
}

static inline void send_request(
	struct model *m, enum op op, uint64_t ino, const char *name, unsigned page)
{
	for (size_t i = 0; i < m->n_requests; i++) {
		const struct request *q = &m->requests[i];

		/* who looks up, lists or reads the same waits for that */
		if (op != OP_STAT && q->op == op && q->ino == ino && q->page == page &&
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
static inline void lose(struct model *m, size_t i)
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

static inline bool is_disk(uint64_t ino)
{
	return ino == NODE_SHARED_DISK || ino >> 60 == NODE_DISK - NODE_VM + 1;
}

/* Past the page cache. */
static inline void read_direct(struct model *m, uint64_t ino, unsigned page)
{
	struct content_bytes b;

	if (content_read(
		    m->c, ino, true, 1, (uint64_t)page * PAGE_BYTES, PAGE_BYTES, &b) == 0)
		blob_unref(b.blob);
}

static inline void use(struct model *m, struct inode *node)
{
	unsigned page = random_below(&m->w, 4);

	/* to open, to stat, or to read past the known end */
	if ((!attr_valid(node, fake_ns) && !S_ISLNK(node->st.st_mode)) ||
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
	if (is_disk(node->ino) && random_below(&m->w, 2))
		read_direct(m, node->ino, page);
	else if (!node->pages[page].cached)
		send_request(m, OP_READ, node->ino, "", page);
}

/* Walks as far as names are known, and asks for the next one. */
static inline void walk(struct model *m)
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

static inline struct inode *random_inode(struct model *m)
{
	unsigned skip = random_below(&m->w, (unsigned)m->k.n_inodes);

	for (size_t i = 0;; i = (i + 1) % INODE_BUCKETS)
		for (struct inode *node = m->k.inodes[i]; node; node = node->next)
			if (!skip--)
				return node;
}

static inline bool is_busy(const struct model *m, uint64_t ino)
{
	for (size_t i = 0; i < m->n_requests; i++)
		if (m->requests[i].ino == ino)
			return true;
	return ino == NODE_ROOT || (m->phase && m->changes[m->at].ino == ino);
}

static inline void evict(struct model *m, uint64_t ino)
{
	if (is_busy(m, ino) || m->n_forgets == MAX_QUEUED)
		return;
	uint64_t n = inode_evict(&m->k, ino);

	m->forgets[m->n_forgets++] = (struct given_back){ ino, n };
}

static inline void forget(struct model *m)
{
	if (!m->n_forgets)
		return;
	content_forgotten(m->c, m->forgets[0].ino, m->forgets[0].n);
	memmove(m->forgets, m->forgets + 1, --m->n_forgets * sizeof(m->forgets[0]));
}

/* ---- notifications ---- */

static inline void next_change(struct model *m)
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

/*
 * What FUSE leaves to chance is left out here: that somebody asks just between the two calls, and
 * that a read is on its way just when its file, that was thought shorter, is said to be longer
 * than it is.
 */
static inline void give_size(struct model *m, struct inode *node)
{
	m->outgrown = m->known ? content_outgrown(m->c, node->ino) : NULL;
	if (!m->outgrown)
		return;
	if (node->st.st_size > (off_t)m->outgrown->size)
		finish_reads(m, node->ino);
	size_store(&m->k, node, m->outgrown->size);
}

/* As in serve.c: the attributes, then the pages; then what has outgrown its size is given. */
static inline void notify(struct model *m)
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
			attr_drop(&m->k, node, fake_ns);
		m->phase = 1;
	} else if (m->phase == 1) {
		if (m->known) {
			finish_reads(m, change->ino);
			drop_pages(node);
		}
		m->phase = 2;
	} else if (m->phase == 2) {
		content_taken(m->c, change->ino, m->known);
		give_size(m, node);
		m->phase = 3;
	} else {
		if (m->outgrown) {
			finish_reads(m, change->ino);
			page_store(node, m->outgrown->data, m->outgrown->size);
		}
		blob_unref(TAKE_PTR(m->outgrown));
		next_change(m);
	}
}

static inline void take_back_entry(struct model *m)
{
	if (!m->n_entries)
		return;
	struct entry e = m->entries[0];
	struct inode *dir = inode_get(&m->k, e.parent);

	memmove(m->entries, m->entries + 1, --m->n_entries * sizeof(e));
	if (!dir)
		return;
	finish(m, e.parent, true);
	attr_drop(&m->k, dir, fake_ns);
	free(dir->listing);
	dir->listing = NULL;
	struct entry *known = entry_get(&m->k, e.parent, e.name);

	if (known)
		entry_drop(&m->k, known);
}
