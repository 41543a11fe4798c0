/* Key files of Google's service accounts: a signed assertion (RFC 7523, RS256) is changed for an access token. */
#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "cachecore/base64.h"
#include "cachecore/credential_google.h"
#include "cachecore/json_depth.h"
#include "cachecore/rsa.h"
#include "cachecore/url.h"

#define AUDIENCE "https://oauth2.googleapis.com/token"
#define FILE_MAX 32768u
#define NAME_MAX_LEN 256u
#define ASSERTION_LIFE_S 3600

/* A member that may stand in a message and in JSON as it is: no control characters, quotes or backslashes. */
static int plain_take(const json_t *root, const char *name, struct arena *arena, const char **out, struct err *err)
{
    const json_t *member = json_object_get(root, name);
    const char *text = json_string_value(member);
    size_t len = text ? json_string_length(member) : 0;
    bool fits = len > 0 && len <= NAME_MAX_LEN;
    for (size_t i = 0; fits && i < len; i++)
        fits = isalnum((unsigned char)text[i]) || (text[i] != '\0' && strchr("@.-_+:", text[i]));
    if (!fits)
        return err_set(err, ERR_INVALID, "'%s' is missing or not one", name);
    *out = arena_strndup(arena, text, len);
    return 0;
}

static int type_check(const json_t *root, struct err *err)
{
    const char *type = json_string_value(json_object_get(root, "type"));
    if (!type)
        return err_set(err, ERR_INVALID, "it has no 'type'");
    if (strcmp(type, "service_account") == 0)
        return 0;
    static const char *const known[] = {"authorized_user", "external_account", "external_account_authorized_user",
                                        "impersonated_service_account", "gdch_service_account"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(type, known[i]) == 0)
            return err_set(err, ERR_UNSUPPORTED,
                           "credentials of type '%s' are not supported: use the key file of a service account, or the "
                           "pod's own identity (the class's googleProvider)",
                           known[i]);
    }
    return err_set(err, ERR_INVALID, "its 'type' is not 'service_account'");
}

static int key_read(const json_t *root, struct arena *arena, struct google_key *out, struct err *err)
{
    const json_t *pem = json_object_get(root, "private_key");
    if (type_check(root, err) != 0 || plain_take(root, "client_email", arena, &out->email, err) != 0)
        return -1;
    if (json_object_get(root, "private_key_id") && plain_take(root, "private_key_id", arena, &out->id, err) != 0)
        return -1;
    if (!json_is_string(pem) || json_string_length(pem) == 0 || json_string_length(pem) > RSA_PEM_MAX)
        return err_set(err, ERR_INVALID, "'private_key' is missing or too long");
    out->private_key = arena_strndup(arena, json_string_value(pem), json_string_length(pem));
    return 0;
}

int google_key_parse(struct arena *arena, const char *text, size_t len, struct google_key *out, struct err *err)
{
    struct google_key key = {.id = NULL};
    if (len > FILE_MAX)
        return err_set(err, ERR_INVALID, "it is longer than %u bytes", FILE_MAX);
    json_t *root = json_is_shallow(text, len, 4) ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int result =
        json_is_object(root) ? key_read(root, arena, &key, err) : err_set(err, ERR_INVALID, "it is not a JSON object");
    json_decref(root);
    if (result == 0)
        *out = key;
    return result;
}

/* All members were checked to need no escapes. */
static int assertion_make(const struct google_key *key, struct arena *arena, const char **out, struct err *err)
{
    int64_t now_s = clock_wall_s();
    uint8_t signature[RSA_SIGNATURE_MAX];
    const char *head = key->id ? arena_printf(arena, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->id)
                               : "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    const char *claims = arena_printf(arena,
                                      "{\"iss\":\"%s\",\"scope\":\"" GOOGLE_SCOPE_READ "\",\"aud\":\"" AUDIENCE
                                      "\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
                                      key->email, now_s, now_s + ASSERTION_LIFE_S);
    const char *text = arena_printf(arena, "%s.%s", base64_encode_url(arena, head, strlen(head)),
                                    base64_encode_url(arena, claims, strlen(claims)));
    _cleanup_(rsa_key_freep) struct rsa_key *rsa = rsa_key_new(key->private_key, strlen(key->private_key), err);
    size_t len = rsa ? rsa_key_sign(rsa, text, strlen(text), signature, err) : 0;
    if (len == 0)
        return err_prefix(err, "'private_key'");
    *out = arena_printf(arena, "%s.%s", text, base64_encode_url(arena, signature, len));
    explicit_bzero(signature, sizeof(signature));
    return 0;
}

static int assertion_exchange(const struct credentials_request *request, const char *assertion,
                              struct google_token *token, struct arena *arena, struct err *err)
{
    static const struct google_hint hints[] = {
        {"invalid_grant", "the key is not (or no longer) known there, or this node's clock is wrong"},
        {"invalid_client", "there is no such service account"},
        {"unauthorized_client", "the service account is disabled or may not do this"},
        {NULL, NULL}};
    static const struct http_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded", false}};
    const char *body = arena_printf(
        arena, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer&assertion=%s", assertion);
    const struct credential_question question = {
        .request = request,
        .service = "Google OAuth 2.0",
        .method = "POST",
        .url = google_url(arena, request->class->google_token_endpoint, "https://oauth2.googleapis.com", "/token"),
        .headers = headers,
        .header_count = 1,
        .body = body,
        .body_len = strlen(body)};
    return google_ask(&question, hints, google_token_parse, token, arena, err);
}

int google_key_find(const struct credentials_request *request, const struct secret *file, struct credentials **out,
                    struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct google_key key;
    struct google_token token;
    const char *assertion;
    if (google_key_parse(arena, secret_reveal(file), secret_len(file), &key, err) != 0 ||
        assertion_make(&key, arena, &assertion, err) != 0)
        return err_prefix(err, "the secret's key file");
    if (assertion_exchange(request, assertion, &token, arena, err) != 0)
        return err_prefix(err, "the key file of %s", key.email);
    *out = google_bearer(&token, arena_printf(arena, "the key file of %s", key.email));
    return 0;
}
