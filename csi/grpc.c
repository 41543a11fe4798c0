#include "csi/grpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const char *const status_names[] = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

const char *grpc_status_name(enum grpc_status status)
{
    size_t index = (size_t)status;
    return index < sizeof(status_names) / sizeof(status_names[0]) ? status_names[index] : "UNKNOWN";
}

const char *grpc_status_label(enum grpc_status status)
{
    static const char *const labels[] = {
        "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
        "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
        "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
        "DataLoss", "Unauthenticated",
    };
    size_t index = (size_t)status;
    return index < sizeof(labels) / sizeof(labels[0]) ? labels[index] : "Unknown";
}

#define TIMEOUT_DIGITS_MAX 8

static int64_t timeout_scale(int64_t value, char unit)
{
    switch (unit) {
    case 'H':
        return value * 3600 * 1000;
    case 'M':
        return value * 60 * 1000;
    case 'S':
        return value * 1000;
    case 'm':
        return value;
    case 'u':
        return (value + 999) / 1000;
    case 'n':
        return (value + 999999) / 1000000;
    default:
        return -1;
    }
}

int64_t grpc_timeout_parse(const char *text, size_t len)
{
    if (len < 2 || len > TIMEOUT_DIGITS_MAX + 1)
        return -1;
    int64_t value = 0;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        value = value * 10 + (text[i] - '0');
    }
    return timeout_scale(value, text[len - 1]);
}

void grpc_timeout_print(int64_t timeout_ms, char out[16])
{
    const int64_t digits_max = 99999999;
    if (timeout_ms < 0)
        timeout_ms = 0;
    if (timeout_ms <= digits_max)
        snprintf(out, 16, "%" PRId64 "m", timeout_ms);
    else
        snprintf(out, 16, "%" PRId64 "S", timeout_ms / 1000 < digits_max ? timeout_ms / 1000 : digits_max);
}

/* Length of the valid UTF-8 character at text, 0 if there is none. */
static size_t character_len(const char *text)
{
    for (size_t len = 1; len <= 4 && text[len - 1]; len++) {
        if (str_is_utf8(text, len))
            return len;
    }
    return 0;
}

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~' && c != '%';
}

void grpc_message_encode(const char *text, struct str *out)
{
    size_t start = out->len;
    while (*text) {
        size_t len = character_len(text);
        char c = len == 0 ? '?' : *text;
        size_t needed = is_plain(c) ? 1 : 3 * len;
        if (out->len - start + needed > GRPC_MESSAGE_MAX)
            return;
        if (is_plain(c))
            str_append_char(out, c);
        else
            for (size_t i = 0; i < len; i++)
                str_printf(out, "%%%02X", (unsigned char)text[i]);
        text += len > 0 ? len : 1;
    }
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

void grpc_message_decode(const char *value, size_t len, char *out, size_t max)
{
    size_t used = 0;
    for (size_t i = 0; i < len && used + 1 < max; i++) {
        int high = value[i] == '%' && i + 2 < len ? hex_value(value[i + 1]) : -1;
        int low = high >= 0 ? hex_value(value[i + 2]) : -1;
        if (low >= 0) {
            out[used++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[used++] = value[i];
        }
    }
    if (max > 0)
        out[used] = '\0';
}

void grpc_prefix_write(uint8_t out[GRPC_PREFIX_LEN], uint32_t message_len)
{
    out[0] = 0;
    for (unsigned i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(message_len >> (24 - 8 * i));
}

static enum grpc_status prefix_check(struct grpc_reader *reader, size_t max, const char **reason)
{
    size_t len = 0;
    for (unsigned i = 1; i < GRPC_PREFIX_LEN; i++)
        len = len << 8 | reader->prefix[i];
    if (reader->prefix[0] == 1) {
        *reason = "compressed messages are not supported: send identity encoding";
        return GRPC_UNIMPLEMENTED;
    }
    if (reader->prefix[0] != 0) {
        *reason = "the message's compressed flag is neither 0 nor 1";
        return GRPC_INTERNAL;
    }
    if (len > max) {
        *reason = "the message is larger than the limit of 1 MiB";
        return GRPC_RESOURCE_EXHAUSTED;
    }
    reader->message = mem_alloc(len + 1);
    reader->len = len;
    return GRPC_OK;
}

static size_t take(uint8_t *to, size_t have, size_t want, const uint8_t *data, size_t len)
{
    size_t part = want - have < len ? want - have : len;
    if (part > 0)
        memcpy(to + have, data, part);
    return part;
}

enum grpc_status grpc_reader_add(struct grpc_reader *reader, const uint8_t *data, size_t len, size_t max,
                                 const char **reason)
{
    if (!reader->message) {
        size_t part = take(reader->prefix, reader->prefix_len, GRPC_PREFIX_LEN, data, len);
        reader->prefix_len += part;
        data += part;
        len -= part;
        if (reader->prefix_len < GRPC_PREFIX_LEN)
            return GRPC_OK;
        enum grpc_status status = prefix_check(reader, max, reason);
        if (status != GRPC_OK)
            return status;
    }
    size_t part = take(reader->message, reader->have, reader->len, data, len);
    reader->have += part;
    if (part == len)
        return GRPC_OK;
    *reason = "more than one message in a unary call";
    return GRPC_INTERNAL;
}

enum grpc_status grpc_reader_finish(const struct grpc_reader *reader, const char **reason)
{
    if (reader->message && reader->have == reader->len)
        return GRPC_OK;
    *reason = reader->prefix_len == 0 ? "the call ended without a message" : "the call ended within its message";
    return GRPC_INTERNAL;
}

void grpc_reader_deinit(struct grpc_reader *reader)
{
    mem_wipe_free(reader->message, reader->len);
    *reader = (struct grpc_reader){.message = NULL};
}
