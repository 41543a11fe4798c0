/* HTTP against servers that answer rightly, wrongly and not at all (rows 39-44, 48-57, 60, 62, 63 of the table of faults). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/http.h"
#include "tests/unit/cachecore/canned_server.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define XML "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>s3cret</Message></Error>"

static const char nul_header[] = OK "X-A: a\0b\r\nContent-Length: 2\r\n\r\nok";
static char many_headers[400000];
static char long_header[1200000];

static struct canned table[] = {
    {"/ok", OK "Content-Length: 5\r\nETag: \"e1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello", 0,
     CANNED_KEEP, NULL, false},
    {"/chunked", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n", 0, CANNED_KEEP, NULL,
     false},
    {"/until-close", OK "\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/interim",
     "HTTP/1.1 100 Continue\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 Early Hints\r\nETag: \"no\"\r\n\r\n" OK
     "Content-Length: 5\r\n\r\nhello",
     0, CANNED_KEEP, NULL, false},
    {"/empty", OK "Content-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/range", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-6/1000\r\nContent-Length: 5\r\n\r\nhello", 0,
     CANNED_KEEP, NULL, false},
    {"/unsatisfied", "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */0\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_KEEP, NULL, false},
    {"/204", "HTTP/1.1 204 No Content\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/304", "HTTP/1.1 304 Not Modified\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/404", "HTTP/1.1 404 Not Found\r\nContent-Length: 81\r\n\r\n" XML, 0, CANNED_KEEP, NULL, false},
    {"/410", "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/429", "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/503-date",
     "HTTP/1.1 503 No\r\nContent-Length: 0\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
     "Retry-After: Sun, 06 Nov 1994 08:49:49 GMT\r\n\r\n",
     0, CANNED_KEEP, NULL, false},
    {"/503-absurd", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 99999999999999999999\r\n\r\n", 0, CANNED_KEEP,
     NULL, false},
    {"/503-far", "HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n", 0,
     CANNED_KEEP, NULL, false},
    {"/error-endless", "HTTP/1.1 500 No\r\n\r\n" XML, 0, CANNED_REPEAT,
     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", false},
    {"/early", OK "Content-Length: 10\r\n\r\n7 bytes", 0, CANNED_CLOSE, NULL, false},
    {"/early-chunk", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0, CANNED_CLOSE, NULL, false},
    {"/nothing", "", 0, CANNED_CLOSE, NULL, false},
    {"/bad-chunk", OK "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", 0, CANNED_CLOSE, NULL, false},
    {"/endless", OK "\r\nhello", 0, CANNED_REPEAT, "hello, hello, hello, hello", false},
    {"/endless-chunks", OK "Transfer-Encoding: chunked\r\n\r\n", 0, CANNED_REPEAT, "5\r\nhello\r\n", false},
    {"/large", OK "Content-Length: 1001\r\n\r\n", 0, CANNED_STALL, NULL, false},
    {"/negative", OK "Content-Length: -1\r\n\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/overflow", OK "Content-Length: 9223372036854775808\r\n\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/two-lengths", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 0, CANNED_CLOSE, NULL, false},
    {"/same-lengths", OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/gzip", OK "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/te-gzip", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, CANNED_CLOSE, NULL, false},
    {"/identity", OK "Content-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", 0, CANNED_CLOSE, NULL, false},
    {"/nul", nul_header, sizeof(nul_header) - 1, CANNED_CLOSE, NULL, false},
    {"/many-headers", many_headers, 0, CANNED_CLOSE, NULL, false},
    {"/long-header", long_header, 0, CANNED_CLOSE, NULL, false},
    {"/http09", "hello, this is no HTTP at all\n", 0, CANNED_CLOSE, NULL, false},
    {"/stall", OK "Content-Length: 100\r\n\r\nhello", 0, CANNED_STALL, NULL, false},
    {"/silent", "", 0, CANNED_STALL, NULL, false},
    {"/moved", "HTTP/1.1 302 Found\r\nLocation: ok\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/to-file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP,
     NULL, false},
    {"/to-private", "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/x\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP,
     NULL, false},
    {"/to-metadata", "HTTP/1.1 302 Found\r\nLocation: http://2852039166/latest\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_KEEP, NULL, false},
    {"/to-user", "HTTP/1.1 302 Found\r\nLocation: http://u:s3cret@127.0.0.1/x\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_KEEP, NULL, false},
    {"/to-nowhere", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/to-itself", "HTTP/1.1 302 Found\r\nLocation: /to-itself\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL,
     false},
    {"/a", "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/b", "HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/5", "HTTP/1.1 301 Moved\r\nLocation: /4\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/4", "HTTP/1.1 302 Found\r\nLocation: /3\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/3", "HTTP/1.1 303 See\r\nLocation: /2\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/2", "HTTP/1.1 307 Temporary\r\nLocation: /1\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/1", "HTTP/1.1 308 Permanent\r\nLocation: ok\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/6", "HTTP/1.1 302 Found\r\nLocation: /5\r\nContent-Length: 0\r\n\r\n", 0, CANNED_KEEP, NULL, false},
    {"/to-localhost",
     "HTTP/1.1 302 Found\r\nLocation: http://localhost:%P/ok\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_CLOSE, NULL, false},
    {"/to-localhost-403",
     "HTTP/1.1 302 Found\r\nLocation: http://localhost:%P/403\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_CLOSE, NULL, false},
    {"/403", "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 0, CANNED_CLOSE, NULL, false},
};

static struct canned_server server;
static const struct http_rules loopback = {
    .allowed_addresses = "127.0.0.0/8", .low_speed_seconds = 1, .connect_timeout_ms = 2000};

struct body {
    struct str text;
    unsigned heads;
};

static int take_body(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    struct body *body = context;
    (void)response, (void)err;
    body->heads += len == 0;
    str_append(&body->text, data, len);
    return 0;
}

static int get(const struct http_rules *rules, const char *path, struct body *body, struct http_response *out,
               struct err *err)
{
    _cleanup_(http_freep) struct http *http = http_new(rules);
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s?s3cret", server.port, path);
    struct http_request request = {.method = "GET", .url = url, .display = "d", .body_max = 1000};
    return http_perform(http, &request, take_body, body, out, NULL, err);
}

static const struct {
    const char *path;
    int status;
    const char *body;
} answers[] = {
    {"/ok", 200, "hello"},
    {"/chunked", 200, "hello"},
    {"/until-close", 200, "hello"},
    {"/interim", 200, "hello"},
    {"/empty", 200, ""},
    {"/range", 206, "hello"},
    {"/unsatisfied", 416, ""},
    {"/204", 204, ""},
    {"/304", 304, ""},
    {"/404", 404, ""},
    {"/410", 410, ""},
    {"/429", 429, ""},
    {"/error-endless", 500, ""},
    {"/same-lengths", 200, "hello"},
    {"/identity", 200, "hello"},
    {"/moved", 200, "hello"},
    {"/5", 200, "hello"},
};

static void answers_come_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct err err = ERR_INIT;
        struct body body = {.text = STR_INIT};
        struct http_response response;
        if (get(&loopback, answers[i].path, &body, &response, &err) != 0)
            fail_msg("%s: %s", answers[i].path, err.message);
        assert_int_equal(response.status, answers[i].status);
        assert_string_equal(body.text.data ? body.text.data : "", answers[i].body);
        assert_int_equal(body.heads, answers[i].status < 300);
        str_deinit(&body.text);
    }
}

static const struct {
    const char *path;
    enum err_code code;
    const char *cause;
} failures[] = {
    /* row 43 */
    {"/to-file", ERR_DENIED, "neither http nor https"},
    {"/to-private", ERR_DENIED, "address not allowed"},
    {"/to-metadata", ERR_DENIED, "address not allowed"},
    {"/to-user", ERR_DENIED, "user information"},
    {"/to-itself", ERR_PRECONDITION, "loop"},
    {"/a", ERR_PRECONDITION, "more than 5 times"},
    {"/6", ERR_PRECONDITION, "more than 5 times"},
    {"/to-nowhere", ERR_PRECONDITION, "without a Location"}, /* row 63 */
    /* rows 51, 53, 54 */
    {"/nothing", ERR_UNAVAILABLE, "empty answer"},
    {"/early", ERR_UNAVAILABLE, "closed before the end"},
    {"/early-chunk", ERR_UNAVAILABLE, "closed before the end"},
    {"/stall", ERR_UNAVAILABLE, "slower than 1 KiB/s"},
    {"/silent", ERR_UNAVAILABLE, "slower than 1 KiB/s"},
    /* rows 55, 57 */
    {"/endless", ERR_EXHAUSTED, "more than the limit of 1000"},
    {"/endless-chunks", ERR_EXHAUSTED, "more than the limit of 1000"},
    {"/large", ERR_EXHAUSTED, "the answer has 1001 bytes"},
    /* row 56 */
    {"/negative", ERR_PRECONDITION, "protocol error"},
    {"/overflow", ERR_PRECONDITION, "protocol error"},
    {"/two-lengths", ERR_PRECONDITION, "differ"},
    /* row 60 */
    {"/gzip", ERR_PRECONDITION, "Content-Encoding"},
    {"/te-gzip", ERR_PRECONDITION, "protocol error"}, /* newer libcurls refuse it themselves */
    /* row 62 */
    {"/nul", ERR_PRECONDITION, "protocol error"},
    {"/many-headers", ERR_PRECONDITION, "protocol error"},
    {"/long-header", ERR_PRECONDITION, "protocol error"},
    {"/http09", ERR_PRECONDITION, "protocol error"},
    {"/bad-chunk", ERR_UNAVAILABLE, "broke"},
};

static void failures_say_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct err err = ERR_INIT;
        struct body body = {.text = STR_INIT};
        struct http_response response;
        if (get(&loopback, failures[i].path, &body, &response, &err) == 0)
            fail_msg("%s: taken", failures[i].path);
        if (err.code != failures[i].code || !strstr(err.message, failures[i].cause))
            fail_msg("%s: %s %s", failures[i].path, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
        assert_true(body.text.len <= 1000);
        str_deinit(&body.text);
    }
}

static void values_are_read(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct body body = {.text = STR_INIT};
    struct http_response response;
    assert_int_equal(get(&loopback, "/ok", &body, &response, &err), 0);
    assert_string_equal(response.etag, "\"e1\"");
    assert_int_equal(response.content_length, 5);
    assert_int_equal(response.last_modified_s, 784111777);
    assert_int_equal(get(&loopback, "/range", &body, &response, &err), 0);
    assert_true(response.has_range && response.range_first == 2 && response.range_last == 6 &&
                response.range_total == 1000);
    assert_int_equal(get(&loopback, "/unsatisfied", &body, &response, &err), 0);
    assert_true(!response.has_range && response.range_total == 0);
    assert_int_equal(get(&loopback, "/interim", &body, &response, &err), 0);
    assert_string_equal(response.etag, "");
    assert_int_equal(get(&loopback, "/404", &body, &response, &err), 0);
    assert_string_equal(response.error_code, "NoSuchKey");
    assert_int_equal(get(&loopback, "/error-endless", &body, &response, &err), 0);
    assert_string_equal(response.error_code, "NoSuchKey");
    str_deinit(&body.text);
}

/* row 50 */
static void retry_after_is_read_and_capped(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int seconds;
    } cases[] = {{"/429", 7}, {"/503-date", 12}, {"/503-absurd", 60}, {"/503-far", 60}, {"/ok", -1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        struct body body = {.text = STR_INIT};
        struct http_response response;
        assert_int_equal(get(&loopback, cases[i].path, &body, &response, &err), 0);
        assert_int_equal(response.retry_after_s, cases[i].seconds);
        str_deinit(&body.text);
    }
}

/* rows 39, 41: nothing reaches the server; "localhost" has addresses of both kinds here, and only the allowed one is used */
static void addresses_are_checked_at_connect(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1",       "2130706433", "0177.1", "[::1]",
                                        "[::ffff:7f00:1]", "localhost",  "0.0.0.0"};
    struct http_rules strict = {.connect_timeout_ms = 2000};
    unsigned before = atomic_load(&server.connections);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        _cleanup_(http_freep) struct http *http = http_new(&strict);
        struct err err = ERR_INIT;
        struct http_response response;
        char url[128];
        snprintf(url, sizeof(url), "http://%s:%u/ok", hosts[i], server.port);
        struct http_request request = {.method = "GET", .url = url, .display = "d", .body_max = 1000};
        if (http_perform(http, &request, NULL, NULL, &response, NULL, &err) == 0)
            fail_msg("%s: taken", url);
        assert_int_equal(err.code, ERR_DENIED);
        assert_non_null(strstr(err.message, "address not allowed"));
    }
    assert_int_equal(atomic_load(&server.connections), before);
}

static int get_with_credentials(const char *path, struct http_response *response)
{
    _cleanup_(http_freep) struct http *http = http_new(&loopback);
    struct err err = ERR_INIT;
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    const struct http_header headers[] = {{"Authorization", "Bearer s3cret", true}, {"X-Plain", "p", false}};
    struct http_request request = {
        .method = "GET", .url = url, .display = "d", .headers = headers, .header_count = 2, .body_max = 1000};
    if (http_perform(http, &request, NULL, NULL, response, NULL, &err) != 0)
        fail_msg("%s: %s", path, err.message);
    return response->status;
}

/* row 44 */
static void credentials_stay_with_their_host(void **state)
{
    (void)state;
    struct http_response response;
    assert_int_equal(get_with_credentials("/ok", &response), 200);
    assert_true(canned_was_asked(&server, "Authorization: Bearer s3cret\r\n"));
    assert_false(response.credentials_dropped);
    assert_int_equal(get_with_credentials("/moved", &response), 200);
    assert_true(canned_was_asked(&server, "GET /ok"));
    assert_true(canned_was_asked(&server, "Authorization: Bearer s3cret\r\n"));
    assert_int_equal(get_with_credentials("/to-localhost", &response), 200);
    assert_true(canned_was_asked(&server, "Host: localhost"));
    assert_false(canned_was_asked(&server, "s3cret"));
    assert_true(canned_was_asked(&server, "X-Plain: p\r\n"));
    assert_true(response.credentials_dropped);
    assert_int_equal(get_with_credentials("/to-localhost-403", &response), 403);
    assert_true(response.credentials_dropped);
}

static void requests_are_plain(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct body body = {.text = STR_INIT};
    struct http_response response;
    setenv("http_proxy", "http://127.0.0.1:9", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
    assert_int_equal(get(&loopback, "/ok", &body, &response, &err), 0);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_true(canned_was_asked(&server, "GET /ok?s3cret HTTP/1.1\r\n"));
    assert_true(canned_was_asked(&server, "Accept-Encoding: identity\r\n"));
    assert_false(canned_was_asked(&server, "Cookie"));
    str_deinit(&body.text);
}

static void headers_cannot_be_split(void **state)
{
    (void)state;
    _cleanup_(http_freep) struct http *http = http_new(&loopback);
    struct err err = ERR_INIT;
    struct http_response response;
    const struct http_header header = {"X-A", "a\r\nX-B: s3cret", false};
    struct http_request request = {
        .method = "GET", .url = "http://127.0.0.1:1/", .headers = &header, .header_count = 1};
    assert_int_equal(http_perform(http, &request, NULL, NULL, &response, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(strstr(err.message, "s3cret"));
}

static void connections_are_kept(void **state)
{
    (void)state;
    _cleanup_(http_freep) struct http *http = http_new(&loopback);
    unsigned before = atomic_load(&server.connections);
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/ok", server.port);
    struct http_request request = {.method = "GET", .url = url, .display = "d", .body_max = 1000};
    for (int i = 0; i < 5; i++) {
        struct err err = ERR_INIT;
        struct http_response response;
        assert_int_equal(http_perform(http, &request, NULL, NULL, &response, NULL, &err), 0);
    }
    assert_int_equal(atomic_load(&server.connections), before + 1);
}

static int stop_at_head(void *context, const struct http_response *response, const void *data, size_t len,
                        struct err *err)
{
    (void)data;
    assert_int_equal(len, 0);
    assert_int_equal(response->content_length, 1001);
    return context ? err_set(err, ERR_RANGE, "no thanks") : -1;
}

static void a_sink_can_stop_at_the_head(void **state)
{
    (void)state;
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/large", server.port);
    struct http_request request = {.method = "GET", .url = url, .display = "d", .body_max = 1};
    for (int says_why = 0; says_why < 2; says_why++) {
        _cleanup_(http_freep) struct http *http = http_new(&loopback);
        struct err err = ERR_INIT;
        struct http_response response;
        assert_int_equal(http_perform(http, &request, stop_at_head, says_why ? url : NULL, &response, NULL, &err), -1);
        assert_int_equal(err.code, says_why ? ERR_RANGE : ERR_CANCELLED);
    }
}

static void *cancel_when_stalled(void *context)
{
    while (atomic_load(&server.stalls) == 0)
        usleep(1000);
    atomic_store((atomic_bool *)context, true);
    return NULL;
}

static void cancelling_takes_about_a_second(void **state)
{
    (void)state;
    struct http_rules patient = {.allowed_addresses = "127.0.0.0/8"};
    _cleanup_(http_freep) struct http *http = http_new(&patient);
    struct err err = ERR_INIT;
    struct http_response response;
    atomic_bool cancel = false;
    pthread_t thread;
    char url[128];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/stall", server.port);
    struct http_request request = {.method = "GET", .url = url, .display = "d", .body_max = 1000};
    atomic_store(&server.stalls, 0);
    int64_t start = clock_monotonic_ms();
    pthread_create(&thread, NULL, cancel_when_stalled, &cancel);
    assert_int_equal(http_perform(http, &request, NULL, NULL, &response, &cancel, &err), -1);
    pthread_join(thread, NULL);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_true(clock_monotonic_ms() - start < 5000);
}

/* rows 42, 51 */
static void no_server_is_unavailable(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *cause;
    } cases[] = {{"http://127.0.0.1:1/x", "Connection refused"},
                 {"http://no-such-host.invalid/x", "host 'no-such-host.invalid'"}};
    _cleanup_(http_freep) struct http *http = http_new(&loopback);
    for (size_t i = 0; i < 4; i++) { /* each twice on one handle: a retry must find it fit for use */
        struct err err = ERR_INIT;
        struct http_response response;
        struct http_request request = {.method = "GET", .url = cases[i / 2].url, .display = "d", .body_max = 1000};
        assert_int_equal(http_perform(http, &request, NULL, NULL, &response, NULL, &err), -1);
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        if (!strstr(err.message, cases[i / 2].cause))
            fail_msg("%s", err.message);
    }
}

static int setup(void **state)
{
    (void)state;
    char *p = many_headers + sprintf(many_headers, OK);
    for (int i = 0; i < 10000; i++)
        p += sprintf(p, "X-%d: some value here\r\n", i);
    sprintf(p, "Content-Length: 2\r\n\r\nok");
    p = long_header + sprintf(long_header, OK "X-Long: ");
    memset(p, 'x', 1 << 20);
    strcpy(p + (1 << 20), "\r\nContent-Length: 2\r\n\r\nok");
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
        cmocka_unit_test(answers_come_whole),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(values_are_read),
        cmocka_unit_test(retry_after_is_read_and_capped),
        cmocka_unit_test(addresses_are_checked_at_connect),
        cmocka_unit_test(credentials_stay_with_their_host),
        cmocka_unit_test(requests_are_plain),
        cmocka_unit_test(headers_cannot_be_split),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(a_sink_can_stop_at_the_head),
        cmocka_unit_test(cancelling_takes_about_a_second),
        cmocka_unit_test(no_server_is_unavailable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
