/*
 * An RPC as the rest of csi/ sees it: bytes of one request message in, bytes of one reply message or an error out. The
 * server (csi/server.h) calls a handler on a thread of its own, so a handler is straight blocking code. It must return by
 * deadline_ms, and soon after cancel_fd becomes readable (the caller has gone: RST_STREAM, lost connection, drain).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct rpc_call {
    const char *method; /* "/csi.v1.Node/NodePublishVolume" */
    const uint8_t *request;
    size_t request_len;
    int64_t deadline_ms; /* clock_monotonic_ms() scale; CLOCK_NEVER when the caller gave none */
    int cancel_fd;       /* an eventfd: poll it, never read it; -1 when the call cannot be cancelled */
};

/* Appends the reply message to reply (empty on entry, serialised protobuf) and returns 0, or sets err and returns -1. */
typedef int (*rpc_handler)(void *service, const struct rpc_call *call, struct str *reply, struct err *err);

struct rpc_method {
    const char *name; /* full path, as in rpc_call.method */
    rpc_handler handler;
    void *service;
    bool quick; /* never blocks: served by threads kept for such methods, so that slow calls cannot starve it */
};
