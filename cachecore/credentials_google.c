/*
 * Credentials for Google Cloud Storage: a key file or an access token in the secret, the pod's own token where the class names a
 * provider, the node's identity where the class says so, nothing.
 */
#include <string.h>

#include "base/clock.h"
#include "cachecore/credential_google.h"

static const char *const token_names[] = {"GOOGLE_OAUTH_ACCESS_TOKEN", "access_token", NULL};

const char *google_url(struct arena *arena, const char *endpoint, const char *google, const char *path)
{
    const char *base = endpoint ? endpoint : google;
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    return arena_printf(arena, "%.*s%s", (int)len, base, path);
}

struct credentials *google_bearer(const struct google_token *token, const char *origin)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct credentials *made = credentials_new(CREDENTIALS_HEADERS, origin);
    const char *value = arena_printf(arena, "Bearer %s", token->value);
    credentials_header(made, "Authorization", value, strlen(value));
    made->expires_s = token->expires_s;
    return made;
}

static int refusal(const struct credential_question *question, const struct credential_answer *answer,
                   const struct google_hint *hints, struct arena *arena, struct err *err)
{
    const char *code = google_error_code(answer, arena);
    credential_status_error(question, answer, code, err);
    for (; hints->code; hints++) {
        if (strcmp(hints->code, code) == 0) {
            const char *said = arena_strdup(arena, err->message);
            return err_set(err, err->code, "%s: %s", said, hints->text);
        }
    }
    return -1;
}

int google_ask(const struct credential_question *question, const struct google_hint *hints, google_parse parse,
               struct google_token *out, struct arena *arena, struct err *err)
{
    struct credential_answer answer;
    if (credential_ask(question, arena, &answer, err) != 0)
        return -1;
    if (answer.status != 200)
        return refusal(question, &answer, hints, arena, err);
    return parse(&answer, clock_wall_s(), arena, out, err) == 0 ? 0 : err_prefix(err, "%s", question->service);
}

static const struct secret *key_file_find(const struct secret_map *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        if (credentials_key_is_file(secrets->entries[i].key) && secret_len(secrets->entries[i].value) > 0)
            return secrets->entries[i].value;
    }
    return NULL;
}

/* A service account that is somebody at Google never becomes the node. */
static bool may_be_node(const struct credentials_request *request)
{
    const struct identity_facts *facts = request->identity->facts;
    return request->class->node_identity && !(facts && facts->google_service_account);
}

static struct credentials *nobody(const struct credentials_request *request)
{
    const struct identity_facts *facts = request->identity->facts;
    bool is_meant = facts && facts->google_service_account;
    return credentials_new(CREDENTIALS_NONE,
                           is_meant ? "no credentials, as the class has no googleProvider for the pod's service account"
                                    : "no credentials");
}

static int google_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    const struct secret_map *secrets = &request->identity->secrets;
    const struct secret *file = key_file_find(secrets), *token;
    if (file)
        return google_key_find(request, file, out, err);
    if (credentials_value(secrets, token_names, &token, err) != 0)
        return -1;
    if (token) {
        *out = google_bearer(&(struct google_token){.value = secret_reveal(token)}, "the secret's access token");
        return 0;
    }
    if (request->class->google_provider)
        return google_federation_find(request, out, err);
    if (may_be_node(request))
        return google_node_find(request, out, err);
    *out = nobody(request);
    return 0;
}

const struct credential_chain credential_chain_google = {"google", google_find, true};
