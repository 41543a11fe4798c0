/* The small files of a store: FORMAT, an object's sums, a partial's journal. The first byte says which. */
#include <assert.h>
#include <string.h>

#include "cachecore/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OBJECT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* A fuzzer does not find a checksum: half of the inputs get the right one appended, or it would see nothing behind. */
static void sealed(struct str *text, const char *data, size_t size, bool is_sealed)
{
    str_append(text, data, size);
    if (is_sealed)
        store_text_seal(text);
}

static void format_try(const struct str *text)
{
    struct store_format format;
    struct err err = ERR_INIT;
    if (store_format_parse(text->data, text->len, &format, &err) != 0) {
        assert(err.code == ERR_CORRUPT || err.code == ERR_PRECONDITION);
        return;
    }
    _cleanup_(str_deinitp) struct str again = STR_INIT;
    store_format_write(&format, &again);
    assert(again.len == text->len && memcmp(again.data, text->data, text->len) == 0);
}

static void sums_try(const struct str *text)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct sums sums;
    if (store_sums_parse(arena, OBJECT, text->data, text->len, &sums) != 0)
        return;
    uint64_t offset = 0;
    for (size_t i = 0; i < sums.count; i++) {
        assert(sums.parts[i].offset == offset && sums.parts[i].len > 0);
        offset += sums.parts[i].len;
    }
    assert(offset == sums.size);
    _cleanup_(str_deinitp) struct str again = STR_INIT;
    store_sums_write(OBJECT, &sums, &again);
    assert(again.len == text->len && memcmp(again.data, text->data, text->len) == 0);
}

/* Lines of the input without their checksums get them, so that the numbers in them are reached. */
static void journal_lines_seal(struct str *text, const char *data, size_t size)
{
    const char *end = data + size;
    for (const char *p = data; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t len = newline ? (size_t)(newline - p) : (size_t)(end - p);
        str_append(text, p, len);
        str_printf(text, " %08x\n", crc32c(0, p, len));
        p += len + 1;
    }
}

static void journal_try(const struct str *text)
{
    struct journal journal;
    journal_parse(OBJECT, text->data, text->len, &journal);
    assert(journal.is_for_object || journal.parts.count == 0);
    uint64_t reached = 0;
    for (size_t i = 0; i < journal.parts.count; i++) {
        const struct part *part = &journal.parts.items[i];
        assert(part->offset >= reached && part->len > 0 && part->len <= INT64_MAX - part->offset);
        reached = part->offset + part->len;
    }
    parts_deinit(&journal.parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    const char *rest = (const char *)data + 1;
    str_reserve(&text, size);
    switch (data[0]) {
    case 'F':
    case 'f':
        sealed(&text, rest, size - 1, data[0] == 'F');
        format_try(&text);
        break;
    case 'S':
    case 's':
        sealed(&text, rest, size - 1, data[0] == 'S');
        sums_try(&text);
        break;
    case 'J':
        journal_lines_seal(&text, rest, size - 1);
        journal_try(&text);
        break;
    default:
        str_append(&text, rest, size - 1);
        journal_try(&text);
    }
    return 0;
}
