#include "cachecore/jwt.h"

#include <jansson.h>
#include <string.h>

#include "cachecore/base64.h"
#include "cachecore/json_depth.h"

#define DEPTH_MAX 16u
#define CLAIM_MAX 2048u

static int no_token(struct err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHENTICATED, "it is no JSON Web Token: %s", why);
}

/* Header, claims, signature. */
static bool parts_split(const char *token, size_t len, const char *parts[3], size_t lens[3])
{
    const char *end = token + len;
    const char *at = token;
    for (size_t i = 0; i < 3; i++) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        if (!dot == (i < 2))
            return false;
        parts[i] = at;
        lens[i] = (size_t)((dot ? dot : end) - at);
        if (lens[i] == 0)
            return false;
        at = dot ? dot + 1 : end;
    }
    return true;
}

static json_t *part_load(struct arena *arena, const char *text, size_t text_len)
{
    uint8_t *json;
    size_t len;
    if (!base64_decode_url(arena, text, text_len, &json, &len) || !json_is_shallow((char *)json, len, DEPTH_MAX))
        return NULL;
    json_t *object = json_loadb((char *)json, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

/* NULL unless it is a text of a fit size. */
static const char *text_keep(struct arena *arena, const json_t *value)
{
    size_t len = json_string_length(value);
    return len > 0 && len <= CLAIM_MAX ? arena_strdup(arena, json_string_value(value)) : NULL;
}

/* One text, or a list of them. */
static bool audiences_read(struct arena *arena, json_t *aud, struct jwt_claims *out)
{
    size_t count = json_is_array(aud) ? json_array_size(aud) : 1;
    if (count > JWT_AUDIENCES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        out->audiences[i] = text_keep(arena, json_is_array(aud) ? json_array_get(aud, i) : aud);
        if (!out->audiences[i])
            return false;
    }
    out->audience_count = count;
    return count > 0;
}

static int claims_read(struct arena *arena, const json_t *object, struct jwt_claims *out, struct err *err)
{
    const json_t *expires = json_object_get(object, "exp");
    out->issuer = text_keep(arena, json_object_get(object, "iss"));
    out->subject = text_keep(arena, json_object_get(object, "sub"));
    if (!out->issuer || !out->subject)
        return no_token(err, "it does not say its issuer and subject");
    if (!audiences_read(arena, json_object_get(object, "aud"), out))
        return no_token(err, "it does not say its audience");
    if (expires && (!json_is_integer(expires) || json_integer_value(expires) <= 0))
        return no_token(err, "when it expires is not a whole number of seconds");
    out->expires_s = json_integer_value(expires);
    return 0;
}

int jwt_read(struct arena *arena, const char *token, size_t len, struct jwt_claims *out, struct err *err)
{
    const char *parts[3];
    size_t lens[3];
    uint8_t *signature;
    size_t signature_len;
    struct jwt_claims claims = {.issuer = NULL};
    if (len > JWT_MAX)
        return err_set(err, ERR_UNAUTHENTICATED, "it is longer than %u bytes", JWT_MAX);
    if (!parts_split(token, len, parts, lens))
        return no_token(err, "it has not three parts");
    json_auto_t *header = part_load(arena, parts[0], lens[0]);
    json_auto_t *object = part_load(arena, parts[1], lens[1]);
    if (!header || !object || !json_is_string(json_object_get(header, "alg")) ||
        !base64_decode_url(arena, parts[2], lens[2], &signature, &signature_len))
        return no_token(err, "its parts are not what they must be");
    if (claims_read(arena, object, &claims, err) != 0)
        return -1;
    *out = claims;
    return 0;
}

bool jwt_is_for(const struct jwt_claims *claims, const char *audience)
{
    for (size_t i = 0; i < claims->audience_count; i++) {
        if (strcmp(claims->audiences[i], audience) == 0)
            return true;
    }
    return false;
}
