/*
 * A PersistentVolumeClaim, as far as it says what a volume is. People write the inputs into its annotations, as CSI hands the
 * provisioner no more of a claim than its name:
 *
 *     csi.sharedcache.io/inputs         the text that a pod gives as attribute `inputs`
 *     csi.sharedcache.io/inputs-from    or: the URL of an object that holds this text
 *     csi.sharedcache.io/copy-policy    direct or copy, where the class lets a pod choose
 *     csi.sharedcache.io/aws-role-arn, google-service-account, azure-client-id, azure-tenant-id
 *                                       whom the pod is to be at a cloud (csi/roles.h)
 *
 * Those of a generic ephemeral volume come from metadata.annotations of its volumeClaimTemplate.
 */
#pragma once

#include <stdbool.h>

#include "csi/kube.h"
#include "csi/roles.h"

#define CLAIM_ANNOTATIONS "csi.sharedcache.io/"

struct claim_key {
    const char *namespace;
    const char *name;
};

struct claim {
    const char *uid;
    const char *storage_class;
    const char *inputs;                /* parsed without error; NULL when inputs_from is given */
    const char *inputs_from;           /* a URL */
    const char *copy_policy;           /* "direct" or "copy"; NULL: as the class says */
    const char *roles[IDENTITY_ROLES]; /* checked; NULL: not said */
};

/* Pure. ERR_PRECONDITION names the annotation, the line and the way out; ERR_CORRUPT: not a claim. */
int claim_parse(struct arena *arena, const json_t *object, struct claim *out, struct err *err);

/*
 * Reads it from the API. What the codes make of the external-provisioner: ERR_NOT_FOUND and ERR_PRECONDITION (also when we may
 * not read claims) are final, so it gives up a claim that is gone; ERR_UNAVAILABLE and ERR_DEADLINE are not. All are tried again
 * while the claim is there, and at once when it changes.
 */
int claim_read(struct kube *kube, const struct claim_key *key, int64_t deadline_ms, struct arena *arena,
               struct claim *out, struct err *err);

/* A mistake of the claim's author: ERR_INVALID becomes ERR_PRECONDITION. The request itself is right, and after INVALID_ARGUMENT the
 * external-provisioner (from version 6) lets five minutes pass before it looks at the claim again, mended or not. Returns -1. */
int claim_mistake(struct err *err);
