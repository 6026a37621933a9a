/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "top_batch.h"
#include "top_model.h"
#include "top_reader.h"
#include "top_screen.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/strbuf.h"

/* How often ages are drawn while nobody answers, and the daemon is looked for. */
#define LOST_NS NS_PER_S
/* The daemon repeats a rendering for 100 ms. */
#define AGAIN_MS 150

struct top {
	const struct ctl *ctl;
	const struct top_options *options;
	struct top_model *model;
	struct top_reader *reader;
	struct top_screen *screen; /* NULL: batch */
	int64_t next_ns;           /* when the next question is due */
	bool asked;
	bool again;              /* what was read is to be read once more */
	unsigned long refreshes; /* that were shown */
	bool answered;           /* ever */
	int64_t lost_ns;         /* since when nobody answers; 0: somebody does */
	int error;
};

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
	ended = sig;
}

/*
 * Signals are heard while we wait alone, so that none is lost in between.  @ret_wait: the mask of
 * then.
 */
static void prepare_signals(sigset_t *ret_wait)
{
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = on_end };
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGWINCH);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++) {
		sigaddset(&block, ending[i]);
		sigaction(ending[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &block, ret_wait);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		sigdelset(ret_wait, ending[i]);
	sigdelset(ret_wait, SIGWINCH);
}

static const char *lost_text(int error)
{
	return error == -ETIMEDOUT ? "vhostmd does not answer"
		: error == -ECHILD ? "the reading process ended"
				   : strerror(-error);
}

static struct top_scene scene_of(const struct top *t)
{
	return (struct top_scene){ .model = t->model,
		.now_ns = clock_mono_ns(),
		.lost_ns = t->lost_ns,
		.lost = lost_text(t->error) };
}

static void draw(const struct top *t)
{
	const struct top_scene scene = scene_of(t);

	if (t->screen)
		top_screen_draw(t->screen, &scene);
}

/* Whoever reads it may have seen enough: that is the end, and no fault. */
static void print_text(const char *text)
{
	if ((fputs(text, stdout) < 0 || fflush(stdout) != 0) && errno == EPIPE) {
		__fpurge(stdout);
		clearerr(stdout);
		ended = SIGHUP;
	}
}

static void print(const struct top *t)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct top_record record = {
		.model = t->model, .mono_ns = clock_mono_ns(), .real_ns = clock_real_ns()
	};
	const struct top_vm **vms = NULL;

	record.n = top_select(t->model, &t->options->query, record.mono_ns, &vms);
	record.vms = vms;
	if (t->ctl->json)
		top_json_add(&record, &out);
	else
		top_csv_add(&record, &out);
	print_text(strbuf_str(&out));
	free(vms);
}

/* Return: false: there never was anybody. */
static bool on_lost(struct top *t, int error)
{
	t->error = error;
	if (!t->answered)
		return false;
	if (!t->lost_ns) {
		t->lost_ns = clock_mono_ns();
		if (!t->screen)
			ctl_error("%s: %s; waiting for it", t->ctl->mount,
				lost_text(error));
	}
	return true;
}

static void on_sample(struct top *t, struct top_sample *sample)
{
	bool is_first = !t->model->sampled_ns;
	enum top_news news = top_model_update(t->model, sample);

	t->answered = true;
	t->lost_ns = 0;
	t->again = news == TOP_UNSURE;
	if (t->again)
		t->next_ns = 0;
	if (news != TOP_NEW)
		return;
	/* rates are between two */
	if (!t->screen && !is_first)
		print(t);
	if (t->screen || !is_first)
		t->refreshes++;
}

/* Return: false: to end, with t->error if there never was anybody. */
static bool take_answer(struct top *t)
{
	struct top_sample sample;
	int error = 0;
	enum top_answer answer =
		t->asked ? top_reader_take(t->reader, &sample, &error) : TOP_NOTHING;

	if (answer == TOP_NOTHING)
		return true;
	t->asked = false;
	if (answer == TOP_LOST && !on_lost(t, error))
		return false;
	if (answer == TOP_LOST)
		t->next_ns = clock_mono_ns() + LOST_NS;
	if (answer == TOP_READ)
		on_sample(t, &sample);
	draw(t);
	return !t->options->count || t->refreshes < t->options->count;
}

/* What is sampled before the delay is over is read behind it, and what comes later at once. */
static bool ask(struct top *t)
{
	int64_t now_ns = clock_mono_ns();

	if (t->asked || now_ns < t->next_ns)
		return true;
	int wait_ms = t->again ? AGAIN_MS : t->options->delay_ms;

	t->asked = top_reader_ask(
		t->reader, t->answered && !t->lost_ns ? wait_ms : 0, t->again);
	t->again = false;
	t->next_ns = now_ns + (t->lost_ns ? LOST_NS : t->options->delay_ms * NS_PER_MS);
	return t->asked || on_lost(t, -ECHILD);
}

static int64_t next_event_ns(const struct top *t)
{
	int64_t ns = t->asked ? top_reader_late_ns(t->reader) : t->next_ns;
	int64_t tick_ns = t->lost_ns ? clock_mono_ns() + LOST_NS : 0;

	return ns_earlier(ns, tick_ns);
}

static void wait_for_event(struct top *t, const sigset_t *mask, bool *ret_keys)
{
	struct pollfd fds[] = { { top_reader_fd(t->reader), POLLIN, 0 },
		{ t->screen ? STDIN_FILENO : -1, POLLIN, 0 },
		/* whoever reads what is printed is gone */
		{ t->screen ? -1 : STDOUT_FILENO, 0, 0 } };
	int64_t left_ns = next_event_ns(t) - clock_mono_ns();
	const struct timespec timeout = ns_to_timespec(left_ns > 0 ? left_ns : 0);
	int n = ppoll(fds, ARRAY_LEN(fds), &timeout, mask);

	/* the size has changed, or we were stopped and go on */
	*ret_keys = n < 0 || fds[1].revents;
	if (n > 0 && (fds[2].revents || (fds[1].revents & (POLLHUP | POLLERR))))
		ended = SIGHUP;
}

static int follow(struct top *t, const sigset_t *mask)
{
	while (!ended && !ferror(stdout)) {
		bool keys = false;

		if (!ask(t))
			return t->error;
		wait_for_event(t, mask, &keys);
		if (!take_answer(t))
			return t->answered ? 0 : t->error;
		const struct top_scene scene = scene_of(t);

		if (keys && t->screen && !ended && !top_screen_keys(t->screen, &scene))
			break;
		if (t->lost_ns)
			draw(t);
	}
	return 0;
}

static bool open_screen(struct top *t)
{
	if (t->options->batch)
		return true;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		ctl_error("top needs a terminal");
		ctl_hint(
			"vhostmdctl top --batch prints the same as CSV, with --json as JSON");
		return false;
	}
	t->screen = top_screen_open(&t->options->query, t->options->colour);
	return t->screen != NULL;
}

int top_run(const struct ctl *ctl, const struct top_options *options)
{
	struct top t = { .ctl = ctl, .options = options };
	_cleanup_strbuf_ struct strbuf header = STRBUF_INIT;
	sigset_t mask;
	int r = -ENOMEM;

	t.reader = top_reader_new(ctl->mount);
	if (!t.reader) {
		ctl_error("top: %s", strerror(errno));
		return CTL_FAILED;
	}
	t.model = top_model_new();
	prepare_signals(&mask);
	if (!open_screen(&t)) {
		r = 1;
	} else {
		if (options->batch && !ctl->json) {
			top_csv_add_header(&header);
			print_text(strbuf_str(&header));
		}
		draw(&t);
		r = follow(&t, &mask);
	}
	top_screen_close(t.screen);
	top_reader_free(t.reader);
	top_model_free(t.model);
	if (r < 0) {
		ctl_error("%s: %s", ctl->mount, lost_text(r));
		ctl_hint("vhostmd does not run, or is mounted elsewhere (--mount): "
			 "systemctl start vhostmd, or vhostmdctl doctor");
	}
	return r == 0 ? CTL_OK : CTL_FAILED;
}
