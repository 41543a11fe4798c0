/* Listings of a bucket: ListObjectsV2 (Amazon S3 API reference). */
#include <string.h>

#include "base/clock.h"
#include "cachecore/source_s3.h"
#include "cachecore/source_s3_page.h"
#include "cachecore/url_text.h"

#define PAGE_BYTES_MAX (UINT64_C(32) << 20)
#define QUERY_MAX 8u

struct asking {
    const struct source_call *call;
    const struct source_page *page;
    struct arena *arena;
    struct s3_page *answer;
    const char *next;
};

static size_t query_make(const struct source_page *page, struct arena *arena, struct sigv4_pair *out)
{
    unsigned keys = page->count_max > 0 && page->count_max < S3_PAGE_KEYS_MAX ? page->count_max : S3_PAGE_KEYS_MAX;
    size_t count = 0;
    out[count++] = (struct sigv4_pair){"list-type", "2"};
    out[count++] = (struct sigv4_pair){"encoding-type", "url"};
    out[count++] = (struct sigv4_pair){"max-keys", arena_printf(arena, "%u", keys)};
    out[count++] = (struct sigv4_pair){"prefix", page->prefix};
    if (page->divides)
        out[count++] = (struct sigv4_pair){"delimiter", "/"};
    if (page->token)
        out[count++] = (struct sigv4_pair){"continuation-token", page->token};
    else if (page->after)
        out[count++] = (struct sigv4_pair){"start-after", page->after};
    return count;
}

static int on_body(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    struct asking *asking = context;
    return response->status == 200 && len > 0 ? s3_page_feed(asking->answer, data, len, err) : 0;
}

/* Amazon says of archived objects whether they were restored, if asked; others may not know the header. */
static size_t headers_make(const struct asking *asking, const struct s3_request *request, struct http_header *headers)
{
    size_t count = 0;
    if (!asking->call->context->class->s3_endpoint)
        headers[count++] = (struct http_header){"x-amz-optional-object-attributes", "RestoreStatus", false};
    return s3_sign(asking->call->credentials, request, asking->arena, headers, count);
}

static int page_get(struct asking *asking, const struct s3_place *place, struct http_response *response,
                    struct err *err)
{
    struct sigv4_pair query[QUERY_MAX];
    struct http_header headers[S3_HEADERS_MAX];
    struct s3_request what = {.method = "GET", .query = query, .region = place->region, .now_s = clock_wall_s()};
    what.query_count = query_make(asking->page, asking->arena, query);
    what.url = arena_printf(asking->arena, "%s/?%s", place->base, sigv4_query(asking->arena, query, what.query_count));
    const struct http_request request = {.method = "GET",
                                         .url = what.url,
                                         .display = asking->page->url->display,
                                         .headers = headers,
                                         .header_count = headers_make(asking, &what, headers),
                                         .body_max = PAGE_BYTES_MAX,
                                         .no_redirects = true};
    if (http_perform(asking->call->http, &request, on_body, asking, response, asking->call->cancel, err) != 0)
        return -1;
    if (response->status == 200)
        return 0;
    source_status_error(response, asking->page->url->display, err);
    return err->code == ERR_DENIED ? err_prefix(err, "listing the bucket, which needs s3:ListBucket") : -1;
}

static int list_in_region(void *context, const char *region, struct http_response *response, struct err *err)
{
    struct asking *asking = context;
    struct s3_place place;
    response->status = 0;
    if (s3_place_find(asking->call->context, asking->page->url, region, asking->arena, &place, err) != 0)
        return -1;
    return page_get(asking, &place, response, err);
}

int s3_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err)
{
    _cleanup_(s3_page_freep) struct s3_page *answer = s3_page_new();
    struct asking asking = {.call = call, .page = page, .arena = arena, .answer = answer};
    if (s3_ask_in_region(call, page->url, list_in_region, &asking, err) != 0)
        return -1;
    return s3_page_finish(answer, page, arena, next, err);
}

int s3_member(const struct source_call *call, const struct url *url, const struct source_entry *entry,
              struct arena *arena, struct source_object *out, struct err *err)
{
    struct s3_place place;
    char region[S3_REGION_MAX + 1];
    s3_region_now(call, url, region);
    if (s3_place_find(call->context, url, region, arena, &place, err) != 0)
        return -1;
    const char *canonical = url_of_key(arena, url, entry->key, entry->key_len);
    const struct s3_key key = {.key = entry->key, .len = entry->key_len, .canonical = canonical, .display = canonical};
    if (s3_object_make(&place, &key, arena, out, err) != 0)
        return -1;
    out->validator = arena_strdup(arena, entry->validator);
    out->validator_is_strong = true;
    out->etag = out->validator + strlen("etag:");
    out->size = entry->size;
    out->size_is_known = true;
    out->ranges = true;
    out->mtime_s = entry->mtime_s;
    out->mtime_ns = entry->mtime_ns;
    return 0;
}
