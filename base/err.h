/*
 * Errors: a struct on the caller's stack, always the last parameter, never NULL.
 *
 * A function that can fail returns 0/-1 or pointer/NULL. It sets the error exactly once, where it arises; callers
 * on the way up only prefix it, and the top prints it once. On success the error is left as it was. The code says
 * what the caller can do; csi/status.h maps codes to gRPC in one table. Messages are for people: the field, the cause
 * and the way out; never a secret, a query string or a response body.
 */
#pragma once

#define ERR_MESSAGE_MAX 1024

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID,         /* the request is wrong and will stay wrong */
    ERR_DENIED,          /* this identity may not, or this address or class is not allowed */
    ERR_UNAUTHENTICATED, /* credentials missing, malformed or expired */
    ERR_NOT_FOUND,       /* the thing named does not exist */
    ERR_EXISTS,          /* it exists with other arguments */
    ERR_PRECONDITION,    /* the system is not in a state in which this can work; somebody must change something */
    ERR_BUSY,            /* work for this is under way: ask again (gRPC ABORTED) */
    ERR_EXHAUSTED,       /* a limit, a quota or a disk is full */
    ERR_UNAVAILABLE,     /* a server or share does not answer now; retrying may help */
    ERR_DEADLINE,        /* time ran out */
    ERR_CANCELLED,       /* the caller has gone, or unpublish cancelled the work */
    ERR_CORRUPT,         /* bytes are not what they must be */
    ERR_RANGE,           /* a number is outside what can be served */
    ERR_UNSUPPORTED,     /* not built, or this kernel or server cannot */
    ERR_INTERNAL,        /* a system call failed in a way that nobody outside can mend */
};

struct err {
    enum err_code code;
    char message[ERR_MESSAGE_MAX];
};

#define ERR_INIT         \
    {                    \
        .code = ERR_NONE \
    }

/* Sets code and message, and returns -1 so that "return err_set(...)" reads well. */
int err_set(struct err *err, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, with ": <strerror(errnum)>" appended; the code follows from errnum when code is ERR_NONE. */
int err_set_errno(struct err *err, enum err_code code, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the message that is there. Returns -1. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ENOSPC, EDQUOT, EMFILE, ENOMEM.. -> ERR_EXHAUSTED; ESTALE, EIO, ETIMEDOUT.. -> ERR_UNAVAILABLE; and so on. */
enum err_code err_code_from_errno(int errnum);

/* "INVALID", "DENIED" and so on: for logs and for messages between our processes. */
const char *err_code_name(enum err_code code);
enum err_code err_code_parse(const char *name);

#ifdef __clang_analyzer__
/* What the analyser cannot see from here: these always return -1. */
#define err_set(...) ((void)err_set(__VA_ARGS__), -1)
#define err_set_errno(...) ((void)err_set_errno(__VA_ARGS__), -1)
#define err_prefix(...) ((void)err_prefix(__VA_ARGS__), -1)
#endif
