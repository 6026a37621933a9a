/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a command printed: the first byte says which kind of metric it is for, then comes its
 * standard error up to a NUL, then its output.
 */
#include <stdlib.h>
#include <string.h>

#include "collect/actions/process.h"
#include "collect/actions/result.h"
#include "core/metric_list.h"
#include "core/snapshot.h"
#include "core/spec.h"
#include "fuzz.h"
#include "specs.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/strbuf.h"

enum { REAL, STRING, GROUP, XML, N_KINDS };

static struct spec_set *make_specs(void)
{
	struct spec_set *specs = specs_named(METRIC_REAL32,
		(const char *const[]){ "real", "string", "group", "xml", NULL });
	struct metric_spec *group = &specs->specs[GROUP];

	specs->specs[STRING].type = METRIC_STRING;
	specs->specs[XML].kind = SPEC_XML;
	group->kind = SPEC_GROUP;
	group->variables = xcalloc(3, sizeof(*group->variables));
	group->n_variables = 3;
	for (size_t i = 0; i < 3; i++)
		group->variables[i] =
			(struct spec_variable){ .name = xasprintf("v%zu", i),
				.type = i ? METRIC_INT32 : METRIC_STRING };
	return specs;
}

static void fill(struct action_process *p, const char *data, size_t size)
{
	const char *nul = memchr(data, 0, size);
	size_t n = nul ? (size_t)(nul - data) : 0;

	p->err_len = n < sizeof(p->err) - 1 ? n : sizeof(p->err) - 1;
	memcpy(p->err, data, p->err_len);
	if (nul)
		strbuf_add(&p->out, nul + 1, size - n - 1);
	else
		strbuf_add(&p->out, data, size);
}

/* Either there is a reason, or all has a value. */
static void check(const struct metric_list *list, const struct strbuf *why)
{
	bool all = true;

	for (size_t i = 0; i < list->n; i++) {
		const struct metric *m = &list->metrics[i];

		all &= m->available;
		if (m->available && m->value.type == METRIC_STRING &&
			!utf8_valid(m->value.s, strlen(m->value.s)))
			abort();
	}
	if (!why->len != all && list->n)
		abort();
	if (!utf8_valid(strbuf_str(why), why->len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct spec_set *specs;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	struct action_process p = { 0 };
	const struct vm_ident vm = { .id = 1, .name = "a" };

	if (!size)
		return 0;
	if (!specs)
		specs = make_specs();
	uint32_t slot = data[0] % N_KINDS;

	p.status = data[0] & 0x80 ? 1 : 0;
	fill(&p, (const char *)data + 1, size - 1);
	_cleanup_metric_list_ struct metric_list *list =
		action_result_read(specs, slot, data[0] & 0x40 ? &vm : NULL, &p, &why);

	check(list, &why);
	strbuf_done(&p.out);
	return 0;
}
