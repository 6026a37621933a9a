/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An action's text: whatever it is, a name with special characters is either refused or
 * not part of the command at all.
 */
#include <stdlib.h>
#include <string.h>

#include "collect/actions/template.h"
#include "fuzz.h"
#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const struct action_text action = {
		.text = text, .in_vm = true, .any_name = size % 2, .uri = "qemu:///system"
	};
	struct action_template *t = action_template_new(&action);
	struct vm_ident vm = { .name = "h0st'ile;$(x)" };

	if (!action_template_refuses(t, vm.name, "/bin")) {
		action_template_expand(t, &vm, &out);
		if (strstr(strbuf_str(&out), vm.name) && !strstr(text, vm.name))
			abort();
	}
	action_template_free(t);
	return 0;
}
