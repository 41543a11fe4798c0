/*
 * What the node's services share, made once (csi/node_main.c) and passed to each of them. Open, and constant while the server runs:
 * what changes is inside the machines, each with its own lock.
 */
#pragma once

#include "csi/class_source.h"
#include "csi/config.h"
#include "csi/dispatch.h"
#include "csi/driver_object.h"
#include "csi/events.h"
#include "csi/fills.h"
#include "csi/guard.h"
#include "csi/metrics.h"
#include "csi/records.h"
#include "csi/service_account.h"
#include "csi/shares.h"
#include "mount/mounts.h"

struct node {
    const struct config *config;
    struct kube *kube;                   /* NULL without Kubernetes */
    struct driver_object *driver_object; /* NULL without Kubernetes, and with --no-pod-info */
    struct class_source *classes;
    struct service_accounts *service_accounts; /* NULL without Kubernetes */
    struct fills *fills;
    struct mounts *mounts;
    struct records *records;
    struct guards *guards;
    struct shares *shares;
    struct metrics *metrics; /* NULL: nothing is counted */
    struct events *events;   /* NULL without Kubernetes */
    int state_fd;
    int layers_fd;
    const char *selinux_context; /* NULL where SELinux is off */
};

/* csi.v1.Node; called with a struct node. */
extern const struct dispatch_method node_methods[];
extern const size_t node_method_count;
