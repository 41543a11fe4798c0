/*
 * From an RPC's bytes to a service's function and back, the same way for each: unpack, run, pack, and one log line. A line
 * never holds a volume context, a secret, mount flags or a query: method, volume id, code, time, and on an error its message.
 * What fails again and again is logged once a minute for each volume and method, with a count (row 110 of the table of faults).
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "csi/metrics.h"
#include "csi/rpc.h"

/* service is the dispatch_service's own. Appends the packed reply message to reply; appending nothing is an empty reply. */
typedef int (*dispatch_run)(void *service, const ProtobufCMessage *request, const struct rpc_call *call,
                            struct str *reply, struct err *err);

struct dispatch_method {
    const char *name; /* "/csi.v1.Node/NodePublishVolume" */
    const ProtobufCMessageDescriptor *request;
    dispatch_run run; /* appends the packed reply */
    bool quick;       /* never blocks */
    bool is_routine;  /* logged at debug level while it succeeds */
};

/* One service that a process serves: its methods, and what they are called with. */
struct dispatch_service {
    const struct dispatch_method *methods; /* borrowed */
    size_t count;
    void *service; /* borrowed */
};

/* The methods of all services as the server wants them. driver_name and metrics (NULL: nothing is counted) are borrowed. */
struct dispatch;
struct dispatch *dispatch_new(const struct dispatch_service *services, size_t count, const char *driver_name,
                              struct metrics *metrics);
void dispatch_free(struct dispatch *dispatch);
DEFINE_CLEANUP(struct dispatch *, dispatch_free);
const struct rpc_method *dispatch_methods(const struct dispatch *dispatch, size_t *count);
