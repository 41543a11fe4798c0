/* EKS Pod Identity: the agent on the node changes the pod's token into keys of the role that is associated with the service account. */
#include <string.h>

#include "base/str.h"
#include "cachecore/credential_aws.h"

#define SERVICE "EKS Pod Identity"

static const char *const bases[2] = {"http://169.254.170.23", "http://[fd00:ec2::23]"};

int aws_local_ask(const struct credential_question *what, const char *override, const char *const bases_of[2],
                  struct arena *arena, struct credential_answer *out, struct err *err)
{
    struct credential_question question = *what;
    struct err why = ERR_INIT;
    question.is_metadata = true;
    question.url = arena_printf(arena, "%s%s", override ? override : bases_of[0], what->url);
    int result = credential_ask(&question, arena, out, &why);
    if (result != 0 && why.code == ERR_UNAVAILABLE && !override) {
        struct err second = ERR_INIT; /* the first address is the usual one: its error is told */
        question.url = arena_printf(arena, "%s%s", bases_of[1], what->url);
        result = credential_ask(&question, arena, out, &second);
    }
    if (result != 0)
        *err = why;
    return result;
}

/* The agent writes "[request]: (ExpiredTokenException): words, fault: client". */
static const struct {
    const char *code;
    enum err_code err;
    const char *text;
} refusals[] = {
    {"(ExpiredTokenException)", ERR_UNAUTHENTICATED, "the pod's token has expired"},
    {"(InvalidTokenException)", ERR_UNAUTHENTICATED, "the pod's token is not accepted"},
    {"(AccessDeniedException)", ERR_DENIED,
     "the node's role may not ask on behalf of pods, or the pod's may not be assumed"},
};

static int refusal_error(const struct credential_question *question, const struct credential_answer *answer,
                         struct err *err)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (memmem(answer->body, answer->len, refusals[i].code, strlen(refusals[i].code)))
            return err_set(err, refusals[i].err, SERVICE ": HTTP %d %s: %s", answer->status, refusals[i].code,
                           refusals[i].text);
    }
    return credential_status_error(question, answer, "", err);
}

int aws_pod_identity_find(const struct credentials_request *request, const struct secret *token,
                          struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct http_header headers[] = {{"Authorization", secret_reveal(token), true},
                                          {"Accept", "application/json", false}};
    const struct credential_question question = {.request = request,
                                                 .service = SERVICE,
                                                 .method = "GET",
                                                 .url = "/v1/credentials",
                                                 .headers = headers,
                                                 .header_count = 2};
    const struct identity_facts *facts = request->identity->facts;
    struct credential_answer answer;
    struct aws_keys keys;
    *out = NULL;
    if (aws_local_ask(&question, request->class->aws_pod_identity_endpoint, bases, arena, &answer, err) != 0)
        return -1;
    if (answer.status == 404)
        return 0;
    if (answer.status != 200)
        return refusal_error(&question, &answer, err);
    if (aws_keys_parse_json(arena, answer.body, answer.len, &keys, err) != 0)
        return err_prefix(err, SERVICE);
    *out = aws_credentials_make(&keys, arena_printf(arena, "the pod identity of service account %s/%s",
                                                    facts->namespace ? facts->namespace : "?",
                                                    facts->service_account ? facts->service_account : "?"));
    return 0;
}
