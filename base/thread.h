/*
 * What every thread and condition of ours has in common (pthreads): threads take no signals, which are for whoever waits for
 * them, and conditions count time as clock_monotonic_ms() does.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

/* out NULL: detached. Returns 0, or an errno. stack_size in bytes. */
int thread_start(pthread_t *out, size_t stack_size, void *(*start)(void *argument), void *argument);

/* For pthread_cond_timedwait with times of CLOCK_MONOTONIC. */
void thread_cond_init(pthread_cond_t *cond);
