/*
 * What a CSI secret says, under the key names that people use already: S3 access keys, and user names, passwords and bearer tokens for
 * the web. Pure. Errors name keys, never values.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"

struct credentials_s3 {
    const struct secret *access_key_id; /* NULL: anonymous; borrowed from the map, like the others */
    const struct secret *secret_key;
    const struct secret *session_token; /* NULL if none */
    const char *region;                 /* NULL if none */
};

/* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_DEFAULT_REGION, and their other names (see the table in .c).
 * secrets may be NULL. ERR_UNAUTHENTICATED when one half of a pair is missing; ERR_INVALID for a control character in a value. */
int credentials_s3(const struct secret_map *secrets, struct credentials_s3 *out, struct err *err);

/* The value of the Authorization header that host is to get: "Basic ..." from username and password, "Bearer ..." from token
 * (bearer, HF_TOKEN); NULL when the secret holds neither, or when its key https-host names another host. Errors as above. */
int credentials_web(const struct secret_map *secrets, const char *host, struct arena *arena, const char **out,
                    struct err *err);
