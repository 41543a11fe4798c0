/* csi/grpc.h and csi/status.h: tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "csi/grpc.h"
#include "csi/status.h"

static void test_timeout_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0n", 0},
        {"1n", 1},
        {"999999n", 1},
        {"1000001n", 2},
        {"5u", 1},
        {"250m", 250},
        {"2S", 2000},
        {"1M", 60000},
        {"1H", 3600000},
        {"99999999m", 99999999},
        {"99999999H", INT64_C(359999996400000)},
        {"00000001S", 1000},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"123456789S", -1},
        {"1s", -1},
        {"-1S", -1},
        {" 1S", -1},
        {"1 S", -1},
        {"1.5S", -1},
        {"1SS", -1},
        {"\xff"
         "S",
         -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(grpc_timeout_parse(cases[i].text, strlen(cases[i].text)), cases[i].ms);
}

static void test_timeout_print(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "0m"},
        {-5, "0m"},
        {1500, "1500m"},
        {99999999, "99999999m"},
        {100000000, "100000S"},
        {INT64_MAX, "99999999S"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[16];
        grpc_timeout_print(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_message_encode(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *encoded;
    } cases[] = {
        {"plain text, ok!", "plain text, ok!"},
        {"100% \n", "100%25 %0A"},
        {"caf\xc3\xa9", "caf%C3%A9"},
        {"bad\xff\xc3", "bad??"},
        {"~\x7f", "~%7F"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(str_deinitp) struct str out = STR_INIT;
        grpc_message_encode(cases[i].text, &out);
        assert_string_equal(out.data, cases[i].encoded);
    }
}

static void test_message_is_cut_at_a_character(void **state)
{
    (void)state;
    char text[2000];
    char decoded[GRPC_MESSAGE_MAX + 1];
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof(text) - 2] = '\0';
    grpc_message_encode(text, &out);
    assert_int_equal(out.len, GRPC_MESSAGE_MAX / 6 * 6);
    grpc_message_decode(out.data, out.len, decoded, sizeof(decoded));
    assert_true(str_is_utf8(decoded, strlen(decoded)));
    assert_int_equal(strncmp(decoded, text, strlen(decoded)), 0);
}

static void test_message_decode(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *text;
    } cases[] = {
        {"caf%C3%a9 100%25", "caf\xc3\xa9 100%"}, {"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"%4z", "%4z"}, {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        grpc_message_decode(cases[i].value, strlen(cases[i].value), out, sizeof(out));
        assert_string_equal(out, cases[i].text);
    }
    char small[4];
    grpc_message_decode("abcdef", 6, small, sizeof(small));
    assert_string_equal(small, "abc");
}

#define MAX 100

static const struct reader_case {
    const char *data;
    size_t len;
    enum grpc_status add;
    enum grpc_status finish;
} reader_cases[] = {
    {"\0\0\0\0\3abc", 8, GRPC_OK, GRPC_OK},
    {"\0\0\0\0\0", 5, GRPC_OK, GRPC_OK},
    {"", 0, GRPC_OK, GRPC_INTERNAL},
    {"\0\0\0", 3, GRPC_OK, GRPC_INTERNAL},
    {"\0\0\0\0\3ab", 7, GRPC_OK, GRPC_INTERNAL},
    {"\0\0\0\0\3abcd", 9, GRPC_INTERNAL, 0},
    {"\0\0\0\0\0\0\0\0\0\0", 10, GRPC_INTERNAL, 0},
    {"\1\0\0\0\3abc", 8, GRPC_UNIMPLEMENTED, 0},
    {"\2\0\0\0\3abc", 8, GRPC_INTERNAL, 0},
    {"\0\0\0\0\145", 5, GRPC_RESOURCE_EXHAUSTED, 0},
    {"\0\377\377\377\377", 5, GRPC_RESOURCE_EXHAUSTED, 0},
};

/* Whole, and byte by byte: the result is the same. */
static void test_reader(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(reader_cases) / sizeof(reader_cases[0]); i++) {
        const struct reader_case *c = &reader_cases[i];
        for (size_t step = 1; step <= 10; step += 9) {
            struct grpc_reader reader = {.message = NULL};
            const char *reason = NULL;
            enum grpc_status status = GRPC_OK;
            for (size_t at = 0; at < c->len && status == GRPC_OK; at += step) {
                size_t part = c->len - at < step ? c->len - at : step;
                status = grpc_reader_add(&reader, (const uint8_t *)c->data + at, part, MAX, &reason);
            }
            assert_int_equal(status, c->add);
            if (status == GRPC_OK)
                assert_int_equal(grpc_reader_finish(&reader, &reason), c->finish);
            if (status == GRPC_OK && c->finish == GRPC_OK)
                assert_memory_equal(reader.message, c->data + 5, reader.len);
            assert_true((c->add == GRPC_OK && c->finish == GRPC_OK) == (reason == NULL));
            grpc_reader_deinit(&reader);
        }
    }
}

static void test_prefix_write(void **state)
{
    (void)state;
    uint8_t prefix[GRPC_PREFIX_LEN];
    grpc_prefix_write(prefix, 0x01020304);
    assert_memory_equal(prefix, "\0\1\2\3\4", 5);
}

static void test_status_table(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        enum grpc_status status;
        bool final;
    } cases[] = {
        {ERR_NONE, GRPC_OK, true},
        {ERR_INVALID, GRPC_INVALID_ARGUMENT, true},
        {ERR_DENIED, GRPC_PERMISSION_DENIED, true},
        {ERR_UNAUTHENTICATED, GRPC_UNAUTHENTICATED, true},
        {ERR_NOT_FOUND, GRPC_NOT_FOUND, true},
        {ERR_EXISTS, GRPC_ALREADY_EXISTS, true},
        {ERR_PRECONDITION, GRPC_FAILED_PRECONDITION, true},
        {ERR_BUSY, GRPC_ABORTED, false},
        {ERR_EXHAUSTED, GRPC_RESOURCE_EXHAUSTED, false},
        {ERR_UNAVAILABLE, GRPC_UNAVAILABLE, false},
        {ERR_DEADLINE, GRPC_DEADLINE_EXCEEDED, false},
        {ERR_CANCELLED, GRPC_CANCELLED, false},
        {ERR_CORRUPT, GRPC_INTERNAL, true},
        {ERR_RANGE, GRPC_OUT_OF_RANGE, true},
        {ERR_UNSUPPORTED, GRPC_FAILED_PRECONDITION, true},
        {ERR_INTERNAL, GRPC_INTERNAL, true},
        {(enum err_code)99, GRPC_INTERNAL, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(status_from_err(cases[i].code), cases[i].status);
        assert_int_equal(status_is_final(cases[i].status), cases[i].final);
    }
    assert_string_equal(grpc_status_name(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
    assert_string_equal(grpc_status_name((enum grpc_status)17), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeout_parse),  cmocka_unit_test(test_timeout_print),
        cmocka_unit_test(test_message_encode), cmocka_unit_test(test_message_is_cut_at_a_character),
        cmocka_unit_test(test_message_decode), cmocka_unit_test(test_reader),
        cmocka_unit_test(test_prefix_write),   cmocka_unit_test(test_status_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
