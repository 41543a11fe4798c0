/* Any bytes as a base and a Location: what is followed is a URL of http or https, never a downgrade, and without its user. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/http_redirect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct url from, to;
    const char *base = arena_strndup(arena, (const char *)data, size);
    const char *location = memchr(data, '\n', size);
    if (!location)
        return 0;
    size_t base_len = (size_t)(location - (const char *)data);
    location = arena_strndup(arena, location + 1, size - base_len - 1);
    base = arena_strndup(arena, base, base_len);
    if (url_parse(arena, base, strlen(base), &from, &err) != 0 || from.port == 0)
        return 0;
    const char *target = http_redirect_target(arena, base, location, &to, &err);
    if (!target) {
        assert(err.code == ERR_DENIED || err.code == ERR_PRECONDITION);
        return 0;
    }
    assert(strcmp(to.scheme, "https") == 0 || strcmp(from.scheme, "http") == 0);
    assert(to.port != 0);
    for (const char *p = target; *p; p++)
        assert(*p > ' ' && *p < 0x7f && *p != '#');
    return 0;
}
