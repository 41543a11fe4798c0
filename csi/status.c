#include "csi/status.h"

static const enum grpc_status table[] = {
    [ERR_NONE] = GRPC_OK,
    [ERR_INVALID] = GRPC_INVALID_ARGUMENT,
    [ERR_DENIED] = GRPC_PERMISSION_DENIED,
    [ERR_UNAUTHENTICATED] = GRPC_UNAUTHENTICATED,
    [ERR_NOT_FOUND] = GRPC_NOT_FOUND,
    [ERR_EXISTS] = GRPC_ALREADY_EXISTS,
    [ERR_PRECONDITION] = GRPC_FAILED_PRECONDITION,
    [ERR_BUSY] = GRPC_ABORTED,
    [ERR_EXHAUSTED] = GRPC_RESOURCE_EXHAUSTED,
    [ERR_UNAVAILABLE] = GRPC_UNAVAILABLE,
    [ERR_DEADLINE] = GRPC_DEADLINE_EXCEEDED,
    [ERR_CANCELLED] = GRPC_CANCELLED,
    [ERR_CORRUPT] = GRPC_INTERNAL,
    [ERR_RANGE] = GRPC_OUT_OF_RANGE,
    [ERR_UNSUPPORTED] = GRPC_FAILED_PRECONDITION,
    [ERR_INTERNAL] = GRPC_INTERNAL,
};

enum grpc_status status_from_err(enum err_code code)
{
    size_t index = (size_t)code;
    return index < sizeof(table) / sizeof(table[0]) ? table[index] : GRPC_INTERNAL;
}

bool status_is_final(enum grpc_status status)
{
    switch (status) {
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_UNAVAILABLE:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_ABORTED:
        return false;
    default:
        return true;
    }
}
