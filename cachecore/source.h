/*
 * Sources: the services behind URLs. A source is small: resolve (what is there now, for this identity) and authorize (a byte
 * range and credentials in, a request ready to send out; pure). The fetch engine owns every transfer, retry, split and hash.
 * A new source is one new file source_<kind>.c and one line in the table of source.c.
 */
#pragma once

#include "cachecore/class.h"
#include "cachecore/http.h"
#include "cachecore/url.h"

/* What a source may use of the requester and the class. Constant while a fill runs. */
struct source_context {
    const struct class *class; /* endpoint, region, rules */
    const struct secret_map
        *secrets;         /* the CSI secrets: AWS_ACCESS_KEY_ID .. or key_id ..; for https: username, password, token */
    const char *identity; /* hex digest that stands for the requester's credentials; "" when none are sent */
    const char *volume;   /* hex digest of the volume id: the validator of objects that state none */
};

struct source_object {
    const char *kind;      /* "https", "http", "s3" */
    const char *authority; /* host:port really asked */
    const char *canonical; /* canonical URL without signature parameters */
    const char *display;
    const char *request_url;  /* as it is asked for: may be signed; never shown */
    const char *validator;    /* "etag:...", "version:...", "modified:<s>:<size>", "unversioned:<volume>" */
    bool validator_is_strong; /* ranges may be joined under If-Match */
    const char *etag;         /* for If-Match; NULL if none or weak */
    const char *version_id;   /* S3; NULL if none */
    const char *region;       /* S3: what signatures name; NULL elsewhere */
    uint64_t size;
    bool size_is_known; /* else: one stream, no ranges */
    bool ranges;        /* the server honours ranges */
    int64_t mtime_s;
    uint32_t mtime_ns;
};

struct source {
    const char *kind;
    const char *const *schemes; /* closed by NULL */
    /* What the URL is now. Errors name the cause in words ("HTTP 404: no such object"): ERR_NOT_FOUND 404 410, ERR_UNAUTHENTICATED 401
     * and expired tokens, ERR_DENIED 403, ERR_UNAVAILABLE 429 5xx (err says Retry-After), ERR_PRECONDITION protocol errors. */
    int (*resolve)(struct http *http, const struct source_context *context, const struct url *url, struct arena *arena,
                   struct source_object *out, const atomic_bool *cancel, struct err *err);
    /* The request for bytes [offset, offset + len) (len 0: the whole, without Range) at time now_s; pure. */
    int (*authorize)(const struct source_context *context, const struct source_object *object, uint64_t offset,
                     uint64_t len, int64_t now_s, struct arena *arena, struct http_request *out, struct err *err);
};

/* ERR_UNSUPPORTED for a known scheme that is not built yet, ERR_INVALID for any other. */
const struct source *source_for(const struct url *url, struct err *err);

/* Refuses what the class does not allow (allowedSources). Retries resolve with jittered backoff (at most 4 tries, Retry-After honoured
 * up to 60 s, never beyond deadline_ms). */
int source_resolve(const struct source *source, struct http *http, const struct source_context *context,
                   const struct url *url, struct arena *arena, struct source_object *out, int64_t deadline_ms,
                   const atomic_bool *cancel, struct err *err);

/* A status that is not what was asked for, in words and with a code: one table for all sources. Sets err, returns -1. */
int source_status_error(const struct http_response *response, const char *display, struct err *err);

/* Hex digest that stands for the credentials in secrets ("" when there are none), for object ids under weak validators. */
void source_identity(const struct secret_map *secrets, char out[65]);
