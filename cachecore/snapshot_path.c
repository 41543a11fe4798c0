#include <string.h>

#include "cachecore/snapshot.h"

/* C0 and DEL are bytes below 0x20 and 0x7f; C1 (U+0080 to U+009F) is c2 80 to c2 9f in UTF-8. */
static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next <= 0x9f))
            return true;
    }
    return false;
}

static int component_check(const char *name, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_INVALID, "has an empty segment");
    if (len > SNAPSHOT_NAME_MAX)
        return err_set(err, ERR_INVALID, "has a segment of %zu bytes, more than %u", len, SNAPSHOT_NAME_MAX);
    if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
        return err_set(err, ERR_INVALID, "has a segment '%.*s'", (int)len, name);
    if (len >= 4 && memcmp(name, ".nfs", 4) == 0)
        return err_set(err, ERR_INVALID,
                       "has a segment that begins with '.nfs', which NFS clients keep for themselves");
    return 0;
}

static int components_check(const char *path, size_t len, struct err *err)
{
    size_t depth = 0;
    for (size_t start = 0; start <= len;) {
        const char *slash = start < len ? memchr(path + start, '/', len - start) : NULL;
        size_t end = slash ? (size_t)(slash - path) : len;
        if (component_check(path + start, end - start, err) != 0)
            return -1;
        if (++depth > SNAPSHOT_DEPTH_MAX)
            return err_set(err, ERR_INVALID, "has more than %u segments", SNAPSHOT_DEPTH_MAX);
        start = end + 1;
    }
    return 0;
}

/* Messages show this much of a path, so that the cause still fits; never half a character. */
static int shown_len(const char *path, size_t len)
{
    size_t shown = len;
    if (len > 200) {
        for (shown = 200; ((unsigned char)path[shown] & 0xc0) == 0x80; shown--)
            continue;
    }
    return (int)shown;
}

/* The message shows the path only once its bytes are known to be printable. */
int snapshot_path_check(const char *path, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_INVALID, "the path is empty");
    if (len > SNAPSHOT_PATH_MAX)
        return err_set(err, ERR_INVALID, "a path has %zu bytes, more than %u", len, SNAPSHOT_PATH_MAX);
    if (!str_is_utf8(path, len))
        return err_set(err, ERR_INVALID, "a path is not valid UTF-8");
    if (has_control(path, len))
        return err_set(err, ERR_INVALID, "a path has a control character");
    if (path[0] == '/')
        return err_set(err, ERR_INVALID, "path '%.*s' begins with '/'", shown_len(path, len), path);
    if (components_check(path, len, err) != 0)
        return err_prefix(err, "path '%.*s'", shown_len(path, len), path);
    return 0;
}
