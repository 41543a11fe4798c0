/*
 * Events on pods: what "kubectl describe pod" shows while a pod waits for its inputs. They are sent by one thread, through a
 * bounded queue, at a bounded rate for the whole node (a burst of 25, then 5 a second); nobody who posts one waits, and
 * an API server that is away costs nothing but the events. What is still queued when a newer one of the same volume and
 * reason comes gives way to it; a failure is told at most once a minute. Each ends as sent, merged, failed or dropped in METRIC_EVENTS.
 */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "csi/event_text.h"
#include "csi/kube.h"
#include "csi/metrics.h"

struct events;

struct events_config {
    struct kube *kube; /* borrowed */
    struct event_source source;
    struct metrics *metrics; /* borrowed */
};

struct events *events_new(const struct events_config *config, struct err *err); /* ERR_UNAVAILABLE: no thread */
void events_free(struct events *events); /* what is queued is dropped; waits for one request at most three seconds */
DEFINE_CLEANUP(struct events *, events_free);

/* Copies the event. events NULL: nothing happens. */
void events_post(struct events *events, const struct event *event);
