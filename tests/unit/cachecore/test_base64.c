/* RFC 4648, 10: the published vectors, and what is no base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/base64.h"

static const struct {
    const char *plain;
    const char *standard;
    const char *url;
} vectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
};

static void vectors_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        size_t plain_len = strlen(vectors[i].plain);
        uint8_t *out;
        size_t len;
        assert_string_equal(base64_encode(arena, vectors[i].plain, plain_len), vectors[i].standard);
        assert_string_equal(base64_encode_url(arena, vectors[i].plain, plain_len), vectors[i].url);
        assert_true(base64_decode(arena, vectors[i].standard, strlen(vectors[i].standard), &out, &len));
        assert_int_equal(len, plain_len);
        assert_memory_equal(out, vectors[i].plain, len);
        assert_true(base64_decode_url(arena, vectors[i].url, strlen(vectors[i].url), &out, &len));
        assert_int_equal(len, plain_len);
        assert_memory_equal(out, vectors[i].plain, len);
    }
}

static void other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const standard[] = {
        "Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z===", "====", "Zg= ", "-_-_", "Zm9\n"};
    static const char *const url[] = {"Z", "Zg==", "Zh", "+/+/", "Zm9vY"};
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    uint8_t *out;
    size_t len;
    for (size_t i = 0; i < sizeof(standard) / sizeof(standard[0]); i++)
        if (base64_decode(arena, standard[i], strlen(standard[i]), &out, &len))
            fail_msg("'%s' was taken", standard[i]);
    for (size_t i = 0; i < sizeof(url) / sizeof(url[0]); i++)
        if (base64_decode_url(arena, url[i], strlen(url[i]), &out, &len))
            fail_msg("'%s' was taken", url[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_hold),
        cmocka_unit_test(other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
