/* Listings of a bucket in memory: which keys become which files, what is refused by name, limits, and servers that err (rows 31, 25). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/cachecore/listing_fixture.h"

#define K(key)        \
    {                 \
        key, 7, false \
    }

/* The paths, one a line. */
static char *paths_of(struct arena *arena, const struct listing *listing)
{
    struct str text = STR_INIT;
    for (size_t i = 0; i < listing->count; i++)
        str_printf(&text, "%s\n", listing->files[i].path);
    char *out = arena_strdup(arena, text.data ? text.data : "");
    str_deinit(&text);
    return out;
}

static struct bucket_key usual[] = {
    {"train/", 0, false},
    K("train/a.csv"),
    K("train/b.csv"),
    K("train/c.txt"),
    {"train/deep/", 0, false},
    K("train/deep/a.csv"),
    K("train/deep/er/z.csv"),
    K("train/\xc3\xa4.csv"),
    K("train-2/a.csv"),
    K("train*/x"),
    K("top.csv"),
    K("un der/a+b%20c.csv"),
};

static const struct {
    const char *url, *base, *paths;
} good[] = {
    {"s3://bucket/train/", "train/", "a.csv\nb.csv\nc.txt\ndeep/a.csv\ndeep/er/z.csv\n\xc3\xa4.csv\n"},
    {"s3://bucket/train/deep/", "train/deep/", "a.csv\ner/z.csv\n"},
    {"s3://bucket/", "",
     "top.csv\ntrain*/x\ntrain-2/a.csv\ntrain/a.csv\ntrain/b.csv\ntrain/c.txt\ntrain/deep/a.csv\ntrain/deep/er/z.csv\n"
     "train/\xc3\xa4.csv\nun der/a+b%20c.csv\n"},
    {"s3://bucket/train/*.csv", "train/", "a.csv\nb.csv\n\xc3\xa4.csv\n"},
    {"s3://bucket/train/?.csv", "train/", "a.csv\nb.csv\n\xc3\xa4.csv\n"},
    {"s3://bucket/train/[!a].csv", "train/", "b.csv\n\xc3\xa4.csv\n"},
    {"s3://bucket/train/**/*.csv", "train/", "a.csv\nb.csv\ndeep/a.csv\ndeep/er/z.csv\n\xc3\xa4.csv\n"},
    {"s3://bucket/**/a.csv", "", "train-2/a.csv\ntrain/a.csv\ntrain/deep/a.csv\n"},
    {"s3://bucket/train/deep/**", "train/deep/", "a.csv\ner/z.csv\n"},
    {"s3://bucket/train%2A/*", "train*/", "x\n"},
    {"s3://bucket/train*/a.csv", "", "train-2/a.csv\ntrain/a.csv\n"},
    {"s3://bucket/un%20der/a+b%2520*", "un der/", "a+b%20c.csv\n"},
    {"s3://bucket/*.csv", "", "top.csv\n"},
};

static void prefixes_and_globs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t page = 1; page <= 1000; page *= 10) {
            struct listing_bench bench;
            struct listing listing;
            struct err err = ERR_INIT;
            listing_bench_init(&bench);
            bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
            bucket.page_size = page;
            if (listing_bench_run(&bench, good[i].url, &listing, &err) != 0)
                fail_msg("%s: %s", good[i].url, err.message);
            assert_string_equal(paths_of(bench.arena, &listing), good[i].paths);
            assert_string_equal(listing.base, good[i].base);
            assert_int_equal(listing.bytes, 7 * listing.count);
            assert_string_equal(listing.files[0].validator, "etag:\"e\"");
            assert_string_equal(listing.files[0].object, "");
            assert_int_equal(listing.files[0].mtime_s, 1700000000);
            listing_bench_deinit(&bench);
        }
    }
}

static struct bucket_key odd[] = {
    K("slash//x"),
    K("dots/../x"),
    K("dot/./x"),
    K("nfs/.nfs01"),
    K("control/a\nb"),
    K("latin/\xe4"),
    K("both/a"),
    K("both/a-b"),
    K("both/a/b"),
    K("case/A"),
    K("case/a"),
    K("dirs/A/x"),
    K("dirs/a/y"),
    K("marker/x/"),
    K("lead//a"),
    {"archive/a", 7, true},
    {"archive/b", 0, 0},
    K("fine/a"),
    K("two/x//1"),
    K("two/x//2"),
    K("both2/d/a"),
    K("both2/D"),
    K("c1/\xc2\x9f"),
    {"own/", 9, false},
    {"only/", 0, false},
    K("big/1"),
    {"big/2", INT64_MAX, false},
};

static const struct {
    const char *url;
    enum err_code code;
    const char *cause;
} refused[] = {
    {"s3://bucket/slash/", ERR_INVALID,
     "one key cannot be a file of a volume: 'slash//x': path '/x' begins with '/'; name single"},
    {"s3://bucket/two/", ERR_INVALID,
     "2 keys cannot be files of a volume; the first is 'two/x//1': path 'x//1': has an empty segment"},
    {"s3://bucket/dots/", ERR_INVALID, "'dots/../x': path '../x': has a segment '..'"},
    {"s3://bucket/dot/", ERR_INVALID, "a segment '.'"},
    {"s3://bucket/nfs/", ERR_INVALID, "begins with '.nfs'"},
    {"s3://bucket/control/", ERR_INVALID, "'control/a\\x0ab': a path has a control character"},
    {"s3://bucket/c1/", ERR_INVALID, "'c1/\\xc2\\x9f': a path has a control character"},
    {"s3://bucket/latin/", ERR_INVALID, "'latin/\\xe4': a path is not valid UTF-8"},
    {"s3://bucket/both/", ERR_INVALID, "'a': it is a file, and other keys need it as a directory ('a/b')"},
    {"s3://bucket/both2/", ERR_INVALID, "'D': it is a file, and other keys need it as a directory ('d/a')"},
    {"s3://bucket/case/", ERR_INVALID, "'A': another key differs from it only in upper and lower case ('a')"},
    {"s3://bucket/dirs/", ERR_INVALID, "'A/x': another key's directories differ from its own only in upper"},
    {"s3://bucket/marker/", ERR_INVALID, "'marker/x/': it ends in '/', as directories do, and is not empty"},
    {"s3://bucket/own/", ERR_INVALID, "'own/': it ends in '/'"},
    {"s3://bucket/archive/", ERR_PRECONDITION, "'archive/a': the object is archived: restore it"},
    {"s3://bucket/big/", ERR_EXHAUSTED, "the class allows a volume"},
    {"s3://bucket/none/", ERR_NOT_FOUND, "no object is below this prefix"},
    {"s3://bucket/only/", ERR_NOT_FOUND, "no object is below this prefix"},
    {"s3://bucket/fine/*.csv", ERR_NOT_FOUND, "none of the 1 keys that begin with 'fine/' matches this glob"},
    {"s3://bucket/fine/[a", ERR_INVALID, "'[' without ']'"},
    {"s3://bucket/fine/a", ERR_INVALID, "neither a prefix"},
    {"s3://bucket/fine/?versionId=1", ERR_INVALID, "a version names one object"},
};

static void keys_that_cannot_be_files_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bench.request.max_bytes = UINT64_C(1) << 40;
        bucket_fill(odd, sizeof(odd) / sizeof(odd[0]));
        if (listing_bench_run(&bench, refused[i].url, &listing, &err) == 0)
            fail_msg("taken: %s", refused[i].url);
        if (err.code != refused[i].code || !strstr(err.message, refused[i].cause))
            fail_msg("%s: %s %s", refused[i].url, err_code_name(err.code), err.message);
        listing_bench_deinit(&bench);
    }
}

/* Only what matches is judged. */
static void a_glob_leaves_odd_keys_out(void **state)
{
    (void)state;
    static const char *const urls[] = {"s3://bucket/archive/b", "s3://bucket/both/a*b", "s3://bucket/case/[A]",
                                       "s3://bucket/dirs/A/*"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bucket_fill(odd, sizeof(odd) / sizeof(odd[0]));
        int result = listing_bench_run(&bench, urls[i], &listing, &err);
        if (i > 0 && result != 0)
            fail_msg("%s: %s", urls[i], err.message);
        listing_bench_deinit(&bench);
    }
}

static void long_names_are_cut_in_messages(void **state)
{
    (void)state;
    struct listing_bench bench;
    struct listing listing;
    struct err err = ERR_INIT;
    char key[700] = "long/";
    memset(key + 5, 'n', 600);
    struct bucket_key keys[] = {K(key)};
    listing_bench_init(&bench);
    bucket_fill(keys, 1);
    assert_int_equal(listing_bench_run(&bench, "s3://bucket/long/", &listing, &err), -1);
    assert_non_null(strstr(err.message, "nnn...': path"));
    assert_non_null(strstr(err.message, "has a segment of 600 bytes, more than 255; name single objects"));
    listing_bench_deinit(&bench);
}

/* Their sum would come round to a small one. */
static void sizes_add_up_to_what_they_are(void **state)
{
    (void)state;
    struct bucket_key keys[] = {{"p/1", INT64_MAX, false}, {"p/2", INT64_MAX, false}, {"p/3", 9, false}};
    for (size_t page = 1; page <= 3; page += 2) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bucket_fill(keys, 3);
        bucket.page_size = page;
        assert_int_equal(listing_bench_run(&bench, "s3://bucket/p/", &listing, &err), -1);
        assert_int_equal(err.code, ERR_EXHAUSTED);
        listing_bench_deinit(&bench);
    }
}

/* Numbers in the message, and no more pages asked for than it takes to know. */
static void limits_end_a_listing_early(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct bucket_key *keys = calloc(COUNT, sizeof(*keys));
    struct arena *arena = arena_new();
    for (size_t i = 0; i < COUNT; i++)
        keys[i] = (struct bucket_key){arena_printf(arena, "p/%06zu", i), 10, false};
    for (unsigned round = 0; round < 3; round++) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bucket_fill(keys, COUNT);
        bucket.page_size = 100;
        bench.request.max_files = round == 0 ? 250 : round == 1 ? 10 * COUNT : COUNT;
        bench.request.max_bytes = round == 1 ? 4321 : 0;
        int result = listing_bench_run(&bench, "s3://bucket/p/", &listing, &err);
        assert_int_equal(result, round == 2 ? 0 : -1);
        assert_int_equal(err.code, round == 2 ? ERR_NONE : ERR_EXHAUSTED);
        if (round == 0)
            assert_non_null(strstr(err.message, "more than the 250 files that the class allows"));
        if (round == 1)
            assert_non_null(strstr(err.message, "the class allows a volume 4.2 KiB"));
        if (round < 2)
            assert_in_range(bucket.pages, 1, 45);
        listing_bench_deinit(&bench);
    }
    arena_free(arena);
    free(keys);
}

static void a_page_that_fails_half_way_counts_once(void **state)
{
    (void)state;
    struct listing_bench bench;
    struct listing listing;
    struct err err = ERR_INIT;
    listing_bench_init(&bench);
    bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
    bucket.page_size = 4;
    bucket.fails = 2;
    if (listing_bench_run(&bench, "s3://bucket/train/", &listing, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(paths_of(bench.arena, &listing), good[0].paths);
    assert_int_equal(listing.count, 6);
    assert_int_equal(listing.bytes, 42);
    bucket.fails = 100;
    bench.request.deadline_ms = clock_monotonic_ms() + 100;
    assert_int_equal(listing_bench_run(&bench, "s3://bucket/train/", &listing, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    listing_bench_deinit(&bench);
}

static void pages_may_be_empty(void **state)
{
    (void)state;
    struct listing_bench bench;
    struct listing listing;
    struct err err = ERR_INIT;
    listing_bench_init(&bench);
    bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
    bucket.page_size = 2;
    bucket.empty_pages = 5;
    if (listing_bench_run(&bench, "s3://bucket/train/", &listing, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(paths_of(bench.arena, &listing), good[0].paths);
    listing_bench_deinit(&bench);
}

/* What a server must not do ends with its cause, never in a loop. */
static void servers_that_err(void **state)
{
    (void)state;
    static const char *const causes[] = {"does not come to an end", "not in order", "do not begin as asked for",
                                         "does not come to an end"};
    for (unsigned i = 0; i < 4; i++) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
        bucket.page_size = 3;
        bench.request.source = i == 0 ? &fake_source_serial : &fake_source;
        bucket.repeats_token = i == 0;
        bucket.unordered = i == 1;
        bucket.strays = i == 2;
        bucket.empty_pages = i == 3 ? 10 : 0;
        assert_int_equal(listing_bench_run(&bench, "s3://bucket/train/", &listing, &err), -1);
        assert_int_equal(err.code, ERR_PRECONDITION);
        if (!strstr(err.message, causes[i]))
            fail_msg("%u: %s", i, err.message);
        listing_bench_deinit(&bench);
    }
}

/* A source that cannot start behind a key may have another order than ours: its files are sorted. */
static void an_order_of_the_servers_own(void **state)
{
    (void)state;
    struct listing_bench bench;
    struct listing listing;
    struct err err = ERR_INIT;
    listing_bench_init(&bench);
    bench.request.source = &fake_source_serial;
    bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
    bucket.unordered = true;
    if (listing_bench_run(&bench, "s3://bucket/", &listing, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(paths_of(bench.arena, &listing), good[2].paths);
    listing_bench_deinit(&bench);
}

static void a_key_is_held_against_allowed_sources(void **state)
{
    (void)state;
    struct listing_bench bench;
    struct listing listing;
    struct err err = ERR_INIT;
    listing_bench_init(&bench);
    bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
    bench.class.allowed_sources = "s3://bucket/train/?.csv";
    assert_int_equal(listing_bench_run(&bench, "s3://bucket/train/[ab].csv", &listing, &err), 0);
    assert_int_equal(listing_bench_run(&bench, "s3://bucket/train/*", &listing, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.message, "'train/c.txt': the class's allowedSources leave this object out"));
    listing_bench_deinit(&bench);
}

static void time_and_cancellation_end_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct listing_bench bench;
        struct listing listing;
        struct err err = ERR_INIT;
        listing_bench_init(&bench);
        bucket_fill(usual, sizeof(usual) / sizeof(usual[0]));
        bench.request.deadline_ms = i == 0 ? clock_monotonic_ms() : CLOCK_NEVER;
        bench.cancel = i == 1;
        assert_int_equal(listing_bench_run(&bench, "s3://bucket/train/", &listing, &err), -1);
        assert_int_equal(err.code, i == 0 ? ERR_DEADLINE : ERR_CANCELLED);
        listing_bench_deinit(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_and_globs),
        cmocka_unit_test(keys_that_cannot_be_files_are_named),
        cmocka_unit_test(a_glob_leaves_odd_keys_out),
        cmocka_unit_test(long_names_are_cut_in_messages),
        cmocka_unit_test(limits_end_a_listing_early),
        cmocka_unit_test(a_page_that_fails_half_way_counts_once),
        cmocka_unit_test(pages_may_be_empty),
        cmocka_unit_test(servers_that_err),
        cmocka_unit_test(sizes_add_up_to_what_they_are),
        cmocka_unit_test(an_order_of_the_servers_own),
        cmocka_unit_test(a_key_is_held_against_allowed_sources),
        cmocka_unit_test(time_and_cancellation_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
