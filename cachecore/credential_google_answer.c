/* What Google's token services answer. */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cachecore/credential_google.h"
#include "cachecore/json_depth.h"

#define DEPTH_MAX 8u
#define LIFE_MAX_S 43200 /* Google's longest */
#define LIFE_UNSAID_S 300

/* An object, or NULL. */
static json_t *answer_load(const struct credential_answer *answer)
{
    if (!json_is_shallow(answer->body, answer->len, DEPTH_MAX))
        return NULL;
    json_t *root = json_loadb(answer->body, answer->len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

static int unreadable(struct err *err, const char *why)
{
    return err_set(err, ERR_PRECONDITION, "the answer is not one of the protocol: %s", why);
}

/* Visible ASCII: what a header takes. */
static const char *token_take(const json_t *root, const char *name, struct arena *arena)
{
    const json_t *member = json_object_get(root, name);
    const char *text = json_string_value(member);
    size_t len = text ? json_string_length(member) : 0;
    if (len == 0 || len > GOOGLE_TOKEN_MAX)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return NULL;
    }
    return arena_strndup(arena, text, len);
}

static int token_read(const json_t *root, int64_t now_s, struct arena *arena, struct google_token *out, struct err *err)
{
    const json_t *type = json_object_get(root, "token_type");
    const json_t *life = json_object_get(root, "expires_in");
    int64_t life_s = life ? json_integer_value(life) : LIFE_UNSAID_S;
    if (type && (!json_is_string(type) || strcasecmp(json_string_value(type), "Bearer") != 0))
        return unreadable(err, "a token_type other than Bearer");
    if (life_s <= 0 || (life && !json_is_integer(life)))
        return unreadable(err, "expires_in is no number of seconds");
    out->value = token_take(root, "access_token", arena);
    if (!out->value)
        return unreadable(err, "no access_token that a header can carry");
    out->expires_s = now_s + (life_s < LIFE_MAX_S ? life_s : LIFE_MAX_S);
    return 0;
}

int google_token_parse(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                       struct google_token *out, struct err *err)
{
    struct google_token token;
    json_t *root = answer_load(answer);
    int result = root ? token_read(root, now_s, arena, &token, err) : unreadable(err, "no JSON object");
    json_decref(root);
    if (result == 0)
        *out = token;
    return result;
}

static int impersonation_read(const json_t *root, int64_t now_s, struct arena *arena, struct google_token *out,
                              struct err *err)
{
    const char *time = json_string_value(json_object_get(root, "expireTime"));
    uint32_t ns;
    if (!time || clock_parse_rfc3339(time, &out->expires_s, &ns) != 0)
        return unreadable(err, "expireTime is no time");
    out->value = token_take(root, "accessToken", arena);
    if (!out->value)
        return unreadable(err, "no accessToken that a header can carry");
    if (out->expires_s > now_s + LIFE_MAX_S)
        out->expires_s = now_s + LIFE_MAX_S;
    return out->expires_s > 0 ? 0 : unreadable(err, "expireTime is no time");
}

int google_impersonation_parse(const struct credential_answer *answer, int64_t now_s, struct arena *arena,
                               struct google_token *out, struct err *err)
{
    struct google_token token;
    json_t *root = answer_load(answer);
    int result = root ? impersonation_read(root, now_s, arena, &token, err) : unreadable(err, "no JSON object");
    json_decref(root);
    if (result == 0)
        *out = token;
    return result;
}

/* {"error": "invalid_grant", ..} or {"error": {"code": 403, "status": "PERMISSION_DENIED", ..}} */
const char *google_error_code(const struct credential_answer *answer, struct arena *arena)
{
    json_t *root = answer_load(answer);
    const json_t *error = json_object_get(root, "error");
    const char *code = json_string_value(json_is_object(error) ? json_object_get(error, "status") : error);
    const char *copy = code ? arena_strdup(arena, code) : "";
    json_decref(root);
    return copy;
}
