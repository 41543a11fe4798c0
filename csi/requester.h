/*
 * Who a publish asks as: what kubelet says of the pod, and the roles and clients that it is to be at a cloud. A volume's attribute goes before its
 * ServiceAccount's annotation; where neither says, the class does (cachecore/credentials.h).
 */
#pragma once

#include "csi/request.h"
#include "csi/service_account.h"

struct requester {
    struct identity_facts facts;
    const char *note; /* why annotations are not used; NULL: they are */
};

/*
 * Reads the ServiceAccount where tokens came and the attributes leave something open; accounts NULL: not in a cluster. Text is in arena or the
 * request's. ERR_UNAVAILABLE: the annotations are not known, and no attribute says who the pod is to be: without them it might be
 * refused for good.
 */
int requester_find(struct service_accounts *accounts, const struct publish_request *request, struct arena *arena,
                   struct requester *out, struct err *err);

/* Adds the note to a refusal, which it may be the cause of. */
void requester_explain(const struct requester *requester, struct err *err);
