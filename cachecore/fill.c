#include "cachecore/fill.h"

#include <string.h>

#include "base/crash.h"
#include "cachecore/fill_internal.h"

#define ROUNDS 4u

static int object_present(void *context, const char *object, uint64_t size, struct err *err)
{
    return store_object_find(context, object, size, err);
}

/* What is not there: a plan of the lists that are known, and every object whose size only its download will tell. */
struct missing {
    struct fetch_want *wants;
    size_t *items; /* whose want it is */
    size_t count;
    uint64_t bytes, bytes_hit;
};

static bool plan_has(const struct plan *plan, bool *taken, const char *object)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (!taken[i] && strcmp(plan->missing[i].object, object) == 0) {
            taken[i] = true;
            return true;
        }
    }
    return false;
}

static void want_add(const struct fill *fill, size_t index, struct missing *missing)
{
    const struct fill_item *item = &fill->items[index];
    struct fetch_want *want = &missing->wants[missing->count];
    *want = (struct fetch_want){.store = fill->request->store,
                                .source = item->source,
                                .context = &fill->request->context,
                                .host = item->input->url.host,
                                .found = &item->found,
                                .sha256 = item->input->sha256,
                                .max_bytes = fill->request->max_bytes > 0 ? fill->request->max_bytes : UINT64_MAX};
    memcpy(want->object, item->object, sizeof(want->object));
    missing->items[missing->count++] = index;
}

static int fill_plan(struct fill *fill, struct plan *out, struct err *err)
{
    const struct snapshot **lists = arena_calloc(fill->arena, fill->count, sizeof(struct snapshot *));
    size_t count = 0;
    for (size_t i = 0; i < fill->count; i++) {
        if (fill->items[i].has_list && !fill->items[i].is_complete)
            lists[count++] = &fill->items[i].list;
    }
    const struct plan_limits limits = {.max_bytes = 0}; /* checked before, over all items */
    return plan_make(fill->arena, lists, count, &limits, object_present, fill->request->store, out, err);
}

static int missing_find(struct fill *fill, struct missing *out, struct err *err)
{
    struct plan plan;
    if (fill_plan(fill, &plan, err) != 0)
        return -1;
    bool *taken = arena_calloc(fill->arena, plan.count, sizeof(*taken));
    out->wants = arena_calloc(fill->arena, fill->count, sizeof(*out->wants));
    out->items = arena_calloc(fill->arena, fill->count, sizeof(*out->items));
    out->count = 0;
    out->bytes = plan.bytes_missed;
    out->bytes_hit = plan.bytes_hit;
    for (size_t i = 0; i < fill->count; i++) {
        struct fill_item *item = &fill->items[i];
        bool is_missing = !item->has_list || (!item->is_complete && plan_has(&plan, taken, item->object));
        if (is_missing)
            want_add(fill, i, out);
        if (item->has_list && item->bytes_missed == 0)
            *(is_missing ? &item->bytes_missed : &item->bytes_hit) = item->list.bytes;
        if (item->is_complete)
            out->bytes_hit += item->list.bytes;
    }
    return 0;
}

static void progress_begin(const struct fill *fill, const struct missing *missing)
{
    atomic_store(&fill->progress->bytes_done, missing->bytes_hit);
    atomic_store(&fill->progress->bytes_total, missing->bytes_hit + missing->bytes);
    atomic_store(&fill->progress->stage, FILL_FETCHING);
}

/* 1: all is there, 0: a source changed meanwhile, -1: error. */
static int fill_fetch(struct fill *fill, struct err *err)
{
    struct missing missing;
    size_t failed = 0;
    if (missing_find(fill, &missing, err) != 0)
        return -1;
    progress_begin(fill, &missing);
    if (fetch_objects(fill->engine, missing.wants, missing.count, fill->progress, fill->cancel, &failed, err) != 0)
        return err->code == ERR_CANCELLED ? -1 : fill_item_error(fill, missing.items[failed], err);
    int result = 1;
    for (size_t i = 0; i < missing.count; i++) {
        if (missing.wants[i].outcome != FETCH_CHANGED)
            continue;
        fill->items[missing.items[i]].is_resolved = false;
        result = 0;
    }
    return result;
}

/* Resolve, look, fetch; again for what changed while it was fetched. */
static int fill_rounds(struct fill *fill, struct err *err)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (fill_resolve(fill, err) != 0)
            return -1;
        crash_point("fill.resolved");
        if (fill_limits(fill, err) != 0 || fill_look(fill, err) != 0 || fill_limits(fill, err) != 0)
            return -1;
        int fetched = fill_fetch(fill, err);
        if (fetched != 0)
            return fetched < 0 ? -1 : 0;
    }
    return err_set(err, ERR_UNAVAILABLE,
                   "a source changed again and again while it was being downloaded; try again later");
}

static void result_make(const struct fill *fill, struct fill_result *out)
{
    out->count = fill->count;
    out->inputs = arena_calloc(fill->arena, fill->count, sizeof(*out->inputs));
    for (size_t i = 0; i < fill->count; i++) {
        const struct fill_item *item = &fill->items[i];
        struct fill_input_result *input = &out->inputs[i];
        *input = (struct fill_input_result){.place = item->input->place,
                                            .is_file = !item->input->is_prefix,
                                            .display = item->input->url.display,
                                            .list = item->list,
                                            .bytes_hit = item->bytes_hit,
                                            .bytes_missed = item->bytes_missed};
        memcpy(input->snapshot, item->snapshot, sizeof(input->snapshot));
    }
}

static int fill_stages(struct fill *fill, struct err *err)
{
    crash_point("fill.started");
    if (fill_list(fill, err) != 0 || fill_items(fill, err) != 0 || fill_rounds(fill, err) != 0)
        return -1;
    crash_point("fill.fetched");
    if (fill_settle(fill, err) != 0 || fill_commit(fill, err) != 0)
        return -1;
    crash_point("fill.committed");
    return fill->request->local_store ? fill_copy(fill, err) : 0;
}

static void space_look(const struct fill *fill)
{
    uint64_t size_bytes;
    uint64_t free_bytes;
    store_space(fill->request->store, &size_bytes, &free_bytes);
    atomic_store(&fill->progress->store_free_bytes, free_bytes);
    atomic_store(&fill->progress->store_size_bytes, size_bytes);
}

int fill_run(struct engine *engine, const struct fill_request *request, struct arena *arena,
             struct fill_progress *progress, struct fill_result *out, const atomic_bool *cancel, struct err *err)
{
    struct fill fill = {.engine = engine, .request = request, .arena = arena, .progress = progress, .cancel = cancel};
    atomic_store(&progress->stage, FILL_RESOLVING);
    space_look(&fill);
    if (fill_stages(&fill, err) != 0)
        return -1;
    if (atomic_load(&progress->bytes_fetched) > 0)
        space_look(&fill);
    result_make(&fill, out);
    atomic_store(&progress->stage, FILL_DONE);
    return 0;
}
