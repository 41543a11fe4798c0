#include "cachecore/pool.h"

#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#define THREADS_MAX 256u
#define HANDLES_MAX 4u
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_SIZE ((size_t)2 << 20)
#else
#define STACK_SIZE ((size_t)256 << 10)
#endif

enum slot_state { SLOT_FREE, SLOT_RUNNING, SLOT_ENDED };

struct pool_worker {
    struct pool *pool;
    pthread_t thread;
    enum slot_state state; /* under the pool's lock */
    struct {
        struct http_rules rules; /* strings owned */
        struct http *http;
    } handles[HANDLES_MAX]; /* the thread's own; most recently used first */
};

struct pool {
    struct pool_worker *workers;
    unsigned max, group_max;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t work;
        pthread_cond_t changed;
        struct pool_group *groups; /* a ring is walked from here; the head moves on with each unit */
        unsigned running, idle;
        bool closing;
    } locked;
};

struct pool *pool_new(unsigned group_max)
{
    assert(group_max > 0 && group_max <= THREADS_MAX);
    struct pool *pool = mem_alloc(sizeof(*pool));
    pool->group_max = group_max;
    pool->max = group_max + (group_max + 3) / 4;
    pool->workers = mem_calloc(pool->max, sizeof(*pool->workers));
    pthread_mutex_init(&pool->locked.mutex, NULL);
    thread_cond_init(&pool->locked.work);
    thread_cond_init(&pool->locked.changed);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pool_lock(pool);
    assert(!pool->locked.groups);
    pool->locked.closing = true;
    pthread_cond_broadcast(&pool->locked.work);
    pool_unlock(pool);
    for (unsigned i = 0; i < pool->max; i++) {
        /* Nobody starts threads any more, so a slot that is free now stays free. */
        if (pool->workers[i].pool)
            pthread_join(pool->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->locked.work);
    pthread_cond_destroy(&pool->locked.changed);
    pthread_mutex_destroy(&pool->locked.mutex);
    free(pool->workers);
    free(pool);
}

void pool_lock(struct pool *pool)
{
    pthread_mutex_lock(&pool->locked.mutex);
}

void pool_unlock(struct pool *pool)
{
    pthread_mutex_unlock(&pool->locked.mutex);
}

void pool_enter_locked(struct pool *pool, struct pool_group *group)
{
    group->next = pool->locked.groups;
    pool->locked.groups = group;
}

static void group_unlink(struct pool *pool, const struct pool_group *group)
{
    struct pool_group **at = &pool->locked.groups;
    while (*at != group)
        at = &(*at)->next;
    *at = group->next;
}

void pool_leave_locked(struct pool *pool, struct pool_group *group)
{
    while (group->active > 0)
        pool_wait_locked(pool, CLOCK_NEVER);
    group_unlink(pool, group);
}

static void group_to_end(struct pool *pool, struct pool_group *group)
{
    group_unlink(pool, group);
    struct pool_group **at = &pool->locked.groups;
    while (*at)
        at = &(*at)->next;
    *at = group;
    group->next = NULL;
}

static struct pool_group *unit_take(struct pool *pool, struct pool_unit *out, int64_t *due_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    for (struct pool_group *group = pool->locked.groups; group; group = group->next) {
        if (group->active >= pool->group_max || !group->take(group->context, now_ms, out, due_ms))
            continue;
        group->active++;
        group_to_end(pool, group);
        return group;
    }
    return NULL;
}

/* Waits for work. False: there was none for so long that the thread may end. */
static bool idle_wait(struct pool *pool, int64_t due_ms, int64_t idle_end_ms)
{
    if (due_ms == CLOCK_NEVER && clock_monotonic_ms() >= idle_end_ms)
        return false;
    pool->locked.idle++;
    thread_cond_wait(&pool->locked.work, &pool->locked.mutex, due_ms == CLOCK_NEVER ? idle_end_ms : due_ms);
    pool->locked.idle--;
    return true;
}

static void handles_free(struct pool_worker *worker)
{
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        http_free(worker->handles[i].http);
        free((char *)(uintptr_t)worker->handles[i].rules.allowed_addresses);
        free((char *)(uintptr_t)worker->handles[i].rules.ca_bundle);
        free((char *)(uintptr_t)worker->handles[i].rules.proxy);
    }
    memset(worker->handles, 0, sizeof(worker->handles));
}

static void worker_loop_locked(struct pool_worker *worker)
{
    struct pool *pool = worker->pool;
    int64_t idle_end_ms = clock_monotonic_ms() + POOL_IDLE_MS;
    while (!pool->locked.closing) {
        struct pool_unit unit;
        int64_t due_ms = CLOCK_NEVER;
        struct pool_group *group = unit_take(pool, &unit, &due_ms);
        if (!group) {
            if (!idle_wait(pool, due_ms, idle_end_ms))
                return;
            continue;
        }
        struct err ignored = ERR_INIT; /* there is a thread: this one */
        pool_wake_locked(pool, &ignored);
        pool_unlock(pool);
        unit.run(worker, unit.context);
        pool_lock(pool);
        if (--group->active == 0)
            pool_tell_locked(pool);
        idle_end_ms = clock_monotonic_ms() + POOL_IDLE_MS;
    }
}

static void *worker_thread(void *argument)
{
    struct pool_worker *worker = argument;
    struct pool *pool = worker->pool;
    pool_lock(pool);
    worker_loop_locked(worker);
    bool is_last = --pool->locked.running == 0;
    pool_unlock(pool);
    handles_free(worker);
    if (is_last)
        malloc_trim(0); /* the process is idle now, and may be for days */
    pool_lock(pool);
    worker->state = SLOT_ENDED;
    pool_unlock(pool);
    return NULL;
}

static int worker_start(struct pool_worker *worker)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int result = pthread_create(&worker->thread, &attributes, worker_thread, worker);
    pthread_attr_destroy(&attributes);
    return result;
}

static struct pool_worker *slot_find(struct pool *pool)
{
    for (unsigned i = 0; i < pool->max; i++) {
        struct pool_worker *worker = &pool->workers[i];
        if (worker->state == SLOT_ENDED) {
            pthread_join(worker->thread, NULL); /* it has nothing left to do but return */
            *worker = (struct pool_worker){.state = SLOT_FREE};
        }
        if (worker->state == SLOT_FREE)
            return worker;
    }
    return NULL;
}

int pool_wake_locked(struct pool *pool, struct err *err)
{
    if (pool->locked.idle > 0) {
        pthread_cond_signal(&pool->locked.work);
        return 0;
    }
    struct pool_worker *worker = pool->locked.closing ? NULL : slot_find(pool);
    if (!worker)
        return 0;
    worker->pool = pool;
    int result = worker_start(worker);
    if (result != 0) {
        worker->pool = NULL;
        if (pool->locked.running == 0)
            return err_set_errno(err, ERR_UNAVAILABLE, result, "cannot start a thread");
        return 0;
    }
    worker->state = SLOT_RUNNING;
    pool->locked.running++;
    return 0;
}

void pool_tell_locked(struct pool *pool)
{
    pthread_cond_broadcast(&pool->locked.changed);
}

void pool_wait_locked(struct pool *pool, int64_t deadline_ms)
{
    thread_cond_wait(&pool->locked.changed, &pool->locked.mutex, deadline_ms);
}

static bool text_same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool rules_same(const struct http_rules *a, const struct http_rules *b)
{
    return text_same(a->allowed_addresses, b->allowed_addresses) && text_same(a->ca_bundle, b->ca_bundle) &&
           text_same(a->proxy, b->proxy) && a->low_speed_seconds == b->low_speed_seconds &&
           a->connect_timeout_ms == b->connect_timeout_ms && a->redirects_max == b->redirects_max;
}

static const char *text_copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void handle_make(struct pool_worker *worker, unsigned slot, const struct http_rules *rules)
{
    http_free(worker->handles[slot].http);
    free((char *)(uintptr_t)worker->handles[slot].rules.allowed_addresses);
    free((char *)(uintptr_t)worker->handles[slot].rules.ca_bundle);
    free((char *)(uintptr_t)worker->handles[slot].rules.proxy);
    worker->handles[slot].rules = *rules;
    worker->handles[slot].rules.allowed_addresses = text_copy(rules->allowed_addresses);
    worker->handles[slot].rules.ca_bundle = text_copy(rules->ca_bundle);
    worker->handles[slot].rules.proxy = text_copy(rules->proxy);
    worker->handles[slot].http = http_new(&worker->handles[slot].rules);
}

struct http *pool_worker_http(struct pool_worker *worker, const struct http_rules *rules)
{
    unsigned slot = 0;
    while (slot < HANDLES_MAX && worker->handles[slot].http && !rules_same(&worker->handles[slot].rules, rules))
        slot++;
    if (slot == HANDLES_MAX)
        slot--;
    if (!worker->handles[slot].http || !rules_same(&worker->handles[slot].rules, rules))
        handle_make(worker, slot, rules);
    __typeof__(worker->handles[0]) used = worker->handles[slot];
    memmove(&worker->handles[1], &worker->handles[0], slot * sizeof(used));
    worker->handles[0] = used;
    return used.http;
}

unsigned pool_threads(struct pool *pool)
{
    pool_lock(pool);
    unsigned running = pool->locked.running;
    pool_unlock(pool);
    return running;
}
