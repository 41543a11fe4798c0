/* What tests say to the bucket of bucket_source.h, and fills of one identity or another. */
#pragma once

#include "bucket_source.h"

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
