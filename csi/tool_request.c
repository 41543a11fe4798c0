#include "csi/tool_request.h"

#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "csi/message.h"
#include "csi/proto/csi.pb-c.h"

#define SECRETS_MAX (256 * 1024)

static void append_varint(struct str *out, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        str_append_char(out, (char)(value | 0x80));
    str_append_char(out, (char)value);
}

static void append_bytes(struct str *out, uint32_t field, const void *data, size_t len)
{
    append_varint(out, (uint64_t)field << 3 | 2);
    append_varint(out, len);
    str_append(out, data, len);
}

static void wipe(struct str *text)
{
    mem_wipe_free(text->data, text->len);
    *text = (struct str)STR_INIT;
}

static const ProtobufCFieldDescriptor *field_find(const struct tool_request *request, const char *name, struct err *err)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(request->type, name);
    if (!field)
        err_set(err, ERR_INVALID, "%s has no field '%s'", request->type->short_name, name);
    return field;
}

int tool_request_text(struct tool_request *request, const char *field, const char *value, struct err *err)
{
    const ProtobufCFieldDescriptor *found = field_find(request, field, err);
    if (!found)
        return -1;
    append_bytes(&request->bytes, found->id, value, strlen(value));
    return 0;
}

int tool_request_bool(struct tool_request *request, const char *field, struct err *err)
{
    const ProtobufCFieldDescriptor *found = field_find(request, field, err);
    if (!found)
        return -1;
    append_varint(&request->bytes, (uint64_t)found->id << 3);
    append_varint(&request->bytes, 1);
    return 0;
}

int tool_request_pair(struct tool_request *request, const char *field, const char *key, const char *value,
                      struct err *err)
{
    const ProtobufCFieldDescriptor *found = field_find(request, field, err);
    if (!found)
        return -1;
    struct str entry = STR_INIT;
    str_reserve(&entry, strlen(key) + strlen(value) + 32);
    append_bytes(&entry, 1, key, strlen(key));
    append_bytes(&entry, 2, value, strlen(value));
    append_bytes(&request->bytes, found->id, entry.data, entry.len);
    wipe(&entry);
    return 0;
}

/* Ends key at the '=' of a copy of pair; the value starts behind it. The caller wipes. */
static char *split(char *pair, struct err *err)
{
    char *equals = strchr(pair, '=');
    if (!equals || equals == pair) {
        err_set(err, ERR_INVALID, "key=value is wanted");
        return NULL;
    }
    *equals = '\0';
    return equals + 1;
}

int tool_request_attribute(struct tool_request *request, const char *pair, struct err *err)
{
    bool creates = protobuf_c_message_descriptor_get_field_by_name(request->type, "volume_context") == NULL;
    _cleanup_(freep) char *key = mem_strdup(pair);
    char *value = split(key, err);
    return value ? tool_request_pair(request, creates ? "parameters" : "volume_context", key, value, err) : -1;
}

static int add_secret(struct tool_request *request, const char *key, struct str *value, struct err *err)
{
    if (value->len > 0 && value->data[value->len - 1] == '\n')
        value->data[--value->len] = '\0';
    return tool_request_pair(request, "secrets", key, value->data ? value->data : "", err);
}

int tool_request_secret(struct tool_request *request, const char *pair, struct err *err)
{
    _cleanup_(freep) char *key = mem_strdup(pair);
    char *path = split(key, err);
    if (!path)
        return -1;
    if (path[0] != '@')
        return err_set(err, ERR_INVALID, "%s: name a file as %s=@FILE; a value here shows in the process list", key,
                       key);
    struct str value = STR_INIT;
    _cleanup_(closep) int fd = open(path + 1, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 ? err_set(err, ERR_INVALID, "%s: cannot open '%s'", key, path + 1)
                        : fs_read_fd(fd, SECRETS_MAX, &value, err);
    if (!failed)
        failed = add_secret(request, key, &value, err);
    wipe(&value);
    return failed;
}

static int add_secret_line(struct tool_request *request, char *line, struct err *err)
{
    if (line[0] == '\0' || line[0] == '#')
        return 0;
    char *value = split(line, err);
    return value ? tool_request_pair(request, "secrets", line, value, err) : -1;
}

int tool_request_secrets_file(struct tool_request *request, const char *path, struct err *err)
{
    struct str text = STR_INIT;
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 ? err_set(err, ERR_INVALID, "cannot open '%s'", path) : fs_read_fd(fd, SECRETS_MAX, &text, err);
    char *next = text.data;
    for (char *line = strsep(&next, "\n"); line && !failed; line = strsep(&next, "\n"))
        failed = add_secret_line(request, line, err);
    wipe(&text);
    return failed;
}

int tool_request_capability(struct tool_request *request, const char *access_mode, struct err *err)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(request->type, "volume_capability");
    if (!field)
        field = protobuf_c_message_descriptor_get_field_by_name(request->type, "volume_capabilities");
    if (!field && access_mode)
        return err_set(err, ERR_INVALID, "%s has no access mode", request->type->short_name);
    if (!field)
        return 0;
    const ProtobufCEnumValue *mode = protobuf_c_enum_descriptor_get_value_by_name(
        &csi__v1__volume_capability__access_mode__mode__descriptor, access_mode ? access_mode : "SINGLE_NODE_WRITER");
    if (!mode)
        return err_set(err, ERR_INVALID, "--access-mode %s: is none of CSI's", access_mode);
    _cleanup_(str_deinitp) struct str bytes = STR_INIT;
    Csi__V1__VolumeCapability capability;
    Csi__V1__VolumeCapability__MountVolume mount;
    Csi__V1__VolumeCapability__AccessMode access;
    csi__v1__volume_capability__init(&capability);
    csi__v1__volume_capability__mount_volume__init(&mount);
    csi__v1__volume_capability__access_mode__init(&access);
    access.mode = (Csi__V1__VolumeCapability__AccessMode__Mode)mode->value;
    capability.access_type_case = CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT;
    capability.mount = &mount;
    capability.access_mode = &access;
    message_pack(&capability.base, &bytes);
    append_bytes(&request->bytes, field->id, bytes.data, bytes.len);
    return 0;
}

void tool_request_deinit(struct tool_request *request)
{
    wipe(&request->bytes);
}
