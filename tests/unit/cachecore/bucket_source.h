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

/* --- what tests say to it --- */

static void bucket_put(const struct fixture *fixture, struct bucket_key key)
{
    assert_true(bucket.paths_count < 2 * BUCKET_KEYS);
    char *path = bucket.paths[bucket.paths_count++];
    assert_true((size_t)snprintf(path, sizeof(bucket.paths[0]), "/%s", key.key) < sizeof(bucket.paths[0]));
    if (!key.data)
        key.data = fixture->data;
    origin_add(fixture->origin,
               &(struct origin_object){.path = path, .data = key.data, .size = key.size, .etag = key.etag});
    for (size_t i = 0; i < bucket.count; i++) {
        if (strcmp(bucket.keys[i].key, key.key) == 0) {
            bucket.keys[i] = key;
            return;
        }
    }
    assert_true(bucket.count < BUCKET_KEYS);
    bucket.keys[bucket.count++] = key;
}

static void bucket_reset(const struct fixture *fixture)
{
    memset(&bucket, 0, sizeof(bucket));
    bucket.port = fixture->origin->port;
    bucket.authority = "bucket.example.com:443";
    origin_add(fixture->origin, &(struct origin_object){.path = "/denied", .status = 403});
    bucket_put(fixture, (struct bucket_key){.key = "other/x", .etag = "\"ox\"", .size = 10});
    bucket_put(fixture, (struct bucket_key){.key = "train/a.csv", .etag = "\"a1\"", .size = 100});
    bucket_put(fixture, (struct bucket_key){.key = "train/b.txt", .etag = "\"b1\"", .size = PART + 1});
    bucket_put(fixture, (struct bucket_key){.key = "train/deep/c.csv", .etag = "\"c1\"", .size = 300});
    bucket_put(fixture, (struct bucket_key){.key = "train/empty", .etag = "\"e1\"", .size = 0});
}

static int bucket_setup(void **state)
{
    int result = fixture_setup(state);
    struct fixture *fixture = *state;
    fixture->class.answer_ttl_s = 60;
    bucket_reset(fixture);
    return result;
}

/* As the holder of this access key; NULL: as nobody. */
static struct run *run_of(struct fixture *fixture, const char *key, const char *text)
{
    struct run *run = run_new(fixture, text);
    if (key) {
        struct secret_map *secrets = calloc(1, sizeof(*secrets));
        assert_non_null(secrets);
        secret_map_add(secrets, "AWS_ACCESS_KEY_ID", key, strlen(key));
        secret_map_add(secrets, "AWS_SECRET_ACCESS_KEY", "secret", 6);
        run->secrets = secrets;
    }
    return run;
}

static struct run *fill_as(struct fixture *fixture, const char *key, const char *text)
{
    struct run *run = run_of(fixture, key, text);
    run_fill(run);
    return run;
}

static void run_end(struct run *run)
{
    struct secret_map *secrets = (struct secret_map *)(uintptr_t)run->secrets;
    if (secrets)
        secret_map_deinit(secrets);
    free(secrets);
    run_free(run);
}

static inline void expect_refused(struct fixture *fixture, const char *key, const char *text, enum err_code code)
{
    struct run *run = fill_as(fixture, key, text);
    expect_error(run, code, "input 1 (");
    assert_int_equal(run->opened, 0); /* the store is not even looked at */
    run_end(run);
}

static inline void expect_served(struct fixture *fixture, const char *key, const char *text)
{
    struct run *run = fill_as(fixture, key, text);
    expect_done(run);
    run_end(run);
}
