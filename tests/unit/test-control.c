/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control socket: what is a request, who may ask for it, who has to go, who gets which answer. */
#include "test.h"
#include "tmp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"
#include "control/control.h"
#include "control/places.h"
#include "control/verb.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* ---- requests ---- */

static void requests_are_what_they_are(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		const char *kind; /* of the error; NULL: it is one */
		enum control_verb verb;
		const char *level; /* NULL: it has none */
	} cases[] = {
		{ "vhostmd 1 version", NULL, CONTROL_VERSION, NULL },
		{ "vhostmd 1 status", NULL, CONTROL_STATUS, NULL },
		{ "vhostmd 1 blame", NULL, CONTROL_BLAME, NULL },
		{ "vhostmd 1 reload", NULL, CONTROL_RELOAD, NULL },
		{ "vhostmd 1 upgrade", NULL, CONTROL_UPGRADE, NULL },
		{ "vhostmd 1 log", NULL, CONTROL_LOG, NULL },
		{ "vhostmd 1 log error", NULL, CONTROL_LOG, "error" },
		{ "vhostmd 1 log warning", NULL, CONTROL_LOG, "warning" },
		{ "vhostmd 1 log info", NULL, CONTROL_LOG, "info" },
		{ "vhostmd 1 log debug", NULL, CONTROL_LOG, "debug" },
		{ "vhostmd 1 log ", "malformed ", 0, NULL },
		{ "vhostmd 1 log  info", "malformed ", 0, NULL },
		{ "vhostmd 1 log info ", "malformed ", 0, NULL },
		{ "vhostmd 1 log inf", "malformed ", 0, NULL },
		{ "vhostmd 1 log infos", "malformed ", 0, NULL },
		{ "vhostmd 1 log 1", "malformed ", 0, NULL },
		{ "vhostmd 1 version info", "malformed ", 0, NULL },
		{ "", "malformed ", 0 },
		{ " vhostmd 1 version", "malformed ", 0 },
		{ "VHOSTMD 1 version", "malformed ", 0 },
		{ "vhostmdx 1 version", "malformed ", 0 },
		{ "vhostmd", "protocol ", 0 },
		{ "vhostmd 2 version", "protocol ", 0 },
		{ "vhostmd 11 version", "protocol ", 0 },
		{ "vhostmd  1 version", "protocol ", 0 },
		{ "vhostmd 1", "unknown ", 0 },
		{ "vhostmd 1 ", "unknown ", 0 },
		{ "vhostmd 1 x", "unknown ", 0 },
		{ "vhostmd 1 versio", "unknown ", 0 },
		{ "vhostmd 1 version\r", "unknown ", 0 },
		{ "vhostmd 1  version", "unknown ", 0 },
		{ "vhostmd 1 version ", "malformed ", 0 },
		{ "vhostmd 1 reload /etc/passwd", "malformed ", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		const char *kind = cases[i].kind;
		struct control_request request = { .verb = CONTROL_VERBS };
		bool is =
			verb_parse(cases[i].line, strlen(cases[i].line), &request, &why);
		const char *level =
			request.has_level ? log_level_name(request.level) : NULL;

		if (is != !kind ||
			request.verb != (kind ? CONTROL_VERBS : cases[i].verb) ||
			(level ? !cases[i].level || strcmp(level, cases[i].level) != 0
			       : cases[i].level != NULL) ||
			(kind ? strncmp(strbuf_str(&why), kind, strlen(kind)) != 0
			      : why.len > 0))
			fail_msg("'%s': %d '%s'", cases[i].line, is, strbuf_str(&why));
	}
	for (int i = 0; i < CONTROL_VERBS; i++) {
		_cleanup_free_ char *line =
			xasprintf("vhostmd 1 %s", verb_name((enum control_verb)i));
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		struct control_request request = { .verb = CONTROL_VERBS };

		assert_true(verb_parse(line, strlen(line), &request, &why));
		assert_int_equal(request.verb, i);
		assert_false(request.has_level);
		/* not with a zero byte behind it */
		assert_false(verb_parse(line, strlen(line) + 1, &request, &why));
	}
}

static enum control_right right(
	uid_t uid, const gid_t *gids, size_t n, const struct control_policy *policy)
{
	const struct peer peer = { .uid = uid, .gids = gids, .n_gids = n };

	return right_of(&peer, policy);
}

static void who_may_ask_is_who_is_let(void **state)
{
	(void)state;
	const gid_t gids[] = { 5, 10, 20 };
	const struct control_policy none = { 0 }, all = { .everybody = true },
				    group = { .has_group = true, .group = 20 },
				    root_group = { .has_group = true, .group = 0 },
				    readers = { .has_readers = true, .readers = 10 },
				    both = { .has_group = true,
					    .group = 5,
					    .has_readers = true,
					    .readers = 10,
					    .everybody = true };

	assert_int_equal(right(0, NULL, 0, &none), RIGHT_ROOT);
	/* a group that is not named is not group 0, and is nobody's */
	assert_int_equal(right(1000, (gid_t[]){ 0 }, 1, &none), RIGHT_ANYBODY);
	assert_int_equal(right(1000, (gid_t[]){ 0 }, 1, &root_group), RIGHT_GROUP);
	assert_int_equal(right(1000, gids, 3, &none), RIGHT_ANYBODY);
	assert_int_equal(right(1000, gids, 3, &all), RIGHT_READER);
	assert_int_equal(right(1000, gids, 3, &group), RIGHT_GROUP);
	assert_int_equal(right(1000, gids, 2, &group), RIGHT_ANYBODY);
	assert_int_equal(right(1000, gids, 3, &readers), RIGHT_READER);
	assert_int_equal(right(1000, gids, 1, &readers), RIGHT_ANYBODY);
	assert_int_equal(right(1000, gids, 1, &both), RIGHT_GROUP);
	assert_int_equal(right((uid_t)-1, NULL, 0, &group), RIGHT_ANYBODY);
}

static void a_verb_needs_its_right(void **state)
{
	(void)state;
	static const struct {
		struct control_request request;
		enum control_right needs;
	} cases[] = {
		{ { .verb = CONTROL_VERSION }, RIGHT_ANYBODY },
		{ { .verb = CONTROL_STATUS }, RIGHT_READER },
		{ { .verb = CONTROL_BLAME }, RIGHT_READER },
		{ { .verb = CONTROL_RELOAD }, RIGHT_GROUP },
		{ { .verb = CONTROL_UPGRADE }, RIGHT_GROUP },
		{ { .verb = CONTROL_LOG }, RIGHT_READER },
		/* the least of them, whose number is 0, changes something, too */
		{ { CONTROL_LOG, true, LOG_LEVEL_ERROR }, RIGHT_GROUP },
		{ { CONTROL_LOG, true, LOG_LEVEL_DEBUG }, RIGHT_GROUP },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(verb_needs(&cases[i].request), cases[i].needs);
}

/* ---- places ---- */

struct room {
	struct place places[PLACES_MAX];
	size_t n;
};

/* Return: who had to go; -1: nobody. */
static int come(struct room *room, enum place_kind kind, uid_t uid)
{
	const struct place newcomer = { kind, uid };
	size_t victim = places_victim(room->places, room->n, &newcomer);
	int who = victim < room->n ? (int)room->places[victim].uid : -1;

	if (victim < room->n) {
		assert_int_equal(room->places[victim].kind, kind);
		memmove(&room->places[victim], &room->places[victim + 1],
			(--room->n - victim) * sizeof(newcomer));
	}
	assert_true(room->n < PLACES_MAX);
	room->places[room->n++] = newcomer;
	return who;
}

static size_t count(const struct room *room, enum place_kind kind, uid_t uid)
{
	size_t n = 0;

	for (size_t i = 0; i < room->n; i++)
		n += room->places[i].kind == kind && room->places[i].uid == uid;
	return n;
}

static void nobody_takes_what_is_others(void **state)
{
	(void)state;
	struct room room = { .n = 0 };

	assert_int_equal(come(&room, PLACE_ROOT, 0), -1);
	assert_int_equal(come(&room, PLACE_GROUP, 7), -1);
	assert_int_equal(come(&room, PLACE_OTHER, 8), -1);
	/* one user */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(come(&room, PLACE_OTHER, 1000),
			i < (int)LIMIT_CONTROL_EACH ? -1 : 1000);
	/* as many users as one can have */
	for (uid_t uid = 2000; uid < 4000; uid++)
		come(&room, PLACE_OTHER, uid);
	for (uid_t uid = 2000; uid < 4000; uid++)
		come(&room, PLACE_GROUP, uid);
	assert_int_equal(count(&room, PLACE_ROOT, 0), 1);
	assert_int_equal(count(&room, PLACE_OTHER, 8), 0);
	assert_int_equal(room.n, 1 + LIMIT_CONTROL_GROUP + LIMIT_CONTROL_OTHER);
	/* there is room for root until he has all of his */
	for (unsigned i = 1; i < LIMIT_CONTROL_ROOT; i++)
		assert_int_equal(come(&room, PLACE_ROOT, 0), -1);
	assert_int_equal(room.n, PLACES_MAX);
	assert_int_equal(come(&room, PLACE_ROOT, 0), 0);
	/* who has been there for longest goes */
	assert_int_equal(come(&room, PLACE_OTHER, 9), 4000 - LIMIT_CONTROL_OTHER);
	assert_int_equal(come(&room, PLACE_OTHER, 10), 4001 - LIMIT_CONTROL_OTHER);
}

/* ---- the socket ---- */

struct trial {
	char path[TMP_PATH_SIZE];
	int fd;
	struct control *control;
	_Atomic unsigned reloads; /* that were asked for */
	_Atomic int upgrade, upgrade_state;
	_Atomic unsigned looks; /* at that state */
	_Atomic int told_fd;    /* what goes along with it */
};

static void tell_status(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "a: 1\n\n\nb: 2\n");
}

static void tell_blame(void *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_adds(out, "bpf: off\n");
}

static void ask_for_reload(void *ctx)
{
	struct trial *t = ctx;

	atomic_fetch_add(&t->reloads, 1);
}

static int ask_for_upgrade(void *ctx)
{
	struct trial *t = ctx;

	return atomic_load(&t->upgrade);
}

static int upgrade_state(void *ctx, struct strbuf *why, int *ret_fd)
{
	struct trial *t = ctx;
	int r = atomic_load(&t->upgrade_state);

	atomic_fetch_add(&t->looks, 1);
	*ret_fd = r == -EINPROGRESS ? dup(atomic_load(&t->told_fd)) : -1;

	if (r == -ECANCELED)
		strbuf_adds(why, "it cannot");
	return r;
}

static void set_log_level(void *ctx, enum log_level level)
{
	(void)ctx;
	log_set_level(level);
}

static int begin(void **state)
{
	struct trial *t = xcalloc(1, sizeof(*t));
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	atomic_store(&t->told_fd, -1);
	tmp_path(t->path, "control-XXXXXX");
	assert_true(mkstemp(t->path) >= 0 && unlink(t->path) == 0);
	memcpy(addr.sun_path, t->path, sizeof(addr.sun_path));
	addr.sun_path[sizeof(addr.sun_path) - 1] = '\0';
	t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(t->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(chmod(t->path, 0666), 0);
	assert_int_equal(listen(t->fd, 100), 0);
	t->control = control_start(&(struct control_params){ .fds = &t->fd,
		.n_fds = 1,
		/* who runs this need not be root */
		.has_group = true,
		.group = getegid(),
		.version = "1.2.3\nworker: 5\n",
		.status = tell_status,
		.blame = tell_blame,
		.reload = ask_for_reload,
		.upgrade = ask_for_upgrade,
		.upgrade_state = upgrade_state,
		.set_log_level = set_log_level,
		.ctx = t });
	assert_non_null(t->control);
	*state = t;
	return 0;
}

static int end(void **state)
{
	struct trial *t = *state;

	control_stop(t->control);
	control_free(t->control);
	close(t->fd);
	unlink(t->path);
	free(t);
	return 0;
}

static int connect_to(const struct trial *t)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, t->path, sizeof(addr.sun_path));
	addr.sun_path[sizeof(addr.sun_path) - 1] = '\0';
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int send_line(const struct trial *t, const char *line)
{
	int fd = connect_to(t);

	assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
	return fd;
}

/* All that comes until the connection ends, which is closed here.  The caller frees. */
static char *read_answer(int fd)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n = 1;

	while (n > 0) {
		assert_int_equal(poll(&p, 1, 20000), 1);
		n = read(fd, strbuf_reserve(&out, 4096), 4096);
		out.len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	strbuf_adds(&out, "");
	return strbuf_steal(&out);
}

static void assert_answer(int fd, const char *text)
{
	_cleanup_free_ char *answer = read_answer(fd);

	assert_string_equal(answer, text);
}

static void wait_for_reloads(struct trial *t, unsigned n)
{
	int64_t until_ns = clock_mono_ns() + 20 * NS_PER_S;

	while (atomic_load(&t->reloads) < n && clock_mono_ns() < until_ns)
		usleep(1000);
	assert_int_equal(atomic_load(&t->reloads), n);
}

static void each_request_has_its_answer(void **state)
{
	struct trial *t = *state;

	assert_answer(send_line(t, "vhostmd 1 version\n"), "ok 1.2.3\nworker: 5\n\n");
	/* no empty line is in between */
	assert_answer(send_line(t, "vhostmd 1 status\n"), "ok\na: 1\nb: 2\n\n");
	assert_answer(send_line(t, "vhostmd 1 blame\n"), "ok\nbpf: off\n\n");
	assert_answer(send_line(t, "vhostmd 1 x\n"),
		"error unknown there are the verbs version status blame reload upgrade log\n\n");
	atomic_store(&t->upgrade, -ESHUTDOWN);
	_cleanup_free_ char *answer =
		read_answer(send_line(t, "vhostmd 1 upgrade\nmore\n"));

	assert_int_equal(strncmp(answer, "error refused ", 14), 0);
	/* byte by byte, and without an end */
	int fd = connect_to(t);

	for (const char *at = "vhostmd 1 version\n"; *at; at++)
		assert_int_equal(send(fd, at, 1, MSG_NOSIGNAL), 1);
	assert_answer(fd, "ok 1.2.3\nworker: 5\n\n");
	char line[300];

	memset(line, 'x', sizeof(line));
	line[299] = '\0';
	_cleanup_free_ char *refused = read_answer(send_line(t, line));

	assert_string_equal(refused, "error malformed a request is a short line\n\n");
}

/* (Who may set it is func/control's.) */
static void a_level_is_set_before_it_is_answered(void **state)
{
	struct trial *t = *state;

	log_init(false, false);
	assert_answer(send_line(t, "vhostmd 1 log\n"), "ok info\n\n");
	assert_answer(send_line(t, "vhostmd 1 log warning\n"), "ok warning\n\n");
	assert_int_equal(log_level(), LOG_LEVEL_WARNING);
	assert_answer(send_line(t, "vhostmd 1 log\n"), "ok warning\n\n");
	assert_answer(send_line(t, "vhostmd 1 log all\n"),
		"error malformed log takes error, warning, info or debug\n\n");
	assert_answer(send_line(t, "vhostmd 1 log info\n"), "ok info\n\n");
	assert_int_equal(log_level(), LOG_LEVEL_INFO);
}

/* Who asks while the file is being read may have changed it since. */
static void a_reload_answers_who_asked_before_it_began(void **state)
{
	struct trial *t = *state;
	const struct control_reload good = { .file = "/c", .complaints = "" },
				    bad = { .file = "/c",
					    .refused = true,
					    .complaints = "/c:1: error: x\n" };
	int first = send_line(t, "vhostmd 1 reload\n");

	wait_for_reloads(t, 1);
	uint64_t begun = control_reload_begins(t->control);
	int second = send_line(t, "vhostmd 1 reload\n");

	wait_for_reloads(t, 2);
	control_reloaded(t->control, begun, &good);
	assert_answer(first, "ok 0 /c\n\n");
	struct pollfd p = { .fd = second, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 50), 0);
	begun = control_reload_begins(t->control);
	control_reloaded(t->control, begun, &bad);
	assert_answer(second,
		"error refused /c was refused: the configuration before it is in force\n"
		"/c:1: error: x\n\n");
}

/* Many ask, and one reload is for all; who has gone meanwhile harms nobody. */
static void one_reload_answers_many(void **state)
{
	struct trial *t = *state;
	const struct control_reload what = {
		.file = "/c", .mistakes = 2, .complaints = "/c:1: a\n/c:2: b\n"
	};
	int fds[LIMIT_CONTROL_EACH];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = send_line(t, "vhostmd 1 reload\n");
	wait_for_reloads(t, ARRAY_LEN(fds));
	close(fds[1]);
	control_reloaded(t->control, control_reload_begins(t->control), &what);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (i != 1)
			assert_answer(fds[i], "ok 2 /c\n/c:1: a\n/c:2: b\n\n");
}

static void complaints_are_bounded(void **state)
{
	struct trial *t = *state;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	for (int i = 0; i < 100000; i++)
		strbuf_addf(&text, "/c:%d: error\n", i);
	int fd = send_line(t, "vhostmd 1 reload\n");

	wait_for_reloads(t, 1);
	control_reloaded(t->control, control_reload_begins(t->control),
		&(struct control_reload){
			.file = "/c", .mistakes = 9, .complaints = strbuf_str(&text) });
	_cleanup_free_ char *answer = read_answer(fd);
	size_t n = strlen(answer);

	assert_true(n > LIMIT_CONTROL_COMPLAINTS_BYTES / 2 &&
		n < LIMIT_CONTROL_COMPLAINTS_BYTES + 100);
	assert_string_equal(answer + n - 18, ": error\nand more\n\n");
}

static void an_upgrade_is_waited_for(void **state)
{
	struct trial *t = *state;
	const int first = eventfd(0, EFD_CLOEXEC), second = eventfd(0, EFD_CLOEXEC);

	assert_true(first >= 0 && second >= 0);
	atomic_store(&t->told_fd, first);
	atomic_store(&t->upgrade_state, -EINPROGRESS);
	int fd = send_line(t, "vhostmd 1 upgrade\n");
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 200), 0);
	assert_int_equal(atomic_load(&t->looks), 1);
	/* another one waits for the same */
	int other = send_line(t, "vhostmd 1 upgrade\n");

	p.fd = other;
	assert_int_equal(poll(&p, 1, 50), 0);
	assert_int_equal(atomic_load(&t->looks), 1);
	/* it is under way still, in another way */
	atomic_store(&t->told_fd, second);
	eventfd_write(first, 1);
	assert_int_equal(poll(&p, 1, 50), 0);
	assert_int_equal(atomic_load(&t->looks), 2);
	atomic_store(&t->upgrade_state, -ECANCELED);
	eventfd_write(second, 1);
	assert_answer(fd, "error refused it cannot\n\n");
	assert_answer(other, "error refused it cannot\n\n");
	atomic_store(&t->upgrade_state, 0);
	assert_answer(send_line(t, "vhostmd 1 upgrade\n"), "ok\n\n");
	/* nobody can be told when it is known */
	atomic_store(&t->upgrade_state, -EMFILE);
	assert_answer(send_line(t, "vhostmd 1 upgrade\n"),
		"error refused Too many open files\n\n");
	close(first);
	close(second);
}

/* ---- what vhostmdctl makes of answers ---- */

static void answers_are_taken_apart(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		int r;
		bool ok;
		const char *word, *text, *body;
	} cases[] = {
		{ "ok\n\n", 0, true, "", "", "" },
		{ "ok 2.0.0\n\n", 0, true, "", "2.0.0", "" },
		{ "ok 1 /a b\nx\ny\n\n", 0, true, "", "1 /a b", "x\ny\n" },
		{ "error denied root may\n\n", 0, false, "denied", "root may", "" },
		{ "error\n\n", 0, false, "", "", "" },
		{ "error x\n\n", 0, false, "x", "", "" },
		{ "", -ENODATA, false, NULL, NULL, NULL },
		{ "\n", -ENODATA, false, NULL, NULL, NULL },
		{ "ok", -ENODATA, false, NULL, NULL, NULL },
		{ "ok\n", -ENODATA, false, NULL, NULL, NULL },
		{ "ok\na: 1\n", -ENODATA, false, NULL, NULL, NULL },
		{ "okay\n\n", -EPROTO, false, NULL, NULL, NULL },
		{ "HTTP/1.1 400\n\n", -EPROTO, false, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_answer_ struct control_answer a = { 0 };
		int r = control_parse(cases[i].bytes, strlen(cases[i].bytes), &a);

		if (r != cases[i].r)
			fail_msg("'%s': %d", cases[i].bytes, r);
		if (r < 0)
			continue;
		assert_int_equal(a.ok, cases[i].ok);
		assert_string_equal(a.word, cases[i].word);
		assert_string_equal(a.text, cases[i].text);
		assert_string_equal(a.body, cases[i].body);
	}
	_cleanup_answer_ struct control_answer a = { 0 };

	static const char lines[] = "ok\nab: 1\na: 2\nb:3\n\n";

	assert_int_equal(control_parse(lines, strlen(lines), &a), 0);
	_cleanup_free_ char *value = control_value(&a, "a");

	assert_string_equal(value, "2");
	assert_null(control_value(&a, "b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_what_they_are),
		cmocka_unit_test(who_may_ask_is_who_is_let),
		cmocka_unit_test(a_verb_needs_its_right),
		cmocka_unit_test(nobody_takes_what_is_others),
		cmocka_unit_test_setup_teardown(each_request_has_its_answer, begin, end),
		cmocka_unit_test_setup_teardown(
			a_reload_answers_who_asked_before_it_began, begin, end),
		cmocka_unit_test_setup_teardown(
			a_level_is_set_before_it_is_answered, begin, end),
		cmocka_unit_test_setup_teardown(one_reload_answers_many, begin, end),
		cmocka_unit_test_setup_teardown(complaints_are_bounded, begin, end),
		cmocka_unit_test_setup_teardown(an_upgrade_is_waited_for, begin, end),
		cmocka_unit_test(answers_are_taken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
