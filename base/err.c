#include "base/err.h"

#ifdef __clang_analyzer__
#undef err_set
#undef err_set_errno
#undef err_prefix
#endif

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const code_names[] = {
    [ERR_NONE] = "NONE",
    [ERR_INVALID] = "INVALID",
    [ERR_DENIED] = "DENIED",
    [ERR_UNAUTHENTICATED] = "UNAUTHENTICATED",
    [ERR_NOT_FOUND] = "NOT_FOUND",
    [ERR_EXISTS] = "EXISTS",
    [ERR_PRECONDITION] = "PRECONDITION",
    [ERR_BUSY] = "BUSY",
    [ERR_EXHAUSTED] = "EXHAUSTED",
    [ERR_UNAVAILABLE] = "UNAVAILABLE",
    [ERR_DEADLINE] = "DEADLINE",
    [ERR_CANCELLED] = "CANCELLED",
    [ERR_CORRUPT] = "CORRUPT",
    [ERR_RANGE] = "RANGE",
    [ERR_UNSUPPORTED] = "UNSUPPORTED",
    [ERR_INTERNAL] = "INTERNAL",
};

#define CODE_COUNT (sizeof(code_names) / sizeof(code_names[0]))

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    err->code = code;
    return -1;
}

int err_set_errno(struct err *err, enum err_code code, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    char text[128];
    const char *reason = strerror_r(errnum, text, sizeof(text));
    if (len >= 0 && (size_t)len < sizeof(err->message))
        snprintf(err->message + len, sizeof(err->message) - (size_t)len, ": %s", reason);
    err->code = code == ERR_NONE ? err_code_from_errno(errnum) : code;
    return -1;
}

int err_prefix(struct err *err, const char *format, ...)
{
    char old[ERR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof(old));
    va_list args;
    va_start(args, format);
    int len = vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof(err->message))
        snprintf(err->message + len, sizeof(err->message) - (size_t)len, ": %s", old);
    return -1;
}

enum err_code err_code_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return ERR_EXHAUSTED;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ESTALE:
    case EIO:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOTCONN:
        return ERR_UNAVAILABLE;
    case EROFS:
    case EACCES:
    case EPERM:
        return ERR_PRECONDITION;
    default:
        return ERR_INTERNAL;
    }
}

const char *err_code_name(enum err_code code)
{
    return (size_t)code < CODE_COUNT ? code_names[code] : "INTERNAL";
}

enum err_code err_code_parse(const char *name)
{
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (strcmp(code_names[i], name) == 0)
            return (enum err_code)i;
    }
    return ERR_INTERNAL;
}
