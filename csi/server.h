/*
 * A gRPC server on a Unix socket. One thread does all I/O (epoll); each call runs its handler on a thread of its own, so
 * that handlers are blocking code; methods marked quick run on a few threads kept for them, so that slow calls never starve
 * Probe or GetPluginInfo. Several servers may live in one process.
 *
 * Bounds: calls at a time (RESOURCE_EXHAUSTED beyond), connections (the longest idle one makes room), message bytes, what one
 * connection may cost (csi/h2.h). Without descriptors accepting pauses and goes on. A client that does not read is dropped.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "csi/rpc.h"

struct server;

struct server_config {
    const char *endpoint;             /* as endpoint_parse (csi/listener.h) takes it */
    const struct rpc_method *methods; /* borrowed */
    size_t method_count;
    unsigned calls_max;       /* 0: 256 */
    unsigned connections_max; /* 0: 128 */
    int64_t idle_ms;          /* a connection without calls is closed after this long; 0: ten minutes */
};

/* Listens and serves from here on. Errors as listener_open, and ERR_UNAVAILABLE without threads or descriptors. */
struct server *server_new(const struct server_config *config, struct err *err);

/*
 * Drains: no new connections, clients are told to go (GOAWAY), running calls may finish until deadline_ms and are
 * cancelled then. 0: all of it ended. -1: handlers still run two seconds after the deadline; the server must then not be
 * freed, as they use it: leave the process. To be called once.
 */
int server_stop(struct server *server, int64_t deadline_ms);

void server_free(struct server *server); /* stops it first, at once, if it was not stopped; NULL is fine */
DEFINE_CLEANUP(struct server *, server_free);
