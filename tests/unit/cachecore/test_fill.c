#include "fill_expect.h"

#define SHA256_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct run *fill(struct fixture *fixture, const char *text)
{
    struct run *run = run_new(fixture, text);
    run_fill(run);
    return run;
}

/* row 96: cold, every byte leaves the source once, in parts; warm, none does. */
static void test_cold_then_warm(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\""});
    struct run *cold = fill(fixture, "@/big -> data/big.bin");
    expect_input(cold, 0, fixture->data, SIZE);
    assert_string_equal(cold->result.inputs[0].place, "data/big.bin");
    assert_true(cold->result.inputs[0].is_file);
    assert_int_equal(cold->result.inputs[0].bytes_missed, SIZE);
    assert_string_equal(cold->result.inputs[0].list.files[0].path, "big");
    assert_int_equal(cold->progress.bytes_done, SIZE);
    assert_int_equal(cold->progress.bytes_total, SIZE);
    assert_int_equal(cold->progress.bytes_fetched, SIZE);
    assert_int_equal(cold->progress.stage, FILL_DONE);
    struct origin_object seen = origin_seen(fixture->origin, "/big");
    assert_int_equal(seen.bytes, SIZE);
    assert_int_equal(seen.gets, SIZE / PART);
    struct run *warm = fill(fixture, "@/big -> data/big.bin");
    expect_input(warm, 0, fixture->data, SIZE);
    assert_string_equal(warm->result.inputs[0].snapshot, cold->result.inputs[0].snapshot);
    assert_int_equal(warm->result.inputs[0].bytes_hit, SIZE);
    assert_int_equal(warm->result.inputs[0].bytes_missed, 0);
    assert_int_equal(origin_seen(fixture->origin, "/big").gets, SIZE / PART);
    assert_int_equal(incoming_count(fixture), 0);
    run_free(cold);
    run_free(warm);
}

static void test_many_inputs(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"a\"", .size = 100});
    serve(fixture, (struct origin_object){.path = "/b", .etag = "\"b\"", .size = PART + 1});
    serve(fixture, (struct origin_object){.path = "/empty", .etag = "\"e\"", .data = fixture->data});
    struct run *run = fill(fixture, "@/a\n@/b -> x/\n@/a -> copy/of/a\n@/empty sha256=" SHA256_EMPTY "\n");
    expect_input(run, 0, fixture->data, 100);
    expect_input(run, 1, fixture->data, PART + 1);
    expect_input(run, 2, fixture->data, 100);
    expect_input(run, 3, NULL, 0);
    assert_string_equal(run->result.inputs[1].place, "x/b");
    assert_string_equal(run->result.inputs[0].snapshot, run->result.inputs[2].snapshot);
    assert_int_equal(origin_seen(fixture->origin, "/a").gets, 1);
    expect_objects(fixture, 3);
    run_free(run);
}

static void hold_await(const struct fixture *fixture, struct run *run, uint64_t bytes)
{
    (void)fixture;
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    while (atomic_load(&run->progress.bytes_done) < bytes && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 5);
    assert_true(atomic_load(&run->progress.bytes_done) >= bytes);
}

/* rows 94, 96: fills that want the same object wait for one download, and see its progress. */
static void test_join(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 8 };
    struct run *runs[COUNT];
    pthread_t threads[COUNT];
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .hold = 1});
    for (size_t i = 0; i < COUNT; i++) {
        runs[i] = run_new(fixture, "@/big");
        assert_int_equal(pthread_create(&threads[i], NULL, run_fill, runs[i]), 0);
    }
    while (atomic_load(&runs[COUNT - 1]->progress.stage) != FILL_FETCHING)
        poll(NULL, 0, 5);
    origin_hold(fixture->origin, "/big", 0);
    uint64_t fetched = 0;
    for (size_t i = 0; i < COUNT; i++) {
        pthread_join(threads[i], NULL);
        expect_input(runs[i], 0, fixture->data, SIZE);
        assert_int_equal(runs[i]->progress.bytes_done, SIZE);
        fetched += runs[i]->progress.bytes_fetched;
        run_free(runs[i]);
    }
    assert_int_equal(origin_seen(fixture->origin, "/big").bytes, SIZE);
    assert_int_equal(fetched, SIZE);
}

/* row 100: the one who downloads is cancelled; the one who waited carries on from what is there. */
static void test_cancelled_owner_hands_over(void **state)
{
    struct fixture *fixture = *state;
    struct run *runs[2];
    pthread_t threads[2];
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .hold = 1});
    for (size_t i = 0; i < 2; i++) {
        runs[i] = run_new(fixture, "@/big");
        assert_int_equal(pthread_create(&threads[i], NULL, run_fill, runs[i]), 0);
        while (atomic_load(&runs[i]->progress.stage) != FILL_FETCHING)
            poll(NULL, 0, 5);
    }
    poll(NULL, 0, 50); /* the second joins; were it late it would begin anew, which is right too */
    atomic_store(&runs[0]->cancel, true);
    pthread_join(threads[0], NULL);
    expect_error(runs[0], ERR_CANCELLED, "cancelled");
    origin_hold(fixture->origin, "/big", 0);
    pthread_join(threads[1], NULL);
    expect_input(runs[1], 0, fixture->data, SIZE);
    run_free(runs[0]);
    run_free(runs[1]);
}

/* row 107: a fill whose source stalls with every part leaves threads to the others. */
static void test_stalled_fill_leaves_room(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    serve(fixture, (struct origin_object){.path = "/stalled", .etag = "\"v1\"", .hold = 1});
    serve(fixture, (struct origin_object){.path = "/other", .etag = "\"v1\""});
    struct run *stalled = run_new(fixture, "@/stalled");
    assert_int_equal(pthread_create(&thread, NULL, run_fill, stalled), 0);
    while (atomic_load(&stalled->progress.stage) != FILL_FETCHING)
        poll(NULL, 0, 5);
    struct run *other = fill(fixture, "@/other");
    expect_input(other, 0, fixture->data, SIZE);
    assert_int_equal(atomic_load(&stalled->progress.bytes_done), 0);
    origin_hold(fixture->origin, "/stalled", 0);
    pthread_join(thread, NULL);
    expect_input(stalled, 0, fixture->data, SIZE);
    run_free(stalled);
    run_free(other);
}

/* row 84: what is on disk when a fill ends early is not asked for again, by another process either (another engine and store). */
static void test_resume(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    struct run *first = run_new(fixture, "@/big");
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .hold = 1, .hold_after = 8});
    assert_int_equal(pthread_create(&thread, NULL, run_fill, first), 0);
    hold_await(fixture, first, SIZE / 4);
    atomic_store(&first->cancel, true);
    pthread_join(thread, NULL);
    expect_error(first, ERR_CANCELLED, "cancelled");
    assert_int_equal(incoming_count(fixture), 2);
    uint64_t before = first->progress.bytes_fetched;
    origin_hold(fixture->origin, "/big", 0);
    struct run *second = run_new(fixture, "@/big");
    second->store = fixture_store(fixture, "store");
    second->engine = engine_new(&(struct engine_config){.transfers = 2, .part_size = PART});
    run_fill(second);
    expect_input(second, 0, fixture->data, SIZE);
    assert_true(before >= SIZE / 4 && before < SIZE);
    assert_int_equal(before + second->progress.bytes_fetched, SIZE);
    struct store *store = second->store;
    struct engine *engine = second->engine;
    run_free(first);
    run_free(second);
    store_free(store);
    engine_free(engine);
}

static void test_list_in_an_object(void **state)
{
    struct fixture *fixture = *state;
    char *list = fixture_text(fixture, "@/a -> one # the first\n\n@/b\n");
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"a\"", .size = 100});
    serve(fixture, (struct origin_object){.path = "/b", .etag = "\"b\"", .size = 200});
    origin_add(
        fixture->origin,
        &(struct origin_object){.path = "/list", .data = (unsigned char *)list, .size = strlen(list), .etag = "\"l\""});
    struct run *run = run_new(fixture, "");
    run->inputs_from = fixture_text(fixture, "@/list");
    run_fill(run);
    expect_input(run, 0, fixture->data, 100);
    expect_input(run, 1, fixture->data, 200);
    assert_string_equal(run->result.inputs[0].place, "one");
    run_free(run);
    run = run_new(fixture, "");
    run->inputs_from = fixture_text(fixture, "@/none?token=canary");
    run_fill(run);
    expect_error(run, ERR_NOT_FOUND, "inputsFrom (http://127.0.0.1");
    assert_null(strstr(run->err.message, "canary"));
    run_free(run);
    free(list);
}

/* Pins: an input stays what an earlier run saw, and a snapshot's id alone grants nothing. */
static void test_pin(void **state)
{
    struct fixture *fixture = *state;
    char text[256];
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"v1\"", .size = 100});
    serve(fixture, (struct origin_object){.path = "/b", .etag = "\"b\"", .size = 300});
    struct run *first = fill(fixture, "@/a\n@/b");
    expect_done(first);
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"v2\"", .data = fixture->other, .size = 200});
    snprintf(text, sizeof(text), "@/a snapshot=%s", first->result.inputs[0].snapshot);
    struct run *pinned = fill(fixture, text);
    expect_input(pinned, 0, fixture->data, 100);
    struct run *now = fill(fixture, "@/a");
    expect_input(now, 0, fixture->other, 200);
    snprintf(text, sizeof(text), "@/a snapshot=%s", first->result.inputs[1].snapshot);
    struct run *foreign = fill(fixture, text);
    expect_error(foreign, ERR_DENIED, "is not one of this input");
    struct run *gone = fill(fixture, "@/a snapshot=" SHA256_EMPTY);
    expect_error(gone, ERR_NOT_FOUND, "no longer in the cache");
    serve(fixture, (struct origin_object){.path = "/a", .status = 403});
    snprintf(text, sizeof(text), "@/a snapshot=%s", first->result.inputs[0].snapshot);
    struct run *refused = fill(fixture, text);
    expect_error(refused, ERR_DENIED, "HTTP 403");
    struct run *all[] = {first, pinned, now, foreign, gone, refused};
    for (size_t i = 0; i < 6; i++)
        run_free(all[i]);
}

static void test_class_rules(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"a\"", .size = 100});
    struct run *files = run_new(fixture, "@/a\n@/a -> b\n");
    files->max_files = 1;
    run_fill(files);
    expect_error(files, ERR_EXHAUSTED, "2 files, its class allows 1");
    fixture->class.allowed_sources = "https://data.example.com/*";
    struct run *source = fill(fixture, "@/a");
    expect_error(source, ERR_DENIED, "does not allow this source");
    fixture->class.allowed_sources = NULL;
    fixture->class.allowed_addresses = NULL;
    struct run *address = fill(fixture, "@/a");
    expect_error(address, ERR_DENIED, "address not allowed");
    assert_int_equal(origin_seen(fixture->origin, "/a").gets, 0);
    struct run *all[] = {files, source, address};
    for (size_t i = 0; i < 3; i++)
        run_free(all[i]);
}

/* copy policy: the node's own store gets the objects and the snapshots; the second time nothing is copied. */
static void test_copy(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    _cleanup_(store_freep) struct store *local = fixture_store(fixture, "local");
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\""});
    struct run *run = run_new(fixture, "@/big");
    run->local = local;
    run_fill(run);
    expect_input(run, 0, fixture->data, SIZE);
    expect_content(local, run->result.inputs[0].list.files[0].object, fixture->data, SIZE);
    assert_int_equal(store_snapshot_find(local, run->result.inputs[0].snapshot, &err), 1);
    assert_int_equal(run->progress.bytes_total, SIZE);
    struct run *again = run_new(fixture, "@/big");
    again->local = local;
    run_fill(again);
    expect_done(again);
    assert_int_equal(again->progress.bytes_total, 0);
    run_free(run);
    run_free(again);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cold_then_warm),
        TEST(test_many_inputs),
        TEST(test_join),
        TEST(test_cancelled_owner_hands_over),
        TEST(test_resume),
        TEST(test_list_in_an_object),
        TEST(test_pin),
        TEST(test_class_rules),
        TEST(test_stalled_fill_leaves_room),
        TEST(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
