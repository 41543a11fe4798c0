#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cachecore/base64.h"
#include "cachecore/credential_azure.h"
#include "cachecore/url.h"

#define KEY_LEN_MAX 1024u

static const char *const account_names[] = {"azurestorageaccountname", "AZURE_STORAGE_ACCOUNT",
                                            "AZURE_STORAGE_ACCOUNT_NAME", NULL};
static const char *const key_names[] = {"azurestorageaccountkey", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY",
                                        NULL};
static const char *const sas_names[] = {"azurestorageaccountsastoken", "AZURE_STORAGE_SAS_TOKEN", NULL};
static const char *const connection_names[] = {"AZURE_STORAGE_CONNECTION_STRING", NULL};

/* What the secret says of storage accounts; texts in an arena that is wiped. NULL: nothing. */
struct account_secret {
    const char *account, *key, *sas;
    const char *key_name, *sas_name; /* for messages */
};

static const char *text_of(const struct secret *value)
{
    return value ? secret_reveal(value) : NULL;
}

/* "AccountName=..;AccountKey=..;EndpointSuffix=..": endpoints are the URL's and the class's to say. */
static int connection_read(struct arena *arena, const char *text, struct account_secret *out, struct err *err)
{
    const struct {
        const char *name;
        const char **value;
    } parts[] = {{"AccountName", &out->account}, {"AccountKey", &out->key}, {"SharedAccessSignature", &out->sas}};
    while (*text) {
        size_t len = strcspn(text, ";");
        size_t name_len = strcspn(text, "=;");
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            if (name_len < len && strlen(parts[i].name) == name_len && strncasecmp(parts[i].name, text, name_len) == 0)
                *parts[i].value = arena_strndup(arena, text + name_len + 1, len - name_len - 1);
        }
        text += len + (text[len] == ';');
    }
    out->key_name = out->sas_name = connection_names[0];
    if (!out->account || (!out->key && !out->sas))
        return err_set(err, ERR_INVALID,
                       "the secret's key '%s' has no AccountName with an AccountKey or a SharedAccessSignature",
                       connection_names[0]);
    return 0;
}

static int secret_read(const struct secret_map *secrets, struct arena *arena, struct account_secret *out,
                       struct err *err)
{
    const struct secret *account, *key, *sas, *connection;
    if (credentials_value(secrets, account_names, &account, err) != 0 ||
        credentials_value(secrets, key_names, &key, err) != 0 ||
        credentials_value(secrets, sas_names, &sas, err) != 0 ||
        credentials_value(secrets, connection_names, &connection, err) != 0)
        return -1;
    *out = (struct account_secret){
        .account = text_of(account), .key = text_of(key), .sas = text_of(sas), key_names[0], sas_names[0]};
    if (connection && !key && !sas)
        return connection_read(arena, text_of(connection), out, err);
    return 0;
}

static int key_make(const struct account_secret *secret, const char *account, struct arena *arena,
                    struct credentials **out, struct err *err)
{
    uint8_t *key;
    size_t len;
    if (!base64_decode(arena, secret->key, strlen(secret->key), &key, &len) || len == 0 || len > KEY_LEN_MAX)
        return err_set(err, ERR_INVALID, "the secret's key '%s' holds no account key: it is not base64",
                       secret->key_name);
    *out = credentials_new(CREDENTIALS_AZURE_KEY, "the secret's account key");
    (*out)->account = mem_strdup(account);
    (*out)->account_key = secret_new(key, len);
    return 0;
}

/* It is put into URLs as it is. */
static bool is_query(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr("\"<>\\^`{|}#?", *p))
            return false;
    }
    return true;
}

/* When it ends may be shown, and is what people ask first. */
static const char *sas_origin(struct arena *arena, const char *sas)
{
    const char *end = url_query_get(arena, sas, "se");
    size_t plain = end ? strspn(end, "0123456789-:.TZ") : 0;
    if (plain == 0 || plain > 32 || end[plain] != '\0')
        return "the secret's SAS";
    return arena_printf(arena, "the secret's SAS, valid until %s", end);
}

static int sas_make(const struct account_secret *secret, struct arena *arena, struct credentials **out, struct err *err)
{
    const char *sas = secret->sas + (secret->sas[0] == '?');
    if (!is_query(sas) || !url_query_get(arena, sas, "sig") || !url_query_get(arena, sas, "sv"))
        return err_set(err, ERR_INVALID,
                       "the secret's key '%s' holds no SAS: a query with sv= and sig=, percent-encoded, is wanted",
                       secret->sas_name);
    *out = credentials_new(CREDENTIALS_AZURE_SAS, sas_origin(arena, sas));
    (*out)->sas = secret_new(sas, strlen(sas));
    return 0;
}

int credential_azure_from_secret(const struct credentials_request *request, const char *account,
                                 struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct account_secret secret;
    if (secret_read(&request->identity->secrets, arena, &secret, err) != 0)
        return -1;
    bool is_for_another = secret.account && strcmp(secret.account, account) != 0;
    if (is_for_another || (!secret.key && !secret.sas))
        return 0;
    return secret.key ? key_make(&secret, account, arena, out, err) : sas_make(&secret, arena, out, err);
}
