#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void set_then_prefixed(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "HTTP %d", 404), -1);
    assert_int_equal(err_prefix(&err, "input %d", 2), -1);
    assert_string_equal(err.message, "input 2: HTTP 404");
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void long_texts_are_cut_not_overrun(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    struct err err = ERR_INIT;
    err_set(&err, ERR_INTERNAL, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    err_set_errno(&err, ERR_NONE, ENOSPC, "%s", text);
    assert_int_equal(err.code, ERR_EXHAUSTED);
}

static void errno_gives_a_code(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        enum err_code code;
    } rows[] = {
        {ENOSPC, ERR_EXHAUSTED},   {EDQUOT, ERR_EXHAUSTED},      {EMFILE, ERR_EXHAUSTED}, {ESTALE, ERR_UNAVAILABLE},
        {EIO, ERR_UNAVAILABLE},    {ETIMEDOUT, ERR_UNAVAILABLE}, {ENOENT, ERR_NOT_FOUND}, {EEXIST, ERR_EXISTS},
        {EROFS, ERR_PRECONDITION}, {EACCES, ERR_PRECONDITION},   {EINVAL, ERR_INTERNAL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = ERR_INIT;
        err_set_errno(&err, ERR_NONE, rows[i].errnum, "x");
        assert_int_equal(err.code, rows[i].code);
        assert_non_null(strstr(err.message, strerror(rows[i].errnum)));
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int code = ERR_NONE; code <= ERR_INTERNAL; code++)
        assert_int_equal(err_code_parse(err_code_name((enum err_code)code)), code);
    assert_int_equal(err_code_parse("nonsense"), ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_then_prefixed),
        cmocka_unit_test(long_texts_are_cut_not_overrun),
        cmocka_unit_test(errno_gives_a_code),
        cmocka_unit_test(names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
