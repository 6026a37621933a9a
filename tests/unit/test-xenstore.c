/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The export to xenstore, asked for each request by what stands for xenstored. */
#include "test.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/metric_list.h"
#include "core/snapshot.h"
#include "specs.h"
#include "tmp.h"
#include "util/clock.h"
#include "util/strbuf.h"
#include "util/xs_wire.h"
#include "xenstore/xenstore.h"

#define PERIOD_NS (20 * NS_PER_MS)

struct stage {
	struct tree *tree;
	struct xenstore *xs;
	char dir[TMP_PATH_SIZE];
	char path[TMP_PATH_SIZE + 16];
	int listener, fd;
	uint64_t generation;
	uint32_t number; /* of the last request */
};

/* A VM of that id, or none, that says so; 0: no VM. */
static void show(struct stage *s, int id, const char *text)
{
	struct spec_set *specs =
		specs_named(METRIC_STRING, (const char *const[]){ "t", NULL });
	struct metric_list_builder *b = metric_list_builder_new(specs, 1);
	struct value v = value_string(text);
	struct vm_ident ident = { .uuid = { { 1 } }, .id = id, .name = "vm" };

	metric_list_builder_add(b, 0, NULL, &v);
	struct metric_list *list = metric_list_builder_finish(b);
	uint64_t generation = ++s->generation;
	struct snapshot *vm = snapshot_new(&ident, generation, &list, 1, 1);
	struct snapshot *host = snapshot_new(NULL, generation, &list, 1, 1);

	tree_publish(s->tree, generation, host, &vm, id ? 1 : 0);
	if (!id)
		snapshot_unref(vm);
	metric_list_unref(list);
	spec_set_unref(specs);
}

static void read_all(int fd, void *to, size_t n)
{
	assert_int_equal(recv(fd, to, n, MSG_WAITALL), (ssize_t)n);
}

/* Waits for a request of that type and path, whose value is in @ret, ended by a zero. */
static void expect(struct stage *s, enum xs_type type, const char *path,
	char ret[static XS_PAYLOAD_MAX + 1])
{
	char payload[XS_PAYLOAD_MAX + 1] = { 0 };
	struct xs_header header;
	size_t len = strlen(path) + 1;

	read_all(s->fd, &header, sizeof(header));
	assert_in_range(header.len, 1, XS_PAYLOAD_MAX);
	read_all(s->fd, payload, header.len);
	assert_int_equal(header.type, type);
	assert_string_equal(payload, path);
	assert_int_equal(header.transaction, 0);
	s->number = header.number;
	memset(ret, 0, XS_PAYLOAD_MAX + 1);
	memcpy(ret, payload + len, header.len - len);
}

static void answer(struct stage *s, enum xs_type type, const char *text)
{
	struct xs_header header = {
		.type = type, .number = s->number, .len = (uint32_t)strlen(text) + 1
	};

	assert_int_equal(
		send(s->fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	assert_int_equal(send(s->fd, text, header.len, MSG_NOSIGNAL), header.len);
}

static void meet(struct stage *s)
{
	s->fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(s->fd >= 0);
}

static int set_up_as(void **state, bool enabled)
{
	struct stage *s = calloc(1, sizeof(*s));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	*state = s;
	s->tree = tree_new();
	assert_non_null(mkdtemp(tmp_path(s->dir, "vhostmd-unit.XXXXXX")));
	snprintf(s->path, sizeof(s->path), "%s/socket", s->dir);
	assert_true(strlen(s->path) < sizeof(address.sun_path));
	memcpy(address.sun_path, s->path, strlen(s->path) + 1);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
		bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listener, 4), 0);
	setenv("XENSTORED_PATH", s->path, 1);
	show(s, 5, "first");
	s->fd = -1;
	s->xs = xenstore_open(enabled);
	if (enabled)
		meet(s);
	xenstore_start(s->xs, s->tree, PERIOD_NS);
	return 0;
}

static int set_up(void **state)
{
	return set_up_as(state, true);
}

static int set_up_without(void **state)
{
	return set_up_as(state, false);
}

static int tear_down(void **state)
{
	struct stage *s = *state;

	xenstore_stop(s->xs);
	tree_free(s->tree);
	close(s->fd);
	close(s->listener);
	unlink(s->path);
	rmdir(s->dir);
	free(s);
	return 0;
}

/* All that a VM's first document needs. */
static void write_first(struct stage *s, const char *id, const char *path)
{
	char value[XS_PAYLOAD_MAX + 1];

	expect(s, XS_IS_DOMAIN_INTRODUCED, id, value);
	answer(s, XS_IS_DOMAIN_INTRODUCED, "T");
	expect(s, XS_WRITE, path, value);
	assert_non_null(strstr(value, "<value>"));
	assert_non_null(strstr(value, "</metrics>"));
	answer(s, XS_WRITE, "OK");
	expect(s, XS_SET_PERMS, path, value);
	assert_string_equal(value, "n0");
	assert_int_equal(value[3], 'r');
	assert_string_equal(value + 4, id);
	answer(s, XS_SET_PERMS, "OK");
}

/* Of the request that comes next. */
static enum xs_type next_type(struct stage *s)
{
	struct xs_header next;

	assert_int_equal(
		recv(s->fd, &next, sizeof(next), MSG_PEEK | MSG_WAITALL), sizeof(next));
	return next.type;
}

/* Says of all domains that they are there, until something else is asked. */
static void until_else(struct stage *s, const char *id)
{
	char value[XS_PAYLOAD_MAX + 1];

	while (next_type(s) == XS_IS_DOMAIN_INTRODUCED) {
		expect(s, XS_IS_DOMAIN_INTRODUCED, id, value);
		answer(s, XS_IS_DOMAIN_INTRODUCED, "T");
	}
}

static void a_vm_that_is_gone_is_removed(void **state)
{
	struct stage *s = *state;
	char value[XS_PAYLOAD_MAX + 1];

	write_first(s, "5", "/local/domain/5/metrics");
	/* what has not changed is not written again */
	for (int i = 0; i < 3; i++) {
		expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
		answer(s, XS_IS_DOMAIN_INTRODUCED, "T");
	}
	show(s, 5, "second");
	until_else(s, "5");
	expect(s, XS_WRITE, "/local/domain/5/metrics", value);
	assert_non_null(strstr(value, "second"));
	/* it is started anew while that is on its way */
	show(s, 6, "third");
	answer(s, XS_WRITE, "OK");
	until_else(s, "5");
	expect(s, XS_RM, "/local/domain/5/metrics", value);
	answer(s, XS_ERROR, "ENOENT"); /* as where the toolstack was first */
	write_first(s, "6", "/local/domain/6/metrics");
	/* and it is gone for good */
	show(s, 0, "fourth");
	until_else(s, "6");
	expect(s, XS_RM, "/local/domain/6/metrics", value);
	answer(s, XS_RM, "OK");
}

static void who_is_no_domain_gets_no_path(void **state)
{
	struct stage *s = *state;
	char value[XS_PAYLOAD_MAX + 1];

	for (int i = 0; i < 3; i++) {
		expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
		answer(s, XS_IS_DOMAIN_INTRODUCED, "F");
	}
	write_first(s, "5", "/local/domain/5/metrics");
}

static void a_lost_connection_is_made_again(void **state)
{
	struct stage *s = *state;
	char value[XS_PAYLOAD_MAX + 1];

	write_first(s, "5", "/local/domain/5/metrics");
	close(s->fd);
	meet(s);
	write_first(s, "5", "/local/domain/5/metrics");
	/* the answer to something else */
	expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
	s->number++;
	answer(s, XS_IS_DOMAIN_INTRODUCED, "T");
	assert_int_equal(recv(s->fd, value, 1, 0), 0);
	close(s->fd);
	meet(s);
	write_first(s, "5", "/local/domain/5/metrics");
	/* one that is longer than there are */
	expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
	struct xs_header header = { .type = XS_IS_DOMAIN_INTRODUCED,
		.number = s->number,
		.len = XS_PAYLOAD_MAX + 1 };

	assert_int_equal(
		send(s->fd, &header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
	assert_int_equal(recv(s->fd, value, 1, 0), 0);
}

static void what_is_switched_off_is_removed(void **state)
{
	struct stage *s = *state;
	char value[XS_PAYLOAD_MAX + 1];

	write_first(s, "5", "/local/domain/5/metrics");
	expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
	xenstore_set(s->xs, false, PERIOD_NS);
	answer(s, XS_IS_DOMAIN_INTRODUCED, "T");
	until_else(s, "5");
	expect(s, XS_RM, "/local/domain/5/metrics", value);
	answer(s, XS_RM, "OK");
}

/* Of this process: descriptors and threads are folders of it. */
static unsigned n_entries(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(folder);

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Every host but Xen's. */
static void what_is_not_enabled_costs_nothing(void **state)
{
	struct stage *s = *state;
	unsigned fds = n_entries("/proc/self/fd"), threads = n_entries("/proc/self/task");
	struct xenstore *another = xenstore_open(false);
	char value[XS_PAYLOAD_MAX + 1];

	xenstore_start(another, s->tree, PERIOD_NS);
	xenstore_set(another, false, PERIOD_NS);
	assert_int_equal(n_entries("/proc/self/fd"), fds);
	assert_int_equal(n_entries("/proc/self/task"), threads);
	xenstore_stop(another);
	/* a reload enables it */
	xenstore_set(s->xs, true, PERIOD_NS);
	meet(s);
	write_first(s, "5", "/local/domain/5/metrics");
	threads = n_entries("/proc/self/task");
	/* and another one starts nothing */
	xenstore_set(s->xs, true, PERIOD_NS);
	expect(s, XS_IS_DOMAIN_INTRODUCED, "5", value);
	assert_int_equal(n_entries("/proc/self/task"), threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_vm_that_is_gone_is_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			who_is_no_domain_gets_no_path, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_lost_connection_is_made_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_switched_off_is_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_not_enabled_costs_nothing, set_up_without, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
