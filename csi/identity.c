#include "csi/identity.h"

#include "base/arena.h"
#include "csi/message.h"
#include "csi/proto/csi.pb-c.h"

static int run_info(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                    struct err *err)
{
    const struct identity *identity = service;
    Csi__V1__GetPluginInfoResponse response = CSI__V1__GET_PLUGIN_INFO_RESPONSE__INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    (void)message, (void)call, (void)err;
    response.name = arena_strdup(arena, identity->driver_name);
    response.vendor_version = arena_strdup(arena, SC_VERSION);
    message_pack(&response.base, reply);
    return 0;
}

static int run_capabilities(void *service, const ProtobufCMessage *message, const struct rpc_call *call,
                            struct str *reply, struct err *err)
{
    Csi__V1__PluginCapability__Service controller = CSI__V1__PLUGIN_CAPABILITY__SERVICE__INIT;
    Csi__V1__PluginCapability capability = CSI__V1__PLUGIN_CAPABILITY__INIT;
    Csi__V1__PluginCapability *list[] = {&capability};
    Csi__V1__GetPluginCapabilitiesResponse response = CSI__V1__GET_PLUGIN_CAPABILITIES_RESPONSE__INIT;
    (void)service, (void)message, (void)call, (void)err;
    controller.type = CSI__V1__PLUGIN_CAPABILITY__SERVICE__TYPE__CONTROLLER_SERVICE;
    capability.type_case = CSI__V1__PLUGIN_CAPABILITY__TYPE_SERVICE;
    capability.service = &controller;
    response.n_capabilities = 1;
    response.capabilities = list;
    message_pack(&response.base, reply);
    return 0;
}

static int run_probe(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                     struct err *err)
{
    Google__Protobuf__BoolValue ready = GOOGLE__PROTOBUF__BOOL_VALUE__INIT;
    Csi__V1__ProbeResponse response = CSI__V1__PROBE_RESPONSE__INIT;
    (void)service, (void)message, (void)call, (void)err;
    ready.value = true;
    response.ready = &ready;
    message_pack(&response.base, reply);
    return 0;
}

#define METHOD(name) "/csi.v1.Identity/" name

const struct dispatch_method identity_methods[] = {
    {METHOD("GetPluginInfo"), &csi__v1__get_plugin_info_request__descriptor, run_info, true, true},
    {METHOD("GetPluginCapabilities"), &csi__v1__get_plugin_capabilities_request__descriptor, run_capabilities, true,
     true},
    {METHOD("Probe"), &csi__v1__probe_request__descriptor, run_probe, true, true},
};
const size_t identity_method_count = sizeof(identity_methods) / sizeof(identity_methods[0]);
