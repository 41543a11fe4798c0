/*
 * AWS Signature Version 4 (AWS General Reference, "Create a signed AWS API request"): a request in, the Authorization header's value
 * out. Pure; proved by AWS's published vectors (tests/golden/sigv4). The path is signed as it is sent, as S3 has it: other services
 * would encode it once more.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/secret.h"

#define SIGV4_DATE_LEN 17 /* 20130524T000000Z and the NUL */
#define SIGV4_PAIRS_MAX 64u
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_pair {
    const char *name;
    const char *value;
};

struct sigv4_request {
    const char *method;
    const char *path;               /* percent-encoded, begins with '/' */
    const struct sigv4_pair *query; /* decoded, in any order */
    size_t query_count;
    const struct sigv4_pair
        *headers; /* the ones to be signed, "host" and "x-amz-date" among them, in any order and case */
    size_t header_count;
    const char *payload_sha256; /* hex */
};

struct sigv4_key {
    const char *access_key_id;
    const struct secret *secret_key;
    const char *region;
    const char *service;
};

void sigv4_date(int64_t now_s, char out[SIGV4_DATE_LEN]);

/* Steps 1 and 2 of the published procedure, for tests and for those who compare with a server's answer. At most SIGV4_PAIRS_MAX pairs of
 * each kind. */
const char *sigv4_canonical_request(struct arena *arena, const struct sigv4_request *request);
const char *sigv4_string_to_sign(struct arena *arena, const struct sigv4_key *key, const char *date,
                                 const char *canonical_request);

/* "AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...". date must be the value of x-amz-date. */
const char *sigv4_authorization(struct arena *arena, const struct sigv4_key *key, const char *date,
                                const struct sigv4_request *request);

/* name=value&... as it was signed: sorted and encoded; "" for no pairs. What is sent should be this text. */
const char *sigv4_query(struct arena *arena, const struct sigv4_pair *pairs, size_t count);
