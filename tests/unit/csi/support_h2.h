/* A server's h2 and nghttp2's own client, joined back to back without I/O. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "base/str.h"
#include "csi/h2.h"

#define PEER_BUDGET ((size_t)4 * 1024 * 1024)
#define USUAL_COUNT 6

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

struct seen *seen_of(struct peer *peer, int32_t id);

/* peer_deinit asserts that the budget is whole again. */
void peer_init_with(struct peer *peer, const nghttp2_settings_entry *settings, size_t settings_count);
void peer_init(struct peer *peer);
void peer_deinit(struct peer *peer);

/* At most step bytes of what the server has for the client; false when there are none. */
bool to_client(struct peer *peer, size_t step);

/* Moves bytes both ways, step at a time, until there are none. -1: the server wants the connection closed. */
int pump(struct peer *peer, size_t step);

/* The header fields of a usual call: USUAL_COUNT of them. */
nghttp2_nv usual(size_t i);
void usual_all(nghttp2_nv *out);

/* What the next request sends: raw bytes, or one message with its prefix. */
void body_set(struct peer *peer, const void *data, size_t len);
void body_message(struct peer *peer, const char *message, size_t len);

/* Submits a request; gives its stream. */
int32_t request_with(struct peer *peer, const nghttp2_nv *fields, size_t count);
int32_t request(struct peer *peer);
void expect_event(struct peer *peer, enum h2_event_kind kind, int32_t stream, struct h2_event *event);
void expect_none(struct peer *peer);

/* Takes the request and sends it back. */
void serve(struct peer *peer, int32_t id);
