/* csi/h2.h against nghttp2's own client, and against raw frames where a client would never send such. No I/O, no clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "csi/h2.h"
#include "csi/h2_field.h"
#include "csi/h2_head.h"

#define BUDGET ((size_t)4 * 1024 * 1024)

/* What the client saw of one stream. */
struct seen {
    char http[8];
    char status[8];
    char message[256];
    struct str data;
    bool closed;
    uint32_t error_code;
};

struct peer {
    struct h2_budget budget;
    struct h2 *h2;
    nghttp2_session *client;
    struct seen seen[64]; /* by stream id / 2, the last ones for high ids */
    struct str body;      /* of requests being sent; one at a time */
    size_t body_sent;
    bool keep_open; /* no END_STREAM after the body */
    bool goaway;
    int64_t now_ms;
    struct err err;
};

static struct seen *seen_of(struct peer *peer, int32_t id)
{
    return &peer->seen[(size_t)id / 2 % 64];
}

static void copy_value(char *to, size_t size, const uint8_t *value, size_t len)
{
    snprintf(to, size, "%.*s", (int)len, (const char *)value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    (void)session;
    (void)name_len;
    (void)flags;
    struct seen *seen = seen_of(user_data, frame->hd.stream_id);
    if (strcmp((const char *)name, ":status") == 0)
        copy_value(seen->http, sizeof(seen->http), value, value_len);
    if (strcmp((const char *)name, "grpc-status") == 0)
        copy_value(seen->status, sizeof(seen->status), value, value_len);
    if (strcmp((const char *)name, "grpc-message") == 0)
        copy_value(seen->message, sizeof(seen->message), value, value_len);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user_data)
{
    (void)session;
    (void)flags;
    str_append(&seen_of(user_data, id)->data, data, len);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user_data)
{
    (void)session;
    seen_of(user_data, id)->closed = true;
    seen_of(user_data, id)->error_code = error_code;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        ((struct peer *)user_data)->goaway = true;
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)id;
    (void)user_data;
    struct peer *peer = source->ptr;
    size_t left = peer->body.len - peer->body_sent;
    size_t part = left < len ? left : len;
    if (part == 0 && peer->keep_open)
        return NGHTTP2_ERR_DEFERRED;
    if (part > 0)
        memcpy(out, peer->body.data + peer->body_sent, part);
    peer->body_sent += part;
    if (part == left && !peer->keep_open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

static void peer_init_with(struct peer *peer, const nghttp2_settings_entry *settings, size_t settings_count)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    *peer = (struct peer){.budget.left = BUDGET, .now_ms = 1000};
    peer->h2 = h2_new(&peer->budget, peer->now_ms);
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_option_set_no_http_messaging(option, 1);
    assert_int_equal(nghttp2_session_client_new2(&peer->client, callbacks, peer, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    nghttp2_submit_settings(peer->client, NGHTTP2_FLAG_NONE, settings, settings_count);
}

static void peer_init(struct peer *peer)
{
    peer_init_with(peer, NULL, 0);
}

static void peer_deinit(struct peer *peer)
{
    h2_free(peer->h2);
    nghttp2_session_del(peer->client);
    for (size_t i = 0; i < 64; i++)
        str_deinit(&peer->seen[i].data);
    str_deinit(&peer->body);
    assert_int_equal(peer->budget.left, BUDGET);
}

static int to_server(struct peer *peer, const uint8_t *data, size_t len, size_t step)
{
    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;
        if (h2_receive(peer->h2, data + at, part, peer->now_ms, &peer->err) != 0)
            return -1;
    }
    return 0;
}

static bool to_client(struct peer *peer, size_t step)
{
    const uint8_t *data;
    size_t len = h2_output(peer->h2, &data);
    size_t part = len < step ? len : step;
    if (part == 0)
        return false;
    assert_int_equal(nghttp2_session_mem_recv(peer->client, data, part), (ssize_t)part);
    h2_sent(peer->h2, part);
    return true;
}

/* Moves bytes both ways, step at a time, until there are none. */
static int pump(struct peer *peer, size_t step)
{
    for (bool moved = true; moved;) {
        const uint8_t *data;
        ssize_t len = nghttp2_session_mem_send(peer->client, &data);
        moved = len > 0;
        if (len > 0 && to_server(peer, data, (size_t)len, step) != 0)
            return -1;
        while (to_client(peer, step))
            moved = true;
    }
    return 0;
}

#define USUAL_COUNT 6

static nghttp2_nv usual(size_t i)
{
    static const char *const fields[USUAL_COUNT][2] = {
        {":method", "POST"},
        {":scheme", "http"},
        {":path", "/a.B/C"},
        {":authority", "localhost"},
        {"content-type", "application/grpc"},
        {"te", "trailers"},
    };
    return h2_field(fields[i][0], fields[i][1]);
}

static void usual_all(nghttp2_nv *out)
{
    for (size_t i = 0; i < USUAL_COUNT; i++)
        out[i] = usual(i);
}

static void body_set(struct peer *peer, const void *data, size_t len)
{
    str_clear(&peer->body);
    str_append(&peer->body, data, len);
    peer->body_sent = 0;
}

static void body_message(struct peer *peer, const char *message, size_t len)
{
    uint8_t prefix[GRPC_PREFIX_LEN];
    grpc_prefix_write(prefix, (uint32_t)len);
    body_set(peer, prefix, sizeof(prefix));
    str_append(&peer->body, message, len);
}

static int32_t request_with(struct peer *peer, const nghttp2_nv *fields, size_t count)
{
    const nghttp2_data_provider provider = {.source.ptr = peer, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(peer->client, NULL, fields, count, &provider, NULL);
    assert_true(id > 0);
    *seen_of(peer, id) = (struct seen){.data = seen_of(peer, id)->data};
    str_clear(&seen_of(peer, id)->data);
    return id;
}

static int32_t request(struct peer *peer)
{
    nghttp2_nv fields[USUAL_COUNT];
    usual_all(fields);
    return request_with(peer, fields, USUAL_COUNT);
}

static void expect_event(struct peer *peer, enum h2_event_kind kind, int32_t stream, struct h2_event *event)
{
    h2_next(peer->h2, event);
    assert_int_equal(event->kind, kind);
    if (kind != H2_NONE)
        assert_int_equal(event->stream, stream);
}

static void expect_none(struct peer *peer)
{
    struct h2_event event;
    expect_event(peer, H2_NONE, 0, &event);
}

static void serve(struct peer *peer, int32_t id)
{
    struct h2_event event;
    expect_event(peer, H2_REQUEST, id, &event);
    h2_reply(peer->h2, id, event.message, event.len);
    h2_event_deinit(&event);
}

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

#define NO_RESET (-1)

static const struct head_case {
    const char *name;  /* of the field that is replaced, or added if it is new */
    const char *value; /* NULL: left out */
    const char *http;
    const char *status; /* "": served, or reset */
    int reset;
} head_cases[] = {
    /* row 19: served */
    {":authority", "/var/lib/kubelet/plugins/csi.sharedcache.io/csi.sock", "", "", NO_RESET},
    {":authority", "%2Frun%2Fcsi.sock", "", "", NO_RESET},
    {":authority", "", "", "", NO_RESET},
    {":authority", NULL, "", "", NO_RESET},
    {"te", NULL, "", "", NO_RESET},
    {"content-type", "application/grpc+proto", "", "", NO_RESET},
    {"content-type", "application/grpc;charset=x", "", "", NO_RESET},
    {"user-agent", "caf\xc3\xa9 \t", "", "", NO_RESET},
    {"grpc-timeout", "5S", "", "", NO_RESET},
    {"content-length", "10", "", "", NO_RESET},
    /* answered */
    {":method", "GET", "405", "13", NO_RESET},
    {"content-type", "text/plain", "415", "13", NO_RESET},
    {"content-type", "application/grpcish", "415", "13", NO_RESET},
    {"content-type", NULL, "415", "13", NO_RESET},
    {"grpc-timeout", "5 S", "200", "13", NO_RESET},
    {"grpc-timeout", "", "200", "13", NO_RESET},
    /* malformed */
    {":method", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":scheme", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", NULL, "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", "", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":path", "a.B/C", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":protocol", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {":status", "200", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"te", "gzip", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"connection", "close", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"transfer-encoding", "chunked", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"x y", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"x", "a\nb", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "11", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "x", "", "", NGHTTP2_PROTOCOL_ERROR},
    {"content-length", "99999999999999999999999", "", "", NGHTTP2_PROTOCOL_ERROR},
};

/* The usual fields with one replaced, left out or (a pseudo-header in front) added. */
static size_t fields_with(const struct head_case *c, nghttp2_nv *out)
{
    size_t count = 0;
    bool replaced = false;
    if (c->name[0] == ':' && c->value && strcmp(c->name, ":protocol") * strcmp(c->name, ":status") == 0)
        out[count++] = h2_field(c->name, c->value);
    for (size_t i = 0; i < USUAL_COUNT; i++) {
        bool same = strcmp((const char *)usual(i).name, c->name) == 0;
        replaced |= same;
        if (same && c->value)
            out[count++] = h2_field(c->name, c->value);
        else if (!same)
            out[count++] = usual(i);
    }
    if (!replaced && c->name[0] != ':')
        out[count++] = h2_field(c->name, c->value);
    return count;
}

static void check_head(struct peer *peer, const struct head_case *c)
{
    nghttp2_nv fields[10];
    body_message(peer, "hello", 5);
    int32_t id = request_with(peer, fields, fields_with(c, fields));
    assert_int_equal(pump(peer, 100000), 0);
    const struct seen *seen = seen_of(peer, id);
    bool served = c->status[0] == '\0' && c->reset == NO_RESET;
    if (served)
        serve(peer, id);
    expect_none(peer);
    assert_int_equal(pump(peer, 100000), 0);
    assert_true(seen->closed);
    assert_string_equal(seen->http, served ? "200" : c->http);
    assert_string_equal(seen->status, served ? "0" : c->status);
    assert_int_equal(seen->error_code, c->reset == NO_RESET ? 0 : c->reset);
}

/* row 19 and others: all on one connection, which survives. */
static void test_heads(void **state)
{
    (void)state;
    struct peer peer;
    peer_init(&peer);
    for (size_t i = 0; i < sizeof(head_cases) / sizeof(head_cases[0]); i++)
        check_head(&peer, &head_cases[i]);
    peer_deinit(&peer);
}

static void test_order_of_fields(void **state)
{
    (void)state;
    struct peer peer;
    nghttp2_nv fields[8];
    peer_init(&peer);
    usual_all(fields);
    fields[6] = h2_field(":authority", "again");
    int32_t twice = request_with(&peer, fields, 7);
    nghttp2_nv swapped[6];
    usual_all(swapped);
    swapped[0] = usual(5);
    swapped[5] = usual(0); /* :method behind regular fields */
    int32_t late = request_with(&peer, swapped, 6);
    assert_int_equal(pump(&peer, 100000), 0);
    assert_int_equal(seen_of(&peer, twice)->error_code, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(seen_of(&peer, late)->error_code, NGHTTP2_PROTOCOL_ERROR);
    expect_none(&peer);
    peer_deinit(&peer);
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
    assert_int_equal(peer.budget.left, BUDGET);
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

/* Raw frames */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void frame(struct str *out, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
    const uint8_t head[9] = {
        (uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,    type, flags, (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream,
    };
    str_append(out, head, sizeof(head));
    str_append(out, payload, len);
}

/* :method POST, :scheme http, :path /a, content-type application/grpc, as HPACK without its dynamic table. */
static const char small_head[25] = "\x83\x86\x04\2/a\x0f\x10\x10"
                                   "application/grpc";

static void start_frames(struct str *out)
{
    str_append(out, preface, sizeof(preface) - 1);
    frame(out, NGHTTP2_SETTINGS, 0, 0, "", 0);
}

static void add_continuations(struct str *out)
{
    frame(out, NGHTTP2_HEADERS, 0, 1, small_head, sizeof(small_head));
    for (int i = 0; i < 100000; i++)
        frame(out, NGHTTP2_CONTINUATION, 0, 1, "", 0);
}

static void add_resets(struct str *out)
{
    for (uint32_t i = 0; i < 10000; i++) {
        frame(out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, small_head, sizeof(small_head));
        frame(out, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\10", 4);
    }
}

static void add_settings(struct str *out)
{
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\1\0", 6);
}

static void add_pings(struct str *out)
{
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void add_empty_data(struct str *out)
{
    frame(out, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, small_head, sizeof(small_head));
    for (int i = 0; i < 10000; i++)
        frame(out, NGHTTP2_DATA, 0, 1, "", 0);
}

/* A table entry of 4,000 bytes, named 100,000 times in one byte each. */
static void add_hpack_bomb(struct str *out)
{
    _cleanup_(str_deinitp) struct str block = STR_INIT;
    str_append(&block, small_head, sizeof(small_head)); /* 25 bytes */
    str_append(&block, "\x40\1x\x7f\xa1\x1e", 6);       /* x: 4,000 bytes, to the table */
    for (int i = 0; i < 4000; i++)
        str_append_char(&block, 'y');
    for (int i = 0; i < 12000; i++)
        str_append_char(&block, (char)0xbe);
    frame(out, NGHTTP2_HEADERS, 0, 1, block.data, block.len);
    frame(out, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block.data + 4031, 12000);
}

static void add_http1(struct str *out)
{
    str_clear(out);
    str_append_text(out, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void add_garbage(struct str *out)
{
    str_clear(out);
    str_append(out, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and what follows in a TLS hello", 40);
}

/* A name in upper case, which nghttp2's client would not send. */
static void test_upper_case(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x83, 0x86, 0x04, 0x02, '/', 'a', 0x00, 0x01, 'X', 0x01, 'x'};
    struct h2_budget budget = {.left = BUDGET};
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    _cleanup_(h2_freep) struct h2 *h2 = h2_new(&budget, 0);
    struct err err = ERR_INIT;
    const uint8_t *data;
    start_frames(&bytes);
    frame(&bytes, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, head, sizeof(head));
    assert_int_equal(h2_receive(h2, (const uint8_t *)bytes.data, bytes.len, 0, &err), 0);
    size_t len = h2_output(h2, &data);
    assert_true(len >= 13);
    assert_memory_equal(data + len - 13, "\0\0\4\3\0\0\0\0\1\0\0\0\1", 13); /* RST_STREAM, PROTOCOL_ERROR */
}

static const struct flood {
    void (*add)(struct str *out);
    enum err_code code; /* ERR_NONE: later nghttp2 counts these itself, with a code of its own */
} floods[] = {
    {add_continuations, ERR_NONE}, {add_resets, ERR_EXHAUSTED},     {add_settings, ERR_EXHAUSTED},
    {add_pings, ERR_EXHAUSTED},    {add_empty_data, ERR_EXHAUSTED}, {add_hpack_bomb, ERR_EXHAUSTED},
    {add_http1, ERR_CORRUPT},      {add_garbage, ERR_CORRUPT},
};

/* row 19: the connection is closed, and what it made us write is small. */
static void test_floods(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
        struct h2_budget budget = {.left = BUDGET};
        _cleanup_(str_deinitp) struct str bytes = STR_INIT;
        struct err err = ERR_INIT;
        struct h2 *h2 = h2_new(&budget, 0);
        start_frames(&bytes);
        floods[i].add(&bytes);
        int failed = 0;
        size_t written = 0;
        for (size_t at = 0; at < bytes.len && !failed; at += 1000) {
            const uint8_t *data;
            size_t part = bytes.len - at < 1000 ? bytes.len - at : 1000;
            failed = h2_receive(h2, (const uint8_t *)bytes.data + at, part, 0, &err);
            size_t len = h2_output(h2, &data);
            h2_sent(h2, len);
            written += len;
        }
        assert_int_equal(failed, -1);
        if (floods[i].code != ERR_NONE)
            assert_int_equal(err.code, floods[i].code);
        assert_true(written < 64 * 1024);
        h2_free(h2);
        assert_int_equal(budget.left, BUDGET);
    }
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

/* 20 KiB of headers: answered, not served. */
static void test_large_head(void **state)
{
    (void)state;
    struct peer peer;
    nghttp2_nv fields[16];
    char value[3000];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    peer_init(&peer);
    usual_all(fields);
    for (size_t i = 6; i < 13; i++)
        fields[i] = h2_field("x", value);
    body_message(&peer, "x", 1);
    int32_t id = request_with(&peer, fields, 13);
    assert_int_equal(pump(&peer, 100000), 0);
    expect_none(&peer);
    assert_string_equal(seen_of(&peer, id)->status, "8");
    peer_deinit(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_order_of_fields),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_error_message),
        cmocka_unit_test(test_small_windows),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_goaway_at_once),
        cmocka_unit_test(test_streams_are_limited),
        cmocka_unit_test(test_upper_case),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_busy_is_no_flood),
        cmocka_unit_test(test_slow_is_no_flood),
        cmocka_unit_test(test_large_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
