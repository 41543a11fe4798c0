#include "tests/unit/csi/support_h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "csi/h2_field.h"

struct seen *seen_of(struct peer *peer, int32_t id)
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

void peer_init_with(struct peer *peer, const nghttp2_settings_entry *settings, size_t settings_count)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    *peer = (struct peer){.budget.left = PEER_BUDGET, .now_ms = 1000};
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

void peer_init(struct peer *peer)
{
    peer_init_with(peer, NULL, 0);
}

void peer_deinit(struct peer *peer)
{
    h2_free(peer->h2);
    nghttp2_session_del(peer->client);
    for (size_t i = 0; i < 64; i++)
        str_deinit(&peer->seen[i].data);
    str_deinit(&peer->body);
    assert_int_equal(peer->budget.left, PEER_BUDGET);
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

bool to_client(struct peer *peer, size_t step)
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

int pump(struct peer *peer, size_t step)
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

nghttp2_nv usual(size_t i)
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

void usual_all(nghttp2_nv *out)
{
    for (size_t i = 0; i < USUAL_COUNT; i++)
        out[i] = usual(i);
}

void body_set(struct peer *peer, const void *data, size_t len)
{
    str_clear(&peer->body);
    str_append(&peer->body, data, len);
    peer->body_sent = 0;
}

void body_message(struct peer *peer, const char *message, size_t len)
{
    uint8_t prefix[GRPC_PREFIX_LEN];
    grpc_prefix_write(prefix, (uint32_t)len);
    body_set(peer, prefix, sizeof(prefix));
    str_append(&peer->body, message, len);
}

int32_t request_with(struct peer *peer, const nghttp2_nv *fields, size_t count)
{
    const nghttp2_data_provider provider = {.source.ptr = peer, .read_callback = read_body};
    int32_t id = nghttp2_submit_request(peer->client, NULL, fields, count, &provider, NULL);
    assert_true(id > 0);
    *seen_of(peer, id) = (struct seen){.data = seen_of(peer, id)->data};
    str_clear(&seen_of(peer, id)->data);
    return id;
}

int32_t request(struct peer *peer)
{
    nghttp2_nv fields[USUAL_COUNT];
    usual_all(fields);
    return request_with(peer, fields, USUAL_COUNT);
}

void expect_event(struct peer *peer, enum h2_event_kind kind, int32_t stream, struct h2_event *event)
{
    h2_next(peer->h2, event);
    assert_int_equal(event->kind, kind);
    if (kind != H2_NONE)
        assert_int_equal(event->stream, stream);
}

void expect_none(struct peer *peer)
{
    struct h2_event event;
    expect_event(peer, H2_NONE, 0, &event);
}

void serve(struct peer *peer, int32_t id)
{
    struct h2_event event;
    expect_event(peer, H2_REQUEST, id, &event);
    h2_reply(peer->h2, id, event.message, event.len);
    h2_event_deinit(&event);
}
