#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cachecore/store_internal.h"

void parts_deinit(struct parts *parts)
{
    free(parts->items);
    *parts = (struct parts){.items = NULL};
}

void parts_clear(struct parts *parts)
{
    parts->count = 0;
}

static uint64_t part_end(const struct part *part)
{
    return part->offset + part->len;
}

/* The first part that ends behind offset. */
static size_t parts_search(const struct parts *parts, uint64_t offset)
{
    size_t low = 0;
    size_t high = parts->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part_end(&parts->items[middle]) <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool parts_overlap(const struct parts *parts, uint64_t offset, uint64_t len)
{
    size_t i = parts_search(parts, offset);
    return i < parts->count && parts->items[i].offset < offset + len;
}

static void parts_grow(struct parts *parts)
{
    if (parts->count < parts->capacity)
        return;
    parts->capacity = parts->capacity == 0 ? 16 : parts->capacity * 2;
    parts->items = mem_realloc(parts->items, parts->capacity * sizeof(*parts->items));
}

int parts_replace(struct parts *parts, const struct part *part)
{
    size_t first = parts_search(parts, part->offset);
    size_t last = first;
    while (last < parts->count && parts->items[last].offset < part_end(part))
        last++;
    if (parts->count - (last - first) >= STORE_PARTS_MAX)
        return -1;
    parts_grow(parts);
    memmove(parts->items + first + 1, parts->items + last, (parts->count - last) * sizeof(*parts->items));
    parts->items[first] = *part;
    parts->count = parts->count - (last - first) + 1;
    return 0;
}

bool parts_cover(const struct parts *parts, uint64_t size, uint32_t *crc)
{
    uint64_t reached = 0;
    uint32_t composed = 0;
    for (size_t i = 0; i < parts->count; i++) {
        const struct part *part = &parts->items[i];
        if (part->offset != reached)
            return false;
        composed = crc32c_combine(composed, part->crc32c, part->len);
        reached = part_end(part);
    }
    if (reached != size)
        return false;
    *crc = composed;
    return true;
}

/* Each line ends in the CRC32C of what stands before its last space. */
static void line_seal(struct str *out, size_t start)
{
    str_printf(out, " %08" PRIx32 "\n", crc32c(0, out->data + start, out->len - start));
}

void journal_header(struct str *out, const char *object)
{
    size_t start = out->len;
    str_printf(out, "sharedcache-partial 1 %s", object);
    line_seal(out, start);
}

void journal_size(struct str *out, uint64_t size)
{
    size_t start = out->len;
    str_printf(out, "size %" PRIu64, size);
    line_seal(out, start);
}

void journal_part(struct str *out, const struct part *part)
{
    size_t start = out->len;
    str_printf(out, "part %" PRIu64 " %" PRIu64 " %08" PRIx32, part->offset, part->len, part->crc32c);
    line_seal(out, start);
}

void journal_reset(struct str *out)
{
    size_t start = out->len;
    str_append_text(out, "reset");
    line_seal(out, start);
}

#define LINE_MAX_LEN 120u

/* Copies the line without its checksum into out; -1 when that does not hold. */
static int line_unseal(const char *line, size_t len, char out[LINE_MAX_LEN])
{
    char expected[12];
    if (len < 10 || len - 9 >= LINE_MAX_LEN || memchr(line, '\0', len))
        return -1;
    snprintf(expected, sizeof(expected), " %08" PRIx32, crc32c(0, line, len - 9));
    if (memcmp(line + len - 9, expected, 9) != 0)
        return -1;
    memcpy(out, line, len - 9);
    out[len - 9] = '\0';
    return 0;
}

/* The number in front of the next space, which *text is moved behind. */
static int number_take(const char **text, uint64_t *out)
{
    char digits[24] = {0};
    size_t len = strcspn(*text, " ");
    if (len >= sizeof(digits) || (*text)[len] != ' ')
        return -1;
    memcpy(digits, *text, len);
    *text += len + 1;
    return str_parse_u64(digits, INT64_MAX, out);
}

/* "<offset> <len> <crc>" */
static int part_parse(const char *text, struct part *out)
{
    *out = (struct part){.offset = 0};
    if (number_take(&text, &out->offset) != 0 || number_take(&text, &out->len) != 0 ||
        store_crc_parse(text, &out->crc32c) != 0)
        return -1;
    return out->len > 0 && out->len <= INT64_MAX - out->offset ? 0 : -1;
}

static void line_apply(const char *line, struct journal *journal)
{
    struct part part;
    if (strcmp(line, "reset") == 0)
        parts_clear(&journal->parts);
    else if (str_starts_with(line, "size "))
        (void)str_parse_u64(line + 5, INT64_MAX, &journal->size);
    else if (str_starts_with(line, "part ") && part_parse(line + 5, &part) == 0)
        (void)parts_replace(&journal->parts, &part); /* beyond the limit: fetched again */
}

static bool header_is_for(const char *line, const char *object)
{
    static const char prefix[] = "sharedcache-partial 1 ";
    return str_starts_with(line, prefix) && strcmp(line + strlen(prefix), object) == 0;
}

void journal_parse(const char *object, const char *text, size_t len, struct journal *out)
{
    const char *end = text + len;
    *out = (struct journal){.size = STORE_SIZE_UNKNOWN};
    for (const char *p = text; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        char line[LINE_MAX_LEN];
        if (!newline)
            return; /* torn: the writer died in it */
        bool holds = line_unseal(p, (size_t)(newline - p), line) == 0;
        if (p == text && (!holds || !header_is_for(line, object)))
            return;
        if (p == text)
            out->is_for_object = true;
        else if (holds)
            line_apply(line, out);
        p = newline + 1;
    }
}
