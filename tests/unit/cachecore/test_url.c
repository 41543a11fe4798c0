/* URLs: what is taken, in which canonical form, and what is refused (rows 37, 38, 46, 47 of the table of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/url.h"
#include "cachecore/url_text.h"

static const struct {
    const char *text;
    const char *canonical;
    const char *display; /* NULL: as canonical */
    const char *basename;
    unsigned port;
} good[] = {
    {"https://data.example.com/vocab.txt", "https://data.example.com/vocab.txt", NULL, "vocab.txt", 443},
    {"HTTPS://Data.Example.COM:443/a", "https://data.example.com/a", NULL, "a", 443},
    {"http://h:8080/a/b", "http://h:8080/a/b", NULL, "b", 8080},
    {"http://h", "http://h/", NULL, NULL, 80},
    {"http://h?x=1", "http://h/?x=1", "http://h/", NULL, 80},
    {"http://[::1]/x", "http://[::1]/x", NULL, "x", 80},
    {"http://[0:0:0:0:0:ffff:7f00:1]:81/x", "http://[::ffff:127.0.0.1]:81/x", NULL, "x", 81},
    {"http://2130706433/x", "http://2130706433/x", NULL, "x", 80},
    {"https://h/%7euser/%41%2f%2Bb", "https://h/~user/A%2F%2Bb", NULL, NULL, 443},
    {"https://h/a%20b%c3%a9", "https://h/a%20b%C3%A9", NULL, "a b\xc3\xa9", 443},
    {"https://h/[x]*", "https://h/%5Bx%5D*", NULL, "[x]*", 443},
    {"https://h/a?b=%2B+c&d", "https://h/a?b=%2B+c&d", "https://h/a", "a", 443},
    {"https://h/a?", "https://h/a", NULL, "a", 443},
    {"s3://bucket/key", "s3://bucket/key", NULL, "key", 0},
    {"s3://bucket", "s3://bucket/", NULL, NULL, 0},
    {"s3://my.bucket/a%2Fb%2B+c", "s3://my.bucket/a/b++c", NULL, "b++c", 0},
    {"s3://bucket/a//b", "s3://bucket/a//b", NULL, "b", 0},
    {"s3://bucket/k?versionId=3%2FL4kq", "s3://bucket/k?versionId=3%2FL4kq", "s3://bucket/k", "k", 0},
    {"s3://bucket/k?.csv", "s3://bucket/k%3F.csv", "s3://bucket/k?.csv", "k?.csv", 0},
    {"s3://bucket/%6b%2a[!%2d]*%5D", "s3://bucket/k*%5B!-%5D*%5D", "s3://bucket/k%2A[!%2D]*%5D", "k*[!-]*]", 0},
    {"gs://a_b-c/x/y.bin", "gs://a_b-c/x/y.bin", NULL, "y.bin", 0},
    {"az://account1/models/bert", "az://account1/models/bert", NULL, "bert", 0},
    /* row 46: what signs a request is no part of what is asked for */
    {"https://h/o?X-Amz-Algorithm=A&X-Amz-Signature=s3cret&response-type=x", "https://h/o?response-type=x",
     "https://h/o", "o", 443},
    {"https://h/o?x-goog-signature=s3cret", "https://h/o", NULL, "o", 443},
    {"https://h/o?sv=1&se=2&sp=r&sig=s3cret&snapshot=7", "https://h/o?snapshot=7", "https://h/o", "o", 443},
    {"https://h/o?sp=r&se=2", "https://h/o?sp=r&se=2", "https://h/o", "o", 443},
    {"https://h/o?Expires=1&Signature=s3cret&Key-Pair-Id=k", "https://h/o", NULL, "o", 443},
    {"https://h/o?Expires=1", "https://h/o?Expires=1", "https://h/o", "o", 443},
};

static void accepts_and_canonicalises(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        if (url_parse(arena, good[i].text, strlen(good[i].text), &url, &err) != 0)
            fail_msg("%s: %s", good[i].text, err.message);
        assert_string_equal(url.canonical, good[i].canonical);
        assert_string_equal(url.display, good[i].display ? good[i].display : good[i].canonical);
        assert_int_equal(url.port, good[i].port);
        const char *name = url_basename(arena, &url);
        assert_int_equal(name != NULL, good[i].basename != NULL);
        if (name)
            assert_string_equal(name, good[i].basename);
        assert_null(strstr(url.canonical, "s3cret"));
        assert_int_equal(url.is_signed, strstr(good[i].text, "s3cret") != NULL);
    }
}

/* What a listing names has the canonical URL that its own line would have. */
static void keys_have_urls(void **state)
{
    (void)state;
    static const char *const keys[] = {"a/b", "a b+c%d?e*f[g]", "\xc3\xa9/\xff", "a//b", "~-._!$&'()+,;=:@"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url bucket, url;
        size_t len;
        assert_int_equal(url_parse(arena, "s3://bucket/x/", 14, &bucket, &err), 0);
        const char *text = url_of_key(arena, &bucket, keys[i], strlen(keys[i]));
        const char *encoded = arena_printf(arena, "s3://bucket/%s", url_encode(arena, keys[i], strlen(keys[i]), true));
        assert_int_equal(url_parse(arena, encoded, strlen(encoded), &url, &err), 0);
        assert_string_equal(url.canonical, text);
        assert_string_equal(url_key(arena, &url, &len, &err), keys[i]);
    }
}

/* A canonical URL without a query parses to itself. */
static void canonical_is_a_fixed_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        assert_int_equal(url_parse(arena, good[i].canonical, strlen(good[i].canonical), &url, &err), 0);
        assert_string_equal(url.canonical, good[i].canonical);
    }
}

static const struct {
    const char *text;
    const char *cause; /* must stand in the message */
} bad[] = {
    /* row 37 */
    {"", "empty"},
    {"file:///etc/passwd", "scheme is not supported"},
    {"ftp://h/x", "scheme is not supported"},
    {"gopher://h/x", "scheme is not supported"},
    {"data:text/plain,x", "start with a scheme"},
    {"unix:///run/x.sock", "scheme is not supported"},
    {"//host/x", "start with a scheme"},
    {"host/x", "start with a scheme"},
    {"://h/x", "start with a scheme"},
    {"https:/h/x", "start with a scheme"},
    {"https://", "no host"},
    {"https:///x", "no host"},
    /* row 38 */
    {"https://user:s3cret@h/x", "user information"},
    {"https://h/x#s3cret", "fragment"},
    {"https://h/a b", "0x20"},
    {"https://h/a\tb", "0x09"},
    {"https://h/\xc3\xa9?s3cret", "0xc3"},
    {"https://h/\x7f", "0x7f"},
    {"https://h/a\\b", "'\\'"},
    {"https://h/<x>", "'<'"},
    {"https://h/%zz", "two hex digits"},
    {"https://h/%4", "two hex digits"},
    {"https://h/x?s3cret=%4", "two hex digits"},
    {"https://h/a%00b", "escaped NUL"},
    {"https://h/a/../b", "'..'"},
    {"https://h/a/%2e%2E/b", "'..'"},
    {"https://h/./b", "'.'"},
    {"s3://bucket/a%2F..%2Fb", "'..'"},
    {"https://h:0/x", "port"},
    {"https://h:65536/x", "port"},
    {"https://h:/x", "port"},
    {"https://h:8a/x", "port"},
    {"https://h:080/x", "port"},
    {"https://[::1/x", "closing"},
    {"https://[::1%25eth0]/x", "IPv6"},
    {"https://[::1]x/y", "after the host"},
    {"https://a..b/x", "not a host name"},
    {"https://-a.b/x", "not a host name"},
    {"https://a-/x", "not a host name"},
    {"https://h%41/x", "byte 2"},
    {"s3://Bucket/x", "bucket name"},
    {"s3://ab/x", "3 to 63"},
    {"s3://bucket:80/x", "after the host"},
    {"s3://arn:aws:s3:us-west-2:123456789012:accesspoint/data/x", "an ARN: write the bucket"},
    {"az://acc-ount/c/b", "storage account"},
};

static void refuses_with_the_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        if (url_parse(arena, bad[i].text, strlen(bad[i].text), &url, &err) == 0)
            fail_msg("taken: %s", bad[i].text);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.message, bad[i].cause))
            fail_msg("%s: %s", bad[i].text, err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* row 38: 8 KiB */
static void length_is_bounded(void **state)
{
    (void)state;
    for (size_t len = URL_MAX; len <= URL_MAX + 1; len++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        char text[URL_MAX + 2];
        memset(text, 'a', sizeof(text));
        memcpy(text, "https://h/", 10);
        assert_int_equal(url_parse(arena, text, len, &url, &err), len > URL_MAX ? -1 : 0);
    }
}

/* row 47: one key, one spelling */
static void spellings_of_a_key_are_one(void **state)
{
    (void)state;
    static const char *const spellings[] = {"s3://bucket/a%20b/%2Bc~", "s3://bucket/%61%20b/+c%7E",
                                            "s3://bucket/a%20b%2F+c~"};
    for (size_t i = 0; i < 3; i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        size_t len;
        assert_int_equal(url_parse(arena, spellings[i], strlen(spellings[i]), &url, &err), 0);
        assert_string_equal(url.canonical, "s3://bucket/a%20b/+c~");
        const char *key = url_key(arena, &url, &len, &err);
        assert_int_equal(len, 7);
        assert_memory_equal(key, "a b/+c~", 7);
    }
}

static void globs_and_versions_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool glob;
        const char *query;
    } cases[] = {
        {"s3://bucket/*.csv", true, NULL},
        {"s3://bucket/a?.csv", true, NULL},
        {"s3://bucket/[ab].csv", true, NULL},
        {"s3://bucket/%2A.csv", false, NULL},
        {"s3://bucket/a?versionId=v", false, "versionId=v"},
        {"s3://bucket/a?versionId=v&x=y", true, NULL},
        {"gs://bucket/a?generation=7", false, "generation=7"},
        {"s3://bucket/a?generation=7", true, NULL},
        {"https://h/*", false, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        assert_int_equal(url_parse(arena, cases[i].text, strlen(cases[i].text), &url, &err), 0);
        assert_int_equal(url.is_glob, cases[i].glob);
        assert_int_equal(url.query != NULL, cases[i].query != NULL);
        if (url.query)
            assert_string_equal(url.query, cases[i].query);
    }
}

static void query_values_are_found(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    assert_string_equal(url_query_get(arena, "a=1&versionId=x%2Fy&b", "versionId"), "x/y");
    assert_string_equal(url_query_get(arena, "b", "b"), "");
    assert_null(url_query_get(arena, "ab=1", "a"));
    assert_null(url_query_get(arena, NULL, "a"));
}

static void encoding_is_that_of_aws(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char text[] = "a b/+~*'\xe1";
    assert_string_equal(url_encode(arena, text, strlen(text), false), "a%20b/%2B~%2A%27%E1");
    assert_string_equal(url_encode(arena, text, strlen(text), true), "a%20b%2F%2B~%2A%27%E1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_urls),
        cmocka_unit_test(accepts_and_canonicalises),
        cmocka_unit_test(canonical_is_a_fixed_point),
        cmocka_unit_test(refuses_with_the_cause),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(spellings_of_a_key_are_one),
        cmocka_unit_test(globs_and_versions_are_told_apart),
        cmocka_unit_test(query_values_are_found),
        cmocka_unit_test(encoding_is_that_of_aws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
