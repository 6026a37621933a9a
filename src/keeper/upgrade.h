/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the keeper gives way to the program that is installed by now.
 *
 * Theory of operation.  A process that executes another program keeps its number, its children
 * and the descriptors that it leaves open, and so the mount, the FUSE session, the pid file's
 * lock, and the worker, which serves on and notices nothing.  The steps, of which each but the
 * last leaves everything as it was if it fails:
 *   1. a child executes the new program, which says whether it can take over: whether it starts
 *      at all, knows the state that it would be given, and can use the configuration
 *   2. the keeper executes it, with its state (state.h) and the program that it is itself, open
 *   3. the successor looks at the state, and goes back if it does not like it
 *   4. only then does it end the old worker, and start its own.  It is on trial until that one
 *      serves; if three ends come first, or TRIAL_NS pass, it executes the old program again
 *
 *   who runs   what is told            what happens
 *   old        upgrade_ask()           1
 *   old        step 1 ends well        2; by the way the program was replaced again: 1
 *   new        upgrade_take_over()     3, on trial
 *   new        upgrade_served()        no more on trial
 *   new        upgrade_undo()          back, if on trial
 *   old        upgrade_take_over()     not on trial
 *
 * One thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "keeper/keeper.h"

struct keeper;
struct keeper_state;
struct strbuf;

/*
 * Where the program that runs was installed, be it that another one is there by now.
 * @name: argv[0].  Return: the caller's to free.
 */
char *upgrade_program(const char *name);

/*
 * Whether we could go on with what a keeper of @versions, as it told us, would hand on.
 * Return: 0, or -EPROTO with @why.
 */
int upgrade_can(const char *versions, struct strbuf *why);

/*
 * Executes the program that handed @state on, as if it had never done so.
 * @words: keeper_params.words.  Returns, after logging why, only if that cannot be.
 */
void upgrade_go_back(const struct keeper_state *state, char *const *words);

/* ---- inside the keeper ---- */

/* Somebody wants it. */
void upgrade_ask(struct keeper *k);

/*
 * What became of it.
 * Return: -EINPROGRESS: it is asked, or on trial, with @ret_fd: ours, and readable as soon as this is to
 * be asked again; 0: there is no more to be said; -ECANCELED with @why: the program cannot take over, or
 * has failed; another -errno: nobody can be told when it is known.
 */
int upgrade_state(struct keeper *k, struct strbuf *why, int *ret_fd);

/* The version that has failed, so that we were executed again; NULL: none has.  As long as we run. */
const char *upgrade_failed(const struct keeper *k);

/* keeper_params.state becomes the keeper's.  Return: 0, or -errno with @why. */
int upgrade_take_over(struct keeper *k, struct strbuf *why);

/* The loop is there. */
void upgrade_watch(struct keeper *k);

/*
 * No worker runs, and one is to be started: what the last ones left in a handover of another
 * layout becomes ours.  Return: 0, or -errno after logging it, when we cannot go back.
 */
int upgrade_fetch(struct keeper *k);

/* The worker serves. */
void upgrade_served(struct keeper *k);

/* No worker comes to serve.  Returns if we are not on trial, or cannot go back. */
void upgrade_undo(struct keeper *k);

/* Whether it is a child of ours. */
bool upgrade_is_child(const struct keeper *k, pid_t pid);

/* Leaves a child alone and closes; for a child, too. */
void upgrade_done(struct keeper *k);
