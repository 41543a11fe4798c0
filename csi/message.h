/*
 * Protobuf messages of requests, taken apart with limits: memory in all, and texts that C can hold. Fields that we do not know
 * are skipped, as protobuf asks.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#define MESSAGE_MEMORY_MAX ((size_t)4 * 1024 * 1024)

/*
 * Unpacks data as one message of the type. NULL on error: ERR_INTERNAL when it is not protobuf of that type (as grpc-go answers),
 * ERR_INVALID naming the field when a text holds a NUL or is not UTF-8, ERR_EXHAUSTED when it would take over
 * MESSAGE_MEMORY_MAX. The result is freed, and wiped, by message_free.
 */
ProtobufCMessage *message_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                                 struct err *err);
void message_free(ProtobufCMessage *message); /* NULL is fine */
DEFINE_CLEANUP(ProtobufCMessage *, message_free);

/* Appends the message's bytes to out. */
void message_pack(const ProtobufCMessage *message, struct str *out);
