/* Listings in parts side by side: the same as one after the other, whatever the keys and pages; and faster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/cachecore/listing_fixture.h"

static unsigned seed = 1;

static unsigned random_below(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % n;
}

/* --- kinds of key sets --- */

static const char *key_numbered(struct arena *arena, size_t i)
{
    return arena_printf(arena, "p/%06zu.jpg", i);
}

static const char *key_hash(struct arena *arena, size_t i)
{
    return arena_printf(arena, "p/%08x%04zx", (unsigned)i * 2654435761u, i & 0xffff);
}

static const char *key_wide(struct arena *arena, size_t i)
{
    return arena_printf(arena, "p/class-%03zu/%zu.jpg", i % 500, i);
}

static const char *key_alone(struct arena *arena, size_t i)
{
    return arena_printf(arena, "p/v1/data/2026/shard-%02zu/%05zu", i % 40, i);
}

static const char *key_foreign(struct arena *arena, size_t i)
{
    return arena_printf(arena, "p/\xd0%c\xd0%c/\xe2\x82\xac%zu", (char)(0x90 + i % 32), (char)(0x90 + i % 48), i);
}

/* Short names from few bytes: prefixes of each other, and bytes of all kinds. */
static const char *key_random(struct arena *arena, size_t i)
{
    static const char *const letters[] = {"a", "b", "Z", "0", "9", "/", "~", "!", "\xc3\xa4", "\xf0\x9f\x98\x80",
                                          "z", "-"};
    struct str text = STR_INIT;
    (void)i;
    str_append_text(&text, random_below(20) == 0 ? "p" : "p/");
    for (unsigned n = 1 + random_below(7); n > 0; n--)
        str_append_text(&text, letters[random_below(sizeof(letters) / sizeof(letters[0]))]);
    const char *key = arena_strndup(arena, text.data, text.len);
    str_deinit(&text);
    return key;
}

static const struct {
    const char *name;
    const char *(*make)(struct arena *arena, size_t i);
} kinds[] = {
    {"numbered", key_numbered}, {"hash", key_hash},       {"wide", key_wide},
    {"alone", key_alone},       {"foreign", key_foreign}, {"random", key_random},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct bucket_key *keys_make(struct arena *arena, size_t kind, size_t *count)
{
    struct bucket_key *keys = arena_calloc(arena, *count, sizeof(*keys));
    for (size_t i = 0; i < *count; i++)
        keys[i] = (struct bucket_key){kinds[kind].make(arena, i), i % 7, false};
    qsort(keys, *count, sizeof(*keys), bucket_compare);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (kept == 0 || strcmp(keys[kept - 1].key, keys[i].key) != 0)
            keys[kept++] = keys[i];
    }
    *count = kept;
    return keys;
}

static int run(struct listing_bench *bench, const struct source *source, const char *url, struct listing *out,
               struct err *err)
{
    bench->request.source = source;
    bench->request.deadline_ms = clock_monotonic_ms() + 60000;
    return listing_bench_run(bench, url, out, err);
}

static void same(const struct listing *a, const struct listing *b, const char *what)
{
    if (a->count != b->count || a->bytes != b->bytes)
        fail_msg("%s: %zu files, %zu one after the other", what, a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->files[i].path, b->files[i].path) != 0 || a->files[i].size != b->files[i].size)
            fail_msg("%s: %s, %s one after the other", what, a->files[i].path, b->files[i].path);
    }
}

/* The keys of a set that any order, page size and failure gives: files, or the same refusal. */
static void parts_are_the_whole(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60 * KINDS; round++) {
        struct listing_bench bench;
        struct listing parts, whole;
        struct err err = ERR_INIT, err_whole = ERR_INIT;
        listing_bench_init(&bench);
        size_t count = 1 + random_below(3000);
        struct bucket_key *keys = keys_make(bench.arena, round % KINDS, &count);
        bucket_fill(keys, count);
        bucket.page_size = 1 + random_below(round % 5 == 0 ? 400 : 40);
        bucket.empty_pages = random_below(4);
        const char *url = round % 3 == 0 ? "s3://bucket/p/**/*[1a]*" : "s3://bucket/p/";
        int result = run(&bench, &fake_source, url, &parts, &err);
        int result_whole = run(&bench, &fake_source_serial, url, &whole, &err_whole);
        if (result != result_whole || strcmp(err.message, err_whole.message) != 0)
            fail_msg("%s, round %u: %d '%s', one after the other %d '%s'", kinds[round % KINDS].name, round, result,
                     err.message, result_whole, err_whole.message);
        if (result == 0)
            same(&parts, &whole, kinds[round % KINDS].name);
        listing_bench_deinit(&bench);
    }
}

/* 100,000 keys at 30 ms a page: how many times as fast as one page after the other, and what it costs in requests. */
static void parts_are_faster(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < KINDS - 1; kind++) {
        struct listing_bench bench;
        struct listing parts;
        struct err err = ERR_INIT;
        size_t count = 100000;
        listing_bench_init(&bench);
        bucket_fill(keys_make(bench.arena, kind, &count), count);
        bucket.page_ms = 30;
        int64_t start = clock_monotonic_ms();
        if (run(&bench, &fake_source, "s3://bucket/p/", &parts, &err) != 0)
            fail_msg("%s: %s", kinds[kind].name, err.message);
        int64_t took = clock_monotonic_ms() - start;
        unsigned needed = (unsigned)((count + 999) / 1000);
        print_message(
            "%-9s %zu keys: %lld ms, at least %u ms one after the other; %u pages, %u needed, %u in one row\n",
            kinds[kind].name, count, (long long)took, needed * 30, bucket.pages, needed, bucket.deepest);
        assert_int_equal(parts.count, count);
        assert_in_range(bucket.pages, needed, 2 * needed);
        assert_in_range(bucket.busiest, 4, 8); /* at a time: the time itself is the machine's */
        assert_in_range(bucket.deepest, 1, needed / 8);
        listing_bench_deinit(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(parts_are_faster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
