#include "cachecore/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "cachecore/url_text.h"

#define HOST_MAX 253u
#define LABEL_MAX 63u

/* What the schemes differ in; the order is that of messages. */
static const struct scheme {
    const char *name;
    uint16_t port; /* 0: the host is a bucket or an account */
    size_t host_min, host_max;
    const char *host_what;
    const char *host_extra; /* bytes beside a-z and 0-9 */
    const char *const versions[2];
} schemes[] = {
    {"s3", 0, 3, 63, "a bucket name", ".-_", {"versionId", NULL}},
    {"gs", 0, 3, 222, "a bucket name", ".-_", {"generation", NULL}},
    {"az", 0, 3, 24, "a storage account name", "", {"versionid", "versionId"}},
    {"https", 443, 1, HOST_MAX, "a host name", ".-_", {NULL, NULL}},
    {"http", 80, 1, HOST_MAX, "a host name", ".-_", {NULL, NULL}},
};

/* A piece of the text that is being parsed. */
struct span {
    const char *data;
    size_t len;
};

static struct span span_of(const char *data, const char *end)
{
    return (struct span){data, (size_t)(end - data)};
}

static const char *span_find(struct span span, const char *bytes)
{
    for (size_t i = 0; i < span.len; i++) {
        if (strchr(bytes, span.data[i]))
            return span.data + i;
    }
    return span.data + span.len;
}

static int text_check(const char *text, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_INVALID, "the URL is empty");
    if (len > URL_MAX)
        return err_set(err, ERR_INVALID, "the URL is longer than %d bytes", URL_MAX);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c >= 0x7f)
            return err_set(err, ERR_INVALID,
                           "the URL holds a space, control or non-ASCII byte (0x%02x at byte %zu): write it as %%%02X",
                           c, i + 1, c);
        if (strchr("\"<>\\^`{|}", c))
            return err_set(err, ERR_INVALID, "the URL holds '%c' at byte %zu: write it as %%%02X", c, i + 1, c);
        if (c == '#')
            return err_set(err, ERR_INVALID, "the URL has a fragment ('#'): leave it out, or write '#' as %%23");
    }
    return 0;
}

static const struct scheme *scheme_parse(struct span *rest, struct err *err)
{
    const char *colon = span_find(*rest, ":/?");
    struct span name = span_of(rest->data, colon);
    struct span after = span_of(colon, rest->data + rest->len);
    if (after.len < 3 || memcmp(after.data, "://", 3) != 0 || name.len == 0) {
        err_set(err, ERR_INVALID, "the URL does not start with a scheme: use s3://, gs://, az://, https:// or http://");
        return NULL;
    }
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strlen(schemes[i].name) == name.len && strncasecmp(schemes[i].name, name.data, name.len) == 0) {
            *rest = (struct span){after.data + 3, after.len - 3};
            return &schemes[i];
        }
    }
    err_set(err, ERR_INVALID, "the URL's scheme is not supported: use s3://, gs://, az://, https:// or http://");
    return NULL;
}

static int port_parse(struct span text, uint16_t *out, struct err *err)
{
    char digits[8] = {0};
    uint64_t port = 0;
    if (text.len < sizeof(digits))
        memcpy(digits, text.data, text.len);
    if (str_parse_u64(digits, 65535, &port) != 0 || port == 0)
        return err_set(err, ERR_INVALID, "the URL's port is not a number from 1 to 65535");
    *out = (uint16_t)port;
    return 0;
}

/* RFC 3986 IP-literal; zones have no meaning for an input and are refused with everything else that is no address. */
static int ipv6_parse(struct arena *arena, struct span text, const char **host, struct err *err)
{
    char literal[INET6_ADDRSTRLEN] = {0};
    struct in6_addr address;
    if (text.len < sizeof(literal))
        memcpy(literal, text.data, text.len);
    if (inet_pton(AF_INET6, literal, &address) != 1)
        return err_set(err, ERR_INVALID, "the URL's host in [] is not an IPv6 address");
    inet_ntop(AF_INET6, &address, literal, sizeof(literal));
    *host = arena_strdup(arena, literal);
    return 0;
}

static int labels_check(const char *host, const struct scheme *scheme, struct err *err)
{
    size_t label = 0;
    for (const char *p = host;; p++) {
        if (*p == '.' || *p == '\0') {
            if (label == 0 || label > LABEL_MAX || p[-1] == '-' || p[-(ptrdiff_t)label] == '-')
                return err_set(err, ERR_INVALID, "the URL's host is not %s", scheme->host_what);
            label = 0;
            if (*p == '\0')
                return 0;
        } else {
            label++;
        }
    }
}

static int name_parse(struct arena *arena, struct span text, const struct scheme *scheme, const char **out,
                      struct err *err)
{
    if (text.len == 0)
        return err_set(err, ERR_INVALID, "the URL has no host");
    if (text.len < scheme->host_min || text.len > scheme->host_max)
        return err_set(err, ERR_INVALID, "the URL's host is not %s: it has %zu bytes, allowed are %zu to %zu",
                       scheme->host_what, text.len, scheme->host_min, scheme->host_max);
    char *host = arena_strndup(arena, text.data, text.len);
    for (char *p = host; *p; p++) {
        if (scheme->port > 0)
            *p = (char)tolower((unsigned char)*p);
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && !strchr(scheme->host_extra, *p))
            return err_set(err, ERR_INVALID, "the URL's host is not %s: byte %zu of it is not allowed there",
                           scheme->host_what, (size_t)(p - host) + 1);
    }
    *out = host;
    return labels_check(host, scheme, err);
}

/* host[:port], where the host may be an address in brackets. */
static int authority_parse(struct arena *arena, struct span text, const struct scheme *scheme, struct url *url,
                           struct err *err)
{
    if (memchr(text.data, '@', text.len))
        return err_set(err, ERR_INVALID, "the URL holds user information ('@'): put credentials into a secret");
    if (scheme->port == 0 && text.len > 4 && memcmp(text.data, "arn:", 4) == 0)
        return err_set(err, ERR_INVALID, "the URL holds an ARN: write the bucket's name or the access point's alias");
    bool bracket = scheme->port > 0 && text.len > 0 && text.data[0] == '[';
    const char *end = text.data + text.len;
    const char *host_end = span_find(text, bracket ? "]" : ":");
    if (bracket && host_end == end)
        return err_set(err, ERR_INVALID, "the URL's host has no closing ']'");
    struct span host = span_of(text.data + bracket, host_end);
    struct span rest = span_of(host_end + bracket, end);
    if (bracket ? ipv6_parse(arena, host, &url->host, err) : name_parse(arena, host, scheme, &url->host, err))
        return -1;
    url->port = scheme->port;
    if (rest.len == 0)
        return 0;
    if (rest.data[0] != ':' || scheme->port == 0)
        return err_set(err, ERR_INVALID, "the URL has something after the host that is no path");
    return port_parse((struct span){rest.data + 1, rest.len - 1}, &url->port, err);
}

/* In a bucket's URL '?' is a glob, unless a version follows. */
static bool query_starts(const struct scheme *scheme, struct span after)
{
    if (scheme->port > 0)
        return true;
    for (size_t i = 0; i < 2 && scheme->versions[i]; i++) {
        size_t len = strlen(scheme->versions[i]);
        if (after.len > len && memcmp(after.data, scheme->versions[i], len) == 0 && after.data[len] == '=')
            return memchr(after.data, '&', after.len) == NULL;
    }
    return false;
}

/* Else its '?' would be a glob that matches nothing. */
static int snapshot_check(const struct scheme *scheme, struct span text, struct err *err)
{
    if (strcmp(scheme->name, "az") == 0 && memmem(text.data, text.len, "?snapshot=", 10))
        return err_set(err, ERR_INVALID, "snapshots of blobs are not read: name the blob, or a version by ?versionid=");
    return 0;
}

static const char *query_find(const struct scheme *scheme, struct span text)
{
    const char *end = text.data + text.len;
    for (const char *p = text.data; p < end; p++) {
        if (*p == '?' && query_starts(scheme, span_of(p + 1, end)))
            return p;
    }
    return end;
}

static int segments_check(const char *path, struct err *err)
{
    for (const char *p = path; *p;) {
        size_t len = strcspn(++p, "/");
        if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
            return err_set(err, ERR_INVALID, "the URL's path holds a '.' or '..' segment");
        p += len;
    }
    return 0;
}

static int path_parse(struct arena *arena, struct span text, const struct scheme *scheme, struct url *url,
                      struct err *err)
{
    bool bucket = scheme->port == 0;
    url->is_glob = bucket && span_find(text, "*?[") != text.data + text.len;
    const char *path = text.len == 0 ? "/" : url_path_canonical(arena, text.data, text.len, bucket, err);
    if (!path)
        return -1;
    url->path = path;
    url->glob = url->is_glob ? url_path_glob(arena, text.data, text.len) + 1 : NULL;
    return segments_check(path, err);
}

static void texts_make(struct arena *arena, const struct scheme *scheme, struct url *url)
{
    bool brackets = strchr(url->host, ':') != NULL;
    char port[8] = "";
    if (url->port != scheme->port)
        snprintf(port, sizeof(port), ":%u", url->port);
    const char *plain = arena_printf(arena, "%s://%s%s%s%s%s", scheme->name, brackets ? "[" : "", url->host,
                                     brackets ? "]" : "", port, url->path);
    const char *kept = url->query ? url_query_unsigned(arena, url->query, &url->is_signed) : "";
    url->display = url->is_glob ? arena_printf(arena, "%s://%s/%s", scheme->name, url->host, url->glob) : plain;
    url->canonical = *kept ? arena_printf(arena, "%s?%s", plain, kept) : plain;
}

int url_parse(struct arena *arena, const char *text, size_t len, struct url *out, struct err *err)
{
    struct url url = {0};
    struct span rest = {text, len};
    if (text_check(text, len, err) != 0)
        return -1;
    const struct scheme *scheme = scheme_parse(&rest, err);
    if (!scheme)
        return -1;
    url.scheme = scheme->name;
    const char *end = rest.data + rest.len;
    const char *path = span_find(rest, "/?");
    const char *query = query_find(scheme, span_of(path, end));
    if (snapshot_check(scheme, span_of(path, end), err) != 0 ||
        authority_parse(arena, span_of(rest.data, path), scheme, &url, err) != 0 ||
        path_parse(arena, span_of(path, query), scheme, &url, err) != 0)
        return -1;
    if (query != end && query + 1 != end)
        url.query = arena_strndup(arena, query + 1, (size_t)(end - query - 1));
    if (url.query && !url_escapes_are_valid(url.query))
        return err_set(err, ERR_INVALID, "the URL's query holds a '%%' that is not followed by two hex digits");
    texts_make(arena, scheme, &url);
    *out = url;
    return 0;
}
