#include "cachecore/fetch.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/fetch_internal.h"

#define TRANSFERS 16u
#define ASKS 8u

/* A want in work, with all that it is made of. */
struct slot {
    size_t index;
    struct arena *arena;
    struct fetch_want *want;
    struct download *download;
};

/* One caller of fetch_objects: a window of wants in work, in order. */
struct batch {
    struct engine *engine;
    struct pool_group group;
    const struct fetch_list *list;
    struct fill_progress *progress;
    uint64_t base_done, base_total; /* progress before, and of wants that are over */
    struct {
        struct slot slots[FETCH_WINDOW];
        size_t slot_count;
        size_t next; /* want that is not begun */
        bool is_failed;
        size_t failed;
        struct err err;
    } locked; /* under the pool's lock */
};

struct engine *engine_new(const struct engine_config *config)
{
    struct engine *engine = mem_alloc(sizeof(*engine));
    engine->pool = pool_new(config->transfers > 0 ? config->transfers : TRANSFERS);
    engine->asks = pool_new(ASKS);
    engine->answers = answers_new();
    digest_random(engine->pick_key, sizeof(engine->pick_key));
    engine->part_size = config->part_size > 0 ? config->part_size : FETCH_PART_SIZE;
    engine->locked.memo = mem_calloc(FETCH_MEMO, sizeof(*engine->locked.memo));
    return engine;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    pool_free(engine->pool);
    pool_free(engine->asks);
    answers_free(engine->answers);
    free(engine->locked.memo);
    free(engine);
}

static bool batch_take(void *context, int64_t now_ms, struct pool_unit *out, int64_t *due_ms)
{
    struct batch *batch = context;
    for (size_t i = 0; i < batch->locked.slot_count; i++) {
        struct download *download = batch->locked.slots[i].download;
        if (download->owner == batch && download_take_locked(download, now_ms, out, due_ms))
            return true;
    }
    return false;
}

static struct download *download_find_locked(struct engine *engine, const struct fetch_want *want)
{
    struct download *download = engine->locked.downloads;
    while (download && (download->locked.phase == DOWNLOAD_OVER || strcmp(download->object, want->object) != 0 ||
                        strcmp(download->store_id, store_id(want->store)) != 0))
        download = download->next;
    return download;
}

static void download_drop_locked(struct engine *engine, struct download *download)
{
    if (--download->locked.users > 0)
        return;
    struct download **at = &engine->locked.downloads;
    while (*at != download)
        at = &(*at)->next;
    *at = download->next;
    download_free(download);
}

static void slot_join_locked(struct batch *batch, struct slot *slot)
{
    struct engine *engine = batch->engine;
    struct download *download = download_find_locked(engine, slot->want);
    if (!download) {
        download = download_new(engine, slot->want, batch->progress, batch);
        download->next = engine->locked.downloads;
        engine->locked.downloads = download;
    }
    download->locked.users++;
    slot->download = download;
}

static void batch_fail_locked(struct batch *batch, size_t index, const struct err *err)
{
    if (batch->locked.is_failed)
        return;
    batch->locked.is_failed = true;
    batch->locked.failed = index;
    batch->locked.err = *err;
}

static int slot_make(const struct batch *batch, struct slot *slot, struct err *err)
{
    slot->arena = arena_new();
    slot->want = arena_alloc(slot->arena, sizeof(*slot->want));
    if (batch->list->make(batch->list->context, slot->index, slot->arena, slot->want, err) == 0)
        return 0;
    arena_wipe_free(slot->arena);
    return -1;
}

/* Wants are made without the lock: credentials may have to be looked for. Nobody else changes the slots. */
static void window_fill_locked(struct batch *batch)
{
    struct pool *pool = batch->engine->pool;
    while (!batch->locked.is_failed && batch->locked.next < batch->list->count &&
           batch->locked.slot_count < FETCH_WINDOW) {
        struct slot slot = {.index = batch->locked.next++};
        struct err err = ERR_INIT;
        pool_unlock(pool);
        int made = slot_make(batch, &slot, &err);
        pool_lock(pool);
        if (made != 0) {
            batch_fail_locked(batch, slot.index, &err);
            return;
        }
        slot_join_locked(batch, &slot);
        batch->locked.slots[batch->locked.slot_count++] = slot;
    }
}

/* Another caller's download failed: is that ours too? Its identity, class and digest are not. */
static bool failure_is_shared(const struct download *download)
{
    return download->locked.err.code == ERR_UNAVAILABLE;
}

/* True when the slot is done with. */
static bool slot_look_locked(struct batch *batch, struct slot *slot)
{
    struct download *download = slot->download;
    bool failed = download->locked.err.code != ERR_NONE;
    bool is_owner = download->owner == batch;
    if (download->locked.phase != DOWNLOAD_OVER)
        return batch->locked.is_failed && !is_owner; /* nobody else's end has to be waited for */
    if (failed && !is_owner && !failure_is_shared(download) && !batch->locked.is_failed) {
        download_drop_locked(batch->engine, download);
        slot_join_locked(batch, slot);
        return false;
    }
    if (failed)
        batch_fail_locked(batch, slot->index, &download->locked.err);
    return true;
}

static void slot_end_locked(struct batch *batch, const struct slot *slot)
{
    const struct source_object *found = slot->want->found;
    const struct download *download = slot->download;
    uint64_t bytes = atomic_load(&download->bytes);
    bool is_over = download->locked.phase == DOWNLOAD_OVER && download->locked.err.code == ERR_NONE;
    if (is_over && !download->locked.is_changed && found->size_is_known)
        bytes = found->size; /* also where somebody else had brought it */
    batch->base_done += bytes;
    batch->base_total += found->size_is_known ? 0 : bytes;
    if (is_over && !batch->locked.is_failed)
        batch->list->over(batch->list->context, slot->index, download->locked.is_changed ? FETCH_CHANGED : FETCH_DONE);
}

static void slots_look_locked(struct batch *batch)
{
    size_t kept = 0;
    for (size_t i = 0; i < batch->locked.slot_count; i++) {
        struct slot slot = batch->locked.slots[i];
        if (slot_look_locked(batch, &slot)) {
            slot_end_locked(batch, &slot);
            download_drop_locked(batch->engine, slot.download);
            arena_wipe_free(slot.arena);
        } else {
            batch->locked.slots[kept++] = slot;
        }
    }
    batch->locked.slot_count = kept;
}

static void progress_update_locked(struct batch *batch)
{
    uint64_t done = batch->base_done;
    uint64_t total = batch->base_total;
    for (size_t i = 0; i < batch->locked.slot_count; i++) {
        uint64_t bytes = atomic_load(&batch->locked.slots[i].download->bytes);
        done += bytes;
        total += batch->locked.slots[i].want->found->size_is_known ? 0 : bytes;
    }
    atomic_store(&batch->progress->bytes_done, done);
    atomic_store(&batch->progress->bytes_total, total);
}

static void stop_locked(struct batch *batch)
{
    for (size_t i = 0; i < batch->locked.slot_count; i++) {
        struct download *download = batch->locked.slots[i].download;
        if (download->owner == batch && download->locked.phase != DOWNLOAD_OVER)
            download_cancel_locked(download);
    }
}

/* Until every want is done with, or after a failure until nothing of ours moves any more. */
static void batch_run_locked(struct batch *batch, const atomic_bool *cancel)
{
    struct pool *pool = batch->engine->pool;
    for (;;) {
        struct err err = ERR_INIT;
        slots_look_locked(batch);
        window_fill_locked(batch);
        progress_update_locked(batch);
        if (batch->locked.slot_count == 0)
            return;
        if (atomic_load(cancel)) {
            err_set(&err, ERR_CANCELLED, "the fill was cancelled");
            batch_fail_locked(batch, 0, &err);
        } else if (pool_wake_locked(pool, &err) != 0) {
            batch_fail_locked(batch, 0, &err);
        }
        if (batch->locked.is_failed)
            stop_locked(batch);
        pool_wait_locked(pool, clock_monotonic_ms() + FETCH_POLL_MS);
    }
}

int fetch_objects(struct engine *engine, const struct fetch_list *list, struct fill_progress *progress,
                  const atomic_bool *cancel, size_t *failed, struct err *err)
{
    struct batch *batch = mem_alloc(sizeof(*batch));
    batch->engine = engine;
    batch->list = list;
    batch->progress = progress;
    batch->base_done = atomic_load(&progress->bytes_done);
    batch->base_total = atomic_load(&progress->bytes_total);
    batch->group = (struct pool_group){.take = batch_take, .context = batch};
    pool_lock(engine->pool);
    pool_enter_locked(engine->pool, &batch->group);
    batch_run_locked(batch, cancel);
    pool_leave_locked(engine->pool, &batch->group);
    pool_unlock(engine->pool);
    bool is_failed = batch->locked.is_failed;
    if (is_failed) {
        *failed = batch->locked.failed;
        *err = batch->locked.err;
    }
    free(batch);
    return is_failed ? -1 : 0;
}
