#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cachecore/answer.h"

static void text_add(struct sha256 *sha, const char *text)
{
    sha256_field(sha, text ? text : "", text ? strlen(text) : 0);
    sha256_field(sha, text ? "1" : "0", 1); /* nothing and nothing said are two things */
}

static void number_add(struct sha256 *sha, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, number);
    sha256_field(sha, text, (size_t)len);
}

static void digest_end(struct sha256 *sha, char out[SHA256_HEX])
{
    uint8_t digest[SHA256_LEN];
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
}

/* Whom the class makes of an identity, where it sends it, and what it takes as a proof. */
static void class_add(struct sha256 *sha, const struct class *class)
{
    const char *const texts[] = {class->name,
                                 class->allowed_addresses,
                                 class->ca_bundle,
                                 class->proxy,
                                 class->s3_endpoint,
                                 class->s3_region,
                                 class->aws_role_arn,
                                 class->google_service_account,
                                 class->azure_client_id,
                                 class->azure_tenant_id,
                                 class->google_provider,
                                 class->gcs_endpoint,
                                 class->azure_endpoint,
                                 class->aws_sts_endpoint,
                                 class->aws_pod_identity_endpoint,
                                 class->aws_metadata_endpoint,
                                 class->google_sts_endpoint,
                                 class->google_iam_endpoint,
                                 class->google_token_endpoint,
                                 class->google_metadata_endpoint,
                                 class->azure_authority,
                                 class->azure_metadata_endpoint};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        text_add(sha, texts[i]);
    number_add(sha, class->s3_path_style);
    number_add(sha, class->node_identity);
    number_add(sha, class->authorize);
}

static void subject_make(const struct url *url, const char *identity, char out[SHA256_HEX])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    text_add(sha, "sharedcache-subject");
    text_add(sha, identity);
    text_add(sha, url->canonical);
    text_add(sha, url->query);
    digest_end(sha, out);
}

static void who_make(const struct class *class, const char *identity, char out[SHA256_HEX])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    text_add(sha, "sharedcache-who");
    text_add(sha, identity);
    class_add(sha, class);
    digest_end(sha, out);
}

void answer_question_make(const struct source_context *context, const struct url *url, const char *text,
                          struct answer_question *out)
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    struct answer_question question = {.ttl_s = context->class->answer_ttl_s,
                                       .grace_s = context->class->unreachable_grace_s};
    identity_id(context->identity, question.identity);
    subject_make(url, question.identity, question.subject);
    who_make(context->class, question.identity, question.who);
    text_add(sha, "sharedcache-question");
    text_add(sha, question.who);
    text_add(sha, text);
    digest_end(sha, question.whole);
    *out = question;
}
