/* What h2.c and h2_answer.c share; for nobody else. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "base/str.h"
#include "csi/h2.h"
#include "csi/h2_head.h"

struct stream {
    int32_t id;
    struct stream *next;
    struct stream *previous;
    struct h2_head head;
    struct grpc_reader body;
    uint64_t data_len;
    size_t charged; /* to the budget */
    bool refused;   /* by its head: to be answered with what follows */
    unsigned http;
    enum grpc_status status;
    const char *reason;
    bool handed_out; /* H2_REQUEST was given */
    bool answered;   /* nothing that still comes in matters */
    struct str reply;
    size_t reply_sent;
};

struct pending_event {
    struct pending_event *next;
    struct h2_event event;
};

struct h2 {
    nghttp2_session *session;
    struct h2_budget *budget;
    struct stream *streams;
    struct pending_event *events;
    struct pending_event **events_tail;
    struct str output;
    size_t output_sent;
    int64_t now_ms;
    int64_t glitches_milli;
    bool flooded;
    bool ready;
    bool shutting_down;
    bool gone;
};

/* Trailers-only answer; the stream takes no more input. */
void h2_answer_error(struct h2 *h2, struct stream *stream, unsigned http, enum grpc_status status, const char *message);
