/*
 * A question to a token service or a metadata service: one request on a connection of its own, never redirected, a small answer held
 * in memory that is to be wiped. Only credential code comes here: metadata addresses may be reached from nowhere else.
 */
#pragma once

#include "cachecore/credentials.h"
#include "cachecore/http.h"

#define CREDENTIAL_ANSWER_MAX (256u << 10)
#define CREDENTIAL_TIMEOUT_MS 10000
#define CREDENTIAL_METADATA_TIMEOUT_MS 2000

struct credential_question {
    const struct credentials_request *request; /* class and cancel */
    const char *service;                       /* for messages: "AWS STS" */
    const char *method;
    const char *url; /* never shown */
    const struct http_header *headers;
    size_t header_count;
    const void *body; /* NULL: none */
    size_t body_len;
    bool is_metadata; /* link-local services of the node: no proxy, short timeouts */
};

struct credential_answer {
    int status;
    const char *body; /* in the arena, NUL-terminated behind len; also of an error, then of at most 8 KiB */
    size_t len;
    bool is_google_metadata; /* "Metadata-Flavor: Google" came with it */
};

/* arena is the caller's, to be wiped. 0 when an answer came, whatever its status; a 429 or 503 that names a time (Retry-After, up to 60 s) is
 * asked again then, twice at most. -1: as http_perform, prefixed with the service. */
int credential_ask(const struct credential_question *question, struct arena *arena, struct credential_answer *out,
                   struct err *err);

/* What a status that is no success means, for services that say nothing better: 429 and 5xx ERR_UNAVAILABLE, 401 and 400
 * ERR_UNAUTHENTICATED, 403 ERR_DENIED, others ERR_PRECONDITION. code: what the service calls it, sanitised here; "" if nothing.
 * "AWS STS: HTTP 400 ExpiredToken". Returns -1. */
int credential_status_error(const struct credential_question *question, const struct credential_answer *answer,
                            const char *code, struct err *err);
