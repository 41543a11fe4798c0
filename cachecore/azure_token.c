#include "cachecore/azure_token.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "cachecore/json_depth.h"

#define DEPTH_MAX 8u
#define LIFE_MAX_S (INT64_C(366) * 86400)

static json_t *load(const char *text, size_t len)
{
    if (!json_is_shallow(text, len, DEPTH_MAX))
        return NULL;
    return json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_PRECONDITION, "the answer %s", what);
}

/* RFC 6750, 2.1: b64token. */
static bool is_token(const char *text)
{
    size_t len = 0;
    while (isalnum((unsigned char)text[len]) || (text[len] && strchr("-._~+/", text[len])))
        len++;
    size_t end = len + strspn(text + len, "=");
    return len > 0 && end <= AZURE_TOKEN_MAX && text[end] == '\0';
}

/* A number, which the metadata service writes as a text. */
static bool life_take(const json_t *value, int64_t *out)
{
    uint64_t number = 0;
    if (json_is_integer(value) && json_integer_value(value) > 0)
        number = (uint64_t)json_integer_value(value);
    else if (!json_is_string(value) || str_parse_u64(json_string_value(value), INT64_MAX, &number) != 0)
        return false;
    *out = number > (uint64_t)LIFE_MAX_S ? LIFE_MAX_S : (int64_t)number;
    return number > 0;
}

static int token_take(struct arena *arena, const json_t *root, struct azure_token *out, struct err *err)
{
    const char *type = json_string_value(json_object_get(root, "token_type"));
    const char *value = json_string_value(json_object_get(root, "access_token"));
    int64_t life_s;
    if (!type || strcasecmp(type, "Bearer") != 0)
        return malformed(err, "holds no bearer token");
    if (!value || !is_token(value))
        return malformed(err, "holds no access_token");
    if (!life_take(json_object_get(root, "expires_in"), &life_s))
        return malformed(err, "does not say for how long its token is valid");
    *out = (struct azure_token){.value = arena_strdup(arena, value), .expires_in_s = life_s};
    return 0;
}

int azure_token_parse(struct arena *arena, const char *text, size_t len, struct azure_token *out, struct err *err)
{
    json_t *root = load(text, len);
    int result = root ? token_take(arena, root, out, err) : malformed(err, "is not JSON");
    json_decref(root);
    return result;
}

/* "AADSTS70021: No matching ...": only the code, as the rest may name anything. */
static void description_read(const char *text, char out[AZURE_CODE_MAX])
{
    size_t digits = 0;
    if (!text || !str_starts_with(text, "AADSTS"))
        return;
    digits = strspn(text + 6, "0123456789");
    if (digits > 0 && digits < 12)
        snprintf(out, AZURE_CODE_MAX, "%.*s", (int)(6 + digits), text);
}

static void word_read(const char *text, char out[AZURE_CODE_MAX])
{
    size_t len = text ? strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") : 0;
    if (len > 0 && len < AZURE_CODE_MAX && text[len] == '\0')
        memcpy(out, text, len + 1);
}

void azure_token_error_code(const char *text, size_t len, char out[AZURE_CODE_MAX])
{
    json_t *root = load(text, len);
    const json_t *number = json_array_get(json_object_get(root, "error_codes"), 0);
    out[0] = '\0';
    if (json_is_integer(number) && json_integer_value(number) > 0)
        snprintf(out, AZURE_CODE_MAX, "AADSTS%" JSON_INTEGER_FORMAT, json_integer_value(number));
    if (out[0] == '\0')
        description_read(json_string_value(json_object_get(root, "error_description")), out);
    if (out[0] == '\0')
        word_read(json_string_value(json_object_get(root, "error")), out);
    json_decref(root);
}

/* https://learn.microsoft.com/entra/identity-platform/reference-error-codes; the numbers may change, the code is always shown. */
static const struct {
    const char *code, *hint;
} hints[] = {
    {"AADSTS50013", "the token of the service account is not one that Entra takes: check the cluster's issuer"},
    {"AADSTS70021", "no federated credential of the client fits the service account's issuer, subject and audience"},
    {"AADSTS700211", "no federated credential of the client has the cluster's issuer"},
    {"AADSTS700212", "no federated credential of the client has the audience api://AzureADTokenExchange"},
    {"AADSTS700213", "no federated credential of the client has this service account as its subject"},
    {"AADSTS7002138", "no federated credential of the client has this service account as its subject"},
    {"AADSTS70025", "the client has no federated credentials"},
    {"AADSTS700016", "the tenant knows no such client id"},
    {"AADSTS700024", "the token of the service account is not valid at this time"},
    {"AADSTS7000215", "the client secret is wrong"},
    {"AADSTS7000222", "the client secret has expired"},
    {"AADSTS90002", "there is no such tenant"},
    {"AADSTS900023", "the tenant id is not valid"},
};

const char *azure_token_error_hint(const char *code)
{
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strcmp(hints[i].code, code) == 0)
            return hints[i].hint;
    }
    return NULL;
}
