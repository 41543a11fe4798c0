#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cachecore/store_internal.h"

#define SEAL_LEN 16u /* "crc32c ", 8 hex digits, newline */
#define FORMAT_MAX 4096u

void store_text_seal(struct str *text)
{
    str_printf(text, "crc32c %08" PRIx32 "\n", crc32c(0, text->data, text->len));
}

int store_text_unseal(const char *text, size_t len, size_t *body_len)
{
    char expected[SEAL_LEN + 1];
    if (len < SEAL_LEN)
        return -1;
    snprintf(expected, sizeof(expected), "crc32c %08" PRIx32 "\n", crc32c(0, text, len - SEAL_LEN));
    if (memcmp(text + len - SEAL_LEN, expected, SEAL_LEN) != 0)
        return -1;
    *body_len = len - SEAL_LEN;
    return 0;
}

/*
 * The next line that begins with prefix: what stands behind it, in a buffer of size bytes. -1 when the line is another one,
 * does not fit, or holds a NUL.
 */
static int line_take(const char **text, const char *end, const char *prefix, char *out, size_t size)
{
    size_t prefix_len = strlen(prefix);
    size_t left = (size_t)(end - *text);
    const char *newline = left > 0 ? memchr(*text, '\n', left) : NULL;
    if (!newline || (size_t)(newline - *text) < prefix_len || memcmp(*text, prefix, prefix_len) != 0)
        return -1;
    size_t len = (size_t)(newline - *text) - prefix_len;
    if (len >= size || memchr(*text, '\0', (size_t)(newline - *text)))
        return -1;
    memcpy(out, *text + prefix_len, len);
    out[len] = '\0';
    *text = newline + 1;
    return 0;
}

static int number_line_take(const char **text, const char *end, const char *prefix, uint64_t *out)
{
    char digits[24];
    if (line_take(text, end, prefix, digits, sizeof(digits)) != 0)
        return -1;
    return str_parse_u64(digits, INT64_MAX, out);
}

int store_crc_parse(const char *hex, uint32_t *out)
{
    uint8_t bytes[4];
    if (str_unhex(hex, bytes, sizeof(bytes)) != 0)
        return -1;
    *out = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return 0;
}

void store_format_write(const struct store_format *format, struct str *out)
{
    str_printf(out, "sharedcache-store %" PRIu64 "\nid %s\ncreated %" PRIu64 "\n", format->version, format->id,
               format->created_s);
    store_text_seal(out);
}

static int format_body_parse(const char *text, const char *end, struct store_format *out)
{
    uint8_t id[STORE_ID_LEN / 2];
    if (line_take(&text, end, "id ", out->id, sizeof(out->id)) != 0 || str_unhex(out->id, id, sizeof(id)) != 0)
        return -1;
    return number_line_take(&text, end, "created ", &out->created_s) == 0 && text == end ? 0 : -1;
}

int store_format_parse(const char *text, size_t len, struct store_format *out, struct err *err)
{
    struct store_format format = {.version = 0};
    const char *p = text;
    size_t body_len;
    if (len > FORMAT_MAX || number_line_take(&p, text + len, "sharedcache-store ", &format.version) != 0 ||
        format.version == 0)
        return err_set(err, ERR_CORRUPT, "FORMAT is damaged: its first line is not 'sharedcache-store <version>'");
    if (format.version > STORE_VERSION)
        return err_set(err, ERR_PRECONDITION,
                       "the store has format version %" PRIu64 ", this program knows up to %u: upgrade the driver",
                       format.version, STORE_VERSION);
    if (store_text_unseal(text, len, &body_len) != 0)
        return err_set(err, ERR_CORRUPT, "FORMAT is damaged: its checksum is wrong");
    if (format_body_parse(p, text + body_len, &format) != 0)
        return err_set(err, ERR_CORRUPT, "FORMAT is damaged: it does not say id and creation time");
    *out = format;
    return 0;
}

void store_sums_write(const char *object, const struct sums *sums, struct str *out)
{
    str_printf(out, "sharedcache-sums 1\nobject %s\nsize %" PRIu64 "\nwhole %08" PRIx32 "\n", object, sums->size,
               sums->crc32c);
    for (size_t i = 0; i < sums->count; i++)
        str_printf(out, "part %" PRIu64 " %08" PRIx32 "\n", sums->parts[i].len, sums->parts[i].crc32c);
    store_text_seal(out);
}

/* "<len> <crc>"; parts follow each other, so that an offset is the sum of the lengths before. */
static int sums_part_take(const char **text, const char *end, uint64_t offset, struct part *out)
{
    char value[40];
    if (line_take(text, end, "part ", value, sizeof(value)) != 0)
        return -1;
    char *space = strchr(value, ' ');
    if (!space)
        return -1;
    *space = '\0';
    out->offset = offset;
    return str_parse_u64(value, INT64_MAX, &out->len) == 0 && out->len > 0 &&
                   store_crc_parse(space + 1, &out->crc32c) == 0
               ? 0
               : -1;
}

static int sums_parts_parse(struct arena *arena, const char *text, const char *end, struct sums *out)
{
    size_t count = 0;
    for (const char *p = text; p < end; p++)
        count += *p == '\n';
    if (count > STORE_PARTS_MAX)
        return -1;
    out->parts = arena_calloc(arena, count, sizeof(*out->parts));
    uint64_t offset = 0;
    uint32_t crc = 0;
    for (out->count = 0; text < end; out->count++) {
        struct part *part = &out->parts[out->count];
        if (sums_part_take(&text, end, offset, part) != 0 || part->len > out->size - offset)
            return -1;
        crc = crc32c_combine(crc, part->crc32c, part->len);
        offset += part->len;
    }
    return offset == out->size && crc == out->crc32c ? 0 : -1;
}

int store_sums_parse(struct arena *arena, const char *object, const char *text, size_t len, struct sums *out)
{
    struct sums sums = {.size = 0};
    char value[SHA256_HEX];
    char crc[9];
    size_t body_len;
    if (store_text_unseal(text, len, &body_len) != 0)
        return -1;
    const char *end = text + body_len;
    if (line_take(&text, end, "sharedcache-sums 1", value, 1) != 0 ||
        line_take(&text, end, "object ", value, sizeof(value)) != 0 || strcmp(value, object) != 0 ||
        number_line_take(&text, end, "size ", &sums.size) != 0 ||
        line_take(&text, end, "whole ", crc, sizeof(crc)) != 0 || store_crc_parse(crc, &sums.crc32c) != 0 ||
        sums_parts_parse(arena, text, end, &sums) != 0)
        return -1;
    *out = sums;
    return 0;
}
