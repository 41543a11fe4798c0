/*
 * Requests: from what kubelet sent to a struct that the rest may trust. Pure: every rule about fields, sizes, paths and
 * attributes is here, as data where it can be; nothing is looked up. Missing fields are reported before bad ones. Everything
 * in a parsed request is in the arena, but for its secrets and tokens.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include "cachecore/class.h"
#include "cachecore/digest.h"
#include "csi/proto/csi.pb-c.h"
#include "csi/roles.h"
#include "csi/tokens.h"
#include "csi/volume_id.h"

#define REQUEST_ATTRIBUTES_MAX 4096u        /* bytes of keys and values, those of csi.storage.k8s.io/ apart */
#define REQUEST_ENTRIES_MAX 128u            /* of one map */
#define REQUEST_TOKENS_MAX TOKENS_BYTES_MAX /* bytes of one csi.storage.k8s.io/ value */
#define REQUEST_SECRETS_MAX 131072u         /* bytes of keys and values */
#define REQUEST_FLAGS_MAX 4096u             /* bytes of mount flags */

struct request_rules {
    const char *kubelet_dir; /* targets lie beneath; without a '/' at its end */
    bool pod_info;           /* insist on the pod info keys */
    int64_t now_s;           /* wall clock: tokens that have expired are refused; 0: they are not looked at so */
};

struct request_pair {
    const char *key;
    const char *value;
};

/* What a volume is, by its volume context: the same for each publish of it, and what a controller makes. */
struct volume_attributes {
    const char *storage_class; /* NULL: the default class */
    const char *inputs;        /* NULL when inputs_from is given */
    const char *inputs_from;
    const char *copy_policy;           /* a pod's own wish; NULL: as the class says. Claims have it among parameters */
    const char *roles[IDENTITY_ROLES]; /* whom the pod is to be at a cloud: checked; NULL: not said */
    struct request_pair *parameters;   /* class parameters; claims only */
    size_t parameter_count;
    bool is_provisioned; /* made by a provisioner from the claim's class, whose mount options it gave the volume */
};

struct publish_request {
    const char *volume_id;
    const char *target;        /* below kubelet_dir: relative, without ".", ".." or empty components */
    bool is_ephemeral;         /* an inline volume of a pod */
    bool is_exclusive;         /* the access mode allows one target on a node only */
    const char *pod_namespace; /* "" when pod info is not insisted on and was not sent */
    const char *pod_name;
    const char *pod_uid;
    const char *service_account; /* "" when it was not sent */
    struct volume_attributes attributes;
    const char *mount_flags;    /* comma-separated, of a claim's class; "" */
    char arguments[SHA256_HEX]; /* all that makes a repeated publish "the same": not secrets, not tokens */
    char content[SHA256_HEX];   /* all that decides what the volume holds */
    struct secret_map secrets;  /* the author's own */
    struct secret_map tokens;   /* of the pod's service account, by audience (csi/tokens.h) */
};

int request_publish(const Csi__V1__NodePublishVolumeRequest *message, const struct request_rules *rules,
                    struct arena *arena, struct publish_request *out, struct err *err);
void publish_request_deinit(struct publish_request *request);

struct unpublish_request {
    const char *volume_id;
    const char *target; /* as in publish_request */
};

int request_unpublish(const Csi__V1__NodeUnpublishVolumeRequest *message, const struct request_rules *rules,
                      struct arena *arena, struct unpublish_request *out, struct err *err);

struct stage_request {
    const char *volume_id;
    const char *staging_path; /* as given: nothing is made there */
    struct volume_attributes attributes;
    const char *mount_flags;
    char arguments[SHA256_HEX];
};

int request_stage(const Csi__V1__NodeStageVolumeRequest *message, struct arena *arena, struct stage_request *out,
                  struct err *err);
int request_unstage(const Csi__V1__NodeUnstageVolumeRequest *message, struct err *err);

/* The capability's mount flags, comma-separated; "" for none. */
int request_mount_flags(struct arena *arena, const Csi__V1__VolumeCapability *capability, const char **out,
                        struct err *err);

/* Only "mount" volumes, a known access mode. *is_exclusive may be NULL. */
int request_capability_check(const Csi__V1__VolumeCapability *capability, bool *is_exclusive, struct err *err);
