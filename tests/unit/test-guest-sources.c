/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a guest's metrics come from: disks and channels that are found, remembered, lost, in use,
 * with a lack of memory that the test makes; and files that they are written to.
 */
#include "guest-root.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <termios.h>

#include "whole_file.h"

static _Atomic long allocations_left = -1; /* until they fail; negative: they do not */
static _Atomic int busy_opens;             /* how many opens of a port find it in use */

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

int __wrap_open64(const char *path, int flags, mode_t mode)
{
	if (strstr(path, "virtio-ports/") && busy_opens > 0) {
		busy_opens--;
		errno = EBUSY;
		return -1;
	}
	return __real_open64(path, flags, mode);
}

static bool is_short(void)
{
	if (allocations_left < 0)
		return false;
	if (allocations_left == 0)
		return true;
	allocations_left--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return is_short() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_short() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_short() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_short() ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- finding ---- */

static void disks_are_found_and_remembered(void **state)
{
	(void)state;
	struct vhostmd_snapshot *now;

	put_disk("vda", "524417\n", "0\n", "<metrics>large</metrics>");
	put_disk("sr0", "2048\n", "1\n", "<metrics>medium</metrics>");
	put_disk("vdb", "0\n", "1\n", "<metrics>empty</metrics>");
	put_disk("vdc", "2048\n", "1\n", "<metrics>parts</metrics>");
	put_text("/sys/block/vdc/vdc1/start", "0\n");
	put_disk("vdd", "2048\n", "1\n", "<metrics>removable</metrics>");
	put_text("/sys/block/vdd/removable", "1\n");
	put_disk("a!b", "2048\n", "0\n", "<metrics>writable</metrics>");
	put_image("/dev/a/b", "<metrics>writable</metrics>", 0);
	struct vhostmd_source *s = open_source("auto");

	now = read_source(s);
	assert_string_equal(
		vhostmd_snapshot_xml(now, NULL), "<metrics>writable</metrics>");
	assert_int_equal(vhostmd_snapshot_is_channel(now), 0);
	assert_string_equal(vhostmd_snapshot_path(now), below("/dev/a/b"));
	vhostmd_snapshot_free(now);

	/* one that cannot be written comes first, but not before what is remembered */
	put_disk("vde", "2048\n", "1\n", "<metrics>read-only</metrics>");
	now = read_source(s);
	assert_string_equal(
		vhostmd_snapshot_xml(now, NULL), "<metrics>writable</metrics>");
	vhostmd_snapshot_free(now);
	put_text("/dev/a/b", "no more");
	now = read_source(s);
	assert_string_equal(
		vhostmd_snapshot_xml(now, NULL), "<metrics>read-only</metrics>");
	vhostmd_snapshot_free(now);
	vhostmd_close(s);

	put_image("/dev/vhostmd", "<metrics>linked</metrics>", 0);
	s = open_source("disk");
	now = read_source(s);
	assert_string_equal(vhostmd_snapshot_xml(now, NULL), "<metrics>linked</metrics>");
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
}

/* A shared disk that does not list this VM gives way to a disk that does. */
static void a_disk_that_knows_this_vm_is_better(void **state)
{
	(void)state;
	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	put_disk("vda", "2048\n", "1\n", DOC(METRIC("uint32", VM(OTHER), "n", "1")));
	put_disk("vdb", "2048\n", "1\n", DOC(METRIC("uint32", VM(OWN), "n", "2")));
	put_disk("vdc", "2048\n", "1\n", DOC(METRIC("uint32", VM(OTHER), "n", "3")));
	struct vhostmd_source *s = open_source("auto");

	for (int i = 0; i < 2; i++) {
		struct vhostmd_snapshot *now = read_source(s);

		assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), 2);
		vhostmd_snapshot_free(now);
	}
	vhostmd_close(s);
}

static void nothing_to_read_is_an_error_that_says_what(void **state)
{
	(void)state;
	struct vhostmd_snapshot *now = NULL;
	struct vhostmd_source *s = NULL;

	assert_int_equal(source_open_below(root, "nonsense", &s), VHOSTMD_ERR_INVALID);
	assert_null(s);
	s = open_source("auto");
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_NO_SOURCE);
	assert_non_null(strstr(vhostmd_tried(s), "virtio-serial"));
	vhostmd_close(s);
	s = open_source("disk");
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_NOT_A_DISK);
	vhostmd_close(s);
	s = open_source("channel");
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_NO_SOURCE);
	vhostmd_close(s);
	/* nothing is waited for: not for who would write into it */
	make_folders("/dev/fifo");
	assert_int_equal(mkfifo(below("/dev/fifo"), 0600), 0);
	s = open_source(below("/dev/fifo"));
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_NOT_A_DISK);
	vhostmd_close(s);
	assert_null(now);
	for (int error = 1; error >= VHOSTMD_ERR_UNSUPPORTED - 1; error--)
		assert_non_null(vhostmd_strerror(error));
	vhostmd_close(NULL);
	vhostmd_snapshot_free(NULL);
}

/* A program may close descriptors that it does not know, and get others of the same numbers. */
static void a_descriptor_that_is_anothers_is_left_alone(void **state)
{
	(void)state;
	put_image("/dev/one", "<metrics/>", 0);
	struct vhostmd_source *s = open_source(below("/dev/one"));
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(next >= 0);
	close(next);
	vhostmd_snapshot_free(read_source(s));
	assert_true(fcntl(next, F_GETFD) >= 0); /* the disk's */
	close(next);
	assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), next);
	vhostmd_snapshot_free(read_source(s));
	assert_true(fcntl(next, F_GETFD) >= 0);
	vhostmd_close(s);
	assert_true(fcntl(next, F_GETFD) >= 0);
	close(next);
}

/* ---- channel ---- */

#define PORT "/dev/virtio-ports/org.github.vhostmd.1"

/* The host's end of a port: what it sends for each request, one after another. */
struct port {
	int fd;
	const char *before; /* lies in the port before anybody asks; NULL: nothing */
	const char *answers[4];
	pthread_t thread;
};

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* With a pause at each '|'. */
static void say_slowly(int fd, const char *text)
{
	for (size_t n; *text; text += n + (text[n] == '|')) {
		n = strcspn(text, "|");
		assert_int_equal(write(fd, text, n), n);
		if (text[n])
			usleep(60000);
	}
}

static void *port_main(void *arg)
{
	struct port *port = arg;
	char request[64];
	size_t have = 0;

	for (size_t i = 0; i < ARRAY_LEN(port->answers) && port->answers[i];) {
		ssize_t n = read(port->fd, request + have, sizeof(request) - have);

		if (n <= 0)
			break;
		have += (size_t)n;
		if (have >= 2 && !memcmp(request + have - 2, "\n\n", 2)) {
			have = 0;
			say_slowly(port->fd, port->answers[i++]);
		}
	}
	return NULL;
}

static void port_open(struct port *port)
{
	struct termios raw;

	port->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(port->fd >= 0);
	assert_int_equal(grantpt(port->fd), 0);
	assert_int_equal(unlockpt(port->fd), 0);
	assert_int_equal(tcgetattr(port->fd, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(port->fd, TCSANOW, &raw), 0);
	make_folders(PORT);
	(void)unlink(below(PORT));
	assert_int_equal(symlink(ptsname(port->fd), below(PORT)), 0);
	if (port->before)
		say(port->fd, port->before);
	assert_int_equal(pthread_create(&port->thread, NULL, port_main, port), 0);
}

static void port_close(struct port *port)
{
	assert_int_equal(pthread_join(port->thread, NULL), 0);
	close(port->fd);
}

#define REFUSAL "INVALID REQUEST\n\n"
#define N(value) DOC(METRIC("uint32", VM(OTHER), "n", value)) "\n"

static void read_port(struct port *port, int expected)
{
	/* while the other end is open a pty keeps what is in it */
	port_open(port);
	int hold = __real_open64(below(PORT), O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	struct vhostmd_source *s = open_source("auto");
	struct vhostmd_snapshot *now = read_source(s);

	assert_int_equal(vhostmd_snapshot_is_channel(now), 1);
	assert_int_equal(vhostmd_snapshot_freshness(now), VHOSTMD_FRESH);
	/* it is this VM's, whatever its firmware says */
	assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), expected);
	vhostmd_snapshot_free(now);
	vhostmd_close(s);
	close(hold);
	port_close(port);
}

static void the_channel_is_asked_where_there_is_no_disk(void **state)
{
	(void)state;
	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	read_port(&(struct port){ .answers = { N("1") } }, 1);
}

static void what_somebody_else_asked_for_is_no_answer(void **state)
{
	(void)state;
	/* as it lay there, whole or its end */
	read_port(&(struct port){ .before = N("9"), .answers = { N("1") } }, 1);
	read_port(&(struct port){ .before = "</metrics>\n\n", .answers = { N("2") } }, 2);
	/* it comes when the port is opened, and only then the answer */
	read_port(&(struct port){ .answers = { N("9") N("3") } }, 3);
	/* wherever in it a message ends */
	read_port(&(struct port){ .answers = { "\n\n" N("5") } }, 5);
	read_port(&(struct port){ .answers = { "x\n\n" N("6") } }, 6);
	read_port(&(struct port){ .answers = { "x\ny\n\n" N("7") } }, 7);
	read_port(&(struct port){ .answers = { "x\nyz\n\n" N("8") } }, 8);
	/* somebody else had begun to say something */
	read_port(&(struct port){ .answers = { REFUSAL, N("4") } }, 4);
	/* and much of it, each KiB of which is refused */
	read_port(
		&(struct port){ .answers = { REFUSAL "|" REFUSAL "|" REFUSAL "|" REFUSAL,
					N("5") } },
		5);
}

static void what_is_lost_is_asked_for_again(void **state)
{
	(void)state;
	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	/* the request, or the end of the answer */
	read_port(&(struct port){ .answers = { "", N("1") } }, 1);
	read_port(&(struct port){ .answers = { "", "", N("2") } }, 2);
	read_port(&(struct port){ .answers = { "<metrics><metric", N("3") } }, 3);
	read_port(&(struct port){ .answers = { "<met", N("4") } }, 4);
	read_port(&(struct port){ .answers = { DOC(""), N("5") } }, 5);
	/* it was late only: there are two answers */
	read_port(&(struct port){ .answers = { "", N("9") N("6") } }, 6);
}

static void a_port_in_use_is_waited_for(void **state)
{
	(void)state;
	struct vhostmd_snapshot *now = NULL;

	busy_opens = 3;
	read_port(&(struct port){ .answers = { N("1") } }, 1);
	busy_opens = 1000000;
	(void)unlink(below(PORT));
	put_text(PORT, "");
	struct vhostmd_source *s = open_source("channel");

	assert_int_equal(vhostmd_set_timeout(s, 100), 0);
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_IN_USE);
	assert_true(busy_opens < 1000000 - 1);
	busy_opens = 0;
	vhostmd_close(s);
}

static void a_host_that_does_not_answer_is_given_up(void **state)
{
	(void)state;
	struct vhostmd_snapshot *now = NULL;
	struct port port = { .answers = { "<metrics>" } };

	port_open(&port);
	struct vhostmd_source *s = open_source("channel");

	assert_int_equal(vhostmd_set_timeout(s, 200), 0);
	assert_int_equal(vhostmd_read(s, &now), VHOSTMD_ERR_TIMEOUT);
	assert_null(now);
	vhostmd_close(s);
	port_close(&port);
}

/* ---- memory ---- */

/* D12 */
static void memory_that_is_short_is_an_error(void **state)
{
	(void)state;
	put_text("/sys/class/dmi/id/product_uuid", OWN "\n");
	put_disk("vda", "2048\n", "1\n", two_vms);
	long n = 0;

	for (bool done = false; !done; n++) {
		struct vhostmd_source *s = NULL;
		struct vhostmd_snapshot *now = NULL;

		allocations_left = n;
		int r = source_open_below(root, "auto", &s);

		if (r == 0)
			r = vhostmd_read(s, &now);
		allocations_left = -1;
		done = r == 0;
		assert_true(r == 0 ? now != NULL : r == VHOSTMD_ERR_MEMORY && !now);
		vhostmd_snapshot_free(now);
		/* and it goes on where there is memory again */
		if (s) {
			now = read_source(s);
			assert_int_equal(get(now, METRIC_CONTEXT_VM, "n"), 2);
			vhostmd_snapshot_free(now);
		}
		vhostmd_close(s);
	}
	assert_true(n > 10);
}

/* ---- files ---- */

/* D12 */
static void a_file_is_there_whole_or_not_at_all(void **state)
{
	(void)state;
	struct stat st;
	char text[8] = "";

	put_text("/out/file", "old");
	assert_int_equal(chmod(below("/out/file"), 0640), 0);
	assert_int_equal(symlink("file", below("/out/link")), 0);
	assert_int_equal(whole_file_write(below("/out/link"), "new", 3, 0666), 0);
	assert_int_equal(lstat(below("/out/link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(below("/out/file"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	_cleanup_fclose_ FILE *f = fopen(below("/out/file"), "re");

	assert_int_equal(fread(text, 1, sizeof(text), f), 3);
	assert_string_equal(text, "new");
	assert_int_equal(whole_file_write(below("/none/file"), "x", 1, 0666), -ENOENT);
	assert_int_equal(whole_file_write("/dev/full", "x", 1, 0666), -ENOSPC);
	assert_int_equal(whole_file_write("/dev/null", "x", 1, 0666), 0);
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(disks_are_found_and_remembered),
		T(a_disk_that_knows_this_vm_is_better),
		T(nothing_to_read_is_an_error_that_says_what),
		T(a_descriptor_that_is_anothers_is_left_alone),
		T(the_channel_is_asked_where_there_is_no_disk),
		T(what_somebody_else_asked_for_is_no_answer),
		T(what_is_lost_is_asked_for_again),
		T(a_port_in_use_is_waited_for),
		T(a_host_that_does_not_answer_is_given_up),
		T(memory_that_is_short_is_an_error),
		T(a_file_is_there_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
