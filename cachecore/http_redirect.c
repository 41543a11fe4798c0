#include "cachecore/http_redirect.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

bool http_same_origin(const struct url *a, const struct url *b)
{
    return a->port == b->port && strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0;
}

/* The length of "scheme" when the text begins with "scheme:", else 0. */
static size_t scheme_len(const char *text)
{
    size_t len = 0;
    while (isalnum((unsigned char)text[len]) || (text[len] != '\0' && strchr("+-.", text[len])))
        len++;
    return len > 0 && isalpha((unsigned char)text[0]) && text[len] == ':' ? len : 0;
}

static bool scheme_is(const char *text, size_t len, const char *scheme)
{
    return strlen(scheme) == len && strncasecmp(text, scheme, len) == 0;
}

/* Without its fragment, and with escapes for the bytes that servers should have escaped. */
static void clean(const char *location, struct str *out)
{
    for (const char *p = location; *p && *p != '#'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
            str_printf(out, "%%%02X", c);
        else
            str_append_char(out, *p);
    }
}

/* Appends a path without its "." and ".." segments (RFC 3986, 5.2.4); start is where the path begins in out. */
static void path_append(struct str *out, const char *path, size_t len)
{
    size_t start = out->len;
    for (size_t i = 0; i < len;) {
        size_t segment = 1; /* with its leading '/' */
        while (i + segment < len && path[i + segment] != '/')
            segment++;
        bool is_last = i + segment == len;
        bool is_up = segment == 3 && memcmp(path + i, "/..", 3) == 0;
        bool is_dot = segment == 2 && memcmp(path + i, "/.", 2) == 0;
        while (is_up && out->len > start && out->data[--out->len] != '/')
            ;
        if (!is_up && !is_dot)
            str_append(out, path + i, segment);
        else if (is_last)
            str_append_char(out, '/');
        i += segment;
    }
}

/* scheme://authority of a URL: its length. */
static size_t origin_len(const char *url)
{
    const char *authority = strstr(url, "://") + 3;
    return (size_t)(authority - url) + strcspn(authority, "/?");
}

/* What the reference says of scheme and authority goes to out; what is left of it is returned. NULL: it says nothing. */
static const char *authority_take(const char *base, const char *reference, struct str *out)
{
    size_t head = 0;
    if (str_starts_with(reference, "//")) {
        str_append(out, base, (size_t)(strchr(base, ':') + 1 - base));
        head = 2 + strcspn(reference + 2, "/?");
    } else if (scheme_len(reference) == 0) {
        return NULL;
    } else if (strstr(reference, "://")) {
        head = origin_len(reference);
    }
    str_append(out, reference, head);
    return reference + head;
}

/* The base's path, as far as a reference without authority keeps it. */
static void base_path_take(const char *base_path, const char *reference, struct str *out)
{
    size_t len = strcspn(base_path, "?");
    if (reference[0] == '/')
        return;
    while (reference[0] != '?' && len > 0 && base_path[len - 1] != '/')
        len--;
    str_append(out, base_path, len);
    if (len == 0)
        str_append_char(out, '/');
}

/* RFC 3986, 5.2.2, for a base that has an authority. */
static void resolve(const char *base, const char *reference, struct str *out)
{
    _cleanup_(str_deinitp) struct str path = STR_INIT;
    size_t origin = origin_len(base);
    const char *rest = authority_take(base, reference, out);
    if (!rest) {
        str_append(out, base, origin);
        base_path_take(base + origin, reference, &path);
        rest = reference;
    }
    size_t path_len = strcspn(rest, "?");
    str_append(&path, rest, path_len);
    path_append(out, path.len > 0 ? path.data : "", path.len);
    str_append_text(out, rest + path_len);
}

static int scheme_check(const char *base, const char *target, struct err *err)
{
    size_t len = scheme_len(target);
    bool is_plain = scheme_is(target, len, "http");
    if (!is_plain && !scheme_is(target, len, "https"))
        return err_set(err, ERR_DENIED, "the server redirects to a scheme that is neither http nor https");
    if (is_plain && scheme_is(base, scheme_len(base), "https"))
        return err_set(err, ERR_PRECONDITION,
                       "the server redirects from https to http: such a downgrade is not followed");
    return 0;
}

const char *http_redirect_target(struct arena *arena, const char *base, const char *location, struct url *target,
                                 struct err *err)
{
    _cleanup_(str_deinitp) struct str reference = STR_INIT;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct err why = ERR_INIT;
    clean(location, &reference);
    if (strlen(location) > URL_MAX || reference.len == 0) {
        err_set(err, ERR_PRECONDITION, "HTTP protocol error: a redirect's Location is empty or too long");
        return NULL;
    }
    resolve(base, reference.data, &text);
    if (scheme_check(base, text.data, err) != 0)
        return NULL;
    if (url_parse(arena, text.data, text.len, target, &why) != 0) {
        bool is_user = strstr(text.data, "://") && memchr(text.data, '@', origin_len(text.data));
        err_set(err, is_user ? ERR_DENIED : ERR_PRECONDITION, "a redirect's Location cannot be followed: %s",
                why.message);
        return NULL;
    }
    return arena_strndup(arena, text.data, text.len);
}
