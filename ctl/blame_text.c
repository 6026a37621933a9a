/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "blame_text.h"

#include <stdlib.h>
#include <string.h>

#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

/* ---- words ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* As core/fname escapes it; a name that was cut stays so. */
static char *unescape(const char *text, size_t len)
{
	char *name = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high = text[i] == '%' && len - i > 2 ? hex(text[i + 1]) : -1;
		int low = high >= 0 ? hex(text[i + 2]) : -1;

		if (low >= 0 && high * 16 + low) {
			name[n++] = (char)(high * 16 + low);
			i += 2;
		} else {
			name[n++] = text[i];
		}
	}
	name[n] = '\0';
	return name;
}

/* Takes a number and the space behind it. */
static bool take_number(const char **at, uint64_t *ret)
{
	if (parse_u64_at(at, ret) < 0 || (**at != ' ' && **at != '\n' && **at))
		return false;
	*at += **at == ' ';
	return true;
}

static bool take_uuid(const char **at, char ret[UUID_TEXT_LEN + 1])
{
	struct uuid uuid;
	char text[UUID_TEXT_LEN + 1] = "";

	if (strnlen(*at, UUID_TEXT_LEN + 1) <= UUID_TEXT_LEN ||
		(*at)[UUID_TEXT_LEN] != ' ')
		return false;
	memcpy(text, *at, UUID_TEXT_LEN);
	if (uuid_parse(text, &uuid) < 0)
		return false;
	uuid_format(&uuid, ret);
	*at += UUID_TEXT_LEN + 1;
	return true;
}

/* Of those of enum blame_owner; BLAME_OWNERS: of none. */
static enum blame_owner take_owner(const char **at)
{
	enum blame_owner owner = BLAME_VMS;

	for (; owner < BLAME_OWNERS; owner++) {
		const char *name = blame_owner_name(owner);
		size_t n = strlen(name);

		if (strncmp(*at, name, n) != 0 || (*at)[n] != ' ')
			continue;
		*at += n + 1;
		break;
	}
	return owner;
}

/* ---- lines ---- */

static void parse_vm(const char *at, struct told *t)
{
	struct told_vm vm = { 0 };

	if (!take_uuid(&at, vm.uuid) || !take_number(&at, &vm.lately_ms))
		return;
	vm.name = unescape(at, strcspn(at, "\n"));
	t->vms = xgrow(t->vms, t->n, &t->cap, sizeof(*t->vms));
	t->vms[t->n++] = vm;
}

static void parse_owner(const char *at, struct told_vm *vm)
{
	enum blame_owner owner = take_owner(&at);
	struct blame_time time = { 0 };

	if (owner < BLAME_OWNERS && take_number(&at, &time.lately_ns) &&
		take_number(&at, &time.all_ns))
		vm->by[owner] = time;
}

static void parse_pair(const char *at, struct told_vm *vm)
{
	struct told_pair pair = { 0 };

	if (!take_uuid(&at, pair.uuid) || !take_number(&at, &pair.time.lately_ns) ||
		!take_number(&at, &pair.time.all_ns))
		return;
	pair.name = unescape(at, strcspn(at, "\n"));
	vm->pairs = xgrow(vm->pairs, vm->n, &vm->cap, sizeof(*vm->pairs));
	vm->pairs[vm->n++] = pair;
}

/* Return: behind the key, NULL: it is another one's line. */
static const char *value_of(const char *line, const char *key)
{
	size_t n = strlen(key);

	return strncmp(line, key, n) == 0 && !strncmp(line + n, ": ", 2) ? line + n + 2
									 : NULL;
}

static void parse_line(const char *line, struct told *t)
{
	struct told_vm *vm = t->n ? &t->vms[t->n - 1] : NULL;
	const char *at = value_of(line, "vm");

	if (at) {
		parse_vm(at, t);
	} else if ((at = value_of(line, "owner"))) {
		if (vm)
			parse_owner(at, vm);
	} else if ((at = value_of(line, "behind"))) {
		if (vm)
			parse_pair(at, vm);
	} else if ((at = value_of(line, "now"))) {
		(void)take_number(&at, &t->now_ms);
	} else if ((at = value_of(line, "bpf"))) {
		free(t->state);
		t->state = xstrndup(at, strcspn(at, "\n"));
	}
}

void told_parse(const char *body, struct told *ret)
{
	*ret = (struct told){ 0 };
	for (const char *line = body; *line;
		line += strcspn(line, "\n"), line += *line == '\n')
		parse_line(line, ret);
	if (!ret->state)
		ret->state = xstrdup("unknown");
}

void told_done(struct told *t)
{
	for (size_t i = 0; i < t->n; i++) {
		for (size_t k = 0; k < t->vms[i].n; k++)
			free(t->vms[i].pairs[k].name);
		free(t->vms[i].pairs);
		free(t->vms[i].name);
	}
	free(t->vms);
	free(t->state);
	*t = (struct told){ 0 };
}

/* ---- what follows ---- */

struct told_vm *told_find(const struct told *t, const char *uuid_or_name)
{
	struct told_vm *found = NULL;
	char text[UUID_TEXT_LEN + 1] = "";
	struct uuid uuid;
	size_t n = 0;

	if (uuid_parse(uuid_or_name, &uuid) == 0)
		uuid_format(&uuid, text);
	for (size_t i = 0; i < t->n; i++) {
		if (!strcmp(t->vms[i].uuid, text))
			return &t->vms[i];
		if (strcmp(t->vms[i].name, uuid_or_name) != 0)
			continue;
		found = &t->vms[i];
		n++;
	}
	return n == 1 ? found : NULL;
}

/* Return: false: it has fallen. */
static bool since(struct blame_time *now, const struct blame_time *then)
{
	now->lately_ns = now->all_ns - (then ? then->all_ns : 0);
	return !then || now->all_ns >= then->all_ns;
}

static const struct told_pair *find_pair(const struct told_vm *vm, const char *uuid)
{
	for (size_t i = 0; i < vm->n; i++)
		if (!strcmp(vm->pairs[i].uuid, uuid))
			return &vm->pairs[i];
	return NULL;
}

static bool vm_since(struct told_vm *now, const struct told_vm *then)
{
	bool ok = true;

	for (size_t i = 0; i < BLAME_OWNERS; i++)
		ok &= since(&now->by[i], then ? &then->by[i] : NULL);
	for (size_t i = 0; i < now->n; i++) {
		const struct told_pair *pair =
			then ? find_pair(then, now->pairs[i].uuid) : NULL;

		ok &= since(&now->pairs[i].time, pair ? &pair->time : NULL);
	}
	return ok;
}

bool told_since(struct told *now, const struct told *then)
{
	bool ok = now->now_ms >= then->now_ms;

	for (size_t i = 0; ok && i < now->n; i++) {
		ok = vm_since(&now->vms[i], told_find(then, now->vms[i].uuid));
		now->vms[i].lately_ms = now->now_ms - then->now_ms;
	}
	return ok;
}

uint64_t told_waited(const struct told_vm *vm)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < BLAME_OWNERS; i++)
		ns += vm->by[i].lately_ns;
	return ns;
}

static int compare_vms(const void *a, const void *b)
{
	const struct told_vm *x = a, *y = b;
	uint64_t x_ns = told_waited(x), y_ns = told_waited(y);

	return x_ns == y_ns ? strcmp(x->name, y->name) : x_ns < y_ns ? 1 : -1;
}

void told_sort(struct told *t)
{
	if (t->n)
		qsort(t->vms, t->n, sizeof(*t->vms), compare_vms);
}
