/* Cloud Storage against canned servers: what an object is, how its bytes are asked for, and what stands on a page of a listing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/source_gs.h"
#include "cachecore/source_list.h"
#include "tests/unit/cachecore/canned_server.h"

#define HEAD(status, headers) "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n"
#define GENERATION "x-goog-generation: 1712345678901234\r\nx-goog-metageneration: 1\r\n"
#define MODIFIED "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define PART(headers) HEAD("206 Partial Content", "Content-Range: bytes 0-0/1234\r\nContent-Length: 1\r\n" headers) "x"
#define XML(code) "<?xml version='1.0'?><Error><Code>" code "</Code><Message>s3cret</Message></Error>"
#define JSON_ERROR(code, reason) \
    "{\"error\":{\"code\":" code ",\"message\":\"s3cret\",\"errors\":[{\"reason\":\"" reason "\"}]}}"
#define ITEM(name, generation)                                                                                   \
    "{\"name\":\"" name "\",\"size\":\"7\",\"generation\":\"" generation "\",\"updated\":\"2026-01-02T03:04:05." \
    "678Z\"}"
#define LIST_PATH(bucket) "/storage/v1/b/" bucket "/o"

static const struct canned table[] = {
    {.path = "/data/key", .bytes = PART(GENERATION MODIFIED "ETag: \"abc\"\r\n")},
    {.path = "/data/stored", .bytes = PART(GENERATION "Content-Encoding: gzip\r\n")},
    {.path = "/data/a%20b/%2B%C3%A9%25%23%3F", .bytes = PART(GENERATION)},
    {.path = "/data/empty",
     .bytes = HEAD("416 Range", "Content-Range: bytes */0\r\nContent-Length: 0\r\n"),
     .once = true},
    {.path = "/data/empty", .bytes = HEAD("200 OK", "Content-Length: 0\r\n" GENERATION)},
    {.path = "/data/other-server", .bytes = PART("ETag: \"abc\"\r\n")},
    {.path = "/data/odd-generation", .bytes = PART("x-goog-generation: latest\r\n")},
    {.path = "/data/none", .bytes = HEAD("404 Not Found", "") XML("NoSuchKey")},
    {.path = "/data/no-bucket", .bytes = HEAD("404 Not Found", "") XML("NoSuchBucket")},
    {.path = "/data/denied", .bytes = HEAD("403 Forbidden", "") XML("AccessDenied")},
    {.path = "/data/expired", .bytes = HEAD("401 Unauthorized", "") XML("AuthenticationRequired")},
    {.path = "/data/anonymous", .bytes = HEAD("401 Unauthorized", "") XML("AccessDenied")},
    {.path = "/data/pays", .bytes = HEAD("400 Bad Request", "") XML("UserProjectMissing")},
    {.path = "/data/billing", .bytes = HEAD("403 Forbidden", "") XML("UserProjectAccountProblem")},
    {.path = "/data/slow", .bytes = HEAD("429 Too Many Requests", "") XML("SlowDown")},
    {.path = LIST_PATH("page"),
     .bytes = HEAD("200 OK", "") "{\"nextPageToken\":\"tok+/=\",\"prefixes\":[\"a/c/\",\"a/e/\"],\"items\":[" ITEM(
         "a/b", "1") "," ITEM("a/d", "2") "," ITEM("a/\\u00e9", "3") "]}"},
    {.path = LIST_PATH("last"), .bytes = HEAD("200 OK", "") "{\"kind\":\"storage#objects\"}"},
    {.path = LIST_PATH("chatty"),
     .bytes = HEAD("200 OK",
                   "") "{\"items\":[{\"name\":\"a/b\",\"size\":\"7\",\"generation\":\"1\",\"acl\":[{\"projectTeam\":"
                       "{\"team\":\"owners\"}}]}]}"},
    {.path = LIST_PATH("outside"), .bytes = HEAD("200 OK", "") "{\"items\":[" ITEM("b", "1") "]}"},
    {.path = LIST_PATH("not-asked"), .bytes = HEAD("200 OK", "") "{\"prefixes\":[\"a/\"]}"},
    {.path = LIST_PATH("html"), .bytes = HEAD("200 OK", "") "<html>"},
    {.path = LIST_PATH("denied"), .bytes = HEAD("403 Forbidden", "") JSON_ERROR("403", "forbidden")},
    {.path = LIST_PATH("expired"), .bytes = HEAD("401 Unauthorized", "") JSON_ERROR("401", "authError")},
    {.path = LIST_PATH("rate"), .bytes = HEAD("403 Forbidden", "") JSON_ERROR("403", "rateLimitExceeded")},
    {.path = LIST_PATH("pays"), .bytes = HEAD("400 Bad Request", "") JSON_ERROR("400", "required")},
    {.path = LIST_PATH("none"), .bytes = HEAD("404 Not Found", "") JSON_ERROR("404", "notFound")},
    {.path = LIST_PATH("busy"), .bytes = HEAD("429 Too Many Requests", "") "later"},
    {.path = LIST_PATH("problem"), .bytes = HEAD("503 Service Unavailable", "") ""},
};

static struct canned_server server;

struct bench {
    struct arena *arena;
    struct http *http;
    struct class class;
    struct source_context context;
    struct credentials *credentials;
    struct source_call call;
};

static void bench_init(struct bench *bench, const char *token)
{
    static const struct http_rules rules = {.allowed_addresses = "127.0.0.0/8", .connect_timeout_ms = 2000};
    *bench = (struct bench){.arena = arena_new(), .http = http_new(&rules)};
    class_default(&bench->class);
    bench->class.gcs_endpoint = arena_printf(bench->arena, "http://127.0.0.1:%u/", server.port);
    bench->context = (struct source_context){.class = &bench->class, .volume = "vol"};
    bench->credentials = credentials_new(token ? CREDENTIALS_HEADERS : CREDENTIALS_NONE, "the key file of x@y");
    if (token)
        credentials_header(bench->credentials, "Authorization", token, strlen(token));
    bench->call =
        (struct source_call){.context = &bench->context, .credentials = bench->credentials, .http = bench->http};
}

static void bench_deinit(struct bench *bench)
{
    credentials_unref(bench->credentials);
    http_free(bench->http);
    arena_free(bench->arena);
}

static struct url url_of(struct bench *bench, const char *text)
{
    struct url url;
    struct err err = ERR_INIT;
    if (url_parse(bench->arena, text, strlen(text), &url, &err) != 0)
        fail_msg("%s: %s", text, err.message);
    return url;
}

static int resolve(struct bench *bench, const char *text, struct source_object *out, struct err *err)
{
    struct url url = url_of(bench, text);
    return source_gs.resolve(&bench->call, &url, bench->arena, out, err);
}

static void an_object_is_its_generation(void **state)
{
    (void)state;
    struct bench bench;
    struct source_object object;
    struct err err = ERR_INIT;
    bench_init(&bench, "Bearer t0ken");
    assert_int_equal(resolve(&bench, "gs://data/key", &object, &err), 0);
    assert_string_equal(object.validator, "generation:1712345678901234");
    assert_string_equal(object.version_id, "1712345678901234");
    assert_true(object.validator_is_strong && object.ranges && object.size_is_known && !object.etag);
    assert_int_equal(object.size, 1234);
    assert_int_equal(object.mtime_s, 784111777);
    assert_string_equal(object.canonical, "gs://data/key");
    assert_true(canned_was_asked(&server, "Authorization: Bearer t0ken\r\n"));
    assert_true(canned_was_asked(&server, "Accept-Encoding: gzip\r\n"));
    assert_false(canned_was_asked(&server, "identity"));
    assert_false(canned_was_asked(&server, "generation-match"));
    assert_int_equal(resolve(&bench, "gs://data/stored", &object, &err), 0);
    assert_int_equal(resolve(&bench, "gs://data/a%20b/+%C3%A9%25%23%3F", &object, &err), 0);
    assert_int_equal(resolve(&bench, "gs://data/empty", &object, &err), 0);
    assert_int_equal(object.size, 0);
    bench_deinit(&bench);
}

static void a_generation_can_be_pinned(void **state)
{
    (void)state;
    struct bench bench;
    struct source_object object;
    struct err err = ERR_INIT;
    bench_init(&bench, NULL);
    assert_int_equal(resolve(&bench, "gs://data/key?generation=1712345678901234", &object, &err), 0);
    assert_true(canned_was_asked(&server, "GET /data/key?generation=1712345678901234 "));
    assert_false(canned_was_asked(&server, "Authorization"));
    assert_string_equal(object.canonical, "gs://data/key"); /* the validator says the rest: pinned or not, one object */
    static const char *const bad[] = {"gs://data/key?generation=latest", "gs://data/key?generation=-1",
                                      "gs://data/key?generation=0", "gs://data/key?generation=12345678901234567890"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(resolve(&bench, bad[i], &object, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    bench_deinit(&bench);
}

static void bytes_are_asked_for_with_their_generation(void **state)
{
    (void)state;
    struct bench bench;
    struct source_object object;
    struct http_request request;
    struct err err = ERR_INIT;
    bench_init(&bench, "Bearer t0ken");
    assert_int_equal(resolve(&bench, "gs://data/key", &object, &err), 0);
    const struct source_range range = {.offset = 100, .len = 50};
    assert_int_equal(source_gs.authorize(&bench.call, &object, &range, bench.arena, &request, &err), 0);
    assert_true(request.no_redirects && request.takes_coding);
    assert_int_equal(request.header_count, 4);
    static const char *const expected[][2] = {{"Range", "bytes=100-149"},
                                              {"Accept-Encoding", "gzip"},
                                              {"x-goog-if-generation-match", "1712345678901234"},
                                              {"Authorization", "Bearer t0ken"}};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(request.headers[i].name, expected[i][0]);
        assert_string_equal(request.headers[i].value, expected[i][1]);
        assert_int_equal(request.headers[i].is_credential, i == 3);
    }
    bench_deinit(&bench);
}

static const struct {
    const char *url;
    enum err_code code;
    const char *cause;
} refusals[] = {
    {"gs://data/none", ERR_NOT_FOUND, "no such object"},
    {"gs://data/no-bucket", ERR_NOT_FOUND, "no such bucket"},
    {"gs://data/denied", ERR_DENIED, "asked with the key file of x@y, which needs storage.objects.get: HTTP 403"},
    {"gs://data/expired", ERR_UNAUTHENTICATED, "HTTP 401"},
    {"gs://data/anonymous", ERR_UNAUTHENTICATED, "HTTP 401 AccessDenied"},
    {"gs://data/pays", ERR_PRECONDITION, "the requester pays"},
    {"gs://data/billing", ERR_PRECONDITION, "billing account"},
    {"gs://data/slow", ERR_UNAVAILABLE, "fewer requests"},
    {"gs://data/other-server", ERR_PRECONDITION, "not Cloud Storage"},
    {"gs://data/odd-generation", ERR_PRECONDITION, "not Cloud Storage"},
    {"gs://data/", ERR_INVALID, "no object in it"},
};

static void each_refusal_has_its_own_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct bench bench;
        struct source_object object;
        struct err err = ERR_INIT;
        bench_init(&bench, "Bearer t0ken");
        int result = resolve(&bench, refusals[i].url, &object, &err);
        if (result != -1 || err.code != refusals[i].code || !strstr(err.message, refusals[i].cause))
            fail_msg("%s: %d %d %s", refusals[i].url, result, err.code, err.message);
        assert_null(strstr(err.message, "s3cret"));
        assert_null(strstr(err.message, "t0ken"));
        bench_deinit(&bench);
    }
}

/* What a listing tells, as text: "name generation size mtime;", and prefixes as "name|". */
static int told_entry(void *context, const struct source_entry *entry, struct err *err)
{
    (void)err;
    assert_int_equal(strlen(entry->key), entry->key_len);
    assert_false(entry->is_archived);
    str_printf(context, "%s %s %d %lld;", entry->key, entry->validator, (int)entry->size, (long long)entry->mtime_s);
    return 0;
}

static int told_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    (void)err;
    str_printf(context, "%.*s|", (int)len, prefix);
    return 0;
}

static int list(struct bench *bench, struct source_page *page, const char *url, struct str *told, struct err *err)
{
    struct url parsed = url_of(bench, url);
    const char *next = NULL;
    page->url = &parsed;
    page->each = told_entry;
    page->each_prefix = page->divides ? told_prefix : NULL;
    page->each_context = told;
    page->prefix = page->prefix ? page->prefix : "";
    int result = source_gs.list(&bench->call, page, bench->arena, &next, err);
    page->token = next;
    return result;
}

static void a_page_is_told_in_order(void **state)
{
    (void)state;
    struct bench bench;
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str told = STR_INIT;
    struct source_page page = {.prefix = "a/", .divides = true};
    bench_init(&bench, "Bearer t0ken");
    assert_int_equal(list(&bench, &page, "gs://page/", &told, &err), 0);
    assert_string_equal(told.data, "a/b generation:1 7 1767323045;a/c/|a/d generation:2 7 1767323045;a/e/|"
                                   "a/\xc3\xa9 generation:3 7 1767323045;");
    assert_string_equal(page.token, "tok+/=");
    assert_true(canned_was_asked(&server,
                                 "/o?fields=nextPageToken%2Cprefixes%2Citems%28name%2Csize%2Cgeneration%2Cupdated"
                                 "%29&maxResults=1000&prefix=a%2F&delimiter=%2F HTTP"));
    assert_true(canned_was_asked(&server, "Authorization: Bearer t0ken\r\n"));
    str_clear(&told);
    page.after = "a/d";
    page.count_max = 10;
    assert_int_equal(list(&bench, &page, "gs://page/", &told, &err), 0);
    assert_string_equal(told.data, "a/e/|a/\xc3\xa9 generation:3 7 1767323045;");
    assert_true(canned_was_asked(
        &server, "&maxResults=10&prefix=a%2F&delimiter=%2F&startOffset=a%2Fd&pageToken=tok%2B%2F%3D HTTP"));
    str_clear(&told);
    page.after = "a/c/x";
    assert_int_equal(list(&bench, &page, "gs://page/", &told, &err), 0);
    assert_true(str_starts_with(told.data, "a/c/|a/d "));
    page = (struct source_page){.prefix = NULL};
    str_clear(&told);
    assert_int_equal(list(&bench, &page, "gs://last/", &told, &err), 0);
    assert_null(page.token);
    assert_int_equal(list(&bench, &page, "gs://chatty/", &told, &err), 0); /* more than the fields asked for */
    assert_string_equal(told.data, "a/b generation:1 7 0;");
    str_clear(&told);
    assert_int_equal(list(&bench, &page, "gs://last/", &told, &err), 0);
    assert_int_equal(told.len, 0);
    bench_deinit(&bench);
}

static const struct {
    const char *url;
    enum err_code code;
    const char *cause;
} listings[] = {
    {"gs://outside/", ERR_PRECONDITION, "outside the prefix"},
    {"gs://not-asked/", ERR_PRECONDITION, "not asked for"},
    {"gs://html/", ERR_PRECONDITION, "no JSON object"},
    {"gs://denied/", ERR_DENIED, "asked with the key file of x@y, which needs storage.objects.list"},
    {"gs://expired/", ERR_UNAUTHENTICATED, "HTTP 401"},
    {"gs://rate/", ERR_UNAVAILABLE, "rateLimitExceeded"},
    {"gs://pays/", ERR_PRECONDITION, "the requester pays"},
    {"gs://none/", ERR_NOT_FOUND, "no such bucket"},
    {"gs://busy/", ERR_UNAVAILABLE, "HTTP 429"},
    {"gs://problem/", ERR_UNAVAILABLE, "HTTP 503"},
};

static void listings_are_refused_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++) {
        struct bench bench;
        struct err err = ERR_INIT;
        _cleanup_(str_deinitp) struct str told = STR_INIT;
        struct source_page page = {.prefix = "a/"};
        bench_init(&bench, "Bearer t0ken");
        int result = list(&bench, &page, listings[i].url, &told, &err);
        if (result != -1 || err.code != listings[i].code || !strstr(err.message, listings[i].cause))
            fail_msg("%s: %d %d %s", listings[i].url, result, err.code, err.message);
        assert_null(strstr(err.message, "s3cret"));
        bench_deinit(&bench);
    }
}

static void a_member_is_what_resolve_would_say(void **state)
{
    (void)state;
    struct bench bench;
    struct source_object resolved, member;
    struct err err = ERR_INIT;
    bench_init(&bench, NULL);
    struct url bucket = url_of(&bench, "gs://data/");
    const struct source_entry entry = {
        .key = "a b/+\xc3\xa9%#?", .key_len = 10, .size = 1234, .validator = "generation:1712345678901234"};
    assert_int_equal(resolve(&bench, "gs://data/a%20b/+%C3%A9%25%23%3F", &resolved, &err), 0);
    assert_int_equal(source_gs.member(&bench.call, &bucket, &entry, bench.arena, &member, &err), 0);
    assert_string_equal(member.request_url, resolved.request_url);
    assert_string_equal(member.canonical, resolved.canonical);
    assert_string_equal(member.display, resolved.display);
    assert_string_equal(member.validator, resolved.validator);
    assert_string_equal(member.version_id, resolved.version_id);
    assert_string_equal(member.authority, resolved.authority);
    assert_true(member.size == resolved.size && member.size_is_known && member.ranges && member.validator_is_strong);
    bench_deinit(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_its_generation),
        cmocka_unit_test(a_generation_can_be_pinned),
        cmocka_unit_test(bytes_are_asked_for_with_their_generation),
        cmocka_unit_test(each_refusal_has_its_own_words),
        cmocka_unit_test(a_page_is_told_in_order),
        cmocka_unit_test(listings_are_refused_in_words),
        cmocka_unit_test(a_member_is_what_resolve_would_say),
    };
    canned_start(&server, table, sizeof(table) / sizeof(table[0]));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    canned_stop(&server);
    return failed;
}
