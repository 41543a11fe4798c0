#include "cachecore/checksums.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "cachecore/base64.h"

#define VALUE_MAX 128u

/* Base64 of exactly so many bytes. */
static bool bytes_take(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    uint8_t *bytes;
    size_t got;
    if (text_len > VALUE_MAX || !base64_decode(arena, text, text_len, &bytes, &got) || got != len)
        return false;
    memcpy(out, bytes, len);
    return true;
}

static bool number_take(const char *text, size_t text_len, size_t len, uint64_t *out)
{
    uint8_t bytes[8];
    if (!bytes_take(text, text_len, bytes, len))
        return false;
    *out = 0;
    for (size_t i = 0; i < len; i++)
        *out = *out << 8 | bytes[i];
    return true;
}

static void crc32c_take(struct checksums *checksums, const char *text, size_t len)
{
    uint64_t number;
    if (!number_take(text, len, 4, &number))
        return;
    checksums->crc32c = (uint32_t)number;
    checksums->has_crc32c = true;
}

static void sha256_take(struct checksums *checksums, const char *text, size_t len)
{
    if (bytes_take(text, len, checksums->sha256, SHA256_LEN))
        checksums->has_sha256 = true;
}

static void md5_take(struct checksums *checksums, const char *text, size_t len, bool is_of_body)
{
    if (checksums->has_md5 && is_of_body) /* the other one is of the whole for certain */
        return;
    if (!bytes_take(text, len, checksums->md5, MD5_LEN))
        return;
    checksums->has_md5 = true;
    checksums->md5_is_of_body = is_of_body;
}

/* "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==", maybe in several headers. */
static void google_take(struct checksums *checksums, const char *value)
{
    while (*value) {
        value += strspn(value, ", \t");
        size_t len = strcspn(value, ", \t");
        if (strncmp(value, "crc32c=", 7) == 0)
            crc32c_take(checksums, value + 7, len - 7);
        else if (strncmp(value, "md5=", 4) == 0)
            md5_take(checksums, value + 4, len - 4, false);
        value += len;
    }
}

/* RFC 9530: "sha-256=:base64:, .."; RFC 3230: "SHA-256=base64, ..". Parameters end a value. */
static void digest_take(struct checksums *checksums, const char *value, bool has_colons)
{
    while (*value) {
        value += strspn(value, ", \t");
        size_t len = strcspn(value, ", \t;");
        bool is_closed = !has_colons || (len > 10 && value[8] == ':' && value[len - 1] == ':');
        if (strncasecmp(value, "sha-256=", 8) == 0 && is_closed)
            sha256_take(checksums, value + 8 + has_colons, len - 8 - 2 * (size_t)has_colons);
        value += len + strcspn(value + len, ",");
    }
}

static void amazon_take(struct checksums *checksums, const char *name, const char *value)
{
    size_t len = strlen(value);
    if (strchr(value, '-')) /* a checksum of the parts' checksums: "-N" */
        return;
    if (strcasecmp(name, "crc32c") == 0)
        crc32c_take(checksums, value, len);
    else if (strcasecmp(name, "sha256") == 0)
        sha256_take(checksums, value, len);
    else if (strcasecmp(name, "crc64nvme") == 0 && number_take(value, len, 8, &checksums->crc64nvme))
        checksums->has_crc64nvme = true;
    else if (strcasecmp(name, "type") == 0)
        checksums->is_composite = strcasecmp(value, "COMPOSITE") == 0;
}

void checksums_take(struct checksums *checksums, const char *name, const char *value)
{
    if (strncasecmp(name, "x-amz-checksum-", 15) == 0)
        amazon_take(checksums, name + 15, value);
    else if (strcasecmp(name, "x-goog-hash") == 0)
        google_take(checksums, value);
    else if (strcasecmp(name, "x-goog-stored-content-encoding") == 0)
        snprintf(checksums->stored_coding, sizeof(checksums->stored_coding), "%s", value);
    else if (strcasecmp(name, "x-ms-blob-content-md5") == 0)
        md5_take(checksums, value, strlen(value), false);
    else if (strcasecmp(name, "Content-MD5") == 0)
        md5_take(checksums, value, strlen(value), true);
    else if (strcasecmp(name, "Repr-Digest") == 0)
        digest_take(checksums, value, true);
    else if (strcasecmp(name, "Digest") == 0)
        digest_take(checksums, value, false);
}

void checksums_finish(struct checksums *checksums, int status, const char *content_encoding)
{
    const char *stored = checksums->stored_coding;
    bool is_decoded = stored[0] && strcasecmp(stored, "identity") != 0 && strcasecmp(stored, content_encoding) != 0;
    if (is_decoded)
        *checksums = (struct checksums){.has_crc32c = false};
    if (checksums->is_composite)
        checksums->has_crc32c = checksums->has_crc64nvme = checksums->has_sha256 = false;
    if (checksums->md5_is_of_body && status != 200)
        checksums->has_md5 = false;
}

void checksums_add(struct checksums *to, const struct checksums *more)
{
    struct checksums both = *more;
    if (to->has_crc32c) {
        both.crc32c = to->crc32c;
        both.has_crc32c = true;
    }
    if (to->has_crc64nvme) {
        both.crc64nvme = to->crc64nvme;
        both.has_crc64nvme = true;
    }
    if (to->has_sha256) {
        memcpy(both.sha256, to->sha256, SHA256_LEN);
        both.has_sha256 = true;
    }
    if (to->has_md5) {
        memcpy(both.md5, to->md5, MD5_LEN);
        both.has_md5 = true;
    }
    *to = both;
}

bool checksums_any(const struct checksums *checksums)
{
    return checksums->has_crc32c || checksums->has_crc64nvme || checksums->has_sha256 || checksums->has_md5;
}
