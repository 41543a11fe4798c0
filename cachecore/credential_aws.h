/* What the files of Amazon's credential chain share: its services, and how their answers are read. Nobody else includes this. */
#pragma once

#include "cachecore/credential_http.h"
#include "cachecore/credentials.h"

#define AWS_STS_AUDIENCE "sts.amazonaws.com"
#define AWS_POD_IDENTITY_AUDIENCE "pods.eks.amazonaws.com"
#define AWS_SESSION_NAME_SIZE 65 /* STS takes 2 to 64 characters */

/* --- credential_aws_parse.c: answers, pure; text is in arena --- */

/* Temporary keys, as all of these services give them out. */
struct aws_keys {
    const char *access_key_id, *secret_key, *session_token;
    int64_t expires_s;
};

/* JSON of EKS Pod Identity and of the instance metadata service: AccessKeyId, SecretAccessKey, Token, Expiration. ERR_PRECONDITION for
 * anything else; "Code" that is there and not Success is an error, too, and named. */
int aws_keys_parse_json(struct arena *arena, const char *text, size_t len, struct aws_keys *out, struct err *err);
/* XML of STS: AssumeRoleWithWebIdentityResponse. ERR_PRECONDITION for anything else. */
int aws_keys_parse_sts(struct arena *arena, const char *text, size_t len, struct aws_keys *out, struct err *err);
/* <ErrorResponse><Error><Code>; "" where there is none. */
const char *aws_error_code_parse(struct arena *arena, const char *text, size_t len);

/* Kind CREDENTIALS_AWS. */
struct credentials *aws_credentials_make(const struct aws_keys *keys, const char *origin);

/* --- credential_aws_sts.c --- */

/* Whom CloudTrail shows: "namespace.account" in the characters that STS takes; cut and told apart by a digest where it is too long. */
void aws_session_name(const struct identity_facts *facts, char out[AWS_SESSION_NAME_SIZE]);
/* "https://sts.eu-west-1.amazonaws.com/". region: NULL where nobody says one. ERR_INVALID for what is no role's ARN. */
const char *aws_sts_url(struct arena *arena, const struct class *class, const char *role_arn, const char *region,
                        struct err *err);
/* The pod's token for a role, at AWS STS (AssumeRoleWithWebIdentity). */
struct aws_role {
    const char *arn;
    const struct secret *token;
    const char *region; /* whose STS is asked; NULL: nobody says one */
};
int aws_sts_find(const struct credentials_request *request, const struct aws_role *role, struct credentials **out,
                 struct err *err);

/* --- credential_aws_pod_identity.c, credential_aws_metadata.c --- */

/* *out NULL: the service account has no association, or the node no role. */
int aws_pod_identity_find(const struct credentials_request *request, const struct secret *token,
                          struct credentials **out, struct err *err);
int aws_metadata_find(const struct credentials_request *request, struct credentials **out, struct err *err);

/* Asks a link-local service at the address that the class gives, else at the first of two that answers. what->url is a path. */
int aws_local_ask(const struct credential_question *what, const char *override, const char *const bases[2],
                  struct arena *arena, struct credential_answer *out, struct err *err);
