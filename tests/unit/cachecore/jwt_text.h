/* Tokens for tests, in the arena: signed by nobody. */
#pragma once

#include <string.h>

#include "cachecore/base64.h"

static inline const char *jwt_of(struct arena *arena, const char *header, const char *claims, const char *signature)
{
    return arena_printf(arena, "%s.%s.%s", base64_encode_url(arena, header, strlen(header)),
                        base64_encode_url(arena, claims, strlen(claims)), signature);
}

/* As kubelet brings it. */
static inline const char *jwt_text(struct arena *arena, const char *subject, const char *audience, const char *more)
{
    return jwt_of(arena, "{\"alg\":\"RS256\",\"kid\":\"k\"}",
                  arena_printf(arena, "{\"iss\":\"https://oidc.cluster.test\",\"sub\":\"%s\",\"aud\":[\"%s\"]%s}",
                               subject, audience, more),
                  "c2lnbmF0dXJlLXRva2Vu");
}
