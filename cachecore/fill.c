#include "cachecore/fill.h"

#include <string.h>

#include "base/crash.h"
#include "cachecore/fill_internal.h"

#define ROUNDS 5u

static void space_look(const struct fill *fill)
{
    uint64_t size_bytes;
    uint64_t free_bytes;
    store_space(fill->stores.store, &size_bytes, &free_bytes);
    atomic_store(&fill->progress->store_free_bytes, free_bytes);
    atomic_store(&fill->progress->store_size_bytes, size_bytes);
}

/* A refusal is decided before the store is looked at. */
static int stores_open(struct fill *fill, struct err *err)
{
    if (fill->stores.store)
        return 0;
    if (fill->request->open(fill->request->open_context, &fill->stores, err) != 0)
        return -1;
    space_look(fill);
    return 0;
}

static bool all_resolved(const struct fill *fill)
{
    for (size_t i = 0; i < fill->count; i++) {
        if (!fill->items[i].is_resolved)
            return false;
    }
    return true;
}

/* Resolve, look, fetch; again for what changed while it was fetched, or what an earlier answer could not tell. */
static int fill_rounds(struct fill *fill, struct err *err)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (fill_resolve(fill, err) != 0)
            return -1;
        crash_point("fill.resolved");
        if (fill_limits(fill, err) != 0 || stores_open(fill, err) != 0 || fill_look(fill, err) != 0 ||
            fill_limits(fill, err) != 0)
            return -1;
        if (!all_resolved(fill))
            continue;
        int fetched = fill_fetch(fill, err);
        if (fetched != 0)
            return fetched < 0 ? -1 : 0;
    }
    return err_set(err, ERR_UNAVAILABLE,
                   "a source changed again and again while it was being downloaded; try again later");
}

static struct answer **answers_take(const struct fill *fill)
{
    struct answer **answers = arena_calloc(fill->arena, fill->count, sizeof(*answers));
    for (size_t i = 0; i < fill->count; i++)
        answers[i] = fill->items[i].answer;
    return answers;
}

static void result_make(const struct fill *fill, struct fill_result *out)
{
    out->count = fill->count;
    out->engine = fill->engine;
    out->answers = answers_take(fill);
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
    return fill->stores.local_store ? fill_copy(fill, err) : 0;
}

int fill_run(struct engine *engine, const struct fill_request *request, struct arena *arena,
             struct fill_progress *progress, struct fill_result *out, const atomic_bool *cancel, struct err *err)
{
    struct fill fill = {.engine = engine, .request = request, .arena = arena, .progress = progress, .cancel = cancel};
    atomic_store(&progress->stage, FILL_RESOLVING);
    if (fill_stages(&fill, err) != 0) {
        for (size_t i = 0; i < fill.count && fill.items; i++)
            answers_put(engine->answers, fill.items[i].answer);
        return -1;
    }
    if (atomic_load(&progress->bytes_fetched) > 0)
        space_look(&fill);
    result_make(&fill, out);
    atomic_store(&progress->stage, FILL_DONE);
    return 0;
}

void fill_result_deinit(struct fill_result *result)
{
    for (size_t i = 0; result->answers && i < result->count; i++)
        answers_put(result->engine->answers, result->answers[i]);
    *result = (struct fill_result){.inputs = NULL};
}
