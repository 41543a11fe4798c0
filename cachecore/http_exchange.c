#include "cachecore/http_exchange.h"

#include <string.h>
#include <strings.h>

bool http_exchange_is_cancelled(const struct http_exchange *exchange)
{
    return exchange->cancel && atomic_load_explicit(exchange->cancel, memory_order_relaxed);
}

static bool is_success(const struct http_exchange *exchange)
{
    return exchange->head.response.status >= 200 && exchange->head.response.status < 300;
}

static int sink_call(struct http_exchange *exchange, const void *data, size_t len)
{
    if (!exchange->sink)
        return 0;
    if (exchange->sink(exchange->context, &exchange->head.response, data, len, &exchange->err) != 0) {
        exchange->is_stopped = true;
        return -1;
    }
    return 0;
}

static int length_refuse(struct http_exchange *exchange, uint64_t length)
{
    return err_set(&exchange->err, ERR_EXHAUSTED, "the answer has %s%llu bytes, more than the limit of %llu",
                   exchange->head.response.content_length >= 0 ? "" : "at least ", (unsigned long long)length,
                   (unsigned long long)exchange->request->body_max);
}

static int coding_check(struct http_exchange *exchange)
{
    const char *coding = exchange->head.response.content_encoding;
    if (exchange->request->takes_coding || coding[0] == '\0' || strcasecmp(coding, "identity") == 0)
        return 0;
    return err_set(
        &exchange->err, ERR_PRECONDITION,
        "the server answers with a Content-Encoding that was not asked for: the bytes would not be the object's");
}

static int on_head_complete(struct http_exchange *exchange)
{
    const struct http_response *response = &exchange->head.response;
    bool has_body = strcmp(exchange->request->method, "HEAD") != 0;
    if (!is_success(exchange))
        return 0;
    if (coding_check(exchange) != 0 || sink_call(exchange, NULL, 0) != 0)
        return -1;
    if (has_body && response->content_length > 0 && (uint64_t)response->content_length > exchange->request->body_max)
        return length_refuse(exchange, (uint64_t)response->content_length);
    return 0;
}

int http_exchange_header(struct http_exchange *exchange, const char *line, size_t len, int64_t now_s)
{
    struct http_head *head = &exchange->head;
    bool was_complete = head->is_complete;
    if (http_head_line(head, line, len, now_s, &exchange->err) != 0)
        return -1;
    return !was_complete && head->is_complete ? on_head_complete(exchange) : 0;
}

static int error_body_take(struct http_exchange *exchange, const void *data, size_t len)
{
    size_t room = sizeof(exchange->error_body) - exchange->error_body_len;
    size_t taken = len < room ? len : room;
    memcpy(exchange->error_body + exchange->error_body_len, data, taken);
    exchange->error_body_len += taken;
    exchange->is_cut = exchange->body_bytes > HTTP_ERROR_BODY_DRAIN;
    return exchange->is_cut ? -1 : 0;
}

int http_exchange_body(struct http_exchange *exchange, const void *data, size_t len)
{
    if (http_exchange_is_cancelled(exchange))
        return -1;
    exchange->body_bytes += len;
    if (!is_success(exchange))
        return error_body_take(exchange, data, len);
    if (exchange->body_bytes > exchange->request->body_max)
        return length_refuse(exchange, exchange->body_bytes);
    return len > 0 ? sink_call(exchange, data, len) : 0;
}

void http_exchange_end(struct http_exchange *exchange)
{
    http_error_body_read(exchange->error_body, exchange->error_body_len, &exchange->head.response);
}
