/* The chain for Google: key files, answers of its token services, and which way is gone when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "cachecore/credential_google.h"
#include "canned_server.h"

#define EMAIL "reader@acme.iam.gserviceaccount.com"
#define POOL "acme.svc.id.goog"
#define GKE "identitynamespace:" POOL ":https://container.googleapis.com/v1/projects/acme/locations/l/clusters/c"
#define FEDERATED "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x"

static const struct {
    const char *text;
    enum err_code code;
    const char *cause; /* NULL: it is taken */
} files[] = {
    {"{\"type\":\"service_account\",\"client_email\":\"" EMAIL
     "\",\"private_key\":\"s3cret\",\"token_uri\":\"http://evil.test/\"}",
     ERR_NONE, NULL},
    {"{\"type\":\"service_account\",\"client_email\":\"" EMAIL
     "\",\n\t\"private_key\":\"s3cret\",\"private_key_id\":\"0a1b\"}\r\n",
     ERR_NONE, NULL},
    {"", ERR_INVALID, "not a JSON object"},
    {"s3cret", ERR_INVALID, "not a JSON object"},
    {"[]", ERR_INVALID, "not a JSON object"},
    {"{\"type\":\"service_account\",\"type\":\"service_account\"}", ERR_INVALID, "not a JSON object"},
    {"{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}", ERR_INVALID, "not a JSON object"},
    {"{}", ERR_INVALID, "no 'type'"},
    {"{\"type\":7}", ERR_INVALID, "no 'type'"},
    {"{\"type\":\"s3cret\"}", ERR_INVALID, "is not 'service_account'"},
    {"{\"type\":\"authorized_user\",\"refresh_token\":\"s3cret\"}", ERR_UNSUPPORTED, "'authorized_user'"},
    {"{\"type\":\"external_account\"}", ERR_UNSUPPORTED, "googleProvider"},
    {"{\"type\":\"impersonated_service_account\"}", ERR_UNSUPPORTED, "key file of a service account"},
    {"{\"type\":\"service_account\",\"private_key\":\"s3cret\"}", ERR_INVALID, "'client_email'"},
    {"{\"type\":\"service_account\",\"client_email\":\"a\\\"b\",\"private_key\":\"s3cret\"}", ERR_INVALID,
     "'client_email'"},
    {"{\"type\":\"service_account\",\"client_email\":\"a\\\\b\"}", ERR_INVALID, "'client_email'"},
    {"{\"type\":\"service_account\",\"client_email\":\"" EMAIL "\"}", ERR_INVALID, "'private_key'"},
    {"{\"type\":\"service_account\",\"client_email\":\"" EMAIL "\",\"private_key\":\"\"}", ERR_INVALID,
     "'private_key'"},
    {"{\"type\":\"service_account\",\"client_email\":\"" EMAIL
     "\",\"private_key\":\"s3cret\",\"private_key_id\":\"a b\"}",
     ERR_INVALID, "'private_key_id'"},
};

static void key_files_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct google_key key = {.email = NULL};
        struct err err = ERR_INIT;
        int result = google_key_parse(arena, files[i].text, strlen(files[i].text), &key, &err);
        if (result != (files[i].cause ? -1 : 0) || err.code != files[i].code ||
            (files[i].cause && !strstr(err.message, files[i].cause)))
            fail_msg("%s: %d %s", files[i].text, err.code, err.message);
        assert_null(strstr(err.message, "s3cret"));
        if (result == 0) {
            assert_string_equal(key.email, EMAIL);
            assert_string_equal(key.private_key, "s3cret");
        }
    }
}

static const struct {
    google_parse parse;
    const char *text;
    const char *value; /* NULL: refused */
    int64_t expires_s;
} answers[] = {
    {google_token_parse, "{\"access_token\":\"ya29.x\",\"expires_in\":3599,\"token_type\":\"Bearer\"}", "ya29.x", 4599},
    {google_token_parse, "{\"access_token\":\"t\",\"token_type\":\"bearer\",\"scope\":\"s\"}", "t", 1300},
    {google_token_parse, "{\"access_token\":\"t\",\"expires_in\":9223372036854775807}", "t", 44200},
    {google_token_parse, "{\"access_token\":\"t\",\"expires_in\":0}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"expires_in\":-1}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"expires_in\":\"3600\"}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"expires_in\":1.5}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"token_type\":\"mac\"}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"token_type\":1}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"a\\r\\nX: y\"}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"a b\"}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"\"}", NULL, 0},
    {google_token_parse, "{\"access_token\":\"t\",\"access_token\":\"u\"}", NULL, 0},
    {google_token_parse, "{}", NULL, 0},
    {google_token_parse, "", NULL, 0},
    {google_token_parse, "\"t\"", NULL, 0},
    {google_impersonation_parse, "{\"accessToken\":\"t\",\"expireTime\":\"1970-01-01T01:00:00Z\"}", "t", 3600},
    {google_impersonation_parse, "{\"accessToken\":\"t\",\"expireTime\":\"9999-12-31T00:00:00Z\"}", "t", 44200},
    {google_impersonation_parse, "{\"accessToken\":\"t\",\"expireTime\":\"soon\"}", NULL, 0},
    {google_impersonation_parse, "{\"accessToken\":\"t\"}", NULL, 0},
    {google_impersonation_parse, "{\"expireTime\":\"1970-01-01T01:00:00Z\"}", NULL, 0},
    {google_impersonation_parse, "{\"access_token\":\"t\",\"expireTime\":\"1970-01-01T01:00:00Z\"}", NULL, 0},
};

static void answers_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        const struct credential_answer answer = {.body = answers[i].text, .len = strlen(answers[i].text)};
        struct google_token token = {.value = NULL};
        struct err err = ERR_INIT;
        int result = answers[i].parse(&answer, 1000, arena, &token, &err);
        if (result != (answers[i].value ? 0 : -1))
            fail_msg("%s: %d %s", answers[i].text, result, err.message);
        if (result == 0) {
            assert_string_equal(token.value, answers[i].value);
            assert_int_equal(token.expires_s, answers[i].expires_s);
        } else {
            assert_int_equal(err.code, ERR_PRECONDITION);
        }
    }
}

/* --- the ways, against a server that answers whatever is asked --- */

#define ANSWER(status, headers, body) "HTTP/1.1 " status "\r\n" headers "Connection: close\r\n\r\n" body
#define TOKEN(text) "{\"access_token\":\"" text "\",\"expires_in\":3600,\"token_type\":\"Bearer\"}"
#define NODE_PATH "/computeMetadata/v1/instance/service-accounts/default/token"
#define IAM_PATH(account) "/v1/projects/-/serviceAccounts/" account ":generateAccessToken"

static const struct canned table[] = {
    {.path = "/token", .bytes = ANSWER("200 OK", "", TOKEN("from-key"))},
    {.path = "/v1/token", .bytes = ANSWER("200 OK", "", TOKEN("from-sts"))},
    {.path = NODE_PATH, .bytes = ANSWER("200 OK", "Metadata-Flavor: Google\r\n", TOKEN("from-node"))},
    {.path = "/plain" NODE_PATH, .bytes = ANSWER("200 OK", "", TOKEN("from-node"))},
    {.path = IAM_PATH(EMAIL),
     .bytes = ANSWER("200 OK", "", "{\"accessToken\":\"from-iam\",\"expireTime\":\"2036-01-02T03:04:05Z\"}")},
    {.path = IAM_PATH("other@acme.iam.gserviceaccount.com"),
     .bytes = ANSWER("403 Forbidden", "", "{\"error\":{\"code\":403,\"status\":\"PERMISSION_DENIED\"}}")},
    {.path = "/refused/v1/token", .bytes = ANSWER("400 Bad Request", "", "{\"error\":\"invalid_grant\"}")},
    {.path = "/refused/token", .bytes = ANSWER("401 Unauthorized", "", "{\"error\":\"invalid_client\"}")},
    {.path = "/down/v1/token", .bytes = ANSWER("503 Service Unavailable", "", "later")},
    {.path = "/odd/v1/token", .bytes = ANSWER("200 OK", "", "<html>")},
    {.path = "/moved/v1/token", .bytes = ANSWER("302 Found", "Location: /v1/token\r\n", "")},
};

static struct canned_server server;
static char *key_file;

static char *key_file_make(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    size_t len = (size_t)BIO_get_mem_data(bio, &data);
    char *text = calloc(1, 2 * len + 1024);
    size_t used = (size_t)sprintf(text,
                                  "{\n  \"type\": \"service_account\",\n  \"client_email\": \"%s\",\n"
                                  "  \"private_key\": \"",
                                  EMAIL);
    for (size_t i = 0; i < len; i++) {
        const char *piece = data[i] == '\n' ? "\\n" : (char[]){data[i], '\0'};
        used += (size_t)sprintf(text + used, "%s", piece);
    }
    sprintf(text + used, "\"\n}\n");
    BIO_free(bio);
    EVP_PKEY_free(key);
    return text;
}

struct way {
    const char *name;
    const char *secret_key, *secret_value; /* value NULL: the key file */
    const char *token_audience;
    const char *account;  /* of the facts */
    const char *provider; /* of the class */
    const char *class_account;
    const char *prefix; /* of the endpoints' paths */
    bool is_node;       /* the class's nodeIdentity */
    const char *value;  /* of the header; NULL: anonymous, or an error */
    enum err_code code;
    const char *cause; /* of the error, or a part of origin */
    unsigned requests;
    const char *asked; /* stood in the last request */
};

static const struct way ways[] = {
    {.name = "nothing", .cause = "no credentials"},
    {.name = "access token",
     .secret_key = "access_token",
     .secret_value = "given",
     .value = "Bearer given",
     .cause = "the secret's access token"},
    {.name = "access token, by its other name",
     .secret_key = "GOOGLE_OAUTH_ACCESS_TOKEN",
     .secret_value = "given",
     .provider = GKE,
     .token_audience = POOL,
     .is_node = true,
     .value = "Bearer given"},
    {.name = "access token with a line end",
     .secret_key = "access_token",
     .secret_value = "given\n",
     .code = ERR_INVALID,
     .cause = "line break"},
    {.name = "a token for the web is not for Google",
     .secret_key = "token",
     .secret_value = "given",
     .cause = "no credentials"},
    {.name = "key file",
     .secret_key = "key.json",
     .is_node = true,
     .value = "Bearer from-key",
     .cause = "the key file of " EMAIL,
     .requests = 1},
    {.name = "key file before the pod's token",
     .secret_key = "gcloud-application-credentials.json",
     .provider = GKE,
     .token_audience = POOL,
     .value = "Bearer from-key",
     .requests = 1},
    {.name = "key file that is none",
     .secret_key = "credentials.json",
     .secret_value = "{\"type\":\"s3cret\"}",
     .is_node = true,
     .code = ERR_INVALID,
     .cause = "the secret's key file: its 'type'"},
    {.name = "key file with a bad key",
     .secret_key = "GOOGLE_APPLICATION_CREDENTIALS_JSON",
     .secret_value = "{\"type\":\"service_account\",\"client_email\":\"" EMAIL "\",\"private_key\":\"s3cret\"}",
     .code = ERR_INVALID,
     .cause = "'private_key': not an RSA private key"},
    {.name = "key file that is refused",
     .secret_key = "key.json",
     .prefix = "/refused",
     .is_node = true,
     .code = ERR_UNAUTHENTICATED,
     .cause = "HTTP 401 invalid_client: there is no such service account",
     .requests = 1},
    {.name = "federation, GKE",
     .provider = GKE,
     .token_audience = POOL,
     .is_node = true,
     .value = "Bearer from-sts",
     .cause = "service account ml/train",
     .requests = 1},
    {.name = "federation, any cluster",
     .provider = FEDERATED,
     .token_audience = FEDERATED,
     .value = "Bearer from-sts",
     .requests = 1},
    {.name = "federation, with the audience as a URL",
     .provider = FEDERATED,
     .token_audience = "https:" FEDERATED,
     .value = "Bearer from-sts",
     .requests = 1},
    {.name = "federation, impersonation",
     .provider = GKE,
     .token_audience = POOL,
     .account = EMAIL,
     .value = "Bearer from-iam",
     .cause = EMAIL ", for service account ml/train",
     .requests = 2,
     .asked = "Authorization: Bearer from-sts\r\n"},
    {.name = "federation, impersonation by the class",
     .provider = GKE,
     .token_audience = POOL,
     .class_account = EMAIL,
     .value = "Bearer from-iam",
     .requests = 2},
    {.name = "the annotation before the class",
     .provider = GKE,
     .token_audience = POOL,
     .account = EMAIL,
     .class_account = "other@acme.iam.gserviceaccount.com",
     .value = "Bearer from-iam",
     .requests = 2},
    {.name = "impersonation that is refused",
     .provider = GKE,
     .token_audience = POOL,
     .account = "other@acme.iam.gserviceaccount.com",
     .is_node = true,
     .code = ERR_DENIED,
     .cause = "HTTP 403 PERMISSION_DENIED: the pod's service account may not become this one",
     .requests = 2},
    {.name = "an account that is no address",
     .provider = GKE,
     .token_audience = POOL,
     .account = "a@b.c/../x",
     .code = ERR_INVALID,
     .cause = "not an email address"},
    {.name = "another audience",
     .provider = GKE,
     .token_audience = "sts.amazonaws.com",
     .is_node = true,
     .code = ERR_UNAUTHENTICATED,
     .cause = "no service account token for audience '" POOL "'"},
    {.name = "no token at all",
     .provider = FEDERATED,
     .is_node = true,
     .code = ERR_UNAUTHENTICATED,
     .cause = "tokenRequests"},
    {.name = "a provider that is none",
     .provider = "acme",
     .token_audience = "acme",
     .code = ERR_INVALID,
     .cause = "googleProvider"},
    {.name = "a pool without a provider",
     .provider = "identitynamespace:" POOL,
     .token_audience = POOL,
     .code = ERR_INVALID,
     .cause = "googleProvider"},
    {.name = "sts refuses",
     .provider = GKE,
     .token_audience = POOL,
     .prefix = "/refused",
     .is_node = true,
     .code = ERR_UNAUTHENTICATED,
     .cause = "Google STS: HTTP 400 invalid_grant: the pod's token is not accepted",
     .requests = 1},
    {.name = "sts is down",
     .provider = GKE,
     .token_audience = POOL,
     .prefix = "/down",
     .is_node = true,
     .code = ERR_UNAVAILABLE,
     .cause = "HTTP 503",
     .requests = 1},
    {.name = "sts answers something else",
     .provider = GKE,
     .token_audience = POOL,
     .prefix = "/odd",
     .code = ERR_PRECONDITION,
     .cause = "no JSON object",
     .requests = 1},
    {.name = "sts redirects",
     .provider = GKE,
     .token_audience = POOL,
     .prefix = "/moved",
     .code = ERR_PRECONDITION,
     .cause = "HTTP 302",
     .requests = 1},
    {.name = "node",
     .is_node = true,
     .value = "Bearer from-node",
     .cause = "the node's service account",
     .requests = 1,
     .asked = "Metadata-Flavor: Google\r\n"},
    {.name = "not the node, where nobody says so", .cause = "no credentials"},
    {.name = "not the node, where the service account is somebody",
     .is_node = true,
     .account = EMAIL,
     .cause = "no googleProvider"},
    {.name = "a node that is not Google's",
     .is_node = true,
     .prefix = "/plain",
     .code = ERR_PRECONDITION,
     .cause = "Metadata-Flavor",
     .requests = 1},
};

static void maps_fill(const struct way *way, struct identity_view *view)
{
    const char *value = way->secret_value ? way->secret_value : key_file;
    if (way->secret_key)
        secret_map_add(&view->secrets, way->secret_key, value, strlen(value));
    if (way->token_audience)
        secret_map_add(&view->tokens, way->token_audience, "e.y.J", 5);
}

static int way_go(const struct way *way, struct credentials **out, struct err *err)
{
    char endpoint[64];
    struct class class;
    const struct identity_facts facts = {
        .namespace = "ml", .service_account = "train", .google_service_account = way->account};
    struct identity_view view = {.facts = &facts, .secrets = SECRET_MAP_INIT, .tokens = SECRET_MAP_INIT};
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u%s", server.port, way->prefix ? way->prefix : "");
    class_default(&class);
    class.allowed_addresses = "127.0.0.1/32";
    class.node_identity = way->is_node;
    class.google_provider = way->provider;
    class.google_service_account = way->class_account;
    class.google_sts_endpoint = class.google_iam_endpoint = endpoint;
    class.google_token_endpoint = class.google_metadata_endpoint = endpoint;
    maps_fill(way, &view);
    const struct credentials_request request = {.class = &class, .identity = &view};
    int result = credential_chain_google.find(&request, out, err);
    secret_map_deinit(&view.secrets);
    secret_map_deinit(&view.tokens);
    return result;
}

static void way_check(const struct way *way, const struct credentials *found)
{
    assert_int_equal(found->kind, way->value ? CREDENTIALS_HEADERS : CREDENTIALS_NONE);
    assert_int_equal(found->header_count, way->value ? 1 : 0);
    if (way->value) {
        assert_string_equal(found->headers[0].name, "Authorization");
        assert_string_equal(secret_reveal(found->headers[0].value), way->value);
    }
    assert_int_equal(found->expires_s != 0, way->requests > 0);
    if (way->cause && !strstr(found->origin, way->cause))
        fail_msg("%s: origin: %s", way->name, found->origin);
}

static void each_way_is_gone_where_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        _cleanup_(credentials_unrefp) struct credentials *found = NULL;
        struct err err = ERR_INIT;
        unsigned before = atomic_load(&server.requests);
        int result = way_go(&ways[i], &found, &err);
        if (result != (ways[i].code == ERR_NONE ? 0 : -1) || err.code != ways[i].code)
            fail_msg("%s: %d %s", ways[i].name, err.code, err.message);
        if (result == 0)
            way_check(&ways[i], found);
        else if (!strstr(err.message, ways[i].cause))
            fail_msg("%s: %s", ways[i].name, err.message);
        assert_null(strstr(err.message, "s3cret"));
        if (atomic_load(&server.requests) - before != ways[i].requests)
            fail_msg("%s: %u requests", ways[i].name, atomic_load(&server.requests) - before);
        if (ways[i].asked && !canned_was_asked(&server, ways[i].asked))
            fail_msg("%s: the request lacks '%s'", ways[i].name, ways[i].asked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_files_are_read_strictly),
        cmocka_unit_test(answers_are_read_strictly),
        cmocka_unit_test(each_way_is_gone_where_it_should),
    };
    key_file = key_file_make();
    canned_start(&server, table, sizeof(table) / sizeof(table[0]));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    canned_stop(&server);
    free(key_file);
    return failed;
}
