/* csi.v1.Node: each method parses, does, answers. What takes work is in publish, unpublish and stage. */
#include <string.h>

#include "base/clock.h"
#include "csi/message.h"
#include "csi/node.h"
#include "csi/publish.h"
#include "csi/stage.h"
#include "csi/target.h"
#include "csi/unpublish.h"

static struct request_rules rules_of(const struct node *node)
{
    return (struct request_rules){node->config->kubelet_dir, node->config->pod_info, clock_wall_s()};
}

static int run_publish(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                       struct err *err)
{
    struct node *node = service;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct request_rules rules = rules_of(node);
    struct publish_request request;
    (void)reply;
    if (request_publish((const Csi__V1__NodePublishVolumeRequest *)message, &rules, arena, &request, err) != 0)
        return -1;
    int failed = publish(node, &request, call, err);
    publish_request_deinit(&request);
    return failed;
}

static int run_unpublish(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                         struct err *err)
{
    struct node *node = service;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct request_rules rules = rules_of(node);
    struct unpublish_request request;
    (void)reply;
    if (request_unpublish((const Csi__V1__NodeUnpublishVolumeRequest *)message, &rules, arena, &request, err) != 0)
        return -1;
    return unpublish(node, &request, call, err);
}

static int run_stage(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                     struct err *err)
{
    struct node *node = service;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct stage_request request;
    (void)reply;
    if (request_stage((const Csi__V1__NodeStageVolumeRequest *)message, arena, &request, err) != 0)
        return -1;
    return stage(node, &request, call, err);
}

static int run_unstage(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                       struct err *err)
{
    struct node *node = service;
    const Csi__V1__NodeUnstageVolumeRequest *request = (const Csi__V1__NodeUnstageVolumeRequest *)message;
    (void)reply;
    if (request_unstage(request, err) != 0)
        return -1;
    return unstage(node, request->volume_id, request->staging_target_path, call, err);
}

/* A path that cannot be a target of ours is not found, rather than invalid: the caller asks about what is there. */
static int find_published(struct node *node, const Csi__V1__NodeGetVolumeStatsRequest *request, struct arena *arena,
                          struct record *out, struct err *err)
{
    struct request_rules rules = rules_of(node);
    Csi__V1__NodeUnpublishVolumeRequest probe = CSI__V1__NODE_UNPUBLISH_VOLUME_REQUEST__INIT;
    struct unpublish_request parsed;
    struct err ignored = ERR_INIT;
    if (!request->volume_id[0])
        return err_set(err, ERR_INVALID, "volume_id is required");
    if (!request->volume_path[0])
        return err_set(err, ERR_INVALID, "volume_path is required");
    probe.volume_id = request->volume_id;
    probe.target_path = request->volume_path;
    if (request_unpublish(&probe, &rules, arena, &parsed, &ignored) == 0) {
        const char *target = target_canonical(arena, node->config->kubelet_dir, parsed.target, &ignored);
        if (target && records_find(node->records, RECORD_PUBLISHED, parsed.volume_id, target, arena, out))
            return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "no volume of this id is published at volume_path");
}

/* From our own records: a look at the view would be safe, one at the share would not (row 16 of the table of faults). */
static int run_stats(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                     struct err *err)
{
    struct node *node = service;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct record record;
    (void)call;
    if (find_published(node, (const Csi__V1__NodeGetVolumeStatsRequest *)message, arena, &record, err) != 0)
        return -1;
    Csi__V1__VolumeUsage usages[2] = {CSI__V1__VOLUME_USAGE__INIT, CSI__V1__VOLUME_USAGE__INIT};
    Csi__V1__VolumeUsage *list[2] = {&usages[0], &usages[1]};
    Csi__V1__NodeGetVolumeStatsResponse response = CSI__V1__NODE_GET_VOLUME_STATS_RESPONSE__INIT;
    usages[0].unit = CSI__V1__VOLUME_USAGE__UNIT__BYTES;
    usages[0].total = usages[0].used = (int64_t)record.bytes;
    usages[1].unit = CSI__V1__VOLUME_USAGE__UNIT__INODES;
    usages[1].total = usages[1].used = (int64_t)record.files;
    response.n_usage = 2;
    response.usage = list;
    message_pack(&response.base, reply);
    return 0;
}

#define RPC_TYPE(name) CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__##name

static int run_capabilities(void *service, const ProtobufCMessage *message, const struct rpc_call *call,
                            struct str *reply, struct err *err)
{
    static const Csi__V1__NodeServiceCapability__RPC__Type types[] = {
        RPC_TYPE(STAGE_UNSTAGE_VOLUME), RPC_TYPE(GET_VOLUME_STATS), RPC_TYPE(SINGLE_NODE_MULTI_WRITER)};
    enum { COUNT = sizeof(types) / sizeof(types[0]) };
    Csi__V1__NodeServiceCapability__RPC rpcs[COUNT];
    Csi__V1__NodeServiceCapability capabilities[COUNT];
    Csi__V1__NodeServiceCapability *list[COUNT];
    Csi__V1__NodeGetCapabilitiesResponse response = CSI__V1__NODE_GET_CAPABILITIES_RESPONSE__INIT;
    (void)service, (void)message, (void)call, (void)err;
    for (size_t i = 0; i < COUNT; i++) {
        rpcs[i] = (Csi__V1__NodeServiceCapability__RPC)CSI__V1__NODE_SERVICE_CAPABILITY__RPC__INIT;
        rpcs[i].type = types[i];
        capabilities[i] = (Csi__V1__NodeServiceCapability)CSI__V1__NODE_SERVICE_CAPABILITY__INIT;
        capabilities[i].type_case = CSI__V1__NODE_SERVICE_CAPABILITY__TYPE_RPC;
        capabilities[i].rpc = &rpcs[i];
        list[i] = &capabilities[i];
    }
    response.n_capabilities = COUNT;
    response.capabilities = list;
    message_pack(&response.base, reply);
    return 0;
}

static int run_info(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                    struct err *err)
{
    struct node *node = service;
    Csi__V1__NodeGetInfoResponse response = CSI__V1__NODE_GET_INFO_RESPONSE__INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    (void)message, (void)call, (void)err;
    response.node_id = arena_strdup(arena, node->config->node_id);
    message_pack(&response.base, reply);
    return 0;
}

#define METHOD(name) "/csi.v1.Node/" name

const struct dispatch_method node_methods[] = {
    {METHOD("NodePublishVolume"), &csi__v1__node_publish_volume_request__descriptor, run_publish, false, false},
    {METHOD("NodeUnpublishVolume"), &csi__v1__node_unpublish_volume_request__descriptor, run_unpublish, false, false},
    {METHOD("NodeStageVolume"), &csi__v1__node_stage_volume_request__descriptor, run_stage, false, false},
    {METHOD("NodeUnstageVolume"), &csi__v1__node_unstage_volume_request__descriptor, run_unstage, false, false},
    {METHOD("NodeGetVolumeStats"), &csi__v1__node_get_volume_stats_request__descriptor, run_stats, false, true},
    {METHOD("NodeGetCapabilities"), &csi__v1__node_get_capabilities_request__descriptor, run_capabilities, true, true},
    {METHOD("NodeGetInfo"), &csi__v1__node_get_info_request__descriptor, run_info, true, true},
};
const size_t node_method_count = sizeof(node_methods) / sizeof(node_methods[0]);
