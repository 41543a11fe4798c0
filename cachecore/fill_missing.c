#include <string.h>

#include "cachecore/fill_internal.h"

/* What is not there: objects whose size only their download will tell, then a plan of the lists that are known. */
struct missing {
    struct fill *fill;
    size_t *unknown; /* items */
    size_t unknown_count;
    struct plan plan;
    size_t *owners; /* of the plan's snapshots: items */
    uint64_t bytes_hit;
    bool is_changed;
};

/* Looking for many objects takes a while, too. */
static int object_present(void *context, const char *object, uint64_t size, struct err *err)
{
    const struct fill *fill = context;
    if (atomic_load(fill->cancel))
        return err_set(err, ERR_CANCELLED, "the fill was cancelled");
    return store_object_find(fill->stores.store, object, size, err);
}

static int missing_find(struct fill *fill, struct missing *out, struct err *err)
{
    const struct snapshot **lists = arena_calloc(fill->arena, fill->count, sizeof(struct snapshot *));
    size_t count = 0;
    *out = (struct missing){.fill = fill,
                            .unknown = arena_calloc(fill->arena, fill->count, sizeof(size_t)),
                            .owners = arena_calloc(fill->arena, fill->count, sizeof(size_t))};
    for (size_t i = 0; i < fill->count; i++) {
        const struct fill_item *item = &fill->items[i];
        if (!item->has_list)
            out->unknown[out->unknown_count++] = i;
        else if (item->is_complete)
            out->bytes_hit += item->list.bytes;
        if (!item->has_list || item->is_complete)
            continue;
        out->owners[count] = i;
        lists[count++] = &item->list;
    }
    const struct plan_limits limits = {.max_bytes = 0}; /* checked before, over all items */
    if (plan_make(fill->arena, lists, count, &limits, object_present, fill, &out->plan, err) != 0)
        return -1;
    out->bytes_hit += out->plan.bytes_hit;
    return 0;
}

/* An item that is asked for again after a change keeps what it missed before. */
static void hits_count(const struct missing *missing)
{
    struct fill *fill = missing->fill;
    for (size_t i = 0; i < missing->plan.count; i++)
        fill->items[missing->owners[missing->plan.missing[i].snapshot]].bytes_missed += missing->plan.missing[i].size;
    for (size_t i = 0; i < fill->count; i++) {
        struct fill_item *item = &fill->items[i];
        if (item->bytes_missed > item->list.bytes)
            item->bytes_missed = item->list.bytes;
        item->bytes_hit = item->list.bytes - item->bytes_missed;
    }
}

static size_t item_of(const struct missing *missing, size_t index)
{
    if (index < missing->unknown_count)
        return missing->unknown[index];
    return missing->owners[missing->plan.missing[index - missing->unknown_count].snapshot];
}

/* NULL for an input that is one object. */
static const struct snapshot_file *file_of(const struct missing *missing, size_t index)
{
    const struct fill_item *item = &missing->fill->items[item_of(missing, index)];
    if (index < missing->unknown_count || !item->answer->is_list)
        return NULL;
    return &item->list.files[missing->plan.missing[index - missing->unknown_count].file];
}

static int member_make(const struct fill *fill, const struct fill_file *file, struct arena *arena,
                       struct source_object *out, struct err *err)
{
    const struct fill_item *item = file->item;
    struct source_call call = {.context = &fill->request->context, .cancel = fill->cancel};
    if (source_call_begin(item->source, item->input->url.host, &call, err) != 0)
        return -1;
    int result = fill_member(&call, file, arena, out, err);
    source_call_end(&call);
    return result;
}

static int want_make(void *context, size_t index, struct arena *arena, struct fetch_want *out, struct err *err)
{
    const struct missing *missing = context;
    const struct fill *fill = missing->fill;
    const struct fill_item *item = &fill->items[item_of(missing, index)];
    const struct snapshot_file *file = file_of(missing, index);
    uint64_t max_bytes = fill->request->max_bytes;
    *out = (struct fetch_want){.store = fill->stores.store,
                               .source = item->source,
                               .context = &fill->request->context,
                               .host = item->input->url.host,
                               .found = &item->found,
                               .sha256 = item->input->sha256,
                               .max_bytes = max_bytes > 0 ? max_bytes : UINT64_MAX};
    memcpy(out->object, file ? file->object : item->object, sizeof(out->object));
    if (!file)
        return 0;
    struct source_object *found = arena_alloc(arena, sizeof(*found));
    const struct fill_file member = {.item = item, .base = item->answer->base, .file = file};
    out->found = found;
    return member_make(fill, &member, arena, found, err);
}

static void item_changed(struct missing *missing, size_t index)
{
    struct fill_item *item = &missing->fill->items[item_of(missing, index)];
    item->is_resolved = false;
    item->must_be_fresh = true;
    missing->is_changed = true;
}

static void want_over(void *context, size_t index, enum fetch_outcome outcome)
{
    if (outcome == FETCH_CHANGED)
        item_changed(context, index);
}

/* One of many that has gone since it was listed is a change like another one. */
static int missing_failed(struct missing *missing, size_t index, struct err *err)
{
    const struct fill *fill = missing->fill;
    const struct snapshot_file *file = file_of(missing, index);
    if (err->code == ERR_CANCELLED)
        return -1;
    if (answer_is_refusal(err))
        answers_refused(fill->engine->answers, &fill->items[item_of(missing, index)].question);
    if (file && err->code == ERR_NOT_FOUND) {
        item_changed(missing, index);
        *err = (struct err)ERR_INIT;
        return 0;
    }
    if (file)
        err_prefix(err, "'%.200s'", file->path);
    return fill_item_error(fill, item_of(missing, index), err);
}

static void progress_begin(const struct fill *fill, const struct missing *missing)
{
    atomic_store(&fill->progress->bytes_done, missing->bytes_hit);
    atomic_store(&fill->progress->bytes_total, missing->bytes_hit + missing->plan.bytes_missed);
    atomic_store(&fill->progress->stage, FILL_FETCHING);
}

int fill_fetch(struct fill *fill, struct err *err)
{
    struct missing missing;
    size_t failed = 0;
    if (missing_find(fill, &missing, err) != 0)
        return -1;
    hits_count(&missing);
    progress_begin(fill, &missing);
    const struct fetch_list list = {
        .count = missing.unknown_count + missing.plan.count, .context = &missing, .make = want_make, .over = want_over};
    if (fetch_objects(fill->engine, &list, fill->progress, fill->cancel, &failed, err) != 0 &&
        missing_failed(&missing, failed, err) != 0)
        return -1;
    return missing.is_changed ? 0 : 1;
}
