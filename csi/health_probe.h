/*
 * Is the plugin alive? Asked through its own gRPC socket (csi.v1.Identity/Probe), by a thread of its own, so that a server that
 * accepts nothing or answers nothing shows, and nobody else waits. One question at a time however many ask, and its answer
 * counts for a second.
 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"

struct health_probe;

/* answered(context) is called from the probe's thread after each answer, without a lock held. */
struct health_probe *health_probe_new(const char *endpoint, void (*answered)(void *context), void *context,
                                      struct err *err);
void health_probe_free(struct health_probe *probe); /* waits for a question under way: at most three seconds */
DEFINE_CLEANUP(struct health_probe *, health_probe_free);

/* True: *cause is ERR_NONE for a healthy plugin, else why it is not. False: it is being asked, answered will be called. */
bool health_probe_get(struct health_probe *probe, struct err *cause);
