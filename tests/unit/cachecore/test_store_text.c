/* The small files' texts are a promise (docs/STORE.md): what is written, byte by byte, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/store_internal.h"

#define OBJECT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID "00112233445566778899aabbccddeeff"
#define SUMS "sharedcache-sums 1\nobject " OBJECT "\n"
/* CRC32C of "123456789" is e3069283, of "1234" f63af4ee, of "56789" 83b565d8. */
#define WHOLE "size 9\nwhole e3069283\n"

static void test_golden_texts(void **state)
{
    (void)state;
    struct part parts[] = {{.len = 4, .crc32c = crc32c(0, "1234", 4)},
                           {.offset = 4, .len = 5, .crc32c = crc32c(0, "56789", 5)}};
    const struct sums sums = {.size = 9, .crc32c = 0xe3069283, .parts = parts, .count = 2};
    const struct store_format format = {.version = 1, .id = ID, .created_s = 1700000000};
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    store_format_write(&format, &text);
    assert_string_equal(text.data, "sharedcache-store 1\nid " ID "\ncreated 1700000000\ncrc32c 03155111\n");
    str_clear(&text);
    store_sums_write(OBJECT, &sums, &text);
    assert_string_equal(text.data, SUMS WHOLE "part 4 f63af4ee\npart 5 83b565d8\ncrc32c 0c0209bf\n");
    str_clear(&text);
    journal_header(&text, OBJECT);
    journal_size(&text, 9);
    journal_part(&text, &parts[1]);
    journal_reset(&text);
    assert_string_equal(text.data, "sharedcache-partial 1 " OBJECT " 8cf3cd50\nsize 9 0f45f72c\n"
                                   "part 4 5 83b565d8 e02dac15\nreset 9b741eeb\n");
}

static void test_sums_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body; /* sealed by the test */
        int result;
    } cases[] = {
        {SUMS WHOLE "part 4 f63af4ee\npart 5 83b565d8\n", 0},
        {SUMS WHOLE "part 9 e3069283\n", 0},
        {SUMS "size 0\nwhole 00000000\n", 0},
        {SUMS WHOLE "part 4 f63af4ee\n", -1},
        {SUMS WHOLE "part 4 f63af4ee\npart 5 18d12336\n", -1},
        {SUMS WHOLE "part 4 f63af4ee\npart 6 83b565d8\n", -1},
        {SUMS WHOLE "part 4 f63af4ee\npart 0 00000000\npart 5 83b565d8\n", -1},
        {SUMS WHOLE "part 5 83b565d8\npart 4 f63af4ee\n", -1},
        {SUMS WHOLE "part 04 f63af4ee\npart 5 83b565d8\n", -1},
        {SUMS WHOLE "part 4 F63AF4EE\npart 5 83b565d8\n", -1},
        {SUMS WHOLE "part 9 e3069283\nmore\n", -1},
        {SUMS WHOLE "part 9 e3069283", -1},
        {"sharedcache-sums 2\nobject " OBJECT "\n" WHOLE "part 9 e3069283\n", -1},
        {"sharedcache-sums 1\nobject b" OBJECT "\n" WHOLE "part 9 e3069283\n", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sums sums = {.count = 99};
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        _cleanup_(str_deinitp) struct str text = STR_INIT;
        str_append_text(&text, cases[i].body);
        store_text_seal(&text);
        if (store_sums_parse(arena, OBJECT, text.data, text.len, &sums) != cases[i].result)
            fail_msg("case %zu", i);
        assert_true((sums.count == 99) == (cases[i].result != 0));
        text.data[0] ^= 1;
        assert_int_equal(store_sums_parse(arena, OBJECT, text.data, text.len, &sums), -1);
    }
}

/* "0+10 20+5" from "part 0 10|part 20 5". */
static void parts_show(const struct parts *parts, struct str *out)
{
    str_append_text(out, "");
    for (size_t i = 0; i < parts->count; i++)
        str_printf(out, "%s%lu+%lu", i ? " " : "", (unsigned long)parts->items[i].offset,
                   (unsigned long)parts->items[i].len);
}

static void test_journals(void **state)
{
    (void)state;
    static const struct {
        const char *lines; /* '|' ends a line and seals it, '~' ends it without its checksum */
        bool is_for_object;
        const char *parts;
        uint64_t size;
    } cases[] = {
        {"", false, "", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|", true, "", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "~part 0 1 00000000|", false, "", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 2 " OBJECT "|part 0 1 00000000|", false, "", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|size 30|part 0 10 00000001|part 20 5 00000002|", true, "0+10 20+5", 30},
        {"sharedcache-partial 1 " OBJECT "|part 20 5 00000002|part 0 10 00000001|", true, "0+10 20+5",
         STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 10 00000001|part 5 10 00000002|", true, "5+10", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 5 00000001|part 5 5 00000002|part 10 5 00000003|part 4 7 00000004|",
         true, "4+7", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 5 00000001|part 10 5 00000003|part 5 5 00000002|", true,
         "0+5 5+5 10+5", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 5 00000001~part 5 5 00000002|", true, "5+5", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|~~|part 5 5 00000002|", true, "5+5", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 5 00000001|reset|part 7 5 00000002|", true, "7+5",
         STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 0 00000001|part 0 -1 00000001|part 0 1 1|part 0 1 0000000A|part "
         "9223372036854775807 1 00000001|part 1 2|",
         true, "", STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|later versions say more|part 1 2 00000003|", true, "1+2",
         STORE_SIZE_UNKNOWN},
        {"sharedcache-partial 1 " OBJECT "|part 0 5 00000001|part 5 5", true, "0+5", STORE_SIZE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct journal journal;
        _cleanup_(str_deinitp) struct str text = STR_INIT;
        _cleanup_(str_deinitp) struct str shown = STR_INIT;
        size_t start = 0;
        str_append_text(&text, "");
        for (const char *p = cases[i].lines; *p; p++) {
            if (*p != '|' && *p != '~') {
                str_append_char(&text, *p);
                continue;
            }
            if (*p == '|')
                str_printf(&text, " %08x", crc32c(0, text.data + start, text.len - start));
            str_append_char(&text, '\n');
            start = text.len;
        }
        journal_parse(OBJECT, text.data, text.len, &journal);
        parts_show(&journal.parts, &shown);
        if (journal.is_for_object != cases[i].is_for_object || strcmp(shown.data, cases[i].parts) != 0)
            fail_msg("case %zu: '%s'", i, shown.data);
        assert_int_equal(journal.size, cases[i].size);
        parts_deinit(&journal.parts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_texts),
        cmocka_unit_test(test_sums_are_read_or_refused),
        cmocka_unit_test(test_journals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
