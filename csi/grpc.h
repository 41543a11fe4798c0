/*
 * gRPC over HTTP/2 as far as it is arithmetic on bytes (the protocol's own document is PROTOCOL-HTTP2.md of gRPC): status
 * numbers, the five-byte message prefix, grpc-timeout, and grpc-message. Pure: no I/O, no clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for a number that is none. */
const char *grpc_status_name(enum grpc_status status);
/* "InvalidArgument" and so on, as Go programs write them: for metrics' labels. */
const char *grpc_status_label(enum grpc_status status);

/* A grpc-timeout value ("1M", "250m"): one to eight digits and a unit of HMSmun. Milliseconds, rounded up; -1 if malformed. */
int64_t grpc_timeout_parse(const char *text, size_t len);

/* The other way, for clients: milliseconds of at most eight digits, larger ones in seconds. out takes 16 bytes. */
void grpc_timeout_print(int64_t timeout_ms, char out[16]);

#define GRPC_MESSAGE_MAX 1024 /* encoded */

/* Percent-encodes text for grpc-message: cut at a character's end so that at most GRPC_MESSAGE_MAX bytes come out; what
 * is not UTF-8 becomes '?'. */
void grpc_message_encode(const char *text, struct str *out);

/* Decodes leniently, as the protocol asks: a '%' that starts no escape stays. At most max - 1 bytes and a NUL go to out. */
void grpc_message_decode(const char *value, size_t len, char *out, size_t max);

#define GRPC_PREFIX_LEN 5

void grpc_prefix_write(uint8_t out[GRPC_PREFIX_LEN], uint32_t message_len);

/*
 * Takes the one message of a unary call out of DATA, however it is split. Memory for it is asked for once, when its length
 * is known and within max, so that no copies of secrets are left behind.
 */
struct grpc_reader {
    uint8_t prefix[GRPC_PREFIX_LEN];
    size_t prefix_len;
    uint8_t *message; /* NULL until the prefix is there; one byte longer than len, so never NULL then */
    size_t len;
    size_t have;
};

/* GRPC_OK to go on. Else the call must be answered with that status and *reason (static text): UNIMPLEMENTED for a
 * compressed message, RESOURCE_EXHAUSTED for one over max, INTERNAL for anything else. */
enum grpc_status grpc_reader_add(struct grpc_reader *reader, const uint8_t *data, size_t len, size_t max,
                                 const char **reason);

/* At the end of the stream: GRPC_OK when exactly one whole message is there. */
enum grpc_status grpc_reader_finish(const struct grpc_reader *reader, const char **reason);

void grpc_reader_deinit(struct grpc_reader *reader); /* wipes */
