/* The snapshot's text is a promise (docs/STORE.md): one text for one list, everything else refused. Row 31. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/snapshot.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEAD "sharedcache-snapshot 1\n"
#define TEN "1234567890"
#define X50 TEN TEN TEN TEN TEN
#define X250 X50 X50 X50 X50 X50

static struct snapshot_file file(const char *path)
{
    struct snapshot_file result = {.path = path, .object = A64, .size = 5, .validator = "etag:x"};
    return result;
}

static void test_paths(void **state) /* row 31 */
{
    (void)state;
    static const struct {
        const char *path;
        size_t len;
        bool good;
    } cases[] = {
        {"a", 1, true},
        {"a/b/c.txt", 9, true},
        {"...", 3, true},
        {".hidden", 7, true},
        {"nfs", 3, true},
        {"with space %41", 14, true},
        {"\xc3\xa9t\xc3\xa9/\xe6\xbc\xa2", 9, true},
        {X250 "12345", 255, true},
        {"", 0, false},
        {"/a", 2, false},
        {"a/", 2, false},
        {"a//b", 4, false},
        {".", 1, false},
        {"..", 2, false},
        {"a/../b", 6, false},
        {"a/.", 3, false},
        {"a/..", 4, false},
        {".nfs1", 5, false},
        {"a/.nfs0000", 10, false},
        {".nfs/a", 6, false},
        {"a\nb", 3, false},
        {"a\0b", 3, false},
        {"\x7f", 1, false},
        {"\x1b[2J", 4, false},
        {"\xc2\x85", 2, false},     /* U+0085, a C1 control */
        {"\xff", 1, false},         /* not UTF-8 */
        {"\xc0\xaf", 2, false},     /* overlong '/' */
        {"\xed\xa0\x80", 3, false}, /* surrogate */
        {X250 "123456", 256, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        int result = snapshot_path_check(cases[i].path, cases[i].len, &err);
        if ((result == 0) != cases[i].good)
            fail_msg("case %zu '%s': %d %s", i, cases[i].path, result, err.message);
        assert_int_equal(err.code, cases[i].good ? ERR_NONE : ERR_INVALID);
    }
}

static void test_path_depth_and_length_are_bounded(void **state)
{
    (void)state;
    char path[4096];
    for (size_t depth = 1; depth <= SNAPSHOT_DEPTH_MAX + 1; depth++) {
        for (size_t i = 0; i < depth; i++)
            memcpy(path + 2 * i, "d/", 2);
        struct err err = ERR_INIT;
        assert_int_equal(snapshot_path_check(path, 2 * depth - 1, &err), depth <= SNAPSHOT_DEPTH_MAX ? 0 : -1);
    }
    memset(path, 'x', sizeof(path));
    for (size_t i = 200; i < sizeof(path); i += 201)
        path[i] = '/';
    struct err err = ERR_INIT;
    assert_int_equal(snapshot_path_check(path, SNAPSHOT_PATH_MAX, &err), 0);
    assert_int_equal(snapshot_path_check(path, SNAPSHOT_PATH_MAX + 1, &err), -1);
}

static void test_golden_text_and_id(void **state)
{
    (void)state;
    struct snapshot_file files[] = {
        {.path = "b \xc3\xa9%.txt", .object = B64, .size = 0, .mtime_s = -2, .mtime_ns = 5, .validator = ""},
        {.path = "a",
         .object = A64,
         .size = 42,
         .mtime_s = 1700000000,
         .mtime_ns = 123456789,
         .validator = "etag:\"x y\""},
        {.path = "c", .object = A64, .size = 1, .validator = "-"},
    };
    static const char golden[] = HEAD A64 " 42 1700000000.123456789 etag:\"x%20y\" a\n" B64
                                          " 0 -2.000000005 - b%20%C3%A9%25.txt\n" A64 " 1 0.000000000 %2D c\n";
    struct arena *arena = arena_new();
    struct snapshot snapshot;
    struct err err = ERR_INIT;
    assert_int_equal(snapshot_make(arena, files, 3, &snapshot, &err), 0);
    assert_int_equal(snapshot.bytes, 43);
    struct str text = STR_INIT;
    snapshot_write(&snapshot, &text);
    assert_string_equal(text.data, golden);
    char id[SHA256_HEX], expected[SHA256_HEX];
    snapshot_id(&snapshot, id);
    digest_sha256_hex(golden, strlen(golden), expected);
    assert_string_equal(id, expected);
    struct snapshot parsed;
    assert_int_equal(snapshot_parse(arena, text.data, text.len, 3, &parsed, &err), 0);
    assert_int_equal(parsed.count, 3);
    assert_int_equal(parsed.bytes, 43);
    assert_string_equal(parsed.files[1].path, "b \xc3\xa9%.txt");
    assert_string_equal(parsed.files[1].validator, "");
    assert_string_equal(parsed.files[2].validator, "-");
    assert_int_equal(parsed.files[1].mtime_s, -2);
    assert_int_equal(parsed.files[0].mtime_ns, 123456789);
    str_deinit(&text);
    arena_free(arena);
}

static void test_make_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *paths[4];
        const char *expected; /* NULL: accepted */
    } cases[] = {
        {{"a", "a"}, "'a' stands twice"},
        {{"a/b", "a"}, "'a/b' lies below"},
        {{"a/b", "a-b", "a"}, "'a/b' lies below"},
        {{"a-/x", "a/b/c", "a.b", "a/b"}, "'a/b/c' lies below"},
        {{"ab", "a-b", "a0/b", "a"}, NULL},
        {{"a/b", "a/c", "ab/c", "b"}, NULL},
        {{"../x"}, "'..'"},
    };
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct snapshot_file files[4];
        size_t count = 0;
        for (; count < 4 && cases[i].paths[count]; count++)
            files[count] = file(cases[i].paths[count]);
        struct snapshot snapshot = {.count = 99};
        struct err err = ERR_INIT;
        int result = snapshot_make(arena, files, count, &snapshot, &err);
        assert_int_equal(result, cases[i].expected ? -1 : 0);
        assert_int_equal(err.code, cases[i].expected ? ERR_INVALID : ERR_NONE);
        assert_int_equal(snapshot.count, cases[i].expected ? 99 : count);
        if (cases[i].expected && !strstr(err.message, cases[i].expected))
            fail_msg("case %zu: %s", i, err.message);
    }
    arena_free(arena);
}

static void make_refuses_one(struct snapshot_file wrong, const char *expected)
{
    struct snapshot snapshot;
    struct err err = ERR_INIT;
    struct snapshot_file files[] = {file("z"), wrong};
    assert_int_equal(snapshot_make(NULL, files, 2, &snapshot, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    if (!strstr(err.message, expected))
        fail_msg("'%s' does not say '%s'", err.message, expected);
}

static void test_make_refuses_numbers_out_of_range(void **state)
{
    (void)state;
    struct snapshot_file wrong = file("a");
    wrong.size = (uint64_t)INT64_MAX + 1;
    make_refuses_one(wrong, "beyond 2^63-1");
    wrong.size = INT64_MAX;
    make_refuses_one(wrong, "add up");
    wrong = file("a");
    wrong.mtime_ns = 1000000000;
    make_refuses_one(wrong, "modification time");
    wrong = file("a");
    wrong.mtime_s = 253402300800LL;
    make_refuses_one(wrong, "modification time");
    wrong = file("a");
    wrong.object[63] = 'A';
    make_refuses_one(wrong, "object id");
}

#define LINE(path) A64 " 5 0.000000000 - " path "\n"

static void test_parse_refuses_every_other_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected; /* NULL: accepted */
    } cases[] = {
        {HEAD, NULL},
        {HEAD LINE("a"), NULL},
        {HEAD LINE("a") LINE("b"), NULL},
        {"", "line 1"},
        {"sharedcache-snapshot 2\n", "line 1"},
        {"sharedcache-snapshot 1", "line 1"},
        {"sharedcache-snapshot 1\r\n", "line 1"},
        {HEAD "\n", "line 2"},
        {HEAD A64 " 5 0.000000000 - a", "line 2: does not end in a newline"},
        {HEAD LINE("b") LINE("a"), "not in order"},
        {HEAD LINE("a") LINE("a"), "stands twice"},
        {HEAD LINE("a") LINE("a-b") LINE("a/b"), "lies below"},
        {HEAD LINE("a") LINE("b") LINE("c") LINE("d"), "more than the limit of 3"},
        {HEAD LINE("../a"), "line 2"},
        {HEAD LINE("/a"), "line 2"},
        {HEAD LINE("a/"), "line 2"},
        {HEAD LINE("."), "line 2"},
        {HEAD LINE(".nfs1"), "line 2"},
        {HEAD LINE(""), "line 2"},
        {HEAD LINE("a b"), "canonical"},
        {HEAD LINE("%61"), "canonical"},
        {HEAD LINE("%c3%a9"), "line 2"},
        {HEAD LINE("\xc3\xa9"), "canonical"},
        {HEAD LINE("%C3"), "UTF-8"},
        {HEAD LINE("a%00b"), "line 2"},
        {HEAD LINE("a%0Ab"), "control"},
        {HEAD LINE("a%2"), "line 2"},
        {HEAD LINE("a%"), "line 2"},
        {HEAD LINE("%2E%2E"), "line 2"},
        {HEAD LINE("a%2Fb"), "canonical"},
        {HEAD A64 "  5 0.000000000 - a\n", "line 2"},
        {HEAD A64 " 05 0.000000000 - a\n", "line 2"},
        {HEAD A64 " +5 0.000000000 - a\n", "line 2"},
        {HEAD A64 " -5 0.000000000 - a\n", "line 2"},
        {HEAD A64 " 9223372036854775808 0.000000000 - a\n", "line 2"},
        {HEAD A64 " 99999999999999999999999 0.000000000 - a\n", "line 2"},
        {HEAD A64 " 5 0 - a\n", "line 2"},
        {HEAD A64 " 5 0.0 - a\n", "line 2"},
        {HEAD A64 " 5 -0.000000000 - a\n", "canonical"},
        {HEAD A64 " 5 00.000000000 - a\n", "line 2"},
        {HEAD A64 " 5 0.00000000a - a\n", "line 2"},
        {HEAD A64 " 5 --1.000000000 - a\n", "line 2"},
        {HEAD A64 " 5 999999999999.000000000 - a\n", "line 2"},
        {HEAD A64 " 5 0.000000000  a\n", "canonical"},
        {HEAD A64 " 5 0.000000000 a\n", "line 2"},
        {HEAD A64 " 5 0.000000000 %2d a\n", "line 2"},
        {HEAD "A" A64 " 5 0.000000000 - a\n", "line 2"},
        {HEAD "../../../../../../../../../../../../../../../../../../etc/passwd.. 5 0.000000000 - a\n", "line 2"},
    };
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct snapshot snapshot = {.count = 99};
        struct err err = ERR_INIT;
        int result = snapshot_parse(arena, cases[i].text, strlen(cases[i].text), 3, &snapshot, &err);
        if ((result == 0) != !cases[i].expected || (cases[i].expected && !strstr(err.message, cases[i].expected)))
            fail_msg("case %zu: %d %s\n%s", i, result, err.message, cases[i].text);
        assert_int_equal(err.code, cases[i].expected ? ERR_CORRUPT : ERR_NONE);
        assert_true(cases[i].expected ? snapshot.count == 99 : snapshot.count <= 3);
    }
    arena_free(arena);
}

static void test_object_ids_differ_by_each_part(void **state)
{
    (void)state;
    static const char *const lists[][5] = {
        {"https", "h:443", "https://h/x", "etag:1", ""}, {"http", "h:443", "https://h/x", "etag:1", ""},
        {"https", "h:444", "https://h/x", "etag:1", ""}, {"https", "h:443", "https://h/y", "etag:1", ""},
        {"https", "h:443", "https://h/x", "etag:2", ""}, {"https", "h:443", "https://h/x", "etag:1", "me"},
        {"https", "h:443", "https://h/xe", "tag:1", ""},
    };
    enum { COUNT = sizeof(lists) / sizeof(lists[0]) };
    char ids[COUNT][SHA256_HEX];
    for (size_t i = 0; i < COUNT; i++) {
        object_id(lists[i][0], lists[i][1], lists[i][2], lists[i][3], lists[i][4], ids[i]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    /* Stored objects are found by this value for ever. */
    assert_string_equal(ids[0], "5e4c34eac36e67469dd800893ebccf284488a68ee57ad0d5e96ad7de0c520b15");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_path_depth_and_length_are_bounded),
        cmocka_unit_test(test_golden_text_and_id),
        cmocka_unit_test(test_make_refuses),
        cmocka_unit_test(test_make_refuses_numbers_out_of_range),
        cmocka_unit_test(test_parse_refuses_every_other_spelling),
        cmocka_unit_test(test_object_ids_differ_by_each_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
