/* Inputs of many files: listed, proved, planned, brought, pinned. */
#include "bucket_fixture.h"

static void expect_files(const struct run *run, size_t input, const char *const *paths, size_t count)
{
    expect_done(run);
    const struct fill_input_result *result = &run->result.inputs[input];
    assert_int_equal(result->list.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct snapshot_file *file = &result->list.files[i];
        assert_string_equal(file->path, paths[i]);
        expect_content(run->store, file->object, run->fixture->data, file->size);
    }
}

static const char *const train[] = {"a.csv", "b.txt", "deep/c.csv", "empty"};
static const char *const tables[] = {"a.csv", "deep/c.csv"};
#define TRAIN_BYTES (100 + PART + 1 + 300)

/* row 37: one list and one read; what is missing is brought once; warm, nothing leaves the source and one look at the store is enough. */
static void test_cold_then_warm(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    fixture->class.answer_ttl_s = 0;
    struct run *cold = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/ -> data/");
    expect_files(cold, 0, train, 4);
    assert_string_equal(cold->result.inputs[0].place, "data");
    assert_false(cold->result.inputs[0].is_file);
    assert_int_equal(cold->result.inputs[0].bytes_missed, TRAIN_BYTES);
    assert_int_equal(cold->progress.bytes_fetched, TRAIN_BYTES);
    assert_int_equal(cold->progress.bytes_total, TRAIN_BYTES);
    assert_int_equal(cold->progress.bytes_done, TRAIN_BYTES);
    assert_int_equal(bucket.lists, 1);
    assert_int_equal(bucket.reads, 1);
    /* An object that is gone behind a mark is not missed: nobody looked for it. */
    assert_int_equal(store_object_quarantine(fixture->store, cold->result.inputs[0].list.files[0].object, &err), 0);
    struct run *warm = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/ -> data/");
    expect_done(warm);
    assert_string_equal(warm->result.inputs[0].snapshot, cold->result.inputs[0].snapshot);
    assert_int_equal(warm->result.inputs[0].bytes_hit, TRAIN_BYTES);
    assert_int_equal(warm->progress.bytes_fetched, 0);
    assert_int_equal(bucket.lists, 2);
    assert_int_equal(bucket.reads, 2);
    run_end(cold);
    run_end(warm);
}

/* Objects are shared between prefixes, globs and single inputs; a plan counts each once. */
static void test_overlapping_inputs(void **state)
{
    struct fixture *fixture = *state;
    struct run *run = fill_as(fixture, BUCKET_GOOD,
                              "s3://bucket/train/ -> all/\ns3://bucket/train/**/*.csv -> tables/\n"
                              "s3://bucket/train/a.csv -> one.csv\n");
    expect_files(run, 0, train, 4);
    expect_files(run, 1, tables, 2);
    expect_input(run, 2, fixture->data, 100);
    assert_int_equal(run->progress.bytes_fetched, TRAIN_BYTES);
    assert_string_equal(run->result.inputs[2].list.files[0].object, run->result.inputs[0].list.files[0].object);
    expect_objects(fixture, 4);
    run_end(run);
}

/* The class's limits hold for the sum of all inputs, before the first byte. */
static void test_limits(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *inputs;
        uint64_t max_files, max_bytes;
        bool fits;
    } rows[] = {
        {"s3://bucket/train/ -> d/", 4, 0, true},
        {"s3://bucket/train/ -> d/", 3, 0, false},
        {"s3://bucket/train/ -> d/", 0, TRAIN_BYTES, true},
        {"s3://bucket/train/ -> d/", 0, TRAIN_BYTES - 1, false},
        {"s3://bucket/train/ -> d/\ns3://bucket/other/ -> e/", 4, 0, false},
        {"s3://bucket/train/ -> d/\ns3://bucket/other/x -> e", 4, 0, false},
        {"s3://bucket/train/ -> d/\ns3://bucket/other/ -> e/", 0, TRAIN_BYTES + 9, false},
        {"s3://bucket/train/ -> d/\ns3://bucket/other/ -> e/", 5, TRAIN_BYTES + 10, true},
    };
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            if (rows[i].fits != (pass == 1))
                continue; /* the refused ones first, on an empty store */
            struct run *run = run_of(fixture, BUCKET_GOOD, rows[i].inputs);
            run->max_files = rows[i].max_files;
            run->max_bytes = rows[i].max_bytes;
            run_fill(run);
            if (rows[i].fits)
                expect_done(run);
            else
                expect_error(run, ERR_EXHAUSTED, "");
            assert_true(rows[i].fits || run->progress.bytes_fetched == 0);
            run_end(run);
        }
        if (pass == 0)
            expect_objects(fixture, 0);
    }
}

/* rows 58, 59: one file of many changes between the list and its bytes: the list is asked for anew. */
static void test_changed_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    bucket_put(fixture, (struct bucket_key){.key = "train/b.txt", .etag = "\"b1\"", .size = PART + 1});
    origin_add(
        fixture->origin,
        &(struct origin_object){.path = "/train/b.txt", .data = fixture->other, .size = PART + 1, .etag = "\"b2\""});
    bucket.changed_key = "train/b.txt";
    bucket.changed_etag = "\"b2\"";
    bucket.change_after = 1;
    struct run *run = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/ -> data/");
    expect_done(run);
    const struct snapshot_file *file = &run->result.inputs[0].list.files[1];
    assert_string_equal(file->validator, "etag:\"b2\"");
    expect_content(fixture->store, file->object, fixture->other, PART + 1);
    assert_int_equal(bucket.lists, 2);
    assert_int_equal(origin_seen(fixture->origin, "/train/a.csv").bytes, 100);
    run_end(run);
}

static void test_changes_for_ever(void **state)
{
    struct fixture *fixture = *state;
    origin_add(
        fixture->origin,
        &(struct origin_object){.path = "/train/b.txt", .data = fixture->other, .size = PART + 1, .etag = "\"other\""});
    struct run *run = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/b* -> data/");
    assert_int_equal(run->outcome, -1);
    assert_true(bucket.lists <= 8);
    run_end(run);
}

/* Pins of prefixes: what an earlier run saw, of this input, as this requester may see it. */
static void test_pins(void **state)
{
    struct fixture *fixture = *state;
    char text[256];
    fixture->class.answer_ttl_s = 0;
    struct run *first = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/ -> d/\ns3://bucket/train/* -> e/");
    expect_done(first);
    const char *all = first->result.inputs[0].snapshot;
    bucket_put(fixture,
               (struct bucket_key){.key = "train/a.csv", .etag = "\"a2\"", .size = 200, .data = fixture->other});
    static const struct {
        const char *key, *input;
        enum authorize_rule rule;
        enum err_code code; /* ERR_NONE: served */
    } rows[] = {
        {BUCKET_GOOD, "s3://bucket/train/ -> d/", AUTHORIZE_PREFIX, ERR_NONE},
        {BUCKET_GOOD, "s3://bucket/train/ -> d/", AUTHORIZE_OBJECT, ERR_NONE},
        {BUCKET_GOOD, "s3://bucket/train/** -> d/", AUTHORIZE_PREFIX, ERR_NONE},
        {BUCKET_GOOD, "s3://bucket/train/*.csv -> d/", AUTHORIZE_PREFIX,
         ERR_DENIED}, /* names less than the pin holds */
        {BUCKET_GOOD, "s3://bucket/train/deep/ -> d/", AUTHORIZE_PREFIX, ERR_DENIED},
        {BUCKET_GOOD, "s3://bucket/other/ -> d/", AUTHORIZE_PREFIX, ERR_DENIED},
        {"wrong", "s3://bucket/train/ -> d/", AUTHORIZE_PREFIX, ERR_DENIED},
        {NULL, "s3://bucket/train/ -> d/", AUTHORIZE_PREFIX, ERR_DENIED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture->class.authorize = rows[i].rule;
        snprintf(text, sizeof(text), "%s snapshot=%s", rows[i].input, all);
        struct run *run = fill_as(fixture, rows[i].key, text);
        if (rows[i].code == ERR_NONE) {
            expect_files(run, 0, train, 4);
            assert_string_equal(run->result.inputs[0].snapshot, all);
        } else {
            expect_error(run, rows[i].code, "input 1 (");
        }
        run_end(run);
    }
    run_end(first);
}

/* "authorize: object": a key that is no longer there can be proved to nobody. */
static void test_pin_of_a_key_that_has_gone(void **state)
{
    struct fixture *fixture = *state;
    char text[256];
    fixture->class.answer_ttl_s = 0;
    struct run *first = fill_as(fixture, BUCKET_GOOD, "s3://bucket/train/ -> d/");
    expect_done(first);
    snprintf(text, sizeof(text), "s3://bucket/train/ -> d/ snapshot=%s", first->result.inputs[0].snapshot);
    bucket.count--; /* train/empty */
    expect_served(fixture, BUCKET_GOOD, text);
    fixture->class.authorize = AUTHORIZE_OBJECT;
    struct run *refused = fill_as(fixture, BUCKET_GOOD, text);
    expect_error(refused, ERR_DENIED, "is not one of this input");
    run_end(first);
    run_end(refused);
}

static void test_copy(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    _cleanup_(store_freep) struct store *local = fixture_store(fixture, "local");
    struct run *run = run_of(fixture, BUCKET_GOOD, "s3://bucket/train/ -> d/");
    run->local = local;
    run_fill(run);
    expect_done(run);
    for (size_t i = 0; i < 4; i++) {
        const struct snapshot_file *file = &run->result.inputs[0].list.files[i];
        expect_content(local, file->object, fixture->data, file->size);
    }
    assert_int_equal(store_snapshot_find(local, run->result.inputs[0].snapshot, &err), 1);
    run_end(run);
}

static void test_nothing_there(void **state)
{
    struct fixture *fixture = *state;
    expect_refused(fixture, BUCKET_GOOD, "s3://bucket/none/ -> d/", ERR_NOT_FOUND);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, bucket_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cold_then_warm),
        TEST(test_overlapping_inputs),
        TEST(test_limits),
        TEST(test_changed_meanwhile),
        TEST(test_changes_for_ever),
        TEST(test_pins),
        TEST(test_pin_of_a_key_that_has_gone),
        TEST(test_copy),
        TEST(test_nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
