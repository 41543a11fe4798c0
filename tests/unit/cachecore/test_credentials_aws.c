/* Amazon's chain: what services answer, whom it asks in which order, and whom it never asks (rows 33, 34). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/credential_aws.h"
#include "tests/unit/cachecore/canned_server.h"

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define REFUSED(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body
#define JSON(more)                                                                     \
    "{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s3cret\",\"Token\":\"session\"," \
    "\"Expiration\":\"2030-01-02T03:04:05Z\"" more "}"
#define RESPONSE(fields)                                                                         \
    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"    \
    "<AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>x</"                          \
    "SubjectFromWebIdentityToken><Credentials>" fields                                           \
    "</Credentials></AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId>" \
    "</ResponseMetadata></AssumeRoleWithWebIdentityResponse>"
#define SESSION "<SessionToken>session</SessionToken>"
#define KEYS "<AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>"
#define UNTIL "<Expiration>2030-01-02T03:04:05Z</Expiration>"
#define STS_ERROR(code)                                                                 \
    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>S" \
    "ender</Type><Code>" code "</Code><Message>s3cret</Message></Error></ErrorResponse>"
#define UNTIL_S 1893553445
#define ROLE "arn:aws:iam::123456789012:role/reader"

/* --- answers --- */

static const struct {
    bool is_xml;
    const char *text;
    const char *refusal; /* NULL: taken */
} answers[] = {
    {false, JSON(""), NULL},
    {false, JSON(",\"AccountId\":\"1\",\"Code\":\"Success\",\"Type\":\"AWS-HMAC\""), NULL},
    {false, JSON(",\"Code\":\"AssumeRoleUnauthorizedAccess\""), "AssumeRoleUnauthorizedAccess"},
    {false, "{\"Code\":\"a b s3cret\",\"Message\":\"s3cret\"}", "the service says a"},
    {false, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", "until when"},
    {false, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":1893553445}",
     "until when"},
    {false, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"2030-01-02T03:04:05Z\"}",
     "session token"},
    {false, "{\"AccessKeyId\":\"A\\nB\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", "access key id"},
    {false, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\\u0000x\",\"Token\":\"t\"}", "no JSON object"},
    {false, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":7,\"Token\":\"t\"}", "secret access key"},
    {false, JSON(",\"Token\":\"second\""), "no JSON object"},
    {false, "[]", "no JSON object"},
    {false, "[[[[[[[[[[[]]]]]]]]]]]", "no JSON object"},
    {false, "", "no JSON object"},
    {false, JSON("") "x", "no JSON object"},
    {true, RESPONSE(KEYS SESSION UNTIL), NULL},
    {true, "<?xml version=\"1.0\"?>" RESPONSE(SESSION UNTIL KEYS "<More/>"), NULL},
    {true, RESPONSE(KEYS SESSION), "until when"},
    {true, RESPONSE(KEYS UNTIL), "session token"},
    {true, RESPONSE(SESSION UNTIL), "access key id"},
    {true, RESPONSE(KEYS KEYS SESSION UNTIL), "twice"},
    {true, RESPONSE(KEYS "<SessionToken></SessionToken>" UNTIL), "session token"},
    {true, RESPONSE(KEYS "<SessionToken>a b</SessionToken>" UNTIL), "session token"},
    {true, "<Response><Credentials>" KEYS SESSION UNTIL "</Credentials></Response>", "access key id"},
    {true, STS_ERROR("AccessDenied"), "access key id"},
    {true, "<!DOCTYPE a [<!ENTITY b \"c\">]>" RESPONSE(KEYS SESSION UNTIL), "document type"},
    {true, "<AssumeRoleWithWebIdentityResponse>", "not XML"},
    {true, "{}", "not XML"},
};

static void answers_are_read_strictly(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct aws_keys keys = {.expires_s = 0};
        int (*parse)(struct arena *, const char *, size_t, struct aws_keys *, struct err *) =
            answers[i].is_xml ? aws_keys_parse_sts : aws_keys_parse_json;
        int result = parse(arena, answers[i].text, strlen(answers[i].text), &keys, &err);
        if ((result == 0) != (answers[i].refusal == NULL))
            fail_msg("%zu %s: %s", i, answers[i].text, err.message);
        if (result != 0) {
            assert_int_equal(err.code, ERR_PRECONDITION);
            if (!strstr(err.message, answers[i].refusal) || strstr(err.message, "s3cret"))
                fail_msg("%zu %s: %s", i, answers[i].text, err.message);
            continue;
        }
        assert_string_equal(keys.access_key_id, "ASIA1");
        assert_string_equal(keys.secret_key, "s3cret");
        assert_string_equal(keys.session_token, "session");
        assert_int_equal(keys.expires_s, UNTIL_S);
    }
}

static const struct {
    const char *namespace, *account, *name; /* name: what it begins with, if it is too long */
} sessions[] = {
    {"team-a", "reader", "team-a.reader"},
    {NULL, NULL, "sharedcache"},
    {"a", "b/c d", "a.b_c_d"},
    {"namespace-of-fifty-characters-and-a-few-more-of-them", "account-that-is-longer-than-what-is-left",
     "namespace-of-fifty-characters-and-a-few-more-of-"},
};

static void sessions_have_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sessions) / sizeof(sessions[0]); i++) {
        const struct identity_facts facts = {.namespace = sessions[i].namespace,
                                             .service_account = sessions[i].account};
        char name[AWS_SESSION_NAME_SIZE];
        aws_session_name(&facts, name);
        assert_true(strlen(name) >= 2 && strlen(name) <= 64);
        assert_memory_equal(name, sessions[i].name, strlen(sessions[i].name) - 1);
        if (strlen(name) < 64)
            assert_string_equal(name, sessions[i].name);
        else
            assert_int_equal(name[47], '-');
    }
}

static const struct {
    const char *arn, *region, *endpoint;
    const char *url; /* NULL: refused */
} urls[] = {
    {ROLE, NULL, NULL, "https://sts.us-east-1.amazonaws.com/"},
    {ROLE, "eu-west-1", NULL, "https://sts.eu-west-1.amazonaws.com/"},
    {ROLE, "garage", NULL, "https://sts.us-east-1.amazonaws.com/"},
    {ROLE, "cn-north-1", NULL, "https://sts.us-east-1.amazonaws.com/"},
    {"arn:aws-cn:iam::123456789012:role/r", "cn-north-1", NULL, "https://sts.cn-north-1.amazonaws.com.cn/"},
    {"arn:aws-cn:iam::123456789012:role/r", "us-east-1", NULL, "https://sts.cn-northwest-1.amazonaws.com.cn/"},
    {"arn:aws-us-gov:iam::123456789012:role/r", NULL, NULL, "https://sts.us-gov-west-1.amazonaws.com/"},
    {"arn:minio:iam:::role/dummy-internal", NULL, NULL, NULL},
    {"arn:minio:iam:::role/dummy-internal", NULL, "http://minio:9000", "http://minio:9000/"},
    {"reader", NULL, "http://minio:9000", NULL},
    {"arn:aws:iam::123456789012:role/a b", NULL, NULL, NULL},
    {"arn:aws:iam::1", NULL, NULL, NULL},
    {"", NULL, NULL, NULL},
};

static void services_stand_in_their_partition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct class class;
        class_default(&class);
        class.aws_sts_endpoint = urls[i].endpoint;
        const char *url = aws_sts_url(arena, &class, urls[i].arn, urls[i].region, &err);
        assert_int_equal(url != NULL, urls[i].url != NULL);
        if (url)
            assert_string_equal(url, urls[i].url);
        else
            assert_int_equal(err.code, ERR_INVALID);
    }
}

/* --- the chain --- */

#define STS(path, response)                              \
    {                                                    \
        path "/", response, 0, CANNED_CLOSE, NULL, false \
    }
#define POD(path, response)                                            \
    {                                                                  \
        path "/v1/credentials", response, 0, CANNED_CLOSE, NULL, false \
    }
#define IMDS(path, name, response)                                                                      \
    {                                                                                                   \
        path "/latest/meta-data/iam/security-credentials/" name, response, 0, CANNED_CLOSE, NULL, false \
    }
#define IMDS_TOKEN(path, response)                                       \
    {                                                                    \
        path "/latest/api/token", response, 0, CANNED_CLOSE, NULL, false \
    }

static const struct canned table[] = {
    STS("/good", OK(RESPONSE(KEYS SESSION UNTIL))),
    STS("/expired", REFUSED("400 Bad Request", STS_ERROR("ExpiredTokenException"))),
    STS("/invalid", REFUSED("400 Bad Request", STS_ERROR("InvalidIdentityToken"))),
    STS("/denied", REFUSED("403 Forbidden", STS_ERROR("AccessDenied"))),
    STS("/idp", REFUSED("400 Bad Request", STS_ERROR("IDPCommunicationError"))),
    STS("/throttled", REFUSED("400 Bad Request", STS_ERROR("Throttling"))),
    STS("/strange", REFUSED("400 Bad Request", STS_ERROR("Strange code"))),
    STS("/busy", REFUSED("503 Busy", "")),
    STS("/text", OK("s3cret")),
    STS("/moved", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
    POD("/good", OK(JSON(""))),
    POD("/none", REFUSED("404 Not Found", "[r]: (ResourceNotFoundException): No association, fault: client\n")),
    POD("/expired", REFUSED("400 Bad Request", "[r]: (ExpiredTokenException): s3cret, fault: client\n")),
    POD("/denied", REFUSED("400 Bad Request", "[r]: (AccessDeniedException): s3cret, fault: client\n")),
    POD("/malformed", REFUSED("400 Bad Request", "Service account token cannot be empty\n")),
    POD("/throttled", REFUSED("429 Too Many Requests", "Too Many Requests. s3cret\n")),
    POD("/text", OK("s3cret")),
    IMDS_TOKEN("/good", OK("AQAEAtoken==")),
    IMDS("/good", "", OK("node-role\nsecond\n")),
    IMDS("/good", "node-role", OK(JSON(",\"Code\":\"Success\""))),
    {"/good/latest/meta-data/placement/region", OK("eu-west-3"), 0, CANNED_CLOSE, NULL, false},
    IMDS_TOKEN("/none", OK("AQAEAtoken==")),
    IMDS("/none", "", REFUSED("404 Not Found", "")),
    IMDS_TOKEN("/off", REFUSED("403 Forbidden", "")),
    IMDS_TOKEN("/text", OK("a b")),
    IMDS_TOKEN("/evil", OK("AQAEAtoken==")),
    IMDS("/evil", "", OK("../../user-data")),
};

static struct canned_server server;

static const struct {
    const char *role, *class_role;
    bool has_sts_token, has_pod_token, node_identity, has_keys;
    const char *sts, *pod, *imds; /* where each is; NULL: whoever asks it fails the test */
    enum err_code code;           /* ERR_NONE: found */
    const char *words;            /* of the origin or of the message */
} rows[] = {
    /* the order */
    {ROLE, NULL, true, true, true, true, NULL, NULL, NULL, ERR_NONE, "the secret's access keys"},
    {ROLE, NULL, true, true, true, false, "/good", NULL, NULL, ERR_NONE, "role " ROLE " of service account ns/sa"},
    {NULL, ROLE, true, false, false, false, "/good", NULL, NULL, ERR_NONE, "role " ROLE " of service account ns/sa"},
    {ROLE, "arn:aws:iam::123456789012:role/x", true, false, false, false, "/good", NULL, NULL, ERR_NONE, ROLE},
    {NULL, NULL, true, true, true, false, NULL, "/good", NULL, ERR_NONE, "pod identity of service account ns/sa"},
    {NULL, NULL, true, true, true, false, NULL, "/none", "/good", ERR_NONE, "the node's role node-role"},
    {NULL, NULL, true, true, false, false, NULL, "/none", NULL, ERR_NONE, "no credentials"},
    {NULL, NULL, true, false, true, false, NULL, NULL, "/good", ERR_NONE, "the node's role node-role"},
    {NULL, NULL, true, false, true, false, NULL, NULL, "/none", ERR_NONE, "no credentials"},
    {NULL, NULL, true, false, false, false, NULL, NULL, NULL, ERR_NONE, "no credentials"},
    {NULL, NULL, false, false, false, false, NULL, NULL, NULL, ERR_NONE, "no credentials"},
    /* who has an identity never gets the node's */
    {ROLE, NULL, false, true, true, false, NULL, NULL, NULL, ERR_UNAUTHENTICATED, "audience sts.amazonaws.com"},
    {ROLE, NULL, true, true, true, false, "/denied", NULL, NULL, ERR_DENIED,
     "AWS STS: role " ROLE " may not be assumed by service account ns/sa (its trust policy)"},
    {ROLE, NULL, true, true, true, false, "/busy", NULL, NULL, ERR_UNAVAILABLE, "AWS STS: HTTP 503"},
    {NULL, NULL, true, true, true, false, NULL, "/expired", NULL, ERR_UNAUTHENTICATED, "token has expired"},
    {NULL, NULL, true, true, true, false, NULL, "/throttled", NULL, ERR_UNAVAILABLE, "EKS Pod Identity: HTTP 429"},
    /* refusals */
    {ROLE, NULL, true, false, false, false, "/expired", NULL, NULL, ERR_UNAUTHENTICATED, "token has expired"},
    {ROLE, NULL, true, false, false, false, "/invalid", NULL, NULL, ERR_UNAUTHENTICATED, "identity provider"},
    {ROLE, NULL, true, false, false, false, "/idp", NULL, NULL, ERR_UNAVAILABLE, "IDPCommunicationError"},
    {ROLE, NULL, true, false, false, false, "/throttled", NULL, NULL, ERR_UNAVAILABLE, "fewer requests"},
    {ROLE, NULL, true, false, false, false, "/strange", NULL, NULL, ERR_UNAUTHENTICATED, "HTTP 400 Strange?"},
    {ROLE, NULL, true, false, false, false, "/text", NULL, NULL, ERR_PRECONDITION, "not XML"},
    {ROLE, NULL, true, false, false, false, "/moved", NULL, NULL, ERR_PRECONDITION, "HTTP 302"},
    {"reader", NULL, true, false, false, false, NULL, NULL, NULL, ERR_INVALID, "no ARN"},
    {NULL, NULL, true, true, false, false, NULL, "/denied", NULL, ERR_DENIED, "AccessDeniedException"},
    {NULL, NULL, true, true, false, false, NULL, "/malformed", NULL, ERR_UNAUTHENTICATED, "HTTP 400"},
    {NULL, NULL, true, true, false, false, NULL, "/text", NULL, ERR_PRECONDITION, "no JSON object"},
    {NULL, NULL, true, false, true, false, NULL, NULL, "/off", ERR_DENIED, "metadata service: HTTP 403"},
    {NULL, NULL, true, false, true, false, NULL, NULL, "/text", ERR_PRECONDITION, "no session token"},
    {NULL, NULL, true, false, true, false, NULL, NULL, "/evil", ERR_PRECONDITION, "no name"},
};

static const char *place(struct arena *arena, const char *path)
{
    return arena_printf(arena, "http://127.0.0.1:%u%s", server.port, path ? path : "/nobody-asks-here");
}

static void map_put(struct secret_map *map, const char *key, const char *value, bool wanted)
{
    if (wanted)
        secret_map_add(map, key, value, strlen(value));
}

static void row_run(size_t i)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(credentials_unrefp) struct credentials *found = NULL;
    const struct identity_facts facts = {.namespace = "ns", .service_account = "sa", .aws_role_arn = rows[i].role};
    struct identity_view view = {.facts = &facts, .secrets = SECRET_MAP_INIT, .tokens = SECRET_MAP_INIT};
    struct err err = ERR_INIT;
    struct class class;
    class_default(&class);
    class.allowed_addresses = "127.0.0.0/8";
    class.aws_role_arn = rows[i].class_role;
    class.node_identity = rows[i].node_identity;
    class.aws_sts_endpoint = place(arena, rows[i].sts);
    class.aws_pod_identity_endpoint = place(arena, rows[i].pod);
    class.aws_metadata_endpoint = place(arena, rows[i].imds);
    map_put(&view.tokens, AWS_STS_AUDIENCE, "s3cret-sts", rows[i].has_sts_token);
    map_put(&view.tokens, AWS_POD_IDENTITY_AUDIENCE, "s3cret-pod", rows[i].has_pod_token);
    map_put(&view.secrets, "AWS_ACCESS_KEY_ID", "AKIA", rows[i].has_keys);
    map_put(&view.secrets, "AWS_SECRET_ACCESS_KEY", "s3cret", rows[i].has_keys);
    const struct credentials_request request = {.class = &class, .identity = &view};
    int result = credential_chain_aws.find(&request, &found, &err);
    secret_map_deinit(&view.secrets);
    secret_map_deinit(&view.tokens);
    const char *words = result == 0 ? found->origin : err.message;
    if (err.code != rows[i].code || !strstr(words, rows[i].words) || strstr(words, "s3cret"))
        fail_msg("row %zu: %s %s", i, err_code_name(err.code), words);
    if (result == 0 && found->session_token)
        assert_int_equal(found->expires_s, UNTIL_S);
    if (rows[i].imds && result == 0 && found->session_token)
        assert_string_equal(found->region, "eu-west-3");
    assert_false(canned_was_asked(&server, "nobody-asks-here"));
}

static void the_chain_has_an_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        row_run(i);
}

static int setup(void **state)
{
    (void)state;
    canned_start(&server, table, sizeof(table) / sizeof(table[0]));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    canned_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read_strictly),
        cmocka_unit_test(sessions_have_names),
        cmocka_unit_test(services_stand_in_their_partition),
        cmocka_unit_test(the_chain_has_an_order),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
