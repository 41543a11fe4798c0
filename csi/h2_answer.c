/* Answers on a stream: a message with trailers behind it, or trailers alone. */
#include <stdio.h>
#include <string.h>

#include "csi/h2_field.h"
#include "csi/h2_internal.h"

void h2_answer_error(struct h2 *h2, struct stream *stream, unsigned http, enum grpc_status status, const char *message)
{
    char http_text[16];
    char status_text[16];
    _cleanup_(str_deinitp) struct str encoded = STR_INIT;
    snprintf(http_text, sizeof(http_text), "%u", http);
    snprintf(status_text, sizeof(status_text), "%d", (int)status);
    grpc_message_encode(message, &encoded);
    const nghttp2_nv fields[] = {
        h2_field(":status", http_text),
        h2_field("content-type", "application/grpc"),
        h2_field("grpc-status", status_text),
        h2_field("grpc-accept-encoding", "identity"),
        h2_field("grpc-message", encoded.data ? encoded.data : ""),
    };
    stream->answered = true;
    grpc_reader_deinit(&stream->body);
    nghttp2_submit_response(h2->session, stream->id, fields, sizeof(fields) / sizeof(fields[0]), NULL);
}

static ssize_t read_reply(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                          nghttp2_data_source *source, void *user_data)
{
    (void)user_data;
    struct stream *stream = source->ptr;
    size_t left = stream->reply.len - stream->reply_sent;
    size_t part = left < len ? left : len;
    memcpy(out, stream->reply.data + stream->reply_sent, part);
    stream->reply_sent += part;
    if (stream->reply_sent == stream->reply.len) {
        const nghttp2_nv trailers[] = {h2_field("grpc-status", "0")};
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, id, trailers, 1);
    }
    return (ssize_t)part;
}

static struct stream *unanswered(struct h2 *h2, int32_t id)
{
    struct stream *stream = nghttp2_session_get_stream_user_data(h2->session, id);
    return stream && stream->handed_out && !stream->answered ? stream : NULL;
}

void h2_reply(struct h2 *h2, int32_t id, const void *message, size_t len)
{
    struct stream *stream = unanswered(h2, id);
    if (!stream)
        return;
    uint8_t prefix[GRPC_PREFIX_LEN];
    grpc_prefix_write(prefix, (uint32_t)len);
    str_reserve(&stream->reply, sizeof(prefix) + len);
    str_append(&stream->reply, prefix, sizeof(prefix));
    str_append(&stream->reply, message, len);
    const nghttp2_nv fields[] = {
        h2_field(":status", "200"),
        h2_field("content-type", "application/grpc"),
    };
    const nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
    stream->answered = true;
    nghttp2_submit_response(h2->session, id, fields, sizeof(fields) / sizeof(fields[0]), &provider);
}

void h2_fail(struct h2 *h2, int32_t id, enum grpc_status status, const char *message)
{
    struct stream *stream = unanswered(h2, id);
    if (stream)
        h2_answer_error(h2, stream, 200, status, message);
}
