/* Credentials for the web: a bearer token or a user name with its password, for one host where the secret says so. */
#include <string.h>
#include <strings.h>

#include "cachecore/base64.h"
#include "cachecore/credentials.h"

static const char *const username_names[] = {"username", NULL};
static const char *const password_names[] = {"password", NULL};
static const char *const token_names[] = {"token", "bearer", "HF_TOKEN", NULL};
static const char *const host_names[] = {"https-host", NULL};

static int basic_make(const struct secret *username, const struct secret *password, struct credentials **out,
                      struct err *err)
{
    if (strchr(secret_reveal(username), ':'))
        return err_set(err, ERR_INVALID, "the secret's key 'username' holds a ':', which HTTP has no way to send");
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const char *pair = arena_printf(arena, "%s:%s", secret_reveal(username), secret_reveal(password));
    const char *value = arena_printf(arena, "Basic %s", base64_encode(arena, pair, strlen(pair)));
    *out = credentials_new(CREDENTIALS_HEADERS, "the secret's user name and password");
    credentials_header(*out, "Authorization", value, strlen(value));
    return 0;
}

static struct credentials *bearer_make(const struct secret *token)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const char *value = arena_printf(arena, "Bearer %s", secret_reveal(token));
    struct credentials *made = credentials_new(CREDENTIALS_HEADERS, "the secret's token");
    credentials_header(made, "Authorization", value, strlen(value));
    return made;
}

static int web_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    const struct secret_map *secrets = &request->identity->secrets;
    const struct secret *username, *password, *token, *only_host;
    if (credentials_value(secrets, username_names, &username, err) != 0 ||
        credentials_value(secrets, password_names, &password, err) != 0 ||
        credentials_value(secrets, token_names, &token, err) != 0 ||
        credentials_value(secrets, host_names, &only_host, err) != 0 ||
        credentials_pair(username, password, username_names, password_names, err) != 0)
        return -1;
    bool is_other = only_host && request->host && strcasecmp(secret_reveal(only_host), request->host) != 0;
    if (is_other || (!token && !username))
        *out = credentials_new(CREDENTIALS_NONE, is_other ? "no credentials for this host" : "no credentials");
    else if (token)
        *out = bearer_make(token);
    else
        return basic_make(username, password, out, err);
    return 0;
}

const struct credential_chain credential_chain_web = {"web", web_find, false};
