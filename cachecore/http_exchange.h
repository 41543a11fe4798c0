/*
 * One request on its way: what to make of the pieces of a response as they come, without knowing who brings them. http.c feeds it from
 * libcurl, the fuzzer from a file. Whatever is wrong ends in exchange.err, and in an answer other than 0 that stops the transfer.
 */
#pragma once

#include "cachecore/http_head.h"

#define HTTP_ERROR_BODY_READ (8u << 10)
#define HTTP_ERROR_BODY_DRAIN (64u << 10) /* more than this of an error's body is not worth a reusable connection */

struct http_exchange {
    const struct http_request *request;
    http_sink sink; /* NULL: the body is counted and dropped */
    void *context;
    const atomic_bool *cancel; /* may be NULL */
    struct http_head head;
    struct err err; /* its code says whether something failed */
    uint64_t body_bytes;
    char error_body[HTTP_ERROR_BODY_READ];
    size_t error_body_len;
    bool is_stopped; /* the sink does not want more */
    bool is_cut;     /* an error's body went on for too long: the answer is complete enough */
};

bool http_exchange_is_cancelled(const struct http_exchange *exchange);
int http_exchange_header(struct http_exchange *exchange, const char *line, size_t len, int64_t now_s);
int http_exchange_body(struct http_exchange *exchange, const void *data, size_t len);
/* After the last byte: reads what an error's body says into the response. */
void http_exchange_end(struct http_exchange *exchange);
