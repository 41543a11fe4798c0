/*
 * A CSI request made from a command line's options: bytes of the message, put together by the names of its fields, so that every
 * method takes the options that it has fields for, and refuses the others by name.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"
#include "base/str.h"

struct tool_request {
    const ProtobufCMessageDescriptor *type;
    struct str bytes; /* may hold secrets: wiped by tool_request_deinit */
};

/* Each adds one field; ERR_INVALID when the message has none of that name. */
int tool_request_text(struct tool_request *request, const char *field, const char *value, struct err *err);
int tool_request_bool(struct tool_request *request, const char *field, struct err *err);
int tool_request_pair(struct tool_request *request, const char *field, const char *key, const char *value,
                      struct err *err);

/* pair is "key=value". */
int tool_request_attribute(struct tool_request *request, const char *pair, struct err *err);

/* pair is "key=@FILE": the whole file, less one newline at its end. Values on the command line show in ps and are refused. */
int tool_request_secret(struct tool_request *request, const char *pair, struct err *err);

/* Lines of key=value; empty ones and those that start with '#' are skipped. */
int tool_request_secrets_file(struct tool_request *request, const char *path, struct err *err);

/* Adds the capability (mounted, with this access mode, "SINGLE_NODE_WRITER" if NULL) where the message asks for one. */
int tool_request_capability(struct tool_request *request, const char *access_mode, struct err *err);

void tool_request_deinit(struct tool_request *request);
