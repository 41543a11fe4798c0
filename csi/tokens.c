#include "csi/tokens.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/json_depth.h"
#include "cachecore/jwt.h"

#define DEPTH_MAX 8u
#define AUDIENCE_MAX 512u
#define SUBJECT "system:serviceaccount:"

struct checking {
    const struct tokens_owner *owner;
    int64_t now_s;
    struct arena *arena;
};

static int no_tokens(struct err *err)
{
    return err_set(err, ERR_UNAUTHENTICATED,
                   "serviceAccount.tokens is not a JSON object of audiences with a token each");
}

/* An audience is shown in messages. "" is the API server's own. */
static bool is_audience(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || (unsigned char)text[i] >= 0x7f)
            return false;
    }
    return len <= AUDIENCE_MAX;
}

static int check_expiry(const struct checking *checking, const json_t *entry, const struct jwt_claims *claims,
                        struct err *err)
{
    const json_t *text = json_object_get(entry, "expirationTimestamp");
    int64_t expires_s = 0;
    uint32_t ns;
    if (text && (!json_is_string(text) || clock_parse_rfc3339(json_string_value(text), &expires_s, &ns) != 0))
        return err_set(err, ERR_UNAUTHENTICATED, "its expirationTimestamp is no time");
    if (checking->now_s == 0)
        return 0;
    if (text && expires_s <= checking->now_s)
        return err_set(err, ERR_UNAUTHENTICATED, "it expired at %s; kubelet will bring a new one",
                       json_string_value(text));
    if (claims->expires_s != 0 && claims->expires_s <= checking->now_s)
        return err_set(err, ERR_UNAUTHENTICATED, "it expired %lld s ago; kubelet will bring a new one",
                       (long long)(checking->now_s - claims->expires_s));
    return 0;
}

/* Kubernetes writes "system:serviceaccount:<namespace>:<name>". Where kubelet does not write the tokens (no tokenRequests) a pod's author could. */
static int check_owner(const struct checking *checking, const struct jwt_claims *claims, struct err *err)
{
    const struct tokens_owner *owner = checking->owner;
    bool is_known = owner->namespace && owner->namespace[0];
    const char *expected = is_known ? arena_printf(checking->arena, SUBJECT "%s:%s", owner->namespace,
                                                   owner->service_account ? owner->service_account : "")
                                    : "";
    bool is_whole = is_known && owner->service_account && owner->service_account[0];
    if (is_whole ? strcmp(claims->subject, expected) == 0 : str_starts_with(claims->subject, expected))
        return 0;
    return err_set(err, ERR_UNAUTHENTICATED, "it is not the token of the pod's service account");
}

static int check_token(const struct checking *checking, const char *audience, const json_t *entry, struct err *err)
{
    const json_t *token = json_object_get(entry, "token");
    struct jwt_claims claims;
    if (jwt_read(checking->arena, json_string_value(token), json_string_length(token), &claims, err) != 0)
        return -1;
    if (audience[0] && !jwt_is_for(&claims, audience))
        return err_set(err, ERR_UNAUTHENTICATED, "it is for another audience");
    if (check_owner(checking, &claims, err) != 0)
        return -1;
    return check_expiry(checking, entry, &claims, err);
}

static int check_all(const struct checking *checking, json_t *tokens, struct err *err)
{
    const char *audience;
    json_t *entry;
    if (!json_is_object(tokens))
        return no_tokens(err);
    if (json_object_size(tokens) > TOKENS_COUNT_MAX)
        return err_set(err, ERR_UNAUTHENTICATED, "serviceAccount.tokens holds %zu tokens, at most %u are taken",
                       json_object_size(tokens), TOKENS_COUNT_MAX);
    json_object_foreach(tokens, audience, entry)
    {
        if (!is_audience(audience) || json_string_length(json_object_get(entry, "token")) == 0)
            return no_tokens(err);
        if (check_token(checking, audience, entry, err) != 0)
            return err_prefix(err, "the service account token for audience '%.100s'", audience);
    }
    return 0;
}

/* jansson frees without overwriting. */
static void token_wipe(const json_t *token)
{
    if (json_is_string(token))
        explicit_bzero((char *)(uintptr_t)json_string_value(token), json_string_length(token));
}

static void tokens_take(json_t *tokens, struct secret_map *out)
{
    const char *audience;
    json_t *entry;
    json_object_foreach(tokens, audience, entry)
    {
        const json_t *token = json_object_get(entry, "token");
        if (out)
            secret_map_add(out, audience, json_string_value(token), json_string_length(token));
        token_wipe(token);
    }
}

int tokens_parse(const char *text, const struct tokens_owner *owner, int64_t now_s, struct secret_map *out,
                 struct err *err)
{
    size_t len = strlen(text);
    if (len > TOKENS_BYTES_MAX || !json_is_shallow(text, len, DEPTH_MAX))
        return no_tokens(err);
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct checking checking = {owner, now_s, arena};
    json_auto_t *tokens = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    int failed = check_all(&checking, tokens, err);
    tokens_take(tokens, failed ? NULL : out);
    return failed;
}
