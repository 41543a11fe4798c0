/* Bytes of CSI requests; the first byte chooses the type. What unpacks, packs again and prints. */
#include <assert.h>
#include <stdlib.h>

#include "csi/message.h"
#include "csi/message_text.h"
#include "csi/proto/csi.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &csi__v1__node_publish_volume_request__descriptor,
    &csi__v1__node_unpublish_volume_request__descriptor,
    &csi__v1__node_stage_volume_request__descriptor,
    &csi__v1__node_get_volume_stats_response__descriptor,
    &csi__v1__create_volume_request__descriptor,
    &csi__v1__create_volume_response__descriptor,
    &csi__v1__validate_volume_capabilities_request__descriptor,
    &csi__v1__validate_volume_capabilities_response__descriptor,
    &csi__v1__get_plugin_capabilities_response__descriptor,
    &csi__v1__probe_response__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    ProtobufCMessage *message = message_unpack(type, data + 1, size - 1, &err);
    assert((message == NULL) == (err.code != ERR_NONE));
    if (!message)
        return 0;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    message_text(message, &text);
    message_pack(message, &bytes);
    message_free(message);
    message = message_unpack(type, (const uint8_t *)bytes.data, bytes.len, &err);
    assert(message);
    message_free(message);
    return 0;
}
