/* Publish requests made of samples: rows of tables. */
#pragma once

#include <cmocka.h>

#include "csi/request.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define INLINE_ID "csi-" HEX
#define POD "csi.storage.k8s.io/"
#define INPUTS "https://data.example.com/a.bin"
#define ROLE_ARN "arn:aws:iam::123456789012:role/reader"
#define PAIRS_MAX 12
#define TOKENS POD "serviceAccount.tokens"

#define TEXT(text) ((char *)(uintptr_t)(text))
#define MODE(name) CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name

struct sample {
    const char *volume_id;
    const char *target;
    const char *staging;
    int mode; /* -1: no capability; -2: no access type; -3: block; -4: no access mode */
    bool readonly;
    const char *flag;
    const char *context[2 * PAIRS_MAX]; /* key, value, ...; NULL */
    const char *secrets[2 * PAIRS_MAX];
};

/* A request made of a sample; all of it in the arena. */
static inline Csi__V1__NodePublishVolumeRequest *make(struct arena *arena, const struct sample *sample)
{
    Csi__V1__NodePublishVolumeRequest *request = arena_alloc(arena, sizeof(*request));
    Csi__V1__VolumeCapability *capability = arena_alloc(arena, sizeof(*capability));
    Csi__V1__VolumeCapability__AccessMode *mode = arena_alloc(arena, sizeof(*mode));
    csi__v1__node_publish_volume_request__init(request);
    csi__v1__volume_capability__init(capability);
    csi__v1__volume_capability__access_mode__init(mode);
    request->volume_id = TEXT(sample->volume_id);
    request->target_path = TEXT(sample->target);
    request->staging_target_path = TEXT(sample->staging ? sample->staging : "");
    request->readonly = sample->readonly;
    mode->mode = (Csi__V1__VolumeCapability__AccessMode__Mode)(sample->mode < 0 ? 1 : sample->mode);
    capability->access_mode = sample->mode == -4 ? NULL : mode;
    if (sample->mode == -3) {
        capability->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK;
        capability->block = arena_alloc(arena, sizeof(*capability->block));
        csi__v1__volume_capability__block_volume__init(capability->block);
    } else if (sample->mode != -2) {
        capability->access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
        capability->mount = arena_alloc(arena, sizeof(*capability->mount));
        csi__v1__volume_capability__mount_volume__init(capability->mount);
        capability->mount->n_mount_flags = sample->flag ? 1 : 0;
        capability->mount->mount_flags = arena_alloc(arena, sizeof(char *));
        capability->mount->mount_flags[0] = TEXT(sample->flag);
    }
    request->volume_capability = sample->mode == -1 ? NULL : capability;
    request->volume_context = arena_calloc(arena, PAIRS_MAX, sizeof(void *));
    for (size_t i = 0; sample->context[2 * i]; i++) {
        Csi__V1__NodePublishVolumeRequest__VolumeContextEntry *entry = arena_alloc(arena, sizeof(*entry));
        csi__v1__node_publish_volume_request__volume_context_entry__init(entry);
        entry->key = TEXT(sample->context[2 * i]);
        entry->value = TEXT(sample->context[2 * i + 1]);
        request->volume_context[request->n_volume_context++] = entry;
    }
    request->secrets = arena_calloc(arena, PAIRS_MAX, sizeof(void *));
    for (size_t i = 0; sample->secrets[2 * i]; i++) {
        Csi__V1__NodePublishVolumeRequest__SecretsEntry *entry = arena_alloc(arena, sizeof(*entry));
        csi__v1__node_publish_volume_request__secrets_entry__init(entry);
        entry->key = TEXT(sample->secrets[2 * i]);
        entry->value = TEXT(sample->secrets[2 * i + 1]);
        request->secrets[request->n_secrets++] = entry;
    }
    return request;
}

#define TARGET "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/x/mount"
#define POD_INFO POD "pod.namespace", "ml", POD "pod.name", "p", POD "pod.uid", "u", POD "ephemeral", "true"
#define CLAIM_INFO POD "pod.namespace", "ml", POD "pod.name", "p", POD "pod.uid", "u", POD "ephemeral", "false"

static inline int parse(struct arena *arena, const struct sample *sample, const struct request_rules *rules,
                        struct publish_request *out)
{
    struct err err = ERR_INIT;
    int failed = request_publish(make(arena, sample), rules, arena, out, &err);
    if (failed)
        print_message("%s\n", err.message);
    return failed;
}
