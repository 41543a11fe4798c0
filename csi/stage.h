/*
 * NodeStageVolume mounts the share of a volume's class on this node, and nothing else: it is given no pod, no namespace and
 * no token, and kubelet runs it for one volume at a time. The record comes before the mount.
 */
#pragma once

#include "csi/node.h"
#include "csi/request.h"

int stage(struct node *node, const struct stage_request *request, const struct rpc_call *call, struct err *err);
int unstage(struct node *node, const char *volume_id, const char *staging_path, const struct rpc_call *call,
            struct err *err);
