#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    _cleanup_(str_deinitp) struct str str = STR_INIT;
    for (int i = 0; i < 1000; i++) {
        str_printf(&str, "%d,", i);
        assert_int_equal(strlen(str.data), str.len);
    }
    assert_true(str_starts_with(str.data, "0,1,2,"));
    assert_true(str_ends_with(str.data, "998,999,"));
    str_clear(&str);
    assert_string_equal(str.data, "");
    char *text = str_steal(&str);
    assert_string_equal(text, "");
    free(text);
}

static void numbers_are_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"42", 0, 42},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -1, 0},
        {"99999999999999999999999", -1, 0},
        {"", -1, 0},
        {"007", -1, 0},
        {"+1", -1, 0},
        {"-1", -1, 0},
        {" 1", -1, 0},
        {"1 ", -1, 0},
        {"1e9", -1, 0},
        {"0x10", -1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t value = 7;
        assert_int_equal(str_parse_u64(rows[i].text, UINT64_MAX, &value), rows[i].result);
        assert_int_equal(value, rows[i].result == 0 ? rows[i].value : 7);
    }
    uint64_t value = 7;
    assert_int_equal(str_parse_u64("11", 10, &value), -1);
    assert_int_equal(value, 7);
}

static void quantities_are_those_of_kubernetes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"1Ki", 0, 1024},
        {"10Ti", 0, 10ULL << 40},
        {"5G", 0, 5000000000ULL},
        {"1k", 0, 1000},
        {"1K", -1, 0},
        {"1e9", -1, 0},
        {"-1Gi", -1, 0},
        {"1 Gi", -1, 0},
        {"1Gi ", -1, 0},
        {"", -1, 0},
        {"Gi", -1, 0},
        {"16384Pi", -1, 0},
        {"16383Pi", 0, 16383ULL << 50},
        {"1.5Gi", -1, 0},
        {"01Gi", -1, 0},
        {"111111111111111111111Gi", -1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t value = 7;
        assert_int_equal(str_parse_bytes(rows[i].text, &value), rows[i].result);
        assert_int_equal(value, rows[i].result == 0 ? rows[i].value : 7);
    }
}

static void people_read_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},        {1023, "1023 B"},        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"}, {1ULL << 40, "1.0 TiB"}, {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[16];
        str_human_bytes(rows[i].bytes, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void utf8_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"gr\xc3\xbc\xc3\x9f", true},
        {"\xf0\x9f\x93\xa6", true},
        {"\xc0\xaf", false},         /* overlong */
        {"\xe0\x80\x80", false},     /* overlong */
        {"\xf0\x80\x80\x80", false}, /* overlong */
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* beyond U+10FFFF */
        {"\xc3", false},             /* cut short */
        {"\x80", false},             /* alone */
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(str_is_utf8(rows[i].text, strlen(rows[i].text)), rows[i].valid);
}

static void hex_goes_both_ways(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x7f, 0xff, 0xa5};
    uint8_t back[4];
    char text[9];
    str_hex(bytes, 4, text);
    assert_string_equal(text, "007fffa5");
    assert_int_equal(str_unhex(text, back, 4), 0);
    assert_memory_equal(bytes, back, 4);
    assert_int_equal(str_unhex("007FFFA5", back, 4), -1);
    assert_int_equal(str_unhex("007fff", back, 4), -1);
    assert_int_equal(str_unhex("007fffa5a", back, 4), -1);
    assert_int_equal(str_unhex("007fff g", back, 4), -1);
}

static void patterns_match_whole_texts(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"ml-*", "ml-team", true},
        {"ml-*", "xml-team", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"*a*b*", "xxaxxbxx", true},
        {"*ab", "aab", true},
        {"*ab", "aba", false},
        {"s3://acme-*", "s3://acme-data/x", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(str_matches(rows[i].pattern, rows[i].text), rows[i].matches);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(quantities_are_those_of_kubernetes),
        cmocka_unit_test(people_read_sizes),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(patterns_match_whole_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
