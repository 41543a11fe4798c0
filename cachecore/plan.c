#include "cachecore/plan.h"

#include <inttypes.h>
#include <string.h>

static int too_many(const char *what, uint64_t has, uint64_t limit, struct err *err)
{
    return err_set(err, ERR_EXHAUSTED, "the volume has %" PRIu64 " %s, its limit is %" PRIu64, has, what, limit);
}

static int too_large(uint64_t has, uint64_t limit, struct err *err)
{
    char has_text[16];
    char limit_text[16];
    str_human_bytes(has, has_text);
    str_human_bytes(limit, limit_text);
    return err_set(err, ERR_EXHAUSTED, "the volume has %s (%" PRIu64 " bytes), its limit is %s", has_text, has,
                   limit_text);
}

static int totals_check(const struct snapshot *const *snapshots, size_t count, const struct plan_limits *limits,
                        struct plan *plan, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        plan->files += snapshots[i]->count;
        if (__builtin_add_overflow(plan->bytes, snapshots[i]->bytes, &plan->bytes))
            plan->bytes = UINT64_MAX;
    }
    if (limits->max_files > 0 && plan->files > limits->max_files)
        return too_many("files", plan->files, limits->max_files, err);
    if (limits->max_bytes > 0 && plan->bytes > limits->max_bytes)
        return too_large(plan->bytes, limits->max_bytes, err);
    return 0;
}

/* Of those that are one object, the first stays: the same one everywhere. */
static int by_id(const void *a, const void *b)
{
    const struct plan_object *left = a;
    const struct plan_object *right = b;
    int order = strcmp(left->object, right->object);
    if (order != 0)
        return order;
    if (left->snapshot != right->snapshot)
        return left->snapshot < right->snapshot ? -1 : 1;
    return left->file < right->file ? -1 : left->file > right->file;
}

/* Equal sizes in the order of their ids: the same plan everywhere. */
static int largest_first(const void *a, const void *b)
{
    const struct plan_object *left = a;
    const struct plan_object *right = b;
    if (left->size != right->size)
        return left->size > right->size ? -1 : 1;
    return strcmp(left->object, right->object);
}

static struct plan_object *objects_collect(struct arena *arena, const struct snapshot *const *snapshots, size_t count,
                                           const struct plan *plan)
{
    struct plan_object *objects = arena_calloc(arena, plan->files, sizeof(*objects));
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < snapshots[i]->count; j++) {
            const struct snapshot_file *file = &snapshots[i]->files[j];
            objects[used++] = (struct plan_object){
                .object = file->object, .size = file->size, .snapshot = (uint32_t)i, .file = (uint32_t)j};
        }
    }
    return objects;
}

/* Sorted by id: keeps one of each. */
static int objects_unite(struct plan_object *objects, size_t *count, struct err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        bool is_again = kept > 0 && strcmp(objects[kept - 1].object, objects[i].object) == 0;
        if (is_again && objects[kept - 1].size != objects[i].size)
            return err_set(err, ERR_CORRUPT, "object %.16s stands with two sizes, %" PRIu64 " and %" PRIu64 " bytes",
                           objects[i].object, objects[kept - 1].size, objects[i].size);
        if (!is_again)
            objects[kept++] = objects[i];
    }
    *count = kept;
    return 0;
}

static int missing_keep(struct plan_object *objects, size_t count, plan_present present, void *context,
                        struct plan *plan, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        int found = present(context, objects[i].object, objects[i].size, err);
        if (found < 0)
            return -1;
        if (found > 0) {
            plan->bytes_hit += objects[i].size;
        } else {
            plan->bytes_missed += objects[i].size;
            objects[plan->count++] = objects[i];
        }
    }
    plan->missing = objects;
    return 0;
}

int plan_make(struct arena *arena, const struct snapshot *const *snapshots, size_t count,
              const struct plan_limits *limits, plan_present present, void *context, struct plan *out, struct err *err)
{
    struct plan plan = {.count = 0};
    if (totals_check(snapshots, count, limits, &plan, err) != 0)
        return -1;
    struct plan_object *objects = objects_collect(arena, snapshots, count, &plan);
    size_t object_count = plan.files;
    if (object_count > 1)
        qsort(objects, object_count, sizeof(*objects), by_id);
    if (objects_unite(objects, &object_count, err) != 0 ||
        missing_keep(objects, object_count, present, context, &plan, err) != 0)
        return -1;
    if (plan.count > 1)
        qsort(plan.missing, plan.count, sizeof(*plan.missing), largest_first);
    *out = plan;
    return 0;
}
