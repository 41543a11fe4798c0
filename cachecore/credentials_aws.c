/* Credentials for S3, under the key names that people use already. */
#include <string.h>

#include "base/mem.h"
#include "cachecore/credentials.h"

/* The first name is the one that messages use. */
static const char *const key_id_names[] = {"AWS_ACCESS_KEY_ID", "key_id",     "accessKeyID",
                                           "accessKeyId",       "access-key", NULL};
static const char *const secret_key_names[] = {"AWS_SECRET_ACCESS_KEY", "access_key", "secretAccessKey", "secret-key",
                                               NULL};
static const char *const session_names[] = {"AWS_SESSION_TOKEN", "session_token", "sessionToken", "session-token",
                                            NULL};
static const char *const region_names[] = {"AWS_REGION", "AWS_DEFAULT_REGION", "region", NULL};

struct keys {
    const struct secret *id, *secret, *session, *region;
};

static int region_check(const char *region, struct err *err)
{
    size_t len = strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (region[len] != '\0' || len > 32)
        return err_set(err, ERR_INVALID, "the secret's region is not one: lowercase letters, digits and '-'");
    return 0;
}

static int keys_read(const struct secret_map *secrets, struct keys *out, struct err *err)
{
    if (credentials_value(secrets, key_id_names, &out->id, err) != 0 ||
        credentials_value(secrets, secret_key_names, &out->secret, err) != 0 ||
        credentials_value(secrets, session_names, &out->session, err) != 0 ||
        credentials_value(secrets, region_names, &out->region, err) != 0 ||
        credentials_pair(out->id, out->secret, key_id_names, secret_key_names, err) != 0)
        return -1;
    if (out->session && !out->id)
        return err_set(err, ERR_UNAUTHENTICATED, "the secret has no key '%s', which belongs to '%s'", key_id_names[0],
                       session_names[0]);
    return out->region ? region_check(secret_reveal(out->region), err) : 0;
}

static int aws_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    struct keys keys;
    if (keys_read(&request->identity->secrets, &keys, err) != 0)
        return -1;
    struct credentials *found = keys.id ? credentials_new(CREDENTIALS_AWS, "the secret's access keys")
                                        : credentials_new(CREDENTIALS_NONE, "no credentials");
    found->access_key_id = secret_copy(keys.id);
    found->secret_key = secret_copy(keys.secret);
    found->session_token = secret_copy(keys.session);
    found->region = keys.region ? mem_strdup(secret_reveal(keys.region)) : NULL;
    *out = found;
    return 0;
}

const struct credential_chain credential_chain_aws = {"aws", aws_find};
