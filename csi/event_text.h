/*
 * A Kubernetes event as it is sent (core/v1, https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/): one for each
 * volume and reason, made once and renewed after that, so that "kubectl describe pod" shows one line with the latest text and
 * a count, and a plugin that was restarted goes on with the same one. Pure.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

#define EVENT_NAME_MAX 253u
#define EVENT_MESSAGE_MAX 1024u

enum event_reason { EVENT_COPYING, EVENT_READY, EVENT_FAILED };

struct event {
    enum event_reason reason;
    const char *namespace, *pod, *uid; /* as kubelet sent them */
    const char *volume;                /* tells a pod's volumes apart */
    const char *message;               /* for people; no secret, no query */
};

struct event_source {
    const char *driver_name;
    const char *node_id;
};

/* False: what kubelet sent cannot be a pod's (it would stand in a path of the API); such an event is not sent. */
bool event_is_sound(const struct event *event);

/* "<pod>.<16 hex digits>": the same for the same pod, volume and reason. out takes EVENT_NAME_MAX + 1 bytes. */
void event_name(const struct event *event, char *out);

/* The object to POST; what to PATCH onto it (merge patch) when it is there. The caller's. Times in seconds since 1970. */
json_t *event_object(const struct event *event, const struct event_source *source, int64_t now_s);
json_t *event_renewal(const struct event *event, unsigned count, int64_t now_s);
