#include "cachecore/source_s3.h"

#include <string.h>

#include "cachecore/source_list.h"
#include "cachecore/source_probe.h"

/* --- signatures --- */

/* "https://host/path?query" into what a signature names. */
static void url_cut(const char *url, struct arena *arena, const char **host, const char **path)
{
    const char *start = strstr(url, "://") + 3;
    size_t host_len = strcspn(start, "/");
    *host = arena_strndup(arena, start, host_len);
    *path = arena_strndup(arena, start + host_len, strcspn(start + host_len, "?"));
}

static const char *authorization_make(const struct credentials *credentials, const struct s3_request *request,
                                      const struct http_header *headers, size_t count, struct arena *arena)
{
    struct sigv4_pair signed_headers[S3_HEADERS_MAX + 1];
    char date[SIGV4_DATE_LEN];
    const char *host, *path;
    url_cut(request->url, arena, &host, &path);
    sigv4_date(request->now_s, date);
    signed_headers[0] = (struct sigv4_pair){"host", host};
    for (size_t i = 0; i < count; i++)
        signed_headers[i + 1] = (struct sigv4_pair){headers[i].name, headers[i].value};
    const struct sigv4_key key = {secret_reveal(credentials->access_key_id), credentials->secret_key, request->region,
                                  "s3"};
    const struct sigv4_request what = {.method = request->method,
                                       .path = path,
                                       .query = request->query,
                                       .query_count = request->query_count,
                                       .headers = signed_headers,
                                       .header_count = count + 1,
                                       .payload_sha256 = SIGV4_EMPTY_SHA256};
    return sigv4_authorization(arena, &key, date, &what);
}

size_t s3_sign(const struct credentials *credentials, const struct s3_request *request, struct arena *arena,
               struct http_header *headers, size_t count)
{
    char date[SIGV4_DATE_LEN];
    if (credentials->kind != CREDENTIALS_AWS)
        return count;
    sigv4_date(request->now_s, date);
    headers[count++] = (struct http_header){"x-amz-content-sha256", SIGV4_EMPTY_SHA256, false};
    headers[count++] = (struct http_header){"x-amz-date", arena_strdup(arena, date), false};
    if (credentials->session_token)
        headers[count++] =
            (struct http_header){"x-amz-security-token", secret_reveal(credentials->session_token), true};
    const char *authorization = authorization_make(credentials, request, headers, count, arena);
    headers[count++] = (struct http_header){"Authorization", authorization, true};
    return count;
}

/* --- objects --- */

int s3_object_make(const struct s3_place *place, const struct s3_key *key, struct arena *arena,
                   struct source_object *out, struct err *err)
{
    if (key->len > S3_KEY_MAX)
        return err_set(err, ERR_INVALID, "the object's key has %zu bytes, more than S3's limit of %u", key->len,
                       S3_KEY_MAX);
    const struct sigv4_pair version = {"versionId", key->version};
    *out = (struct source_object){
        .kind = "s3",
        .authority = place->authority,
        .canonical = key->canonical,
        .display = key->display,
        .request_url = arena_printf(arena, "%s/%s%s%s", place->base, url_encode(arena, key->key, key->len, false),
                                    key->version ? "?" : "", key->version ? sigv4_query(arena, &version, 1) : ""),
        .region = place->region,
    };
    return 0;
}

const char *s3_validator(struct arena *arena, const char *etag)
{
    return arena_printf(arena, "etag:%s", etag);
}

struct resolving {
    const struct source_call *call;
    const struct url *url;
    struct arena *arena;
    struct source_object object;
};

static int resolve_in_region(void *context, const char *region, struct http_response *response, struct err *err)
{
    struct resolving *resolving = context;
    const struct url *url = resolving->url;
    struct arena *arena = resolving->arena;
    struct s3_place place;
    struct s3_key key = {.canonical = url->canonical, .display = url->display};
    response->status = 0;
    key.key = url_key(arena, url, &key.len, err);
    if (!key.key || s3_place_find(resolving->call->context, url, region, arena, &place, err) != 0)
        return -1;
    key.version = url->query ? url_query_get(arena, url->query, "versionId") : NULL;
    if (s3_object_make(&place, &key, arena, &resolving->object, err) != 0)
        return -1;
    return source_probe(&source_s3, resolving->call, arena, &resolving->object, response, err);
}

static int s3_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                      struct source_object *out, struct err *err)
{
    struct resolving resolving = {.call = call, .url = url, .arena = arena};
    if (s3_ask_in_region(call, url, resolve_in_region, &resolving, err) != 0)
        return -1;
    *out = resolving.object;
    return 0;
}

static int s3_authorize(const struct source_call *call, const struct source_object *object,
                        const struct source_range *range, struct arena *arena, struct http_request *out,
                        struct err *err)
{
    struct http_header *headers = arena_calloc(arena, S3_HEADERS_MAX, sizeof(*headers));
    const char *query = strchr(object->request_url, '?');
    struct sigv4_pair version = {"versionId", query ? url_query_get(arena, query + 1, "versionId") : NULL};
    struct s3_request request = {.method = range->is_head ? "HEAD" : "GET",
                                 .url = object->request_url,
                                 .query = &version,
                                 .query_count = version.value ? 1 : 0,
                                 .region = object->region,
                                 .now_s = range->now_s};
    (void)err;
    size_t count = source_range_headers(object, range, arena, headers);
    if (range->len == 0)
        headers[count++] = (struct http_header){"x-amz-checksum-mode", "ENABLED", false};
    *out = (struct http_request){
        .method = request.method,
        .url = object->request_url,
        .display = object->display,
        .headers = headers,
        .header_count = s3_sign(call->credentials, &request, arena, headers, count),
        .body_max = source_body_max(call->context, object, range->len),
        .no_redirects = true, /* a signature names the host */
        .takes_coding = true, /* S3 sends what was stored, with the words of whoever stored it */
    };
    return 0;
}

static const char *const schemes[] = {"s3", NULL};

const struct source source_s3 = {.kind = "s3",
                                 .schemes = schemes,
                                 .chain = &credential_chain_aws,
                                 .after_works = true,
                                 .head_states = true,
                                 .resolve = s3_resolve,
                                 .list = s3_list,
                                 .member = s3_member,
                                 .authorize = s3_authorize};
