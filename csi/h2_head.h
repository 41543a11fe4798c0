/*
 * The header block of one request, checked as it comes in. nghttp2's own checks are off, because they refuse an :authority
 * that holds a socket's path (older kubelets, Nomad); what HTTP/2 and gRPC ask of a request is checked here instead, and
 * :authority may be anything printable. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "csi/grpc.h"

#define H2_HEAD_BYTES_MAX (16 * 1024) /* counted as HTTP/2 does: names, values and 32 for each */
#define H2_HEAD_COUNT_MAX 64
#define H2_PATH_MAX 256

struct h2_head {
    unsigned seen; /* pseudo-headers and others that may come once: bits */
    bool regular;  /* a header that is no pseudo-header was there */
    bool trailers; /* set by the caller before a trailer block */
    size_t count;
    size_t bytes;

    bool malformed;   /* HTTP/2 says: reset the stream with PROTOCOL_ERROR */
    bool bad_method;  /* not POST */
    bool bad_type;    /* not application/grpc */
    bool bad_timeout; /* grpc-timeout cannot be read */
    bool too_large;   /* over the limits above */
    char path[H2_PATH_MAX];
    int64_t timeout_ms;  /* -1: none */
    int64_t content_len; /* -1: none */
};

void h2_head_init(struct h2_head *head);
void h2_head_add(struct h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len);

/* At the end of the first block. True: served so far. Else either malformed is set, or the call is to be answered with *http,
 * *status and *reason. */
bool h2_head_finish(struct h2_head *head, unsigned *http, enum grpc_status *status, const char **reason);
