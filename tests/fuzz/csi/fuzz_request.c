/*
 * Requests from raw bytes: the first one says which message follows. Whatever comes, a parsed publish holds only what the rest may
 * trust: a relative target without "..", an id that is one, inputs.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csi/controller.h"
#include "csi/message.h"
#include "csi/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct request_rules rules[] = {{"/var/lib/kubelet", true, 1780000000}, {"/k", false, 0}};

static void check_target(const char *target)
{
    assert(target[0] && target[0] != '/' && strlen(target) < 4096);
    assert(!strstr(target, "//") && !strstr(target, "/../") && strncmp(target, "../", 3) != 0);
    assert(strcmp(target, "..") != 0 && !strchr(target, '\n'));
}

static void try_publish(const ProtobufCMessage *message, const struct request_rules *rule, struct arena *arena)
{
    struct publish_request request;
    struct err err = ERR_INIT;
    if (request_publish((const Csi__V1__NodePublishVolumeRequest *)message, rule, arena, &request, &err) != 0) {
        assert(err.code != ERR_NONE);
        return;
    }
    check_target(request.target);
    assert(volume_id_check(request.volume_id, &err) == 0);
    assert(!request.attributes.inputs != !request.attributes.inputs_from);
    assert(!request.is_ephemeral || (request.attributes.parameter_count == 0 && !request.mount_flags[0]));
    assert(strlen(request.arguments) == 64 && strlen(request.content) == 64);
    publish_request_deinit(&request);
}

static void try_others(unsigned kind, const ProtobufCMessage *message, struct arena *arena)
{
    struct unpublish_request unpublish;
    struct stage_request stage;
    struct create_request create;
    struct err err = ERR_INIT;
    if (kind == 1 && request_unpublish((const Csi__V1__NodeUnpublishVolumeRequest *)message, &rules[0], arena,
                                       &unpublish, &err) == 0)
        check_target(unpublish.target);
    if (kind == 2)
        request_stage((const Csi__V1__NodeStageVolumeRequest *)message, arena, &stage, &err);
    if (kind == 3)
        request_unstage((const Csi__V1__NodeUnstageVolumeRequest *)message, &err);
    if (kind == 4 && create_request_parse((const Csi__V1__CreateVolumeRequest *)message, arena, &create, &err) == 0) {
        struct context_map context;
        assert(strlen(create.id) == CREATED_ID_LEN);
        create_request_alone(&create, arena, &context, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &csi__v1__node_publish_volume_request__descriptor, &csi__v1__node_unpublish_volume_request__descriptor,
        &csi__v1__node_stage_volume_request__descriptor, &csi__v1__node_unstage_volume_request__descriptor,
        &csi__v1__create_volume_request__descriptor};
    struct err err = ERR_INIT;
    if (size < 1)
        return 0;
    unsigned kind = data[0] % 5;
    ProtobufCMessage *message = message_unpack(types[kind], data + 1, size - 1, &err);
    struct arena *arena = arena_new();
    if (message && kind == 0)
        try_publish(message, &rules[data[0] / 5 % 2], arena);
    else if (message)
        try_others(kind, message, arena);
    arena_free(arena);
    message_free(message);
    return 0;
}
