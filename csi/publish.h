/*
 * NodePublishVolume: the one place that knows all the stages.
 *
 *     request -> class -> store -> fill -> view -> record -> layer -> bind
 *
 * Idempotent: what is mounted already is found in the mount table and answered at once, never mounted twice, never unmounted. A
 * final code leaves only after everything of this volume was undone; while a fill runs the answer is ERR_BUSY.
 */
#pragma once

#include "csi/node.h"
#include "csi/request.h"

int publish(struct node *node, const struct publish_request *request, const struct rpc_call *call, struct err *err);

/* How long a publish waits for its fill: until ten seconds before the call's deadline (two minutes when it has none, and at
 * most that), or half of it when less than twenty seconds are left. Pure. */
int64_t publish_hold_ms(int64_t now_ms, int64_t deadline_ms);
/* The call's deadline, at most two minutes away. Pure. */
int64_t publish_deadline_ms(int64_t now_ms, int64_t deadline_ms);
