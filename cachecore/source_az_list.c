#include <string.h>

#include "base/clock.h"
#include "cachecore/azure_list.h"
#include "cachecore/source_az.h"

#define PAGE_MAX 5000u                      /* Azure's own limit */
#define PAGE_BYTES_MAX (UINT64_C(64) << 20) /* 5,000 blobs with the longest names and metadata */

/* A page on its way: Azure's names become keys, which begin with the container. */
struct listing {
    const struct source_page *page;
    const struct az_place *place;
    struct azure_list *list;
};

static const char *key_make(const struct listing *listing, const char *name, size_t len, struct arena *arena,
                            size_t *key_len)
{
    size_t before = strlen(listing->place->container) + 1;
    char *key = arena_alloc(arena, before + len + 1);
    memcpy(key, listing->place->container, before - 1);
    key[before - 1] = '/';
    memcpy(key + before, name, len);
    *key_len = before + len;
    return key;
}

static int on_blob(void *context, const struct azure_blob *blob, struct err *err)
{
    const struct listing *listing = context;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct source_entry entry = {.size = blob->size,
                                 .mtime_s = blob->mtime_s,
                                 .validator = arena_printf(arena, "etag:%s", blob->etag),
                                 .is_archived = blob->is_archived};
    entry.key = key_make(listing, blob->name, blob->name_len, arena, &entry.key_len);
    return listing->page->each(listing->page->each_context, &entry, err);
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    const struct listing *listing = context;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    size_t key_len;
    const char *key = key_make(listing, prefix, len, arena, &key_len);
    if (!listing->page->each_prefix)
        return 0;
    return listing->page->each_prefix(listing->page->each_context, key, key_len, err);
}

static int on_bytes(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    const struct listing *listing = context;
    return response->status == 200 && len > 0 ? azure_list_feed(listing->list, data, len, err) : 0;
}

static const char *page_url(const struct source_page *page, const struct az_place *place, struct arena *arena)
{
    unsigned count = page->count_max > 0 && page->count_max < PAGE_MAX ? page->count_max : PAGE_MAX;
    const char *url =
        arena_printf(arena, "%s/%s?restype=container&comp=list&include=metadata&maxresults=%u", place->base,
                     url_encode(arena, place->container, strlen(place->container), false), count);
    if (place->name_len > 0)
        url = arena_printf(arena, "%s&prefix=%s", url, url_encode(arena, place->name, place->name_len, true));
    if (page->divides)
        url = arena_printf(arena, "%s&delimiter=%%2F", url);
    if (page->token)
        url = arena_printf(arena, "%s&marker=%s", url, url_encode(arena, page->token, strlen(page->token), true));
    return url;
}

static int page_get(const struct source_call *call, const struct listing *listing, struct arena *arena, struct err *err)
{
    struct http_header *headers = arena_calloc(arena, AZ_HEADERS_MAX, sizeof(*headers));
    struct http_request request = {.display = listing->page->url->display, .body_max = PAGE_BYTES_MAX};
    struct http_response response;
    az_request_make(call, page_url(listing->page, listing->place, arena), clock_wall_s(), headers, 0, arena, &request);
    if (http_perform(call->http, &request, on_bytes, (void *)(uintptr_t)listing, &response, call->cancel, err) != 0)
        return -1;
    return response.status == 200 ? 0 : source_status_error(&response, request.display, err);
}

int az_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err)
{
    struct az_place place;
    struct listing listing = {.page = page, .place = &place};
    const struct azure_list_handler handler = {.blob = on_blob, .prefix = on_prefix, .context = &listing};
    if (az_place_find(call->context, page->url, page->prefix, strlen(page->prefix), arena, &place, err) != 0)
        return -1;
    _cleanup_(azure_list_freep) struct azure_list *list = listing.list = azure_list_new(&handler);
    if (page_get(call, &listing, arena, err) != 0)
        return az_refusal_explain(call, &place, err);
    return azure_list_finish(list, arena, next, err);
}
