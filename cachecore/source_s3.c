#include <string.h>

#include "cachecore/sigv4.h"
#include "cachecore/source_list.h"
#include "cachecore/source_probe.h"

#define REGION_DEFAULT "us-east-1"
#define HEADERS_MAX 8u

/* A bucket's endpoint: "https://bucket.s3.eu-west-1.amazonaws.com", or another server's. */
struct endpoint {
    const char *scheme;
    const char *host; /* with the bucket before it, unless path_style */
    uint16_t port;
    bool is_default_port;
    bool path_style;
};

static int endpoint_custom(const struct class *class, struct arena *arena, struct endpoint *out, struct err *err)
{
    struct url url;
    if (url_parse(arena, class->s3_endpoint, strlen(class->s3_endpoint), &url, err) != 0)
        return err_prefix(err, "class parameter 's3Endpoint'");
    bool brackets = strchr(url.host, ':') != NULL;
    out->scheme = url.scheme;
    out->host = brackets ? arena_printf(arena, "[%s]", url.host) : url.host;
    out->port = url.port;
    out->is_default_port = url.port == (strcmp(url.scheme, "https") == 0 ? 443 : 80);
    out->path_style = class->s3_path_style;
    return 0;
}

/* A dot in a bucket's name breaks the certificate's wildcard, and '_' is no part of a host name. */
static void endpoint_aws(const struct url *url, const char *region, struct arena *arena, struct endpoint *out)
{
    const char *suffix = strncmp(region, "cn-", 3) == 0 ? ".cn" : "";
    out->scheme = "https";
    out->host = arena_printf(arena, "s3.%s.amazonaws.com%s", region, suffix);
    out->port = 443;
    out->is_default_port = true;
    out->path_style = strpbrk(url->host, "._") != NULL;
}

static int endpoint_find(const struct source_context *context, const struct url *url, const char *region,
                         struct arena *arena, struct endpoint *out, struct err *err)
{
    if (context->class->s3_endpoint) {
        if (endpoint_custom(context->class, arena, out, err) != 0)
            return -1;
    } else {
        endpoint_aws(url, region, arena, out);
    }
    if (!out->path_style)
        out->host = arena_printf(arena, "%s.%s", url->host, out->host);
    return 0;
}

static const char *request_url(const struct endpoint *endpoint, const struct url *url, const char *key,
                               const char *version, struct arena *arena)
{
    const char *port = endpoint->is_default_port ? "" : arena_printf(arena, ":%u", endpoint->port);
    const char *bucket = endpoint->path_style ? arena_printf(arena, "/%s", url->host) : "";
    struct sigv4_pair pair = {"versionId", version};
    return arena_printf(arena, "%s://%s%s%s/%s%s%s", endpoint->scheme, endpoint->host, port, bucket, key,
                        version ? "?" : "", sigv4_query(arena, &pair, version ? 1 : 0));
}

/* The object as it can be known before anybody is asked. */
static int object_make(const struct source_context *context, const struct url *url, const char *region,
                       struct arena *arena, struct source_object *out, struct err *err)
{
    struct endpoint endpoint = {.scheme = NULL};
    size_t len;
    const char *key = url_key(arena, url, &len, err);
    if (!key || endpoint_find(context, url, region, arena, &endpoint, err) != 0)
        return -1;
    if (len > 1024)
        return err_set(err, ERR_INVALID, "the object's key has %zu bytes, more than S3's limit of 1024", len);
    const char *version = url->query ? url_query_get(arena, url->query, "versionId") : NULL;
    *out = (struct source_object){
        .kind = "s3",
        .authority = arena_printf(arena, "%s:%u", endpoint.host, endpoint.port),
        .canonical = url->canonical,
        .display = url->display,
        .request_url = request_url(&endpoint, url, url_encode(arena, key, len, false), version, arena),
        .region = arena_strdup(arena, region),
    };
    return 0;
}

static bool is_region(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= 32 && text[len] == '\0';
}

static int probe_in_region(const struct source_call *call, const struct url *url, const char *region,
                           struct arena *arena, struct source_object *out, struct http_response *response,
                           struct err *err)
{
    response->status = 0;
    if (object_make(call->context, url, region, arena, out, err) != 0)
        return -1;
    return source_probe(&source_s3, call, arena, out, response, err);
}

static const char *region_first(const struct source_call *call)
{
    if (call->context->class->s3_region)
        return call->context->class->s3_region;
    return call->credentials->region ? call->credentials->region : REGION_DEFAULT;
}

/* A bucket in another region answers with a refusal that names the right one: asked there once more. */
static int s3_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                      struct source_object *out, struct err *err)
{
    struct http_response response;
    struct source_object object;
    struct err why = ERR_INIT;
    const char *region = region_first(call);
    int result = probe_in_region(call, url, region, arena, &object, &response, &why);
    bool elsewhere = result != 0 && response.status >= 300 && response.status < 500 && is_region(response.region) &&
                     strcmp(response.region, region) != 0;
    if (elsewhere) {
        region = arena_strdup(arena, response.region);
        why = (struct err)ERR_INIT;
        result = probe_in_region(call, url, region, arena, &object, &response, &why);
    }
    if (result != 0) {
        *err = why;
        bool anonymous =
            why.code == ERR_DENIED && response.status == 403 && call->credentials->kind == CREDENTIALS_NONE;
        return anonymous ? err_prefix(err, "asked without credentials, as no secret with access keys was given") : -1;
    }
    *out = object;
    return 0;
}

/* "https://host/path?query" into what a signature names. */
static void url_cut(const char *url, struct arena *arena, const char **host, const char **path, const char **query)
{
    const char *start = strstr(url, "://") + 3;
    size_t host_len = strcspn(start, "/");
    size_t path_len = strcspn(start + host_len, "?");
    const char *rest = start + host_len + path_len;
    *host = arena_strndup(arena, start, host_len);
    *path = arena_strndup(arena, start + host_len, path_len);
    *query = *rest == '?' ? rest + 1 : NULL;
}

static const char *authorization_make(const struct credentials *credentials, const struct source_object *object,
                                      const char *date, const struct http_header *headers, size_t count,
                                      struct arena *arena)
{
    struct sigv4_pair signed_headers[HEADERS_MAX + 1], version = {"versionId", NULL};
    const char *host, *path, *query;
    url_cut(object->request_url, arena, &host, &path, &query);
    version.value = query ? url_query_get(arena, query, "versionId") : NULL;
    signed_headers[0] = (struct sigv4_pair){"host", host};
    for (size_t i = 0; i < count; i++)
        signed_headers[i + 1] = (struct sigv4_pair){headers[i].name, headers[i].value};
    struct sigv4_key key = {secret_reveal(credentials->access_key_id), credentials->secret_key, object->region, "s3"};
    struct sigv4_request request = {.method = "GET",
                                    .path = path,
                                    .query = &version,
                                    .query_count = version.value ? 1 : 0,
                                    .headers = signed_headers,
                                    .header_count = count + 1,
                                    .payload_sha256 = SIGV4_EMPTY_SHA256};
    return sigv4_authorization(arena, &key, date, &request);
}

static size_t headers_sign(const struct credentials *credentials, const struct source_object *object, int64_t now_s,
                           struct arena *arena, struct http_header *headers, size_t count)
{
    char date[SIGV4_DATE_LEN];
    sigv4_date(now_s, date);
    headers[count++] = (struct http_header){"x-amz-content-sha256", SIGV4_EMPTY_SHA256, false};
    headers[count++] = (struct http_header){"x-amz-date", arena_strdup(arena, date), false};
    if (credentials->session_token)
        headers[count++] =
            (struct http_header){"x-amz-security-token", secret_reveal(credentials->session_token), true};
    const char *authorization = authorization_make(credentials, object, date, headers, count, arena);
    headers[count++] = (struct http_header){"Authorization", authorization, true};
    return count;
}

static int s3_authorize(const struct source_call *call, const struct source_object *object,
                        const struct source_range *range, struct arena *arena, struct http_request *out,
                        struct err *err)
{
    struct http_header *headers = arena_calloc(arena, HEADERS_MAX, sizeof(*headers));
    (void)err;
    size_t count = source_range_headers(object, range, arena, headers);
    if (call->credentials->kind == CREDENTIALS_AWS)
        count = headers_sign(call->credentials, object, range->now_s, arena, headers, count);
    *out = (struct http_request){
        .method = "GET",
        .url = object->request_url,
        .display = object->display,
        .headers = headers,
        .header_count = count,
        .body_max = source_body_max(call->context, object, range->len),
        .no_redirects = true, /* a signature names the host */
    };
    return 0;
}

static const char *const schemes[] = {"s3", NULL};

const struct source source_s3 = {.kind = "s3",
                                 .schemes = schemes,
                                 .chain = &credential_chain_aws,
                                 .after_works = true,
                                 .resolve = s3_resolve,
                                 .authorize = s3_authorize};
