/*
 * What the files of the chain for Google share with each other: key files, answers of token services, and the ways to a token. Nobody
 * else includes this. Protocols: RFC 7523 (key files), RFC 8693 (sts.googleapis.com), iamcredentials generateAccessToken, the metadata
 * server of Compute Engine and GKE.
 */
#pragma once

#include "cachecore/credential_http.h"

#define GOOGLE_SCOPE_READ "https://www.googleapis.com/auth/devstorage.read_only"
#define GOOGLE_SCOPE_IAM "https://www.googleapis.com/auth/iam" /* for nothing but to become a service account */
#define GOOGLE_TOKEN_MAX 16384u

/* An access token, fit for a header; in an arena that is to be wiped. */
struct google_token {
    const char *value;
    int64_t expires_s;
};

/* What a key file of a service account says that is of use; token_uri and other addresses in it are never asked. */
struct google_key {
    const char *email;
    const char *id;          /* NULL */
    const char *private_key; /* PEM */
};

/* credential_google_key.c. Strict and pure. ERR_INVALID; ERR_UNSUPPORTED for other kinds of credentials than service accounts. */
int google_key_parse(struct arena *arena, const char *text, size_t len, struct google_key *out, struct err *err);

/* credential_google_answer.c. Pure. ERR_PRECONDITION for what is no answer of the protocol. */
typedef int (*google_parse)(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                            struct google_token *out, struct err *err);
int google_token_parse(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                       struct google_token *out, struct err *err); /* RFC 6749, 5.1 */
int google_impersonation_parse(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                               struct google_token *out, struct err *err);
/* The code of an error, of RFC 6749, 5.2 or of Google's APIs; "" if there is none. */
const char *google_error_code(const struct credential_answer *answer, struct arena *arena);

/* What a refusal with this code means, for the one who can do something about it; closed by a NULL code. */
struct google_hint {
    const char *code;
    const char *text;
};

/* credentials_google.c: asks, and reads the token out of an answer with status 200. */
int google_ask(const struct credential_question *question, const struct google_hint *hints, google_parse parse,
               struct google_token *out, struct arena *arena, struct err *err);
/* The URL of a service: where the class says, or Google's own. */
const char *google_url(struct arena *arena, const char *endpoint, const char *google, const char *path);
struct credentials *google_bearer(const struct google_token *token, const char *origin);

/* The ways, each in a file of its own: as credential_chain.find. */
int google_key_find(const struct credentials_request *request, const struct secret *file, struct credentials **out,
                    struct err *err); /* credential_google_key.c */
int google_federation_find(const struct credentials_request *request, struct credentials **out, struct err *err);
int google_node_find(const struct credentials_request *request, struct credentials **out, struct err *err);
