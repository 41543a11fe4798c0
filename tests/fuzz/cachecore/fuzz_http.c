/* Any bytes as an answer, split into lines as a client library does: limits hold, and no error shows a body. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cachecore/http_exchange.h"
#include "cachecore/source.h"

#define BODY_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    size_t *total = context;
    (void)data, (void)err;
    assert(response->status >= 200 && response->status < 300);
    *total += len;
    assert(*total <= BODY_MAX);
    return 0;
}

/* Feeds the head; returns how many bytes it took, or -1 when it was refused. */
static ssize_t feed_head(struct http_exchange *exchange, const char *text, size_t len)
{
    size_t used = 0;
    while (used < len && !exchange->head.is_complete) {
        const char *newline = memchr(text + used, '\n', len - used);
        size_t line = newline ? (size_t)(newline - text) + 1 - used : len - used;
        char *copy = malloc(line); /* so that a read past the end is seen */
        memcpy(copy, text + used, line);
        int result = http_exchange_header(exchange, copy, line, 1000000000);
        free(copy);
        if (result != 0)
            return -1;
        used += line;
    }
    return (ssize_t)used;
}

static void response_check(const struct http_exchange *exchange)
{
    const struct http_response *response = &exchange->head.response;
    struct err err = ERR_INIT;
    assert(response->status >= 200 && response->status <= 999);
    assert(response->content_length >= -1);
    assert(response->retry_after_s >= -1 && response->retry_after_s <= 60);
    assert(!response->has_range ||
           (response->range_first <= response->range_last && response->range_last < response->range_total));
    source_status_error(response, "d", &err);
    assert(err.code != ERR_NONE && err.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t total = 0;
    struct http_request request = {.method = "GET", .body_max = BODY_MAX};
    struct http_exchange exchange = {.request = &request, .sink = count, .context = &total};
    http_head_init(&exchange.head);
    ssize_t used = feed_head(&exchange, (const char *)data, size);
    if (used < 0) {
        assert(exchange.err.code == ERR_PRECONDITION || exchange.err.code == ERR_EXHAUSTED);
        return 0;
    }
    if (!exchange.head.is_complete)
        return 0;
    size_t left = size - (size_t)used;
    if (left > 0 && http_exchange_body(&exchange, data + used, left) != 0)
        assert(exchange.err.code == ERR_EXHAUSTED || exchange.is_cut);
    http_exchange_end(&exchange);
    response_check(&exchange);
    return 0;
}
