#include "csi/message_text.h"

#include <inttypes.h>
#include <string.h>

static void message_append(const ProtobufCMessage *message, unsigned depth, struct str *out);

/* What a server sends goes to a terminal: control characters do not. */
static void append_printable(struct str *out, const char *text)
{
    for (; *text; text++)
        str_append_char(out, (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
}

static void append_indent(struct str *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        str_append_text(out, "  ");
}

/* protobuf-c keeps a map<string, string> as a list of messages with key and value. */
static bool is_map_entry(const ProtobufCMessageDescriptor *type)
{
    return type->n_fields == 2 && strcmp(type->fields[0].name, "key") == 0 &&
           strcmp(type->fields[1].name, "value") == 0 && type->fields[0].type == PROTOBUF_C_TYPE_STRING &&
           type->fields[1].type == PROTOBUF_C_TYPE_STRING;
}

static void append_map_entry(const ProtobufCMessage *entry, unsigned depth, struct str *out)
{
    const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;
    const char *base = (const char *)entry;
    append_indent(out, depth);
    append_printable(out, *(char *const *)(const void *)(base + fields[0].offset));
    str_append_text(out, ": ");
    append_printable(out, *(char *const *)(const void *)(base + fields[1].offset));
    str_append_char(out, '\n');
}

static bool is_default(const ProtobufCFieldDescriptor *field, const void *member)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return !*(char *const *)member || !**(char *const *)member;
    case PROTOBUF_C_TYPE_MESSAGE:
        return !*(ProtobufCMessage *const *)member;
    case PROTOBUF_C_TYPE_BOOL:
        return !*(const protobuf_c_boolean *)member;
    case PROTOBUF_C_TYPE_INT64:
        return *(const int64_t *)member == 0;
    case PROTOBUF_C_TYPE_ENUM:
        return *(const int *)member == 0;
    default:
        return true; /* CSI has no others in what we print */
    }
}

static void append_scalar(const ProtobufCFieldDescriptor *field, const void *member, struct str *out)
{
    const ProtobufCEnumValue *named;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        append_printable(out, *(char *const *)member);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        str_append_text(out, *(const protobuf_c_boolean *)member ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_INT64:
        str_printf(out, "%" PRId64, *(const int64_t *)member);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        named = protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)member);
        str_printf(out, "%s", named ? named->name : "?");
        break;
    default:
        break;
    }
}

static void append_member(const ProtobufCFieldDescriptor *field, const void *member, unsigned depth, struct str *out)
{
    append_indent(out, depth);
    str_printf(out, "%s:", field->name);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        str_append_char(out, '\n');
        message_append(*(ProtobufCMessage *const *)member, depth + 1, out);
    } else {
        str_append_char(out, ' ');
        append_scalar(field, member, out);
        str_append_char(out, '\n');
    }
}

static void append_repeated(const ProtobufCFieldDescriptor *field, const char *base, unsigned depth, struct str *out)
{
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || count == 0)
        return;
    ProtobufCMessage *const *items = *(ProtobufCMessage * *const *)(const void *)(base + field->offset);
    bool is_map = is_map_entry(field->descriptor);
    if (is_map) {
        append_indent(out, depth);
        str_printf(out, "%s:\n", field->name);
    }
    for (size_t i = 0; i < count; i++) {
        if (is_map)
            append_map_entry(items[i], depth + 1, out);
        else
            append_member(field, &items[i], depth, out);
    }
}

static bool is_chosen(const ProtobufCFieldDescriptor *field, const char *base)
{
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
        return true;
    return *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id;
}

static void message_append(const ProtobufCMessage *message, unsigned depth, struct str *out)
{
    const char *base = (const char *)message;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            append_repeated(field, base, depth, out);
        else if (is_chosen(field, base) && !is_default(field, base + field->offset))
            append_member(field, base + field->offset, depth, out);
    }
}

void message_text(const ProtobufCMessage *message, struct str *out)
{
    message_append(message, 0, out);
}
