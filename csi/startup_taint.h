/*
 * The startup taint: a new node may be registered with a taint that keeps pods away until our driver can serve them. It is taken away once, after the node's CSINode object lists the driver, which kubelet writes
 * when registration succeeded; never before, as a pod that comes earlier finds no driver. A JSON patch tests that the taints are
 * those that were read, so a taint that somebody else sets or removes meanwhile is not lost or brought back.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "csi/kube.h"

struct startup_taint;

struct startup_taint_config {
    struct kube *kube;     /* this and the texts are borrowed */
    const char *key;       /* of the taint; any value and effect */
    const char *node_name; /* --node-id: not a Kubernetes name: nothing is done, and the log says so */
    const char *driver_name;
};

/* Starts a thread that ends when there is nothing left to do. Until the driver is listed it looks again after 0.2 s, twice that, up to ten seconds,
 * and after five minutes each minute. ERR_UNAVAILABLE: no thread. */
struct startup_taint *startup_taint_new(const struct startup_taint_config *config, struct err *err);
/* Takes as long as a request that is on its way, at most three seconds. NULL is fine. */
void startup_taint_free(struct startup_taint *taint);
DEFINE_CLEANUP(struct startup_taint *, startup_taint_free);

/* The JSON patch that takes the taint from a Node object; NULL when the node does not have it. Pure. */
json_t *startup_taint_patch(const json_t *node, const char *key);
/* Whether a CSINode object lists the driver. Pure. */
bool startup_taint_is_listed(const json_t *csinode, const char *driver_name);
