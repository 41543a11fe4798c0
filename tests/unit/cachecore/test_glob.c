/* Globs: what matches, what is refused, and how much work the worst ones are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/glob.h"

#define A "\xc3\xa4"             /* U+00E4 */
#define SMILE "\xf0\x9f\x98\x80" /* U+1F600 */

static const struct {
    const char *pattern, *base, *prefix;
    const char *yes[6], *no[8];
} globs[] = {
    {"a/*.csv",
     "a/",
     "a/",
     {"a/x.csv", "a/.csv", "a/a.csv.csv"},
     {"a/x.cs", "a/b/x.csv", "a/x.csvx", "b/x.csv", "a/", ""}},
    {"*", "", "", {"a", A, "\xff"}, {"a/b", "/"}},
    {"a/b*", "a/", "a/b", {"a/b", "a/bc"}, {"a/c", "a/b/c", "a/"}},
    {"a/b*/c?/d", "a/", "a/b", {"a/b/cx/d", "a/bb/cc/d"}, {"a/b/c/d", "a/b/c//d", "a/b/x/cx/d"}},
    {"?",
     "",
     "",
     {"a", A, SMILE, "\xff", "\xc3"},
     {"", "/", "ab", A "a",
      "\xc3"
      "a",
      "\xff\xff"}},
    {"[abc]", "", "", {"a", "b", "c"}, {"d", "", "ab", "/"}},
    {"[a-c]x", "", "", {"ax", "cx"}, {"dx", "Ax", "x"}},
    {"[!a-c]", "", "", {"d", A, "-", "!"}, {"a", "b", "/", ""}},
    {"[a!]", "", "", {"a", "!"}, {"b"}},
    {"[]a]", "", "", {"]", "a"}, {"b"}},
    {"[!]a]", "", "", {"b"}, {"]", "a"}},
    {"[a-]", "", "", {"a", "-"}, {"b"}},
    {"[-a]", "", "", {"a", "-"}, {"b"}},
    {"[%21a]", "", "", {"!", "a"}, {"b"}},
    {"[a%2Dc]", "", "", {"a", "-", "c"}, {"b"}},
    {"[%5Da]", "", "", {"]", "a"}, {"b"}},
    {"[a%5D]", "", "", {"]", "a"}, {"b"}},
    {"[%C3%A4-%C3%BC]", "", "", {A, "\xc3\xb6"}, {"a", "\xc3", "\xc3\xbd"}},
    {"%2A*%3F", "", "*", {"*?", "*a?"}, {"a?", "*a"}},
    {"a%5Bb]*", "", "a[b]", {"a[b]", "a[b]c"}, {"ab"}},
    {"%C3%A4/*", A "/", A "/", {A "/x"}, {"a/x"}},
    {"a//*", "a//", "a//", {"a//x"}, {"a/x"}},
    {"**", "", "", {"a", "a/b", "a/b/c.csv", "\xff/\xff"}, {NULL}},
    {"a/**", "a/", "a/", {"a/b", "a/b/c"}, {"a", "b/a", "aa/b"}},
    {"**/x", "", "", {"x", "a/x", "a/b/x"}, {"ax", "x/a", "a/bx", "a/x/"}},
    {"a/**/x", "a/", "a/", {"a/x", "a/b/x", "a/b/c/x"}, {"ax", "a/bx", "x", "a/b/x/y"}},
    {"a/**/**/x", "a/", "a/", {"a/x", "a/b/x", "a/b/c/x"}, {"a/bx"}},
    {"**/a*/**/*.csv",
     "",
     "",
     {"a/x.csv", "b/ab/x.csv", "a/b/c/x.csv", "c/a/a/.csv"},
     {"x.csv", "ba/x.csv", "a/x.txt"}},
    {"a/**/b/**/c", "a/", "a/", {"a/b/c", "a/x/b/y/c", "a/b/b/c", "a/b/c/b/c"}, {"a/c", "a/b/x", "a/bb/c"}},
    {"a*b*c", "", "a", {"abc", "axbxc", "abbcc", "abcbc"}, {"ab", "acb", "ab/c"}},
};

static void what_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(globs) / sizeof(globs[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct glob glob;
        if (glob_parse(arena, globs[i].pattern, &glob, &err) != 0)
            fail_msg("%s: %s", globs[i].pattern, err.message);
        assert_string_equal(glob.base, globs[i].base);
        assert_string_equal(glob.prefix, globs[i].prefix);
        for (size_t k = 0; k < 6 && globs[i].yes[k]; k++) {
            if (!glob_match(&glob, globs[i].yes[k], strlen(globs[i].yes[k]), NULL))
                fail_msg("%s does not match %s", globs[i].pattern, globs[i].yes[k]);
            assert_int_equal(strncmp(globs[i].yes[k], glob.prefix, strlen(glob.prefix)), 0);
        }
        for (size_t k = 0; k < 8 && globs[i].no[k]; k++) {
            if (glob_match(&glob, globs[i].no[k], strlen(globs[i].no[k]), NULL))
                fail_msg("%s matches %s", globs[i].pattern, globs[i].no[k]);
        }
    }
}

static const struct {
    const char *pattern, *cause;
} bad[] = {
    {"[", "'[' without ']'"},   {"[a", "'[' without ']'"},    {"[]", "'[' without ']'"},
    {"[!]", "'[' without ']'"}, {"[a-", "'[' without ']'"},   {"[a%5D", "'[' without ']'"},
    {"a[b/c]", "'/' between"},  {"[a-/]", "'/' between"},     {"[c-a]", "end comes before its start"},
    {"a**", "stands beside"},   {"**a", "stands beside"},     {"a/**.csv", "stands beside"},
    {"***", "stands beside"},   {"a/**b/c", "stands beside"},
};

static void what_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct glob glob;
        if (glob_parse(arena, bad[i].pattern, &glob, &err) == 0)
            fail_msg("taken: %s", bad[i].pattern);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.message, bad[i].cause))
            fail_msg("%s: %s", bad[i].pattern, err.message);
    }
}

/* Patterns that take backtracking matchers for ever; counted, not timed. */
static void the_worst_are_bounded(void **state)
{
    (void)state;
    static const char *const units[] = {"*a", "?*", "**/", "**/*a", "[!b]*", "*a*a/**/"};
    static const char *const keys[] = {"a", "a/", "aaa/", "ab"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            _cleanup_(arena_freep) struct arena *arena = arena_new();
            struct err err = ERR_INIT;
            struct glob glob;
            char pattern[600] = "", key[1100] = "";
            uint64_t steps = 0;
            for (size_t n = 0; n < 50; n++)
                strcat(pattern,
                       strstr(units[i], "**") && n > 0 && pattern[strlen(pattern) - 1] != '/' ? "/" : units[i]);
            strcat(pattern, pattern[strlen(pattern) - 1] == '*' ? "/z" : "z");
            while (strlen(key) < 1000)
                strcat(key, keys[k]);
            if (glob_parse(arena, pattern, &glob, &err) != 0)
                fail_msg("%s: %s", pattern, err.message);
            assert_false(glob_match(&glob, key, strlen(key), &steps));
            assert_in_range(steps, 1, (strlen(key) + 1) * (glob.count + 1));
        }
    }
}

static void its_length_is_bounded(void **state)
{
    (void)state;
    for (size_t len = GLOB_TOKENS_MAX; len <= GLOB_TOKENS_MAX + 1; len++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct glob glob;
        char pattern[GLOB_TOKENS_MAX + 2];
        memset(pattern, '?', len);
        pattern[len] = '\0';
        assert_int_equal(glob_parse(arena, pattern, &glob, &err), len == GLOB_TOKENS_MAX ? 0 : -1);
        if (len == GLOB_TOKENS_MAX)
            assert_false(glob_match(&glob, pattern, len - 1, NULL));
        if (len == GLOB_TOKENS_MAX)
            assert_true(glob_match(&glob, pattern, len, NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_matches),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(the_worst_are_bounded),
        cmocka_unit_test(its_length_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
