/* Azure against a canned server: what is asked, with which credentials, what becomes of answers (rows 46-49, 55), lists, token services. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cachecore/azure_bench.h"

static void blobs_are_resolved(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct source_object object;
    struct err err = ERR_INIT;
    bench_init(&bench);
    if (bench_resolve(&bench, "az://acme/data/d/a", &object, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(object.kind, "az");
    assert_string_equal(object.canonical, "az://acme/data/d/a");
    assert_string_equal(object.validator, "etag:\"0x8D1\"");
    assert_string_equal(object.etag, "\"0x8D1\"");
    assert_true(object.validator_is_strong && object.ranges && object.size == 1234);
    assert_int_equal(object.mtime_s, 784111777);
    assert_true(canned_was_asked(&server, "\r\nx-ms-version: 2023-11-03\r\n"));
    assert_false(canned_was_asked(&server, "Authorization"));
}

/* azurite answers so */
static void an_empty_blob_is_one(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct source_object object;
    struct err err = ERR_INIT;
    bench_init(&bench);
    if (bench_resolve(&bench, "az://acme/data/empty", &object, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(object.size_is_known && object.size == 0 && !object.ranges);
    assert_string_equal(object.etag, "\"0x8D1\"");
}

static const struct {
    const char *url;
    enum err_code code;
    const char *cause;
} failures[] = {
    {"az://acme/data/missing", ERR_NOT_FOUND, "HTTP 404 BlobNotFound: no such blob"},
    {"az://acme/nowhere/x", ERR_NOT_FOUND, "HTTP 404 ContainerNotFound: no such container"},
    {"az://acme/data/body", ERR_NOT_FOUND, "HTTP 404 ContainerNotFound: no such container"},
    {"az://acme/data/archived", ERR_PRECONDITION, "HTTP 409 BlobArchived: the blob is in the archive tier"},
    {"az://acme/data/rehydrating", ERR_PRECONDITION, "on its way out of the archive tier"},
    {"az://acme/data/network", ERR_DENIED, "network rules"},
    {"az://acme/data/role", ERR_DENIED, "lacks a role"},
    {"az://acme/data/auth", ERR_UNAUTHENTICATED, "HTTP 403 AuthenticationFailed"},
    {"az://acme/data/none", ERR_UNAUTHENTICATED, "asked without credentials (no account key"},
    {"az://acme/data/public", ERR_DENIED, "no public access"},
    {"az://acme/data/busy", ERR_UNAVAILABLE, "HTTP 503 ServerBusy"},
    {"az://acme/data/odd", ERR_PRECONDITION, "HTTP 418: the server refuses"},
    {"az://acme/data/moved", ERR_PRECONDITION, "HTTP 307"},
    {"az://acme/data", ERR_INVALID, "names no blob"},
    {"az://acme/data/", ERR_INVALID, "no blob in it"},
    {"az://acme/Data/x", ERR_INVALID, "not a container's name"},
    {"az://acme/da--ta/x", ERR_INVALID, "not a container's name"},
    {"az://acme/d/x", ERR_INVALID, "not a container's name"},
    {"az://acme/*", ERR_INVALID, "names no container"},
    {"az://acme/data/x?snapshot=2020-04-28T23:14:05.0000000Z", ERR_INVALID, "snapshots"},
};

static void failures_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct source_object object;
        struct err err = ERR_INIT;
        bench_init(&bench);
        if (bench_resolve(&bench, failures[i].url, &object, &err) == 0)
            fail_msg("%s: taken", failures[i].url);
        if (err.code != failures[i].code || !strstr(err.message, failures[i].cause))
            fail_msg("%s: %s %s", failures[i].url, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* row 47: one object, however it is spelled; where it is asked for is another matter */
static void one_blob_has_one_name(void **state)
{
    (void)state;
    static const char *const urls[] = {"az://acme/data/a%20b/+c%C3%A9=", "az://acme/data/%61%20b/%2Bc%C3%A9%3D",
                                       "https://acme.blob.core.windows.net/data/a%20b/%2Bc%C3%A9%3d"};
    for (size_t i = 0; i < 3; i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct source_object object;
        struct err err = ERR_INIT;
        const struct source_entry entry = {
            .key = "data/a b/+c\xc3\xa9=", .key_len = 14, .size = 3, .validator = "etag:\"1\""};
        bench_init(&bench);
        bench.class.azure_endpoint = NULL;
        if (bench_begin(&bench, urls[i], &err) != 0 ||
            bench.source->member(&bench.call, &bench.url, &entry, bench.arena, &object, &err) != 0)
            fail_msg("%s: %s", urls[i], err.message);
        assert_string_equal(object.canonical, "az://acme/data/a%20b/+c%C3%A9=");
        assert_string_equal(object.kind, "az");
        assert_string_equal(object.authority, "acme.blob.core.windows.net:443");
        assert_string_equal(object.request_url, "https://acme.blob.core.windows.net/data/a%20b/%2Bc%C3%A9%3D");
        assert_string_equal(object.etag, "\"1\"");
    }
}

/* A pin is a part of what an object is. */
static void versions_are_asked_for(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct source_object object;
    struct err err = ERR_INIT;
    bench_init(&bench);
    if (bench_resolve(&bench, "az://acme/data/d/a?versionid=2020-04-28T23:14:05.0000000Z", &object, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(object.canonical, "az://acme/data/d/a?versionid=2020-04-28T23%3A14%3A05.0000000Z");
    assert_true(
        canned_was_asked(&server, "GET /acme/data/d/a?versionid=2020-04-28T23%3A14%3A05.0000000Z HTTP/1.1\r\n"));
    assert_string_equal(object.display, "az://acme/data/d/a");
}

static const struct {
    const char *url, *endpoint; /* NULL: none */
    const char *request_url;
} places[] = {
    {"az://acme/data/x", NULL, "https://acme.blob.core.windows.net/data/x"},
    {"az://acme/$web/x", NULL, "https://acme.blob.core.windows.net/%24web/x"},
    {"az://acme/data/x", "https://azurite.test:10000", "https://azurite.test:10000/acme/data/x"},
    {"az://acme/data/x", "https://[fd00::1]", "https://[fd00::1]/acme/data/x"},
    {"az://acme/data/x", "https://blob.core.usgovcloudapi.net", "https://acme.blob.core.usgovcloudapi.net/data/x"},
    {"https://acme.blob.core.chinacloudapi.cn/data/x", NULL, "https://acme.blob.core.chinacloudapi.cn/data/x"},
    {"https://acme.blob.core.windows.net/data/x", "https://azurite.test:10000",
     "https://acme.blob.core.windows.net/data/x"},
};

static void accounts_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        const char *key = strstr(places[i].url, "web") ? "$web/x" : "data/x";
        const struct source_entry entry = {.key = key, .key_len = strlen(key), .validator = "etag:\"1\""};
        struct source_object object;
        struct err err = ERR_INIT;
        bench_init(&bench);
        bench.class.azure_endpoint = places[i].endpoint;
        if (bench_begin(&bench, places[i].url, &err) != 0 ||
            bench.source->member(&bench.call, &bench.url, &entry, bench.arena, &object, &err) != 0)
            fail_msg("%s: %s", places[i].url, err.message);
        assert_string_equal(object.request_url, places[i].request_url);
    }
}

/* --- credentials --- */

static const struct {
    struct pair secret[4];
    const char *client, *tenant; /* of the service account; NULL: none */
    const char *token;           /* of the service account; NULL: none */
    struct pair class[3];
    const char *header, *query; /* what the request holds; NULL: no Authorization, and a query that stays */
    const char *origin;
} ways[] = {
    {{{NULL, NULL}}, NULL, NULL, NULL, {{NULL, NULL}}, NULL, NULL, "no account key"},
    {{{"azurestorageaccountname", "acme"}, {"azurestorageaccountkey", KEY}},
     NULL,
     NULL,
     NULL,
     {{NULL, NULL}},
     "SharedKey acme:",
     NULL,
     "account key"},
    {{{"AZURE_STORAGE_ACCESS_KEY", KEY}}, NULL, NULL, NULL, {{NULL, NULL}}, "SharedKey acme:", NULL, "account key"},
    {{{"AZURE_STORAGE_CONNECTION_STRING",
       "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=" KEY ";EndpointSuffix=core.windows.net"}},
     NULL,
     NULL,
     NULL,
     {{NULL, NULL}},
     "SharedKey acme:",
     NULL,
     "account key"},
    {{{"AZURE_STORAGE_CONNECTION_STRING", "AccountName=acme;SharedAccessSignature=" SAS}},
     NULL,
     NULL,
     NULL,
     {{NULL, NULL}},
     NULL,
     "?" SAS,
     "valid until 2030-01-01T00:00:00Z"},
    {{{"azurestorageaccountsastoken", "?" SAS}}, NULL, NULL, NULL, {{NULL, NULL}}, NULL, "?" SAS, "valid until"},
    /* another account's are not shown */
    {{{"azurestorageaccountname", "other"}, {"azurestorageaccountkey", KEY}},
     NULL,
     NULL,
     NULL,
     {{NULL, NULL}},
     NULL,
     NULL,
     "no account key"},
    {{{"AZURE_CLIENT_ID", "c-1"}, {"AZURE_TENANT_ID", "good"}, {"AZURE_CLIENT_SECRET", "s3cret&="}},
     NULL,
     NULL,
     NULL,
     {{NULL, NULL}},
     "Bearer t0ken.s3cret",
     NULL,
     "client c-1"},
    {{{NULL, NULL}},
     "c-2",
     "good",
     "a.b.c",
     {{NULL, NULL}},
     "Bearer t0ken.s3cret",
     NULL,
     "client c-2 of service account ml/train"},
    {{{NULL, NULL}}, "c-2", NULL, "a.b.c", {{"azureTenantId", "good"}}, "Bearer t0ken.s3cret", NULL, "client c-2"},
    {{{NULL, NULL}},
     NULL,
     NULL,
     "a.b.c",
     {{"azureTenantId", "good"}, {"azureClientId", "c-3"}},
     "Bearer t0ken.s3cret",
     NULL,
     "client c-3"},
    /* a token that nobody said whom to ask for with */
    {{{NULL, NULL}}, NULL, NULL, "a.b.c", {{"azureTenantId", "good"}}, NULL, NULL, "no account key"},
    {{{NULL, NULL}}, NULL, NULL, NULL, {{"nodeIdentity", "true"}}, "Bearer t0ken.s3cret", NULL, "the node's"},
    {{{NULL, NULL}},
     NULL,
     NULL,
     "a.b.c",
     {{"nodeIdentity", "true"}, {"azureClientId", "c-4"}},
     "Bearer t0ken.s3cret",
     NULL,
     "the node's"},
};

static void way_prepare(struct bench *bench, size_t i)
{
    for (size_t j = 0; j < 4 && ways[i].secret[j].key; j++)
        map_put(&bench->secrets, ways[i].secret[j].key, ways[i].secret[j].value);
    for (size_t j = 0; j < 3 && ways[i].class[j].key; j++)
        bench_class(bench, ways[i].class[j].key, ways[i].class[j].value);
    bench->facts.azure_client_id = ways[i].client;
    bench->facts.azure_tenant_id = ways[i].tenant;
    if (ways[i].token)
        map_put(&bench->tokens, "api://AzureADTokenExchange", ways[i].token);
}

static const char *header_of(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    }
    return NULL;
}

static void each_way_is_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct source_object object;
        struct http_request request;
        struct err err = ERR_INIT;
        const struct source_range range = {.offset = 5, .len = 10, .now_s = 1435361952};
        bench_init(&bench);
        way_prepare(&bench, i);
        if (bench_resolve(&bench, "az://acme/data/d/a", &object, &err) != 0 ||
            bench.source->authorize(&bench.call, &object, &range, bench.arena, &request, &err) != 0)
            fail_msg("%zu: %s", i, err.message);
        const char *header = header_of(&request, "Authorization");
        assert_string_equal(header_of(&request, "Range"), "bytes=5-14");
        assert_string_equal(header_of(&request, "If-Match"), "\"0x8D1\"");
        if ((header != NULL) != (ways[i].header != NULL) || (header && !str_starts_with(header, ways[i].header)))
            fail_msg("%zu: %s", i, header ? header : "none");
        if (ways[i].query ? !str_ends_with(request.url, ways[i].query) : strchr(request.url, '?') != NULL)
            fail_msg("%zu: %s", i, request.url);
        if (!strstr(bench.call.credentials->origin, ways[i].origin))
            fail_msg("%zu: %s", i, bench.call.credentials->origin);
        assert_null(strstr(bench.call.credentials->origin, "s3cret"));
        assert_int_equal(bench.call.credentials->expires_s != 0, header && strstr(header, "Bearer") != NULL);
        assert_true(request.no_redirects);
    }
}

static const struct {
    struct pair secret[4];
    const char *client, *tenant, *token;
    enum err_code code;
    const char *cause;
} broken[] = {
    {{{"azurestorageaccountkey", "s3cret!"}},
     NULL,
     NULL,
     NULL,
     ERR_INVALID,
     "'azurestorageaccountkey' holds no account key"},
    {{{"azurestorageaccountkey", "s3cret\n"}}, NULL, NULL, NULL, ERR_INVALID, "line break"},
    {{{"azurestorageaccountsastoken", "s3cret"}}, NULL, NULL, NULL, ERR_INVALID, "holds no SAS"},
    {{{"azurestorageaccountsastoken", "sv=1&sig=s3cret&x=a b"}}, NULL, NULL, NULL, ERR_INVALID, "holds no SAS"},
    {{{"azurestorageaccountsastoken", "sv=1&sig=s3cret#x"}}, NULL, NULL, NULL, ERR_INVALID, "holds no SAS"},
    {{{"AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true"}}, NULL, NULL, NULL, ERR_INVALID, "AccountName"},
    {{{"AZURE_CLIENT_SECRET", "s3cret"}, {"AZURE_TENANT_ID", "good"}},
     NULL,
     NULL,
     NULL,
     ERR_UNAUTHENTICATED,
     "no key 'AZURE_CLIENT_ID'"},
    {{{"AZURE_CLIENT_SECRET", "s3cret"}, {"AZURE_CLIENT_ID", "c"}},
     NULL,
     NULL,
     NULL,
     ERR_UNAUTHENTICATED,
     "no key 'AZURE_TENANT_ID'"},
    {{{"AZURE_CLIENT_SECRET", "s3cret"}, {"AZURE_CLIENT_ID", "c"}, {"AZURE_TENANT_ID", "a/../b"}},
     NULL,
     NULL,
     NULL,
     ERR_INVALID,
     "'AZURE_TENANT_ID' is not an id"},
    {{{NULL, NULL}}, "c", "good", NULL, ERR_UNAUTHENTICATED, "api://AzureADTokenExchange"},
    {{{NULL, NULL}}, "c", NULL, "a.b.c", ERR_UNAUTHENTICATED, "azure.workload.identity/tenant-id"},
    {{{NULL, NULL}}, "c&d", "good", "a.b.c", ERR_INVALID, "the pod's client id is not an id"},
    {{{NULL, NULL}},
     "c",
     "unmatched",
     "a.b.s3cret",
     ERR_UNAUTHENTICATED,
     "client c of service account ml/train: Microsoft Entra: HTTP 401 AADSTS700213: no federated credential"},
    {{{NULL, NULL}}, "c", "unknown", "a.b.s3cret", ERR_UNAUTHENTICATED, "HTTP 400 AADSTS99999"},
    {{{NULL, NULL}}, "c", "busy", "a.b.s3cret", ERR_UNAVAILABLE, "Microsoft Entra: HTTP 503"},
    {{{NULL, NULL}}, "c", "html", "a.b.s3cret", ERR_PRECONDITION, "Microsoft Entra: the answer is not JSON"},
};

/* A way that is meant and wrong is an error: nothing else is tried, least of all the node's own identity. */
static void what_is_wrong_is_named_and_nothing_else_is_tried(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench);
        for (size_t j = 0; j < 4 && broken[i].secret[j].key; j++)
            map_put(&bench.secrets, broken[i].secret[j].key, broken[i].secret[j].value);
        bench.facts.azure_client_id = broken[i].client;
        bench.facts.azure_tenant_id = broken[i].tenant;
        if (broken[i].token)
            map_put(&bench.tokens, "api://AzureADTokenExchange", broken[i].token);
        bench_class(&bench, "nodeIdentity", "true");
        if (bench_begin(&bench, "az://acme/data/d/a", &err) == 0)
            fail_msg("%zu: taken", i);
        if (err.code != broken[i].code || !strstr(err.message, broken[i].cause))
            fail_msg("%zu: %s %s", i, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
        assert_false(canned_was_asked(&server, "/metadata/"));
    }
}

static void the_metadata_service_is_asked_as_it_wants(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    bench_class(&bench, "nodeIdentity", "true");
    bench_class(&bench, "azureClientId", "c-4");
    assert_int_equal(bench_begin(&bench, "az://acme/data/d/a", &err), 0);
    assert_true(canned_was_asked(&server,
                                 "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%"
                                 "2Fstorage.azure.com%2F&client_id=c-4 HTTP/1.1\r\n"));
    assert_true(canned_was_asked(&server, "\r\nMetadata: true\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_are_resolved),
        cmocka_unit_test(an_empty_blob_is_one),
        cmocka_unit_test(failures_are_named),
        cmocka_unit_test(one_blob_has_one_name),
        cmocka_unit_test(versions_are_asked_for),
        cmocka_unit_test(accounts_are_found),
        cmocka_unit_test(each_way_is_shown),
        cmocka_unit_test(what_is_wrong_is_named_and_nothing_else_is_tried),
        cmocka_unit_test(the_metadata_service_is_asked_as_it_wants),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
