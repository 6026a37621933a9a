/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls of the slow lane to libvirt, or one round of probes: who is asked, and what came
 * of it.  A job belongs to one thread at a time: the scheduler makes it, a worker carries it
 * out.  Knows nothing of when and why (collect/slow.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "model/home_threads.h"
#include "model/run.h"
#include "model/vm_sample.h"
#include "util/clock.h"

struct board;
struct plan;

#define SLOW_BATCH_VMS 64u /* in one job: bounds what one hung VM holds up */

/* A monitor that is occupied, or a process that is stopped, for longer does not answer. */
#define SLOW_SILENT_MS 2000

/*
 * A monitor that somebody else keeps busy just then is passed by, and libvirt does not say so:
 * the answer lacks what the monitor alone knows.  So one that lacks what was named before is
 * believed when so many do in a row, SLOW_PAUSE_MS apart; and one of which nothing shows that a
 * monitor was asked, with nothing before it, is only when so many name as much, each after
 * twice the time.
 */
#define SLOW_LACKS_BELIEVED 8
#define SLOW_PAUSE_MS 250

/*
 * A VM that sleeps has its pulse taken all the same so often, so that one that hangs, unseen, is
 * found; and each so many times it is asked, in case that it did something unseen.
 */
#define SLOW_SLEEP_PERIODS 4
#define SLOW_SLEEP_MAX_NS (60 * NS_PER_S)
#define SLOW_SLEEP_PULSES 5

enum slow_doubt {
	DOUBT_NONE,
	DOUBT_SUSPECT, /* it, or one that was asked with it, did not answer, or not all */
	DOUBT_SILENT,  /* its monitor is occupied for too long */
	DOUBT_ALONE,   /* it may answer again, or fail: ask nobody else with it */
	DOUBT_STOPPED, /* its process did not run when it was to be asked */
};

/* What a VM is asked: all, or all but READS_SELDOM, where that has a period of its own. */
enum slow_question { ASK_ALL, ASK_OFTEN, ASK_COUNT };

/* How a VM answered to one of them. */
struct slow_told {
	int n_params;    /* libvirt named last time; fewer make it suspect */
	unsigned groups; /* that it was asked for then */
	uint64_t
		known; /* by the kernel's lane, so that the answer was good for the rest */
	unsigned n_lacked; /* answers in a row that named fewer */
	unsigned n_alike;  /* that named as much as the last, and none of a monitor's */
	bool monitor;      /* it told something last time */
};

/* What is remembered of a VM from one job to the next. */
struct slow_memory {
	enum slow_doubt doubt;
	int64_t stopped_ns; /* monotonic time since when its process is stopped; 0: runs */
	struct slow_told told[ASK_COUNT];
	int64_t all_mono_ns; /* ASK_ALL's last answer, or when that stood; 0: none yet */
	bool behind;         /* it was asked ASK_OFTEN since, as it may have changed */
	int64_t again_ns; /* the answer is perhaps not whole: a pause; 0: it is, or there is none */
	bool failed;              /* to be asked, alone; which was logged */
	int64_t asked_mono_ns;    /* the question whose answer is the last; 0: none */
	int64_t heard_mono_ns;    /* the same, and a pulse */
	struct home_threads home; /* as of that answer */
	bool asleep;              /* its last figures are those of an answer before */
	struct vm_counters last;
};

enum slow_way {
	WAY_NOT, /* its process is stopped, or it sleeps */
	WAY_TOGETHER,
	WAY_ALONE, /* its answer may stand for later ones, if little else happens beside it */
	WAY_PULSE, /* does it answer at all?  Alone, too; it is asked if it does not sleep any more */
};

struct slow_item {
	struct run *run;
	struct slow_memory memory;
	bool must; /* somebody says that it has changed */
	/* of a call */
	enum slow_way way;
	bool failed; /* it was asked, and the call failed */
};

/* What came of one question. */
struct slow_answer {
	size_t n_asked;
	bool pulse;               /* it tells nothing, but that it came */
	int64_t mono_ns, real_ns; /* it is no older */
	int64_t took_ns;
	int n_records; /* -1: it failed */
	virDomainStatsRecordPtr *records;
};

enum slow_job_kind { JOB_STATS, JOB_PROBE };

struct slow_job {
	enum slow_job_kind kind;
	struct plan *plan;
	enum slow_question question;
	bool apart; /* READS_SELDOM has a lane of its own */
	unsigned groups;
	uint64_t known; /* by the kernel's lane of each of them */
	bool by_home;   /* what is asked for changes by home threads alone */
	_Atomic int64_t
		call_mono_ns; /* when the call began that goes on; before: when it was made */
	_Atomic size_t call_vms; /* so many are asked by it */
	size_t n;
	virDomainPtr *doms;
	struct slow_item *items;

	/* of calls, once they were made */
	struct slow_answer *answers;
	size_t n_answers, cap_answers;
	size_t n_asked, n_asleep;
	bool waited; /* for monitors: the driver passes none by */
	bool failed; /* the last one, and none came behind it */
	virErrorPtr error;

	/* the scheduler's */
	struct slow_job *next;
	_Atomic bool abandoned; /* changes under a lock of his */
	bool over;              /* answered: may not be abandoned any more */
};

/* Takes a reference to @plan.  @question, @known: of all that are asked. */
struct slow_job *slow_job_new(enum slow_job_kind kind, struct plan *plan,
	enum slow_question question, uint64_t known);
void slow_job_free(struct slow_job *job);

/* Takes references.  At most SLOW_BATCH_VMS.  @must: it is asked even if it sleeps. */
void slow_job_add(struct slow_job *job, struct run *run, virDomainPtr dom,
	const struct slow_memory *memory, bool must);

/*
 * Makes the calls, for as long as libvirt takes: one for all that are asked, but that those whose
 * answer may stand for later ones are asked alone.  VMs whose process is stopped, and would not
 * answer, are left out, and so are those of which nothing can have changed, whose figures are
 * as new as that.  @root_fd: holds proc; @no_nowait: the driver does not know NOWAIT; may be set.
 */
void slow_job_call(struct slow_job *job, int root_fd, _Atomic bool *no_nowait);

/*
 * Puts the answers, if there are any, on the board and into the items' memories.
 * Return: false if they told nothing.
 */
bool slow_job_store(struct slow_job *job, struct board *board);

/*
 * A call failed, and the connection is good: one of several that were asked may be to
 * blame, so that each is asked alone next.
 */
void slow_job_failed(struct slow_job *job);

/* Asks libvirt, and no monitor, whether monitors keep somebody waiting. */
void slow_job_probe(struct slow_job *job);
