/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `vhostmdctl blame` understands of the daemon's answer. */
#include "test.h"

#include "blame_text.h"
#include "util/cleanup.h"

#define A "00000000-0000-0000-0000-00000000000a"
#define B "00000000-0000-0000-0000-00000000000b"
#define C "00000000-0000-0000-0000-00000000000c"

static void an_answer_is_taken_apart(void **state)
{
	(void)state;
	_cleanup_told_ struct told t = { 0 };

	told_parse("owner: vms 1 1\nbehind: " B " 1 1 nobody's\n"
		   "bpf: attached\nnow: 5000\nmore: is to come\n"
		   "vm: " A " 60000 web 01\n"
		   "owner: vms 3000 7000\nowner: kernel 1000 2000\nowner: gods 5 5\n"
		   "owner: idle 5\nowner: idle -5 5\n"
		   "behind: " B " 2000 4000 db%0A03\n"
		   "behind: " B "x 2000 4000 wrong\nbehind: " C " 3 wrong\n"
		   "vm: " B " 60000 db%0A03\n"
		   "vm: " C " none at all\n"
		   "owner: vms 9 9\n",
		&t);
	assert_string_equal(t.state, "attached");
	assert_int_equal(t.now_ms, 5000);
	assert_int_equal(t.n, 2);
	const struct told_vm *vm = told_find(&t, "web 01");

	assert_ptr_equal(vm, told_find(&t, "00000000-0000-0000-0000-00000000000A"));
	assert_int_equal(vm->lately_ms, 60000);
	assert_int_equal(vm->by[BLAME_VMS].lately_ns, 3000);
	assert_int_equal(vm->by[BLAME_VMS].all_ns, 7000);
	assert_int_equal(vm->by[BLAME_IDLE].all_ns, 0);
	assert_int_equal(told_waited(vm), 4000);
	assert_int_equal(vm->n, 1);
	assert_string_equal(vm->pairs[0].uuid, B);
	assert_string_equal(vm->pairs[0].name, "db\n03");
	assert_int_equal(vm->pairs[0].time.all_ns, 4000);
	assert_ptr_equal(told_find(&t, "db\n03"), &t.vms[1]);
	assert_null(told_find(&t, "db%0A03"));
	assert_null(told_find(&t, C));
}

static void names_that_several_have_are_nobodys(void **state)
{
	(void)state;
	_cleanup_told_ struct told t = { 0 };

	told_parse("vm: " A " 1 x\nvm: " B " 1 x\nvm: " C " 1 " A "\n", &t);
	assert_null(told_find(&t, "x"));
	assert_string_equal(t.state, "unknown");
	/* a uuid is a uuid, whoever is called so */
	assert_ptr_equal(told_find(&t, A), &t.vms[0]);
}

static void what_was_waited_since_is_the_difference(void **state)
{
	(void)state;
	_cleanup_told_ struct told then = { 0 }, now = { 0 }, anew = { 0 };

	told_parse("now: 1000\nvm: " A " 60000 a\nowner: vms 1 5000\nowner: self 1 1\n"
		   "behind: " B " 7 5000 b\n",
		&then);
	told_parse("now: 4000\nvm: " C " 60000 c\nowner: host 1 400\n"
		   "vm: " A " 60000 a\nowner: vms 1 9000\nowner: self 1 1\n"
		   "behind: " B " 7 8000 b\nbehind: " C " 7 1000 c\n",
		&now);
	assert_true(told_since(&now, &then));
	told_sort(&now);
	assert_string_equal(now.vms[0].uuid, A);
	assert_int_equal(now.vms[0].lately_ms, 3000);
	assert_int_equal(told_waited(&now.vms[0]), 4000);
	assert_int_equal(now.vms[0].pairs[0].time.lately_ns, 3000);
	assert_int_equal(now.vms[0].pairs[1].time.lately_ns, 1000);
	assert_int_equal(told_waited(&now.vms[1]), 400);
	/* a worker that came meanwhile counts from nothing */
	told_parse("now: 4000\nvm: " A " 60000 a\nowner: vms 1 4999\n", &anew);
	assert_false(told_since(&anew, &then));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_taken_apart),
		cmocka_unit_test(names_that_several_have_are_nobodys),
		cmocka_unit_test(what_was_waited_since_is_the_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
