/*
 * NodeUnpublishVolume: from the mount table alone. Nothing at the target is looked at before it is unmounted, the share is never
 * touched, and what is not there is fine. A publish of the same target that is under way is asked to stop first.
 */
#pragma once

#include "csi/node.h"
#include "csi/request.h"

int unpublish(struct node *node, const struct unpublish_request *request, const struct rpc_call *call, struct err *err);
