/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The collector of actions: who waits for whom, and what counts as a result. */
#include "test.h"
#include "plans.h"
#include "runner.h"
#include "tmp.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "collect/actions/actions.h"
#include "core/snapshot.h"
#include "core/spec.h"
#include "model/board.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"

/* How many metrics of the host are available. */
static size_t count_available(struct tree *tree)
{
	struct view *view = tree_view(tree);
	size_t found = 0;

	for (size_t i = 0; i < view->host->n; i++)
		found += snapshot_metric(view->host, i)->available;
	view_unref(view);
	return found;
}

/* Waits until the host has @n metrics that are available, in a bounded time. */
static bool wait_available(struct tree *tree, size_t n)
{
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while (count_available(tree) < n && clock_mono_ns() < deadline)
		poll(NULL, 0, 5);
	return count_available(tree) >= n;
}

/* Commands that never end, more of them than may run at once, delay nothing else. */
static void slow_actions_delay_nothing_else(void **state)
{
	(void)state;
	enum { SLOW = 6, ALL = 20 };
	struct spec_set *specs = spec_set_new(ALL);
	struct tree *tree = tree_new();
	int64_t start = clock_mono_ns();

	for (size_t i = 0; i < specs->n; i++)
		specs->specs[i] = (struct metric_spec){ .name = xasprintf("m%zu", i),
			.kind = SPEC_ACTION,
			.type = METRIC_INT32,
			.guest = true,
			.action = xstrdup(i < SLOW ? "sleep 1000" : "echo 1") };
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	const struct actions_params params = {
		.board = board, .registry = registry, .runner = runner
	};
	struct actions *actions = actions_start(&params);

	assert_true(wait_available(tree, ALL - SLOW));
	assert_true(clock_mono_ns() - start < 20 * NS_PER_S);
	actions_stop(actions);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
}

/* Whether @path is there, within 20 s. */
static bool wait_for_file(const char *path)
{
	int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

	while (access(path, F_OK) < 0 && clock_mono_ns() < deadline)
		poll(NULL, 0, 5);
	return access(path, F_OK) == 0;
}

/*
 * SIGTERM, which systemd sends to commands as to us, has ended one.
 * @ends: so do we.  Return: whether its metric is available in the end.
 */
static bool is_available_after_sigterm(bool ends)
{
	char flag[TMP_PATH_SIZE];

	close(mkstemp(tmp_path(flag, "term-XXXXXX")));
	unlink(flag);
	_cleanup_free_ char *seen = xasprintf("%s.seen", flag);
	struct spec_set *specs = spec_set_new(1);

	specs->specs[0] = (struct metric_spec){ .name = xstrdup("m"),
		.kind = SPEC_ACTION,
		.type = METRIC_INT32,
		.guest = true,
		.action = xasprintf(
			"[ ! -e %s ] || { : >%s; kill -TERM $$; }; echo 1", flag, seen) };
	struct tree *tree = tree_new();
	struct registry *registry = registry_new();
	_cleanup_plan_ struct plan *plan = plan_of(specs);
	struct board *board = board_new(tree, registry, plan);
	const struct actions_params params = {
		.board = board, .registry = registry, .runner = runner
	};
	struct actions *actions = actions_start(&params);

	assert_true(wait_available(tree, 1));
	close(open(flag, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	assert_true(wait_for_file(seen));
	if (ends) {
		poll(NULL, 0, 100); /* it is gone by now, as a rule */
		actions_end(actions);
	} else {
		int64_t deadline = clock_mono_ns() + 20 * NS_PER_S;

		while (count_available(tree) && clock_mono_ns() < deadline)
			poll(NULL, 0, 5);
	}
	actions_stop(actions);
	bool available = count_available(tree);

	unlink(flag);
	unlink(seen);
	board_free(board);
	registry_free(registry);
	tree_free(tree);
	spec_set_unref(specs);
	return available;
}

static void who_ends_us_may_end_commands_first(void **state)
{
	(void)state;
	assert_true(is_available_after_sigterm(true));
	assert_false(is_available_after_sigterm(false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_actions_delay_nothing_else),
		cmocka_unit_test(who_ends_us_may_end_commands_first),
	};
	int status = runner_begin();

	if (status >= 0)
		return status;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	runner_stop(runner);
	return failed;
}
