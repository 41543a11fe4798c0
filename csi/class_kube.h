/*
 * Classes from the Kubernetes API: a back end of csi/class_source.h. What the API said counts for ten seconds; then it is asked
 * again, by one request for all who want the class. While there is no answer (no server, 5xx, no permission) what it said last
 * counts on, for as long as it takes, and a warning a minute says so: a dead API server costs a publish at most a second, and the
 * next ones nothing. A 404 is an answer: the class is gone.
 */
#pragma once

#include "csi/class_source.h"
#include "csi/kube.h"

#define CLASS_KUBE_FRESH_MS 10000  /* an answer counts for so long */
#define CLASS_KUBE_PAUSE_MS 5000   /* after a request without an answer nobody waits for another one for so long */
#define CLASS_KUBE_REFRESH_MS 1000 /* limit of a request when an older answer is at hand */
#define CLASS_KUBE_FIRST_MS 5000   /* and when none is */
#define CLASS_KUBE_CLASSES_MAX 64u /* remembered; beyond, the one that was unused for longest is forgotten */

/* kube is borrowed. Errors of class_get: ERR_NOT_FOUND 404; ERR_INVALID a class that is not ours or cannot be parsed; ERR_PRECONDITION 403,
 * with the rule that the plugin's ClusterRole lacks; ERR_UNAVAILABLE for all else, where no older answer is at hand. */
struct class_source *class_source_kube(struct kube *kube, const char *driver_name, const char *default_class);
