/*
 * The fetcher's loop: orders come in over a SOCK_SEQPACKET channel, each start order becomes a fill on a thread of its own,
 * reports go back (cachecore/wire.h). It keeps nothing: whoever holds the other end sends what is outstanding again to the
 * next fetcher. It does not drop privileges; its caller has done that.
 */
#pragma once

#include "cachecore/wire.h"

#define FETCHER_JOBS_MAX 1024u

/* One fill as its runner gets it. Everything is the loop's and lives until the runner returns. */
struct fetcher_job {
    const struct wire_order *order; /* but for its secrets and tokens */
    struct identity *identity;      /* has them; renewed by later orders */
    int store_fd;
    int local_store_fd; /* -1: none */
    struct arena *arena;
    struct fill_progress *progress;
    const atomic_bool *cancel;
};
typedef int (*fetcher_run)(void *context, const struct fetcher_job *job, struct fill_result *out, struct err *err);

/* Until end of file (0) or until what comes is not of ours (-1). Fills may still run: the caller ends the process by _exit. */
int fetcher_serve(int channel, fetcher_run run, void *context, struct err *err);

/* The runner of real life: opens the stores and runs fill_run; context is a struct engine. */
int fetcher_fill(void *context, const struct fetcher_job *job, struct fill_result *out, struct err *err);
