/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/actions.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "collect/actions/process.h"
#include "collect/actions/result.h"
#include "collect/actions/template.h"
#include "core/metric_list.h"
#include "core/spec.h"
#include "model/board.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * Fairness.  Waiting commands start in the order in which they began to wait.  One that
 * runs for longer than the grace time gives up its place to the next, and from then on
 * counts as slow: slow ones wait for the others to start, and only so many run at once.
 */
#define GRACE_NS NS_PER_S
#define MAX_RUNNING_FACTOR 8u

/* One command for one scope. */
struct task {
	uint32_t slot;
	struct run *run; /* a reference; NULL: the host */
	bool queued;
	int64_t queued_ns; /* since when; monotonic */
	int64_t started_ns;
	bool slow; /* its last run was */
	bool ran;
	bool failing; /* the failure was logged */
	bool keep;    /* while the tasks are brought in line with the VMs */
	struct action_process *process; /* NULL: does not run */
};

struct actions {
	struct board *board;
	struct registry *registry;
	pthread_t thread;
	int wake_fd;
	_Atomic bool stopping;
	_Atomic unsigned n_running_shown, n_failing_shown;

	pthread_mutex_t lock; /* guards the settings to come */
	struct action_settings *pending;

	/* actions thread only */
	struct action_settings settings; /* owns its strings */
	struct spec_set *specs;
	struct action_template **templates; /* by slot; NULL: no action */
	struct task **tasks;                /* in the order in which they are to run */
	size_t n_tasks, cap_tasks;
	unsigned n_running;
	int64_t next_mono_ns; /* of the next beat */
	bool kicked;          /* there may be new VMs */
};

static bool is_overdue(const struct task *task, int64_t now)
{
	return task->process && now - task->started_ns >= GRACE_NS;
}

static void settings_done(struct action_settings *s)
{
	free((void *)(uintptr_t)s->path);
	free((void *)(uintptr_t)s->connect);
	free((void *)(uintptr_t)s->uri);
}

static struct action_settings settings_copy(const struct action_settings *from)
{
	struct action_settings s = *from;

	s.path = xstrdup(from->path);
	s.connect = from->connect ? xstrdup(from->connect) : NULL;
	s.uri = from->uri ? xstrdup(from->uri) : NULL;
	return s;
}

static void task_free(struct actions *a, struct task *task)
{
	if (task->process) {
		action_process_done(task->process);
		free(task->process);
		a->n_running--;
	}
	run_unref(task->run);
	free(task);
}

static void drop_tasks(struct actions *a)
{
	for (size_t i = 0; i < a->n_tasks; i++)
		task_free(a, a->tasks[i]);
	a->n_tasks = 0;
}

static void drop_specs(struct actions *a)
{
	for (size_t i = 0; a->specs && i < a->specs->n; i++)
		action_template_free(a->templates[i]);
	free(a->templates);
	a->templates = NULL;
	spec_set_unref(TAKE_PTR(a->specs));
}

/* Takes over the board's configuration; commands of an older one are dropped. */
static void refresh_specs(struct actions *a)
{
	struct spec_set *specs = board_specs(a->board);

	if (specs == a->specs) {
		spec_set_unref(specs);
		return;
	}
	drop_tasks(a);
	drop_specs(a);
	a->specs = specs;
	a->templates = xcalloc(specs->n, sizeof(struct action_template *));
	for (size_t i = 0; i < specs->n; i++)
		if (specs->specs[i].action)
			a->templates[i] = action_template_new(specs->specs[i].action,
				specs->specs[i].context == CONTEXT_VM,
				a->settings.connect);
}

static struct task *find_task(struct actions *a, uint32_t slot, const struct run *run)
{
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct task *t = a->tasks[i];

		if (t->slot == slot && t->run == run)
			return t;
	}
	return NULL;
}

static void keep_task(struct actions *a, uint32_t slot, struct run *run)
{
	struct task *task = find_task(a, slot, run);

	if (!task) {
		task = xcalloc(1, sizeof(*task));
		task->slot = slot;
		task->run = run ? run_ref(run) : NULL;
		a->tasks = xgrow(a->tasks, a->n_tasks, &a->cap_tasks, sizeof(*a->tasks));
		a->tasks[a->n_tasks++] = task;
	}
	task->keep = true;
}

/* One task for each action and scope; those of VMs that are gone are dropped. */
static void sync_tasks(struct actions *a)
{
	_cleanup_roster_ struct roster *roster = registry_roster(a->registry);
	size_t n = 0;

	for (size_t i = 0; i < a->n_tasks; i++)
		a->tasks[i]->keep = false;
	for (uint32_t slot = 0; slot < a->specs->n; slot++) {
		if (!a->templates[slot])
			continue;
		if (a->specs->specs[slot].context == CONTEXT_HOST)
			keep_task(a, slot, NULL);
		else
			for (size_t v = 0; v < roster->n; v++)
				keep_task(a, slot, roster->runs[v]);
	}
	for (size_t i = 0; i < a->n_tasks; i++) {
		if (a->tasks[i]->keep)
			a->tasks[n++] = a->tasks[i];
		else
			task_free(a, a->tasks[i]);
	}
	a->n_tasks = n;
}

/* Logs the first failure, and the end of failing. */
static void note_outcome(struct actions *a, struct task *task, const char *why)
{
	const struct metric_spec *spec = &a->specs->specs[task->slot];
	const char *of = task->run ? " of VM " : "",
		   *vm = task->run ? task->run->ident.name : "";

	if (why && !task->failing)
		log_warning("metric %s%s%s is unavailable: %s", spec->name, of, vm, why);
	else if (!why && task->failing)
		log_info("metric %s%s%s is available again", spec->name, of, vm);
	task->failing = why != NULL;
}

static void store(struct actions *a, struct task *task, struct metric_list *list)
{
	board_update(a->board, task->run, LANE_ACTION_0 + task->slot, list);
}

static void refuse(struct actions *a, struct task *task, const char *why)
{
	note_outcome(a, task, why);
	store(a, task, action_result_none(a->specs, task->slot));
}

static char **make_env(struct actions *a, const struct task *task)
{
	char **env = xcalloc(9, sizeof(char *));
	char uuid[UUID_TEXT_LEN + 1];
	size_t n = 0;

	env[n++] = xasprintf("PATH=%s", a->settings.path);
	env[n++] = xstrdup("LC_ALL=C");
	env[n++] = xstrdup("HOME=/");
	/* an unprivileged virsh would choose another connection by itself */
	if (a->settings.uri)
		env[n++] = xasprintf("LIBVIRT_DEFAULT_URI=%s", a->settings.uri);
	if (a->settings.connect)
		env[n++] = xasprintf("VHOSTMD_URI=%s", a->settings.connect);
	if (task->run) {
		const struct vm_ident *vm = &task->run->ident;

		uuid_format(&vm->uuid, uuid);
		env[n++] = xasprintf("VHOSTMD_NAME=%s", vm->name);
		env[n++] = xasprintf("VHOSTMD_ID=%d", vm->id);
		env[n++] = xasprintf("VHOSTMD_UUID=%s", uuid);
	}
	return env;
}

static void start_task(struct actions *a, struct task *task)
{
	const struct action_template *t = a->templates[task->slot];
	const struct vm_ident *vm = task->run ? &task->run->ident : NULL;
	const char *why = vm ? action_template_refuses(t, vm->name) : NULL;
	_cleanup_strbuf_ struct strbuf script = STRBUF_INIT;

	task->ran = true;
	if (why) {
		refuse(a, task, why);
		return;
	}
	action_template_expand(t, vm, &script);
	char **env = make_env(a, task);

	task->process = xcalloc(1, sizeof(*task->process));
	int r = action_process_start(task->process, strbuf_str(&script), env,
		&a->settings.user, a->settings.timeout_ns);

	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	free(env);
	if (r < 0) {
		free(TAKE_PTR(task->process));
		refuse(a, task, strerror(-r));
		return;
	}
	a->n_running++;
}

static void finish_task(struct actions *a, struct task *task)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	store(a, task,
		action_result_read(a->specs, task->slot,
			task->run ? &task->run->ident : NULL, task->process, &why));
	if (why.len && a->settings.user.change)
		strbuf_addf(&why, " (run as uid %u; <actions><user> chooses another)",
			(unsigned)a->settings.user.uid);
	note_outcome(a, task, why.len ? strbuf_str(&why) : NULL);
	task->slow = is_overdue(task, clock_mono_ns());
	action_process_done(task->process);
	free(TAKE_PTR(task->process));
	a->n_running--;
}

/* The task that is to start next, NULL if none may. */
static struct task *next_task(struct actions *a, int64_t now)
{
	struct task *best = NULL;
	unsigned places = 0, slow = 0;

	for (size_t i = 0; i < a->n_tasks; i++) {
		const struct task *t = a->tasks[i];
		bool overdue = is_overdue(t, now);

		slow += t->process && (overdue || t->slow);
		places += t->process && !overdue && !t->slow;
	}
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct task *t = a->tasks[i];

		if (!t->queued || t->process ||
			(t->slow ? slow : places) >= a->settings.max_parallel)
			continue;
		if (!best || t->slow < best->slow ||
			(t->slow == best->slow && t->queued_ns < best->queued_ns))
			best = t;
	}
	/* commands that nobody knew to be slow may pile up to here */
	return slow + places < MAX_RUNNING_FACTOR * a->settings.max_parallel ? best
									     : NULL;
}

/* Starts waiting tasks while there is room.  Return: true if any was refused at once. */
static bool start_tasks(struct actions *a)
{
	int64_t now = clock_mono_ns();
	struct task *task = NULL;
	bool refused = false;

	while ((task = next_task(a, now))) {
		task->queued = false;
		task->started_ns = now;
		start_task(a, task);
		refused |= !task->process;
	}
	return refused;
}

/* What is to run: everything at a beat, new tasks when kicked. */
static void queue_tasks(struct actions *a)
{
	int64_t now = clock_mono_ns();
	bool beat = now >= a->next_mono_ns;

	if (!beat && !a->kicked)
		return;
	a->kicked = false;
	refresh_specs(a);
	sync_tasks(a);
	if (beat)
		a->next_mono_ns += ((now - a->next_mono_ns) / a->settings.period_ns + 1) *
			a->settings.period_ns;
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct task *t = a->tasks[i];

		if (t->queued || t->process || !(beat || !t->ran))
			continue;
		t->queued = true;
		t->queued_ns = now;
	}
}

static void take_settings(struct actions *a)
{
	pthread_mutex_lock(&a->lock);
	struct action_settings *pending = TAKE_PTR(a->pending);

	pthread_mutex_unlock(&a->lock);
	if (!pending)
		return;
	settings_done(&a->settings);
	a->settings = *pending;
	free(pending);
	a->next_mono_ns = clock_mono_ns();
}

static int poll_timeout_ms(const struct actions *a)
{
	int64_t until = a->next_mono_ns, now = clock_mono_ns();

	for (size_t i = 0; i < a->n_tasks; i++) {
		const struct task *t = a->tasks[i];

		if (!t->process)
			continue;
		if (t->process->deadline_mono_ns < until)
			until = t->process->deadline_mono_ns;
		if (!is_overdue(t, now) && t->started_ns + GRACE_NS < until)
			until = t->started_ns + GRACE_NS;
	}
	return until <= now ? 0 : (int)((until - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* Waits for something to happen.  Return: true if a result was stored. */
static bool wait_and_step(struct actions *a)
{
	_cleanup_free_ struct pollfd *fds =
		xcalloc(1 + a->n_running * ACTION_N_POLLFDS, sizeof(*fds));
	nfds_t n = 0;
	bool stored = false;
	uint64_t count = 0;

	fds[n++] = (struct pollfd){ .fd = a->wake_fd, .events = POLLIN };
	for (size_t i = 0; i < a->n_tasks; i++) {
		if (!a->tasks[i]->process)
			continue;
		action_process_poll(a->tasks[i]->process, &fds[n]);
		n += ACTION_N_POLLFDS;
	}
	if (poll(fds, n, poll_timeout_ms(a)) < 0)
		return false;
	if (fds[0].revents)
		a->kicked = read(a->wake_fd, &count, sizeof(count)) > 0;
	n = 1;
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct task *task = a->tasks[i];

		if (!task->process)
			continue;
		if (action_process_step(task->process, &fds[n])) {
			finish_task(a, task);
			stored = true;
		}
		n += ACTION_N_POLLFDS;
	}
	return stored;
}

static void show_counts(struct actions *a)
{
	unsigned failing = 0;

	for (size_t i = 0; i < a->n_tasks; i++)
		failing += a->tasks[i]->failing;
	atomic_store(&a->n_running_shown, a->n_running);
	atomic_store(&a->n_failing_shown, failing);
}

static void *actions_main(void *arg)
{
	struct actions *a = arg;

	while (!atomic_load(&a->stopping)) {
		take_settings(a);
		queue_tasks(a);
		bool stored = start_tasks(a);

		stored |= wait_and_step(a);
		if (stored)
			board_publish(a->board);
		show_counts(a);
	}
	drop_tasks(a);
	drop_specs(a);
	return NULL;
}

struct actions *actions_start(struct board *board, struct registry *registry,
	const struct action_settings *settings)
{
	struct actions *a = xcalloc(1, sizeof(*a));

	a->board = board;
	a->registry = registry;
	a->settings = settings_copy(settings);
	a->next_mono_ns = clock_mono_ns();
	pthread_mutex_init(&a->lock, NULL);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = a->wake_fd < 0 ? errno
			       : pthread_create(&a->thread, NULL, actions_main, a);

	if (r == 0)
		return a;
	log_error("actions cannot run: %s", strerror(r));
	close_p(&a->wake_fd);
	settings_done(&a->settings);
	free(a);
	return NULL;
}

void actions_kick(struct actions *actions)
{
	uint64_t one = 1;

	if (actions && write(actions->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

void actions_reload(struct actions *actions, const struct action_settings *settings)
{
	struct action_settings *copy = xmalloc(sizeof(*copy));

	*copy = settings_copy(settings);
	pthread_mutex_lock(&actions->lock);
	struct action_settings *old = actions->pending;

	actions->pending = copy;
	pthread_mutex_unlock(&actions->lock);
	if (old)
		settings_done(old);
	free(old);
	actions_kick(actions);
}

void actions_stop(struct actions *actions)
{
	if (!actions)
		return;
	atomic_store(&actions->stopping, true);
	actions_kick(actions);
	pthread_join(actions->thread, NULL);
	if (actions->pending)
		settings_done(actions->pending);
	free(actions->pending);
	settings_done(&actions->settings);
	close(actions->wake_fd);
	pthread_mutex_destroy(&actions->lock);
	free(actions->tasks);
	free(actions);
}

void actions_status(struct actions *actions, struct strbuf *out)
{
	strbuf_addf(out, "actions.running: %u\nactions.failing: %u\n",
		atomic_load(&actions->n_running_shown),
		atomic_load(&actions->n_failing_shown));
}
