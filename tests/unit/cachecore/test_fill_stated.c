/* What the source states about an object's bytes is checked before the object appears (row 61, for the source's own words). */
#include "cachecore/base64.h"
#include "fill_expect.h"

/* Headers that state something of data, which may be other bytes than those that are served. */
static const char *stated(struct arena *arena, const char *kind, const unsigned char *data, size_t size)
{
    uint8_t bytes[SHA256_LEN];
    uint64_t crc = strcmp(kind, "crc32c") == 0 ? crc32c(0, data, size) : crc64nvme(0, data, size);
    size_t len = strcmp(kind, "crc32c") == 0 ? 4 : 8;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(crc >> (8 * (len - 1 - i)));
    if (strcmp(kind, "md5") == 0) {
        digest_md5(data, size, bytes);
        return arena_printf(arena, "x-ms-blob-content-md5: %s\r\n", base64_encode(arena, bytes, MD5_LEN));
    }
    if (strcmp(kind, "sha256") == 0) {
        digest_sha256(data, size, bytes);
        return arena_printf(arena, "Repr-Digest: sha-256=:%s:\r\n", base64_encode(arena, bytes, SHA256_LEN));
    }
    return arena_printf(arena, "x-amz-checksum-%s: %s\r\n", kind, base64_encode(arena, bytes, len));
}

static const struct {
    const char *kind;
    size_t size;
    bool is_stream;
    bool is_checked; /* serial digests of large objects are not */
} rows[] = {
    {"crc32c", SIZE, false, true},   {"crc64nvme", SIZE, false, true}, {"crc32c", SIZE, true, true},
    {"crc64nvme", SIZE, true, true}, {"crc32c", 100, false, true},     {"crc64nvme", 100, false, true},
    {"md5", 100, false, true},       {"sha256", 100, false, true},     {"md5", PART, true, true},
    {"sha256", PART, false, true},   {"md5", SIZE, false, false},      {"sha256", SIZE, true, false},
};

static struct run *fill(struct fixture *fixture, const char *text)
{
    struct run *run = run_new(fixture, text);
    run_fill(run);
    return run;
}

static void row_serve(struct fixture *fixture, size_t i, const char *headers, int wrong_count)
{
    serve(fixture, (struct origin_object){.path = "/x",
                                          .size = rows[i].size,
                                          .etag = rows[i].is_stream ? NULL : "\"v1\"",
                                          .headers = headers,
                                          .wrong_count = wrong_count});
}

/* Nobody's bytes are those stated: asked for once more past caches, and then nothing is kept. */
static void row_is_refused(struct fixture *fixture, size_t i)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    row_serve(fixture, i, stated(arena, rows[i].kind, fixture->other, rows[i].size), 0);
    struct run *run = fill(fixture, "@/x");
    if (!rows[i].is_checked) {
        expect_done(run);
    } else {
        expect_error(run, ERR_PRECONDITION, rows[i].kind);
        assert_non_null(strstr(run->err.message, " expected "));
        assert_non_null(strstr(run->err.message, " got "));
        assert_int_equal(origin_seen(fixture->origin, "/x").bytes, 2 * rows[i].size);
        assert_true(origin_seen(fixture->origin, "/x").no_cache_gets > 0);
        assert_int_equal(incoming_count(fixture), 0);
        expect_objects(fixture, 0);
    }
    run_free(run);
}

/* A byte that was flipped on its way is mended by asking past caches. */
static void row_is_mended(struct fixture *fixture, size_t i)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    row_serve(fixture, i, stated(arena, rows[i].kind, fixture->data, rows[i].size), rows[i].is_checked);
    struct run *run = fill(fixture, "@/x");
    expect_input(run, 0, fixture->data, rows[i].size);
    assert_int_equal(origin_seen(fixture->origin, "/x").bytes, (rows[i].is_checked ? 2 : 1) * rows[i].size);
    run_free(run);
}

static void each_row(void (*run)(struct fixture *, size_t))
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *state = NULL;
        assert_int_equal(fixture_setup(&state), 0);
        run(state, i);
        assert_int_equal(fixture_teardown(&state), 0);
    }
}

static void test_refused(void **state)
{
    (void)state;
    each_row(row_is_refused);
}

static void test_mended(void **state)
{
    (void)state;
    each_row(row_is_mended);
}

/* What an earlier process brought has no CRC-64/NVME in its journal: those bytes are read, and only those. */
static void resume(struct fixture *fixture, const unsigned char *of, bool is_good)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct origin_object object = {.path = "/x", .etag = "\"v1\"", .hold = 1, .hold_after = 8};
    pthread_t thread;
    object.headers = stated(arena, "crc64nvme", of, SIZE);
    serve(fixture, object);
    struct run *first = run_new(fixture, "@/x");
    assert_int_equal(pthread_create(&thread, NULL, run_fill, first), 0);
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    while (atomic_load(&first->progress.bytes_fetched) < SIZE / 4 && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 2);
    atomic_store(&first->cancel, true);
    pthread_join(thread, NULL);
    origin_hold(fixture->origin, "/x", 0);
    struct run *second = run_new(fixture, "@/x");
    struct store *store = second->store = fixture_store(fixture, "store");
    struct engine *engine = second->engine = engine_new(&(struct engine_config){.transfers = 2, .part_size = PART});
    run_fill(second);
    if (is_good)
        expect_input(second, 0, fixture->data, SIZE);
    else
        expect_error(second, ERR_PRECONDITION, "crc64nvme expected ");
    assert_true(!is_good || second->progress.bytes_fetched < SIZE);
    run_free(first);
    run_free(second);
    store_free(store);
    engine_free(engine);
}

static void test_resumed(void **state)
{
    struct fixture *fixture = *state;
    resume(fixture, fixture->data, true);
}

static void test_resumed_and_refused(void **state)
{
    struct fixture *fixture = *state;
    resume(fixture, fixture->other, false);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_mended),
        TEST(test_resumed),
        TEST(test_resumed_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
