/* Any bytes as a page of Azure's List Blobs: names without NUL, ETags that may stand in a header. */
#include <assert.h>
#include <string.h>

#include "cachecore/azure_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_blob(void *context, const struct azure_blob *blob, struct err *err)
{
    size_t len = strlen(blob->etag);
    (void)context;
    (void)err;
    assert(blob->name_len > 0 && !memchr(blob->name, '\0', blob->name_len));
    assert(len > 2 && blob->etag[0] == '"' && blob->etag[len - 1] == '"');
    for (size_t i = 0; i < len; i++)
        assert(blob->etag[i] > ' ' && blob->etag[i] < 0x7f);
    return 0;
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    (void)context;
    (void)err;
    assert(len > 0 && !memchr(prefix, '\0', len));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct azure_list_handler handler = {.blob = on_blob, .prefix = on_prefix};
    _cleanup_(azure_list_freep) struct azure_list *list = azure_list_new(&handler);
    struct err err = ERR_INIT;
    const char *next = NULL;
    size_t half = size / 2;
    if (azure_list_feed(list, data, half, &err) != 0 || azure_list_feed(list, data + half, size - half, &err) != 0 ||
        azure_list_finish(list, arena, &next, &err) != 0) {
        assert(err.code == ERR_PRECONDITION);
        return 0;
    }
    assert(!next || (*next && strlen(next) <= AZURE_MARKER_MAX));
    return 0;
}
