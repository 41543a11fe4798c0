/*
 * The endpoint for kubelet's probes and for Prometheus: HTTP/1.1 by libmicrohttpd, one thread, GET and HEAD of three paths.
 *
 *     /healthz  200 "ok" when the plugin answers Probe on its own gRPC socket within three seconds, else 500 with the cause
 *     /readyz   200 "ok" when it is ready for pods, else 503 with what is missing
 *     /metrics  csi/metrics.h, Prometheus text format 0.0.4
 *
 * None of them looks at a share, a source or the API server: what is away must not get a healthy plugin restarted. Anybody who
 * reaches the port may ask, so connections are bounded (128, 32 from one address; the oldest makes room) and end after five
 * seconds without a byte. The one file that sees libmicrohttpd is health.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "csi/metrics.h"

struct health;

struct health_config {
    const char *address;     /* as health_address_parse (csi/health_listen.h) takes it */
    const char *endpoint;    /* our own gRPC socket, as client_open takes it */
    struct metrics *metrics; /* borrowed */
    /* Called on the endpoint's thread: they must not block. Both may be NULL. */
    void (*refresh)(void *context);                    /* sets what is measured at each scrape */
    bool (*is_ready)(void *context, const char **why); /* false: *why is static text */
    void *context;
};

/* Listens and answers from here on. ERR_INVALID: the address; ERR_UNAVAILABLE and so on: it cannot be listened at. */
struct health *health_new(const struct health_config *config, struct err *err);
void health_free(struct health *health); /* NULL is fine */
DEFINE_CLEANUP(struct health *, health_free);

uint16_t health_port(const struct health *health); /* where it listens: for port 0 */
