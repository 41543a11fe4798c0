/* The declaration of inputs: its grammar, and errors that name the line (rows 22, 25, 30, 31 of the table of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/input.h"

#define SHA "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static int parse(struct arena *arena, const char *text, struct inputs *out, struct err *err)
{
    return inputs_parse(arena, text, strlen(text), out, err);
}

static void reads_the_grammar(void **state)
{
    (void)state;
    static const char text[] = "# inputs of the run\n"
                               "\n"
                               "s3://acme-datasets/train/a.bin -> train/\r\n"
                               "  https://data.example.com/vocab.txt   # the words\n"
                               "\thttps://h/x?token=t -> deep/er/name.txt sha256=" SHA "\n"
                               "az://acmeaccount/models/bert.safetensors  snapshot=" SHA " sha256=" SHA "\n"
                               "https://h/ -> index.html";
    static const struct {
        unsigned line;
        const char *place;
        bool sha256, snapshot;
    } expected[] = {
        {3, "train/a.bin", false, false},    {4, "vocab.txt", false, false},  {5, "deep/er/name.txt", true, false},
        {6, "bert.safetensors", true, true}, {7, "index.html", false, false},
    };
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct inputs inputs;
    if (parse(arena, text, &inputs, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(inputs.count, 5);
    for (size_t i = 0; i < inputs.count; i++) {
        const struct input *input = &inputs.items[i];
        assert_int_equal(input->line, expected[i].line);
        assert_string_equal(input->place, expected[i].place);
        assert_int_equal(input->sha256 != NULL, expected[i].sha256);
        assert_int_equal(input->snapshot != NULL, expected[i].snapshot);
        assert_false(input->is_prefix);
    }
    assert_string_equal(inputs.items[2].sha256, SHA);
    assert_string_equal(inputs.items[2].url_text, "https://h/x?token=t");
}

static void prefixes_and_globs_have_directories(void **state)
{
    (void)state;
    static const char text[] = "s3://acme/train/\n"
                               "gs://acme/labels/2026/*.csv -> labels/\n"
                               "az://account/models/[ab]/**   -> labels\n"
                               "s3://acme/train/ -> labels/a snapshot=" SHA "\n"
                               "s3://acme/x%2Ay?z\n"
                               "s3://acme/x%2Ay -> labels/b.csv\n"
                               "s3://acme/train/ -> labels/\n"
                               "s3://acme/train/ -> labels\n"
                               "s3://acme/";
    static const struct {
        unsigned line;
        const char *place, *display;
        bool is_prefix;
    } expected[] = {
        {1, "", "s3://acme/train/", true},
        {2, "labels", "gs://acme/labels/2026/*.csv", true},
        {3, "labels", "az://account/models/[ab]/**", true},
        {4, "labels/a", "s3://acme/train/", true},
        {5, "", "s3://acme/x%2Ay?z", true},
        {6, "labels/b.csv", "s3://acme/x*y", false},
        {7, "labels", "s3://acme/train/", true},
        {9, "", "s3://acme/", true},
    };
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct inputs inputs;
    if (parse(arena, text, &inputs, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(inputs.count, sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < inputs.count; i++) {
        assert_int_equal(inputs.items[i].line, expected[i].line);
        assert_string_equal(inputs.items[i].place, expected[i].place);
        assert_string_equal(inputs.items[i].url.display, expected[i].display);
        assert_int_equal(inputs.items[i].is_prefix, expected[i].is_prefix);
    }
}

static void digests_may_be_written_in_capitals(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct inputs inputs;
    assert_int_equal(parse(arena, "https://h/a sha256=9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08",
                           &inputs, &err),
                     0);
    assert_string_equal(inputs.items[0].sha256, SHA);
}

static const struct {
    const char *text;
    enum err_code code;
    const char *cause;
} bad[] = {
    {"", ERR_INVALID, "name nothing"}, /* row 22 */
    {"# only a comment\n\n", ERR_INVALID, "name nothing"},
    /* row 25 */
    {"https://h/a\nhttps://h/b -> a", ERR_INVALID, "line 1 and line 2 put different things at 'a'"},
    {"https://h/a -> d/x\n\nhttps://h/b -> D/X", ERR_INVALID, "line 1 and line 3 differ only in upper and lower case"},
    {"https://h/a -> d\nhttps://h/b -> d/x", ERR_INVALID, "line 1 and line 2 need both a file and a directory at 'd'"},
    {"https://h/b -> d/x/y\nhttps://h/c -> d-e\nhttps://h/a -> d", ERR_INVALID, "line 1 and line 3 need both"},
    {"https://h/a -> d/x\nhttps://h/b -> D/y", ERR_INVALID, "directories that differ only"},
    {"https://h/a\nhttps://h/a sha256=" SHA, ERR_INVALID, "line 1 and line 2 put different"},
    {"https://h/a ->", ERR_INVALID, "line 1: '->' with nothing after it"},
    {"https://h/a ->   # x", ERR_INVALID, "'->' with nothing"},
    {"https://h/a size=7", ERR_INVALID, "unknown option 'size'"},
    {"https://h/a -> b c", ERR_INVALID, "neither"},
    {"https://h/a https://h/b?sig=s3cret", ERR_INVALID, "neither"},
    {"https://h/a -> https://h/b?sig=s3cret", ERR_INVALID, "is a URL"},
    {"\n\nftp://h/a", ERR_INVALID, "line 3: the URL's scheme"},
    /* row 30 */
    {"https://h/a sha256=abc", ERR_INVALID, "64 hexadecimal"},
    {"https://h/a sha256=", ERR_INVALID, "64 hexadecimal"},
    {"https://h/a sha256=" SHA "0", ERR_INVALID, "64 hexadecimal"},
    {"https://h/a sha256=zf86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", ERR_INVALID,
     "64 hexadecimal"},
    {"https://h/a sha256=" SHA " sha256=" SHA, ERR_INVALID, "stands twice"},
    {"https://h/a sha256=" SHA " md5=d41d8cd98f00b204e9800998ecf8427e", ERR_INVALID, "unknown option 'md5'"},
    /* row 31 */
    {"https://h/a -> ../b", ERR_INVALID, "line 1"},
    {"https://h/a -> b/./c", ERR_INVALID, "line 1"},
    {"https://h/a -> b//c", ERR_INVALID, "line 1"},
    {"https://h/a -> /b", ERR_INVALID, "line 1"},
    {"https://h/a -> .nfs1", ERR_INVALID, ".nfs"},
    {"https://h/.nfs1", ERR_INVALID, ".nfs"},
    {"https://h/a%0Ab", ERR_INVALID, "control"},
    {"https://h/a%2Fb", ERR_INVALID, "does not end in a file name"},
    {"https://h/a -> b\x01", ERR_INVALID, "control character (0x01)"},
    {"https://h/a -> \xff\xfe", ERR_INVALID, "UTF-8"},
    {"https://h/", ERR_INVALID, "say '-> name'"},
    {"https://h/ -> d/", ERR_INVALID, "say '-> name'"},
    {"https://h/d/", ERR_INVALID, "https:// has no listings"},
    /* prefixes and globs */
    {"s3://b-1/p/ sha256=" SHA, ERR_INVALID, "line 1: sha256= goes with one object"},
    {"s3://b-1/p/?versionId=1", ERR_INVALID, "line 1: a version names one object"},
    {"s3://b-1/a**", ERR_INVALID, "line 1: '**' in the glob stands beside other text"},
    {"s3://b-1/[a", ERR_INVALID, "line 1: the glob holds '[' without ']'"},
    {"s3://b-1/p/ -> ../x/", ERR_INVALID, "line 1: the place: path '../x'"},
    {"s3://b-1/p/ -> /", ERR_INVALID, "line 1: the place"},
    {"s3://b-1/p/ -> x//", ERR_INVALID, "line 1: the place"},
    {"s3://b-1/p/ -> d\nhttps://h/d", ERR_INVALID, "line 1 and line 2 need both a file and a directory at 'd'"},
    {"https://h/d\n\ns3://b-1/p/ -> d/", ERR_INVALID, "line 1 and line 3 need both a file and a directory at 'd'"},
    {"https://h/d\ns3://b-1/p/ -> d/e", ERR_INVALID, "line 1 and line 2 need both a file and a directory at 'd'"},
    {"s3://b-1/p/ -> d\ns3://b-1/q/ -> D", ERR_INVALID, "line 1 and line 2 differ only in upper and lower case"},
    {"s3://b-1/p/ -> d\nhttps://h/x -> D/x", ERR_INVALID, "use directories that differ only in upper"},
};

static void errors_name_line_and_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct inputs inputs;
        if (parse(arena, bad[i].text, &inputs, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        if (err.code != bad[i].code || !strstr(err.message, bad[i].cause))
            fail_msg("%s: %s %s", bad[i].text, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* row 31: 256 bytes are one too many */
static void long_names_are_refused(void **state)
{
    (void)state;
    for (int len = 255; len <= 256; len++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct inputs inputs;
        char name[300];
        char text[400];
        memset(name, 'n', sizeof(name));
        snprintf(text, sizeof(text), "https://h/a -> %.*s", len, name);
        assert_int_equal(parse(arena, text, &inputs, &err), len == 255 ? 0 : -1);
    }
}

static void repeats_count_once(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct inputs inputs;
    assert_int_equal(parse(arena, "https://h/b\nhttps://h/a\nhttps://h/b\nhttps://h/b\n", &inputs, &err), 0);
    assert_int_equal(inputs.count, 2);
    assert_int_equal(inputs.items[0].line, 1);
    assert_int_equal(inputs.items[1].line, 2);
}

static void counts_and_bytes_are_bounded(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct err err = ERR_INIT;
    struct inputs inputs;
    for (unsigned i = 0; i < INPUTS_MAX; i++)
        str_printf(&text, "https://h/%u\n", i);
    assert_int_equal(inputs_parse(arena, text.data, text.len, &inputs, &err), 0);
    assert_int_equal(inputs.count, INPUTS_MAX);
    str_append_text(&text, "https://h/one-more");
    assert_int_equal(inputs_parse(arena, text.data, text.len, &inputs, &err), -1);
    assert_non_null(strstr(err.message, "line 10001: more than 10000"));
    str_clear(&text);
    for (unsigned i = 0; i <= INPUTS_BYTES_MAX; i++)
        str_append_char(&text, '#');
    assert_int_equal(inputs_parse(arena, text.data, text.len, &inputs, &err), -1);
    assert_non_null(strstr(err.message, "more than the limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_grammar),
        cmocka_unit_test(prefixes_and_globs_have_directories),
        cmocka_unit_test(digests_may_be_written_in_capitals),
        cmocka_unit_test(errors_name_line_and_cause),
        cmocka_unit_test(long_names_are_refused),
        cmocka_unit_test(repeats_count_once),
        cmocka_unit_test(counts_and_bytes_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
