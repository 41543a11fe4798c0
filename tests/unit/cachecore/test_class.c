/* Classes: what a StorageClass may say (row 32 of the table of faults), and what it allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/class.h"

static int parse(struct arena *arena, const char *text, struct class *out, struct err *err)
{
    return class_parse_json(arena, text, strlen(text), "csi.sharedcache.io", out, err);
}

#define HEAD \
    "{\"apiVersion\":\"storage.k8s.io/v1\",\"kind\":\"StorageClass\",\"metadata\":{\"name\":\"c\",\"labels\":{}},"
#define OURS HEAD "\"provisioner\":\"csi.sharedcache.io\","

static void reads_a_whole_class(void **state)
{
    (void)state;
    static const char text[] = OURS
        "\"reclaimPolicy\":\"Delete\",\"mountOptions\":[\"nconnect=8\",\"hard\"],\"parameters\":{"
        "\"shareType\":\"efs\",\"share\":\"fs-1.efs.eu-west-1.amazonaws.com:/\",\"subPath\":\"cache/a/\","
        "\"shareSecret\":\"azure-files-key\",\"copyPolicy\":\"copy\",\"podMayChoose\":\"copyPolicy\",\"authorize\":"
        "\"object\","
        "\"budget\":\"10Ti\",\"evictBelowFree\":\"10%\",\"evictToFree\":\"500Gi\",\"allowedNamespaces\":\"ml-*\","
        "\"allowedSources\":\"s3://acme-*, https://data.example.com/\",\"allowedAddresses\":\"127.0.0.0/8, fd00::/8\","
        "\"caBundle\":\"/etc/ssl/own.pem\",\"proxy\":\"http://proxy:3128\",\"s3Endpoint\":\"http://127.0.0.1:7070\","
        "\"s3Region\":\"eu-west-1\",\"noexec\":\"true\",\"maxBytes\":\"1Ti\",\"maxFiles\":\"5000\","
        "\"csi.storage.k8s.io/node-publish-secret-name\":\"s\"}}";
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    if (parse(arena, text, &class, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(class.name, "c");
    assert_string_equal(class.share_type, "efs");
    assert_string_equal(class.sub_path, "cache/a");
    assert_string_equal(class.mount_options, "nconnect=8,hard");
    assert_int_equal(class.copy_policy, COPY_LOCAL);
    assert_true(class.pod_may_choose_copy);
    assert_int_equal(class.authorize, AUTHORIZE_OBJECT);
    assert_int_equal(class.budget_bytes, UINT64_C(10) << 40);
    assert_true(class.evict_below_free == (CLASS_PERCENT | 10));
    assert_true(class.evict_to_free == UINT64_C(500) << 30);
    assert_string_equal(class.s3_endpoint, "http://127.0.0.1:7070");
    assert_true(class.s3_path_style);
    assert_true(class.noexec);
    assert_int_equal(class.max_files, 5000);
}

static void what_is_left_out_has_defaults(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    assert_int_equal(parse(arena, HEAD "\"provisioner\":\"csi.sharedcache.io\"}", &class, &err), 0);
    assert_string_equal(class.share_type, "local");
    assert_null(class.share);
    assert_string_equal(class.sub_path, "");
    assert_int_equal(class.copy_policy, COPY_DIRECT);
    assert_false(class.pod_may_choose_copy);
    assert_true(class.max_bytes == UINT64_C(16) << 40);
    assert_true(class_allows_source(&class, "http://any/thing"));
    assert_true(class_allows_namespace(&class, "any"));
}

static const struct {
    const char *text;
    const char *cause;
} bad_json[] = {
    {"", "not valid JSON"},
    {"[]", "must be a JSON object"},
    {"{\"a\":1,\"a\":2}", "not valid JSON"},
    {OURS "\"parameters\":{\"budget\":\"1Gi\",\"budget\":\"2Gi\"}}", "not valid JSON"},
    {OURS "\"parameters\":{\"Budget\":\"1Gi\"}}", "unknown class parameter 'Budget': known are allowedAddresses"},
    {OURS "\"parameters\":{\"mountOptions\":\"x\"}}", "unknown class parameter 'mountOptions'"},
    {OURS "\"parameters\":{\"csi.storage.k8s.io/pod.namespace\":\"x\"}}", "unknown class parameter"}, /* row 28 */
    {OURS "\"parameters\":{\"noexec\":true}}", "'noexec' must be a text"},
    {OURS "\"parameters\":[]}", "must be an object"},
    {OURS "\"mountOptions\":[\"a b\"]}", "mountOptions[0]"},
    {OURS "\"mountOptions\":\"ro\"}", "list of texts"},
    {OURS "\"parameters\":{\"shareType\":\"nfs\"}}", "class 'c': class parameter 'share' is required"},
    {OURS "\"parameters\":{\"evictBelowFree\":\"20%\",\"evictToFree\":\"10%\"}}", "'evictToFree'"},
    {HEAD "\"provisioner\":\"other\"}", "provisioner is not csi.sharedcache.io"},
    {"{\"kind\":\"Pod\"}", "no StorageClass"},
    {"{\"provisioner\":\"csi.sharedcache.io\"}", "metadata.name"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "deeper than 32"},
};

static void errors_of_json_name_the_cause(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_json) / sizeof(bad_json[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct class class;
        if (parse(arena, bad_json[i].text, &class, &err) == 0)
            fail_msg("taken: %s", bad_json[i].text);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.message, bad_json[i].cause))
            fail_msg("%s: %s", bad_json[i].text, err.message);
    }
}

static void size_is_bounded(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    char *text = calloc(1, CLASS_JSON_MAX + 1);
    memset(text, ' ', CLASS_JSON_MAX + 1);
    assert_int_equal(class_parse_json(arena, text, CLASS_JSON_MAX + 1, "d", &class, &err), -1);
    assert_non_null(strstr(err.message, "larger than the limit"));
    free(text);
}

static const struct {
    const char *key;
    const char *value;
    bool ok;
} values[] = {
    /* row 32 */
    {"copyPolicy", "direct", true},
    {"copyPolicy", "auto", false},
    {"copyPolicy", "Copy", false},
    {"budget", "10Ti", true},
    {"budget", "5000000", true},
    {"budget", "-1", false},
    {"budget", "1e9", false},
    {"budget", "10Ti ", false},
    {"budget", " 10Ti", false},
    {"budget", "99999999999Ti", false},
    {"budget", "0", false},
    {"budget", "", false},
    {"budget", "10%", false},
    {"evictBelowFree", "0%", false},
    {"evictBelowFree", "100%", false},
    {"evictBelowFree", "99%", true},
    {"evictBelowFree", "%", false},
    {"podMayChoose", "", true},
    {"podMayChoose", "everything", false},
    {"authorize", "prefix", true},
    {"authorize", "none", false},
    {"noexec", "yes", false},
    {"maxFiles", "0", false},
    {"maxFiles", "1000000000", false},
    {"shareType", "efs", true},
    {"shareType", "EFS", false},
    {"shareSecret", "../x", false},
    {"shareSecret", "a/b", false},
    {"shareSecret", "a..b", false},
    {"subPath", "/a/b/", true},
    {"subPath", "/", true},
    {"subPath", "a/../b", false},
    {"caBundle", "own.pem", false},
    {"caBundle", "/etc/../own.pem", false},
    {"proxy", "socks5://h", false},
    {"proxy", "http://user:s3cret@h", false},
    {"s3Endpoint", "http://h:9000/", true},
    {"s3Endpoint", "http://h:9000/base", false},
    {"s3Endpoint", "s3://h", false},
    {"s3Region", "eu-west-1", true},
    {"s3Region", "eu/west", false},
    {"allowedAddresses", "10.0.0.0/8, ::1", true},
    {"allowedAddresses", "10.0.0.0/33", false},
    {"allowedSources", "a\nb", false},
    {"allowedSources", "", false},
};

static void values_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct class class;
        class_default(&class);
        int result = class_set(arena, &class, values[i].key, values[i].value, &err);
        if ((result == 0) != values[i].ok)
            fail_msg("%s=%s: %s", values[i].key, values[i].value, err.message);
        if (result == 0)
            continue;
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, values[i].key));
        assert_null(strstr(err.message, "s3cret"));
    }
}

static void path_style_follows_the_endpoint_unless_given(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    class_default(&class);
    assert_int_equal(class_set(arena, &class, "s3PathStyle", "false", &err), 0);
    assert_int_equal(class_set(arena, &class, "s3Endpoint", "https://s3.example.com", &err), 0);
    assert_false(class.s3_path_style);
}

static const struct {
    const char *patterns;
    const char *url;
    bool allowed;
} sources[] = {
    {"s3://acme-*", "s3://acme-data/x/y", true},
    {"s3://acme-*", "s3://other/acme-data", false},
    {"s3://acme-*", "gs://acme-data/x", false},
    {"s3://acme", "s3://acme/x", true},
    {"s3://acme", "s3://acme2/x", false},
    {"gs://a , https://data.example.com/", "https://data.example.com/deep/file?token=x", true},
    {"https://data.example.com/", "https://data.example.com.evil.net/", false},
    {"https://data.example.com/", "http://data.example.com/x", false},
    {"https://data.example.com/", "https://data.example.com:8443/x", false},
    {"https://data.example.com/pub/", "https://data.example.com/private", false},
    {"https://data.example.com/pub/", "https://data.example.com/pub/x/y", true},
    {"https://data.example.com/one", "https://data.example.com/one/two", false},
    {"https://h/*.csv", "https://h/a/b.csv?x=1", true},
    {"https://h/*.csv", "https://h/a/b.bin?x=.csv", false},
    {"https://*.example.com/", "https://evil.net/a.example.com/", false},
    {"https://*.example.com/", "https://evil.net/?a.example.com/", false},
    {"https://*.example.com/", "https://a.b.example.com/x", true},
    {"*", "https://h/x", false},
    {",,", "https://h/x", false},
};

static void sources_are_matched_by_piece(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        struct class class = {.allowed_sources = sources[i].patterns};
        if (class_allows_source(&class, sources[i].url) != sources[i].allowed)
            fail_msg("%s for %s", sources[i].patterns, sources[i].url);
    }
}

static void namespaces_are_matched_whole(void **state)
{
    (void)state;
    struct class class = {.allowed_namespaces = "ml-*, team"};
    assert_true(class_allows_namespace(&class, "ml-a"));
    assert_true(class_allows_namespace(&class, "team"));
    assert_false(class_allows_namespace(&class, "team2"));
    assert_false(class_allows_namespace(&class, "xml-a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_whole_class),
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(errors_of_json_name_the_cause),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(path_style_follows_the_endpoint_unless_given),
        cmocka_unit_test(sources_are_matched_by_piece),
        cmocka_unit_test(namespaces_are_matched_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
