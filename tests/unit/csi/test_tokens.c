/* Row 33 of the table of faults: tokens that are none, for others, or over. No part of one is ever shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "csi/tokens.h"
#include "tests/unit/cachecore/jwt_text.h"

#define NOW_S 1780000000 /* 2026-05-28T20:26:40Z */
#define SUBJECT "system:serviceaccount:ml:train"
#define AUDIENCE "sts.amazonaws.com"

static const struct tokens_owner owner = {"ml", "train"};

static const char *entry(struct arena *arena, const char *audience, const char *token, const char *more)
{
    return arena_printf(arena, "\"%s\":{\"token\":\"%s\"%s}", audience, token, more);
}

static const char *one(struct arena *arena, const char *subject, const char *audience, const char *claims,
                       const char *more)
{
    return arena_printf(arena, "{%s}", entry(arena, AUDIENCE, jwt_text(arena, subject, audience, claims), more));
}

static void tokens_stand_under_their_audience(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct secret_map map = SECRET_MAP_INIT;
    struct err err = ERR_INIT;
    const char *first = jwt_text(arena, SUBJECT, AUDIENCE, ",\"exp\":1780003600");
    const char *second = jwt_text(arena, SUBJECT, "https://kubernetes.default.svc", "");
    const char *text = arena_printf(arena, "{%s,%s}",
                                    entry(arena, AUDIENCE, first, ",\"expirationTimestamp\":\"2026-05-28T21:26:40Z\""),
                                    entry(arena, "", second, ""));
    assert_int_equal(tokens_parse(text, &owner, NOW_S, &map, &err), 0);
    assert_int_equal(map.count, 2);
    assert_string_equal(secret_reveal(secret_map_get(&map, AUDIENCE)), first);
    assert_string_equal(secret_reveal(secret_map_get(&map, "")), second);
    secret_map_deinit(&map);
    assert_int_equal(tokens_parse("{}", &owner, NOW_S, &map, &err), 0);
    assert_int_equal(map.count, 0);
}

/* Without Kubernetes nobody says whose they are, and without a clock they do not expire. */
static void what_is_not_known_is_not_checked(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    static const struct tokens_owner owners[] = {{NULL, NULL}, {"", ""}, {"ml", NULL}};
    for (size_t i = 0; i < 3; i++) {
        struct secret_map map = SECRET_MAP_INIT;
        struct err err = ERR_INIT;
        const char *text =
            one(arena, SUBJECT, AUDIENCE, ",\"exp\":7", ",\"expirationTimestamp\":\"2001-01-01T00:00:00Z\"");
        assert_int_equal(tokens_parse(text, &owners[i], 0, &map, &err), 0);
        secret_map_deinit(&map);
    }
}

static void refused(const char *text, const char *says)
{
    struct secret_map map = SECRET_MAP_INIT;
    struct err err = ERR_INIT;
    if (tokens_parse(text, &owner, NOW_S, &map, &err) == 0)
        fail_msg("accepted: %s", text);
    if (err.code != ERR_UNAUTHENTICATED || !strstr(err.message, says))
        fail_msg("%s instead of %s", err.message, says);
    assert_null(strstr(err.message, "swordfish"));
    assert_null(strstr(err.message, "eyJ"));
    assert_null(strstr(err.message, "c2lnbm"));
    assert_int_equal(map.count, 0);
}

static void wrong_tokens_are_refused(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    static const char *const not_json[] = {"",
                                           "swordfish",
                                           "[\"swordfish\"]",
                                           "{\"a\":\"swordfish\"}",
                                           "{\"a\":{}}",
                                           "{\"a\":{\"token\":\"\"}}",
                                           "{\"a\":{\"token\":7}}",
                                           "{\"a\\n\":{\"token\":\"swordfish\"}}",
                                           "{\"a\":{\"token\":\"t\"},\"a\":{\"token\":\"t\"}}",
                                           "{\"a\":[[[[[[[[[[]]]]]]]]]]}",
                                           "{\"a\":{\"token\":\"swordfish\"}} x"};
    for (size_t i = 0; i < sizeof(not_json) / sizeof(not_json[0]); i++)
        refused(not_json[i], "not a JSON object of audiences");
    refused("{\"sts\":{\"token\":\"swordfish\"}}", "audience 'sts': it is no JSON Web Token");
    refused(one(arena, SUBJECT, "vault", "", ""), "audience '" AUDIENCE "': it is for another audience");
    refused(one(arena, "system:serviceaccount:ml:trainer", AUDIENCE, "", ""), "of the pod's service account");
    refused(one(arena, "system:serviceaccount:m:train", AUDIENCE, "", ""), "of the pod's service account");
    refused(one(arena, "train", AUDIENCE, "", ""), "of the pod's service account");
    refused(one(arena, SUBJECT, AUDIENCE, "", ",\"expirationTimestamp\":\"2026-05-28T20:26:40Z\""),
            "expired at 2026-05-28T20:26:40Z; kubelet will bring a new one");
    refused(one(arena, SUBJECT, AUDIENCE, ",\"exp\":1779999990", ""), "expired 10 s ago");
    refused(one(arena, SUBJECT, AUDIENCE, "", ",\"expirationTimestamp\":\"swordfish\""), "is no time");
    refused(one(arena, SUBJECT, AUDIENCE, "", ",\"expirationTimestamp\":7"), "is no time");
    /* The second of two is enough. */
    refused(arena_printf(arena, "{%s,\"b\":{\"token\":\"swordfish\"}}",
                         entry(arena, AUDIENCE, jwt_text(arena, SUBJECT, AUDIENCE, ""), "")),
            "audience 'b'");
}

static void tokens_are_bounded(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *text = "{";
    for (unsigned i = 0; i <= TOKENS_COUNT_MAX; i++)
        text = arena_printf(arena, "%s%s\"%u\":{\"token\":\"t\"}", text, i ? "," : "", i);
    refused(arena_printf(arena, "%s}", text), "17 tokens, at most 16");
    char *large = arena_alloc(arena, TOKENS_BYTES_MAX + 2);
    memset(large, ' ', TOKENS_BYTES_MAX + 1);
    memcpy(large, "{}", 2);
    refused(large, "not a JSON object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_stand_under_their_audience),
        cmocka_unit_test(what_is_not_known_is_not_checked),
        cmocka_unit_test(wrong_tokens_are_refused),
        cmocka_unit_test(tokens_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
