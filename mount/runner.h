/*
 * Runs jobs in mount helpers ("sharedcache mount-helper"). A job belongs to a bucket: what may hang together (one share's
 * mount, all views over one mounted file system). A bucket limits how many of its jobs run at a time and how many of its helpers
 * may hang in the kernel before new jobs are refused. Helpers that answered are kept for the next job, so that a publish does not
 * wait for a process to start. Thread-safe.
 */
#pragma once

#include "base/cleanup.h"
#include "mount/plan.h"

struct runner;

struct job {
    const char *bucket;
    unsigned parallel; /* jobs of this bucket at a time: 1 serialises */
    bool undoes;       /* it unmounts: let in though earlier helpers hang */
    const struct plan *plan;
    const int *fds; /* borrowed */
    size_t fd_count;
    int64_t deadline_ms;
    const char *what; /* for messages */
};

struct job_result {
    struct reply reply;
    int fds[PLAN_FDS_MAX]; /* owned by the caller */
    size_t fd_count;
};

struct runner *runner_new(unsigned helpers_max);
void runner_free(struct runner *runner); /* no job may be running */
DEFINE_CLEANUP(struct runner *, runner_free);

/*
 * The helper's own error as it is; ERR_DEADLINE when the bucket was busy until the deadline; ERR_UNAVAILABLE when the helper was
 * killed at the deadline ("did not answer") or too many hang already.
 */
int runner_run(struct runner *runner, const struct job *job, struct job_result *out, struct err *err);

/* How many abandoned helpers hang in the kernel now. */
size_t runner_hanging(struct runner *runner);
