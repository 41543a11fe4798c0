/* Where redirects lead: RFC 3986's own examples, and what is never followed (rows 43, 44 of the table of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/http_redirect.h"

#define BASE "http://a/b/c/d;p?q"

static const struct {
    const char *base;
    const char *location;
    const char *target;
} good[] = {
    /* RFC 3986, 5.4, without its fragments */
    {BASE, "g", "http://a/b/c/g"},
    {BASE, "./g", "http://a/b/c/g"},
    {BASE, "g/", "http://a/b/c/g/"},
    {BASE, "/g", "http://a/g"},
    {BASE, "//g", "http://g"},
    {BASE, "?y", "http://a/b/c/d;p?y"},
    {BASE, "g?y", "http://a/b/c/g?y"},
    {BASE, "g#s", "http://a/b/c/g"},
    {BASE, ";x", "http://a/b/c/;x"},
    {BASE, ".", "http://a/b/c/"},
    {BASE, "..", "http://a/b/"},
    {BASE, "../g", "http://a/b/g"},
    {BASE, "../../g", "http://a/g"},
    {BASE, "../../../g", "http://a/g"},
    {BASE, "../../../../g", "http://a/g"},
    {BASE, "/./g", "http://a/g"},
    {BASE, "/../g", "http://a/g"},
    {BASE, "g.", "http://a/b/c/g."},
    {BASE, "..g", "http://a/b/c/..g"},
    {BASE, "./g/.", "http://a/b/c/g/"},
    {BASE, "g;x=1/../y", "http://a/b/c/y"},
    {BASE, "g?y/../x", "http://a/b/c/g?y/../x"},
    {BASE, "http://x/a/../b?sig=%2f", "http://x/b?sig=%2f"},
    {BASE, "HTTPS://x:8443/y", "HTTPS://x:8443/y"},
    {"https://a/b", "//c/d", "https://c/d"},
    {"http://a", "g", "http://a/g"},
    {"http://a?q", "g", "http://a/g"},
    /* what servers should have escaped */
    {BASE, "g h|\"\xc3\xa9", "http://a/b/c/g%20h%7C%22%C3%A9"},
};

static void references_resolve(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        const char *target = http_redirect_target(arena, good[i].base, good[i].location, &url, &err);
        if (!target)
            fail_msg("%s: %s", good[i].location, err.message);
        assert_string_equal(target, good[i].target);
    }
}

static const struct {
    const char *base;
    const char *location;
    enum err_code code;
} bad[] = {
    {"https://a/b", "http://a/b", ERR_PRECONDITION}, /* row 43: downgrade */
    {"https://a/b", "HTTP://a/b", ERR_PRECONDITION},
    {BASE, "file:///etc/passwd", ERR_DENIED},
    {BASE, "ftp://a/s3cret", ERR_DENIED},
    {BASE, "gopher://a/", ERR_DENIED},
    {BASE, "s3://bucket/key", ERR_DENIED},
    {BASE, "javascript:alert(1)", ERR_DENIED},
    {BASE, "http://u:s3cret@h/x", ERR_DENIED},
    {BASE, "//u@h/x", ERR_DENIED},
    {BASE, "http:///x", ERR_PRECONDITION},
    {BASE, "http:x", ERR_PRECONDITION},
    {BASE, "//", ERR_PRECONDITION},
    {BASE, "#", ERR_PRECONDITION},
    {BASE, "http://h:99999/", ERR_PRECONDITION},
    {BASE, "/%zz", ERR_PRECONDITION},
};

static void some_are_never_followed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        if (http_redirect_target(arena, bad[i].base, bad[i].location, &url, &err))
            fail_msg("followed: %s", bad[i].location);
        if (err.code != bad[i].code)
            fail_msg("%s: %s %s", bad[i].location, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* row 44 */
static void an_origin_is_scheme_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"http://h/x", "http://H:80/y", true},  {"https://h/", "https://h:443/", true},
        {"http://h/", "https://h/", false},     {"http://h/", "http://h:8080/", false},
        {"http://h/", "http://h.evil/", false}, {"http://[::1]/", "http://[0::1]/", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url a, b;
        assert_int_equal(url_parse(arena, cases[i].a, strlen(cases[i].a), &a, &err), 0);
        assert_int_equal(url_parse(arena, cases[i].b, strlen(cases[i].b), &b, &err), 0);
        assert_int_equal(http_same_origin(&a, &b), cases[i].equal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_resolve),
        cmocka_unit_test(some_are_never_followed),
        cmocka_unit_test(an_origin_is_scheme_host_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
