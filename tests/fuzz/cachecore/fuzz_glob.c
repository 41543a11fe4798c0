/* Any URL path as a glob, any bytes as a key ("pattern NUL key"): as a slow matcher that follows the definition says, in bounded steps. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/glob.h"
#include "cachecore/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Plain globs only, of bytes: '*', '?' and whole segments of '**'. budget: it is slow. */
static bool slow_match(const char *pattern, const char *key, bool at_segment, unsigned *budget)
{
    if (*budget == 0)
        return false;
    (*budget)--;
    if (at_segment && strcmp(pattern, "**") == 0)
        return true;
    if (at_segment && strncmp(pattern, "**/", 3) == 0) {
        for (const char *at = key; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
            if (slow_match(pattern + 3, at, true, budget))
                return true;
        }
        return false;
    }
    if (*pattern == '*') {
        for (const char *at = key;; at++) {
            if (slow_match(pattern + 1, at, false, budget))
                return true;
            if (*at == '\0' || *at == '/')
                return false;
        }
    }
    if (*pattern == '\0' || *key == '\0')
        return *pattern == *key;
    return (*pattern == '?' ? *key != '/' : *pattern == *key) &&
           slow_match(pattern + 1, key + 1, *pattern == '/', budget);
}

static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (*text == '%' || *text == '[' || (unsigned char)*text >= 0x80)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const uint8_t *end = memchr(data, '\0', size);
    struct err err = ERR_INIT;
    struct url url;
    struct glob glob;
    if (!end)
        return 0;
    const char *text = arena_printf(arena, "s3://bucket/%.*s", (int)(end - data), (const char *)data);
    const char *key = arena_strndup(arena, (const char *)end + 1, size - (size_t)(end - data) - 1);
    size_t len = size - (size_t)(end - data) - 1;
    if (url_parse(arena, text, strlen(text), &url, &err) != 0 || !url.is_glob)
        return 0;
    if (glob_parse(arena, url.glob, &glob, &err) != 0) {
        assert(err.code == ERR_INVALID && err.message[0] != '\0');
        return 0;
    }
    uint64_t steps = 0;
    bool matches = glob_match(&glob, key, len, &steps);
    size_t base = strlen(glob.base), prefix = strlen(glob.prefix);
    assert(prefix >= base && memcmp(glob.base, glob.prefix, base) == 0 && (base == 0 || glob.base[base - 1] == '/'));
    assert(steps <= (len + 1) * (glob.count + 1));
    assert(!matches || (len >= prefix && memcmp(key, glob.prefix, prefix) == 0));
    unsigned budget = 20000;
    if (strlen(key) == len && is_plain(url.glob) && is_plain(key)) {
        bool slow = slow_match(url.glob, key, true, &budget);
        assert(budget == 0 || slow == matches);
    }
    return 0;
}
