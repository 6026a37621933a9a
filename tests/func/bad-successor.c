/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes over from vhostmd as its successor does, but its worker never serves:
 * bad-successor crash|refuse|hang|back [vhostmd's OPTION]...
 * With "back" it gives back what it is handed at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper/keeper.h"
#include "keeper/state.h"
#include "keeper/upgrade.h"
#include "util/log.h"
#include "util/strbuf.h"

static int worker(void *ctx, const struct keeper_parcel *parcel)
{
	const char *what = ctx;

	(void)parcel;
	if (!strcmp(what, "crash"))
		__builtin_trap();
	if (!strcmp(what, "refuse"))
		_exit(1);
	for (;;)
		pause();
}

/* Its value; the last one counts. */
static const char *option(char **argv, const char *name)
{
	const char *found = NULL;

	for (int i = 2; argv[i] && argv[i + 1]; i++)
		if (!strcmp(argv[i], name))
			found = argv[i + 1];
	return found;
}

int main(int argc, char **argv)
{
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	const char *fd = option(argv, "--take-over");
	struct keeper_state state;
	int n = 2;

	if (option(argv, "--can-take-over"))
		return EXIT_SUCCESS;
	while (n < argc && strcmp(argv[n], "--take-over") != 0)
		n++;
	log_init(true, false);
	if (!fd || state_receive(atoi(fd), &state, &why) < 0) {
		fprintf(stderr, "bad-successor: no state: %s\n", strbuf_str(&why));
		return EXIT_FAILURE;
	}
	/* the words are those of vhostmd's command line, for whom we go back to */
	argv[n] = NULL;
	if (!strcmp(argv[1], "back"))
		upgrade_go_back(&state, argv + 2);
	const struct keeper_params params = { .mount = option(argv, "--mount"),
		.pid_file = option(argv, "--pid-file"),
		.fuse_fd = -1,
		.handover_fd = -1,
		.program = argv[0],
		.words = argv + 2,
		.state = &state,
		.worker = worker,
		.ctx = argv[1] };
	struct keeper *k = keeper_open(&params);

	return k ? keeper_run(k, -1) : EXIT_FAILURE;
}
