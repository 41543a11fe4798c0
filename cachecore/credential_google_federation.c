/*
 * Workload identity federation: the pod's projected token is changed for one of Google's at its token service, and that, where the pod's
 * service account names one of Google's, for a token of that account.
 */
#include <string.h>

#include "base/clock.h"
#include "cachecore/credential_google.h"
#include "cachecore/url.h"

#define GKE_PREFIX "identitynamespace:"
#define IAM_PREFIX "//iam.googleapis.com/"
#define ACCOUNT_MAX 256u

struct federation {
    const char *audience; /* of the pod's token */
    const struct secret *subject;
    const char *account; /* to become; NULL: the federated identity itself */
};

/* "identitynamespace:<pool>:https://..": tokens are for the pool, the name of which may hold a ':'. Else for the provider itself, with or
 * without "https:" before it. */
static const char *audience_of(const char *provider, struct arena *arena)
{
    if (str_starts_with(provider, IAM_PREFIX))
        return provider;
    if (!str_starts_with(provider, GKE_PREFIX))
        return NULL;
    const char *pool = provider + strlen(GKE_PREFIX);
    const char *end = strstr(pool, ":https://");
    return end && end > pool ? arena_strndup(arena, pool, (size_t)(end - pool)) : NULL;
}

static const struct secret *subject_find(const struct secret_map *tokens, struct arena *arena, const char **audience)
{
    const struct secret *found = secret_map_get(tokens, *audience);
    if (found || !str_starts_with(*audience, "//"))
        return found;
    const char *with_scheme = arena_printf(arena, "https:%s", *audience);
    return secret_map_get(tokens, with_scheme);
}

/* The account stands in a path. */
static int account_check(const char *account, struct err *err)
{
    size_t fit = strspn(account, "abcdefghijklmnopqrstuvwxyz0123456789.-@");
    const char *at = strchr(account, '@');
    if (account[fit] != '\0' || fit > ACCOUNT_MAX || !at || at == account || strchr(at + 1, '@') || !strchr(at, '.'))
        return err_set(err, ERR_INVALID,
                       "the Google service account (annotation iam.gke.io/gcp-service-account, or the class's "
                       "googleServiceAccount) is not an email address");
    return 0;
}

static int federation_read(const struct credentials_request *request, struct arena *arena, struct federation *out,
                           struct err *err)
{
    const struct identity_facts *facts = request->identity->facts;
    out->audience = audience_of(request->class->google_provider, arena);
    if (!out->audience)
        return err_set(err, ERR_INVALID,
                       "class parameter 'googleProvider' is neither identitynamespace:<pool>:https://.. nor "
                       "//iam.googleapis.com/projects/..");
    out->subject = subject_find(&request->identity->tokens, arena, &out->audience);
    if (!out->subject)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the pod has no service account token for audience '%.200s', which the class's googleProvider "
                       "needs: add it to tokenRequests of the CSIDriver object",
                       out->audience);
    out->account =
        facts && facts->google_service_account ? facts->google_service_account : request->class->google_service_account;
    return out->account ? account_check(out->account, err) : 0;
}

/* As RFC 8693 has it, and Google's own libraries: a form. No Authorization header may come with it. */
static int subject_exchange(const struct credentials_request *request, const struct federation *federation,
                            struct google_token *token, struct arena *arena, struct err *err)
{
    static const struct google_hint hints[] = {
        {"invalid_grant", "the pod's token is not accepted: its issuer, its audience or its time"},
        {"invalid_target", "there is no such pool or provider, or it is disabled: check the class's googleProvider"},
        {"invalid_request", "check the class's googleProvider"},
        {"unauthorized_client", "the provider's conditions exclude this service account"},
        {NULL, NULL}};
    static const struct http_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded", false}};
    const char *provider = request->class->google_provider;
    const char *scope = federation->account ? GOOGLE_SCOPE_IAM : GOOGLE_SCOPE_READ;
    const char *body =
        arena_printf(arena,
                     "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Atoken-exchange&audience=%s&scope=%s"
                     "&requested_token_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Atoken-type%%3Aaccess_token"
                     "&subject_token_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Atoken-type%%3Ajwt&subject_token=%s",
                     url_encode(arena, provider, strlen(provider), true), url_encode(arena, scope, strlen(scope), true),
                     url_encode(arena, secret_reveal(federation->subject), secret_len(federation->subject), true));
    const struct credential_question question = {
        .request = request,
        .service = "Google STS",
        .method = "POST",
        .url = google_url(arena, request->class->google_sts_endpoint, "https://sts.googleapis.com", "/v1/token"),
        .headers = headers,
        .header_count = 1,
        .body = body,
        .body_len = strlen(body)};
    return google_ask(&question, hints, google_token_parse, token, arena, err);
}

static int account_become(const struct credentials_request *request, const char *account, struct google_token *token,
                          struct arena *arena, struct err *err)
{
    static const struct google_hint hints[] = {
        {"PERMISSION_DENIED", "the pod's service account may not become this one: grant it "
                              "roles/iam.workloadIdentityUser there (and enable the IAM credentials API)"},
        {"NOT_FOUND", "there is no such Google service account"},
        {"UNAUTHENTICATED", "the token of Google STS was not accepted"},
        {NULL, NULL}};
    const char *bearer = arena_printf(arena, "Bearer %s", token->value);
    const struct http_header headers[] = {{"Content-Type", "application/json", false}, {"Authorization", bearer, true}};
    static const char body[] = "{\"scope\":[\"" GOOGLE_SCOPE_READ "\"],\"lifetime\":\"3600s\"}";
    const struct credential_question question = {
        .request = request,
        .service = "Google IAM credentials",
        .method = "POST",
        .url = google_url(arena, request->class->google_iam_endpoint, "https://iamcredentials.googleapis.com",
                          arena_printf(arena, "/v1/projects/-/serviceAccounts/%s:generateAccessToken", account)),
        .headers = headers,
        .header_count = 2,
        .body = body,
        .body_len = sizeof(body) - 1};
    if (google_ask(&question, hints, google_impersonation_parse, token, arena, err) != 0)
        return err_prefix(err, "as %s", account);
    return 0;
}

static const char *origin_of(const struct credentials_request *request, const struct federation *federation,
                             struct arena *arena)
{
    const struct identity_facts *facts = request->identity->facts;
    const char *namespace = facts && facts->namespace ? facts->namespace : "?";
    const char *name = facts && facts->service_account ? facts->service_account : "?";
    return federation->account
               ? arena_printf(arena, "%s, for service account %s/%s", federation->account, namespace, name)
               : arena_printf(arena, "service account %s/%s of the class's googleProvider", namespace, name);
}

int google_federation_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct federation federation = {.account = NULL};
    struct google_token token;
    if (federation_read(request, arena, &federation, err) != 0 ||
        subject_exchange(request, &federation, &token, arena, err) != 0)
        return -1;
    if (federation.account && account_become(request, federation.account, &token, arena, err) != 0)
        return -1;
    *out = google_bearer(&token, origin_of(request, &federation, arena));
    return 0;
}
