/*
 * Our CSIDriver object, watched over: kubelet adds the pod's name and namespace to a volume's attributes, over what the pod wrote
 * there itself, only if the object says podInfoOnMount. Without it a pod could claim any namespace, so volumes are refused then.
 * Looked at before the plugin serves and each minute after; where the API does not answer, the checks of each request have to do,
 * and what was known last counts on.
 */
#pragma once

#include "csi/kube.h"

struct driver_object;

/* Looks once, for at most two seconds, and starts a thread. kube and driver_name are borrowed. ERR_UNAVAILABLE: no thread. */
struct driver_object *driver_object_new(struct kube *kube, const char *driver_name, struct err *err);
/* Takes as long as a request that is on its way, at most three seconds. NULL is fine. */
void driver_object_free(struct driver_object *object);
DEFINE_CLEANUP(struct driver_object *, driver_object_free);

/* ERR_PRECONDITION: kubelet does not say for sure whose pod it is. NULL: not in a cluster, so 0. Thread-safe. */
int driver_object_allows(const struct driver_object *object, struct err *err);
