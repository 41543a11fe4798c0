/* Tokens of Microsoft Entra (Microsoft identity platform, "OAuth 2.0 client credentials flow", with a secret and with a federated credential), and
 * of the node's metadata service. */
#include <string.h>

#include "base/clock.h"
#include "cachecore/azure_cloud.h"
#include "cachecore/azure_token.h"
#include "cachecore/credential_azure.h"
#include "cachecore/credential_http.h"
#include "cachecore/url.h"

#define SCOPE "https%3A%2F%2Fstorage.azure.com%2F.default" /* the same in all clouds */
#define ASSERTION_TYPE "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
#define METADATA "http://169.254.169.254"
#define RESOURCE "https%3A%2F%2Fstorage.azure.com%2F"
#define ID_MAX 253u

static const char *const client_names[] = {"AZURE_CLIENT_ID", NULL};
static const char *const tenant_names[] = {"AZURE_TENANT_ID", NULL};
static const char *const secret_names[] = {"AZURE_CLIENT_SECRET", "azurestoragespnclientsecret", NULL};

/* A tenant's id or domain, or a client's id: they stand in URLs, forms and messages. */
static int id_check(const char *id, const char *what, struct err *err)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    if (len == 0 || len > ID_MAX || id[len] != '\0' || id[0] == '.' || strstr(id, ".."))
        return err_set(err, ERR_INVALID, "%s is not an id: letters, digits, '-' and '.'", what);
    return 0;
}

/* Who gives tokens: what the class says, else the cloud of the URL or of the class's endpoint. */
static const char *authority_of(const struct credentials_request *request, struct arena *arena)
{
    const struct class *class = request->class;
    const struct azure_cloud *cloud = request->host ? azure_cloud_of_host(request->host) : NULL;
    struct err unused = ERR_INIT;
    struct url url;
    if (class->azure_authority)
        return class->azure_authority;
    if (!cloud && class->azure_endpoint &&
        url_parse(arena, class->azure_endpoint, strlen(class->azure_endpoint), &url, &unused) == 0)
        cloud = azure_cloud_of_host(url.host);
    return (cloud ? cloud : azure_cloud_public())->authority;
}

static int refusal(const struct credential_question *question, const struct credential_answer *answer, struct err *err)
{
    char code[AZURE_CODE_MAX];
    azure_token_error_code(answer->body, answer->len, code);
    const char *hint = azure_token_error_hint(code);
    struct err plain = ERR_INIT;
    credential_status_error(question, answer, code, &plain);
    if (question->is_metadata && (answer->status == 404 || answer->status == 410)) /* it is being updated */
        plain.code = ERR_UNAVAILABLE;
    return err_set(err, plain.code, "%s%s%s", plain.message, hint ? ": " : "", hint ? hint : "");
}

static struct credentials *bearer_make(const struct azure_token *token, const char *origin, struct arena *arena)
{
    struct credentials *made = credentials_new(CREDENTIALS_HEADERS, origin);
    const char *value = arena_printf(arena, "Bearer %s", token->value);
    credentials_header(made, "Authorization", value, strlen(value));
    made->expires_s = clock_wall_s() + token->expires_in_s;
    return made;
}

/* Entra and the metadata service answer in one form. */
static int token_ask(const struct credential_question *question, const char *origin, struct arena *arena,
                     struct credentials **out, struct err *err)
{
    struct credential_answer answer;
    struct azure_token token;
    if (credential_ask(question, arena, &answer, err) != 0)
        return -1;
    if (answer.status != 200)
        return refusal(question, &answer, err);
    if (azure_token_parse(arena, answer.body, answer.len, &token, err) != 0)
        return err_prefix(err, "%s", question->service);
    *out = bearer_make(&token, origin, arena);
    return 0;
}

/* One that asks for a token. */
struct client {
    const char *id, *tenant;
    const char *proof;  /* "client_secret=..", or the type of an assertion and the assertion: a part of a form */
    const char *origin; /* for messages */
};

static int entra_ask(const struct credentials_request *request, const struct client *client, struct arena *arena,
                     struct credentials **out, struct err *err)
{
    static const struct http_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded", false},
                                                 {"Accept", "application/json", false}};
    const char *body =
        arena_printf(arena, "client_id=%s&scope=%s&grant_type=client_credentials&%s", client->id, SCOPE, client->proof);
    const struct credential_question question = {
        .request = request,
        .service = "Microsoft Entra",
        .method = "POST",
        .url = arena_printf(arena, "%s/%s/oauth2/v2.0/token", authority_of(request, arena), client->tenant),
        .headers = headers,
        .header_count = 2,
        .body = body,
        .body_len = strlen(body),
    };
    if (token_ask(&question, client->origin, arena, out, err) != 0)
        return err_prefix(err, "%s", client->origin);
    return 0;
}

static const char *encoded(struct arena *arena, const struct secret *value)
{
    return url_encode(arena, secret_reveal(value), secret_len(value), true);
}

int credential_azure_from_client(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct secret_map *secrets = &request->identity->secrets;
    const struct secret *id, *tenant, *secret;
    if (credentials_value(secrets, client_names, &id, err) != 0 ||
        credentials_value(secrets, tenant_names, &tenant, err) != 0 ||
        credentials_value(secrets, secret_names, &secret, err) != 0)
        return -1;
    if (!secret)
        return 0;
    if (credentials_pair(id, secret, client_names, secret_names, err) != 0 ||
        credentials_pair(tenant, secret, tenant_names, secret_names, err) != 0 ||
        id_check(secret_reveal(id), "the secret's key 'AZURE_CLIENT_ID'", err) != 0 ||
        id_check(secret_reveal(tenant), "the secret's key 'AZURE_TENANT_ID'", err) != 0)
        return -1;
    const struct client client = {
        .id = secret_reveal(id),
        .tenant = secret_reveal(tenant),
        .proof = arena_printf(arena, "client_secret=%s", encoded(arena, secret)),
        .origin = arena_printf(arena, "client %s with the secret's client secret", secret_reveal(id)),
    };
    return entra_ask(request, &client, arena, out, err);
}

/* What the pod's own service account says comes before the class. Without an id there is nobody to ask for. */
static int federated_find(const struct credentials_request *request, const struct secret *token, struct client *out,
                          struct err *err)
{
    const struct identity_facts *facts = request->identity->facts;
    const struct class *class = request->class;
    bool is_own = facts->azure_client_id != NULL;
    out->id = is_own ? facts->azure_client_id : class->azure_client_id;
    out->tenant = facts->azure_tenant_id ? facts->azure_tenant_id : class->azure_tenant_id;
    if (!is_own && (!out->id || !out->tenant || !token)) {
        out->id = NULL; /* a class may name the client of the node's identity only */
        return 0;
    }
    if (!token)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the pod has a client id, and the driver gets no token for it: its tokenRequests "
                       "need the audience " AZURE_TOKEN_AUDIENCE);
    if (!out->tenant)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "the pod has a client id and no tenant: set the volume's azureTenantId, the annotation "
                       "azure.workload.identity/tenant-id or the class's azureTenantId");
    return id_check(out->id, is_own ? "the pod's client id" : "the class's azureClientId", err) != 0 ||
                   id_check(out->tenant, "the pod's or the class's tenant id", err) != 0
               ? -1
               : 0;
}

int credential_azure_from_token(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct identity_facts *facts = request->identity->facts;
    const struct secret *token = secret_map_get(&request->identity->tokens, AZURE_TOKEN_AUDIENCE);
    struct client client = {.id = NULL};
    if (federated_find(request, token, &client, err) != 0)
        return -1;
    if (!client.id)
        return 0;
    client.proof =
        arena_printf(arena, "client_assertion_type=%s&client_assertion=%s", ASSERTION_TYPE, encoded(arena, token));
    client.origin =
        arena_printf(arena, "client %s of service account %s/%s", client.id, facts->namespace ? facts->namespace : "?",
                     facts->service_account ? facts->service_account : "?");
    return entra_ask(request, &client, arena, out, err);
}

int credential_azure_from_node(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    static const struct http_header headers[] = {{"Metadata", "true", false}};
    const struct class *class = request->class;
    const char *base = class->azure_metadata_endpoint ? class->azure_metadata_endpoint : METADATA;
    if (!class->node_identity)
        return 0;
    if (class->azure_client_id && id_check(class->azure_client_id, "the class's azureClientId", err) != 0)
        return -1;
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct credential_question question = {
        .request = request,
        .service = "the node's Azure metadata service",
        .method = "GET",
        .url = arena_printf(arena, "%s/metadata/identity/oauth2/token?api-version=2018-02-01&resource=%s%s%s", base,
                            RESOURCE, class->azure_client_id ? "&client_id=" : "",
                            class->azure_client_id ? class->azure_client_id : ""),
        .headers = headers,
        .header_count = 1,
        .is_metadata = true,
    };
    return token_ask(&question, "the node's managed identity", arena, out, err);
}
