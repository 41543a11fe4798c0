/*
 * URLs of inputs. Parsing is pure, strict and bounded (RFC 3986 grammar; at most 8,192 bytes; no user information, no
 * fragment, no raw control, space or non-ASCII bytes). Messages about a URL show url->display: it never holds a query.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define URL_MAX 8192

struct url {
    const char *scheme; /* lowercase: http https s3 gs az */
    const char *host;   /* lowercase, without brackets; the bucket for s3 and gs, the account for az */
    uint16_t port;      /* explicit or the scheme's default; 0 for s3, gs, az */
    const char
        *path; /* begins with '/'; canonical percent-encoding: unreserved characters and "!$&'()*+,;=:@/" as they are,
                           the rest %XX uppercase; "." and ".." segments are refused (not removed) */
    const char *
        query; /* without '?', as given; NULL if none. s3, gs, az: only a version (versionId=, generation=, versionid=) */
    const char *
        canonical; /* scheme://host[:port]path[?query without signature parameters]; may hold a token: never to be shown */
    const char *display; /* the same without any query: for messages and logs */
    bool is_glob;        /* s3, gs, az: the path as written holds '*', '?' or '[' */
    const char *
        glob; /* the pattern (cachecore/glob.h): the path as written without its first '/', where "*?[]!-" that were escaped still are;
                         NULL unless is_glob. What display shows, too */
    bool is_signed; /* the query carries a signature or token parameters that canonical leaves out */
};

int url_parse(struct arena *arena, const char *text, size_t len, struct url *out, struct err *err);

/* Percent-decoded last path segment: the default place of a single object. NULL when it is empty or not a file name. */
const char *url_basename(struct arena *arena, const struct url *url);
/* Percent-decodes the path without its first '/': an object store's key. Length through len: keys may hold any byte but NUL. */
const char *url_key(struct arena *arena, const struct url *url, size_t *len, struct err *err);
/* The value of a query parameter, percent-decoded; NULL if it is not there. */
const char *url_query_get(struct arena *arena, const char *query, const char *name);
/* RFC 3986 percent-encoding as AWS wants it (unreserved stays); '/' stays unless encode_slash. */
const char *url_encode(struct arena *arena, const char *text, size_t len, bool encode_slash);
