/*
 * The one table from our error codes to gRPC's. What kubelet makes of a code decides more than its name: CANCELLED,
 * DEADLINE_EXCEEDED, UNAVAILABLE, RESOURCE_EXHAUSTED and ABORTED mean "not final" (it will unpublish later), all others
 * mean "failed, nothing is left behind" (it may delete the directory and never call again).
 *
 * Two choices worth a word. ERR_UNSUPPORTED is FAILED_PRECONDITION, the code that CSI gives to a capability that the volume
 * cannot have: another kernel, server or version could. UNIMPLEMENTED is kept for RPCs that do not exist, as CSI says, and is
 * sent by the server itself; arguments that no version could serve are ERR_INVALID. ERR_CORRUPT is INTERNAL, not DATA_LOSS:
 * what was damaged is a copy, to be fetched again.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "csi/grpc.h"

enum grpc_status status_from_err(enum err_code code);

/* False for the codes after which kubelet still counts the volume as possibly there. */
bool status_is_final(enum grpc_status status);
