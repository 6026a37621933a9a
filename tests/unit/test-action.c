/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Actions: tokens and hostile names through a real shell; limits; outputs. */
#include "test.h"
#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collect/actions/process.h"
#include "collect/actions/result.h"
#include "collect/actions/template.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define PWNED "/tmp/vhostmd-test-pwned"

static const char *const hostile[] = { "web01", "$(touch " PWNED ");'\"<&",
	"`touch " PWNED "`", "a b  c", "; touch " PWNED, "'; touch " PWNED "; '",
	"\"; touch " PWNED "; \"", "|touch " PWNED, "*", "~", "$HOME", "-n", "--help",
	"back\\slash\\n", "100%s", "\xc3\xa9t\xc3\xa9", "#hash", "a=b", "..", "{a,b}",
	"$((1+1))", "%~", "!!", "NAME", "ID", "${VHOSTMD_NAME}", "\\", "'", "\"",
	"a[$(touch " PWNED ")]", "1e touch " PWNED, "'); open('" PWNED "', 'w'); ('",
	"`touch " PWNED "`;", "\"); system(\"touch " PWNED "\"); (\"" };

static void note_end(void *ctx)
{
	*(bool *)ctx = true;
}

/* Runs a command to its end in this thread. */
static struct action_process *run(
	struct loop *loop, const char *script, const char *name, int64_t ms)
{
	char *env[3] = { NULL };
	struct action_process *p = NULL;
	bool ended = false;

	env[0] = xstrdup("PATH=/usr/bin:/bin");
	env[1] = name ? xasprintf("VHOSTMD_NAME=%s", name) : NULL;
	struct action_command command = { .runner = runner,
		.run = { .script = script, .env = env },
		.timeout_ns = ms * NS_PER_MS };

	assert_int_equal(action_process_start(loop, &command, note_end, &ended, &p), 0);
	while (!ended)
		loop_run_once(loop);
	free(env[0]);
	free(env[1]);
	return p;
}

static struct loop *make_loop(void)
{
	struct loop *loop = NULL;

	assert_int_equal(loop_new(NULL, NULL, &loop), 0);
	return loop;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

/* Whoever adopts orphans may take a moment to reap them. */
static void wait_until_gone(struct loop *loop, struct action_process *p)
{
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while (!action_process_gone(p) && clock_mono_ns() < deadline) {
		uint64_t timer = loop_add_timer(
			loop, clock_mono_ns() + 5 * NS_PER_MS, nothing, NULL);

		loop_run_once(loop);
		loop_del(loop, &timer);
	}
	assert_true(action_process_gone(p));
}

#define PATH "/usr/sbin:/usr/bin:/sbin:/bin"
#define UUID "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"

static struct action_template *new_template(const char *text, const char *uri)
{
	const struct action_text action = { .text = text, .in_vm = true, .uri = uri };

	return action_template_new(&action);
}

static const char *refuses(const struct action_template *t, const char *name)
{
	return action_template_refuses(t, name, PATH);
}

/* The output of @action for a VM named @name; NULL if it was refused. */
static char *outcome(const char *action, const char *name)
{
	struct action_template *t = new_template(action, "qemu:///system");
	struct vm_ident vm = { .id = 7, .name = name };
	_cleanup_strbuf_ struct strbuf script = STRBUF_INIT;
	char *out = NULL;

	if (!refuses(t, name)) {
		struct loop *loop = make_loop();

		action_template_expand(t, &vm, &script);
		struct action_process *p = run(loop, strbuf_str(&script), name, 10000);

		out = xstrdup(strbuf_str(&p->out));
		action_process_free(p);
		loop_free(loop);
	}
	action_template_free(t);
	return out;
}

/*
 * Commands that print each argument as <argument>; whatever the quotes around NAME, the
 * name comes out as it is, or the command is not run at all.
 */
static const struct {
	const char *action, *before, *after;
} places[] = {
	{ "printf '<%s>' NAME", "<", ">" },
	{ "printf '<%s>' \"NAME\"", "<", ">" },
	{ "printf '<%s>' 'NAME'", "<", ">" },
	{ "cat() { for a; do echo _; /usr/bin/printf '<%s>' \"$a\"; done; }; cat NAME",
		"_\n<", ">" },
	{ "set -- NAME; for a; do /usr/bin/env printf '<%s>' \"$a\"; done", "<", ">" },
	{ "/usr/bin/printf '<%s>' x--d=NAME-y", "<x--d=", "-y>" },
	{ "X=NAME; /usr/bin/test x && /usr/bin/printf '<%s>' \"$X\"", "<", ">" },
	{ "p() { /usr/bin/printf '%s\\n' \"$@\"; }; p xNAMEx x:NAME:y",
		"xNAMEx\nx:", ":y\n" },
	{ "dirname \"$(dirname /a/b/NAME)\"", NULL, NULL },
	{ "sh -c 'printf \"<%s>\" NAME'", "<", ">" },
	{ "sh -c \"printf '<%s>' NAME\"", "<", ">" },
	{ "eval printf '%s' NAME", "", "" },
	{ "echo NAME | sh", NULL, NULL },
	{ "echo NAME", "", "\n" },
	{ "printf NAME", "", "" },
	{ "printf '%b' NAME", "", "" },
	{ "echo `echo NAME`", "", "\n" },
	{ "echo \"`echo NAME`\"", "", "\n" },
	{ "awk 'BEGIN { print \"NAME\" }'", "", "\n" },
	{ "awk \"BEGIN { print \\\"NAME\\\" }\"", "", "\n" },
	{ "awk -v n=NAME 'BEGIN { print n }'", "", "\n" },
	{ "v=NAME; $v", NULL, NULL },
	{ "v=NAME; eval \"$v\"", NULL, NULL },
	{ "v=NAME; printf '<%s>' \"${v}\"", "<", ">" },
	{ "v=$(printf '%s' NAME); printf '<%s>' \"$v\"", "<", ">" },
	{ "printf '%s\n' NAME | tr -d '\n' | sed 's/^/</' | cat", "<", "" },
	{ "printf '%s\n' NAME | awk '{print \"<\" $0 \">\"}'", "<", ">\n" },
	{ "printf '%s' NAME | xargs -d '\n' sh -c", NULL, NULL },
	{ "printf '%s\n' NAME | sh", NULL, NULL },
	{ "printf '%s\n' NAME | perl", NULL, NULL },
	{ "printf '%s\n' NAME | sed -f - /dev/null", NULL, NULL },
	{ "printf '%s\n' NAME | awk '{ system($0) }'", NULL, NULL },
	{ "printf '%s\n' NAME | sed 's/^/ /e'", NULL, NULL },
	{ "printf '%s\n' NAME >" PWNED ".sh; sh " PWNED ".sh", NULL, NULL },
	{ "printf '%s\n' \"$VHOSTMD_NAME\" | sh", NULL, NULL },
	{ "eval \"$VHOSTMD_NAME\"", NULL, NULL },
	{ "$VHOSTMD_NAME", NULL, NULL },
	{ "echo $VHOSTMD_NAME", NULL, NULL },
	{ "perl -e \"print qq(NAME)\"", "", "" },
	{ "perl -e 'print \"NAME\"'", "", "" },
	{ "env x=NAME sh -c 'eval $x'", NULL, NULL },
	{ "set -- NAME; eval $1", NULL, NULL },
	{ "trap 'NAME' EXIT", NULL, NULL },
	{ "alias p=NAME; p", NULL, NULL },
	{ "bash -c '[[ NAME -eq 1 ]]'", NULL, NULL },
	{ "bash -c \"[[ $(printf %s NAME) -eq 1 ]]\"", NULL, NULL },
	{ "bash -c 'printf -v NAME x'", NULL, NULL },
	{ "x=NAME; bash -c \"(( $x ))\"", NULL, NULL },
	{ "find / -maxdepth 0 -exec NAME ';'", NULL, NULL },
	{ "find / -maxdepth 0 -name x -o -exec sh -c 'NAME' ';'", NULL, NULL },
	{ "find / -maxdepth 0 -printf '%s' NAME 2>/dev/null", NULL, NULL },
	{ "grep -c NAME /dev/null", NULL, NULL },
	{ "timeout 5 NAME", NULL, NULL },
	{ "make -f /dev/null NAME 2>/dev/null", NULL, NULL },
	{ "echo ${x=NAME}", "", "\n" },
	{ "sh <<EOF\nNAME\nEOF", NULL, NULL },
	{ "cat < NAME", NULL, NULL },
	{ "[ NAME = x ] || printf '<%s>' NAME", "<", ">" },
	{ "[ -n \"NAME\" ] && echo yes", NULL, NULL },
	{ "if test \"NAME\" != x; then printf '<%s>' NAME; fi", "<", ">" },
	{ "X=NAME; awk \"BEGIN { print \\\"$X\\\" }\"", "", "\n" },
	{ "echo ${X:-NAME}", "", "\n" },
	{ "cat <<EOF\nNAME\nEOF", "", "\n" },
	{ "cat <<'EOF'\nNAME\nEOF", "", "\n" },
	{ "printf %s \\NAME", "", "" },
	{ "printf %s \"\\NAME\"", "\\", "" },
	{ "printf %s '", NULL, NULL },
	{ "test -n NAME && stat -c %n -- /nonexistent/NAME 2>/dev/null; expr 1", "1\n",
		"" },
};

static void hostile_names_stay_text(void **state)
{
	(void)state;
	unlink(PWNED);
	for (size_t k = 0; k < ARRAY_LEN(places); k++) {
		for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
			_cleanup_free_ char *out = outcome(places[k].action, hostile[i]);
			_cleanup_free_ char *expected = !places[k].before ? NULL
				: strstr(places[k].action, "expr 1")
				? xstrdup("1\n")
				: xasprintf("%s%s%s", places[k].before, hostile[i],
					  places[k].after);

			if (access(PWNED, F_OK) == 0)
				fail_msg("executed: %s with %s", places[k].action,
					hostile[i]);
			if (out && expected && strcmp(out, expected) != 0)
				fail_msg("%s with %s gave %s", places[k].action,
					hostile[i], out);
			/* a harmless name must work in every place */
			if (!i && expected && !out)
				fail_msg("refused: %s", places[k].action);
		}
	}
	unlink(PWNED ".sh"); /* of one of the places */
}

/* The usual ways of writing an action work for every name. */
static void usual_actions_take_any_name(void **state)
{
	(void)state;
	static const char *const actions[] = { "printf '%s' NAME",
		"printf \"%s\\n\" \"NAME\"", "virsh -r CONNECT dominfo NAME",
		"virsh dominfo \"NAME\" | awk '/CPU time/ {print $3}'",
		"virsh dominfo NAME | awk 'NR > 1 && $1 > 2 {print $3}' | sort -rn -k 2 | uniq -c",
		"virsh -q dominfo 'NAME' 2>/dev/null | grep -c 'CPU time'",
		("virsh CONNECT dominfo NAME | sed 's/: */:/' | \\\n"
		 "  awk -F: '/CPU time/ {print $2;}' | sed 's/s//'"),
		"virsh -c qemu:///system dominfo --domain NAME |\n tr -d ' ' | cut -d: -f2",
		"virsh dominfo \"NAME\" | sed -n \"s/^Max memory: *//p\" # NAME\n",
		"x=$(virsh vcpucount NAME --current); printf '%s' \"$x\"",
		"virsh -r dominfo NAME | sed \"s/ $//\"",
		"if virsh domstate NAME >/dev/null 2>&1; then cat /x; fi" };

	for (size_t k = 0; k < ARRAY_LEN(actions); k++) {
		struct action_template *t = new_template(actions[k], NULL);

		for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
			const char *why = refuses(t, hostile[i]);

			if (why)
				fail_msg(
					"%s refuses %s: %s", actions[k], hostile[i], why);
		}
		action_template_free(t);
	}
}

/* Names that are not plain, or that mean something to somebody. */
static const char *const unsafe[] = { "a'b", "a b", "-n", ".", "..", "", "a\nb",
	"\xc3\xa9", "17", "+17", " 17", "0", "aaaaaaaa-0000-4000-8000-000000000001",
	"AAAAAAAA00004000800000000000 0001", "touch", "1els", "ls", "exit", "while",
	"die",
	("a23456789012345678901234567890123456789012345678901234567890"
	 "a23456789012345678901234567890123456789012345678901234567890123456789") };

static void forms_that_are_not_known_take_plain_names_only(void **state)
{
	(void)state;
	static const char *const actions[] = { "sh -c \"dominfo NAME\"", "eval x NAME",
		"awk '/NAME/'", "awk -v x=NAME 'BEGIN{}'", "echo `x NAME`",
		"echo NAME | ssh h", "virsh \"dominfo NAME\"", "x <<E\nNAME\nE",
		"echo ${A-NAME}", "echo $((NAME))", "grep NAME /f", "find /x -name NAME",
		"x=NAME; python3 -c \"print('$x')\"", "python3.11 -c \"print('NAME')\"",
		"/usr/libexec/platform-python -c 'print(\"NAME\")'",
		"echo \"print('NAME')\" | python3", "printf '%s\\n' NAME | perl",
		"v=NAME; $v", "[[ NAME -eq 1 ]]", "[ NAME -eq 1 ]", "test -v NAME",
		"cat -- NAME", "report --vm=NAME", "x=$(lookup NAME)",
		"PATH=NAME; printf x", "PS4=NAME; printf x", "printf NAME",
		"printf '%b' NAME", "printf '%d' NAME", "printf -v NAME x", "virsh NAME",
		"virsh -c NAME list", "virsh vol-info NAME",
		"virsh qemu-monitor-command x NAME", "virsh domblkstat x NAME",
		"echo NAME | virsh", "x=NAME; virsh dominfo $x", "virsh list | grep NAME",
		"echo NAME | xargs virsh dominfo", "printf '%s' NAME | sed e",
		"printf '%s' NAME | sed 's/a/b/e'", "printf '%s' NAME | sed '1!G;h'",
		"printf '%s' NAME | awk '{print | \"sh\"}'",
		"printf '%s' NAME | awk '{$0 | getline}'",
		"printf '%s' NAME | gawk '{@$1()}'", "printf '%s' NAME | awk -f /x",
		"printf '%s' NAME >/tmp/x", "printf '%s' \"$[NAME]\"",
		"printf '%s' NAME | awk '{print > $0}'",
		"printf '%s' NAME | awk '{print /\"/ > $0 \"x\"}'",
		"printf '%s' NAME | awk '{printf(\"x\") >> \"/tmp/\" $1}'",
		"printf '%s' NAME | sort -ro /tmp/x",
		"printf '%s' NAME | sort - -o/tmp/x", "printf '%s' NAME | uniq - /tmp/x",
		"printf '%s' NAME | sort --compress-program=sh",
		"o=-f; printf '%s' NAME | grep $o -", "printf '%s' NAME & wait",
		"(printf '%s' NAME)", "{ printf '%s' NAME; }",
		"for x in NAME; do printf '%s' $x; done", "p() { sh -c \"$1\"; }; p NAME",
		"alias printf='sh -c'; printf NAME",
		"alias printf='sh -c'; printf '%s' NAME", "printf '%s' $(unknown NAME)",
		"printf '%s' \"$(echo 'NAME')\"", "printf '%s' *NAME", "echo {a,NAME}",
		"virsh dominfo NAME | unknown", "virsh dominfo NAME NAME",
		"x='NAME'; printf '%s' \"$x\"", "printf '%s' \"NAME\"'NAME'",
		"echo \"$(case a in a) echo NAME;; esac)\"", "echo \"\\NAME\"",
		"exec printf '%s' NAME", "time -p printf '%s' NAME",
		"echo $VHOSTMD_NAME | sh",
		"awk 'BEGIN {system(ENVIRON[\"VHOSTMD_NAME\"])}'",
		"virsh dominfo NAME ||| x", "printf '%s' 'NAME", "printf '%s' \"NAME",
		"printf '%s' $(echo NAME" };

	for (size_t k = 0; k < ARRAY_LEN(actions); k++) {
		struct action_template *t = new_template(actions[k], NULL);

		for (size_t i = 0; i < ARRAY_LEN(unsafe); i++)
			if (!refuses(t, unsafe[i]))
				fail_msg("%s accepts '%s'", actions[k], unsafe[i]);
		if (refuses(t, "web-01.example_2"))
			fail_msg("%s refuses a plain name: %s", actions[k],
				refuses(t, "web-01.example_2"));
		action_template_free(t);
	}
}

/* Not even a plain name is a command, or a program. */
static void no_name_stands_where_code_begins(void **state)
{
	(void)state;
	static const char *const actions[] = { "NAME", "a; NAME", "a | NAME -x",
		"$(NAME)", "if NAME; then a; fi", "x=1 NAME", "! NAME", "echo `NAME`",
		"echo `a; NAME`", "sh -c NAME", "sh -c \"NAME x\"", "bash -lc 'NAME'",
		"eval NAME", ". NAME", "exec NAME", "env X=1 NAME", "nice -n 5 NAME",
		"timeout 5s NAME", "sudo -n NAME", "sudo sh -c 'NAME'", "xargs -n 1 NAME",
		"watch NAME", "sed NAME /x", "sed -n 'NAME'", "awk 'NAME'",
		"perl -e NAME", "perl -we 'NAME'", "/usr/bin/python3.11 -c \"NAME\"",
		"trap NAME EXIT", "NAME=x; printf '%s' y", "(NAME)", "jq NAME" };

	for (size_t k = 0; k < ARRAY_LEN(actions); k++) {
		for (int any = 0; any < 2; any++) {
			const struct action_text action = {
				.text = actions[k], .in_vm = true, .any_name = any
			};
			struct action_template *t = action_template_new(&action);

			if (!refuses(t, "web01"))
				fail_msg("accepted: %s", actions[k]);
			action_template_free(t);
		}
	}
}

static void assert_expands(const char *text, const char *name, const char *expected)
{
	struct action_template *t = new_template(text, NULL);
	struct vm_ident vm = { .id = 7, .name = name };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	assert_int_equal(uuid_parse(UUID, &vm.uuid), 0);
	if (refuses(t, name))
		fail_msg("%s refuses %s", text, name);
	action_template_expand(t, &vm, &out);
	assert_string_equal(strbuf_str(&out), expected);
	action_template_free(t);
}

/* What virsh would take for another VM, or for more than a name, it gets as the uuid. */
static void virsh_gets_the_uuid_where_a_name_is_not_clear(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unsafe); i++) {
		bool plain = !strcmp(unsafe[i], "touch") || !strcmp(unsafe[i], "ls") ||
			!strcmp(unsafe[i], "exit") || !strcmp(unsafe[i], "while") ||
			!strcmp(unsafe[i], "die") || !strcmp(unsafe[i], "1els");
		const char *expected = plain ? unsafe[i] : UUID;
		_cleanup_free_ char *bare = xasprintf("virsh -r dominfo %s", expected);
		_cleanup_free_ char *quoted =
			xasprintf("virsh dominfo '%s' | wc -l", expected);

		assert_expands("virsh -r dominfo NAME", unsafe[i], bare);
		assert_expands("virsh dominfo 'NAME' | wc -l", unsafe[i], quoted);
	}
	assert_expands("x=$(virsh domstate --domain \"NAME\"); printf '%s' NAME", "17",
		"x=$(virsh domstate --domain \"" UUID
		"\"); printf '%s' \"${VHOSTMD_NAME}\"");
	assert_expands("virsh domuuid NAME", "17", "virsh domuuid 7");
	assert_expands("virsh domuuid NAME", "web01", "virsh domuuid web01");
	assert_expands("virsh -r dominfo NAME", "web01", "virsh -r dominfo web01");
	assert_expands("virsh -r dominfo NAME", "deadbeef", "virsh -r dominfo deadbeef");
}

/* The configuration's word: every name, as one word, where that can be. */
static void any_name_is_taken_where_the_configuration_says_so(void **state)
{
	(void)state;
	struct action_text action = {
		.text = "report --vm NAME \"a NAME\"", .in_vm = true, .any_name = true
	};
	struct vm_ident vm = { .name = "a 'b" };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct action_template *t = action_template_new(&action);

	for (size_t i = 0; i < ARRAY_LEN(unsafe); i++)
		assert_null(refuses(t, unsafe[i]));
	action_template_expand(t, &vm, &out);
	assert_string_equal(strbuf_str(&out),
		"report --vm \"${VHOSTMD_NAME}\" \"a ${VHOSTMD_NAME}\"");
	action_template_free(t);
	action.text = "report 'NAME'";
	t = action_template_new(&action);
	assert_non_null(refuses(t, "a 'b"));
	assert_null(refuses(t, "17"));
	action_template_free(t);
}

static void tokens_are_whole_words(void **state)
{
	(void)state;
	struct vm_ident vm = { .id = 12, .name = "v" };
	static const char *const pairs[][2] = {
		{ "HOSTNAME VALID NAMES MYID", "HOSTNAME VALID NAMES MYID" },
		{ "a ID b VMID c", "a 12 b 12 c" },
		{ "a 'UUID'", "a '6be3fdb8-bef5-6fec-b1b7-e61bbceab708'" },
		{ "virsh CONNECT list", "virsh --connect 'qemu:///system' list" },
		{ "echo $NAME x", "echo $NAME x" },
		{ "echo NAME", "echo \"${VHOSTMD_NAME}\"" },
		{ "echo \"a NAME\"", "echo \"a ${VHOSTMD_NAME}\"" },
		{ "echo x # NAME", "echo x # NAME" },
	};

	assert_int_equal(uuid_parse("6be3fdb8-bef5-6fec-b1b7-e61bbceab708", &vm.uuid), 0);
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		struct action_template *t = new_template(pairs[i][0], "qemu:///system");

		action_template_expand(t, &vm, &out);
		assert_string_equal(strbuf_str(&out), pairs[i][1]);
		action_template_free(t);
	}
	struct action_template *t =
		action_template_new(&(struct action_text){ .text = "x NAME CONNECT" });
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	action_template_expand(t, NULL, &out);
	assert_string_equal(strbuf_str(&out), "x NAME ");
	action_template_free(t);
	assert_true(action_uri_valid("qemu+ssh://u@h:22/system?a=b&c=~d"));
	assert_false(action_uri_valid("qemu:///'; reboot"));
}

static void time_limit_kills_the_whole_group(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	int64_t start = clock_mono_ns();
	int self_group = getpgrp();
	struct action_process *p =
		run(loop, "sleep 60 & sleep 60; echo never", NULL, 200);

	assert_true(p->timed_out);
	assert_true(clock_mono_ns() - start < 10 * NS_PER_S);
	assert_int_equal(getpgrp(), self_group);
	pid_t pid = p->pid;

	action_process_kill(p);
	wait_until_gone(loop, p);
	assert_int_equal(kill(-pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	action_process_free(p);
	loop_free(loop);
}

static void background_children_are_not_waited_for(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	int64_t start = clock_mono_ns();
	struct action_process *p = run(loop, "sleep 60 & echo 5", NULL, 20000);

	assert_string_equal(strbuf_str(&p->out), "5\n");
	assert_int_equal(p->status, 0);
	assert_true(clock_mono_ns() - start < 10 * NS_PER_S);
	wait_until_gone(loop, p);
	action_process_free(p);
	loop_free(loop);
}

static void output_limit_is_an_error_not_a_cut(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	struct action_process *p =
		run(loop, "head -c 65536 /dev/zero | tr '\\0' 1", NULL, 10000);

	assert_false(p->too_long);
	assert_int_equal(p->out.len, 65536);
	action_process_free(p);
	p = run(loop, "yes", NULL, 10000);
	assert_true(p->too_long);
	wait_until_gone(loop, p);
	action_process_free(p);
	loop_free(loop);
}

/* Standard error is read away, but never for longer than the command may take. */
static void a_flood_of_complaints_ends_in_time(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	int64_t start = clock_mono_ns();
	struct action_process *p = run(loop, "yes complaint >&2", NULL, 300);

	assert_true(p->timed_out);
	assert_true(clock_mono_ns() - start < 10 * NS_PER_S);
	assert_int_equal(memcmp(p->err, "complaint", 9), 0);
	wait_until_gone(loop, p);
	action_process_free(p);
	loop_free(loop);
}

/* What is let go of early is killed all the same, and reported to nobody. */
static void a_command_can_be_dropped_at_any_time(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	char *env[] = { NULL };
	struct action_command command = { .runner = runner,
		.run = { .script = "sleep 60", .env = env },
		.timeout_ns = NS_PER_S };
	struct action_process *p = NULL;
	bool ended = false;

	assert_int_equal(action_process_start(loop, &command, note_end, &ended, &p), 0);
	assert_false(action_process_gone(p));
	action_process_kill(p);
	wait_until_gone(loop, p);
	action_process_free(p);
	assert_int_equal(action_process_start(loop, &command, note_end, &ended, &p), 0);
	pid_t pid = p->pid;

	action_process_free(p);
	assert_int_equal(waitpid(pid, NULL, 0), pid); /* left to us */
	assert_false(ended);
	loop_free(loop);
}

static void commands_have_their_own_limit_of_files(void **state)
{
	(void)state;
	struct loop *loop = make_loop();
	char *env[] = { NULL };
	struct action_command command = { .runner = runner,
		.run = { .script = "ulimit -Sn; ulimit -Hn",
			.env = env,
			.max_files = 77 },
		.timeout_ns = 10 * NS_PER_S };
	struct action_process *p = NULL;
	struct rlimit limit;
	bool ended = false;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	_cleanup_free_ char *expected =
		xasprintf("77\n%llu\n", (unsigned long long)limit.rlim_max);

	assert_int_equal(action_process_start(loop, &command, note_end, &ended, &p), 0);
	while (!ended)
		loop_run_once(loop);
	assert_string_equal(strbuf_str(&p->out), expected);
	action_process_free(p);
	loop_free(loop);
}

static struct spec_set *one_spec(enum spec_kind kind, enum metric_type type)
{
	struct spec_set *specs = spec_set_new(1);

	specs->specs[0] = (struct metric_spec){ .name = xstrdup("m"),
		.kind = kind,
		.context = CONTEXT_VM,
		.type = type,
		.guest = true };
	if (kind == SPEC_GROUP) {
		specs->specs[0].n_variables = 2;
		specs->specs[0].variables = xcalloc(2, sizeof(struct spec_variable));
		specs->specs[0].variables[0] =
			(struct spec_variable){ xstrdup("a"), NULL, METRIC_UINT64 };
		specs->specs[0].variables[1] =
			(struct spec_variable){ xstrdup("b"), NULL, METRIC_REAL64 };
	}
	return specs;
}

/* How many metrics of @script's output are available; @why gets the message. */
static size_t available(enum spec_kind kind, enum metric_type type, const char *script,
	struct strbuf *why)
{
	struct spec_set *specs = one_spec(kind, type);
	struct vm_ident vm = { .name = "v" };
	struct loop *loop = make_loop();
	struct action_process *p = run(loop, script, NULL, 10000);
	size_t n = 0;
	struct metric_list *list = action_result_read(specs, 0, &vm, p, why);

	for (size_t i = 0; i < list->n; i++)
		n += list->metrics[i].available;
	metric_list_unref(list);
	action_process_free(p);
	loop_free(loop);
	spec_set_unref(specs);
	return n;
}

static void outputs_must_parse_as_their_type(void **state)
{
	(void)state;
	static const struct {
		enum spec_kind kind;
		enum metric_type type;
		const char *script;
		size_t n;
		const char *why;
	} cases[] = {
		{ SPEC_ACTION, METRIC_UINT32, "echo 5", 1, "" },
		{ SPEC_ACTION, METRIC_UINT32, "echo five", 0, "the output 'five" },
		{ SPEC_ACTION, METRIC_UINT32, "echo 5; exit 3", 0, "status 3" },
		{ SPEC_ACTION, METRIC_UINT32, "echo oops >&2; exit 1", 0, "said 'oops'" },
		{ SPEC_ACTION, METRIC_INT32, "echo 3000000000", 0, "does not fit int32" },
		{ SPEC_ACTION, METRIC_STRING, "printf 'a\\377b'", 0, "not UTF-8" },
		{ SPEC_ACTION, METRIC_STRING, "printf 'a\\0b'", 0, "NUL" },
		{ SPEC_ACTION, METRIC_STRING, "no-such-command-here", 0, "status 127" },
		{ SPEC_ACTION, METRIC_REAL64, "echo 69.4s", 1, "" },
		{ SPEC_GROUP, 0, "echo 1,2.5", 2, "" },
		{ SPEC_GROUP, 0, "echo 1", 0, "2 variables" },
		{ SPEC_GROUP, 0, "echo 1,2,3", 0, "2 variables" },
		{ SPEC_GROUP, 0, "echo 1,x", 0, "variable b" },
		{ SPEC_XML, 0,
			"echo '<metric type=\"int32\" context=\"vm\"><name>a</name>"
			"<value>1</value></metric><metric type=\"string\"><name>b</name>"
			"<value> x </value></metric>'",
			2, "" },
		{ SPEC_XML, 0, "echo '<metric type=\"int32\"><name>a</name></metric>'", 0,
			"no <value>" },
		{ SPEC_XML, 0,
			"echo '<metric type=\"int32\"><name>a</name><value>q</value></metric>'",
			0, "is no int32" },
		{ SPEC_XML, 0,
			"echo '<metric type=\"int32\" context=\"host\"><name>a</name>"
			"<value>1</value></metric>'",
			0, "another context" },
		{ SPEC_XML, 0,
			"echo '<metric type=\"int32\" uuid=\"x\"><name>a</name>"
			"<value>1</value></metric>'",
			0, "another VM" },
		{ SPEC_XML, 0, "echo '</output><evil/>'", 0, "not well-formed" },
		{ SPEC_XML, 0, "echo '<!DOCTYPE a [<!ENTITY e \"x\">]><metric/>'", 0,
			"well-formed" },
		{ SPEC_XML, 0, "true", 0, "printed nothing" },
		{ SPEC_XML, 0, "echo '<metrics/>'", 0, "no <metric>" },
		{ SPEC_ACTION, METRIC_STRING, "true", 0, "printed nothing" },
		{ SPEC_ACTION, METRIC_STRING, "echo '  '; echo", 0, "printed nothing" },
		{ SPEC_ACTION, METRIC_UINT32, "true", 0, "printed nothing" },
		{ SPEC_ACTION, METRIC_STRING, "{ echo no route >&2; false; } | tr -d x",
			0, "printed nothing and said 'no route'" },
		{ SPEC_ACTION, METRIC_STRING, "echo all right; echo hint >&2", 1, "" },
		{ SPEC_ACTION, METRIC_STRING, "echo v1 $(cat /nowhere 2>&1 >&2)", 1, "" },
		{ SPEC_ACTION, METRIC_STRING,
			"echo \"v $(echo a: Permission denied >&2)\"", 0,
			"without a right and said 'a: Permission denied'" },
		{ SPEC_GROUP, 0, "echo ,2.5", 1, "variable a is empty" },
		{ SPEC_GROUP, 0, "echo ,", 0,
			"variable a is empty, variable b is empty" },
		{ SPEC_GROUP, 0, "true", 0, "printed nothing" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
		size_t n = available(cases[i].kind, cases[i].type, cases[i].script, &why);

		if (n != cases[i].n || !strstr(strbuf_str(&why), cases[i].why) ||
			(!*cases[i].why && why.len))
			fail_msg("%s: %zu available, said: %s", cases[i].script, n,
				strbuf_str(&why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_are_whole_words),
		cmocka_unit_test(hostile_names_stay_text),
		cmocka_unit_test(usual_actions_take_any_name),
		cmocka_unit_test(forms_that_are_not_known_take_plain_names_only),
		cmocka_unit_test(no_name_stands_where_code_begins),
		cmocka_unit_test(virsh_gets_the_uuid_where_a_name_is_not_clear),
		cmocka_unit_test(any_name_is_taken_where_the_configuration_says_so),
		cmocka_unit_test(time_limit_kills_the_whole_group),
		cmocka_unit_test(background_children_are_not_waited_for),
		cmocka_unit_test(output_limit_is_an_error_not_a_cut),
		cmocka_unit_test(a_flood_of_complaints_ends_in_time),
		cmocka_unit_test(a_command_can_be_dropped_at_any_time),
		cmocka_unit_test(commands_have_their_own_limit_of_files),
		cmocka_unit_test(outputs_must_parse_as_their_type),
	};

	int status = runner_begin();

	if (status >= 0)
		return status;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	runner_stop(runner);
	return failed;
}
