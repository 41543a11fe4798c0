/*
 * Credentials for S3, the first of these that applies: keys in the secret, under the names that people use already; the service
 * account's role at AWS STS; EKS Pod Identity; the node's role, where the class says so; nothing. A pod that has an identity of its
 * own never gets the node's: where its own is refused or cannot be found out, that is an error.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cachecore/credential_aws.h"

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

static struct credentials *keys_make(const struct keys *keys)
{
    struct credentials *made = credentials_new(CREDENTIALS_AWS, "the secret's access keys");
    made->access_key_id = secret_copy(keys->id);
    made->secret_key = secret_copy(keys->secret);
    made->session_token = secret_copy(keys->session);
    return made;
}

static const char *role_of(const struct credentials_request *request)
{
    const char *said = request->identity->facts->aws_role_arn;
    return said && said[0] ? said : request->class->aws_role_arn;
}

static const struct secret *token_of(const struct credentials_request *request, const char *audience)
{
    const struct secret *token = secret_map_get(&request->identity->tokens, audience);
    return token && secret_len(token) > 0 ? token : NULL;
}

/* A role that is named is an identity of the pod's own, also where its token is not there. */
static int role_find(const struct credentials_request *request, struct aws_role *role, struct credentials **out,
                     struct err *err)
{
    role->token = token_of(request, AWS_STS_AUDIENCE);
    if (!role->token)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "no token for role %.200s: the CSIDriver object's tokenRequests lack the audience %s", role->arn,
                       AWS_STS_AUDIENCE);
    return aws_sts_find(request, role, out, err);
}

/* *out NULL: none of them applies. */
static int identity_find(const struct credentials_request *request, const struct secret *region,
                         struct credentials **out, struct err *err)
{
    const struct secret *token = token_of(request, AWS_POD_IDENTITY_AUDIENCE);
    struct aws_role role = {.arn = role_of(request), .region = request->class->s3_region};
    if (!role.region && region)
        role.region = secret_reveal(region);
    *out = NULL;
    if (role.arn)
        return role_find(request, &role, out, err);
    if (token && aws_pod_identity_find(request, token, out, err) != 0)
        return -1;
    if (*out || !request->class->node_identity)
        return 0;
    return aws_metadata_find(request, out, err);
}

static int aws_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    struct keys keys;
    struct credentials *found = NULL;
    if (keys_read(&request->identity->secrets, &keys, err) != 0)
        return -1;
    if (keys.id)
        found = keys_make(&keys);
    else if (identity_find(request, keys.region, &found, err) != 0)
        return -1;
    if (!found)
        found = credentials_new(CREDENTIALS_NONE, "no credentials");
    if (keys.region) {
        free(found->region);
        found->region = mem_strdup(secret_reveal(keys.region));
    }
    *out = found;
    return 0;
}

const struct credential_chain credential_chain_aws = {"aws", aws_find, true};
