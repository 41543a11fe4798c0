#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/pool.h"

#define POLL_MS 100

struct each {
    struct pool *pool;
    struct pool_group group;
    pool_each_run run;
    void *context;
    size_t count;
    struct {
        size_t next, active;
        bool is_failed;
        size_t failed;
        struct err err;
    } locked; /* under the pool's lock */
};

struct each_unit {
    struct each *each;
    size_t index;
};

static void each_fail_locked(struct each *each, size_t index, const struct err *err)
{
    if (each->locked.is_failed)
        return;
    each->locked.is_failed = true;
    each->locked.failed = index;
    each->locked.err = *err;
}

static void each_unit_run(struct pool_worker *worker, void *context)
{
    struct each_unit *unit = context;
    struct each *each = unit->each;
    struct err err = ERR_INIT;
    int result = each->run(worker, each->context, unit->index, &err);
    pool_lock(each->pool);
    each->locked.active--;
    if (result != 0)
        each_fail_locked(each, unit->index, &err);
    pool_tell_locked(each->pool);
    pool_unlock(each->pool);
    free(unit);
}

static bool each_take(void *context, int64_t now_ms, struct pool_unit *out, int64_t *due_ms)
{
    (void)now_ms;
    (void)due_ms;
    struct each *each = context;
    if (each->locked.is_failed || each->locked.next == each->count)
        return false;
    struct each_unit *unit = mem_alloc(sizeof(*unit));
    *unit = (struct each_unit){.each = each, .index = each->locked.next++};
    each->locked.active++;
    *out = (struct pool_unit){.run = each_unit_run, .context = unit};
    return true;
}

static void each_wait_locked(struct each *each, const atomic_bool *cancel)
{
    for (;;) {
        struct err err = ERR_INIT;
        bool is_handed_out = each->locked.is_failed || each->locked.next == each->count;
        if (is_handed_out && each->locked.active == 0)
            return;
        if (atomic_load(cancel)) {
            err_set(&err, ERR_CANCELLED, "the fill was cancelled");
            each_fail_locked(each, each->locked.next, &err);
        } else if (!is_handed_out && pool_wake_locked(each->pool, &err) != 0) {
            each_fail_locked(each, each->locked.next, &err);
        }
        if (each->locked.active > 0 || !each->locked.is_failed)
            pool_wait_locked(each->pool, clock_monotonic_ms() + POLL_MS);
    }
}

int pool_each(struct pool *pool, size_t count, pool_each_run run, void *context, const atomic_bool *cancel,
              size_t *failed, struct err *err)
{
    struct each each = {.pool = pool, .run = run, .context = context, .count = count};
    each.group = (struct pool_group){.take = each_take, .context = &each};
    pool_lock(pool);
    pool_enter_locked(pool, &each.group);
    each_wait_locked(&each, cancel);
    pool_leave_locked(pool, &each.group);
    pool_unlock(pool);
    if (!each.locked.is_failed)
        return 0;
    *failed = each.locked.failed;
    *err = each.locked.err;
    return -1;
}
