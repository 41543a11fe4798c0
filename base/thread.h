/*
 * What every thread and condition of ours has in common (pthreads): threads take no signals, which are for whoever waits for
 * them, and conditions count time as clock_monotonic_ms() does.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* out NULL: detached. Returns 0, or an errno. stack_size in bytes. */
int thread_start(pthread_t *out, size_t stack_size, void *(*start)(void *argument), void *argument);

/* For thread_cond_wait. */
void thread_cond_init(pthread_cond_t *cond);

/* Waits on a condition of thread_cond_init, at most until deadline_ms (clock_monotonic_ms() scale, CLOCK_NEVER: for ever). False: the
 * deadline has passed. As with every condition, true says nothing of what was waited for. */
bool thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ms);
