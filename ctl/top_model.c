/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prom_text.h"
#include "top_columns.h"
#include "util/clock.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/uuid.h"

/* The files tell ages in ms. */
#define ROUNDING_NS (5 * NS_PER_MS)
/* By so much a beat of the fast lane may come too late and still be none of the next. */
#define BEAT_NS (20 * NS_PER_MS)
/* As the daemon has it. */
#define STALE_PERIODS 3
/* Documents that do not go together follow each other no more often, or the daemon is odd. */
#define UNSURE_MAX 2

/* ---- things ---- */

static size_t n_figures(const struct top_model *m, enum top_scope scope)
{
	size_t n;

	top_figures_of(m->figures, scope, &n);
	return n;
}

static void forget(double *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		values[i] = NAN;
}

static struct top_thing new_thing(
	const struct top_model *m, enum top_scope scope, const char *name)
{
	size_t n = n_figures(m, scope);
	double *values = xcalloc(3 * n, sizeof(*values));

	forget(values, 3 * n);
	return (struct top_thing){ .name = xstrdup(name),
		.now = values,
		.rate = values + n,
		.base = values + 2 * n };
}

static void free_thing(struct top_thing *t)
{
	free(t->name);
	free(t->now);
}

static size_t most_things(enum top_scope scope)
{
	return scope == TOP_VCPU ? LIMIT_VCPUS : LIMIT_DOMAIN_DEVICES;
}

/* @hint: where it may be: they come in order.  Return: NULL: there are too many. */
static struct top_thing *find_thing(struct top_model *m, struct top_things *things,
	enum top_scope scope, const char *name)
{
	size_t hint = m->cursor < things->n ? m->cursor : 0;

	for (size_t i = 0; i < things->n; i++) {
		size_t at = hint + i < things->n ? hint + i : hint + i - things->n;

		if (!strcmp(things->at[at].name, name)) {
			m->cursor = at + 1;
			return &things->at[at];
		}
	}
	if (things->n == most_things(scope))
		return NULL;
	things->at = xgrow(things->at, things->n, &things->cap, sizeof(*things->at));
	things->at[things->n] = new_thing(m, scope, name);
	m->cursor = things->n + 1;
	return &things->at[things->n++];
}

static void drop_unseen(const struct top_model *m, struct top_things *things)
{
	size_t kept = 0;

	for (size_t i = 0; i < things->n; i++)
		if (things->at[i].seen == m->updates)
			things->at[kept++] = things->at[i];
		else
			free_thing(&things->at[i]);
	things->n = kept;
}

/* ---- VMs ---- */

static void free_vm(struct top_vm *vm)
{
	for (size_t s = 0; s < TOP_SCOPES; s++) {
		for (size_t i = 0; i < vm->things[s].n; i++)
			free_thing(&vm->things[s].at[i]);
		free(vm->things[s].at);
	}
	free_thing(&vm->all);
	free(vm->name);
	free(vm->uuid);
	free(vm->id);
	free(vm->points);
	free(vm);
}

/* The first VM that is not before @uuid. */
static size_t place_of(const struct top_model *m, const char *uuid)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(m->vms[mid]->uuid, uuid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Lines are of the same VM as the one before, or of the next. */
static struct top_vm *vm_of_uuid(struct top_model *m, const char *uuid)
{
	for (size_t i = m->vm_cursor; i < m->vm_cursor + 2 && i < m->n; i++)
		if (!strcmp(m->vms[i]->uuid, uuid)) {
			m->vm_cursor = i;
			return m->vms[i];
		}
	size_t at = place_of(m, uuid);

	if (at == m->n || strcmp(m->vms[at]->uuid, uuid) != 0)
		return NULL;
	m->vm_cursor = at;
	return m->vms[at];
}

/* Return: NULL: there are too many. */
static struct top_vm *add_vm(struct top_model *m, const char *uuid)
{
	size_t at = place_of(m, uuid);

	if (m->n == LIMIT_VMS)
		return NULL;
	struct top_vm *vm = xcalloc(1, sizeof(*vm));

	vm->uuid = xstrdup(uuid);
	vm->name = xstrdup("");
	vm->id = xstrdup("");
	vm->all = new_thing(m, TOP_VM, "");
	vm->is_new = true;
	m->vms = xgrow(m->vms, m->n, &m->cap, sizeof(struct top_vm *));
	memmove(&m->vms[at + 1], &m->vms[at], (m->n - at) * sizeof(struct top_vm *));
	m->vms[at] = vm;
	m->n++;
	return vm;
}

static void set_text(char **text, const char *value)
{
	if (!strcmp(*text, value))
		return;
	free(*text);
	*text = xstrdup(value);
}

/* Counters of another run have nothing to do with those before. */
static void begin_anew(const struct top_model *m, struct top_vm *vm)
{
	size_t n = n_figures(m, TOP_VM);

	forget(vm->all.rate, 2 * n);
	for (size_t s = TOP_VCPU; s < TOP_SCOPES; s++)
		for (size_t i = 0; i < vm->things[s].n; i++)
			forget(vm->things[s].at[i].rate,
				2 * n_figures(m, (enum top_scope)s));
	vm->base_ns[TOP_FAST] = vm->base_ns[TOP_SLOW] = vm->base_slow_ns = 0;
	vm->n_points = vm->next_point = 0;
	vm->is_new = true;
}

/* All that is known of the last time is not known of this one yet. */
static void see_vm(const struct top_model *m, struct top_vm *vm)
{
	vm->seen = m->updates;
	vm->slow_ns = vm->sampled_ns = 0;
	vm->stale = vm->silent = false;
	forget(vm->all.now, n_figures(m, TOP_VM));
}

static struct top_vm *vm_of_line(struct top_model *m, const struct prom_line *line)
{
	const char *uuid = prom_text_label(line, "uuid");
	const char *name = prom_text_label(line, "name");
	struct uuid ignored;

	if (!uuid || !name)
		return NULL;
	struct top_vm *vm = vm_of_uuid(m, uuid);

	if (!vm && uuid_parse(uuid, &ignored) == 0)
		vm = add_vm(m, uuid);
	if (!vm)
		return NULL;
	if (vm->seen != m->updates) {
		see_vm(m, vm);
		set_text(&vm->name, name);
	}
	return vm;
}

/* ---- metrics.prom ---- */

static bool is_wanted(void *ctx, const char *family)
{
	struct top_model *m = ctx;

	/* lines of a family stand together */
	if (m->family && !strcmp(m->family, family))
		return m->wanted;
	m->family = family;
	m->figure = top_figures_find(m->figures, family);
	m->wanted = m->figure || !strcmp(family, "vhostmd_vm_info");
	return m->wanted;
}

static void take_info(struct top_model *m, const struct prom_line *line)
{
	const char *id = prom_text_label(line, "id");
	struct top_vm *vm = vm_of_line(m, line);

	if (!vm || !id)
		return;
	if (*vm->id && strcmp(vm->id, id) != 0)
		begin_anew(m, vm);
	set_text(&vm->id, id);
}

static const char *thing_label(const struct prom_line *line, enum top_scope scope)
{
	const char *name = prom_text_label(line, scope == TOP_VCPU ? "vcpu" : "device");

	return name ? name : prom_text_label(line, "index");
}

static void take_line(struct top_model *m, const struct prom_line *line)
{
	const struct top_figure *f = m->figure;
	struct top_thing *thing = &m->host;

	if (!f) {
		take_info(m, line);
		return;
	}
	if (f->scope != TOP_HOST) {
		struct top_vm *vm = vm_of_line(m, line);
		const char *name =
			f->scope == TOP_VM ? NULL : thing_label(line, f->scope);

		if (!vm || (f->scope != TOP_VM && !name))
			return;
		vm->by_kernel |= f->by_kernel;
		thing = name ? find_thing(m, &vm->things[f->scope], f->scope, name)
			     : &vm->all;
	}
	if (!thing)
		return;
	if (thing->seen != m->updates)
		forget(thing->now, n_figures(m, f->scope));
	thing->seen = m->updates;
	thing->now[f->at] = line->value;
	m->seen[f->scope][f->at] = true;
}

static void take_prom(struct top_model *m, char *text, size_t size)
{
	struct prom_text prom;
	struct prom_line line;
	size_t kept = 0;

	memset(m->seen, 0, sizeof(m->seen));
	m->family = NULL;
	forget(m->host.now, n_figures(m, TOP_HOST));
	prom_text_begin(&prom, text, size);
	prom.wanted = is_wanted;
	prom.ctx = m;
	while (prom_text_next(&prom, &line))
		take_line(m, &line);
	for (size_t i = 0; i < m->n; i++) {
		struct top_vm *vm = m->vms[i];

		if (vm->seen != m->updates) {
			free_vm(vm);
			continue;
		}
		for (size_t s = TOP_VCPU; s < TOP_SCOPES; s++)
			drop_unseen(m, &vm->things[s]);
		m->vms[kept++] = vm;
	}
	m->n = kept;
}

/* ---- status ---- */

/* "120 stale" is 120.  Return: -1: it is no number. */
static int64_t leading_number(char *text)
{
	char *end = text + strcspn(text, " ");
	char after = *end;
	int64_t n = -1;

	*end = '\0';
	if (parse_i64(text, &n) < 0)
		n = -1;
	*end = after;
	return n;
}

/* A line "vm.UUID.age_ms: 120 stale".  @at_ns: when that was. */
static void take_vm_status(struct top_model *m, char *key, char *value, int64_t at_ns)
{
	char *word = key + strlen("vm.") + UUID_TEXT_LEN;

	if (strlen(key) <= strlen("vm.") + UUID_TEXT_LEN || *word != '.')
		return;
	*word++ = '\0';
	struct top_vm *vm = vm_of_uuid(m, key + strlen("vm."));
	int64_t age_ms = leading_number(value);

	if (!vm)
		return;
	if (!strcmp(word, "age_ms")) {
		vm->sampled_ns = age_ms < 0 || age_ms > at_ns / NS_PER_MS
			? 0
			: at_ns - age_ms * NS_PER_MS;
		vm->stale = strstr(value, "stale") != NULL;
	} else if (!strcmp(word, "slow_age_ms")) {
		vm->slow_ns = age_ms < 0 || age_ms > at_ns / NS_PER_MS
			? 0
			: at_ns - age_ms * NS_PER_MS;
		vm->silent = strstr(value, "silent") != NULL;
	}
}

static void take_status(struct top_model *m, char *text, size_t size, int64_t at_ns)
{
	char *save = NULL;
	bool none_yet = false;

	text[size] = '\0';
	m->fast_age_ms = -1;
	for (char *line = strtok_r(text, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		char *value = strstr(line, ": ");

		if (!value)
			continue;
		*value = '\0';
		value += 2;
		int64_t n = leading_number(value);

		if (!strncmp(line, "vm.", 3))
			take_vm_status(m, line, value, at_ns);
		else if (!strcmp(line, "version"))
			set_text(&m->version, value);
		else if (!strcmp(line, "period_ms") && n > 0 && n < INT64_MAX / NS_PER_S)
			m->period_ns = n * NS_PER_MS;
		else if (!strcmp(line, "fast.cycles"))
			none_yet = n == 0;
		else if (!strcmp(line, "fast.age_ms") && n <= at_ns / NS_PER_MS)
			m->fast_age_ms = n;
	}
	/* it counts from long ago before the first beat */
	if (none_yet)
		m->fast_age_ms = -1;
}

/* ---- times ---- */

/* Times of one beat differ by less. */
static int64_t beat_tolerance_ns(const struct top_model *m)
{
	return m->period_ns && m->period_ns / 8 < BEAT_NS ? m->period_ns / 8 : BEAT_NS;
}

/*
 * When the fast lane took what is in metrics.prom, whose newest sample is of @prom_ns.  status says
 * when its last beat was, and was rendered somewhat before; it may also be the older or the newer
 * one, since the daemon repeats a rendering for a moment.
 * Return: false if it cannot be said whether that beat is in the document, or the next one is.
 */
static bool fast_time(
	const struct top_model *m, int64_t status_ns, int64_t prom_ns, int64_t *ret_ns)
{
	int64_t beat_ns = status_ns - m->fast_age_ms * NS_PER_MS;
	int64_t tolerance_ns = beat_tolerance_ns(m);

	*ret_ns = m->fast_age_ms < 0 ? prom_ns : beat_ns;
	return m->fast_age_ms < 0 ||
		(prom_ns > beat_ns - tolerance_ns &&
			(!m->period_ns ||
				prom_ns < beat_ns + m->period_ns - 2 * tolerance_ns));
}

/* ---- rates ---- */

static bool is_counter_of(const struct top_figure *f, enum top_lane lane)
{
	return f->is_counter && f->lane == lane;
}

static bool thing_differs(const struct top_model *m, const struct top_thing *t,
	enum top_scope scope, enum top_lane lane)
{
	size_t n;
	const struct top_figure *const *figures = top_figures_of(m->figures, scope, &n);

	for (size_t i = 0; i < n; i++)
		if (is_counter_of(figures[i], lane) && !isnan(t->base[i]) &&
			(t->now[i] < t->base[i] || t->now[i] > t->base[i]))
			return true;
	return false;
}

static bool vm_differs(
	const struct top_model *m, const struct top_vm *vm, enum top_lane lane)
{
	if (thing_differs(m, &vm->all, TOP_VM, lane))
		return true;
	for (size_t s = TOP_VCPU; s < TOP_SCOPES; s++)
		for (size_t i = 0; i < vm->things[s].n; i++)
			if (thing_differs(
				    m, &vm->things[s].at[i], (enum top_scope)s, lane))
				return true;
	return false;
}

/* @seconds: since the baseline; 0: there is none. */
static void advance_thing(const struct top_model *m, struct top_thing *t,
	enum top_scope scope, enum top_lane lane, double seconds)
{
	size_t n;
	const struct top_figure *const *figures = top_figures_of(m->figures, scope, &n);

	for (size_t i = 0; i < n; i++) {
		if (!is_counter_of(figures[i], lane))
			continue;
		bool grew = seconds > 0 && t->now[i] >= t->base[i];

		t->rate[i] = grew ? (t->now[i] - t->base[i]) / seconds : NAN;
		t->base[i] = t->now[i];
	}
}

static void advance_vm(
	const struct top_model *m, struct top_vm *vm, enum top_lane lane, int64_t at_ns)
{
	double seconds = vm->base_ns[lane]
		? (double)(at_ns - vm->base_ns[lane]) / (double)NS_PER_S
		: 0;

	advance_thing(m, &vm->all, TOP_VM, lane, seconds);
	for (size_t s = TOP_VCPU; s < TOP_SCOPES; s++)
		for (size_t i = 0; i < vm->things[s].n; i++)
			advance_thing(m, &vm->things[s].at[i], (enum top_scope)s, lane,
				seconds);
	vm->base_ns[lane] = at_ns;
}

/* NAN and a number are that number. */
static float sum(double a, double b)
{
	return (float)(isnan(a) ? b : isnan(b) ? a : a + b);
}

static void add_point(struct top_vm *vm, int64_t ns)
{
	double value[TOP_COLUMNS];

	for (size_t i = 0; i < TOP_COLUMNS; i++)
		value[i] = top_column_value(vm, (enum top_column)i, ns);
	if (!vm->points)
		vm->points = xcalloc(TOP_POINTS, sizeof(*vm->points));
	vm->points[vm->next_point] = (struct top_point){ .ns = ns,
		.value = { [GRAPH_CPU] = (float)value[COLUMN_CPU],
			[GRAPH_STEAL] = (float)value[COLUMN_STEAL],
			[GRAPH_PRESSURE] = (float)value[COLUMN_PRESSURE],
			[GRAPH_BLOCK] = sum(value[COLUMN_READ], value[COLUMN_WRITTEN]),
			[GRAPH_NET] = sum(value[COLUMN_RECEIVED], value[COLUMN_SENT]) } };
	vm->next_point = (vm->next_point + 1) % TOP_POINTS;
	if (vm->n_points < TOP_POINTS)
		vm->n_points++;
}

const struct top_point *top_vm_point(const struct top_vm *vm, size_t back)
{
	if (back >= vm->n_points)
		return NULL;
	return &vm->points[(vm->next_point + TOP_POINTS - 1 - back) % TOP_POINTS];
}

/*
 * True if the fast lane's counters are those of @at_ns.  Where the kernel shows nothing of a VM
 * libvirt is asked for these, somewhat later: then they are new if they differ, or once libvirt
 * has been asked again.
 */
static bool is_renewed(const struct top_model *m, const struct top_vm *vm, int64_t at_ns)
{
	if (!vm->base_ns[TOP_FAST])
		return true;
	if (at_ns <= vm->base_ns[TOP_FAST] + beat_tolerance_ns(m))
		return false;
	return vm->by_kernel || !vm->slow_ns ||
		vm->slow_ns > vm->base_slow_ns + ROUNDING_NS ||
		vm_differs(m, vm, TOP_FAST);
}

/* Return: true if the fast lane's are new. */
static bool advance_fast(const struct top_model *m, struct top_vm *vm, int64_t at_ns)
{
	/* one that is found is sampled at once, between two beats: it begins with the next */
	bool too_early = vm->is_new && m->sampled_ns;

	vm->is_new = false;
	if (too_early)
		vm->base_ns[TOP_FAST] = at_ns;
	else if (is_renewed(m, vm, at_ns))
		advance_vm(m, vm, TOP_FAST, at_ns);
	else
		return false;
	vm->base_slow_ns = vm->slow_ns;
	return !too_early;
}

/* @prom_ns: when the newest of the document was sampled: what is newer is not in it. */
static void advance_slow(const struct top_model *m, struct top_vm *vm, int64_t prom_ns)
{
	int64_t base_ns = vm->base_ns[TOP_SLOW];

	if (vm->slow_ns && vm->slow_ns <= prom_ns + ROUNDING_NS &&
		(!base_ns || vm->slow_ns > base_ns + ROUNDING_NS))
		advance_vm(m, vm, TOP_SLOW, vm->slow_ns);
}

bool top_is_stale(const struct top_model *m, int64_t sampled_ns, int64_t now_ns)
{
	return sampled_ns && m->period_ns &&
		now_ns - sampled_ns > STALE_PERIODS * m->period_ns;
}

/* ---- all of it ---- */

struct top_model *top_model_new(void)
{
	struct top_model *m = xcalloc(1, sizeof(*m));

	m->figures = top_figures_new();
	m->host = new_thing(m, TOP_HOST, "");
	m->version = xstrdup("");
	return m;
}

void top_model_free(struct top_model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++)
		free_vm(m->vms[i]);
	free(m->vms);
	free_thing(&m->host);
	free(m->version);
	top_figures_free(m->figures);
	free(m);
}

/* A time of the real clock's on the monotonic one. */
static int64_t to_mono(const struct top_sample *s, int64_t real_ns)
{
	int64_t ago_ns = s->real_ns - real_ns;

	return ago_ns < 0 || ago_ns > s->mono_ns ? s->mono_ns : s->mono_ns - ago_ns;
}

enum top_news top_model_update(struct top_model *m, struct top_sample *s)
{
	int64_t prom_ns = to_mono(s, s->prom_real_ns);
	int64_t status_ns = to_mono(s, s->status_real_ns);
	int64_t fast_ns = 0;

	m->updates++;
	take_prom(m, s->prom, s->prom_size);
	take_status(m, s->status, s->status_size, status_ns);
	if (!fast_time(m, status_ns, prom_ns, &fast_ns) && m->unsure < UNSURE_MAX) {
		m->unsure++;
		return TOP_UNSURE;
	}
	m->unsure = 0;
	bool renewed = !m->sampled_ns || fast_ns > m->sampled_ns + beat_tolerance_ns(m);

	for (size_t i = 0; i < m->n; i++) {
		struct top_vm *vm = m->vms[i];
		bool fast = advance_fast(m, vm, fast_ns);

		advance_slow(m, vm, prom_ns);
		if (fast)
			add_point(vm, fast_ns);
	}
	if (!renewed)
		return TOP_OLD;
	advance_thing(m, &m->host, TOP_HOST, TOP_FAST,
		m->sampled_ns ? (double)(fast_ns - m->sampled_ns) / (double)NS_PER_S : 0);
	m->sampled_ns = fast_ns;
	return TOP_NEW;
}
