/*
 * What the files of the S3 source share: where a bucket is asked for, how a request is signed, and in which region. Nobody else includes
 * this. Objects: source_s3.c; listings: source_s3_list.c; places and regions: source_s3_place.c.
 */
#pragma once

#include "cachecore/sigv4.h"
#include "cachecore/source.h"

#define S3_HEADERS_MAX 10u
#define S3_KEY_MAX 1024u
#define S3_REGION_MAX 32u

/* Where a bucket is asked for. */
struct s3_place {
    const char *
        base; /* "https://bucket.s3.eu-west-1.amazonaws.com" or "https://s3.example.com/bucket": a key follows after '/' */
    const char *authority; /* host:port */
    const char *region;    /* what signatures name */
};

/* url names the bucket; its path is not looked at. ERR_INVALID for a bad s3Endpoint, ERR_UNSUPPORTED for kinds of buckets that need another
 * protocol. Pure. */
int s3_place_find(const struct source_context *context, const struct url *url, const char *region, struct arena *arena,
                  struct s3_place *out, struct err *err);

/* Lowercase letters, digits and '-', at most S3_REGION_MAX. */
bool s3_region_is_plain(const char *text);

/*
 * Asks in the bucket's region: in the one that an earlier answer of this process named, else the class's, the secret's or us-east-1; and
 * where a refusal names another one, once more there. The region of a bucket is remembered, of few hundred buckets. The question sets
 * *response also where it fails (status 0: there was none).
 */
typedef int (*s3_question)(void *context, const char *region, struct http_response *response, struct err *err);
int s3_ask_in_region(const struct source_call *call, const struct url *url, s3_question question, void *context,
                     struct err *err);

/* The region that it would ask in first: after an answer, the bucket's own. */
void s3_region_now(const struct source_call *call, const struct url *url, char out[S3_REGION_MAX + 1]);

/* A request without a body that is to be signed. */
struct s3_request {
    const char *method;
    const char *url;                /* with its query as sigv4_query wrote it */
    const struct sigv4_pair *query; /* the same, decoded */
    size_t query_count;
    const char *region;
    int64_t now_s;
};

/* Appends to headers (room for S3_HEADERS_MAX) what proves who asks, nothing for an anonymous call; signs them all. Returns their count.
 * Pure. */
size_t s3_sign(const struct credentials *credentials, const struct s3_request *request, struct arena *arena,
               struct http_header *headers, size_t count);

/* One object of a bucket, before anybody is asked about it: who it is and how it is asked for. key is decoded, version may be NULL.
 * canonical and display are of the object. ERR_INVALID for a key that is too long. Pure. */
struct s3_key {
    const char *key;
    size_t len;
    const char *version;
    const char *canonical, *display;
};
int s3_object_make(const struct s3_place *place, const struct s3_key *key, struct arena *arena,
                   struct source_object *out, struct err *err);
/* The validator of an object with this ETag, quotes and all: that of a listed one is that of a probed one. */
const char *s3_validator(struct arena *arena, const char *etag);

/* source_s3_list.c: list and member of the source. */
int s3_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err);
int s3_member(const struct source_call *call, const struct url *url, const struct source_entry *entry,
              struct arena *arena, struct source_object *out, struct err *err);
