/* Sources against canned servers: what they make of statuses, validators, ranges and regions (rows 46, 48-51, 56, 57, 63). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/source.h"
#include "tests/unit/cachecore/canned_server.h"

#define PART(headers) \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1234\r\nContent-Length: 1\r\n" headers "\r\nx"
#define NONE(status, headers) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n" headers "\r\n"
#define MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define ERROR_XML(code, more) "<Error><Code>" code "</Code><Message>s3cret</Message>" more "</Error>"
#define CLOSED(status, headers, body) "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n" body

static const struct canned table[] = {
    {"/etag", PART("ETag: \"e1\"\r\n" MODIFIED), 0, CANNED_KEEP, NULL, false},
    {"/weak", PART("ETag: W/\"e1\"\r\n" MODIFIED), 0, CANNED_KEEP, NULL, false},
    {"/unquoted", PART("ETag: e1\r\n" MODIFIED), 0, CANNED_KEEP, NULL, false},
    {"/unversioned", PART(""), 0, CANNED_KEEP, NULL, false},
    {"/no-ranges", "HTTP/1.1 200 OK\r\nContent-Length: 77\r\nETag: \"e2\"\r\n\r\n", 0, CANNED_STALL, NULL, false},
    {"/no-length", "HTTP/1.1 200 OK\r\n" MODIFIED "\r\n", 0, CANNED_STALL, NULL, false},
    {"/huge", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\nETag: \"e2\"\r\n\r\n", 0, CANNED_STALL, NULL,
     false},
    {"/empty", NONE("416 Range Not Satisfiable", "Content-Range: bytes */0\r\n"), 0, CANNED_KEEP, NULL, true},
    {"/empty", NONE("200 OK", "ETag: \"e0\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/star", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/*\r\nContent-Length: 1\r\n\r\nx", 0,
     CANNED_KEEP, NULL, true},
    {"/star", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: \"e9\"\r\n\r\n", 0, CANNED_STALL, NULL, false},
    {"/other-range", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-5/10\r\nContent-Length: 1\r\n\r\nx", 0,
     CANNED_KEEP, NULL, false},
    {"/part-as-whole", "HTTP/1.1 200 OK\r\nContent-Range: bytes 0-0/10\r\nContent-Length: 1\r\nETag: \"e1\"\r\n\r\nx",
     0, CANNED_CLOSE, NULL, false},
    {"/no-range", "HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx", 0, CANNED_KEEP, NULL, false},
    {"/unrequested", NONE("416 Range Not Satisfiable", ""), 0, CANNED_KEEP, NULL, true},
    {"/unrequested", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/204", "HTTP/1.1 204 No Content\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/304", "HTTP/1.1 304 Not Modified\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/300", NONE("300 Multiple Choices", ""), 0, CANNED_KEEP, NULL, false},
    {"/302", NONE("302 Found", ""), 0, CANNED_KEEP, NULL, false},
    {"/401", NONE("401 Unauthorized", "WWW-Authenticate: Basic realm=\"s3cret\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/403", NONE("403 Forbidden", ""), 0, CANNED_KEEP, NULL, false},
    {"/404", NONE("404 Not Found", ""), 0, CANNED_KEEP, NULL, false},
    {"/410", NONE("410 Gone", ""), 0, CANNED_KEEP, NULL, false},
    {"/418", NONE("418 Teapot", ""), 0, CANNED_KEEP, NULL, false},
    {"/500", NONE("500 Internal Server Error", ""), 0, CANNED_KEEP, NULL, false},
    {"/429", NONE("429 Too Many Requests", "Retry-After: 30\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/recovers", NONE("503 Slow Down", ""), 0, CANNED_KEEP, NULL, true},
    {"/recovers", NONE("500 Internal Server Error", ""), 0, CANNED_KEEP, NULL, true},
    {"/recovers", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/waits", NONE("503 Slow Down", "Retry-After: 1\r\n"), 0, CANNED_KEEP, NULL, true},
    {"/waits", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/bucket/key", PART("ETag: \"e1\"\r\n" MODIFIED), 0, CANNED_KEEP, NULL, false},
    {"/bucket/a%20b/%2Bc%C3%A9%3D", PART("ETag: \"e1\"\r\nx-amz-version-id: v1\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/bucket/null-version", PART("ETag: \"e1\"\r\nx-amz-version-id: null\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/elsewhere/key",
     CLOSED("400 Bad Request", "", ERROR_XML("AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>")), 0,
     CANNED_CLOSE, NULL, true},
    {"/elsewhere/key", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/far/key",
     CLOSED("400 Bad Request", "", ERROR_XML("AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>")), 0,
     CANNED_CLOSE, NULL, true},
    {"/far/key", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/far/other", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/moved/key",
     CLOSED("301 Moved", "x-amz-bucket-region: eu-central-1\r\nLocation: http://10.0.0.1/\r\n",
            ERROR_XML("PermanentRedirect", "")),
     0, CANNED_CLOSE, NULL, true},
    {"/moved/key", PART("ETag: \"e1\"\r\n"), 0, CANNED_KEEP, NULL, false},
    {"/nowhere/key", CLOSED("301 Moved", "x-amz-bucket-region: eu-central-1\r\n", ERROR_XML("PermanentRedirect", "")),
     0, CANNED_CLOSE, NULL, false},
    {"/bad-region/key", CLOSED("301 Moved", "x-amz-bucket-region: a.evil/\r\n", ERROR_XML("PermanentRedirect", "")), 0,
     CANNED_CLOSE, NULL, false},
    {"/bucket/archived", CLOSED("403 Forbidden", "", ERROR_XML("InvalidObjectState", "")), 0, CANNED_CLOSE, NULL,
     false},
    {"/bucket/expired", CLOSED("400 Bad Request", "", ERROR_XML("ExpiredToken", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/denied", CLOSED("403 Forbidden", "", ERROR_XML("AccessDenied", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/signature", CLOSED("403 Forbidden", "", ERROR_XML("SignatureDoesNotMatch", "")), 0, CANNED_CLOSE, NULL,
     false},
    {"/bucket/skewed", CLOSED("403 Forbidden", "", ERROR_XML("RequestTimeTooSkewed", "")), 0, CANNED_CLOSE, NULL,
     false},
    {"/bucket/no-bucket", CLOSED("404 Not Found", "", ERROR_XML("NoSuchBucket", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/sse-c", CLOSED("400 Bad Request", "", ERROR_XML("InvalidRequest", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/kms", CLOSED("400 Bad Request", "", ERROR_XML("KMS.DisabledException", "")), 0, CANNED_CLOSE, NULL,
     false},
    {"/bucket/version", CLOSED("400 Bad Request", "", ERROR_XML("InvalidArgument", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/no-key", CLOSED("404 Not Found", "", ERROR_XML("NoSuchKey", "")), 0, CANNED_CLOSE, NULL, false},
    {"/bucket/slow", CLOSED("503 Slow Down", "", ERROR_XML("SlowDown", "")), 0, CANNED_CLOSE, NULL, false},
};

static struct canned_server server;

/* All that one resolve needs. */
struct bench {
    struct arena *arena;
    struct http *http;
    struct class class;
    struct secret_map secrets;
    struct source_context context; /* its identity is made when something is asked */
    struct source_call call;
    struct source_object object;
    const struct source *source;
};

static void bench_init(struct bench *bench)
{
    static const struct http_rules rules = {.allowed_addresses = "127.0.0.0/8", .connect_timeout_ms = 2000};
    struct err err = ERR_INIT;
    char endpoint[64];
    *bench = (struct bench){.arena = arena_new(), .http = http_new(&rules), .secrets = SECRET_MAP_INIT};
    class_default(&bench->class);
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u", server.port);
    assert_int_equal(class_set(bench->arena, &bench->class, "s3Endpoint", endpoint, &err), 0);
    bench->context = (struct source_context){.class = &bench->class, .volume = "vol"};
}

static void bench_deinit(struct bench *bench)
{
    source_call_end(&bench->call);
    identity_free(bench->context.identity);
    secret_map_deinit(&bench->secrets);
    http_free(bench->http);
    arena_free(bench->arena);
}

static void bench_key(struct bench *bench, const char *key, const char *value)
{
    secret_map_add(&bench->secrets, key, value, strlen(value));
}

/* "%P" in url is the server's port. */
static int bench_resolve(struct bench *bench, const char *url_text, int64_t deadline_ms, const atomic_bool *cancel,
                         struct err *err)
{
    char text[512];
    struct url url;
    const char *port = strstr(url_text, "%P");
    snprintf(text, sizeof(text), "%.*s", port ? (int)(port - url_text) : (int)strlen(url_text), url_text);
    if (port)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u%s", server.port, port + 2);
    if (url_parse(bench->arena, text, strlen(text), &url, err) != 0)
        fail_msg("%s: %s", text, err->message);
    bench->source = source_for(&url, err);
    assert_non_null(bench->source);
    identity_free(bench->context.identity);
    bench->context.identity = identity_new(&(struct identity_facts){.namespace = NULL}, &bench->secrets, NULL);
    struct source_asking asking = {.source = bench->source,
                                   .host = url.host,
                                   .call = {.context = &bench->context, .http = bench->http, .cancel = cancel},
                                   .deadline_ms = deadline_ms};
    int result = source_resolve(&asking, &url, bench->arena, &bench->object, err);
    struct err ignored = ERR_INIT;
    source_call_end(&bench->call);
    bench->call = asking.call;
    source_call_begin(bench->source, url.host, &bench->call, &ignored);
    return result;
}

static int bench_authorize(struct bench *bench, uint64_t offset, uint64_t len, int64_t now_s, struct http_request *out,
                           struct err *err)
{
    const struct source_range range = {.offset = offset, .len = len, .now_s = now_s};
    return bench->source->authorize(&bench->call, &bench->object, &range, bench->arena, out, err);
}

#define WEB "http://127.0.0.1:%P"

static const struct {
    const char *url;
    const char *validator;
    const char *etag; /* NULL: none */
    uint64_t size;
    bool size_is_known, ranges;
    int64_t mtime_s;
} objects[] = {
    {WEB "/etag", "etag:\"e1\"", "\"e1\"", 1234, true, true, 784111777},
    {WEB "/weak", "modified:784111777:1234", NULL, 1234, true, true, 784111777},
    {WEB "/unquoted", "modified:784111777:1234", NULL, 1234, true, true, 784111777},
    {WEB "/unversioned", "unversioned:vol", NULL, 1234, true, true, 0},
    {WEB "/no-ranges", "etag:\"e2\"", "\"e2\"", 77, true, false, 0},
    {WEB "/no-length", "unversioned:vol", NULL, 0, false, false, 784111777},
    {WEB "/huge", "etag:\"e2\"", "\"e2\"", INT64_MAX, true, false, 0},
    {WEB "/empty", "etag:\"e0\"", "\"e0\"", 0, true, false, 0},
    {WEB "/star", "etag:\"e9\"", "\"e9\"", 9, true, false, 0},
    {"s3://bucket/key", "etag:\"e1\"", "\"e1\"", 1234, true, true, 784111777},
    {"s3://bucket/a%20b/+c%C3%A9=", "etag:\"e1\"", "\"e1\"", 1234, true, true, 0},
    {"s3://bucket/null-version", "etag:\"e1\"", "\"e1\"", 1234, true, true, 0},
    {"s3://elsewhere/key", "etag:\"e1\"", "\"e1\"", 1234, true, true, 0},
    {"s3://moved/key", "etag:\"e1\"", "\"e1\"", 1234, true, true, 0},
};

static void objects_are_resolved(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench);
        if (bench_resolve(&bench, objects[i].url, CLOCK_NEVER, NULL, &err) != 0)
            fail_msg("%s: %s", objects[i].url, err.message);
        const struct source_object *object = &bench.object;
        assert_string_equal(object->validator, objects[i].validator);
        assert_int_equal(object->etag != NULL, objects[i].etag != NULL);
        assert_int_equal(object->validator_is_strong, objects[i].etag != NULL);
        if (object->etag)
            assert_string_equal(object->etag, objects[i].etag);
        assert_true(object->size == objects[i].size && object->size_is_known == objects[i].size_is_known);
        assert_int_equal(object->ranges, objects[i].ranges);
        assert_int_equal(object->mtime_s, objects[i].mtime_s);
    }
}

static const struct {
    const char *url;
    enum err_code code;
    const char *cause;
} failures[] = {
    /* rows 48, 49 */
    {WEB "/404", ERR_NOT_FOUND, "HTTP 404: no such object"},
    {WEB "/410", ERR_NOT_FOUND, "HTTP 410"},
    {WEB "/401", ERR_UNAUTHENTICATED, "HTTP 401"},
    {WEB "/403", ERR_DENIED, "HTTP 403"},
    {WEB "/403?X-Amz-Signature=s3cret", ERR_DENIED, "signature may have expired"},
    {WEB "/418", ERR_PRECONDITION, "HTTP 418"},
    {WEB "/500", ERR_UNAVAILABLE, "after 4 tries: HTTP 500"}, /* row 51 */
    /* row 63 */
    {WEB "/204", ERR_PRECONDITION, "HTTP 204"},
    {WEB "/304", ERR_PRECONDITION, "HTTP 304"},
    {WEB "/300", ERR_PRECONDITION, "HTTP 300"},
    {WEB "/302", ERR_PRECONDITION, "without a Location"},
    {WEB "/unrequested", ERR_PRECONDITION, "HTTP 206"},
    {WEB "/other-range", ERR_PRECONDITION, "Content-Range"},
    {WEB "/no-range", ERR_PRECONDITION, "Content-Range"},
    {WEB "/part-as-whole", ERR_PRECONDITION, "status 200 with a Content-Range"},
    {"s3://bucket/archived", ERR_PRECONDITION, "is archived"},
    {"s3://bucket/expired", ERR_UNAUTHENTICATED, "has expired"},
    {"s3://bucket/denied", ERR_DENIED, "asked without credentials"},
    {"s3://bucket/denied", ERR_DENIED, "may not read"},
    {"s3://bucket/signature", ERR_UNAUTHENTICATED, "secret access key"},
    {"s3://bucket/skewed", ERR_PRECONDITION, "clock"},
    {"s3://bucket/no-bucket", ERR_NOT_FOUND, "no such bucket"},
    {"s3://bucket/no-key", ERR_NOT_FOUND, "HTTP 404 NoSuchKey: no such object"},
    {"s3://bucket/sse-c", ERR_PRECONDITION, "SSE-C"},
    {"s3://bucket/kms", ERR_PRECONDITION, "is disabled"},
    {"s3://bucket/version?versionId=x", ERR_INVALID, "versionId"},
    {"s3://nowhere/key", ERR_PRECONDITION, "another region"},
    {"s3://bad-region/key", ERR_PRECONDITION, "another region"},
    {"s3://bucket/slow", ERR_UNAVAILABLE, "after 4 tries: HTTP 503 SlowDown"},
};

static void failures_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench);
        if (bench_resolve(&bench, failures[i].url, CLOCK_NEVER, NULL, &err) == 0)
            fail_msg("%s: taken", failures[i].url);
        if (err.code != failures[i].code || !strstr(err.message, failures[i].cause))
            fail_msg("%s: %s %s", failures[i].url, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* row 51: as often as needed, no more; row 50: not before the server's time */
static void retries_are_counted_and_wait(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    unsigned before = atomic_load(&server.requests);
    assert_int_equal(bench_resolve(&bench, WEB "/recovers", CLOCK_NEVER, NULL, &err), 0);
    assert_int_equal(atomic_load(&server.requests), before + 3);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(bench_resolve(&bench, WEB "/waits", CLOCK_NEVER, NULL, &err), 0);
    assert_true(clock_monotonic_ms() - start >= 1000);
    before = atomic_load(&server.requests);
    assert_int_equal(bench_resolve(&bench, WEB "/404", CLOCK_NEVER, NULL, &err), -1);
    assert_int_equal(atomic_load(&server.requests), before + 1);
}

static void a_deadline_before_the_wait_ends_it(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(bench_resolve(&bench, WEB "/429", start + 25000, NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "asks to wait 30 s"));
    assert_true(clock_monotonic_ms() - start < 20000);
}

/* 200 pods of one bucket pay for its redirect once. */
static void the_region_of_a_bucket_is_remembered(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    bench_key(&bench, "AWS_ACCESS_KEY_ID", "AKID");
    bench_key(&bench, "AWS_SECRET_ACCESS_KEY", "s3cret");
    unsigned before = atomic_load(&server.requests);
    assert_int_equal(bench_resolve(&bench, "s3://far/key", CLOCK_NEVER, NULL, &err), 0);
    assert_int_equal(atomic_load(&server.requests), before + 2);
    assert_int_equal(bench_resolve(&bench, "s3://far/other", CLOCK_NEVER, NULL, &err), 0);
    assert_int_equal(atomic_load(&server.requests), before + 3);
    assert_true(canned_was_asked(&server, "/eu-central-1/s3/aws4_request"));
    assert_string_equal(bench.object.region, "eu-central-1");
}

static void *cancel_after_answer(void *context)
{
    while (!canned_was_asked(&server, "GET /429"))
        usleep(1000);
    atomic_store((atomic_bool *)context, true);
    return NULL;
}

static void waiting_can_be_cancelled(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    atomic_bool cancel = false;
    pthread_t thread;
    bench_init(&bench);
    assert_int_equal(bench_resolve(&bench, WEB "/404", CLOCK_NEVER, NULL, &err), -1);
    pthread_create(&thread, NULL, cancel_after_answer, &cancel);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(bench_resolve(&bench, WEB "/429", CLOCK_NEVER, &cancel, &err), -1);
    pthread_join(thread, NULL);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_true(clock_monotonic_ms() - start < 20000);
}

static void the_class_is_asked_first(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    bench.class.allowed_sources = "s3://bucket, https://127.0.0.1/";
    unsigned before = atomic_load(&server.requests);
    assert_int_equal(bench_resolve(&bench, WEB "/etag", CLOCK_NEVER, NULL, &err), -1);
    assert_int_equal(err.code, ERR_DENIED);
    assert_non_null(strstr(err.message, "allowedSources"));
    assert_int_equal(atomic_load(&server.requests), before);
    assert_int_equal(bench_resolve(&bench, "s3://bucket/key", CLOCK_NEVER, NULL, &err), 0);
}

static const char *header_of(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    }
    return NULL;
}

static void requests_for_ranges_are_conditional(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    struct http_request request;
    bench_init(&bench);
    bench_key(&bench, "token", "s3cret");
    assert_int_equal(bench_resolve(&bench, WEB "/etag", CLOCK_NEVER, NULL, &err), 0);
    assert_true(canned_was_asked(&server, "Range: bytes=0-0\r\n"));
    assert_true(canned_was_asked(&server, "Authorization: Bearer s3cret\r\n"));
    assert_int_equal(bench_authorize(&bench, 100, 50, 0, &request, &err), 0);
    assert_string_equal(header_of(&request, "Range"), "bytes=100-149");
    assert_string_equal(header_of(&request, "If-Match"), "\"e1\"");
    assert_int_equal(request.body_max, 50);
    assert_int_equal(bench_authorize(&bench, 0, 0, 0, &request, &err), 0);
    assert_null(header_of(&request, "Range"));
    assert_int_equal(request.body_max, 1234);
}

static void s3_requests_are_signed(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    bench_init(&bench);
    assert_int_equal(bench_resolve(&bench, "s3://bucket/key?versionId=a%2Bb", CLOCK_NEVER, NULL, &err), 0);
    assert_true(canned_was_asked(&server, "GET /bucket/key?versionId=a%2Bb HTTP/1.1\r\n"));
    assert_false(canned_was_asked(&server, "Authorization")); /* anonymous */
    bench_key(&bench, "AWS_ACCESS_KEY_ID", "AKID");
    bench_key(&bench, "AWS_SECRET_ACCESS_KEY", "s3cret");
    bench_key(&bench, "AWS_SESSION_TOKEN", "session");
    bench_key(&bench, "AWS_REGION", "ap-south-1");
    assert_int_equal(bench_resolve(&bench, "s3://bucket/key", CLOCK_NEVER, NULL, &err), 0);
    assert_true(canned_was_asked(&server, "Authorization: AWS4-HMAC-SHA256 Credential=AKID/"));
    assert_true(canned_was_asked(
        &server, "/ap-south-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;"
                 "x-amz-security-token, Signature="));
    assert_true(canned_was_asked(&server, "x-amz-security-token: session\r\n"));
    assert_false(canned_was_asked(&server, "s3cret"));
    assert_int_equal(bench_resolve(&bench, "s3://elsewhere/key", CLOCK_NEVER, NULL, &err), 0);
}

/* row 46: with a weak validator two signed URLs may mean two things */
static void signatures_leave_the_canonical_url(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct err err = ERR_INIT;
    char canonical[128];
    bench_init(&bench);
    snprintf(canonical, sizeof(canonical), "http://127.0.0.1:%u/etag?v=1", server.port);
    assert_int_equal(bench_resolve(&bench, WEB "/etag?v=1&X-Amz-Signature=s3cret", CLOCK_NEVER, NULL, &err), 0);
    assert_string_equal(bench.object.canonical, canonical);
    assert_true(canned_was_asked(&server, "GET /etag?v=1&X-Amz-Signature=s3cret HTTP/1.1"));
    assert_int_equal(bench_resolve(&bench, WEB "/weak?X-Amz-Signature=s3cret", CLOCK_NEVER, NULL, &err), 0);
    const char *first = bench.object.canonical;
    assert_null(strstr(first, "s3cret"));
    assert_int_equal(bench_resolve(&bench, WEB "/weak?X-Amz-Signature=other", CLOCK_NEVER, NULL, &err), 0);
    assert_string_not_equal(bench.object.canonical, first);
}

static const struct {
    const char *endpoint; /* NULL: AWS */
    const char *path_style;
    const char *url;
    const char *region;
    const char *authority;
} endpoints[] = {
    {NULL, NULL, "s3://bucket/k", "eu-west-1", "bucket.s3.eu-west-1.amazonaws.com:443"},
    {NULL, NULL, "s3://my.bucket/k", "eu-west-1", "s3.eu-west-1.amazonaws.com:443"},
    {NULL, NULL, "s3://bucket/k", "cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn:443"},
    {"https://s3.example.com", NULL, "s3://bucket/k", "x", "s3.example.com:443"},
    {"https://s3.example.com:9000", "false", "s3://bucket/k", "x", "bucket.s3.example.com:9000"},
};

/* Kinds of buckets that want another protocol, told before anybody is asked. */
static void other_kinds_of_buckets_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *url, *words; /* words NULL: asked like a bucket */
    } kinds[] = {
        {"s3://bucket--usw2-az1--x-s3/k", "S3 Express directory buckets"},
        {"s3://point--usw2-az1--xa-s3/k", "S3 Express directory buckets"},
        {"s3://mfzwi23gnjvgw.mrap/k", "Multi-Region Access Points"},
        {"s3://point-abcdefgh--ol-s3/k", "Object Lambda"},
        {"s3://point-hash-s3alias/k", NULL},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        static const struct http_rules rules = {.proxy = "http://127.0.0.1:1", .connect_timeout_ms = 500};
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench);
        http_free(bench.http);
        bench.http = http_new(&rules);
        class_default(&bench.class);
        assert_int_equal(bench_resolve(&bench, kinds[i].url, clock_monotonic_ms(), NULL, &err), -1);
        assert_int_equal(err.code, kinds[i].words ? ERR_UNSUPPORTED : ERR_UNAVAILABLE);
        assert_non_null(strstr(err.message, kinds[i].words ? kinds[i].words : "point-hash-s3alias.s3."));
    }
}

/* Nothing of this may be asked for, which is how the name that would be asked comes back. */
static void endpoints_have_two_styles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
        static const struct http_rules rules = {.proxy = "http://127.0.0.1:1", .connect_timeout_ms = 500};
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench);
        http_free(bench.http);
        bench.http = http_new(&rules);
        class_default(&bench.class);
        if (endpoints[i].endpoint)
            assert_int_equal(class_set(bench.arena, &bench.class, "s3Endpoint", endpoints[i].endpoint, &err), 0);
        if (endpoints[i].path_style)
            assert_int_equal(class_set(bench.arena, &bench.class, "s3PathStyle", endpoints[i].path_style, &err), 0);
        assert_int_equal(class_set(bench.arena, &bench.class, "s3Region", endpoints[i].region, &err), 0);
        assert_int_equal(bench_resolve(&bench, endpoints[i].url, clock_monotonic_ms(), NULL, &err), -1);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        char host[128];
        snprintf(host, sizeof(host), "'%.*s'", (int)(strchr(endpoints[i].authority, ':') - endpoints[i].authority),
                 endpoints[i].authority);
        if (!strstr(err.message, host))
            fail_msg("%s: %s", endpoints[i].authority, err.message);
    }
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
        cmocka_unit_test(objects_are_resolved),
        cmocka_unit_test(failures_are_named),
        cmocka_unit_test(retries_are_counted_and_wait),
        cmocka_unit_test(the_region_of_a_bucket_is_remembered),
        cmocka_unit_test(a_deadline_before_the_wait_ends_it),
        cmocka_unit_test(waiting_can_be_cancelled),
        cmocka_unit_test(the_class_is_asked_first),
        cmocka_unit_test(requests_for_ranges_are_conditional),
        cmocka_unit_test(s3_requests_are_signed),
        cmocka_unit_test(signatures_leave_the_canonical_url),
        cmocka_unit_test(other_kinds_of_buckets_are_named),
        cmocka_unit_test(endpoints_have_two_styles),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
