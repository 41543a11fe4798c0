#include "cachecore/url_text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define SUB_DELIMS "!$&'()*+,;=:@/"

static bool is_unreserved(unsigned char c)
{
    return isalnum(c) || (c != '\0' && strchr("-._~", c));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that "%XX" at text stands for, -1 if it is no escape. */
static int escape_value(const char *text, size_t left)
{
    if (left < 3 || text[0] != '%')
        return -1;
    int high = hex_value(text[1]);
    int low = hex_value(text[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool url_escapes_are_valid(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%' && escape_value(text + i, len - i) < 0)
            return false;
    }
    return true;
}

static size_t escape_write(char *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    out[0] = '%';
    out[1] = digits[c >> 4];
    out[2] = digits[c & 15];
    return 3;
}

static bool stays_literal(unsigned char c, bool was_escaped, bool is_key)
{
    if (is_unreserved(c))
        return true;
    return (is_key || !was_escaped) && c != '\0' && strchr(SUB_DELIMS, c);
}

const char *url_path_canonical(struct arena *arena, const char *path, size_t len, bool is_key, struct err *err)
{
    if (len == 0 || path[0] != '/') {
        err_set(err, ERR_INVALID, "the URL's path does not begin with '/'");
        return NULL;
    }
    char *out = arena_alloc(arena, 3 * len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        bool escaped = path[i] == '%';
        int value = escaped ? escape_value(path + i, len - i) : (unsigned char)path[i];
        if (value <= 0) {
            err_set(err, ERR_INVALID,
                    value < 0 ? "the URL's path holds a '%%' that is not followed by two hex digits"
                              : "the URL's path holds an escaped NUL");
            return NULL;
        }
        if (stays_literal((unsigned char)value, escaped, is_key))
            out[used++] = (char)value;
        else
            used += escape_write(out + used, (unsigned char)value);
        i += escaped ? 2 : 0;
    }
    return out;
}

const char *url_path_glob(struct arena *arena, const char *path, size_t len)
{
    char *out = arena_alloc(arena, 3 * len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        bool escaped = path[i] == '%';
        unsigned char c = (unsigned char)(escaped ? escape_value(path + i, len - i) : path[i]);
        bool is_wild = strchr("*?[]!-", c) != NULL;
        if (is_wild ? !escaped : stays_literal(c, escaped, true))
            out[used++] = (char)c;
        else
            used += escape_write(out + used, c);
        i += escaped ? 2 : 0;
    }
    return out;
}

const char *url_of_key(struct arena *arena, const struct url *bucket, const char *key, size_t len)
{
    char *out = arena_printf(arena, "%s://%s/", bucket->scheme, bucket->host);
    size_t used = strlen(out);
    char *url = arena_alloc(arena, used + 3 * len + 1);
    memcpy(url, out, used);
    for (size_t i = 0; i < len; i++) {
        if (stays_literal((unsigned char)key[i], true, true))
            url[used++] = key[i];
        else
            used += escape_write(url + used, (unsigned char)key[i]);
    }
    return url;
}

const char *url_decode(struct arena *arena, const char *text, size_t len, size_t *out_len)
{
    char *out = arena_alloc(arena, len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        int value = escape_value(text + i, len - i);
        out[used++] = value >= 0 ? (char)value : text[i];
        i += value >= 0 ? 2 : 0;
    }
    *out_len = used;
    return out;
}

const char *url_key(struct arena *arena, const struct url *url, size_t *len, struct err *err)
{
    if (url->path[1] == '\0') {
        err_set(err, ERR_INVALID, "the URL names a bucket and no object in it");
        return NULL;
    }
    return url_decode(arena, url->path + 1, strlen(url->path + 1), len);
}

const char *url_basename(struct arena *arena, const struct url *url)
{
    const char *last = strrchr(url->path, '/') + 1;
    size_t len;
    const char *name = url_decode(arena, last, strlen(last), &len);
    bool is_name = len > 0 && len <= 255 && !memchr(name, '/', len) && !memchr(name, '\0', len);
    return is_name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 ? name : NULL;
}

const char *url_encode(struct arena *arena, const char *text, size_t len, bool encode_slash)
{
    char *out = arena_alloc(arena, 3 * len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (is_unreserved(c) || (c == '/' && !encode_slash))
            out[used++] = (char)c;
        else
            used += escape_write(out + used, c);
    }
    return out;
}

/* One "name=value" of a query. */
struct parameter {
    const char *text;
    size_t len;
    size_t name_len;
};

static bool parameter_next(const char **query, struct parameter *out)
{
    if (!*query)
        return false;
    size_t len = strcspn(*query, "&");
    *out = (struct parameter){*query, len, strcspn(*query, "=&")};
    *query = (*query)[len] == '&' ? *query + len + 1 : NULL;
    return true;
}

static bool name_is(const struct parameter *parameter, const char *name)
{
    return strlen(name) == parameter->name_len && strncasecmp(name, parameter->text, parameter->name_len) == 0;
}

static bool name_in(const struct parameter *parameter, const char *const *names)
{
    for (; *names; names++) {
        if (name_is(parameter, *names))
            return true;
    }
    return false;
}

static bool query_has(const char *query, const char *name)
{
    struct parameter parameter;
    while (parameter_next(&query, &parameter)) {
        if (name_is(&parameter, name))
            return true;
    }
    return false;
}

const char *url_query_get(struct arena *arena, const char *query, const char *name)
{
    struct parameter parameter;
    while (parameter_next(&query, &parameter)) {
        if (parameter.name_len != strlen(name) || memcmp(parameter.text, name, parameter.name_len) != 0)
            continue;
        size_t skip = parameter.name_len + (parameter.name_len < parameter.len);
        size_t len;
        return url_decode(arena, parameter.text + skip, parameter.len - skip, &len);
    }
    return NULL;
}

/* The names are too common to be dropped from any query, so their own signature must be there. */
static const char *const azure_names[] = {"sig",   "se",  "sp",    "sv",    "sr",   "st",  "spr", "sip",
                                          "ss",    "srt", "si",    "sdd",   "skt",  "ske", "sks", "skoid",
                                          "sktid", "skv", "saoid", "suoid", "scid", NULL};
static const char *const signature_names[] = {"Signature",   "Expires", "AWSAccessKeyId", "GoogleAccessId",
                                              "Key-Pair-Id", "Policy",  "Hash-Algorithm", "x-amz-security-token",
                                              NULL};

static bool signs(const struct parameter *parameter, const char *query)
{
    if (strncasecmp(parameter->text, "X-Amz-", 6) == 0 || strncasecmp(parameter->text, "X-Goog-", 7) == 0)
        return true;
    if (name_in(parameter, azure_names))
        return query_has(query, "sig");
    return name_in(parameter, signature_names) && query_has(query, "Signature");
}

const char *url_query_unsigned(struct arena *arena, const char *query, bool *is_signed)
{
    char *out = arena_alloc(arena, strlen(query) + 2);
    size_t used = 0;
    const char *rest = query;
    struct parameter parameter;
    *is_signed = false;
    while (parameter_next(&rest, &parameter)) {
        if (signs(&parameter, query)) {
            *is_signed = true;
            continue;
        }
        if (used > 0)
            out[used++] = '&';
        memcpy(out + used, parameter.text, parameter.len);
        used += parameter.len;
    }
    out[used] = '\0';
    return out;
}
