/*
 * Threads that run blocking jobs: started when a job needs one, kept a while when idle, ended after that, never more
 * than a limit. Stacks are small, signals are blocked.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct threads;

struct threads_config {
    unsigned min;       /* always there: started by threads_new */
    unsigned max;       /* at a time */
    unsigned queue_max; /* jobs that may wait when all max are at work */
    int64_t idle_ms;    /* a thread above min ends after this long without work */
    size_t stack_size;
};

struct threads *threads_new(const struct threads_config *config,
                            struct err *err); /* ERR_UNAVAILABLE: no thread can be had */
void threads_free(struct threads *threads);   /* waits for the jobs that run or wait; NULL is fine */
DEFINE_CLEANUP(struct threads *, threads_free);

/* Runs run(job) soon on some thread. ERR_EXHAUSTED: all are at work; ERR_UNAVAILABLE: the system gives no thread. */
int threads_submit(struct threads *threads, void (*run)(void *job), void *job, struct err *err);

/* Threads that exist now: for tests. */
unsigned threads_count(struct threads *threads);
