/* What a secret says, under the names in use; halves and line breaks (row 34 of the table of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/credentials.h"
#include "cachecore/identity.h"
#include "tests/unit/cachecore/jwt_text.h"

struct pair {
    const char *key;
    const char *value;
};

static void map_fill(struct secret_map *map, const struct pair *pairs, size_t max)
{
    for (size_t i = 0; i < max && pairs[i].key; i++)
        secret_map_add(map, pairs[i].key, pairs[i].value, strlen(pairs[i].value));
}

static void maps_deinit(struct secret_map *map)
{
    secret_map_deinit(map);
}

/* What a chain makes of a secret. */
static int chain_find(const struct credential_chain *chain, const struct secret_map *map, const char *host,
                      struct credentials **out, struct err *err)
{
    static const struct identity_facts nobody;
    struct class class;
    class_default(&class);
    struct identity_view view = {.facts = &nobody, .secrets = *map};
    const struct credentials_request request = {.class = &class, .identity = &view, .host = host};
    return chain->find(&request, out, err);
}

static const struct {
    struct pair pairs[4];
    const char *id, *secret, *token, *region; /* NULL: not there */
} s3[] = {
    {{{"AWS_ACCESS_KEY_ID", "i"},
      {"AWS_SECRET_ACCESS_KEY", "k"},
      {"AWS_SESSION_TOKEN", "t"},
      {"AWS_DEFAULT_REGION", "eu-west-1"}},
     "i",
     "k",
     "t",
     "eu-west-1"},
    {{{"key_id", "i"}, {"access_key", "k"}, {"session_token", "t"}}, "i", "k", "t", NULL},
    {{{"accessKeyID", "i"}, {"secretAccessKey", "k"}}, "i", "k", NULL, NULL},
    {{{"access-key", "i"}, {"secret-key", "k"}, {"region", "x-1"}}, "i", "k", NULL, "x-1"},
    {{{"username", "u"}, {"password", "p"}}, NULL, NULL, NULL, NULL},
    {{{"AWS_ACCESS_KEY_ID", ""}, {"AWS_SECRET_ACCESS_KEY", ""}}, NULL, NULL, NULL, NULL},
    {{{NULL, NULL}}, NULL, NULL, NULL, NULL},
};

static void revealed_is(const struct secret *secret, const char *expected)
{
    assert_int_equal(secret != NULL, expected != NULL);
    if (secret)
        assert_string_equal(secret_reveal(secret), expected);
}

static void s3_keys_have_many_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(s3) / sizeof(s3[0]); i++) {
        __attribute__((cleanup(maps_deinit))) struct secret_map map = SECRET_MAP_INIT;
        struct err err = ERR_INIT;
        _cleanup_(credentials_unrefp) struct credentials *found = NULL;
        map_fill(&map, s3[i].pairs, 4);
        assert_int_equal(chain_find(&credential_chain_aws, &map, "bucket", &found, &err), 0);
        assert_int_equal(found->kind, s3[i].id ? CREDENTIALS_AWS : CREDENTIALS_NONE);
        revealed_is(found->access_key_id, s3[i].id);
        revealed_is(found->secret_key, s3[i].secret);
        revealed_is(found->session_token, s3[i].token);
        assert_int_equal(found->region != NULL, s3[i].region != NULL);
        if (found->region)
            assert_string_equal(found->region, s3[i].region);
    }
}

static const struct {
    struct pair pairs[4];
    const char *host;
    const char *header; /* NULL: none */
} web[] = {
    {{{"username", "Aladdin"}, {"password", "open sesame"}},
     "h",
     "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617, 2 */
    {{{"username", "u"}, {"password", "pp"}}, "h", "Basic dTpwcA=="},
    {{{"username", "u"}, {"password", "p"}}, "h", "Basic dTpw"},
    {{{"token", "t"}}, "h", "Bearer t"},
    {{{"bearer", "t"}}, "h", "Bearer t"},
    {{{"HF_TOKEN", "t"}, {"username", "u"}, {"password", "p"}}, "h", "Bearer t"},
    {{{"token", "t"}, {"https-host", "Data.example.com"}}, "data.example.com", "Bearer t"},
    {{{"token", "t"}, {"https-host", "data.example.com"}}, "other.example.com", NULL},
    {{{"AWS_ACCESS_KEY_ID", "i"}, {"AWS_SECRET_ACCESS_KEY", "k"}}, "h", NULL},
    {{{NULL, NULL}}, "h", NULL},
};

static void web_credentials_become_a_header(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(web) / sizeof(web[0]); i++) {
        __attribute__((cleanup(maps_deinit))) struct secret_map map = SECRET_MAP_INIT;
        struct err err = ERR_INIT;
        _cleanup_(credentials_unrefp) struct credentials *found = NULL;
        map_fill(&map, web[i].pairs, 4);
        assert_int_equal(chain_find(&credential_chain_web, &map, web[i].host, &found, &err), 0);
        assert_int_equal(found->kind, web[i].header ? CREDENTIALS_HEADERS : CREDENTIALS_NONE);
        assert_int_equal(found->header_count, web[i].header ? 1 : 0);
        if (web[i].header) {
            assert_string_equal(found->headers[0].name, "Authorization");
            revealed_is(found->headers[0].value, web[i].header);
        }
    }
}

/* row 34 */
static const struct {
    struct pair pair;
    enum err_code code;
    const char *cause;
} bad[] = {
    {{"AWS_ACCESS_KEY_ID", "s3cret"}, ERR_UNAUTHENTICATED, "no key 'AWS_SECRET_ACCESS_KEY'"},
    {{"AWS_SECRET_ACCESS_KEY", "s3cret"}, ERR_UNAUTHENTICATED, "no key 'AWS_ACCESS_KEY_ID'"},
    {{"session_token", "s3cret"}, ERR_UNAUTHENTICATED, "no key 'AWS_ACCESS_KEY_ID'"},
    {{"username", "s3cret"}, ERR_UNAUTHENTICATED, "no key 'password'"},
    {{"password", "s3cret"}, ERR_UNAUTHENTICATED, "no key 'username'"},
    {{"key_id", "s3cret\n"}, ERR_INVALID, "'key_id' holds a line break"},
    {{"token", "s3cret\r\nX: y"}, ERR_INVALID, "'token' holds a line break"},
    {{"token", "s3cret\x01"}, ERR_INVALID, "'token' holds a control"},
    {{"AWS_REGION", "s3cret/evil"}, ERR_INVALID, "region"},
};

static void errors_name_the_key_and_no_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        __attribute__((cleanup(maps_deinit))) struct secret_map map = SECRET_MAP_INIT;
        struct err err = ERR_INIT;
        _cleanup_(credentials_unrefp) struct credentials *s3_found = NULL;
        _cleanup_(credentials_unrefp) struct credentials *web_found = NULL;
        map_fill(&map, &bad[i].pair, 1);
        int result = chain_find(&credential_chain_aws, &map, "h", &s3_found, &err);
        if (result == 0)
            result = chain_find(&credential_chain_web, &map, "h", &web_found, &err);
        assert_int_equal(result, -1);
        if (err.code != bad[i].code || !strstr(err.message, bad[i].cause))
            fail_msg("%s: %s", bad[i].pair.key, err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

static void a_colon_in_a_user_name_is_refused(void **state)
{
    (void)state;
    static const struct pair pairs[] = {{"username", "a:b"}, {"password", "p"}};
    __attribute__((cleanup(maps_deinit))) struct secret_map map = SECRET_MAP_INIT;
    struct err err = ERR_INIT;
    struct credentials *found = NULL;
    map_fill(&map, pairs, 2);
    assert_int_equal(chain_find(&credential_chain_web, &map, "h", &found, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void id_of(const struct identity_facts *facts, const struct secret_map *secrets, const struct secret_map *tokens,
                  char out[SHA256_HEX])
{
    struct identity *identity = identity_new(facts, secrets, tokens);
    identity_id(identity, out);
    identity_free(identity);
}

static void an_identity_stands_for_all_of_a_secret(void **state)
{
    (void)state;
    static const struct pair pairs[][2] = {
        {{"a", "1"}, {"b", "2"}}, {{"b", "2"}, {"a", "1"}}, {{"a", "1"}, {"b", "3"}}, {{"a", "1b"}, {"", "2"}}};
    static const struct identity_facts nobody;
    char identities[4][SHA256_HEX];
    for (size_t i = 0; i < 4; i++) {
        __attribute__((cleanup(maps_deinit))) struct secret_map map = SECRET_MAP_INIT;
        map_fill(&map, pairs[i], 2);
        id_of(&nobody, &map, NULL, identities[i]);
        assert_int_equal(strlen(identities[i]), 64);
    }
    assert_string_equal(identities[0], identities[1]);
    assert_string_not_equal(identities[0], identities[2]);
    assert_string_not_equal(identities[0], identities[3]);
    id_of(&nobody, NULL, NULL, identities[0]);
    assert_string_equal(identities[0], "");
}

static void tokens_id(struct arena *arena, const struct identity_facts *facts, const char *subject, const char *more,
                      char out[SHA256_HEX])
{
    __attribute__((cleanup(maps_deinit))) struct secret_map tokens = SECRET_MAP_INIT;
    const char *token = subject ? jwt_text(arena, subject, "sts", more) : more;
    secret_map_add(&tokens, "sts", token, strlen(token));
    id_of(facts, NULL, &tokens, out);
}

/* It stays with each new token of the same account, and changes with all else. */
static void an_identity_outlives_its_tokens(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct identity_facts facts = {.namespace = "ml", .service_account = "train"};
    const struct identity_facts role = {.namespace = "ml", .service_account = "train", .aws_role_arn = "arn:aws:r"};
    const struct identity_facts other = {.namespace = "ml2", .service_account = "train"};
    const struct identity_facts moved = {.namespace = "mltrain"};
    char ids[9][SHA256_HEX];
    tokens_id(arena, &facts, "a", ",\"exp\":1", ids[0]);
    tokens_id(arena, &facts, "a", ",\"exp\":2", ids[1]);
    assert_string_equal(ids[0], ids[1]);
    tokens_id(arena, &facts, "b", "", ids[1]);
    tokens_id(arena, &role, "a", "", ids[2]);
    tokens_id(arena, &other, "a", "", ids[3]);
    tokens_id(arena, &moved, "a", "", ids[4]);
    tokens_id(arena, &facts, NULL, "no token", ids[5]);
    tokens_id(arena, &facts, NULL, "another", ids[6]);
    id_of(&role, NULL, NULL, ids[7]);
    id_of(&facts, NULL, NULL, ids[8]);
    assert_string_equal(ids[8], "");
    for (size_t i = 0; i < 9; i++) {
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
}

static void a_renewed_secret_is_another_identity(void **state)
{
    (void)state;
    __attribute__((cleanup(maps_deinit))) struct secret_map secrets = SECRET_MAP_INIT;
    static const struct identity_facts nobody;
    char before[SHA256_HEX], after[SHA256_HEX];
    secret_map_add(&secrets, "password", "old", 3);
    _cleanup_(identity_freep) struct identity *identity = identity_new(&nobody, &secrets, NULL);
    identity_id(identity, before);
    identity_renew(identity, NULL, NULL);
    identity_id(identity, after);
    assert_string_equal(after, "");
    identity_renew(identity, &secrets, NULL);
    identity_id(identity, after);
    assert_string_equal(after, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(s3_keys_have_many_names),
        cmocka_unit_test(web_credentials_become_a_header),
        cmocka_unit_test(errors_name_the_key_and_no_value),
        cmocka_unit_test(a_colon_in_a_user_name_is_refused),
        cmocka_unit_test(an_identity_stands_for_all_of_a_secret),
        cmocka_unit_test(an_identity_outlives_its_tokens),
        cmocka_unit_test(a_renewed_secret_is_another_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
