/* A message as text for people: one line a field, nested ones indented, fields with their default left out. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/str.h"

void message_text(const ProtobufCMessage *message, struct str *out);
