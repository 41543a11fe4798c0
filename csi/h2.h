/*
 * The server's side of one HTTP/2 connection that carries unary gRPC calls. It does no I/O and reads no clock: bytes go in
 * (h2_receive), events come out (h2_next), answers go in (h2_reply, h2_fail), bytes come out (h2_output, h2_sent). nghttp2 does
 * the framing; what a request must look like and what a connection may cost is decided here.
 *
 * Limits: concurrent calls, header bytes and count, message size, all message bytes of a server's connections together (the
 * budget), and "glitches": frames that cost work and bring none (resets, empty frames, CONTINUATION, PING, SETTINGS..) come out
 * of a bucket that refills slowly and with each whole request; an empty bucket closes the connection.
 *
 * Errors: h2_receive fails when the connection is beyond repair; what h2_output then still has should be sent, and the
 * connection closed. Not for use by several threads at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "csi/grpc.h"

#define H2_MESSAGE_MAX (1024 * 1024)
#define H2_STREAMS_MAX 128
#define H2_GLITCHES_MAX 1000 /* in the bucket */
#define H2_GLITCHES_PER_S 33 /* refill */

struct h2;

/* Bytes of messages that may be held at a time by all connections that share it. */
struct h2_budget {
    size_t left;
};

enum h2_event_kind {
    H2_NONE,
    H2_REQUEST, /* a whole request; answer it with h2_reply or h2_fail */
    H2_CANCEL,  /* the caller of a request that was handed out does not want the answer any more; do not answer */
};

struct h2_event {
    enum h2_event_kind kind;
    int32_t stream;
    char *path;         /* H2_REQUEST: "/package.Service/Method"; the receiver frees it */
    int64_t timeout_ms; /* H2_REQUEST: grpc-timeout, -1 if there was none */
    uint8_t *message;   /* H2_REQUEST: never NULL; the receiver frees it with mem_wipe_free(message, len) */
    size_t len;
};

struct h2 *h2_new(struct h2_budget *budget, int64_t now_ms); /* budget is borrowed and outlives the connection */
void h2_free(struct h2 *h2);                                 /* NULL is fine; gives no events */
DEFINE_CLEANUP(struct h2 *, h2_free);

/* Bytes from the wire. -1: close the connection (ERR_CORRUPT: not HTTP/2 or broken; ERR_EXHAUSTED: a flood). */
int h2_receive(struct h2 *h2, const uint8_t *data, size_t len, int64_t now_ms, struct err *err);

/* Moves the oldest event to *out; kind H2_NONE when there is none. */
void h2_next(struct h2 *h2, struct h2_event *out);
void h2_event_deinit(struct h2_event *event);

/* The answer to a request that was handed out. Unknown streams (cancelled meanwhile) are ignored. */
void h2_reply(struct h2 *h2, int32_t stream, const void *message, size_t len);
void h2_fail(struct h2 *h2, int32_t stream, enum grpc_status status, const char *message);

/* Bytes for the wire: borrowed until the next call of any kind; 0 when there are none now. h2_sent takes them off. */
size_t h2_output(struct h2 *h2, const uint8_t **data);
void h2_sent(struct h2 *h2, size_t len);

/* Says goodbye in two steps, so that no request is lost on the way: calls that arrive before the client has heard are still
 * served. */
void h2_shutdown(struct h2 *h2);
/* Says goodbye at once: later requests are not served, those handed out still are. */
void h2_goaway(struct h2 *h2);

bool h2_is_ready(const struct h2 *h2);    /* the client's preface and SETTINGS were received */
bool h2_is_finished(const struct h2 *h2); /* nothing more will be read or written: close */
