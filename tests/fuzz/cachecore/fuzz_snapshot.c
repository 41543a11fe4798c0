/* Whatever the parser accepts must be the canonical text of what it returned, and its paths must be fit for a view. */
#include <assert.h>
#include <string.h>

#include "cachecore/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void accepted_check(const struct snapshot *snapshot, const char *text, size_t len)
{
    struct err err = ERR_INIT;
    uint64_t bytes = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct snapshot_file *file = &snapshot->files[i];
        assert(snapshot_path_check(file->path, strlen(file->path), &err) == 0);
        assert(strspn(file->object, "0123456789abcdef") == 64);
        assert(i == 0 || strcmp(snapshot->files[i - 1].path, file->path) < 0);
        bytes += file->size;
    }
    assert(bytes == snapshot->bytes);
    _cleanup_(str_deinitp) struct str again = STR_INIT;
    snapshot_write(snapshot, &again);
    assert(again.len == len && memcmp(again.data, text, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct snapshot snapshot;
    struct err err = ERR_INIT;
    const char *text = size > 0 ? (const char *)data : "";
    if (snapshot_parse(arena, text, size, 1000, &snapshot, &err) == 0)
        accepted_check(&snapshot, text, size);
    else
        assert(err.code == ERR_CORRUPT && strlen(err.message) > 0);
    return 0;
}
