/* Bytes that somebody calls a JSON Web Token; and as claims of one, where base64 would keep the fuzzer out. */
#include <assert.h>
#include <string.h>

#include "cachecore/jwt.h"
#include "tests/unit/cachecore/jwt_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(struct arena *arena, const char *token, size_t len)
{
    struct jwt_claims claims;
    struct err err = ERR_INIT;
    if (jwt_read(arena, token, len, &claims, &err) != 0) {
        assert(err.code == ERR_UNAUTHENTICATED);
        return;
    }
    assert(len <= JWT_MAX && claims.issuer[0] && claims.subject[0] && claims.expires_s >= 0);
    assert(claims.audience_count >= 1 && claims.audience_count <= JWT_AUDIENCES_MAX);
    assert(jwt_is_for(&claims, claims.audiences[claims.audience_count - 1]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    const char *text = arena_strndup(arena, (const char *)data, size);
    const char *token = jwt_of(arena, "{\"alg\":\"RS256\"}", text, "c2ln");
    try(arena, (const char *)data, size);
    try(arena, token, strlen(token));
    arena_free(arena);
    return 0;
}
