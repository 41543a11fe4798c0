/* Listings of Google Cloud Storage: objects.list of its JSON API, a page at a time. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/json_depth.h"
#include "cachecore/source_gs.h"
#include "cachecore/source_probe.h"

#define PAGE_MAX 1000u /* what Google gives at most */
#define PAGE_BYTES_MAX (8u << 20)

/* One page as it is told to who asked. */
struct telling {
    const struct source_page *page;
    size_t prefix_len;
};

static const char *parameter(struct arena *arena, const char *name, const char *value)
{
    return value && *value ? arena_printf(arena, "&%s=%s", name, url_encode(arena, value, strlen(value), true)) : "";
}

static const char *page_url(const struct gs_place *place, const struct source_page *page, struct arena *arena)
{
    unsigned count = page->count_max > 0 && page->count_max < PAGE_MAX ? page->count_max : PAGE_MAX;
    return arena_printf(arena,
                        "%s/storage/v1/b/%s/o?fields=nextPageToken%%2Cprefixes%%2Citems%%28name%%2Csize%%2Cgeneration"
                        "%%2Cupdated%%29&maxResults=%u%s%s%s%s",
                        place->base, page->url->host, count, parameter(arena, "prefix", page->prefix),
                        page->divides ? "&delimiter=%2F" : "", parameter(arena, "startOffset", page->after),
                        parameter(arena, "pageToken", page->token));
}

static int on_page(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    (void)response;
    (void)err;
    if (len > 0)
        str_append(context, data, len); /* body_max limits it */
    return 0;
}

/* The first of "errors" says why ("reason"), in words of the protocol. */
static const char *reason_of(const struct str *body, struct arena *arena)
{
    json_t *root = body->data && json_is_shallow(body->data, body->len, 8)
                       ? json_loadb(body->data, body->len, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    const json_t *errors = json_object_get(json_object_get(root, "error"), "errors");
    const char *reason = json_string_value(json_object_get(json_array_get(errors, 0), "reason"));
    const char *copy = reason ? arena_strdup(arena, reason) : "";
    json_decref(root);
    return copy;
}

static int listing_refused(const struct source_call *call, const struct http_response *response, const char *reason,
                           struct err *err)
{
    int status = response->status;
    bool is_rate = strcmp(reason, "rateLimitExceeded") == 0 || strcmp(reason, "userRateLimitExceeded") == 0;
    if (status == 400 && strcmp(reason, "required") == 0)
        return err_set(
            err, ERR_PRECONDITION,
            "HTTP 400 UserProjectMissing: the bucket is one where the requester pays, which is not supported");
    if (status == 403 && is_rate)
        return err_set(err, ERR_UNAVAILABLE, "HTTP 403 %s: the server asks for fewer requests", reason);
    if (status == 404)
        return err_set(err, ERR_NOT_FOUND, "HTTP 404: no such bucket");
    source_status_error(response, "", err);
    if (status == 401 || status == 403)
        return err_set(err, err->code,
                       "HTTP %d: the bucket may not be listed: asked with %s, which needs storage.objects.list", status,
                       call->credentials->origin);
    return -1;
}

static int page_ask(const struct source_call *call, const char *url, struct arena *arena, struct str *body,
                    struct err *err)
{
    _cleanup_(str_deinitp) struct str error_body = STR_INIT;
    struct http_header headers[CREDENTIALS_HEADERS_MAX];
    struct http_response response;
    const struct http_request request = {
        .method = "GET",
        .url = url,
        .display = "a listing of Cloud Storage",
        .headers = headers,
        .header_count = source_credential_headers(call->credentials, headers),
        .body_max = PAGE_BYTES_MAX,
        .no_redirects = true,
        .error_body = &error_body,
    };
    if (http_perform(call->http, &request, on_page, body, &response, call->cancel, err) != 0)
        return -1;
    return response.status == 200 ? 0 : listing_refused(call, &response, reason_of(&error_body, arena), err);
}

static bool is_within(const struct telling *telling, const char *name)
{
    return strncmp(name, telling->page->prefix, telling->prefix_len) == 0;
}

static int outside(struct err *err)
{
    return err_set(err, ERR_PRECONDITION, "the listing is not one of Cloud Storage: a name outside the prefix");
}

/* startOffset is the first name, and after is before it. */
static int on_item(void *context, const struct gs_item *item, struct err *err)
{
    const struct telling *telling = context;
    char validator[sizeof("generation:") + GS_GENERATION_MAX];
    if (!is_within(telling, item->name))
        return outside(err);
    if (telling->page->after && strcmp(item->name, telling->page->after) <= 0)
        return 0;
    snprintf(validator, sizeof(validator), "generation:%s", item->generation);
    const struct source_entry entry = {.key = item->name,
                                       .key_len = item->name_len,
                                       .size = item->size,
                                       .mtime_s = item->updated_s,
                                       .validator = validator};
    return telling->page->each(telling->page->each_context, &entry, err);
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    const struct telling *telling = context;
    const char *after = telling->page->after;
    if (!is_within(telling, prefix))
        return outside(err);
    if (after && strcmp(prefix, after) <= 0 && !str_starts_with(after, prefix))
        return 0;
    return telling->page->each_prefix(telling->page->each_context, prefix, len, err);
}

int gs_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err)
{
    _cleanup_(str_deinitp) struct str body = STR_INIT;
    struct telling telling = {.page = page, .prefix_len = strlen(page->prefix)};
    const struct gs_page_each each = {.item = on_item, .prefix = page->divides ? on_prefix : NULL, .context = &telling};
    struct gs_place place;
    if (gs_place_find(call->context->class, arena, &place, err) != 0 ||
        page_ask(call, page_url(&place, page, arena), arena, &body, err) != 0)
        return -1;
    return gs_page_read(&body, &each, arena, next, err);
}
