/* Any bytes as a page of a bucket's listing, in pieces: the same entries whatever the pieces, each within its limits. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/source_s3_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_entry(void *context, const struct source_entry *entry, struct err *err)
{
    (void)err;
    assert(strlen(entry->key) == entry->key_len && entry->size <= INT64_MAX && entry->mtime_ns == 0);
    assert(strncmp(entry->validator, "etag:\"", 6) == 0 && strlen(entry->validator) < 600);
    str_printf(context, "%s %llu %s\n", entry->key, (unsigned long long)entry->size, entry->validator);
    return 0;
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    (void)err;
    assert(strlen(prefix) == len);
    str_append(context, prefix, len);
    return 0;
}

static int parse(const uint8_t *data, size_t size, size_t piece, struct str *out)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(s3_page_freep) struct s3_page *page = s3_page_new();
    const struct source_page ask = {.each = on_entry, .each_prefix = on_prefix, .each_context = out};
    const char *next = NULL;
    struct err err = ERR_INIT;
    for (size_t at = 0; at < size; at += piece) {
        if (s3_page_feed(page, data + at, size - at < piece ? size - at : piece, &err) != 0) {
            assert(err.code == ERR_PRECONDITION && err.message[0] != '\0');
            return -1;
        }
    }
    if (s3_page_finish(page, &ask, arena, &next, &err) != 0)
        return -1;
    assert(!next || *next);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(str_deinitp) struct str whole = STR_INIT, pieces = STR_INIT;
    if (size < 1)
        return 0;
    int result = parse(data + 1, size - 1, size, &whole);
    assert(parse(data + 1, size - 1, data[0] + 1u, &pieces) == result || size > 60000);
    if (result == 0)
        assert(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
    return 0;
}
