/*
 * Records from raw bytes: as a whole file, and as the JSON behind a right checksum. What is accepted prints to the same record again.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cachecore/digest.h"
#include "csi/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const char *text, size_t len)
{
    struct arena *arena = arena_new();
    struct record record;
    struct record again;
    struct str printed = STR_INIT;
    struct err err = ERR_INIT;
    if (record_parse(text, len, arena, &record, &err) == 0) {
        assert(record.target[0] == '/');
        assert(!strchr(record.layer, '/') && !strchr(record.share, '/'));
        record_print(&record, &printed);
        assert(record_parse(printed.data, printed.len, arena, &again, &err) == 0);
        assert(strcmp(record.volume_id, again.volume_id) == 0 && strcmp(record.target, again.target) == 0);
        assert(record.snapshot_count == again.snapshot_count && record.bytes == again.bytes);
    } else {
        assert(err.code == ERR_CORRUPT);
    }
    str_deinit(&printed);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = STR_INIT;
    char digest[SHA256_HEX];
    try_text((const char *)data, size);
    digest_sha256_hex(data, size, digest);
    str_printf(&text, "sharedcache-state 1 %s\n", digest);
    str_append(&text, data, size);
    try_text(text.data, text.len);
    str_deinit(&text);
    return 0;
}
