/* Servers that misbehave (field of faults, groups C and D) and what comes of it. */
#include "fill_expect.h"

static struct run *fill(struct fixture *fixture, const char *text)
{
    struct run *run = run_new(fixture, text);
    run_fill(run);
    return run;
}

static void expect_fill(struct fixture *fixture, const char *text, const unsigned char *data, size_t size)
{
    struct run *run = fill(fixture, text);
    expect_input(run, 0, data, size);
    assert_int_equal(run->progress.bytes_done, size);
    assert_int_equal(run->progress.bytes_total, size);
    run_free(run);
    assert_int_equal(incoming_count(fixture), 0);
}

/* rows 48, 49: at once, with the input's number and no query. */
static void test_refusals(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int status;
        enum err_code code;
        const char *text;
    } rows[] = {
        {404, ERR_NOT_FOUND, "HTTP 404"},
        {410, ERR_NOT_FOUND, "HTTP 410"},
        {401, ERR_UNAUTHENTICATED, "HTTP 401"},
        {403, ERR_DENIED, "HTTP 403"},
    };
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"a\"", .size = 100});
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        serve(fixture, (struct origin_object){.path = "/bad", .status = rows[i].status});
        struct run *run = fill(fixture, "@/a\n@/bad?token=canary\n");
        expect_error(run, rows[i].code, rows[i].text);
        assert_non_null(strstr(run->err.message, "input 2 (http://127.0.0.1"));
        assert_null(strstr(run->err.message, "canary"));
        run_free(run);
    }
    assert_int_equal(origin_seen(fixture->origin, "/a").gets, 0);
    expect_objects(fixture, 0);
}

/* rows 50, 51: bounded retries; each part's bytes still leave once. */
static void test_unavailable_for_a_while(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .fail_count = 6});
    expect_fill(fixture, "@/big", fixture->data, SIZE);
    struct origin_object seen = origin_seen(fixture->origin, "/big");
    assert_int_equal(seen.bytes, SIZE);
    assert_int_equal(seen.gets, SIZE / PART + 6);
}

/* row 51: and then it is over. */
static void test_unavailable_for_good(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/a", .etag = "\"v1\"", .size = 100, .fail_count = 1000});
    struct run *run = fill(fixture, "@/a");
    expect_error(run, ERR_UNAVAILABLE, "input 1 (");
    assert_true(origin_seen(fixture->origin, "/a").gets <= 8);
    run_free(run);
}

/* row 54: connections that end early are resumed where they ended. */
static void test_cut_and_resumed(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .cut_count = 10, .cut_after = 5000});
    expect_fill(fixture, "@/big", fixture->data, SIZE);
    assert_int_equal(origin_seen(fixture->origin, "/big").bytes, SIZE);
}

/* row 54, weak validator: bytes of two attempts never meet. */
static void test_weak_starts_over(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/weak", .cut_count = 2, .cut_after = 300000});
    expect_fill(fixture, "@/weak", fixture->data, SIZE);
    struct origin_object seen = origin_seen(fixture->origin, "/weak");
    assert_int_equal(seen.gets, 3);
    assert_int_equal(seen.bytes, 2 * 300000 + SIZE);
}

/* row 58: answers to ranges that do not fit end the ranges, not the truth. */
static void test_ranges_that_do_not_fit(void **state)
{
    struct fixture *fixture = *state;
    const struct origin_object bad[] = {
        {.path = "/ignores", .etag = "\"1\"", .ignores_ranges = true},
        {.path = "/shifts", .etag = "\"2\"", .shifts_ranges = true, .size = SIZE - 1},
        {.path = "/hides", .etag = "\"3\"", .hides_etag = true},
    };
    static const char *const inputs[] = {"@/ignores", "@/shifts", "@/hides"};
    for (size_t i = 0; i < 3; i++) {
        serve(fixture, bad[i]);
        expect_fill(fixture, inputs[i], fixture->data, bad[i].size > 0 ? bad[i].size : SIZE);
    }
}

/* rows 58, 59: another version in the middle: all of the new one, nothing of the old one. */
static void test_changed_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture,
          (struct origin_object){
              .path = "/big", .etag = "\"v1\"", .next_data = fixture->other, .next_etag = "\"v2\"", .change_after = 5});
    expect_fill(fixture, "@/big", fixture->other, SIZE);
    serve(fixture, (struct origin_object){.path = "/blind",
                                          .etag = "\"v1\"",
                                          .ignores_if_match = true,
                                          .next_data = fixture->other,
                                          .next_etag = "\"v2\"",
                                          .change_after = 5});
    expect_fill(fixture, "@/blind", fixture->other, SIZE);
    serve(fixture, (struct origin_object){.path = "/late",
                                          .etag = "\"v1\"",
                                          .cut_count = 1,
                                          .cut_after = 100,
                                          .size = 1000,
                                          .next_data = fixture->other,
                                          .next_etag = "\"v2\"",
                                          .change_after = 1});
    expect_fill(fixture, "@/late", fixture->other, 1000);
}

/* row 55: no length, no end. */
static void test_endless(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/endless", .chunked = true, .endless = (size_t)1 << 30});
    struct run *run = run_new(fixture, "@/endless");
    run->max_bytes = 3 * SIZE;
    run_fill(run);
    expect_error(run, ERR_EXHAUSTED, "input 1 (");
    assert_int_equal(incoming_count(fixture), 0);
    expect_objects(fixture, 0);
    run_free(run);
}

/* row 55: no length, but an end. */
static void test_stream_of_unknown_size(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/stream", .etag = "\"s\"", .chunked = true});
    serve(fixture, (struct origin_object){.path = "/nothing", .data = fixture->data, .chunked = true});
    expect_fill(fixture, "@/stream", fixture->data, SIZE);
    expect_fill(fixture, "@/nothing", NULL, 0);
    struct run *warm = fill(fixture, "@/stream");
    expect_input(warm, 0, fixture->data, SIZE);
    assert_int_equal(warm->result.inputs[0].bytes_hit, SIZE);
    assert_int_equal(origin_seen(fixture->origin, "/stream").gets, 1);
    run_free(warm);
}

/* row 57: before the first byte, with the sizes. */
static void test_larger_than_allowed(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\""});
    struct run *run = run_new(fixture, "@/big");
    run->max_bytes = SIZE - 1;
    run_fill(run);
    expect_error(run, ERR_EXHAUSTED, "take 1.0 MiB, its class allows");
    assert_int_equal(origin_seen(fixture->origin, "/big").gets, 0);
    run_free(run);
}

static void sha256_text(const struct fixture *fixture, const unsigned char *data, char *out, size_t size)
{
    char hex[SHA256_HEX];
    digest_sha256_hex(data, SIZE, hex);
    (void)fixture;
    snprintf(out, size, "@/big sha256=%s", hex);
}

/* row 61: one more try past caches, then an error with both digests, and nothing is kept. */
static void test_digest_mismatch(void **state)
{
    struct fixture *fixture = *state;
    char text[128];
    sha256_text(fixture, fixture->other, text, sizeof(text));
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\""});
    struct run *run = fill(fixture, text);
    expect_error(run, ERR_PRECONDITION, "sha256 expected ");
    assert_non_null(strstr(run->err.message, " got "));
    struct origin_object seen = origin_seen(fixture->origin, "/big");
    assert_int_equal(seen.bytes, 2 * SIZE);
    assert_int_equal(seen.no_cache_gets, SIZE / PART);
    assert_int_equal(incoming_count(fixture), 0);
    expect_objects(fixture, 0);
    run_free(run);
}

/* row 61: a cache's wrong answer is mended by asking past it. */
static void test_digest_mended(void **state)
{
    struct fixture *fixture = *state;
    char text[128];
    sha256_text(fixture, fixture->data, text, sizeof(text));
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\"", .wrong_count = 1});
    expect_fill(fixture, text, fixture->data, SIZE);
    assert_int_equal(origin_seen(fixture->origin, "/big").bytes, 2 * SIZE);
}

/* A digest is checked on a hit too: what was cached without one may not be what the author means. */
static void test_digest_on_a_hit(void **state)
{
    struct fixture *fixture = *state;
    char text[128];
    serve(fixture, (struct origin_object){.path = "/big", .etag = "\"v1\""});
    expect_fill(fixture, "@/big", fixture->data, SIZE);
    sha256_text(fixture, fixture->other, text, sizeof(text));
    struct run *wrong = fill(fixture, text);
    expect_error(wrong, ERR_PRECONDITION, "sha256 expected ");
    sha256_text(fixture, fixture->data, text, sizeof(text));
    struct run *right = fill(fixture, text);
    expect_input(right, 0, fixture->data, SIZE);
    assert_int_equal(origin_seen(fixture->origin, "/big").bytes, SIZE);
    run_free(wrong);
    run_free(right);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refusals),
        TEST(test_unavailable_for_a_while),
        TEST(test_unavailable_for_good),
        TEST(test_cut_and_resumed),
        TEST(test_weak_starts_over),
        TEST(test_ranges_that_do_not_fit),
        TEST(test_changed_in_the_middle),
        TEST(test_endless),
        TEST(test_stream_of_unknown_size),
        TEST(test_larger_than_allowed),
        TEST(test_digest_mismatch),
        TEST(test_digest_mended),
        TEST(test_digest_on_a_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
