#include <string.h>

#include "cachecore/copy.h"
#include "cachecore/fill_internal.h"

/* The file's name in its snapshot: from the URL, so that a snapshot does not depend on where a volume puts it. */
static const char *item_name(struct fill *fill, const struct fill_item *item)
{
    struct err err = ERR_INIT;
    const char *name = url_basename(fill->arena, &item->input->url);
    return name && snapshot_path_check(name, strlen(name), &err) == 0 ? name : "object";
}

static int list_make(struct fill *fill, struct fill_item *item, struct err *err)
{
    struct snapshot_file *file = arena_alloc(fill->arena, sizeof(*file));
    *file = (struct snapshot_file){.path = item_name(fill, item),
                                   .size = item->found.size,
                                   .mtime_s = item->found.mtime_s,
                                   .mtime_ns = item->found.mtime_ns,
                                   .validator = item->found.validator};
    memcpy(file->object, item->object, sizeof(file->object));
    if (snapshot_make(fill->arena, file, 1, &item->list, err) != 0)
        return -1;
    snapshot_id(&item->list, item->snapshot);
    item->has_list = true;
    return 0;
}

/* --- before the download --- */

/* The list behind an answer that was given a while ago, from this store. 1: read, 0: not there, -1: error. */
static int list_restore(struct fill *fill, struct fill_item *item, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct answer *faded = item->answer;
    int there = store_snapshot_find(fill->stores.store, faded->snapshot, err);
    if (there <= 0)
        return there;
    if (store_snapshot_read(fill->stores.store, faded->snapshot, &text, err) != 0)
        return -1;
    struct answer *answer = answer_new();
    if (snapshot_parse(answer->arena, text.data, text.len, SNAPSHOT_FILES_MAX, &answer->list, err) != 0) {
        answers_put(fill->engine->answers, answer);
        return -1;
    }
    answer->is_list = true;
    answer->base = arena_strdup(answer->arena, faded->base);
    memcpy(answer->snapshot, faded->snapshot, sizeof(answer->snapshot));
    answers_restore(fill->engine->answers, &item->question, answer);
    answers_put(fill->engine->answers, faded);
    item->answer = answer;
    fill_take_list(item);
    return 1;
}

/* 1: the item has its list, 0: the source has to be asked anew, -1: error. */
static int list_look(struct fill *fill, struct fill_item *item, struct err *err)
{
    if (!item->answer->is_faded)
        return 1;
    int restored = list_restore(fill, item, err);
    if (restored != 0)
        return restored;
    item->is_resolved = false;
    item->must_be_fresh = true;
    return 0;
}

/* 1: known, 0: only the download will tell, -1: error. */
static int size_look(struct fill *fill, struct fill_item *item, struct err *err)
{
    if (item->found.size_is_known)
        return 1;
    uint64_t size;
    int there = store_object_stat(fill->stores.store, item->object, &size, err);
    if (there <= 0)
        return there;
    item->found.size = size;
    item->size_learned = true;
    return 1;
}

static int item_look(struct fill *fill, struct fill_item *item, struct err *err)
{
    struct store *store = fill->stores.store;
    int listed = item->answer->is_list ? list_look(fill, item, err) : 1;
    if (listed <= 0)
        return listed;
    int pinned = item->input->snapshot ? fill_pin_look(fill, item, err) : 0;
    if (pinned != 0)
        return pinned < 0 ? -1 : 0;
    if (!item->answer->is_list) {
        int known = size_look(fill, item, err);
        if (known <= 0)
            return known;
        if (list_make(fill, item, err) != 0)
            return -1;
    }
    if (fill_pin_check(item, err) != 0)
        return -1;
    int complete = store_snapshot_find(store, item->snapshot, err);
    item->is_complete = complete > 0;
    item->is_looked_at = complete >= 0;
    return complete < 0 ? -1 : 0;
}

int fill_look(struct fill *fill, struct err *err)
{
    for (size_t i = 0; i < fill->count; i++) {
        struct fill_item *item = &fill->items[i];
        if (!item->is_looked_at && item_look(fill, item, err) != 0)
            return err->code == ERR_CANCELLED ? -1 : fill_item_error(fill, i, err);
    }
    return 0;
}

static int bytes_check(uint64_t bytes, uint64_t limit, struct err *err)
{
    if (limit == 0 || bytes <= limit)
        return 0;
    char has[16];
    char may[16];
    str_human_bytes(bytes, has);
    str_human_bytes(limit, may);
    return err_set(err, ERR_EXHAUSTED, "the volume's inputs take %s, its class allows %s", has, may);
}

int fill_limits(const struct fill *fill, struct err *err)
{
    uint64_t bytes = 0;
    uint64_t files = 0;
    for (size_t i = 0; i < fill->count; i++) {
        const struct fill_item *item = &fill->items[i];
        uint64_t size = item->has_list ? item->list.bytes : item->found.size_is_known ? item->found.size : 0;
        files += item->has_list ? item->list.count : 1;
        if (__builtin_add_overflow(bytes, size, &bytes))
            bytes = UINT64_MAX;
    }
    if (fill->request->max_files > 0 && files > fill->request->max_files)
        return err_set(err, ERR_EXHAUSTED, "the volume has %llu files, its class allows %llu",
                       (unsigned long long)files, (unsigned long long)fill->request->max_files);
    return bytes_check(bytes, fill->request->max_bytes, err);
}

/* --- after the download --- */

static int verify_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    (void)worker;
    struct fill *fill = context;
    const struct fill_item *item = &fill->items[index];
    if (!item->input->sha256)
        return 0;
    return fetch_verify(fill->engine, fill->stores.store, item->object, item->input->sha256, fill->cancel, err);
}

static int item_settle(struct fill *fill, struct fill_item *item, struct err *err)
{
    if (item->has_list)
        return 0;
    int there = store_object_stat(fill->stores.store, item->object, &item->found.size, err);
    if (there < 0)
        return -1;
    if (there == 0)
        return err_set(err, ERR_UNAVAILABLE, "the object left the store while the volume was being filled");
    item->size_learned = true;
    item->bytes_missed = item->found.size;
    return list_make(fill, item, err) == 0 ? fill_pin_check(item, err) : -1;
}

int fill_settle(struct fill *fill, struct err *err)
{
    size_t failed;
    for (size_t i = 0; i < fill->count; i++) {
        if (item_settle(fill, &fill->items[i], err) != 0)
            return fill_item_error(fill, i, err);
    }
    if (fill_limits(fill, err) != 0)
        return -1;
    if (pool_each(fill->engine->pool, fill->count, verify_run, fill, fill->cancel, &failed, err) == 0)
        return 0;
    return err->code == ERR_CANCELLED ? -1 : fill_item_error(fill, failed, err);
}

static int item_commit(struct store *store, const struct fill_item *item, bool is_complete, struct err *err)
{
    if (!is_complete && store_snapshot_commit(store, &item->list, item->input->url.display, err) != 0)
        return -1;
    return store_snapshot_touch(store, item->snapshot, err);
}

int fill_commit(struct fill *fill, struct err *err)
{
    for (size_t i = 0; i < fill->count; i++) {
        if (item_commit(fill->stores.store, &fill->items[i], fill->items[i].is_complete, err) != 0)
            return fill_item_error(fill, i, err);
    }
    return 0;
}

/* --- the node's own store --- */

static int local_present(void *context, const char *object, uint64_t size, struct err *err)
{
    return store_object_find(context, object, size, err);
}

static int local_plan(struct fill *fill, struct plan *out, struct err *err)
{
    struct store *local = fill->stores.local_store;
    const struct snapshot **lists = arena_calloc(fill->arena, fill->count, sizeof(struct snapshot *));
    size_t count = 0;
    for (size_t i = 0; i < fill->count; i++) {
        int complete = store_snapshot_find(local, fill->items[i].snapshot, err);
        if (complete < 0)
            return fill_item_error(fill, i, err);
        fill->items[i].is_complete = complete > 0;
        if (complete == 0)
            lists[count++] = &fill->items[i].list;
    }
    const struct plan_limits limits = {.max_bytes = 0};
    return plan_make(fill->arena, lists, count, &limits, local_present, local, out, err);
}

int fill_copy(struct fill *fill, struct err *err)
{
    struct store *local = fill->stores.local_store;
    struct plan plan = {.count = 0};
    if (local_plan(fill, &plan, err) != 0)
        return err_prefix(err, "copy to the node");
    atomic_store(&fill->progress->bytes_done, 0);
    atomic_store(&fill->progress->bytes_total, plan.bytes_missed);
    atomic_store(&fill->progress->stage, FILL_COPYING);
    const struct copy_config config = {.floor_bytes = store_floor_bytes(local)};
    if (copy_objects(fill->stores.store, local, plan.missing, plan.count, &config, &fill->progress->bytes_done,
                     fill->cancel, err) != 0)
        return err_prefix(err, "copy to the node");
    for (size_t i = 0; i < fill->count; i++) {
        if (item_commit(local, &fill->items[i], fill->items[i].is_complete, err) != 0)
            return err_prefix(err, "copy to the node");
    }
    return 0;
}
