/* AWS STS, AssumeRoleWithWebIdentity (API version 2011-06-15): not signed, the token is what proves who asks. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/aws_partition.h"
#include "cachecore/credential_aws.h"
#include "cachecore/digest.h"
#include "cachecore/url.h"

#define SERVICE "AWS STS"
#define ARN_MIN 20u
#define ARN_MAX 2048u
#define NAME_KEPT 47 /* of a long session name: then '-' and 16 digits of its digest */

void aws_session_name(const struct identity_facts *facts, char out[AWS_SESSION_NAME_SIZE])
{
    char digest[SHA256_HEX];
    _cleanup_(str_deinitp) struct str name = STR_INIT;
    if (facts->namespace && facts->service_account)
        str_printf(&name, "%s.%s", facts->namespace, facts->service_account);
    else
        str_append_text(&name, "sharedcache");
    digest_sha256_hex(name.data, name.len, digest);
    for (size_t i = 0; i < name.len; i++) {
        if (!isalnum((unsigned char)name.data[i]) && !strchr("_+=,.@-", name.data[i]))
            name.data[i] = '_';
    }
    if (name.len < AWS_SESSION_NAME_SIZE)
        snprintf(out, AWS_SESSION_NAME_SIZE, "%s", name.data);
    else
        snprintf(out, AWS_SESSION_NAME_SIZE, "%.*s-%.16s", NAME_KEPT, name.data, digest);
}

/* Servers that are compatible have partitions and accounts of their own kind. */
static int arn_check(const char *arn, struct err *err)
{
    size_t len = strlen(arn);
    unsigned fields = 1;
    bool is_plain = true;
    for (const char *p = arn; *p; p++) {
        fields += *p == ':';
        is_plain = is_plain && isgraph((unsigned char)*p);
    }
    if (!is_plain || len < ARN_MIN || len > ARN_MAX || fields < 6 || !str_starts_with(arn, "arn:"))
        return err_set(err, ERR_INVALID,
                       "the role is no ARN such as arn:aws:iam::123456789012:role/reader (the service account's "
                       "annotation eks.amazonaws.com/role-arn, or the class's awsRoleArn)");
    return 0;
}

/* Compatible servers have regions such as "garage" or "us". */
static bool is_amazons(const char *region)
{
    size_t len = strlen(region);
    return len > 0 && strchr(region, '-') && isdigit((unsigned char)region[len - 1]);
}

const char *aws_sts_url(struct arena *arena, const struct class *class, const char *role_arn, const char *region,
                        struct err *err)
{
    if (arn_check(role_arn, err) != 0)
        return NULL;
    if (class->aws_sts_endpoint)
        return arena_printf(arena, "%s/", class->aws_sts_endpoint);
    const struct aws_partition *partition = aws_partition_of_arn(role_arn);
    if (!partition) {
        err_set(err, ERR_INVALID, "the role's ARN is of no partition of Amazon's: set the class's awsStsEndpoint");
        return NULL;
    }
    if (!region || !is_amazons(region) || aws_partition_of_region(region) != partition)
        region = partition->default_region;
    return arena_printf(arena, "https://sts.%s.%s/", region, partition->suffix);
}

static const char *encoded(struct arena *arena, const char *text)
{
    return url_encode(arena, text, strlen(text), true);
}

static const char *who(struct arena *arena, const struct identity_facts *facts)
{
    return arena_printf(arena, "service account %s/%s", facts->namespace ? facts->namespace : "?",
                        facts->service_account ? facts->service_account : "?");
}

/* What STS says is wrong, and what is to be done about it. */
static const struct {
    const char *code;
    enum err_code err;
    const char *text;
} refusals[] = {
    {"ExpiredTokenException", ERR_UNAUTHENTICATED, "the pod's token has expired"},
    {"InvalidIdentityToken", ERR_UNAUTHENTICATED,
     "the pod's token is not accepted: the role's account needs an identity provider for this cluster's issuer, with "
     "the audience " AWS_STS_AUDIENCE},
    {"IDPRejectedClaim", ERR_DENIED, "the cluster's issuer rejects the pod's token"},
    {"IDPCommunicationError", ERR_UNAVAILABLE, "STS cannot reach the cluster's issuer"},
    {"AccessDenied", ERR_DENIED, NULL},
    {"RegionDisabledException", ERR_PRECONDITION,
     "STS is not activated in this region: set the class's s3Region or awsStsEndpoint"},
    {"ValidationError", ERR_INVALID, "STS does not take the role's ARN"},
    {"Throttling", ERR_UNAVAILABLE, "STS asks for fewer requests"},
    {"ThrottlingException", ERR_UNAVAILABLE, "STS asks for fewer requests"},
};

static int refusal_error(const struct credential_question *question, const struct credential_answer *answer,
                         const char *role_arn, struct arena *arena, struct err *err)
{
    const char *code = answer->status >= 500 ? "" : aws_error_code_parse(arena, answer->body, answer->len);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (strcmp(refusals[i].code, code) != 0)
            continue;
        if (!refusals[i].text)
            return err_set(err, refusals[i].err, SERVICE ": role %.200s may not be assumed by %s (its trust policy)",
                           role_arn, who(arena, question->request->identity->facts));
        return err_set(err, refusals[i].err, SERVICE ": HTTP %d %s: %s", answer->status, code, refusals[i].text);
    }
    return credential_status_error(question, answer, code, err);
}

static int answer_take(const struct credential_question *question, const struct credential_answer *answer,
                       const char *role_arn, struct arena *arena, struct credentials **out, struct err *err)
{
    struct aws_keys keys;
    if (answer->status != 200)
        return refusal_error(question, answer, role_arn, arena, err);
    if (aws_keys_parse_sts(arena, answer->body, answer->len, &keys, err) != 0)
        return err_prefix(err, SERVICE);
    *out = aws_credentials_make(
        &keys, arena_printf(arena, "role %.200s of %s", role_arn, who(arena, question->request->identity->facts)));
    return 0;
}

int aws_sts_find(const struct credentials_request *request, const struct aws_role *role, struct credentials **out,
                 struct err *err)
{
    static const struct http_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded", false},
                                                 {"Accept", "text/xml", false}};
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    char session[AWS_SESSION_NAME_SIZE];
    struct credential_answer answer;
    aws_session_name(request->identity->facts, session);
    const char *body =
        arena_printf(arena,
                     "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=%s&RoleSessionName=%s"
                     "&WebIdentityToken=%s",
                     encoded(arena, role->arn), encoded(arena, session), encoded(arena, secret_reveal(role->token)));
    const struct credential_question question = {.request = request,
                                                 .service = SERVICE,
                                                 .method = "POST",
                                                 .url =
                                                     aws_sts_url(arena, request->class, role->arn, role->region, err),
                                                 .headers = headers,
                                                 .header_count = 2,
                                                 .body = body,
                                                 .body_len = strlen(body)};
    if (!question.url || credential_ask(&question, arena, &answer, err) != 0)
        return -1;
    return answer_take(&question, &answer, role->arn, arena, out, err);
}
