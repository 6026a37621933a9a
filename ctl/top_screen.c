/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "top_screen.h"

#include <curses.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "ctl.h"
#include "top_lines.h"
#include "top_model.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"
#include "util/text.h"
#include "util/uuid.h"

/* Lines above the VMs, and below them. */
enum { LINES_ABOVE = 3, LINES_BELOW = 1 };
/* Between an Esc and the rest of a key's sequence. */
#define ESCAPE_MS 50
/* Wider than that names need not be. */
#define NAME_MORE 26
#define KEY_ESCAPE 27
#define KEY_DELETE 127

/* Shares of time from which on a VM is coloured. */
#define NOTABLE_PERCENT 5
#define BAD_PERCENT 20

enum { PAIR_NOTABLE = 1, PAIR_BAD };

enum screen_mode { MODE_LIST, MODE_VM, MODE_HELP };

struct top_screen {
	SCREEN *term;
	struct top_query query;
	char filter[128];
	bool typing; /* it */
	bool blocks; /* the terminal has them */
	enum screen_mode mode;
	char selected[UUID_TEXT_LEN + 1]; /* "": the first */
	size_t first_vm, first_line;      /* on the screen, of those that there are */
	/* of the last drawing */
	const struct top_vm **vms;
	size_t n_vms, n_lines;
};

/* ---- text ---- */

/* Writes at most @width columns of what text_add_printable() lets through. */
static void put(int y, int x, int width, const char *text, bool utf8)
{
	if (y < 0 || y >= LINES || x >= COLS)
		return;
	width = width < COLS - x ? width : COLS - x;
	move(y, x);
	for (size_t n; *text && width > 0; text += n) {
		uint32_t c = 0;
		wchar_t wide[2] = { 0 };

		n = utf8_decode(text, &c);
		wide[0] = (wchar_t)c;
		int columns = utf8 ? wcwidth(wide[0]) : c < 0x80 ? 1 : -1;

		if (columns < 0) {
			wide[0] = L'?';
			columns = 1;
		}
		width -= columns;
		if (width >= 0 && columns > 0)
			addnwstr(wide, 1);
	}
}

static void put_right(int y, int x, int width, const char *text, bool utf8)
{
	int n = (int)strlen(text); /* of numbers */

	put(y, n < width ? x + width - n : x, width, text, utf8);
}

/* ---- the list ---- */

/* Where there is not room for all those at the end go first. */
static const enum top_column by_importance[] = { COLUMN_NAME, COLUMN_CPU, COLUMN_STEAL,
	COLUMN_MEMORY, COLUMN_READ, COLUMN_WRITTEN, COLUMN_RECEIVED, COLUMN_SENT,
	COLUMN_LATENCY, COLUMN_AGE, COLUMN_PRESSURE, COLUMN_THROTTLED, COLUMN_STATE,
	COLUMN_VCPUS, COLUMN_REQUESTS, COLUMN_SWAP };

_Static_assert(ARRAY_LEN(by_importance) == TOP_COLUMNS, "each has a place");

/* Which columns there is room for, and of what width. */
struct layout {
	int width[TOP_COLUMNS]; /* 0: none */
};

/* The name has what the others leave. */
static struct layout layout_now(void)
{
	struct layout l = { .width = { [COLUMN_NAME] = COLS < 60 ? 8 : 14 } };
	int used = l.width[COLUMN_NAME], left;

	for (size_t i = 1; i < TOP_COLUMNS; i++) {
		enum top_column column = by_importance[i];
		int width = top_columns[column].width;

		if (used + 1 + width > COLS)
			break;
		used += 1 + width;
		l.width[column] = width;
	}
	left = COLS - used;
	l.width[COLUMN_NAME] += left < 0 ? 0 : left < NAME_MORE ? left : NAME_MORE;
	return l;
}

static void draw_header(const struct top_screen *s, const struct layout *layout)
{
	int x = 0;

	attron(A_REVERSE);
	for (int i = 0; i < COLS && LINES_ABOVE <= LINES; i++)
		mvaddch(LINES_ABOVE - 1, i, ' ');
	for (size_t i = 0; i < TOP_COLUMNS; i++) {
		int width = layout->width[i];

		if (!width)
			continue;
		if (i == s->query.sort)
			attron(A_BOLD | A_UNDERLINE);
		if (i == COLUMN_NAME || i == COLUMN_STATE)
			put(LINES_ABOVE - 1, x, width, top_columns[i].title, s->blocks);
		else
			put_right(LINES_ABOVE - 1, x, width, top_columns[i].title,
				s->blocks);
		attroff(A_BOLD | A_UNDERLINE);
		x += width + 1;
	}
	attroff(A_REVERSE);
}

static attr_t attribute_of(const struct top_vm *vm, int64_t now_ns)
{
	double steal = top_column_value(vm, COLUMN_STEAL, now_ns);
	double pressure = top_column_value(vm, COLUMN_PRESSURE, now_ns);

	if (vm->stale || vm->silent || steal >= BAD_PERCENT || pressure >= BAD_PERCENT)
		return COLOR_PAIR(PAIR_BAD);
	return steal >= NOTABLE_PERCENT || pressure >= NOTABLE_PERCENT
		? COLOR_PAIR(PAIR_NOTABLE)
		: A_NORMAL;
}

/* What cannot be seen without colour either stands behind the age. */
static const char *mark_of(const struct top_vm *vm)
{
	return vm->stale ? "!" : vm->silent ? "?" : "";
}

static void draw_vm(const struct top_screen *s, int y, const struct top_vm *vm,
	bool selected, const struct layout *layout, int64_t now_ns)
{
	attr_t attribute = attribute_of(vm, now_ns) | (selected ? A_STANDOUT : 0);
	int x = 0;

	attron(attribute);
	for (int i = 0; selected && i < COLS; i++)
		mvaddch(y, i, ' ');
	for (size_t i = 0; i < TOP_COLUMNS; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		int width = layout->width[i];
		bool is_text = i == COLUMN_NAME || i == COLUMN_STATE;

		if (!width)
			continue;
		if (i == COLUMN_NAME)
			text_add_printable(vm->name, &text);
		else if (i == COLUMN_STATE)
			strbuf_adds(&text, top_state(vm));
		else
			top_format_add(top_column_value(vm, (enum top_column)i, now_ns),
				top_columns[i].format, &text);
		if (i == COLUMN_AGE)
			strbuf_adds(&text, mark_of(vm));
		if (is_text)
			put(y, x, width, strbuf_str(&text), s->blocks);
		else
			put_right(y, x, width, strbuf_str(&text), s->blocks);
		x += width + 1;
	}
	attroff(attribute);
}

static size_t page_size(void)
{
	int lines = LINES - LINES_ABOVE - LINES_BELOW;

	return lines > 1 ? (size_t)lines : 1;
}

static size_t selected_index(const struct top_screen *s)
{
	for (size_t i = 0; i < s->n_vms; i++)
		if (!strcmp(s->vms[i]->uuid, s->selected))
			return i;
	return 0;
}

static void select_index(struct top_screen *s, size_t index)
{
	if (!s->n_vms)
		return;
	index = index < s->n_vms ? index : s->n_vms - 1;
	memcpy(s->selected, s->vms[index]->uuid, sizeof(s->selected));
}

static void draw_list(struct top_screen *s, const struct top_scene *scene)
{
	const struct layout layout = layout_now();
	size_t selected = selected_index(s), page = page_size();

	draw_header(s, &layout);
	if (selected < s->first_vm)
		s->first_vm = selected;
	if (selected >= s->first_vm + page)
		s->first_vm = selected - page + 1;
	if (s->first_vm + page > s->n_vms)
		s->first_vm = s->n_vms > page ? s->n_vms - page : 0;
	for (size_t i = 0; i < page && s->first_vm + i < s->n_vms; i++) {
		size_t at = s->first_vm + i;

		if (LINES_ABOVE + (int)i < LINES)
			draw_vm(s, LINES_ABOVE + (int)i, s->vms[at],
				at == selected && *s->selected, &layout, scene->now_ns);
	}
}

/* ---- lines ---- */

static void draw_lines(struct top_screen *s, const struct strbuf *text)
{
	const char *line = strbuf_str(text);
	size_t page = page_size() + 1, n = 0;

	s->n_lines = 0;
	for (const char *p = line; *p; p++)
		s->n_lines += *p == '\n';
	if (s->first_line + page > s->n_lines)
		s->first_line = s->n_lines > page ? s->n_lines - page : 0;
	for (const char *end; *line && n < s->first_line + page; line = end + 1, n++) {
		end = strchrnul(line, '\n');
		if (n >= s->first_line) {
			_cleanup_free_ char *copy = xstrndup(line, (size_t)(end - line));

			put(LINES_ABOVE - 1 + (int)(n - s->first_line), 0, COLS, copy,
				s->blocks);
		}
		if (!*end)
			break;
	}
}

static void draw_text(struct top_screen *s, const struct top_scene *scene)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const struct top_vm *vm = NULL;

	for (size_t i = 0; i < scene->model->n; i++)
		if (!strcmp(scene->model->vms[i]->uuid, s->selected))
			vm = scene->model->vms[i];
	if (s->mode == MODE_HELP)
		top_help_add(scene->model, &text);
	else if (vm)
		top_vm_add(vm, COLS, s->blocks, scene->now_ns, &text);
	else
		strbuf_adds(&text, "This VM does not run here any more.\n");
	draw_lines(s, &text);
}

/* ---- the screen ---- */

static void draw_title(const struct top_screen *s, const struct top_scene *scene)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const struct top_model *m = scene->model;

	if (scene->lost_ns) {
		strbuf_addf(&text, "STALE, since %.0f s: %s",
			(double)(scene->now_ns - scene->lost_ns) / (double)NS_PER_S,
			scene->lost);
		attron(A_BOLD | COLOR_PAIR(PAIR_BAD));
	} else if (top_is_stale(m, m->sampled_ns, scene->now_ns)) {
		strbuf_addf(&text, "STALE: nothing was sampled for %.0f s",
			(double)(scene->now_ns - m->sampled_ns) / (double)NS_PER_S);
		attron(A_BOLD | COLOR_PAIR(PAIR_BAD));
	} else if (!m->sampled_ns) {
		strbuf_adds(&text, "waiting for vhostmd");
	} else {
		strbuf_addf(&text, "%zu VMs", m->n);
		if (s->n_vms != m->n)
			strbuf_addf(&text, ", %zu shown", s->n_vms);
		strbuf_addf(&text, ", sampled %.1f s ago",
			(double)(scene->now_ns - m->sampled_ns) / (double)NS_PER_S);
		if (m->period_ns)
			strbuf_addf(&text, ", every %.1f s",
				(double)m->period_ns / (double)NS_PER_S);
	}
	put(0, 0, COLS, strbuf_str(&text), s->blocks);
	attroff(A_BOLD | COLOR_PAIR(PAIR_BAD));
	strbuf_clear(&text);
	top_host_add(m, &text);
	put(1, 0, COLS, strbuf_str(&text), s->blocks);
}

static void draw_foot(const struct top_screen *s, const struct top_scene *scene)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, lacking = STRBUF_INIT;

	if (s->typing || *s->filter) {
		strbuf_addc(&text, '/');
		text_add_printable(s->filter, &text);
		strbuf_adds(&text, s->typing ? "_" : "  ");
	}
	if (!s->typing) {
		strbuf_adds(&text, s->mode == MODE_LIST ? "h help  q quit" : "q back");
		top_lacking_add(scene->model, "; ", &lacking);
		if (lacking.len)
			strbuf_addf(&text, "  lacking: %s", strbuf_str(&lacking));
	}
	put(LINES - 1, 0, COLS - 1, strbuf_str(&text), s->blocks);
}

void top_screen_draw(struct top_screen *s, const struct top_scene *scene)
{
	free(s->vms);
	s->n_vms = top_select(scene->model, &s->query, scene->now_ns, &s->vms);
	erase();
	draw_title(s, scene);
	if (s->mode == MODE_LIST)
		draw_list(s, scene);
	else
		draw_text(s, scene);
	draw_foot(s, scene);
	refresh();
	/* they are the model's, and may be gone when it has moved on */
	free(s->vms);
	s->vms = NULL;
}

/* ---- keys ---- */

static bool is_enter(int key)
{
	return key == '\n' || key == '\r' || key == KEY_ENTER;
}

static void type_filter(struct top_screen *s, int key)
{
	size_t n = strlen(s->filter);

	if (is_enter(key)) {
		s->typing = false;
	} else if (key == KEY_ESCAPE) {
		s->typing = false;
		s->filter[0] = '\0';
	} else if (key == KEY_BACKSPACE || key == KEY_DELETE || key == '\b') {
		/* all bytes of one character */
		while (n > 0 && ((unsigned char)s->filter[--n] & 0xc0) == 0x80)
			;
		s->filter[n] = '\0';
	} else if (key >= ' ' && key < 0x100 && n + 1 < sizeof(s->filter)) {
		s->filter[n] = (char)key;
		s->filter[n + 1] = '\0';
	}
}

/* Return: by how many places or lines a key moves; 0: it does not. */
static long movement(int key)
{
	long page = (long)page_size();

	switch (key) {
	case KEY_UP:
		return -1;
	case KEY_DOWN:
		return 1;
	case KEY_PPAGE:
		return -page;
	case KEY_NPAGE:
		return page;
	case KEY_HOME:
		return -LONG_MAX / 2;
	case KEY_END:
		return LONG_MAX / 2;
	default:
		return 0;
	}
}

static void move_by(struct top_screen *s, const struct top_scene *scene, long by)
{
	if (s->mode == MODE_LIST) {
		s->n_vms = top_select(scene->model, &s->query, scene->now_ns, &s->vms);
		/* the first that is marked is the first */
		long at = *s->selected ? (long)selected_index(s) + by : by == 1 ? 0 : by;

		select_index(s, at > 0 ? (size_t)at : 0);
		free(s->vms);
		s->vms = NULL;
	} else {
		long at = (long)s->first_line + by;

		s->first_line = at < 0            ? 0
			: (size_t)at < s->n_lines ? (size_t)at
						  : s->n_lines;
	}
}

static void open_selected(struct top_screen *s, const struct top_scene *scene)
{
	if (!*s->selected)
		move_by(s, scene, 0);
	if (!*s->selected)
		return;
	s->mode = MODE_VM;
	s->first_line = 0;
}

/* Return: false: to end. */
static bool take_key(struct top_screen *s, const struct top_scene *scene, int key)
{
	enum top_column column = top_column_of_key(key);
	long by = movement(key);

	if (s->typing)
		type_filter(s, key);
	else if (by != 0)
		move_by(s, scene, by);
	else if (s->mode != MODE_LIST &&
		(key == 'q' || key == KEY_ESCAPE || key == KEY_BACKSPACE ||
			key == KEY_DELETE))
		s->mode = MODE_LIST;
	else if (key == 'q')
		return false;
	else if (key == 'h' || key == '?') {
		s->mode = MODE_HELP;
		s->first_line = 0;
	} else if (s->mode != MODE_LIST)
		return true;
	else if (key == '/')
		s->typing = true;
	else if (key == 'r')
		s->query.reverse = !s->query.reverse;
	else if (is_enter(key))
		open_selected(s, scene);
	else if (column != TOP_COLUMNS) {
		s->query.sort = column;
		s->first_vm = 0;
	}
	return true;
}

bool top_screen_keys(struct top_screen *s, const struct top_scene *scene)
{
	for (int key; (key = getch()) != ERR;)
		if (!take_key(s, scene, key))
			return false;
	top_screen_draw(s, scene);
	return true;
}

/* ---- the terminal ---- */

static void begin_colours(void)
{
	if (has_colors() && start_color() == OK) {
		use_default_colors();
		init_pair(PAIR_NOTABLE, COLOR_YELLOW, -1);
		init_pair(PAIR_BAD, COLOR_RED, -1);
	}
}

struct top_screen *top_screen_open(const struct top_query *query, bool colour)
{
	struct top_screen *s = xcalloc(1, sizeof(*s));

	setlocale(LC_CTYPE, "");
	s->term = newterm(NULL, stdout, stdin);
	if (!s->term) {
		ctl_error("top: this terminal is not known (TERM)");
		ctl_hint("vhostmdctl top --batch needs none");
		free(s);
		return NULL;
	}
	s->blocks = !strcmp(nl_langinfo(CODESET), "UTF-8");
	s->query = *query;
	snprintf(s->filter, sizeof(s->filter), "%s", query->filter);
	s->query.filter = s->filter;
	cbreak();
	noecho();
	intrflush(stdscr, FALSE);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(ESCAPE_MS);
	curs_set(0);
	if (colour)
		begin_colours();
	return s;
}

void top_screen_close(struct top_screen *s)
{
	if (!s)
		return;
	endwin();
	delscreen(s->term);
	free(s->vms);
	free(s);
}
