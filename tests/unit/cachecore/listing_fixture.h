/* A bucket in memory, served page by page as a source would: for tests of listings. */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/listing_internal.h"

struct bucket_key {
    const char *key;
    uint64_t size;
    bool is_archived;
};

static struct {
    struct bucket_key *keys; /* sorted */
    size_t count;
    size_t page_size;
    unsigned page_ms;          /* how long each page takes */
    unsigned empty_pages;      /* so many of ten have nothing but a token */
    bool repeats_token;        /* the same again and again */
    bool unordered;            /* each page backwards */
    bool strays;               /* a key from outside the prefix */
    atomic_uint fails;         /* so many pages fail half way, and may be tried again */
    atomic_uint busy, busiest; /* pages at a time */
    atomic_uint deepest;       /* pages that had to wait for each other */
    atomic_uint pages;         /* that were asked for */
} bucket;

static int fake_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    (void)request, (void)err;
    *out = credentials_new(CREDENTIALS_NONE, "no credentials");
    return 0;
}

static inline int bucket_compare(const void *a, const void *b)
{
    return strcmp(((const struct bucket_key *)a)->key, ((const struct bucket_key *)b)->key);
}

/* The first key that is greater than text. */
static inline size_t bucket_behind(const char *text)
{
    size_t low = 0, high = bucket.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(bucket.keys[middle].key, text) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline size_t bucket_start(const struct source_page *page)
{
    if (page->token)
        return strtoull(page->token, NULL, 10); /* "position/number/pages before" */
    size_t at = bucket_behind(page->prefix);
    if (at > 0 && strcmp(bucket.keys[at - 1].key, page->prefix) == 0)
        at--;
    return page->after && bucket_behind(page->after) > at ? bucket_behind(page->after) : at;
}

static inline int bucket_tell(const struct source_page *page, const struct bucket_key *key, struct err *err)
{
    const struct source_entry entry = {.key = key->key,
                                       .key_len = strlen(key->key),
                                       .size = key->size,
                                       .mtime_s = 1700000000,
                                       .validator = "etag:\"e\"",
                                       .is_archived = key->is_archived};
    return page->each(page->each_context, &entry, err);
}

/* A key, or the directory that it is in. Returns where to go on. */
static inline size_t bucket_step(const struct source_page *page, size_t at, struct err *err, int *result)
{
    const char *key = bucket.keys[at].key;
    const char *slash = page->divides ? strchr(key + strlen(page->prefix), '/') : NULL;
    if (!slash) {
        *result = bucket_tell(page, &bucket.keys[at], err);
        return at + 1;
    }
    size_t len = (size_t)(slash - key) + 1;
    *result = page->each_prefix ? page->each_prefix(page->each_context, key, len, err) : 0;
    for (at++; at < bucket.count && strncmp(bucket.keys[at].key, key, len) == 0;)
        at++;
    return at;
}

static inline void bucket_wait(void)
{
    unsigned busy = atomic_fetch_add(&bucket.busy, 1) + 1;
    bucket.busiest = busy > bucket.busiest ? busy : bucket.busiest; /* near enough */
    if (bucket.page_ms > 0)                                         /* the server's time, not ours */
        nanosleep(&(struct timespec){.tv_nsec = bucket.page_ms * 1000000L}, NULL);
    atomic_fetch_sub(&bucket.busy, 1);
}

static inline bool bucket_fails(void)
{
    if (bucket.fails == 0) /* only where pages come one after the other */
        return false;
    bucket.fails--;
    return true;
}

static int fake_list(const struct source_call *call, const struct source_page *page, struct arena *arena,
                     const char **next, struct err *err)
{
    size_t at = bucket_start(page);
    size_t left = page->count_max > 0 && page->count_max < bucket.page_size ? page->count_max : bucket.page_size;
    unsigned number = atomic_fetch_add(&bucket.pages, 1);
    bool fails = bucket_fails();
    unsigned depth = page->token && strrchr(page->token, '/') ? (unsigned)atoi(strrchr(page->token, '/') + 1) + 1 : 1;
    bucket.deepest = depth > bucket.deepest ? depth : bucket.deepest;
    int result = 0;
    (void)call;
    bucket_wait();
    if (number % 10 < bucket.empty_pages)
        left = 0;
    size_t stop = at + left;
    for (size_t i = stop; bucket.unordered && result == 0 && i > at; i--)
        result = i <= bucket.count ? bucket_tell(page, &bucket.keys[i - 1], err) : 0;
    if (bucket.unordered)
        at = stop < bucket.count ? stop : bucket.count;
    for (; result == 0 && left > 0 && at < bucket.count && !bucket.unordered; left--) {
        if (strncmp(bucket.keys[at].key, page->prefix, strlen(page->prefix)) != 0 && !bucket.strays)
            break;
        if (fails && left == 1)
            return err_set(err, ERR_UNAVAILABLE, "HTTP 503: cut");
        at = bucket_step(page, at, err, &result);
    }
    bool more = at < bucket.count && strncmp(bucket.keys[at].key, page->prefix, strlen(page->prefix)) == 0;
    if (result == 0)
        *next = bucket.repeats_token ? "7" : more ? arena_printf(arena, "%zu/%u/%u", at, number, depth) : NULL;
    return result;
}

static const struct credential_chain fake_chain = {.name = "fake", .find = fake_find};
static const char *const fake_schemes[] = {"s3", NULL};
static const struct source fake_source = {
    .kind = "s3", .schemes = fake_schemes, .chain = &fake_chain, .after_works = true, .list = fake_list};
static const struct source fake_source_serial = {
    .kind = "s3", .schemes = fake_schemes, .chain = &fake_chain, .list = fake_list};

/* Keys in any order. */
static inline void bucket_fill(struct bucket_key *keys, size_t count)
{
    memset(&bucket, 0, sizeof(bucket));
    bucket.keys = keys;
    bucket.count = count;
    bucket.page_size = 1000;
    qsort(keys, count, sizeof(*keys), bucket_compare);
}

struct listing_bench {
    struct arena *arena;
    struct pool *pool;
    struct class class;
    struct source_context context;
    struct url url;
    struct listing_request request;
    atomic_bool cancel;
};

static inline void listing_bench_init(struct listing_bench *bench)
{
    *bench = (struct listing_bench){.arena = arena_new(), .pool = pool_new(8)};
    class_default(&bench->class);
    bench->context = (struct source_context){.class = &bench->class,
                                             .identity = identity_new(&(struct identity_facts){.namespace = NULL},
                                                                      &(struct secret_map)SECRET_MAP_INIT, NULL),
                                             .volume = "vol"};
    bench->request = (struct listing_request){.source = &fake_source,
                                              .context = &bench->context,
                                              .url = &bench->url,
                                              .max_files = 1000000,
                                              .deadline_ms = clock_monotonic_ms() + 60000,
                                              .cancel = &bench->cancel};
}

static inline void listing_bench_deinit(struct listing_bench *bench)
{
    pool_free(bench->pool);
    identity_free(bench->context.identity);
    arena_free(bench->arena);
}

static inline int listing_bench_run(struct listing_bench *bench, const char *url, struct listing *out, struct err *err)
{
    if (url_parse(bench->arena, url, strlen(url), &bench->url, err) != 0)
        return -1;
    return listing_run(bench->pool, &bench->request, bench->arena, out, err);
}
