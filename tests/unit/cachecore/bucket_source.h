/*
 * A source of the test's own in the place of the S3 one: a bucket in memory that counts what it is asked, lets in whom it is told to, and can
 * be silent. Bytes come from the fixture's origin.
 */
#pragma once

#include "cachecore/source_list.h"
#include "fill_expect.h"

#define BUCKET_KEYS 64u
#define BUCKET_GOOD "good" /* the access key that may do everything */

static struct {
    unsigned port;
    struct bucket_key {
        const char *key, *etag;
        const unsigned char *data;
        size_t size;
        bool is_closed; /* may be listed, not read */
    } keys[BUCKET_KEYS];
    size_t count;
    char paths[2 * BUCKET_KEYS][128]; /* the origin's, as long as it lives */
    size_t paths_count;
    atomic_uint lists, reads, resolves; /* questions, of first bytes and of objects by name */
    atomic_bool is_silent, is_held;
    const char *authority;
    /* After so many lists this key has this ETag. */
    unsigned change_after;
    const char *changed_key, *changed_etag;
} bucket;

static bool bucket_knows(const struct source_call *call)
{
    return call->credentials->kind == CREDENTIALS_AWS &&
           strcmp(secret_reveal(call->credentials->access_key_id), BUCKET_GOOD) == 0;
}

static int bucket_let_in(const struct source_call *call, struct err *err)
{
    while (atomic_load(&bucket.is_held))
        poll(NULL, 0, 2);
    if (atomic_load(&bucket.is_silent))
        return err_set(err, ERR_UNAVAILABLE, "the bucket does not answer");
    return bucket_knows(call) ? 0 : err_set(err, ERR_DENIED, "HTTP 403: the bucket does not know you");
}

static const struct bucket_key *bucket_find(const char *key, size_t len)
{
    for (size_t i = 0; i < bucket.count; i++) {
        if (strlen(bucket.keys[i].key) == len && memcmp(bucket.keys[i].key, key, len) == 0)
            return &bucket.keys[i];
    }
    return NULL;
}

static int bucket_member(const struct source_call *call, const struct url *url, const struct source_entry *entry,
                         struct arena *arena, struct source_object *out, struct err *err)
{
    (void)err;
    const char *key = arena_strndup(arena, entry->key, entry->key_len);
    const struct bucket_key *known = bucket_find(key, entry->key_len);
    const char *path = !bucket_knows(call) || (known && known->is_closed) ? "denied" : key;
    unsigned port = atomic_load(&bucket.is_silent) ? 1 : bucket.port;
    *out = (struct source_object){
        .kind = "s3",
        .authority = bucket.authority,
        .canonical = arena_printf(arena, "s3://%s/%s", url->host, key),
        .display = arena_printf(arena, "s3://%s/%s", url->host, key),
        .request_url = arena_printf(arena, "http://127.0.0.1:%u/%s", port, path),
        .validator = arena_strdup(arena, entry->validator),
        .validator_is_strong = true,
        .etag = arena_strdup(arena, entry->validator + strlen("etag:")),
        .size = entry->size,
        .size_is_known = true,
        .ranges = true,
        .mtime_s = entry->mtime_s,
    };
    return 0;
}

static int bucket_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                          struct source_object *out, struct err *err)
{
    size_t len;
    atomic_fetch_add(&bucket.resolves, 1);
    const char *key = url_key(arena, url, &len, err);
    if (!key || bucket_let_in(call, err) != 0)
        return -1;
    const struct bucket_key *known = bucket_find(key, len);
    if (!known)
        return err_set(err, ERR_NOT_FOUND, "HTTP 404: no such object");
    if (known->is_closed)
        return err_set(err, ERR_DENIED, "HTTP 403: not this object");
    const struct source_entry entry = {.key = key,
                                       .key_len = len,
                                       .size = known->size,
                                       .mtime_s = 1000,
                                       .validator = arena_printf(arena, "etag:%s", known->etag)};
    return bucket_member(call, url, &entry, arena, out, err);
}

static const char *bucket_etag(const struct bucket_key *key)
{
    bool is_changed = bucket.changed_key && strcmp(key->key, bucket.changed_key) == 0 &&
                      atomic_load(&bucket.lists) > bucket.change_after;
    return is_changed ? bucket.changed_etag : key->etag;
}

/* Keys stand in order; all on one page. */
static int bucket_list(const struct source_call *call, const struct source_page *page, struct arena *arena,
                       const char **next, struct err *err)
{
    atomic_fetch_add(&bucket.lists, 1);
    *next = NULL;
    if (bucket_let_in(call, err) != 0)
        return -1;
    for (size_t i = 0; i < bucket.count; i++) {
        const struct bucket_key *key = &bucket.keys[i];
        if (!str_starts_with(key->key, page->prefix) || (page->after && strcmp(key->key, page->after) <= 0))
            continue;
        const struct source_entry entry = {.key = key->key,
                                           .key_len = strlen(key->key),
                                           .size = key->size,
                                           .mtime_s = 1000,
                                           .validator = arena_printf(arena, "etag:%s", bucket_etag(key))};
        if (page->each(page->each_context, &entry, err) != 0)
            return -1;
    }
    return 0;
}

static int bucket_authorize(const struct source_call *call, const struct source_object *object,
                            const struct source_range *range, struct arena *arena, struct http_request *out,
                            struct err *err)
{
    struct http_header *headers = arena_calloc(arena, 2, sizeof(*headers));
    size_t count = 0;
    (void)call;
    (void)err;
    if (range->len == 1 && range->offset == 0)
        atomic_fetch_add(&bucket.reads, 1);
    if (range->len > 0)
        headers[count++] =
            (struct http_header){"Range",
                                 arena_printf(arena, "bytes=%llu-%llu", (unsigned long long)range->offset,
                                              (unsigned long long)(range->offset + range->len - 1)),
                                 false};
    headers[count++] = (struct http_header){"If-Match", object->etag, false};
    *out = (struct http_request){.method = "GET",
                                 .url = object->request_url,
                                 .display = object->display,
                                 .headers = headers,
                                 .header_count = count,
                                 .body_max = range->len > 0 ? range->len : object->size};
    return 0;
}

static const char *const bucket_schemes[] = {"s3", NULL};
const struct source source_s3 = {.kind = "s3",
                                 .schemes = bucket_schemes,
                                 .chain = &credential_chain_aws,
                                 .resolve = bucket_resolve,
                                 .list = bucket_list,
                                 .member = bucket_member,
                                 .authorize = bucket_authorize};
