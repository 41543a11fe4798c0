/* What a token must be for us to pass it on: a table of what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cachecore/jwt.h"
#include "tests/unit/cachecore/jwt_text.h"

#define HEADER "{\"alg\":\"RS256\"}"
#define SIGNATURE "c2ln"

static void claims_are_read(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct jwt_claims claims;
    struct err err = ERR_INIT;
    const char *list = jwt_of(arena, HEADER,
                              "{\"iss\":\"https://i\",\"sub\":\"system:serviceaccount:ml:train\",\"aud\":[\"a\",\"b\"],"
                              "\"exp\":1780000000,\"kubernetes.io\":{\"pod\":{\"name\":\"p\"}}}",
                              SIGNATURE);
    assert_int_equal(jwt_read(arena, list, strlen(list), &claims, &err), 0);
    assert_string_equal(claims.issuer, "https://i");
    assert_string_equal(claims.subject, "system:serviceaccount:ml:train");
    assert_int_equal(claims.expires_s, 1780000000);
    assert_true(jwt_is_for(&claims, "a") && jwt_is_for(&claims, "b"));
    assert_false(jwt_is_for(&claims, "c") || jwt_is_for(&claims, ""));
    const char *text = jwt_of(arena, HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE);
    assert_int_equal(jwt_read(arena, text, strlen(text), &claims, &err), 0);
    assert_true(jwt_is_for(&claims, "a") && claims.audience_count == 1);
    assert_int_equal(claims.expires_s, 0);
}

static const struct {
    const char *header, *claims, *signature;
} none[] = {
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", ""},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", "c2ln."},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", "c2l+"},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", "c2ln=="},
    {"{}", "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE},
    {"[]", "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE},
    {"", "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "", SIGNATURE},
    {HEADER, "swordfish", SIGNATURE},
    {HEADER, "[\"swordfish\"]", SIGNATURE},
    {HEADER, "{\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":7,\"sub\":\"s\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[]}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[\"a\",7]}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":{\"a\":\"a\"}}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":\"soon\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\",\"exp\":-1}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"sub\":\"t\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\\u0000t\",\"aud\":\"a\"}", SIGNATURE},
    {HEADER, "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":\"a\",\"x\":[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}", SIGNATURE},
    {HEADER,
     "{\"iss\":\"i\",\"sub\":\"s\",\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
     "\"13\",\"14\",\"15\",\"16\",\"17\"]}",
     SIGNATURE},
};

static void refused(struct arena *arena, const char *token)
{
    struct jwt_claims claims = {.expires_s = 77};
    struct err err = ERR_INIT;
    if (jwt_read(arena, token, strlen(token), &claims, &err) == 0)
        fail_msg("accepted: %s", token);
    assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    assert_int_equal(claims.expires_s, 77);
    assert_null(strstr(err.message, "swordfish"));
}

static void what_is_no_token_is_refused(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        refused(arena, jwt_of(arena, none[i].header, none[i].claims, none[i].signature));
    static const char *const texts[] = {"", ".", "..", "swordfish", "a.b", "e30.e30.", "e30.e30.e30.e30"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refused(arena, texts[i]);
    char *claims = arena_alloc(arena, JWT_MAX + 1);
    memset(claims, 'x', JWT_MAX);
    refused(arena, jwt_text(arena, "s", "a", arena_printf(arena, ",\"x\":\"%s\"", claims)));
    claims[2049] = '\0';
    refused(arena, jwt_text(arena, claims, "a", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_read),
        cmocka_unit_test(what_is_no_token_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
