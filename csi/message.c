#include "csi/message.h"

#include <string.h>

#include "base/mem.h"

/* Each block carries its size in front, so that it can be wiped when it is freed. */
#define HEADER_LEN 16

static void *limited_alloc(void *data, size_t size)
{
    size_t *left = data;
    if (size > *left)
        return NULL;
    *left -= size;
    unsigned char *block = mem_alloc(HEADER_LEN + size);
    memcpy(block, &size, sizeof(size));
    return block + HEADER_LEN;
}

static void wiping_free(void *data, void *pointer)
{
    (void)data;
    if (!pointer)
        return;
    unsigned char *block = (unsigned char *)pointer - HEADER_LEN;
    size_t size;
    memcpy(&size, block, sizeof(size));
    mem_wipe_free(block, HEADER_LEN + size);
}

/* A walk over the bytes before they are unpacked: afterwards a text's length is lost, and what follows a NUL with it. */
struct walk {
    const uint8_t *data;
    size_t left;
};

static int take_varint(struct walk *walk, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && walk->left > 0; shift += 7) {
        uint8_t byte = *walk->data++;
        walk->left--;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return 0;
    }
    return -1;
}

static int skip(struct walk *walk, uint64_t len)
{
    if (len > walk->left)
        return -1;
    walk->data += len;
    walk->left -= (size_t)len;
    return 0;
}

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* Takes one field's key and value. For WIRE_BYTES *value is its content; else it is empty. */
static int take_field(struct walk *walk, uint32_t *number, struct walk *value)
{
    uint64_t key;
    uint64_t len;
    *value = (struct walk){.data = NULL};
    if (take_varint(walk, &key) != 0 || key >> 32 || key >> 3 == 0)
        return -1;
    *number = (uint32_t)(key >> 3);
    switch (key & 7) {
    case WIRE_VARINT:
        return take_varint(walk, &len);
    case WIRE_64:
        return skip(walk, 8);
    case WIRE_32:
        return skip(walk, 4);
    case WIRE_BYTES:
        if (take_varint(walk, &len) != 0)
            return -1;
        *value = (struct walk){.data = walk->data, .left = (size_t)len};
        return skip(walk, len);
    default:
        return -1;
    }
}

static int malformed(const ProtobufCMessageDescriptor *type, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "the request is not a valid %s message", type->short_name);
}

static int check_text(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field,
                      const struct walk *value, struct err *err)
{
    if (!value->data || (!memchr(value->data, 0, value->left) && str_is_utf8((const char *)value->data, value->left)))
        return 0;
    return err_set(err, ERR_INVALID, "%s.%s: holds a NUL or is not UTF-8", type->short_name, field->name);
}

#define DEPTH_MAX 16

static int check_message(const ProtobufCMessageDescriptor *type, struct walk walk, unsigned depth, struct err *err)
{
    while (walk.left > 0) {
        uint32_t number;
        struct walk value;
        if (depth == DEPTH_MAX || take_field(&walk, &number, &value) != 0)
            return malformed(type, err);
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
        if (field && field->type == PROTOBUF_C_TYPE_STRING && check_text(type, field, &value, err) != 0)
            return -1;
        if (field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            check_message(field->descriptor, value, depth + 1, err) != 0)
            return -1;
    }
    return 0;
}

ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                                 struct err *err)
{
    size_t left = MESSAGE_MEMORY_MAX;
    ProtobufCAllocator allocator = {.alloc = limited_alloc, .free = wiping_free, .allocator_data = &left};
    if (check_message(type, (struct walk){.data = data, .left = len}, 0, err) != 0)
        return NULL;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, data);
    if (!message && left < MESSAGE_MEMORY_MAX / 2)
        err_set(err, ERR_EXHAUSTED, "the request holds too many fields");
    else if (!message)
        malformed(type, err);
    return message;
}

void message_free(ProtobufCMessage *message)
{
    ProtobufCAllocator allocator = {.alloc = limited_alloc, .free = wiping_free};
    if (message)
        protobuf_c_message_free_unpacked(message, &allocator);
}

void message_pack(const ProtobufCMessage *message, struct str *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    str_reserve(out, len);
    protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
    out->len += len;
    out->data[out->len] = '\0';
}
