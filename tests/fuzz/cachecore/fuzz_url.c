/* Any bytes as a URL: what is taken has a canonical form that parses to itself, and shows nothing of a query. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct url url, again;
    if (url_parse(arena, (const char *)data, size, &url, &err) != 0) {
        assert(err.code == ERR_INVALID && err.message[0] != '\0');
        return 0;
    }
    assert(url.path[0] == '/' && url.host[0] != '\0');
    assert(strchr(url.display, '?') == NULL || url.is_glob);
    if (strlen(url.canonical) <= URL_MAX) { /* escapes may have made it longer */
        assert(url_parse(arena, url.canonical, strlen(url.canonical), &again, &err) == 0);
        assert(strcmp(url.canonical, again.canonical) == 0 && !again.is_signed);
    }
    const char *name = url_basename(arena, &url);
    assert(!name || (*name != '\0' && !strchr(name, '/')));
    size_t len;
    const char *key = url_key(arena, &url, &len, &err);
    assert(!key || (len > 0 && !memchr(key, '\0', len)));
    return 0;
}
