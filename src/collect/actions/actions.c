/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/actions.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "collect/actions/process.h"
#include "collect/actions/result.h"
#include "collect/actions/rights.h"
#include "collect/actions/template.h"
#include "core/metric_list.h"
#include "model/board.h"
#include "model/plan.h"
#include "model/registry.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lock.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * Fairness.  Waiting commands start in the order in which they began to wait.  One that
 * runs for longer than the grace time gives up its place to the next, and from then on
 * counts as slow: slow ones wait for the others to start, and only so many run at once.
 */
#define GRACE_NS NS_PER_S
#define MAX_RUNNING_FACTOR 8u

/*
 * Remains.  A command that has ended is killed with all that it started, and usually gone a
 * moment later; nobody waits for that.  Until it is gone, the same command for the same
 * scope is not started again, also not after a reload, so that there is never more than one.
 * What is not gone after a second is stuck: it sleeps where no signal reaches it.  From then
 * on its metric is unavailable; it takes no place from others.
 */
#define STUCK_NS NS_PER_S
#define LOOK_NS (20 * NS_PER_MS) /* between two looks at remains; stuck ones: STUCK_NS */
#define STOP_NS NS_PER_S         /* how long the end waits for them */

/*
 * Doubt.  Who ends a service ends all of its processes, commands too, and one of them may be gone before
 * we are told to end ourselves.  So what SIGTERM has ended has failed only if we are there a moment later.
 */
#define DOUBT_NS NS_PER_S

/* One command for one scope. */
struct task {
	uint32_t slot;
	struct run *run; /* a reference; NULL: the host */
	bool queued;
	int64_t queued_ns; /* since when; monotonic */
	int64_t started_ns;
	bool slow; /* its last run was */
	bool ran;
	bool failing;              /* the failure was logged */
	bool complained;           /* so was what it said although it did not fail */
	const struct right *lacks; /* why it failed; NULL: for another reason */
	bool keep;                 /* while the tasks are brought in line with the VMs */
	struct action_process *process; /* NULL: does not run */
	bool ended;                     /* it has, and waits for finish_task() */
	int64_t final_ns;               /* that is called then; monotonic */
};

struct remains {
	struct action_process *process;
	char *metric;
	bool of_vm;
	struct uuid uuid;  /* of_vm */
	int64_t killed_ns; /* monotonic */
	bool stuck;        /* that was logged */
};

struct actions {
	struct actions_params params;
	pthread_t thread;
	struct loop *loop;
	_Atomic bool stopping;
	_Atomic unsigned n_running_shown, n_failing_shown, n_stuck_shown;
	struct lock lock;
	struct strbuf lacking; /* guarded by lock: lines of the status file */

	/* actions thread only */
	struct plan *plan;
	struct action_template **templates; /* by slot; NULL: no action */
	char *virsh_dir;                    /* of a virsh that only reads; NULL: none */
	bool lacking_changed;               /* what tasks lack, since that was shown */
	struct task **tasks;                /* sorted: compare_tasks() */
	size_t n_tasks, cap_tasks;
	unsigned n_running;
	struct remains *remains;
	size_t n_remains, cap_remains;
	uint64_t timer;       /* when something may be due */
	int64_t next_mono_ns; /* of the next beat */
	bool kicked;          /* there may be new VMs */
};

static bool is_overdue(const struct task *task, int64_t now)
{
	return task->process && now - task->started_ns >= GRACE_NS;
}

/* ---- remains ---- */

static bool is_of(const struct remains *r, const char *metric, const struct run *run)
{
	return !strcmp(r->metric, metric) && r->of_vm == (run != NULL) &&
		(!run || uuid_compare(&r->uuid, &run->ident.uuid) == 0);
}

static const struct remains *remains_of(const struct actions *a, const struct task *task)
{
	const char *metric = a->plan->specs->specs[task->slot].name;

	for (size_t i = 0; i < a->n_remains; i++)
		if (is_of(&a->remains[i], metric, task->run))
			return &a->remains[i];
	return NULL;
}

/* Takes the process from its task: it is killed, and nobody waits for it. */
static void bury(struct actions *a, struct task *task)
{
	struct action_process *process = TAKE_PTR(task->process);

	task->ended = false;
	a->n_running--;
	action_process_kill(process);
	if (action_process_gone(process)) {
		action_process_free(process);
		return;
	}
	a->remains =
		xgrow(a->remains, a->n_remains, &a->cap_remains, sizeof(*a->remains));
	a->remains[a->n_remains++] = (struct remains){ .process = process,
		.metric = xstrdup(a->plan->specs->specs[task->slot].name),
		.of_vm = task->run != NULL,
		.uuid = task->run ? task->run->ident.uuid : (struct uuid){ { 0 } },
		.killed_ns = clock_mono_ns() };
}

static void remains_free(struct remains *r)
{
	action_process_free(r->process);
	free(r->metric);
}

static void note_stuck(struct remains *r)
{
	char uuid[UUID_TEXT_LEN + 1] = "";

	if (r->of_vm)
		uuid_format(&r->uuid, uuid);
	r->stuck = true;
	log_write(LOG_LEVEL_WARNING,
		&(const struct log_about){ NULL, r->of_vm ? &r->uuid : NULL, r->metric },
		"metric %s%s%s: process %d, or what it started, does not end although "
		"it was killed; the action does not run again before it does",
		r->metric, r->of_vm ? " of VM " : "", uuid, (int)r->process->pid);
}

/* Forgets what is gone by now, and notes what is stuck. */
static void look_at_remains(struct actions *a)
{
	int64_t now = a->n_remains ? clock_mono_ns() : 0;
	size_t n = 0;

	for (size_t i = 0; i < a->n_remains; i++) {
		struct remains *r = &a->remains[i];

		if (action_process_gone(r->process)) {
			remains_free(r);
			continue;
		}
		if (!r->stuck && now - r->killed_ns >= STUCK_NS)
			note_stuck(r);
		a->remains[n++] = *r;
	}
	a->n_remains = n;
}

static unsigned count_stuck(const struct actions *a, const char *metric)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->n_remains; i++)
		n += a->remains[i].stuck &&
			(!metric || !strcmp(a->remains[i].metric, metric));
	return n;
}

/* ---- tasks ---- */

static void task_free(struct actions *a, struct task *task)
{
	if (task->process)
		bury(a, task);
	a->lacking_changed |= task->lacks != NULL;
	run_unref(task->run);
	free(task);
}

static void drop_tasks(struct actions *a)
{
	for (size_t i = 0; i < a->n_tasks; i++)
		task_free(a, a->tasks[i]);
	a->n_tasks = 0;
}

static void drop_plan(struct actions *a)
{
	for (size_t i = 0; a->plan && i < a->plan->specs->n; i++)
		action_template_free(a->templates[i]);
	free(a->templates);
	a->templates = NULL;
	free(TAKE_PTR(a->virsh_dir));
	plan_unref(TAKE_PTR(a->plan));
}

static void make_templates(struct actions *a)
{
	const struct plan_part *part = &a->plan->parts[PLAN_ACTIONS];

	a->templates = xcalloc(a->plan->specs->n, sizeof(struct action_template *));
	for (size_t i = 0; i < part->n; i++) {
		const struct metric_spec *spec = part->items[i].spec;
		const struct action_text action = { .text = spec->action,
			.in_vm = spec->context == CONTEXT_VM,
			.any_name = spec->any_name,
			.uri = a->params.connect };

		a->templates[part->items[i].slot] = action_template_new(&action);
	}
}

/* Who may do everything needs no help to do less. */
static void choose_virsh(struct actions *a)
{
	const struct user *user = &a->plan->settings.action_user;

	free(TAKE_PTR(a->virsh_dir));
	if (!a->plan->parts[PLAN_ACTIONS].n ||
		(user->change ? user->uid : geteuid()) == 0)
		return;
	a->virsh_dir = runner_virsh_dir(a->params.runner);
	if (!a->virsh_dir)
		log_warning("the user of actions cannot run the virsh of vhostmd: "
			    "actions that call virsh need -r");
}

/* Commands for other metrics are dropped; under another plan everything runs now. */
static void take_plan(struct actions *a)
{
	struct plan *plan = board_plan(a->params.board);

	if (plan == a->plan) {
		plan_unref(plan);
		return;
	}
	a->next_mono_ns = clock_mono_ns();
	if (a->plan && a->plan->specs == plan->specs) {
		plan_unref(a->plan);
		a->plan = plan;
		choose_virsh(a);
		return;
	}
	drop_tasks(a);
	drop_plan(a);
	a->plan = plan;
	make_templates(a);
	choose_virsh(a);
}

/* In the configuration's order. */
static int compare_tasks(const void *a, const void *b)
{
	const struct task *const *x = a, *const *y = b;
	uint64_t k = (*x)->run ? (*x)->run->key : 0, l = (*y)->run ? (*y)->run->key : 0;

	if ((*x)->slot != (*y)->slot)
		return (*x)->slot < (*y)->slot ? -1 : 1;
	if (k != l)
		return k < l ? -1 : 1;
	/* two runs of one VM */
	return ((*x)->run > (*y)->run) - ((*x)->run < (*y)->run);
}

/* One of the first @n, which are sorted. */
static struct task *find_task(struct actions *a, size_t n, uint32_t slot, struct run *run)
{
	const struct task wanted = { .slot = slot, .run = run }, *key = &wanted;
	struct task **found =
		n ? bsearch(&key, a->tasks, n, sizeof(*a->tasks), compare_tasks) : NULL;

	return found ? *found : NULL;
}

static void keep_task(struct actions *a, size_t n, uint32_t slot, struct run *run)
{
	struct task *task = find_task(a, n, slot, run);

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
	_cleanup_roster_ struct roster *roster = registry_roster(a->params.registry);
	const struct plan_part *part = &a->plan->parts[PLAN_ACTIONS];
	size_t before = a->n_tasks, n = 0;

	for (size_t i = 0; i < before; i++)
		a->tasks[i]->keep = false;
	for (size_t i = 0; i < part->n; i++) {
		if (part->items[i].spec->context == CONTEXT_HOST)
			keep_task(a, before, part->items[i].slot, NULL);
		else
			for (size_t v = 0; v < roster->n; v++)
				keep_task(
					a, before, part->items[i].slot, roster->runs[v]);
	}
	for (size_t i = 0; i < a->n_tasks; i++) {
		if (a->tasks[i]->keep)
			a->tasks[n++] = a->tasks[i];
		else
			task_free(a, a->tasks[i]);
	}
	a->n_tasks = n;
	if (n)
		qsort(a->tasks, n, sizeof(*a->tasks), compare_tasks);
}

static struct log_about about_task(const struct actions *a, const struct task *task)
{
	return (struct log_about){ .vm = task->run ? task->run->ident.name : NULL,
		.uuid = task->run ? &task->run->ident.uuid : NULL,
		.metric = a->plan->specs->specs[task->slot].name };
}

/* Logs the first failure, and the end of failing. */
static void note_outcome(struct actions *a, struct task *task, const char *why)
{
	const struct metric_spec *spec = &a->plan->specs->specs[task->slot];
	const char *of = task->run ? " of VM " : "",
		   *vm = task->run ? task->run->ident.name : "";

	const struct log_about about = about_task(a, task);

	if (why && !task->failing)
		log_write(LOG_LEVEL_WARNING, &about, "metric %s%s%s is unavailable: %s",
			spec->name, of, vm, why);
	else if (!why && task->failing)
		log_write(LOG_LEVEL_INFO, &about, "metric %s%s%s is available again",
			spec->name, of, vm);
	task->failing = why != NULL;
}

/* What a command says that does not fail is news once. */
static void note_complaint(struct actions *a, struct task *task, bool failed)
{
	_cleanup_strbuf_ struct strbuf said = STRBUF_INIT;
	bool complains = !failed && action_result_complaint(task->process, &said);
	const struct log_about about = about_task(a, task);

	if (complains && !task->complained)
		log_write(LOG_LEVEL_WARNING, &about,
			"metric %s%s%s has a value, but its action said %s",
			a->plan->specs->specs[task->slot].name,
			task->run ? " of VM " : "",
			task->run ? task->run->ident.name : "", strbuf_str(&said));
	task->complained = complains || (task->complained && failed);
}

static void note_right(struct actions *a, struct task *task, const struct right *lacks)
{
	a->lacking_changed |= task->lacks != lacks;
	task->lacks = lacks;
}

static void store(struct actions *a, struct task *task, struct metric_list *list)
{
	board_update(a->params.board, task->run, LANE_ACTION_0 + task->slot, list);
}

static void refuse(struct actions *a, struct task *task, const char *why)
{
	note_outcome(a, task, why);
	note_right(a, task, NULL);
	store(a, task, action_result_none(a->plan->specs, task->slot));
}

static char **make_env(struct actions *a, const struct task *task)
{
	char **env = xcalloc(9, sizeof(char *));
	char uuid[UUID_TEXT_LEN + 1];
	size_t n = 0;

	env[n++] = xasprintf("PATH=%s%s%s", a->virsh_dir ? a->virsh_dir : "",
		a->virsh_dir ? ":" : "", a->plan->settings.action_path);
	env[n++] = xstrdup("LC_ALL=C");
	env[n++] = xstrdup("HOME=/");
	/* an unprivileged virsh would choose another connection by itself */
	if (a->params.uri)
		env[n++] = xasprintf("LIBVIRT_DEFAULT_URI=%s", a->params.uri);
	if (a->params.connect)
		env[n++] = xasprintf("VHOSTMD_URI=%s", a->params.connect);
	if (task->run) {
		const struct vm_ident *vm = &task->run->ident;

		uuid_format(&vm->uuid, uuid);
		env[n++] = xasprintf("VHOSTMD_NAME=%s", vm->name);
		env[n++] = xasprintf("VHOSTMD_ID=%d", vm->id);
		env[n++] = xasprintf("VHOSTMD_UUID=%s", uuid);
	}
	return env;
}

/* Why it must not be started now; NULL if it may. */
static const char *why_not(const struct actions *a, const struct task *task)
{
	const struct action_template *t = a->templates[task->slot];

	if (remains_of(a, task))
		return "its last process cannot be killed, and has not ended yet";
	if (count_stuck(a, a->plan->specs->specs[task->slot].name) >=
		a->plan->settings.action_max_parallel)
		return "too many of its processes for other VMs cannot be killed";
	return task->run ? action_template_refuses(t, task->run->ident.name,
				   a->plan->settings.action_path)
			 : NULL;
}

static void on_end(void *ctx)
{
	struct task *task = ctx;

	task->ended = true;
	task->final_ns =
		clock_mono_ns() + (task->process->status == 128 + SIGTERM ? DOUBT_NS : 0);
}

static void start_task(struct actions *a, struct task *task)
{
	const struct action_template *t = a->templates[task->slot];
	const struct vm_ident *vm = task->run ? &task->run->ident : NULL;
	const char *why = why_not(a, task);
	_cleanup_strbuf_ struct strbuf script = STRBUF_INIT;

	task->ran = true;
	if (why) {
		refuse(a, task, why);
		return;
	}
	action_template_expand(t, vm, &script);
	char **env = make_env(a, task);
	struct action_command command = { .runner = a->params.runner,
		.run = { .script = strbuf_str(&script),
			.env = env,
			.max_files = a->params.max_files },
		.timeout_ns = a->plan->settings.action_timeout_ns };
	int r = action_process_start(a->loop, &command, on_end, task, &task->process);

	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	free(env);
	if (r < 0) {
		refuse(a, task, strerror(-r));
		return;
	}
	a->n_running++;
}

static void finish_task(struct actions *a, struct task *task)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;

	store(a, task,
		action_result_read(a->plan->specs, task->slot,
			task->run ? &task->run->ident : NULL, task->process, &why));
	const struct right *lacks = why.len ? rights_complaint(task->process->err) : NULL;

	if (lacks)
		strbuf_addf(&why, ": %s; %s", lacks->lacks, lacks->remedy);
	if (why.len && a->plan->settings.action_user.change)
		strbuf_addf(&why, " (run as uid %u)",
			(unsigned)a->plan->settings.action_user.uid);
	note_outcome(a, task, why.len ? strbuf_str(&why) : NULL);
	note_complaint(a, task, why.len);
	note_right(a, task, lacks);
	task->slow = is_overdue(task, clock_mono_ns());
	bury(a, task);
}

/* Return: true if there were results. */
static bool finish_tasks(struct actions *a)
{
	int64_t now = clock_mono_ns();
	bool stored = false;

	for (size_t i = 0; a->n_running && i < a->n_tasks; i++) {
		if (!a->tasks[i]->ended || a->tasks[i]->final_ns > now)
			continue;
		finish_task(a, a->tasks[i]);
		stored = true;
	}
	return stored;
}

/* Its last process will be gone in a moment, or turn out to be stuck. */
static bool must_wait(const struct actions *a, const struct task *task)
{
	const struct remains *r = a->n_remains ? remains_of(a, task) : NULL;

	return r && !r->stuck;
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

		if (!t->queued || t->process || must_wait(a, t) ||
			(t->slow ? slow : places) >=
				a->plan->settings.action_max_parallel)
			continue;
		if (!best || t->slow < best->slow ||
			(t->slow == best->slow && t->queued_ns < best->queued_ns))
			best = t;
	}
	/* commands that nobody knew to be slow may pile up to here */
	return slow + places < MAX_RUNNING_FACTOR * a->plan->settings.action_max_parallel
		? best
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
	sync_tasks(a);
	if (beat)
		a->next_mono_ns +=
			((now - a->next_mono_ns) / a->plan->settings.period_ns + 1) *
			a->plan->settings.period_ns;
	for (size_t i = 0; i < a->n_tasks; i++) {
		struct task *t = a->tasks[i];

		if (t->queued || t->process || !(beat || !t->ran))
			continue;
		t->queued = true;
		t->queued_ns = now;
	}
}

/* When something may be due that no event tells of. */
static int64_t next_time(const struct actions *a)
{
	/* who makes the first task wakes us */
	int64_t until = a->n_tasks ? a->next_mono_ns : LOOP_NEVER, now = clock_mono_ns();

	for (size_t i = 0; i < a->n_tasks; i++) {
		const struct task *t = a->tasks[i];

		if (t->process && !is_overdue(t, now))
			until = ns_earlier(until, t->started_ns + GRACE_NS);
		if (t->ended)
			until = ns_earlier(until, t->final_ns);
	}
	for (size_t i = 0; i < a->n_remains; i++)
		until = ns_earlier(
			until, now + (a->remains[i].stuck ? STUCK_NS : LOOK_NS));
	return until;
}

/* One line for each metric that lacks a right, whatever the number of its VMs. */
static void show_lacking(struct actions *a)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ bool *shown = xcalloc(a->plan->specs->n + 1, sizeof(*shown));

	if (!TAKE_VALUE(a->lacking_changed, false))
		return;
	for (size_t i = 0; i < a->n_tasks; i++) {
		const struct task *t = a->tasks[i];

		if (t->lacks && !shown[t->slot])
			strbuf_addf(&text, "actions.lacking.%s: %s; %s\n",
				a->plan->specs->specs[t->slot].name, t->lacks->lacks,
				t->lacks->remedy);
		shown[t->slot] |= t->lacks != NULL;
	}
	lock_take(&a->lock);
	strbuf_done(&a->lacking);
	a->lacking = TAKE_VALUE(text, STRBUF_INIT);
	lock_release(&a->lock);
}

static void show_counts(struct actions *a)
{
	unsigned failing = 0;

	for (size_t i = 0; i < a->n_tasks; i++)
		failing += a->tasks[i]->failing;
	show_lacking(a);
	atomic_store(&a->n_running_shown, a->n_running);
	atomic_store(&a->n_failing_shown, failing);
	atomic_store(&a->n_stuck_shown, count_stuck(a, NULL));
}

static void on_time(void *ctx)
{
	(void)ctx; /* it is enough to be awake */
}

static void on_kick(void *ctx)
{
	struct actions *a = ctx;

	a->kicked = true;
}

/* What does not go in time is left behind. */
static void end_all(struct actions *a)
{
	drop_tasks(a);
	int64_t deadline = clock_mono_ns() + STOP_NS;

	for (look_at_remains(a); a->n_remains && clock_mono_ns() < deadline;
		look_at_remains(a)) {
		loop_set_timer(a->loop, a->timer, clock_mono_ns() + LOOK_NS);
		loop_run_once(a->loop);
	}
	if (a->n_remains)
		log_warning(
			"%zu actions cannot be killed: ending without waiting for them",
			a->n_remains);
	while (a->n_remains)
		remains_free(&a->remains[--a->n_remains]);
	drop_plan(a);
}

static void *actions_main(void *arg)
{
	struct actions *a = arg;

	while (!atomic_load(&a->stopping)) {
		loop_run_once(a->loop);
		if (atomic_load(&a->stopping))
			break;
		bool stored = finish_tasks(a);

		take_plan(a);
		look_at_remains(a);
		queue_tasks(a);
		stored |= start_tasks(a);
		if (stored)
			board_publish(a->params.board);
		show_counts(a);
		loop_set_timer(a->loop, a->timer, next_time(a));
	}
	end_all(a);
	return NULL;
}

static void on_plan(void *ctx, const struct plan *plan)
{
	(void)plan;
	actions_kick(ctx);
}

struct actions *actions_start(const struct actions_params *params)
{
	struct actions *a = xcalloc(1, sizeof(*a));
	int r = loop_new(on_kick, a, &a->loop);

	lock_init(&a->lock);
	a->params = *params;
	a->next_mono_ns = clock_mono_ns();
	if (r == 0) {
		a->timer = loop_add_timer(a->loop, a->next_mono_ns, on_time, NULL);
		r = -pthread_create(&a->thread, NULL, actions_main, a);
	}
	if (r == 0) {
		pthread_setname_np(a->thread, "actions");
		board_subscribe(params->board, (struct plan_listener){ on_plan, a });
		return a;
	}
	log_error("actions cannot run: %s", strerror(-r));
	loop_free(a->loop);
	lock_done(&a->lock);
	free(a);
	return NULL;
}

void actions_kick(struct actions *actions)
{
	if (actions)
		loop_wake(actions->loop);
}

void actions_end(struct actions *actions)
{
	if (!actions)
		return;
	atomic_store(&actions->stopping, true);
	actions_kick(actions);
}

void actions_stop(struct actions *actions)
{
	if (!actions)
		return;
	actions_end(actions);
	pthread_join(actions->thread, NULL);
	loop_free(actions->loop);
	free(actions->tasks);
	free(actions->remains);
	strbuf_done(&actions->lacking);
	lock_done(&actions->lock);
	free(actions);
}

void actions_status(struct actions *actions, struct strbuf *out)
{
	strbuf_addf(out, "actions.running: %u\nactions.failing: %u\nactions.stuck: %u\n",
		atomic_load(&actions->n_running_shown),
		atomic_load(&actions->n_failing_shown),
		atomic_load(&actions->n_stuck_shown));
	lock_take(&actions->lock);
	strbuf_adds(out, strbuf_str(&actions->lacking));
	lock_release(&actions->lock);
}
