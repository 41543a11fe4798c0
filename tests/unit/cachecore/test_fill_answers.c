/* A hit is served only after the source said yes to this identity (rows 37 to 47): who is asked, when, and what an earlier answer is worth. */
#include "bucket_fixture.h"

#define PREFIX "s3://bucket/train/ -> d/"
#define ONE "s3://bucket/train/a.csv"

/* What A cached is A's: B without, with a wrong and with a good identity. The store is opened for nobody who is refused. */
static void test_refused_refused_served(void **state)
{
    struct fixture *fixture = *state;
    static const char *const inputs[] = {ONE, PREFIX};
    static const enum authorize_rule rules[] = {AUTHORIZE_PREFIX, AUTHORIZE_OBJECT};
    for (size_t rule = 0; rule < 2; rule++) {
        fixture->class.authorize = rules[rule];
        for (size_t i = 0; i < 2; i++) {
            expect_served(fixture, BUCKET_GOOD, inputs[i]);
            expect_refused(fixture, NULL, inputs[i], ERR_DENIED);
            expect_refused(fixture, "wrong", inputs[i], ERR_DENIED);
            expect_served(fixture, BUCKET_GOOD, inputs[i]);
        }
    }
}

/* The rules differ where rights differ below a prefix: one read for all, or one for each. */
static void test_rules(void **state)
{
    struct fixture *fixture = *state;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    fixture->class.answer_ttl_s = 0;
    bucket_put(fixture,
               (struct bucket_key){.key = "train/deep/c.csv", .etag = "\"c1\"", .size = 300, .is_closed = true});
    fixture->class.authorize = AUTHORIZE_OBJECT;
    expect_refused(fixture, BUCKET_GOOD, PREFIX, ERR_DENIED);
    fixture->class.authorize = AUTHORIZE_PREFIX;
    /* With one closed of one there is nothing to choose from. */
    expect_refused(fixture, BUCKET_GOOD, "s3://bucket/train/deep/ -> d/", ERR_DENIED);
    unsigned before = bucket.reads;
    struct run *run = fill_as(fixture, BUCKET_GOOD, PREFIX);
    assert_int_equal(bucket.reads - before, 1);
    run_end(run);
}

/* Asking again gives no other object to prove the right with. */
static void test_no_second_chance(void **state)
{
    struct fixture *fixture = *state;
    fixture->class.answer_ttl_s = 0;
    bucket_put(fixture, (struct bucket_key){.key = "train/a.csv", .etag = "\"a1\"", .size = 100, .is_closed = true});
    struct run *first = fill_as(fixture, BUCKET_GOOD, PREFIX);
    bool was_refused = first->outcome != 0 && first->opened == 0;
    run_end(first);
    for (size_t i = 0; i < 20; i++) {
        struct run *again = fill_as(fixture, BUCKET_GOOD, PREFIX);
        assert_int_equal(again->outcome != 0 && again->opened == 0, was_refused);
        run_end(again);
    }
}

/* A wave of pods of one identity asks once; another identity, another class, another spelling ask for themselves. */
static void test_answers_count_for_a_while(void **state)
{
    struct fixture *fixture = *state;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    expect_served(fixture, BUCKET_GOOD, ONE);
    for (size_t i = 0; i < 3; i++) {
        expect_served(fixture, BUCKET_GOOD, "s3://bucket/train/ -> elsewhere/");
        expect_served(fixture, BUCKET_GOOD, "s3://bucket/train/a.csv -> elsewhere");
    }
    assert_int_equal(bucket.lists, 1);
    assert_int_equal(bucket.reads, 1);
    assert_int_equal(bucket.resolves, 1);
    expect_served(fixture, BUCKET_GOOD, "s3://bucket/train/** -> d/");
    assert_int_equal(bucket.lists, 2);
    fixture->class.name = "another";
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    assert_int_equal(bucket.lists, 3);
    fixture->class.authorize = AUTHORIZE_OBJECT;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    assert_int_equal(bucket.lists, 4);
    assert_int_equal(bucket.reads, 3 + 4);
    /* Another list with the same objects: those were let read just now. */
    expect_served(fixture, BUCKET_GOOD, "s3://bucket/train/** -> d/");
    assert_int_equal(bucket.lists, 5);
    assert_int_equal(bucket.reads, 3 + 4);
    fixture->class.answer_ttl_s = 0;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    assert_int_equal(bucket.lists, 7);
    assert_int_equal(bucket.reads, 3 + 4 + 8);
}

/* An answer says what is there; whether the store has it is looked up each time, also in another store. */
static void test_answers_are_of_no_store(void **state)
{
    struct fixture *fixture = *state;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    struct run *run = run_of(fixture, BUCKET_GOOD, PREFIX);
    struct store *other = fixture_store(fixture, "other");
    run->store = other;
    run_fill(run);
    expect_done(run);
    assert_int_equal(run->result.inputs[0].list.count, 4);
    for (size_t i = 0; i < 4; i++)
        expect_content(other, run->result.inputs[0].list.files[i].object, fixture->data,
                       run->result.inputs[0].list.files[i].size);
    run_end(run);
    store_free(other);
}

static void *thread_fill(void *argument)
{
    return run_fill(argument);
}

/* At the same time: one asks, the others wait for what it is told, be it yes or no. */
static void test_asked_once_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 8 };
    static const char *const keys[] = {BUCKET_GOOD, "wrong"};
    for (size_t who = 0; who < 2; who++) {
        struct run *runs[COUNT];
        pthread_t threads[COUNT];
        unsigned before = bucket.lists;
        atomic_store(&bucket.is_held, true);
        for (size_t i = 0; i < COUNT; i++) {
            runs[i] = run_of(fixture, keys[who], PREFIX);
            assert_int_equal(pthread_create(&threads[i], NULL, thread_fill, runs[i]), 0);
        }
        while (bucket.lists == before)
            poll(NULL, 0, 2);
        poll(NULL, 0, 200); /* time for the others to ask, too: none may */
        unsigned asked = bucket.lists - before;
        atomic_store(&bucket.is_held, false);
        for (size_t i = 0; i < COUNT; i++) {
            pthread_join(threads[i], NULL);
            if (who == 0)
                expect_done(runs[i]);
            else
                expect_error(runs[i], ERR_DENIED, "HTTP 403");
            run_end(runs[i]);
        }
        assert_int_equal(asked, 1);
        assert_true(who == 1 || bucket.lists == before + 1);
    }
}

/* Who asks is cancelled: the next one asks, and nobody is told of a cancel that was not his. */
static void test_cancelled_asker(void **state)
{
    struct fixture *fixture = *state;
    struct run *runs[2];
    pthread_t threads[2];
    atomic_store(&bucket.is_held, true);
    for (size_t i = 0; i < 2; i++) {
        runs[i] = run_of(fixture, BUCKET_GOOD, PREFIX);
        assert_int_equal(pthread_create(&threads[i], NULL, thread_fill, runs[i]), 0);
        while (bucket.lists == 0)
            poll(NULL, 0, 2);
    }
    poll(NULL, 0, 50);
    atomic_store(&runs[0]->cancel, true);
    poll(NULL, 0, 150);
    atomic_store(&bucket.is_held, false);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    expect_done(runs[1]);
    run_end(runs[0]);
    run_end(runs[1]);
}

/* rows 46, 47: a source that does not answer. The default is no; with a time of grace, what it allowed this identity. */
static void test_silent_source(void **state)
{
    struct fixture *fixture = *state;
    static const enum authorize_rule rules[] = {AUTHORIZE_PREFIX, AUTHORIZE_OBJECT};
    fixture->class.answer_ttl_s = 0;
    for (size_t rule = 0; rule < 2; rule++) {
        const char *input = rule == 0 ? ONE : PREFIX;
        fixture->class.authorize = rules[rule];
        fixture->class.unreachable_grace_s = 3600;
        expect_served(fixture, BUCKET_GOOD, input);
        atomic_store(&bucket.is_silent, true);
        expect_served(fixture, BUCKET_GOOD, input);
        expect_refused(fixture, "wrong", input, ERR_UNAVAILABLE);
        fixture->class.unreachable_grace_s = 0;
        expect_refused(fixture, BUCKET_GOOD, input, ERR_UNAVAILABLE);
        atomic_store(&bucket.is_silent, false);
    }
}

/* After a refusal nothing that was said before counts, whichever class asked. */
static void test_refusal_ends_grace(void **state)
{
    struct fixture *fixture = *state;
    fixture->class.unreachable_grace_s = 3600;
    expect_served(fixture, BUCKET_GOOD, ONE);
    fixture->class.name = "another";
    bucket_put(fixture, (struct bucket_key){.key = "train/a.csv", .etag = "\"a1\"", .size = 100, .is_closed = true});
    expect_refused(fixture, BUCKET_GOOD, ONE, ERR_DENIED);
    class_default(&fixture->class);
    fixture->class.allowed_addresses = "127.0.0.0/8";
    fixture->class.unreachable_grace_s = 3600;
    atomic_store(&bucket.is_silent, true);
    expect_refused(fixture, BUCKET_GOOD, ONE, ERR_UNAVAILABLE);
}

/* A server that repeats the victim's key, ETag and size is another authority: its bytes are its own. */
static void test_repeated_etag(void **state)
{
    struct fixture *fixture = *state;
    expect_served(fixture, BUCKET_GOOD, PREFIX);
    struct run *victim = fill_as(fixture, BUCKET_GOOD, ONE);
    bucket.authority = "evil.example.com:443";
    fixture->class.s3_endpoint = "https://evil.example.com";
    bucket_put(fixture,
               (struct bucket_key){.key = "train/a.csv", .etag = "\"a1\"", .size = 100, .data = fixture->other});
    struct run *evil = fill_as(fixture, BUCKET_GOOD, ONE);
    expect_input(evil, 0, fixture->other, 100);
    expect_content(fixture->store, victim->result.inputs[0].list.files[0].object, fixture->data, 100);
    assert_string_not_equal(victim->result.inputs[0].snapshot, evil->result.inputs[0].snapshot);
    run_end(victim);
    run_end(evil);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, bucket_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused_refused_served),  TEST(test_rules),
        TEST(test_no_second_chance),        TEST(test_answers_count_for_a_while),
        TEST(test_answers_are_of_no_store), TEST(test_asked_once_at_a_time),
        TEST(test_cancelled_asker),         TEST(test_silent_source),
        TEST(test_refusal_ends_grace),      TEST(test_repeated_etag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
