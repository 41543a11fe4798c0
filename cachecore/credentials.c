#include "cachecore/credentials.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define VALUE_MAX 16384u

struct credentials *credentials_new(enum credentials_kind kind, const char *origin)
{
    struct credentials *credentials = mem_alloc(sizeof(*credentials));
    *credentials = (struct credentials){.kind = kind, .origin = mem_strdup(origin), .references = 1};
    return credentials;
}

struct credentials *credentials_ref(struct credentials *credentials)
{
    atomic_fetch_add_explicit(&credentials->references, 1, memory_order_relaxed);
    return credentials;
}

void credentials_unref(struct credentials *credentials)
{
    if (!credentials || atomic_fetch_sub_explicit(&credentials->references, 1, memory_order_acq_rel) > 1)
        return;
    secret_free(credentials->access_key_id);
    secret_free(credentials->secret_key);
    secret_free(credentials->session_token);
    secret_free(credentials->account_key);
    secret_free(credentials->sas);
    for (size_t i = 0; i < credentials->header_count; i++) {
        free(credentials->headers[i].name);
        secret_free(credentials->headers[i].value);
    }
    free(credentials->region);
    free(credentials->account);
    free(credentials->origin);
    free(credentials);
}

void credentials_header(struct credentials *credentials, const char *name, const char *value, size_t len)
{
    assert(credentials->header_count < CREDENTIALS_HEADERS_MAX);
    credentials->headers[credentials->header_count].name = mem_strdup(name);
    credentials->headers[credentials->header_count].value = secret_new(value, len);
    credentials->header_count++;
}

bool credentials_key_is_file(const char *name)
{
    static const char *const names[] = {"gcloud-application-credentials.json", "credentials.json", "key.json",
                                        "GOOGLE_APPLICATION_CREDENTIALS_JSON"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

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

int credentials_value(const struct secret_map *secrets, const char *const *names, const struct secret **out,
                      struct err *err)
{
    *out = NULL;
    for (; *names; names++) {
        const struct secret *value = secret_map_get(secrets, *names);
        if (!value || secret_len(value) == 0)
            continue;
        *out = value;
        return value_check(*names, value, err);
    }
    return 0;
}

int credentials_pair(const struct secret *first, const struct secret *second, const char *const *first_names,
                     const char *const *second_names, struct err *err)
{
    if (!first == !second)
        return 0;
    return err_set(err, ERR_UNAUTHENTICATED, "the secret has no key '%s', which belongs to '%s'",
                   first ? second_names[0] : first_names[0], first ? first_names[0] : second_names[0]);
}
