#include "csi/controller.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "csi/message.h"
#include "csi/state_file.h"

#define FILE_MAX (CREATED_ID_LEN + 8)

/* False for what is no id of ours: then there is no such volume. */
static bool file_of(const char *volume_id, char out[FILE_MAX])
{
    uint8_t digest[SHA256_LEN];
    if (!str_starts_with(volume_id, "sc-") || str_unhex(volume_id + 3, digest, SHA256_LEN) != 0)
        return false;
    snprintf(out, FILE_MAX, "%.64s.json", volume_id + 3);
    return true;
}

static json_t *created_to_json(const struct create_request *request)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(request->name));
    json_object_set_new(object, "digest", json_string(request->digest));
    return object;
}

/* A record that cannot be read or written (damaged, a full disk) is no reason to fail: all of it follows from the request. */
static int remember(const struct controller *controller, const struct create_request *request, struct arena *arena,
                    struct err *err)
{
    char file[FILE_MAX];
    const char *digest = NULL;
    struct err cause = ERR_INIT;
    file_of(request->id, file);
    json_t *found = state_file_read(controller->records_fd, file, &cause);
    bool is_known = found && state_get_text(found, "digest", SHA256_HEX, arena, &digest, &cause) == 0;
    json_decref(found);
    if (is_known && strcmp(digest, request->digest) == 0)
        return 0;
    if (is_known)
        return err_set(err, ERR_EXISTS,
                       "a volume of this name exists with other parameters or capabilities: "
                       "delete the claim and make it anew");
    json_t *object = created_to_json(request);
    if (state_file_write(controller->records_fd, file, object, &cause) != 0)
        log_event(LOG_WARNING, "volume_not_recorded", "volume", request->id, "error", cause.message, NULL);
    json_decref(object);
    return 0;
}

/* What the claim says now: a claim that was mended after an error is read anew. */
static int claim_context(const struct controller *controller, const struct create_request *request,
                         const struct rpc_call *call, struct arena *arena, struct context_map *out, struct err *err)
{
    struct claim claim;
    if (!request->claim.namespace || !request->claim.name)
        return err_set(err, ERR_PRECONDITION,
                       "parameters say no claim: start the external-provisioner with --extra-create-metadata");
    if (claim_read(controller->kube, &request->claim, call->deadline_ms, arena, &claim, err) != 0 ||
        create_request_owner(request, &claim, err) != 0 || create_request_claim(request, &claim, arena, out, err) != 0)
        return err_prefix(err, "claim '%.64s/%.253s'", request->claim.namespace, request->claim.name);
    return 0;
}

static void answer_created(const struct create_request *request, const struct context_map *context, struct arena *arena,
                           struct str *reply)
{
    size_t count = context->count;
    Csi__V1__Volume__VolumeContextEntry *entries = arena_calloc(arena, count + 1, sizeof(*entries));
    Csi__V1__Volume__VolumeContextEntry **list = arena_calloc(arena, count + 1, sizeof(*list));
    Csi__V1__Volume volume = CSI__V1__VOLUME__INIT;
    Csi__V1__CreateVolumeResponse response = CSI__V1__CREATE_VOLUME_RESPONSE__INIT;
    for (size_t i = 0; i < count; i++) {
        entries[i] = (Csi__V1__Volume__VolumeContextEntry)CSI__V1__VOLUME__VOLUME_CONTEXT_ENTRY__INIT;
        entries[i].key = arena_strdup(arena, context->pairs[i].key);
        entries[i].value = arena_strdup(arena, context->pairs[i].value);
        list[i] = &entries[i];
    }
    volume.volume_id = arena_strdup(arena, request->id);
    volume.n_volume_context = count;
    volume.volume_context = list;
    response.volume = &volume;
    message_pack(&response.base, reply);
}

static int run_create(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                      struct err *err)
{
    const struct controller *controller = service;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct create_request request;
    struct context_map context;
    struct guard_wait wait = {.deadline_ms = call->deadline_ms, .cancel_fd = call->cancel_fd};
    if (create_request_parse((const Csi__V1__CreateVolumeRequest *)message, arena, &request, err) != 0)
        return -1;
    if (controller->kube ? claim_context(controller, &request, call, arena, &context, err) != 0
                         : create_request_alone(&request, arena, &context, err) != 0)
        return -1;
    _cleanup_(guard_releasep) struct guard *guard = guard_take(controller->guards, request.id, &wait, err);
    if (!guard || remember(controller, &request, arena, err) != 0)
        return -1;
    answer_created(&request, &context, arena, reply);
    return 0;
}

static int run_delete(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                      struct err *err)
{
    const struct controller *controller = service;
    const Csi__V1__DeleteVolumeRequest *request = (const Csi__V1__DeleteVolumeRequest *)message;
    char file[FILE_MAX];
    (void)call, (void)reply;
    if (!request->volume_id[0])
        return err_set(err, ERR_INVALID, "volume_id is required");
    return file_of(request->volume_id, file) ? state_file_remove(controller->records_fd, file, err) : 0;
}

static int check_exists(const struct controller *controller, const char *volume_id, struct err *err)
{
    char file[FILE_MAX];
    struct err cause = ERR_INIT;
    json_t *found = file_of(volume_id, file) ? state_file_read(controller->records_fd, file, &cause) : NULL;
    if (!found)
        return err_set(err, ERR_NOT_FOUND, "no volume of this id exists");
    json_decref(found);
    return 0;
}

/* The answer repeats what was confirmed: borrowed from the request, whose entry types differ in name only. */
static void confirm(const Csi__V1__ValidateVolumeCapabilitiesRequest *request, struct arena *arena, struct str *reply)
{
    Csi__V1__ValidateVolumeCapabilitiesResponse__Confirmed confirmed =
        CSI__V1__VALIDATE_VOLUME_CAPABILITIES_RESPONSE__CONFIRMED__INIT;
    Csi__V1__ValidateVolumeCapabilitiesResponse response = CSI__V1__VALIDATE_VOLUME_CAPABILITIES_RESPONSE__INIT;
    size_t count = request->n_volume_context;
    Csi__V1__ValidateVolumeCapabilitiesResponse__Confirmed__VolumeContextEntry *entries =
        arena_calloc(arena, count + 1, sizeof(*entries));
    Csi__V1__ValidateVolumeCapabilitiesResponse__Confirmed__VolumeContextEntry **list =
        arena_calloc(arena, count + 1, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        csi__v1__validate_volume_capabilities_response__confirmed__volume_context_entry__init(&entries[i]);
        entries[i].key = request->volume_context[i]->key;
        entries[i].value = request->volume_context[i]->value;
        list[i] = &entries[i];
    }
    confirmed.n_volume_context = count;
    confirmed.volume_context = list;
    confirmed.n_volume_capabilities = request->n_volume_capabilities;
    confirmed.volume_capabilities = request->volume_capabilities;
    response.confirmed = &confirmed;
    message_pack(&response.base, reply);
}

static void refuse(const char *why, struct arena *arena, struct str *reply)
{
    Csi__V1__ValidateVolumeCapabilitiesResponse response = CSI__V1__VALIDATE_VOLUME_CAPABILITIES_RESPONSE__INIT;
    response.message = arena_strdup(arena, why);
    message_pack(&response.base, reply);
}

static int run_validate(void *service, const ProtobufCMessage *message, const struct rpc_call *call, struct str *reply,
                        struct err *err)
{
    const struct controller *controller = service;
    const Csi__V1__ValidateVolumeCapabilitiesRequest *request =
        (const Csi__V1__ValidateVolumeCapabilitiesRequest *)message;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err cause = ERR_INIT;
    (void)call;
    if (!request->volume_id[0])
        return err_set(err, ERR_INVALID, "volume_id is required");
    if (request->n_volume_capabilities == 0)
        return err_set(err, ERR_INVALID, "volume_capabilities is required");
    if (check_exists(controller, request->volume_id, err) != 0)
        return -1;
    for (size_t i = 0; i < request->n_volume_capabilities; i++)
        if (request_capability_check(request->volume_capabilities[i], NULL, &cause) != 0) {
            refuse(cause.message, arena, reply);
            return 0;
        }
    confirm(request, arena, reply);
    return 0;
}

#define RPC_TYPE(name) CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__TYPE__##name

static int run_capabilities(void *service, const ProtobufCMessage *message, const struct rpc_call *call,
                            struct str *reply, struct err *err)
{
    static const Csi__V1__ControllerServiceCapability__RPC__Type types[] = {RPC_TYPE(CREATE_DELETE_VOLUME),
                                                                            RPC_TYPE(SINGLE_NODE_MULTI_WRITER)};
    enum { COUNT = sizeof(types) / sizeof(types[0]) };
    Csi__V1__ControllerServiceCapability__RPC rpcs[COUNT];
    Csi__V1__ControllerServiceCapability capabilities[COUNT];
    Csi__V1__ControllerServiceCapability *list[COUNT];
    Csi__V1__ControllerGetCapabilitiesResponse response = CSI__V1__CONTROLLER_GET_CAPABILITIES_RESPONSE__INIT;
    (void)service, (void)message, (void)call, (void)err;
    for (size_t i = 0; i < COUNT; i++) {
        rpcs[i] = (Csi__V1__ControllerServiceCapability__RPC)CSI__V1__CONTROLLER_SERVICE_CAPABILITY__RPC__INIT;
        rpcs[i].type = types[i];
        capabilities[i] = (Csi__V1__ControllerServiceCapability)CSI__V1__CONTROLLER_SERVICE_CAPABILITY__INIT;
        capabilities[i].type_case = CSI__V1__CONTROLLER_SERVICE_CAPABILITY__TYPE_RPC;
        capabilities[i].rpc = &rpcs[i];
        list[i] = &capabilities[i];
    }
    response.n_capabilities = COUNT;
    response.capabilities = list;
    message_pack(&response.base, reply);
    return 0;
}

#define METHOD(name) "/csi.v1.Controller/" name

const struct dispatch_method controller_methods[] = {
    {METHOD("CreateVolume"), &csi__v1__create_volume_request__descriptor, run_create, false, false},
    {METHOD("DeleteVolume"), &csi__v1__delete_volume_request__descriptor, run_delete, false, false},
    {METHOD("ValidateVolumeCapabilities"), &csi__v1__validate_volume_capabilities_request__descriptor, run_validate,
     false, true},
    {METHOD("ControllerGetCapabilities"), &csi__v1__controller_get_capabilities_request__descriptor, run_capabilities,
     true, true},
};
const size_t controller_method_count = sizeof(controller_methods) / sizeof(controller_methods[0]);
