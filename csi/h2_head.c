#include "csi/h2_head.h"

#include <string.h>

enum {
    SEEN_METHOD = 1U << 0,
    SEEN_SCHEME = 1U << 1,
    SEEN_PATH = 1U << 2,
    SEEN_AUTHORITY = 1U << 3,
    SEEN_TYPE = 1U << 4,
    SEEN_TIMEOUT = 1U << 5,
    SEEN_LENGTH = 1U << 6,
    NEEDED = SEEN_METHOD | SEEN_SCHEME | SEEN_PATH,
};

struct text {
    const char *data;
    size_t len;
};

static bool is(struct text text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static void on_method(struct h2_head *head, struct text value)
{
    head->bad_method = !is(value, "POST");
}

static void on_path(struct h2_head *head, struct text value)
{
    if (value.len == 0 || value.data[0] != '/')
        head->malformed = true;
    else if (value.len >= sizeof(head->path))
        head->too_large = true;
    else
        memcpy(head->path, value.data, value.len);
}

static void on_type(struct h2_head *head, struct text value)
{
    static const char wanted[] = "application/grpc";
    size_t len = sizeof(wanted) - 1;
    bool prefixed = value.len >= len && memcmp(value.data, wanted, len) == 0;
    head->bad_type = !prefixed || (value.len > len && value.data[len] != '+' && value.data[len] != ';');
}

static void on_timeout(struct h2_head *head, struct text value)
{
    head->timeout_ms = grpc_timeout_parse(value.data, value.len);
    head->bad_timeout = head->timeout_ms < 0;
}

static void on_length(struct h2_head *head, struct text value)
{
    char digits[20];
    uint64_t number;
    if (value.len >= sizeof(digits)) {
        head->malformed = true;
        return;
    }
    memcpy(digits, value.data, value.len);
    digits[value.len] = '\0';
    if (str_parse_u64(digits, INT64_MAX, &number) != 0)
        head->malformed = true;
    else
        head->content_len = (int64_t)number;
}

static void on_te(struct h2_head *head, struct text value)
{
    if (!is(value, "trailers"))
        head->malformed = true;
}

/* RFC 9113, 8.2.2: these belong to HTTP/1.1 and make a request malformed. */
static void on_connection_header(struct h2_head *head, struct text value)
{
    (void)value;
    head->malformed = true;
}

static void on_nothing(struct h2_head *head, struct text value)
{
    (void)head;
    (void)value;
}

static const struct known {
    const char *name;
    unsigned once; /* its bit, if it may come only once */
    void (*handle)(struct h2_head *head, struct text value);
} known[] = {
    {":method", SEEN_METHOD, on_method},
    {":scheme", SEEN_SCHEME, on_nothing},
    {":path", SEEN_PATH, on_path},
    {":authority", SEEN_AUTHORITY, on_nothing},
    {"content-type", SEEN_TYPE, on_type},
    {"grpc-timeout", SEEN_TIMEOUT, on_timeout},
    {"content-length", SEEN_LENGTH, on_length},
    {"te", 0, on_te},
    {"connection", 0, on_connection_header},
    {"keep-alive", 0, on_connection_header},
    {"proxy-connection", 0, on_connection_header},
    {"transfer-encoding", 0, on_connection_header},
    {"upgrade", 0, on_connection_header},
};

static bool name_is_valid(struct text name)
{
    size_t start = name.len > 0 && name.data[0] == ':' ? 1 : 0;
    if (name.len == start)
        return false;
    for (size_t i = start; i < name.len; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c <= ' ' || c >= 0x7f || c == ':' || (c >= 'A' && c <= 'Z'))
            return false;
    }
    return true;
}

static bool value_is_valid(struct text value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static const struct known *find(struct text name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (is(name, known[i].name))
            return &known[i];
    }
    return NULL;
}

/* Pseudo-headers come first, each once, only those of requests, and none in trailers. */
static bool place_is_valid(struct h2_head *head, struct text name, const struct known *entry)
{
    if (entry && (head->seen & entry->once))
        return false;
    if (name.data[0] == ':')
        return entry && !head->regular && !head->trailers;
    head->regular = true;
    return true;
}

void h2_head_init(struct h2_head *head)
{
    *head = (struct h2_head){.timeout_ms = -1, .content_len = -1};
}

void h2_head_add(struct h2_head *head, const char *name, size_t name_len, const char *value, size_t value_len)
{
    struct text key = {name, name_len};
    struct text content = {value, value_len};
    head->count++;
    head->bytes += name_len + value_len + 32;
    if (head->count > H2_HEAD_COUNT_MAX || head->bytes > H2_HEAD_BYTES_MAX) {
        head->too_large = true;
        return;
    }
    const struct known *entry = find(key);
    if (!name_is_valid(key) || !value_is_valid(content) || !place_is_valid(head, key, entry)) {
        head->malformed = true;
        return;
    }
    if (!entry || head->trailers)
        return;
    head->seen |= entry->once;
    entry->handle(head, content);
}

bool h2_head_finish(struct h2_head *head, unsigned *http, enum grpc_status *status, const char **reason)
{
    *http = 200;
    if (head->too_large) {
        *status = GRPC_RESOURCE_EXHAUSTED;
        *reason = "the request's headers are larger than the limit of 16 KiB or 64 fields";
        return false;
    }
    if (head->malformed || (head->seen & NEEDED) != NEEDED) {
        head->malformed = true;
        return false;
    }
    if (head->bad_method || head->bad_type || !(head->seen & SEEN_TYPE)) {
        *http = head->bad_method ? 405 : 415;
        *status = GRPC_INTERNAL;
        *reason = head->bad_method ? "gRPC requests are POST" : "content-type must be application/grpc";
        return false;
    }
    *status = GRPC_INTERNAL;
    *reason = "grpc-timeout is malformed";
    return !head->bad_timeout;
}
