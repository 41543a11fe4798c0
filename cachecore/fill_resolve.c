#include <string.h>

#include "cachecore/fill_internal.h"

static const char *keep(struct arena *arena, const char *text)
{
    return text ? arena_strdup(arena, text) : NULL;
}

/* What everybody with this very question has himself is not kept: a signature stays with who was given it. */
static const char *request_url_keep(const struct source_object *found, const char *query, struct answer *out)
{
    size_t query_len = query ? strlen(query) : 0;
    size_t len = strlen(found->request_url);
    out->is_url_cut = query_len > 0 && len > query_len && str_ends_with(found->request_url, query);
    return arena_strndup(out->arena, found->request_url, out->is_url_cut ? len - query_len : len);
}

static void found_keep(const struct source_object *from, const char *query, struct answer *out)
{
    struct source_object *to = &out->found;
    *to = *from;
    to->kind = keep(out->arena, from->kind);
    to->authority = keep(out->arena, from->authority);
    to->canonical = keep(out->arena, from->canonical);
    to->display = keep(out->arena, from->display);
    to->request_url = request_url_keep(from, query, out);
    to->validator = keep(out->arena, from->validator);
    to->etag = keep(out->arena, from->etag);
    to->version_id = keep(out->arena, from->version_id);
    to->region = keep(out->arena, from->region);
    out->is_private = str_starts_with(from->validator, "unversioned:");
}

/* Was it the source that did not answer, or a service on the way to it? */
struct resolving {
    const struct fill_item *item;
    struct arena *arena;
    struct source_object found;
    bool is_asked;
};

static int resolve_question(const struct source_call *call, void *context, struct err *err)
{
    struct resolving *resolving = context;
    const struct fill_item *item = resolving->item;
    resolving->is_asked = true;
    return item->source->resolve(call, &item->input->url, resolving->arena, &resolving->found, err);
}

static int object_ask(const struct fill *fill, const struct fill_item *item, struct pool_worker *worker,
                      struct answer_asking *asking)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct url *url = &item->input->url;
    const struct source_asking how = fill_asking(fill, item->source, url, worker);
    struct resolving resolving = {.item = item, .arena = arena};
    int result = source_ask(&how, resolve_question, &resolving, &asking->err);
    if (result == 0)
        found_keep(&resolving.found, url->query, asking->answer);
    asking->is_unreachable = resolving.is_asked && asking->err.code == ERR_UNAVAILABLE;
    return result;
}

static void asked_or_not(const struct fill *fill, const struct fill_item *item, struct pool_worker *worker,
                         struct answer_asking *asking)
{
    asking->answer = answer_new();
    int result = item->input->is_prefix ? fill_prefix_ask(fill, item, asking) : object_ask(fill, item, worker, asking);
    if (result == 0)
        return;
    answers_put(fill->engine->answers, asking->answer);
    asking->answer = NULL;
}

static void item_take_object(struct fill *fill, struct fill_item *item)
{
    const struct source_object *found = &item->answer->found;
    item->found = *found;
    if (item->answer->is_url_cut) {
        pool_lock(fill->engine->asks); /* others of this fill use its arena */
        item->found.request_url = arena_printf(fill->arena, "%s%s", found->request_url, item->input->url.query);
        pool_unlock(fill->engine->asks);
    }
    fill_object_id(fill, found, found->validator, item->object);
}

static void item_take(struct fill *fill, struct fill_item *item, const struct answer_asking *asking)
{
    answers_put(fill->engine->answers, item->answer);
    item->answer = asking->answer;
    item->is_resolved = true;
    item->has_list = item->is_looked_at = item->is_complete = item->size_learned = false;
    if (!item->answer->is_list)
        item_take_object(fill, item);
    else if (!item->answer->is_faded)
        fill_take_list(item);
}

/* A source that cannot be reached is no refusal: what it said lately may count, if the class says so. */
static int item_ask(struct fill *fill, struct fill_item *item, struct pool_worker *worker, struct err *err)
{
    struct answers *answers = fill->engine->answers;
    struct answer_asking asking = {
        .question = &item->question, .must_be_fresh = item->must_be_fresh, .cancel = fill->cancel};
    if (answers_begin(answers, &asking) == ANSWER_ASK) {
        asked_or_not(fill, item, worker, &asking);
        answers_end(answers, &asking);
    }
    if (!asking.answer && asking.is_unreachable && !item->must_be_fresh)
        asking.answer = answers_recall(answers, &item->question);
    if (!asking.answer) {
        *err = asking.err;
        return -1;
    }
    item_take(fill, item, &asking);
    return 0;
}

static int object_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    struct fill *fill = context;
    struct fill_item *item = &fill->items[index];
    return item->is_resolved || item->input->is_prefix ? 0 : item_ask(fill, item, worker, err);
}

/* Listings use the asking threads themselves, so they begin on the fill's own. */
static int prefixes_resolve(struct fill *fill, struct err *err)
{
    for (size_t i = 0; i < fill->count; i++) {
        struct fill_item *item = &fill->items[i];
        if (!item->input->is_prefix || item->is_resolved)
            continue;
        if (item_ask(fill, item, NULL, err) != 0)
            return err->code == ERR_CANCELLED ? -1 : fill_item_error(fill, i, err);
    }
    return 0;
}

int fill_resolve(struct fill *fill, struct err *err)
{
    size_t failed;
    if (pool_each(fill->engine->asks, fill->count, object_run, fill, fill->cancel, &failed, err) == 0)
        return prefixes_resolve(fill, err);
    return err->code == ERR_CANCELLED ? -1 : fill_item_error(fill, failed, err);
}
