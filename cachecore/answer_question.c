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

/* Whom the class makes of an identity, where it sends it, what it takes as a proof, and which keys it takes. */
static void class_add(struct sha256 *sha, const struct class *class)
{
    text_add(sha, class->name);
    text_add(sha, class->allowed_sources);
    class_digest_access(class, sha);
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
