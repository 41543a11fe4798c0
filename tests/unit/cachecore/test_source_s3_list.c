/* Listings of S3 against canned servers: what is asked for, and what is made of pages, right or wrong (ListObjectsV2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/source.h"
#include "tests/unit/cachecore/canned_server.h"

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/xml\r\n\r\n" body
#define PAGE(body)                                                      \
    OK("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult " \
       "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" body "</ListBucketResult>")
#define OBJECT(key, more)                                                                                       \
    "<Contents><Key>" key                                                                                       \
    "</Key><LastModified>2009-10-12T17:50:30.123Z</LastModified><ETag>&quot;e1&quot;</ETag><Size>7</Size>" more \
    "</Contents>"
#define AWS_ORDER(body) PAGE("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>" body)
#define FAILS(status, headers, code)                                                \
    "HTTP/1.1 " status "\r\nConnection: close\r\n" headers "\r\n<Error><Code>" code \
    "</Code><Message>s3cret</Message></Error>"
#define NOISE "<Owner><ID>7</ID><DisplayName>x</DisplayName></Owner>"

static const struct {
    const char *bucket, *answer, *entries, *next;
} good[] = {
    {"encoded", AWS_ORDER(OBJECT("a/b+c%2Bd%C3%A4%0a", "<StorageClass>STANDARD</StorageClass>")),
     "a/b c+d\xc3\xa4\n 7 1255369830 etag:\"e1\"\n", NULL},
    {"late", PAGE(OBJECT("a%20b", "") "<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"),
     "a b 7 1255369830 etag:\"e1\"\n", NULL},
    {"verbatim", PAGE(OBJECT("a%20b+c&amp;d", "") "<EncodingType></EncodingType>"),
     "a%20b+c&d 7 1255369830 etag:\"e1\"\n", NULL},
    {"cut",
     PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken>1x+/=&amp;</NextContinuationToken>" OBJECT("a", NOISE)
              OBJECT("b", "")),
     "a 7 1255369830 etag:\"e1\"\nb 7 1255369830 etag:\"e1\"\n", "1x+/=&"},
    {"last", PAGE("<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>"), "", NULL},
    {"empty", PAGE(""), "", NULL},
    {"divided",
     PAGE("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>" OBJECT(
         "b", "") "<CommonPrefixes><Prefix>c%20/</Prefix></CommonPrefixes>"
                  "<EncodingType>url</EncodingType>"),
     "b 7 1255369830 etag:\"e1\"\na/ dir\nc / dir\n", NULL},
    {"archive",
     AWS_ORDER(OBJECT("a", "<StorageClass>GLACIER</StorageClass>") OBJECT(
         "b", "<StorageClass>DEEP_ARCHIVE</StorageClass>") OBJECT("c", "<StorageClass>GLACIER_IR</StorageClass>")),
     "a 7 1255369830 etag:\"e1\" archived\nb 7 1255369830 etag:\"e1\" archived\nc 7 1255369830 etag:\"e1\"\n", NULL},
    {"restored",
     AWS_ORDER(
         OBJECT("a",
                "<StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
                "<RestoreExpiryDate>2012-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>")
             OBJECT("b",
                    "<StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress>"
                    "</RestoreStatus>")),
     "a 7 1255369830 etag:\"e1\"\nb 7 1255369830 etag:\"e1\" archived\n", NULL},
    {"bare-etag", PAGE("<Contents><Key>a</Key><ETag>e-9</ETag><Size>9223372036854775807</Size></Contents>"),
     "a 9223372036854775807 0 etag:\"e-9\"\n", NULL},
    {"moved-list", FAILS("301 Moved", "x-amz-bucket-region: eu-central-1\r\n", "PermanentRedirect"), NULL, NULL},
    {"moved-list", AWS_ORDER(OBJECT("a", "")), "a 7 1255369830 etag:\"e1\"\n", NULL},
};

static const struct {
    const char *bucket, *answer;
    enum err_code code;
    const char *cause;
} bad[] = {
    {"no-key", PAGE("<Contents><Size>7</Size><ETag>x</ETag></Contents>"), ERR_PRECONDITION,
     "without key, size or ETag"},
    {"no-size", PAGE("<Contents><Key>a</Key><ETag>x</ETag></Contents>"), ERR_PRECONDITION, "without key, size or ETag"},
    {"no-etag", PAGE("<Contents><Key>a</Key><Size>7</Size></Contents>"), ERR_PRECONDITION, "without key, size or ETag"},
    {"two-keys", PAGE("<Contents><Key>a</Key><Key>b</Key></Contents>"), ERR_PRECONDITION, "two keys"},
    {"weak", PAGE("<Contents><Key>a</Key><ETag>W/\"x\"</ETag></Contents>"), ERR_PRECONDITION, "no strong ETag"},
    {"size-63", PAGE("<Contents><Key>a</Key><Size>9223372036854775808</Size></Contents>"), ERR_PRECONDITION,
     "no number below 2^63"},
    {"size-neg", PAGE("<Contents><Key>a</Key><Size>-1</Size></Contents>"), ERR_PRECONDITION, "no number below 2^63"},
    {"time", PAGE("<Contents><Key>a</Key><LastModified>yesterday</LastModified></Contents>"), ERR_PRECONDITION,
     "is no time"},
    {"escape", AWS_ORDER(OBJECT("a%2", "")), ERR_PRECONDITION, "badly encoded"},
    {"nul", AWS_ORDER(OBJECT("a%00", "")), ERR_PRECONDITION, "badly encoded"},
    {"no-token", PAGE("<IsTruncated>true</IsTruncated>"), ERR_PRECONDITION, "no token to go on"},
    {"other-root", OK("<Error><Code>AccessDenied</Code></Error>"), ERR_PRECONDITION, "no ListBucketResult"},
    {"html", OK("<!DOCTYPE html><html></html>"), ERR_PRECONDITION, "document type"},
    {"half", OK("<ListBucketResult><Contents>"), ERR_PRECONDITION, "not XML as it must be"},
    {"short", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 999\r\n\r\n<ListBucketResult>", ERR_UNAVAILABLE,
     ""},
    {"denied", FAILS("403 Forbidden", "", "AccessDenied"), ERR_DENIED, "asked without credentials"},
    {"not-listed", FAILS("403 Forbidden", "", "AccessDenied"), ERR_DENIED,
     "listing the bucket, which needs s3:ListBucket: HTTP 403"},
    {"no-bucket", FAILS("404 Not Found", "", "NoSuchBucket"), ERR_NOT_FOUND, "no such bucket"},
    {"slow-down", FAILS("503 Slow Down", "", "SlowDown"), ERR_UNAVAILABLE, "fewer requests"},
    {"redirect", FAILS("307 Temporary Redirect", "Location: http://10.0.0.1/\r\n", "x"), ERR_PRECONDITION, "redirect"},
};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct canned table[COUNT(good) + COUNT(bad)];
static char paths[COUNT(good) + COUNT(bad)][32];
static struct canned_server server;

static void table_add(size_t at, const char *bucket, const char *answer)
{
    snprintf(paths[at], sizeof(paths[at]), "/%s/", bucket);
    table[at] = (struct canned){paths[at], answer, 0, CANNED_CLOSE, NULL, strncmp(answer, "HTTP/1.1 301", 12) == 0};
}

/* All that one listing needs, and what came of it. */
struct bench {
    struct arena *arena;
    struct http *http;
    struct class class;
    struct secret_map secrets;
    struct source_context context;
    struct source_call call;
    struct url url;
    struct str text;
    const char *next;
    const struct source *source;
};

static void bench_init(struct bench *bench, const char *bucket, bool has_keys)
{
    static const struct http_rules rules = {.allowed_addresses = "127.0.0.0/8", .connect_timeout_ms = 2000};
    struct err err = ERR_INIT;
    *bench = (struct bench){.arena = arena_new(), .http = http_new(&rules), .secrets = SECRET_MAP_INIT};
    class_default(&bench->class);
    const char *endpoint = arena_printf(bench->arena, "http://127.0.0.1:%u", server.port);
    assert_int_equal(class_set(bench->arena, &bench->class, "s3Endpoint", endpoint, &err), 0);
    if (has_keys) {
        secret_map_add(&bench->secrets, "accessKeyID", "AKID", 4);
        secret_map_add(&bench->secrets, "secretAccessKey", "s3cret", 6);
    }
    bench->context = (struct source_context){.class = &bench->class, .volume = "vol"};
    bench->context.identity = identity_new(&(struct identity_facts){.namespace = NULL}, &bench->secrets, NULL);
    const char *text = arena_printf(bench->arena, "s3://%s/x/", bucket);
    assert_int_equal(url_parse(bench->arena, text, strlen(text), &bench->url, &err), 0);
    bench->source = source_for(&bench->url, &err);
    bench->call = (struct source_call){.context = &bench->context, .http = bench->http};
    if (source_call_begin(bench->source, bench->url.host, &bench->call, &err) != 0)
        fail_msg("%s", err.message);
}

static void bench_deinit(struct bench *bench)
{
    source_call_end(&bench->call);
    identity_free(bench->context.identity);
    secret_map_deinit(&bench->secrets);
    http_free(bench->http);
    str_deinit(&bench->text);
    arena_free(bench->arena);
}

static int on_entry(void *context, const struct source_entry *entry, struct err *err)
{
    (void)err;
    assert_int_equal(strlen(entry->key), entry->key_len);
    assert_int_equal(entry->mtime_ns, 0);
    str_printf(context, "%s %llu %lld %s%s\n", entry->key, (unsigned long long)entry->size, (long long)entry->mtime_s,
               entry->validator, entry->is_archived ? " archived" : "");
    return 0;
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    (void)err;
    str_printf(context, "%.*s dir\n", (int)len, prefix);
    return 0;
}

static int bench_list(struct bench *bench, struct source_page page, struct err *err)
{
    page.url = &bench->url;
    page.each = on_entry;
    page.each_prefix = on_prefix;
    page.each_context = &bench->text;
    return bench->source->list(&bench->call, &page, bench->arena, &bench->next, err);
}

static void pages_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct bench bench;
        struct err err = ERR_INIT;
        if (!good[i].entries)
            continue;
        bench_init(&bench, good[i].bucket, false);
        if (bench_list(&bench, (struct source_page){.prefix = ""}, &err) != 0)
            fail_msg("%s: %s", good[i].bucket, err.message);
        assert_string_equal(bench.text.data ? bench.text.data : "", good[i].entries);
        assert_int_equal(bench.next != NULL, good[i].next != NULL);
        if (bench.next)
            assert_string_equal(bench.next, good[i].next);
        bench_deinit(&bench);
    }
}

/* Nothing is called back of a page that is wrong further down. */
static void wrong_pages_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct bench bench;
        struct err err = ERR_INIT;
        bench_init(&bench, bad[i].bucket, false);
        if (bench_list(&bench, (struct source_page){.prefix = ""}, &err) == 0)
            fail_msg("taken: %s", bad[i].bucket);
        if (err.code != bad[i].code || !strstr(err.message, bad[i].cause) || strstr(err.message, "s3cret"))
            fail_msg("%s: %s %s", bad[i].bucket, err_code_name(err.code), err.message);
        assert_null(bench.text.data);
        bench_deinit(&bench);
    }
}

static const struct {
    struct source_page page;
    const char *asked;
} questions[] = {
    {{.prefix = "a/\xc3\xa4 b+c"},
     "GET /empty/?encoding-type=url&list-type=2&max-keys=1000&prefix=a%2F%C3%A4%20b%2Bc HTTP"},
    {{.prefix = "", .after = "a/b=&", .count_max = 7},
     "GET /empty/?encoding-type=url&list-type=2&max-keys=7&prefix=&start-after=a%2Fb%3D%26 HTTP"},
    {{.prefix = "p", .after = "a", .token = "1x+/=", .divides = true},
     "GET /empty/?continuation-token=1x%2B%2F%3D&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=p "
     "HTTP"},
    {{.prefix = "", .count_max = 5000}, "max-keys=1000&"},
};

static void what_is_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(questions); i++) {
        struct bench bench;
        struct err err = ERR_INIT;
        bool has_keys = i >= COUNT(questions);
        bench_init(&bench, "empty", has_keys);
        if (bench_list(&bench, questions[i % COUNT(questions)].page, &err) != 0)
            fail_msg("%s", err.message);
        if (!canned_was_asked(&server, questions[i % COUNT(questions)].asked))
            fail_msg("%s\n%s", server.locked.last_request, questions[i % COUNT(questions)].asked);
        assert_int_equal(canned_was_asked(&server, "Authorization: AWS4-HMAC-SHA256 Credential=AKID/"), has_keys);
        assert_int_equal(canned_was_asked(&server, "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "), has_keys);
        assert_false(canned_was_asked(&server, "x-amz-optional-object-attributes")); /* Amazon's own alone */
        bench_deinit(&bench);
    }
}

/* What a listing names is what its own line would name, in the region where the bucket was found to be. */
static void members_are_objects(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "d/e f+g%h\xc3\xa4*", "a//b"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct bench bench;
        struct err err = ERR_INIT;
        struct source_object object;
        struct url url;
        bench_init(&bench, "encoded", true);
        const struct source_entry entry = {
            .key = keys[i], .key_len = strlen(keys[i]), .size = 7, .mtime_s = 9, .validator = "etag:\"e1\""};
        assert_int_equal(bench.source->member(&bench.call, &bench.url, &entry, bench.arena, &object, &err), 0);
        const char *text =
            arena_printf(bench.arena, "s3://encoded/%s", url_encode(bench.arena, keys[i], strlen(keys[i]), false));
        assert_int_equal(url_parse(bench.arena, text, strlen(text), &url, &err), 0);
        assert_string_equal(object.kind, "s3");
        assert_string_equal(object.canonical, url.canonical);
        assert_string_equal(object.display, url.display);
        assert_string_equal(object.request_url, arena_printf(bench.arena, "http://127.0.0.1:%u/encoded/%s", server.port,
                                                             url_encode(bench.arena, keys[i], strlen(keys[i]), false)));
        assert_string_equal(object.authority, arena_printf(bench.arena, "127.0.0.1:%u", server.port));
        assert_string_equal(object.validator, "etag:\"e1\"");
        assert_string_equal(object.etag, "\"e1\"");
        assert_true(object.validator_is_strong && object.size_is_known && object.ranges && object.size == 7);
        bench_deinit(&bench);
    }
}

static void members_are_where_the_bucket_is(void **state)
{
    (void)state;
    struct bench bench;
    struct err err = ERR_INIT;
    struct source_object object;
    const struct source_entry entry = {.key = "a", .key_len = 1, .size = 7, .validator = "etag:\"e1\""};
    bench_init(&bench, "moved-list", true);
    assert_int_equal(bench.source->member(&bench.call, &bench.url, &entry, bench.arena, &object, &err), 0);
    assert_string_equal(object.region, "eu-central-1"); /* as pages_are_read was told */
    bench_deinit(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_read),
        cmocka_unit_test(wrong_pages_are_refused),
        cmocka_unit_test(what_is_asked_for),
        cmocka_unit_test(members_are_objects),
        cmocka_unit_test(members_are_where_the_bucket_is),
    };
    for (size_t i = 0; i < COUNT(good); i++)
        table_add(i, good[i].bucket, good[i].answer);
    for (size_t i = 0; i < COUNT(bad); i++)
        table_add(COUNT(good) + i, bad[i].bucket, bad[i].answer);
    canned_start(&server, table, COUNT(table));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    canned_stop(&server);
    return failed;
}
