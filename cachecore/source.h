/*
 * Sources: the services behind URLs. A source is small: resolve (what is there now, for this identity), list (what is below a
 * prefix), member (one of what was listed) and authorize (a byte range and credentials in, a request ready to send out; pure). The fetch
 * engine owns every transfer, retry, split and hash. A new source is one new file source_<kind>.c and one line in the table of
 * source.c.
 */
#pragma once

#include "cachecore/class.h"
#include "cachecore/credentials.h"
#include "cachecore/http.h"
#include "cachecore/url.h"

/* What a source may use of the requester and the class. Constant while a fill runs. */
struct source_context {
    const struct class *class; /* endpoint, region, rules */
    struct identity *identity; /* the requester; locks itself */
    const char *volume;        /* hex digest of the volume id: the validator of objects that state none */
};

/* One question, with the credentials that it goes out with. Borrowed for the time of the call. */
struct source_call {
    const struct source_context *context;
    const struct credentials *credentials;
    struct http *http;
    const atomic_bool *cancel;
};

struct source_object {
    const char *kind;      /* "https", "http", "s3", "gs", "az" */
    const char *authority; /* host:port really asked */
    const char *canonical; /* canonical URL without signature parameters */
    const char *display;
    const char *request_url;  /* as it is asked for: may be signed; never shown */
    const char *validator;    /* "etag:...", "generation:..", "modified:<s>:<size>", "unversioned:<volume>" */
    bool validator_is_strong; /* ranges may be joined under If-Match */
    const char *etag;         /* for If-Match; NULL if none or weak */
    const char *version_id;   /* S3, Azure; Cloud Storage: the generation; NULL if none */
    const char *region;       /* S3: what signatures name; NULL elsewhere */
    uint64_t size;
    bool size_is_known;      /* else: one stream, no ranges */
    bool ranges;             /* the server honours ranges */
    struct checksums stated; /* about the whole; more may come with the bytes */
    int64_t mtime_s;
    uint32_t mtime_ns;
};

struct source_range {
    uint64_t offset;
    uint64_t len;  /* 0: the whole, without Range */
    int64_t now_s; /* wall clock: signatures name it */
    bool is_head;  /* the answer's headers alone */
};

/* One object of a listing. The key is decoded and may hold any byte but NUL. Text lives until the callback returns. */
struct source_entry {
    const char *key;
    size_t key_len;
    uint64_t size;
    int64_t mtime_s; /* 0 if none */
    uint32_t mtime_ns;
    const char *validator; /* as resolve would say of this object: strong */
    bool is_archived;      /* not readable before it is restored */
};
/* Non-zero ends the listing; what list then returns is -1, with err as it was set here. */
typedef int (*source_each)(void *context, const struct source_entry *entry, struct err *err);
/* A part of the keys that may stand between entries ("a/b/" where '/' divides): with a delimiter only. */
typedef int (*source_each_prefix)(void *context, const char *prefix, size_t len, struct err *err);

/* One page of what is there. */
struct source_page {
    const struct url *url; /* names the bucket; its path is not looked at */
    const char *prefix;    /* decoded; "" for all */
    const char *
        after; /* keys greater than this one only (bytes); NULL: from the first. Not where the source cannot (after_works) */
    const char *token;  /* of the page before; NULL: the first one */
    bool divides;       /* by '/': keys beyond the next '/' are reported as a prefix */
    unsigned count_max; /* 0: as many as the server gives */
    source_each each;
    source_each_prefix each_prefix; /* NULL unless divides */
    void *each_context;
};

struct source {
    const char *kind;
    const char *const *schemes; /* closed by NULL */
    bool (*takes)(
        const struct url *url); /* a URL of another scheme that is nevertheless this source's; NULL: none is */
    const struct credential_chain *chain;
    bool after_works; /* a listing can start behind any key */
    bool head_states; /* an answer to HEAD states checksums that answers to ranges do not; authorize knows is_head */

    /* What the URL is now. Errors name the cause in words ("HTTP 404: no such object"): ERR_NOT_FOUND 404 410, ERR_UNAUTHENTICATED 401
     * and expired tokens, ERR_DENIED 403, ERR_UNAVAILABLE 429 5xx (err says Retry-After), ERR_PRECONDITION protocol errors. */
    int (*resolve)(const struct source_call *call, const struct url *url, struct arena *arena,
                   struct source_object *out, struct err *err);

    /* NULL where there is no such thing. Calls back in the order of the keys (bytes). *next is the next page's token, in arena; NULL: it
     * was the last. Errors as resolve. */
    int (*list)(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
                struct err *err);
    /* The object that resolve would make of a listed key now, without asking anybody; url names the bucket. Pure. */
    int (*member)(const struct source_call *call, const struct url *url, const struct source_entry *entry,
                  struct arena *arena, struct source_object *out, struct err *err);

    /* The request for bytes [range->offset, range->offset + range->len); pure. */
    int (*authorize)(const struct source_call *call, const struct source_object *object,
                     const struct source_range *range, struct arena *arena, struct http_request *out, struct err *err);
};

/* ERR_INVALID for a scheme of no source. */
const struct source *source_for(const struct url *url, struct err *err);

/* Finds the credentials of a call whose other members are set; source_call_end gives them back. host: url->host. */
int source_call_begin(const struct source *source, const char *host, struct source_call *call, struct err *err);
void source_call_end(struct source_call *call);

/*
 * Asks until there is an answer: retries ERR_UNAVAILABLE with jittered backoff (at most 4 tries, Retry-After honoured up to 60 s, never
 * beyond deadline_ms), and once ERR_UNAUTHENTICATED with credentials looked up anew where they were not the requester's own words.
 * call: context, http and cancel are set.
 */
typedef int (*source_question)(const struct source_call *call, void *context, struct err *err);
struct source_asking {
    const struct source *source;
    const char *host; /* url->host */
    struct source_call call;
    int64_t deadline_ms;
};
int source_ask(const struct source_asking *asking, source_question question, void *context, struct err *err);

/* resolve, asked so. Refuses what the class does not allow (allowedSources). */
int source_resolve(const struct source_asking *asking, const struct url *url, struct arena *arena,
                   struct source_object *out, struct err *err);

/* A status that is not what was asked for, in words and with a code: one table for all sources. Sets err, returns -1. */
int source_status_error(const struct http_response *response, const char *display, struct err *err);
