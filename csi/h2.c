#include "csi/h2.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "csi/h2_head.h"
#include "csi/h2_internal.h"

#define GLITCHES_PER_REQUEST 8
#define OUTPUT_HIGH_MARK (64 * 1024)
#define HEAD_BYTES_CLOSE (256 * 1024) /* a header block that unpacks to more is an attack, not a mistake */

static void spend_glitch(struct h2 *h2)
{
    if (h2->glitches_milli < 1000)
        h2->flooded = true;
    else
        h2->glitches_milli -= 1000;
}

static void refill_glitches(struct h2 *h2, int64_t now_ms)
{
    int64_t passed_ms = now_ms > h2->now_ms ? now_ms - h2->now_ms : 0;
    if (passed_ms > 60 * 1000)
        passed_ms = 60 * 1000;
    h2->now_ms = now_ms;
    h2->glitches_milli += passed_ms * H2_GLITCHES_PER_S;
    if (h2->glitches_milli > H2_GLITCHES_MAX * 1000)
        h2->glitches_milli = H2_GLITCHES_MAX * 1000;
}

static void push_event(struct h2 *h2, const struct h2_event *event)
{
    struct pending_event *pending = mem_alloc(sizeof(*pending));
    pending->event = *event;
    *h2->events_tail = pending;
    h2->events_tail = &pending->next;
}

static struct stream *stream_find(struct h2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id);
}

static void stream_release(struct h2 *h2, struct stream *stream)
{
    h2->budget->left += stream->charged;
    grpc_reader_deinit(&stream->body);
    str_deinit(&stream->reply);
    free(stream);
}

static void stream_free(struct h2 *h2, struct stream *stream)
{
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        h2->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    stream_release(h2, stream);
}

/* Malformed in HTTP/2's sense. */
static void stream_reset(struct h2 *h2, struct stream *stream)
{
    stream->answered = true;
    spend_glitch(h2);
    nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_PROTOCOL_ERROR);
}

/* What is refused is answered at its end, so that a request that turns out to be malformed is still seen as such. */
static void head_complete(struct h2 *h2, struct stream *stream)
{
    stream->refused = !h2_head_finish(&stream->head, &stream->http, &stream->status, &stream->reason);
    if (stream->head.malformed)
        stream_reset(h2, stream);
}

static void request_complete(struct h2 *h2, struct stream *stream)
{
    const char *reason;
    if (stream->head.content_len >= 0 && (uint64_t)stream->head.content_len != stream->data_len) {
        stream_reset(h2, stream);
        return;
    }
    if (stream->refused) {
        h2_answer_error(h2, stream, stream->http, stream->status, stream->reason);
        return;
    }
    enum grpc_status status = grpc_reader_finish(&stream->body, &reason);
    if (status != GRPC_OK) {
        h2_answer_error(h2, stream, 200, status, reason);
        return;
    }
    h2->glitches_milli += GLITCHES_PER_REQUEST * 1000;
    stream->handed_out = true;
    push_event(h2, &(struct h2_event){
                       .kind = H2_REQUEST,
                       .stream = stream->id,
                       .path = mem_strdup(stream->head.path),
                       .timeout_ms = stream->head.timeout_ms,
                       .message = STEAL_PTR(stream->body.message),
                       .len = stream->body.len,
                   });
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2 *h2 = user_data;
    struct stream *stream = stream_find(h2, frame->hd.stream_id);
    if (stream) {
        stream->head.trailers = true;
        return 0;
    }
    stream = mem_alloc(sizeof(*stream));
    stream->id = frame->hd.stream_id;
    h2_head_init(&stream->head);
    stream->next = h2->streams;
    if (stream->next)
        stream->next->previous = stream;
    h2->streams = stream;
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    (void)session;
    (void)flags;
    struct h2 *h2 = user_data;
    struct stream *stream = stream_find(h2, frame->hd.stream_id);
    if (!stream)
        return 0;
    h2_head_add(&stream->head, (const char *)name, name_len, (const char *)value, value_len);
    if (stream->head.bytes > HEAD_BYTES_CLOSE)
        h2->flooded = true;
    return h2->flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static bool costs_without_use(const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_GOAWAY:
        return false;
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM);
    default:
        return true;
    }
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user_data)
{
    (void)session;
    struct h2 *h2 = user_data;
    if (costs_without_use(hd))
        spend_glitch(h2);
    return h2->flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user_data)
{
    (void)session;
    (void)frame;
    (void)code;
    struct h2 *h2 = user_data;
    spend_glitch(h2);
    return h2->flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void trailers_complete(struct h2 *h2, struct stream *stream, const nghttp2_frame *frame)
{
    if (stream->head.malformed || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        stream_reset(h2, stream);
}

static void on_control_frame(struct h2 *h2, const nghttp2_frame *frame)
{
    bool is_ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    if (frame->hd.type == NGHTTP2_SETTINGS && !is_ack)
        h2->ready = true;
    if (frame->hd.type == NGHTTP2_PING && is_ack && h2->shutting_down)
        h2_goaway(h2);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct h2 *h2 = user_data;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        on_control_frame(h2, frame);
        return 0;
    }
    struct stream *stream = stream_find(h2, frame->hd.stream_id);
    if (!stream)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !stream->answered) {
        if (stream->head.trailers)
            trailers_complete(h2, stream, frame);
        else
            head_complete(h2, stream);
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !stream->answered)
        request_complete(h2, stream);
    return 0;
}

/* Memory for the message is charged when its length is known, before its bytes are taken. */
static enum grpc_status body_add(struct h2 *h2, struct stream *stream, const uint8_t *data, size_t len,
                                 const char **reason)
{
    enum grpc_status status = grpc_reader_add(&stream->body, data, len, H2_MESSAGE_MAX, reason);
    if (status != GRPC_OK || !stream->body.message || stream->charged > 0)
        return status;
    if (stream->body.len > h2->budget->left) {
        *reason = "too many large requests at a time";
        return GRPC_RESOURCE_EXHAUSTED;
    }
    h2->budget->left -= stream->body.len;
    stream->charged = stream->body.len;
    return GRPC_OK;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user_data)
{
    (void)session;
    (void)flags;
    struct h2 *h2 = user_data;
    struct stream *stream = stream_find(h2, id);
    if (!stream)
        return 0;
    stream->data_len += len;
    if (stream->answered || stream->refused)
        return 0;
    const char *reason;
    enum grpc_status status = body_add(h2, stream, data, len, &reason);
    if (status != GRPC_OK)
        h2_answer_error(h2, stream, 200, status, reason);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user_data)
{
    (void)session;
    (void)error_code;
    struct h2 *h2 = user_data;
    struct stream *stream = stream_find(h2, id);
    if (!stream)
        return 0;
    if (stream->handed_out && !stream->answered)
        push_event(h2, &(struct h2_event){.kind = H2_CANCEL, .stream = id});
    stream_free(h2, stream);
    return 0;
}

/* An answer before the request's end: tell the client to stop sending, as RFC 9113, 8.1 has it. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)user_data;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static void session_new(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
    if (nghttp2_session_server_new2(&h2->session, callbacks, h2, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
}

struct h2 *h2_new(struct h2_budget *budget, int64_t now_ms)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_BYTES_MAX},
    };
    struct h2 *h2 = mem_alloc(sizeof(*h2));
    h2->budget = budget;
    h2->now_ms = now_ms;
    h2->glitches_milli = H2_GLITCHES_MAX * 1000;
    h2->events_tail = &h2->events;
    session_new(h2);
    nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
    return h2;
}

void h2_free(struct h2 *h2)
{
    if (!h2)
        return;
    for (struct stream *stream = h2->streams, *next; stream; stream = next) {
        next = stream->next;
        stream_release(h2, stream);
    }
    for (struct h2_event event; h2_next(h2, &event), event.kind != H2_NONE;)
        h2_event_deinit(&event);
    nghttp2_session_del(h2->session);
    str_deinit(&h2->output);
    free(h2);
}

int h2_receive(struct h2 *h2, const uint8_t *data, size_t len, int64_t now_ms, struct err *err)
{
    refill_glitches(h2, now_ms);
    ssize_t used = nghttp2_session_mem_recv(h2->session, data, len);
    if (h2->flooded) {
        nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
        return err_set(err, ERR_EXHAUSTED, "closed: too many frames that ask for nothing");
    }
    if (used < 0)
        return err_set(err, ERR_CORRUPT, "closed: %s", nghttp2_strerror((int)used));
    return 0;
}

void h2_next(struct h2 *h2, struct h2_event *out)
{
    struct pending_event *first = h2->events;
    if (!first) {
        *out = (struct h2_event){.kind = H2_NONE};
        return;
    }
    *out = first->event;
    h2->events = first->next;
    if (!h2->events)
        h2->events_tail = &h2->events;
    free(first);
}

void h2_event_deinit(struct h2_event *event)
{
    free(event->path);
    mem_wipe_free(event->message, event->len);
    *event = (struct h2_event){.kind = H2_NONE};
}

size_t h2_output(struct h2 *h2, const uint8_t **data)
{
    if (h2->output_sent == h2->output.len) {
        str_clear(&h2->output);
        h2->output_sent = 0;
    }
    while (h2->output.len < OUTPUT_HIGH_MARK) {
        const uint8_t *part;
        ssize_t len = nghttp2_session_mem_send(h2->session, &part);
        if (len <= 0)
            break;
        str_append(&h2->output, part, (size_t)len);
    }
    *data = (const uint8_t *)h2->output.data + h2->output_sent;
    return h2->output.len - h2->output_sent;
}

void h2_sent(struct h2 *h2, size_t len)
{
    assert(len <= h2->output.len - h2->output_sent);
    h2->output_sent += len;
}

void h2_shutdown(struct h2 *h2)
{
    if (h2->shutting_down)
        return;
    h2->shutting_down = true;
    nghttp2_submit_shutdown_notice(h2->session);
    nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_goaway(struct h2 *h2)
{
    if (h2->gone)
        return;
    h2->shutting_down = true;
    h2->gone = true;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h2->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

bool h2_is_ready(const struct h2 *h2)
{
    return h2->ready;
}

bool h2_is_finished(const struct h2 *h2)
{
    return h2->output_sent == h2->output.len && !nghttp2_session_want_read(h2->session) &&
           !nghttp2_session_want_write(h2->session);
}
