#include "csi/registration_service.h"

#include <string.h>

#include "base/arena.h"
#include "csi/message.h"
#include "csi/proto/pluginregistration.pb-c.h"

/* Of CSI. kubelet understands 1.x and wants one that it can compare. */
#define CSI_VERSION "1.0.0"
#define REASON_MAX 512

static int get_info(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    const struct registration_service *self = service;
    Pluginregistration__PluginInfo info = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    char *versions[] = {arena_strdup(arena, CSI_VERSION)};
    (void)call, (void)err;
    info.type = arena_strdup(arena, "CSIPlugin");
    info.name = arena_strdup(arena, self->driver_name);
    info.endpoint = arena_strdup(arena, self->endpoint);
    info.n_supported_versions = 1;
    info.supported_versions = versions;
    message_pack(&info.base, reply);
    self->on_asked(self->owner);
    return 0;
}

static int notify(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    const struct registration_service *self = service;
    Pluginregistration__RegistrationStatusResponse response = PLUGINREGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;
    _cleanup_(message_freep) ProtobufCMessage *message =
        message_unpack(&pluginregistration__registration_status__descriptor, call->request, call->request_len, err);
    if (!message)
        return -1;
    const Pluginregistration__RegistrationStatus *status = (const Pluginregistration__RegistrationStatus *)message;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    self->on_status(self->owner, status->plugin_registered, arena_printf(arena, "%.*s", REASON_MAX, status->error));
    message_pack(&response.base, reply);
    return 0;
}

void registration_service_methods(struct registration_service *service, struct rpc_method out[REGISTRATION_METHODS])
{
    out[0] = (struct rpc_method){"/pluginregistration.Registration/GetInfo", get_info, service, true};
    out[1] = (struct rpc_method){"/pluginregistration.Registration/NotifyRegistrationStatus", notify, service, true};
}
