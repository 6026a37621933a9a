/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of whom the program in the kernel counts: of who was told, and not of another that has his number
 * after him.
 */
#include "delay-burners.h"

#include "util/clock.h"

/* The next thread of this name space gets the number after that.  Return: false: nobody may say so. */
static bool next_after(uint32_t tid)
{
	char text[16];
	_cleanup_close_ int fd =
		open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

	snprintf(text, sizeof(text), "%" PRIu32, tid);
	return fd >= 0 && write(fd, text, strlen(text)) > 0;
}

/* Others start threads, too. */
static bool start_with_number(struct burner *b, uint32_t tid)
{
	for (int tries = 0; tries < 50; tries++) {
		*b = (struct burner){ 0 };
		if (!next_after(tid - 1))
			return false;
		start_burner(b, NULL);
		if (b->tid == tid)
			return true;
		end_burners(b, 1);
	}
	return false;
}

/* Both wait on the same processor as a process of the host. */
static void who_has_a_number_again_is_somebody_else(void **state)
{
	(void)state;
	struct burner b[1] = { 0 };
	struct attached a = { 0 };

	attach(&a);
	const uint32_t other = fork_burner(0);

	start_burner(b, a.d);
	const uint32_t tid = b->tid;
	const struct delay_vcpu *v = vcpu_of(&a.m, b);

	usleep(100000);
	(void)await_wait(&a.m, b);
	end_burners(b, 1);
	/* two that start in the same tick are not told from each other */
	usleep(30000);
	const uint64_t before = sum_of(v);
	const uint32_t came = v->came;

	assert_true(before > 0);
	if (!start_with_number(b, tid)) {
		end_process(other);
		detach(&a);
		skip();
	}
	usleep(200000);
	const uint64_t waited = field("schedstat", tid, 2);

	print_message("waited %.1f ms, counted %.1f\n", (double)waited / 1e6,
		(double)(sum_of(v) - before) / 1e6);
	end_burners(b, 1);
	end_process(other);
	assert_true(waited > 10 * (uint64_t)NS_PER_MS);
	assert_int_equal(sum_of(v), before);
	assert_int_equal(v->came, came);
	detach(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_a_number_again_is_somebody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
