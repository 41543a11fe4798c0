#include <string.h>

#include "cachecore/fill_internal.h"
#include "cachecore/glob.h"
#include "cachecore/listing.h"

#define LIST_MAX ((size_t)64 << 10) /* of one file's snapshot */

static int pin_refuse(const char *pin, struct err *err)
{
    return err_set(err, ERR_DENIED, "snapshot %s is not one of this input as this requester may see it", pin);
}

/* --- one object --- */

/* Knowing a snapshot's id grants nothing: its object must be one that this very input could have been, for this identity. */
static bool pin_is_of_object(const struct fill *fill, const struct fill_item *item, const struct snapshot_file *file)
{
    const struct source_object *found = &item->found;
    char identity[SHA256_HEX];
    char id[SHA256_HEX];
    identity_id(fill->request->context.identity, identity);
    object_id(found->kind, found->authority, found->canonical, file->validator, "", id);
    if (strcmp(id, file->object) == 0)
        return true;
    object_id(found->kind, found->authority, found->canonical, file->validator, identity, id);
    return strcmp(id, file->object) == 0;
}

static int object_pin_check(const struct fill *fill, struct fill_item *item, const struct snapshot *list,
                            struct err *err)
{
    if (list->count != 1 || !pin_is_of_object(fill, item, &list->files[0]))
        return pin_refuse(item->input->snapshot, err);
    memcpy(item->object, list->files[0].object, sizeof(item->object));
    return 0;
}

/* --- a prefix --- */

struct pin_members {
    const char *pin;
    const struct snapshot *list;
};

static int member_check(const struct fill *fill, void *context, size_t index, const struct source_object *object,
                        struct err *err)
{
    const struct pin_members *members = context;
    const struct snapshot_file *file = &members->list->files[index];
    char id[SHA256_HEX];
    fill_object_id(fill, object, file->validator, id);
    bool is_allowed = class_allows_source(fill->request->context.class, object->canonical);
    return is_allowed && strcmp(id, file->object) == 0 ? 0 : pin_refuse(members->pin, err);
}

/* Both are sorted: is every path of the first in the second? */
static bool paths_are_in(const struct snapshot *list, const struct snapshot *all)
{
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        int order = -1;
        while (at < all->count && (order = strcmp(all->files[at].path, list->files[i].path)) < 0)
            at++;
        if (at == all->count || order != 0)
            return false;
    }
    return true;
}

/* Is every key one that the input's glob names? Below a prefix, all are. */
static bool glob_names_all(const struct fill_item *item, const struct snapshot *list)
{
    struct err ignored = ERR_INIT; /* the listing has parsed it before */
    struct glob glob;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    if (!item->input->url.is_glob)
        return true;
    if (glob_parse(arena, item->input->url.glob, &glob, &ignored) != 0)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        _cleanup_(arena_freep) struct arena *scratch = arena_new();
        size_t len;
        const char *key = listing_key(scratch, item->answer->base, list->files[i].path, &len);
        if (!glob_match(&glob, key, len, NULL))
            return false;
    }
    return true;
}

/*
 * Every file must be one that this input could have listed: its id is that of this source, this key and the list's own validator, and the
 * key is one that the input names. Under "authorize: object" the identity has just shown that it may read the keys that are there
 * now, and no others.
 */
static int prefix_pin_check(const struct fill *fill, const struct fill_item *item, const struct snapshot *list,
                            struct err *err)
{
    const struct answer *answer = item->answer;
    bool is_each = fill->request->context.class->authorize == AUTHORIZE_OBJECT;
    const struct fill_members members = {
        .item = item, .base = answer->base, .files = list->files, .count = list->count};
    struct pin_members context = {.pin = item->input->snapshot, .list = list};
    if (list->count == 0 || !glob_names_all(item, list) || (is_each && !paths_are_in(list, &answer->list)))
        return pin_refuse(item->input->snapshot, err);
    return fill_member_ids(fill, &members, member_check, &context, err);
}

static int pin_read(struct fill *fill, struct fill_item *item, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct snapshot list;
    bool is_list = item->answer->is_list;
    const char *pin = item->input->snapshot;
    size_t max_files = is_list && fill->request->max_files > 0 ? (size_t)fill->request->max_files : 1;
    if (is_list && fill->request->max_files == 0)
        max_files = SNAPSHOT_FILES_MAX;
    if (store_snapshot_read(fill->stores.store, pin, &text, err) != 0)
        return -1;
    if ((!is_list && text.len > LIST_MAX) ||
        snapshot_parse(fill->arena, text.data, text.len, max_files, &list, err) != 0)
        return pin_refuse(pin, err);
    int fits = is_list ? prefix_pin_check(fill, item, &list, err) : object_pin_check(fill, item, &list, err);
    if (fits != 0)
        return -1;
    item->list = list;
    memcpy(item->snapshot, pin, sizeof(item->snapshot));
    item->has_list = item->is_looked_at = item->is_complete = true;
    return 0;
}

int fill_pin_look(struct fill *fill, struct fill_item *item, struct err *err)
{
    int there = store_snapshot_find(fill->stores.store, item->input->snapshot, err);
    if (there <= 0)
        return there;
    return pin_read(fill, item, err) == 0 ? 1 : -1;
}

int fill_pin_check(const struct fill_item *item, struct err *err)
{
    const char *pin = item->input->snapshot;
    if (!pin || !item->has_list || strcmp(pin, item->snapshot) == 0)
        return 0;
    return err_set(err, ERR_NOT_FOUND,
                   "snapshot %s is no longer in the cache, and the source has another version now (snapshot %s)", pin,
                   item->snapshot);
}
