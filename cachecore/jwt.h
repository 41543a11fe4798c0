/*
 * JSON Web Tokens (RFC 7519; compact form of RFC 7515), as far as whoever passes them on has to look into them. Claims are read and
 * nothing is believed: the signature is for the service that the token is shown to. Strict and bounded. Pure; no part of a token is ever in
 * a message.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define JWT_MAX 16384u /* bytes of a token */
#define JWT_AUDIENCES_MAX 16u

struct jwt_claims {
    const char *issuer;  /* iss */
    const char *subject; /* sub */
    const char *audiences[JWT_AUDIENCES_MAX];
    size_t audience_count;
    int64_t expires_s; /* exp; 0: not said */
};

/* ERR_UNAUTHENTICATED when it is no token that is signed and says iss, sub and aud. Text is in arena. */
int jwt_read(struct arena *arena, const char *token, size_t len, struct jwt_claims *out, struct err *err);

bool jwt_is_for(const struct jwt_claims *claims, const char *audience);
