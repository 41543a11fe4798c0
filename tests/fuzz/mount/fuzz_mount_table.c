#include <assert.h>
#include <string.h>

#include "mount/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct mount_table table;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    if (mount_table_parse(arena, (const char *)data, size, &table, &err) != 0) {
        assert(err.code != ERR_NONE && err.message[0]);
        return 0;
    }
    for (size_t i = 0; i < table.count; i++) {
        const struct mount_entry *entry = &table.entries[i];
        assert(entry->target[0] == '/' && entry->root && entry->options && entry->fstype && entry->source);
        assert(mount_table_at(&table, entry->target));
        assert(mount_table_below(&table, entry->target) > 0);
    }
    return 0;
}
