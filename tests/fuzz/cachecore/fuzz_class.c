/* Any bytes as a class: what is taken can be asked, within its limits. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/class.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A component of two dots; "a.." is a name like any other. */
static int climbs(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return 1;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    if (class_parse_json(arena, (const char *)data, size, "csi.sharedcache.io", &class, &err) != 0) {
        assert(err.code == ERR_INVALID && err.message[0] != '\0');
        return 0;
    }
    assert(class.name[0] != '\0' && class.share_type && class.sub_path && class.mount_options);
    assert(class.max_bytes > 0 && class.max_files > 0);
    assert(!climbs(class.sub_path));
    class_allows_source(&class, "https://data.example.com/a/b?c=d");
    class_allows_namespace(&class, "ml-one");
    return 0;
}
