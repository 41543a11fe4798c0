/* csi/h2.h against nghttp2's own client: calls, limits, cancelling, goodbye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/csi/support_h2.h"

/* A whole call, however the bytes are split. */
static void test_unary(void **state)
{
    (void)state;
    for (size_t step = 1; step <= 100000; step *= 7) {
        struct peer peer;
        peer_init(&peer);
        assert_false(h2_is_ready(peer.h2));
        body_message(&peer, "hello", 5);
        int32_t id = request(&peer);
        assert_int_equal(pump(&peer, step), 0);
        assert_true(h2_is_ready(peer.h2));
        struct h2_event event;
        expect_event(&peer, H2_REQUEST, id, &event);
        assert_string_equal(event.path, "/a.B/C");
        assert_int_equal(event.timeout_ms, -1);
        assert_int_equal(event.len, 5);
        assert_memory_equal(event.message, "hello", 5);
        h2_event_deinit(&event);
        h2_reply(peer.h2, id, "world!", 6);
        assert_int_equal(pump(&peer, step), 0);
        const struct seen *seen = seen_of(&peer, id);
        assert_string_equal(seen->http, "200");
        assert_string_equal(seen->status, "0");
        assert_int_equal(seen->data.len, 11);
        assert_memory_equal(seen->data.data, "\0\0\0\0\6world!", 11);
        assert_true(seen->closed);
        assert_int_equal(seen->error_code, 0);
        expect_none(&peer);
        peer_deinit(&peer);
    }
}

static const struct body_case {
    const char *data;
    size_t len;
    const char *status;
} body_cases[] = {
    {"", 0, "13"},                        /* no message */
    {"\0\0\0\0\5hel", 8, "13"},           /* cut short */
    {"\0\0\0\0\1a\0\0\0\0\1b", 12, "13"}, /* two */
    {"\1\0\0\0\1a", 6, "12"},             /* compressed */
    {"\0\0\20\0\1a", 6, "8"},             /* says it has 1 MiB and a byte */
};

/* row 18: answered, and the connection serves the next call. */
static void test_bodies(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    for (size_t i = 0; i < sizeof(body_cases) / sizeof(body_cases[0]); i++) {
        body_set(&peer, body_cases[i].data, body_cases[i].len);
        int32_t id = request(&peer);
        assert_int_equal(pump(&peer, 3), 0);
        expect_none(&peer);
        assert_string_equal(seen_of(&peer, id)->http, "200");
        assert_string_equal(seen_of(&peer, id)->status, body_cases[i].status);
        assert_true(seen_of(&peer, id)->closed);
    }
    body_message(&peer, "x", 1);
    int32_t id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    serve(&peer, id);
    peer_deinit(&peer);
}

/* row 18: 2 MiB are refused from their length on; the client is told to stop sending. 1 MiB is served. */
static void test_large(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    char *data = mem_alloc(2 * H2_MESSAGE_MAX);
    body_message(&peer, data, 2 * H2_MESSAGE_MAX);
    int32_t id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_string_equal(seen_of(&peer, id)->status, "8");
    assert_true(seen_of(&peer, id)->closed);
    assert_int_equal(seen_of(&peer, id)->error_code, NGHTTP2_NO_ERROR);
    assert_true(peer.body_sent < peer.body.len);
    body_message(&peer, data, H2_MESSAGE_MAX);
    id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    serve(&peer, id);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_string_equal(seen_of(&peer, id)->status, "0");
    assert_int_equal(seen_of(&peer, id)->data.len, H2_MESSAGE_MAX + GRPC_PREFIX_LEN);
    free(data);
    peer_deinit(&peer);
}

/* Messages under way share a budget; what does not fit is refused, and the budget comes back. */
static void test_budget(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    char *data = mem_alloc(H2_MESSAGE_MAX);
    int32_t ids[5];
    for (int i = 0; i < 5; i++) {
        body_message(&peer, data, H2_MESSAGE_MAX);
        ids[i] = request(&peer);
        assert_int_equal(pump(&peer, 100000), 0);
    }
    assert_int_equal(peer.budget.left, 0);
    assert_string_equal(seen_of(&peer, ids[4])->status, "8");
    for (int i = 0; i < 4; i++)
        serve(&peer, ids[i]);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_int_equal(peer.budget.left, PEER_BUDGET);
    free(data);
    peer_deinit(&peer);
}

static void test_cancel(void **state)
{
    (void)state;
    struct peer peer;
    struct h2_event event;
    peer_init(&peer);
    body_message(&peer, "x", 1);
    int32_t id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_event(&peer, H2_REQUEST, id, &event);
    h2_event_deinit(&event);
    nghttp2_submit_rst_stream(peer.client, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_event(&peer, H2_CANCEL, id, &event);
    h2_reply(peer.h2, id, "late", 4);
    h2_fail(peer.h2, id, GRPC_INTERNAL, "late");
    assert_int_equal(pump(&peer, 100000), 0);
    expect_none(&peer);

    peer.keep_open = true; /* a request that never was whole is cancelled without an event */
    body_message(&peer, "x", 1);
    id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    nghttp2_submit_rst_stream(peer.client, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_none(&peer);
    peer_deinit(&peer);
}

static void test_error_message(void **state)
{
    (void)state;
    struct peer peer;
    struct h2_event event;
    peer_init(&peer);
    body_message(&peer, "", 0);
    int32_t id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_event(&peer, H2_REQUEST, id, &event);
    assert_int_equal(event.len, 0);
    assert_non_null(event.message);
    h2_event_deinit(&event);
    h2_fail(peer.h2, id, GRPC_ABORTED, "29% done\n");
    assert_int_equal(pump(&peer, 100000), 0);
    assert_string_equal(seen_of(&peer, id)->status, "10");
    assert_string_equal(seen_of(&peer, id)->message, "29%25 done%0A");
    assert_int_equal(seen_of(&peer, id)->data.len, 0);
    peer_deinit(&peer);
}

/* A client that opens its windows byte by byte gets its reply all the same. */
static void test_small_windows(void **state)
{
    (void)state;
    struct peer peer;
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 7}};
    peer_init_with(&peer, settings, 1);
    char text[1000];
    memset(text, 'x', sizeof(text));
    body_message(&peer, text, sizeof(text));
    int32_t id = request(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    serve(&peer, id);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_int_equal(seen_of(&peer, id)->data.len, sizeof(text) + GRPC_PREFIX_LEN);
    assert_string_equal(seen_of(&peer, id)->status, "0");
    peer_deinit(&peer);
}

/* A call that was on its way when the goodbye was said is served; then nothing more. */
static void test_shutdown(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    h2_shutdown(peer.h2);
    while (to_client(&peer, 100000)) {
    }
    assert_true(peer.goaway);
    assert_false(h2_is_finished(peer.h2));
    body_message(&peer, "x", 1);
    const uint8_t *data;
    ssize_t len = nghttp2_session_mem_send(peer.client, &data); /* the PING's answer goes first */
    assert_true(len > 0);
    peer_deinit(&peer);

    peer_init(&peer);
    body_message(&peer, "x", 1);
    assert_int_equal(pump(&peer, 100000), 0);
    int32_t id = request(&peer); /* sent before the client hears */
    h2_shutdown(peer.h2);
    assert_int_equal(pump(&peer, 100000), 0);
    serve(&peer, id);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_string_equal(seen_of(&peer, id)->status, "0");
    assert_true(h2_is_finished(peer.h2));
    peer_deinit(&peer);
}

static void test_goaway_at_once(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    h2_goaway(peer.h2);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_true(peer.goaway);
    assert_true(h2_is_finished(peer.h2));
    peer_deinit(&peer);
}

static void test_streams_are_limited(void **state)
{
    (void)state;
    struct peer peer;
    struct h2_event event;
    peer_init(&peer);
    assert_int_equal(pump(&peer, 100000), 0);
    for (int i = 0; i < H2_STREAMS_MAX + 5; i++) {
        body_message(&peer, "x", 1);
        request(&peer);
        assert_int_equal(pump(&peer, 100000), 0); /* the client keeps the last five back */
    }
    int count = 0;
    for (h2_next(peer.h2, &event); event.kind == H2_REQUEST; h2_next(peer.h2, &event)) {
        count++;
        h2_event_deinit(&event);
    }
    assert_int_equal(count, H2_STREAMS_MAX);
    peer_deinit(&peer);
}

/* Busy clients ping and update windows with each call: no flood. */
static void test_busy_is_no_flood(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    for (int i = 0; i < 5000; i++) {
        body_message(&peer, "x", 1);
        int32_t id = request(&peer);
        nghttp2_submit_ping(peer.client, NGHTTP2_FLAG_NONE, NULL);
        nghttp2_submit_window_update(peer.client, NGHTTP2_FLAG_NONE, 0, 1);
        assert_int_equal(pump(&peer, 100000), 0);
        serve(&peer, id);
        assert_int_equal(pump(&peer, 100000), 0);
        assert_string_equal(seen_of(&peer, id)->status, "0");
    }
    peer_deinit(&peer);
}

/* Nor is one PING a second for hours. */
static void test_slow_is_no_flood(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    for (int i = 0; i < 10000; i++) {
        peer.now_ms += 1000;
        nghttp2_submit_ping(peer.client, NGHTTP2_FLAG_NONE, NULL);
        assert_int_equal(pump(&peer, 100000), 0);
    }
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_error_message),
        cmocka_unit_test(test_small_windows),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_goaway_at_once),
        cmocka_unit_test(test_streams_are_limited),
        cmocka_unit_test(test_busy_is_no_flood),
        cmocka_unit_test(test_slow_is_no_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
