/*
 * A small blocking gRPC client for one Unix socket: unary calls, one at a time. For the command-line tool and for tests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "csi/grpc.h"

#define CLIENT_REPLY_MAX (4 * 1024 * 1024)

struct client;

struct client_result {
    enum grpc_status status;
    char message[GRPC_MESSAGE_MAX + 1]; /* the server's, if status is not GRPC_OK */
};

/* endpoint: as endpoint_parse (csi/listener.h) takes it. ERR_UNAVAILABLE: nobody listens there; ERR_DEADLINE: somebody does,
 * but has accepted nothing for so long that the queue is full. */
struct client *client_open(const char *endpoint, int64_t deadline_ms, struct err *err);
void client_close(struct client *client); /* NULL is fine */
DEFINE_CLEANUP(struct client *, client_close);

/*
 * Calls method ("/package.Service/Method") and waits for the answer: 0, *result is set, and reply holds the message when
 * the status is GRPC_OK. -1: there was no answer (ERR_DEADLINE, ERR_UNAVAILABLE, ERR_CORRUPT); the client can only be closed then.
 * deadline_ms is on the scale of clock_monotonic_ms() and is told to the server, whose answer is waited for a second longer,
 * as it says more than silence; CLOCK_NEVER waits for good.
 */
int client_call(struct client *client, const char *method, const struct str *request, int64_t deadline_ms,
                struct str *reply, struct client_result *result, struct err *err);
