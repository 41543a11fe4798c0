/*
 * The threads that move bytes, shared fairly. Groups (a fill each) hand out units of work; idle threads take one unit from each
 * group in turn. Threads start as they are needed and end when they have had nothing to do for a while, so an idle process keeps
 * none. What groups keep of their own is under the pool's lock too: one lock, nothing blocks while holding it.
 */
#pragma once

#include "cachecore/http.h"

#define POOL_IDLE_MS 10000

struct pool;
struct pool_worker;

/* No group gets more than group_max threads, so that one whose sources stall leaves some to the others; there are a quarter more
 * in all. */
struct pool *pool_new(unsigned group_max);
void pool_free(struct pool *pool); /* no group may be left */
DEFINE_CLEANUP(struct pool *, pool_free);

struct pool_unit {
    void (*run)(struct pool_worker *worker, void *context); /* without the lock */
    void *context;
};

/* Called under the lock. True: *out is to be run. False: nothing to do at now_ms; *due_ms is lowered to the time from which on
 * there will be, if that is known. */
typedef bool (*pool_take)(void *context, int64_t now_ms, struct pool_unit *out, int64_t *due_ms);

struct pool_group {
    pool_take take;
    void *context;
    struct pool_group *next; /* the pool's */
    unsigned active;         /* the pool's: units that run */
};

void pool_lock(struct pool *pool);
void pool_unlock(struct pool *pool);

/* All under the lock. Leaving waits until none of the group's units runs any more. */
void pool_enter_locked(struct pool *pool, struct pool_group *group);
void pool_leave_locked(struct pool *pool, struct pool_group *group);
/* There may be work: wakes a thread or starts one. ERR_UNAVAILABLE when there is no thread at all and none can be started. */
int pool_wake_locked(struct pool *pool, struct err *err);
/* Something that waiters look at has changed. */
void pool_tell_locked(struct pool *pool);
/* Gives up the lock until somebody tells or deadline_ms passes. */
void pool_wait_locked(struct pool *pool, int64_t deadline_ms);

/*
 * Runs run for each index below count, on the pool's threads, and waits for all. The first error stops the handing out, is
 * returned, and *failed names its index; ERR_CANCELLED when *cancel became true (run sees that itself).
 */
typedef int (*pool_each_run)(struct pool_worker *worker, void *context, size_t index, struct err *err);
int pool_each(struct pool *pool, size_t count, pool_each_run run, void *context, const atomic_bool *cancel,
              size_t *failed, struct err *err);

/* This thread's handle under these rules: connections and sessions are kept from unit to unit. */
struct http *pool_worker_http(struct pool_worker *worker, const struct http_rules *rules);

/* How many threads there are now: for tests. */
unsigned pool_threads(struct pool *pool);
