#include "cachecore/credentials.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define VALUE_MAX 16384u

/* The first name is the one that messages use. */
static const char *const key_id_names[] = {"AWS_ACCESS_KEY_ID", "key_id",     "accessKeyID",
                                           "accessKeyId",       "access-key", NULL};
static const char *const secret_key_names[] = {"AWS_SECRET_ACCESS_KEY", "access_key", "secretAccessKey", "secret-key",
                                               NULL};
static const char *const session_names[] = {"AWS_SESSION_TOKEN", "session_token", "sessionToken", "session-token",
                                            NULL};
static const char *const region_names[] = {"AWS_REGION", "AWS_DEFAULT_REGION", "region", NULL};
static const char *const username_names[] = {"username", NULL};
static const char *const password_names[] = {"password", NULL};
static const char *const token_names[] = {"token", "bearer", "HF_TOKEN", NULL};
static const char *const host_names[] = {"https-host", NULL};

static int value_check(const char *name, const struct secret *value, struct err *err)
{
    const char *text = secret_reveal(value);
    if (secret_len(value) > VALUE_MAX)
        return err_set(err, ERR_INVALID, "the secret's key '%s' is longer than %u bytes", name, VALUE_MAX);
    for (size_t i = 0; i < secret_len(value); i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\r' || c == '\n')
            return err_set(err, ERR_INVALID, "the secret's key '%s' holds a line break: write it without", name);
        if (c < 0x20 || c == 0x7f)
            return err_set(err, ERR_INVALID, "the secret's key '%s' holds a control character", name);
    }
    return 0;
}

/* The value under the first of names that is there and not empty; *out NULL if there is none. */
static int value_find(const struct secret_map *secrets, const char *const *names, const struct secret **out,
                      struct err *err)
{
    *out = NULL;
    for (; secrets && *names; names++) {
        const struct secret *value = secret_map_get(secrets, *names);
        if (!value || secret_len(value) == 0)
            continue;
        *out = value;
        return value_check(*names, value, err);
    }
    return 0;
}

static int pair_check(const struct secret *first, const struct secret *second, const char *const *first_names,
                      const char *const *second_names, struct err *err)
{
    if (!first == !second)
        return 0;
    return err_set(err, ERR_UNAUTHENTICATED, "the secret has no key '%s', which belongs to '%s'",
                   first ? second_names[0] : first_names[0], first ? first_names[0] : second_names[0]);
}

static int region_check(const char *region, struct err *err)
{
    size_t len = strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (region[len] != '\0' || len > 32)
        return err_set(err, ERR_INVALID, "the secret's region is not one: lowercase letters, digits and '-'");
    return 0;
}

int credentials_s3(const struct secret_map *secrets, struct credentials_s3 *out, struct err *err)
{
    struct credentials_s3 found = {0};
    const struct secret *region;
    if (value_find(secrets, key_id_names, &found.access_key_id, err) != 0 ||
        value_find(secrets, secret_key_names, &found.secret_key, err) != 0 ||
        value_find(secrets, session_names, &found.session_token, err) != 0 ||
        value_find(secrets, region_names, &region, err) != 0 ||
        pair_check(found.access_key_id, found.secret_key, key_id_names, secret_key_names, err) != 0)
        return -1;
    if (found.session_token && !found.access_key_id)
        return err_set(err, ERR_UNAUTHENTICATED, "the secret has no key '%s', which belongs to '%s'", key_id_names[0],
                       session_names[0]);
    if (region && region_check(secret_reveal(region), err) != 0)
        return -1;
    found.region = region ? secret_reveal(region) : NULL;
    *out = found;
    return 0;
}

/* RFC 4648, 4. */
static const char *base64(struct arena *arena, const char *text, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(arena, (len + 2) / 3 * 4 + 1);
    char *p = out;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)(unsigned char)text[i] << 16;
        group |= i + 1 < len ? (uint32_t)(unsigned char)text[i + 1] << 8 : 0;
        group |= i + 2 < len ? (uint32_t)(unsigned char)text[i + 2] : 0;
        *p++ = digits[group >> 18];
        *p++ = digits[group >> 12 & 63];
        *p++ = i + 1 < len ? digits[group >> 6 & 63] : '=';
        *p++ = i + 2 < len ? digits[group & 63] : '=';
    }
    return out;
}

static int basic_make(const struct secret *username, const struct secret *password, struct arena *arena,
                      const char **out, struct err *err)
{
    if (strchr(secret_reveal(username), ':'))
        return err_set(err, ERR_INVALID, "the secret's key 'username' holds a ':', which HTTP has no way to send");
    char *pair = arena_printf(arena, "%s:%s", secret_reveal(username), secret_reveal(password));
    *out = arena_printf(arena, "Basic %s", base64(arena, pair, strlen(pair)));
    explicit_bzero(pair, strlen(pair));
    return 0;
}

int credentials_web(const struct secret_map *secrets, const char *host, struct arena *arena, const char **out,
                    struct err *err)
{
    const struct secret *username, *password, *token, *only_host;
    if (value_find(secrets, username_names, &username, err) != 0 ||
        value_find(secrets, password_names, &password, err) != 0 ||
        value_find(secrets, token_names, &token, err) != 0 || value_find(secrets, host_names, &only_host, err) != 0 ||
        pair_check(username, password, username_names, password_names, err) != 0)
        return -1;
    *out = NULL;
    if (only_host && strcasecmp(secret_reveal(only_host), host) != 0)
        return 0;
    if (token)
        *out = arena_printf(arena, "Bearer %s", secret_reveal(token));
    else if (username)
        return basic_make(username, password, arena, out, err);
    return 0;
}
