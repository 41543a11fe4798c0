/* AWS's published vectors, each step of each: canonical request, string to sign, signature. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"
#include "cachecore/sigv4.h"

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static size_t pairs(const json_t *array, struct sigv4_pair *out)
{
    size_t count = json_array_size(array);
    assert_true(count <= SIGV4_PAIRS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(array, i);
        out[i].name = json_string_value(json_array_get(pair, 0));
        out[i].value = json_string_value(json_array_get(pair, 1));
    }
    return count;
}

static void vector_check(const json_t *vector)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct sigv4_pair query[SIGV4_PAIRS_MAX], headers[SIGV4_PAIRS_MAX];
    const char *secret_key = text(vector, "secret_key");
    _cleanup_(secret_freep) struct secret *secret = secret_new(secret_key, strlen(secret_key));
    struct sigv4_key key = {text(vector, "access_key_id"), secret, text(vector, "region"), text(vector, "service")};
    struct sigv4_request request = {.method = text(vector, "method"),
                                    .path = text(vector, "path"),
                                    .query = query,
                                    .query_count = pairs(json_object_get(vector, "query"), query),
                                    .headers = headers,
                                    .header_count = pairs(json_object_get(vector, "headers"), headers),
                                    .payload_sha256 = text(vector, "payload_sha256")};
    const char *canonical = sigv4_canonical_request(arena, &request);
    if (text(vector, "canonical_request")) {
        assert_string_equal(canonical, text(vector, "canonical_request"));
        assert_string_equal(sigv4_string_to_sign(arena, &key, text(vector, "date"), canonical),
                            text(vector, "string_to_sign"));
    }
    const char *authorization = sigv4_authorization(arena, &key, text(vector, "date"), &request);
    if (!str_ends_with(authorization, text(vector, "signature")))
        fail_msg("%s: %s", text(vector, "name"), authorization);
    assert_null(strstr(authorization, secret_key));
}

static void published_vectors_match(void **state)
{
    (void)state;
    json_error_t why;
    json_t *root = json_load_file(SC_SOURCE_DIR "/tests/golden/sigv4/vectors.json", 0, &why);
    if (!root)
        fail_msg("line %d: %s", why.line, why.text);
    assert_true(json_array_size(root) >= 35);
    for (size_t i = 0; i < json_array_size(root); i++)
        vector_check(json_array_get(root, i));
    json_decref(root);
}

/* What lists ask for, as botocore writes it. */
static const struct {
    struct sigv4_pair pairs[5];
    size_t count;
    const char *query;
} lists[] = {
    {{{"list-type", "2"},
      {"prefix", "data/a b+c/\xc3\xbc"},
      {"max-keys", "1000"},
      {"encoding-type", "url"},
      {"delimiter", "/"}},
     5,
     "delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=data%2Fa%20b%2Bc%2F%C3%BC"},
    {{{"list-type", "2"}, {"continuation-token", "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=+"}, {"prefix", ""}},
     3,
     "continuation-token=1ueGcxLPRx1Tr%2FXYExHnhbYLgveDs2J%2Fwm36Hy4vbOwM%3D%2B&list-type=2&prefix="},
    {{{"list-type", "2"}, {"start-after", "a/~b-c_d.e*'()!&=;:@,$"}, {"prefix", "a/"}},
     3,
     "list-type=2&prefix=a%2F&start-after=a%2F~b-c_d.e%2A%27%28%29%21%26%3D%3B%3A%40%2C%24"},
};

static void queries_of_lists_are_canonical(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        assert_string_equal(sigv4_query(arena, lists[i].pairs, lists[i].count), lists[i].query);
    }
}

static void dates_are_those_of_the_protocol(void **state)
{
    (void)state;
    char date[SIGV4_DATE_LEN];
    sigv4_date(1369353600, date);
    assert_string_equal(date, "20130524T000000Z");
    sigv4_date(0, date);
    assert_string_equal(date, "19700101T000000Z");
    sigv4_date(253402300799, date);
    assert_string_equal(date, "99991231T235959Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_match),
        cmocka_unit_test(queries_of_lists_are_canonical),
        cmocka_unit_test(dates_are_those_of_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
