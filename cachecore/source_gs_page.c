/* A page of objects.list: {"nextPageToken": "..", "prefixes": ["a/", ..], "items": [{"name": .., "size": "1", ..}, ..]}. */
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/json_depth.h"
#include "cachecore/source_gs.h"

#define DEPTH_MAX 8u /* a server that sends more than the fields asked for */
#define TOKEN_MAX 8192u

struct page {
    json_t *root, *items, *prefixes;
    size_t item, prefix; /* how many were told */
};

static int broken(struct err *err, const char *what)
{
    return err_set(err, ERR_PRECONDITION, "the listing is not one of Cloud Storage: %s", what);
}

static int page_open(const struct str *text, struct page *out, struct err *err)
{
    const char *data = text->data ? text->data : "";
    *out = (struct page){.root = NULL};
    if (json_is_shallow(data, text->len, DEPTH_MAX))
        out->root = json_loadb(data, text->len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(out->root))
        return broken(err, "no JSON object");
    out->items = json_object_get(out->root, "items");
    out->prefixes = json_object_get(out->root, "prefixes");
    if ((out->items && !json_is_array(out->items)) || (out->prefixes && !json_is_array(out->prefixes)))
        return broken(err, "'items' or 'prefixes' is no list");
    return 0;
}

static int item_read(const json_t *json, struct gs_item *out, struct err *err)
{
    const json_t *name = json_object_get(json, "name");
    const char *size = json_string_value(json_object_get(json, "size"));
    const char *updated = json_string_value(json_object_get(json, "updated"));
    uint32_t ns;
    out->name = json_string_value(name);
    out->name_len = json_string_length(name);
    out->generation = json_string_value(json_object_get(json, "generation"));
    out->updated_s = 0;
    if (!out->name || out->name_len == 0 || out->name_len > GS_KEY_MAX)
        return broken(err, "a name that is none");
    if (!size || str_parse_u64(size, INT64_MAX, &out->size) != 0)
        return broken(err, "a size that is no number");
    if (!out->generation || !gs_is_generation(out->generation))
        return broken(err, "a generation that is no number");
    if (updated && clock_parse_rfc3339(updated, &out->updated_s, &ns) != 0)
        return broken(err, "a time that is none");
    return 0;
}

static int item_tell(struct page *page, const struct gs_page_each *each, struct err *err)
{
    struct gs_item item;
    if (item_read(json_array_get(page->items, page->item++), &item, err) != 0)
        return -1;
    return each->item(each->context, &item, err);
}

static int prefix_tell(struct page *page, const struct gs_page_each *each, struct err *err)
{
    const json_t *json = json_array_get(page->prefixes, page->prefix++);
    size_t len = json_string_length(json);
    if (!each->prefix)
        return broken(err, "prefixes that were not asked for");
    if (!json_is_string(json) || len == 0 || len > GS_KEY_MAX)
        return broken(err, "a prefix that is none");
    return each->prefix(each->context, json_string_value(json), len, err);
}

/* Both lists are in order; together they are told in order. */
static bool item_is_next(const struct page *page)
{
    if (page->prefix == json_array_size(page->prefixes))
        return true;
    if (page->item == json_array_size(page->items))
        return false;
    const char *name = json_string_value(json_object_get(json_array_get(page->items, page->item), "name"));
    const char *prefix = json_string_value(json_array_get(page->prefixes, page->prefix));
    return !name || (prefix && strcmp(name, prefix) < 0);
}

static int page_tell(struct page *page, const struct gs_page_each *each, struct err *err)
{
    size_t count = json_array_size(page->items) + json_array_size(page->prefixes);
    for (; count > 0; count--) {
        if ((item_is_next(page) ? item_tell : prefix_tell)(page, each, err) != 0)
            return -1;
    }
    return 0;
}

static int token_take(const struct page *page, struct arena *arena, const char **next, struct err *err)
{
    const json_t *token = json_object_get(page->root, "nextPageToken");
    size_t len = json_string_length(token);
    *next = NULL;
    if (!token || (json_is_string(token) && len == 0))
        return 0;
    if (!json_is_string(token) || len > TOKEN_MAX)
        return broken(err, "a nextPageToken that is none");
    *next = arena_strndup(arena, json_string_value(token), len);
    return 0;
}

int gs_page_read(const struct str *text, const struct gs_page_each *each, struct arena *arena, const char **next,
                 struct err *err)
{
    struct page page;
    const char *token;
    int result = page_open(text, &page, err);
    if (result == 0)
        result = token_take(&page, arena, &token, err);
    if (result == 0)
        result = page_tell(&page, each, err);
    json_decref(page.root);
    if (result == 0)
        *next = token;
    return result;
}
