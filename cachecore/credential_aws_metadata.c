/* The instance metadata service (IMDSv2): the node's own role. Asked only where a class says so. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cachecore/credential_aws.h"
#include "cachecore/source_s3.h"

#define SERVICE "the node's metadata service"
#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"
#define TOKEN_MAX 1024u
#define ROLE_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@_-"

static const char *const bases[2] = {"http://169.254.169.254", "http://[fd00:ec2::254]"};

static int get(const struct credentials_request *request, const struct http_header *header, const char *path,
               struct arena *arena, struct credential_answer *out, struct err *err)
{
    bool is_session = strcmp(header->name, "X-aws-ec2-metadata-token-ttl-seconds") == 0;
    const struct credential_question question = {.request = request,
                                                 .service = SERVICE,
                                                 .method = is_session ? "PUT" : "GET",
                                                 .url = path,
                                                 .headers = header,
                                                 .header_count = 1,
                                                 .body = is_session ? "" : NULL};
    if (aws_local_ask(&question, request->class->aws_metadata_endpoint, bases, arena, out, err) != 0)
        return -1;
    if (out->status == 200 || out->status == 404)
        return 0;
    return credential_status_error(&question, out, "", err);
}

/* 1: there, 0: there is nothing of that name, -1: error. One line of the characters that such a name has. */
static int name_get(const struct credentials_request *request, const struct http_header *session, const char *path,
                    struct arena *arena, const char **out, struct err *err)
{
    struct credential_answer answer;
    if (get(request, session, path, arena, &answer, err) != 0)
        return -1;
    size_t len = strspn(answer.body, ROLE_CHARACTERS);
    if (answer.status == 404)
        return 0;
    if (len == 0 || len > 128 || (answer.body[len] != '\0' && answer.body[len] != '\n'))
        return err_set(err, ERR_PRECONDITION, SERVICE ": an answer that is no name");
    *out = arena_strndup(arena, answer.body, len);
    return 1;
}

static int session_begin(const struct credentials_request *request, struct arena *arena, struct http_header *out,
                         struct err *err)
{
    static const struct http_header lifetime = {"X-aws-ec2-metadata-token-ttl-seconds", "21600", false};
    struct credential_answer answer;
    if (get(request, &lifetime, "/latest/api/token", arena, &answer, err) != 0)
        return -1;
    if (answer.status != 200 || answer.len == 0 || answer.len > TOKEN_MAX ||
        strspn(answer.body, ROLE_CHARACTERS "/") != answer.len)
        return err_set(err, ERR_PRECONDITION, SERVICE ": no session token of IMDSv2");
    *out = (struct http_header){"X-aws-ec2-metadata-token", answer.body, true};
    return 0;
}

static int role_get(const struct credentials_request *request, const struct http_header *session, const char *role,
                    struct arena *arena, struct credentials **out, struct err *err)
{
    struct credential_answer answer;
    struct aws_keys keys;
    if (get(request, session, arena_printf(arena, ROLE_PATH "%s", role), arena, &answer, err) != 0)
        return -1;
    if (answer.status == 404)
        return err_set(err, ERR_PRECONDITION, SERVICE ": no credentials of the role that it names");
    if (aws_keys_parse_json(arena, answer.body, answer.len, &keys, err) != 0)
        return err_prefix(err, SERVICE);
    *out = aws_credentials_make(&keys, arena_printf(arena, "the node's role %s", role));
    return 0;
}

/* The node's region is a good guess for its buckets, and no more: without it the bucket is asked where it is. */
static void region_get(const struct credentials_request *request, const struct http_header *session,
                       struct arena *arena, struct credentials *found)
{
    struct err ignored = ERR_INIT;
    const char *region;
    if (!request->class->s3_region &&
        name_get(request, session, "/latest/meta-data/placement/region", arena, &region, &ignored) > 0 &&
        s3_region_is_plain(region))
        found->region = mem_strdup(region);
}

int aws_metadata_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct http_header session;
    const char *role;
    *out = NULL;
    if (session_begin(request, arena, &session, err) != 0)
        return -1;
    int has_role = name_get(request, &session, ROLE_PATH, arena, &role, err);
    if (has_role <= 0)
        return has_role;
    if (role_get(request, &session, role, arena, out, err) != 0)
        return -1;
    region_get(request, &session, arena, *out);
    return 0;
}
