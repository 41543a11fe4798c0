#include "cachecore/source_az.h"

#include <assert.h>
#include <string.h>

#include "cachecore/azure_cloud.h"
#include "cachecore/azure_shared_key.h"
#include "cachecore/source_list.h"
#include "cachecore/source_probe.h"
#include "cachecore/url_text.h"

#define NAME_MAX_BYTES 4096u /* 1,024 characters */

/* Letters, digits and single hyphens (REST reference, "Naming and referencing containers, blobs, and metadata"), or one of Azure's own. */
static bool is_container(const char *text)
{
    static const char *const own[] = {"$root", "$web", "$logs", NULL};
    size_t len = strlen(text);
    for (const char *const *known = own; *known; known++) {
        if (strcmp(*known, text) == 0)
            return true;
    }
    return len >= 3 && len <= 63 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == len && text[0] != '-' &&
           text[len - 1] != '-' && !strstr(text, "--");
}

static int container_cut(const char *key, size_t len, bool is_glob, struct arena *arena, struct az_place *out,
                         struct err *err)
{
    const char *slash = memchr(key, '/', len);
    if (!slash)
        return err_set(err, ERR_INVALID, "the URL names no %s: it has the form az://account/container/blob%s",
                       is_glob ? "container" : "blob",
                       is_glob ? ", where a pattern may stand for the blob alone" : ", or ends in '/' for all");
    out->container = arena_strndup(arena, key, (size_t)(slash - key));
    out->name = slash + 1;
    out->name_len = len - (size_t)(slash + 1 - key);
    if (strlen(out->container) != (size_t)(slash - key) || !is_container(out->container))
        return err_set(err, ERR_INVALID,
                       "the URL's first path segment is not a container's name: 3 to 63 lowercase letters, digits and "
                       "single hyphens");
    return 0;
}

/* "https://host[:port]" and "host:port". */
static void base_make(const struct url *at, const char *host, struct arena *arena, struct az_place *out)
{
    bool brackets = strchr(host, ':') != NULL;
    const char *shown = brackets ? arena_printf(arena, "[%s]", host) : host;
    bool is_default = at->port == (strcmp(at->scheme, "https") == 0 ? 443 : 80);
    out->authority = arena_printf(arena, "%s:%u", shown, at->port);
    out->base = arena_printf(arena, "%s://%s", at->scheme, is_default ? shown : out->authority);
}

/* Of another server than Azure, the account is the path's first segment; a cloud's own name may stand for az:// there, too. */
static int endpoint_custom(const struct class *class, struct arena *arena, struct az_place *out, struct err *err)
{
    struct url at;
    if (url_parse(arena, class->azure_endpoint, strlen(class->azure_endpoint), &at, err) != 0)
        return err_prefix(err, "class parameter 'azureEndpoint'");
    const struct azure_cloud *cloud = azure_cloud_of_host(at.host);
    if (cloud && strcmp(cloud->blob_host, at.host) == 0) {
        base_make(&at, arena_printf(arena, "%s.%s", out->account, at.host), arena, out);
        return 0;
    }
    base_make(&at, at.host, arena, out);
    out->base = arena_printf(arena, "%s/%s", out->base, out->account);
    return 0;
}

int az_place_find(const struct source_context *context, const struct url *url, const char *key, size_t key_len,
                  struct arena *arena, struct az_place *out, struct err *err)
{
    bool is_web = strcmp(url->scheme, "https") == 0;
    *out = (struct az_place){.account = azure_account_of(arena, url->host)};
    if (container_cut(key, key_len, url->is_glob, arena, out, err) != 0)
        return -1;
    if (context->class->azure_endpoint && !is_web)
        return endpoint_custom(context->class, arena, out, err);
    const struct url at = {.scheme = "https", .port = 443};
    base_make(&at, is_web ? url->host : arena_printf(arena, "%s.%s", out->account, azure_cloud_public()->blob_host),
              arena, out);
    return 0;
}

static size_t key_sign(const struct credentials *credentials, const char *url, int64_t now_s, struct arena *arena,
                       struct http_header *headers, size_t count)
{
    char date[AZURE_DATE_LEN];
    const char *path = strchr(strstr(url, "://") + 3, '/');
    const char *query = strchr(path, '?');
    azure_date(now_s, date);
    headers[count++] = (struct http_header){"x-ms-date", arena_strdup(arena, date), false};
    const struct azure_request request = {
        .method = "GET",
        .path = query ? arena_strndup(arena, path, (size_t)(query - path)) : path,
        .query = query ? query + 1 : NULL,
        .headers = headers,
        .header_count = count,
    };
    const char *value = azure_shared_key_authorization(arena, credentials->account, credentials->account_key, &request);
    headers[count++] = (struct http_header){"Authorization", value, true};
    return count;
}

void az_request_make(const struct source_call *call, const char *url, int64_t now_s, struct http_header *headers,
                     size_t count, struct arena *arena, struct http_request *out)
{
    const struct credentials *credentials = call->credentials;
    headers[count++] = (struct http_header){"x-ms-version", AZ_VERSION, false};
    count += source_credential_headers(credentials, headers + count);
    if (credentials->kind == CREDENTIALS_AZURE_KEY)
        count = key_sign(credentials, url, now_s, arena, headers, count);
    if (credentials->kind == CREDENTIALS_AZURE_SAS)
        url = arena_printf(arena, "%s%c%s", url, strchr(url, '?') ? '&' : '?', secret_reveal(credentials->sas));
    assert(count <= AZ_HEADERS_MAX);
    out->method = "GET";
    out->url = url;
    out->headers = headers;
    out->header_count = count;
    out->no_redirects = true; /* credentials are for this account */
}

int az_refusal_explain(const struct source_call *call, const struct az_place *place, struct err *err)
{
    if (err->code == ERR_UNAVAILABLE && strncmp(err->message, "cannot resolve host", 19) == 0)
        return err_prefix(err, "storage account '%s' (is there one of this name?)", place->account);
    if (err->code != ERR_UNAUTHENTICATED && err->code != ERR_DENIED)
        return -1;
    if (call->credentials->kind == CREDENTIALS_NONE)
        return err_prefix(err, "asked without credentials (%s)", call->credentials->origin);
    return err_prefix(err, "asked with %s", call->credentials->origin);
}

/* One spelling for a blob, however it is named: the key decoded and written anew. */
static const char *canonical_make(const struct az_place *place, const char *version, struct arena *arena,
                                  struct err *err)
{
    const char *name = url_encode(arena, place->name, place->name_len, false);
    const char *path = arena_printf(arena, "/%s/%s", place->container, name);
    path = url_path_canonical(arena, path, strlen(path), true, err);
    if (!path)
        return NULL;
    return arena_printf(arena, "az://%s%s%s%s", place->account, path, version ? "?versionid=" : "",
                        version ? version : "");
}

static bool segments_are_plain(const char *name, size_t len)
{
    for (const char *p = name, *end = name + len; p <= end;) {
        const char *slash = p < end ? memchr(p, '/', (size_t)(end - p)) : NULL;
        size_t segment = (size_t)((slash ? slash : end) - p);
        if ((segment == 1 && p[0] == '.') || (segment == 2 && memcmp(p, "..", 2) == 0))
            return false;
        p += segment + 1;
    }
    return true;
}

/* "versionid" in any case; NULL if there is none. */
static const char *version_of(const struct url *url, struct arena *arena)
{
    const char *value = url->query ? strchr(url->query, '=') : NULL;
    size_t len;
    if (!value || value[1] == '\0')
        return NULL;
    value = url_decode(arena, value + 1, strlen(value + 1), &len);
    return url_encode(arena, value, len, true);
}

/* The object as it can be known before anybody is asked. */
static int object_make(const struct url *url, const struct az_place *place, struct arena *arena,
                       struct source_object *out, struct err *err)
{
    const char *version = version_of(url, arena);
    if (place->name_len == 0)
        return err_set(err, ERR_INVALID, "the URL names a container and no blob in it");
    if (place->name_len > NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "the blob's name has %zu bytes, more than Azure's limit of 1024 characters",
                       place->name_len);
    if (!segments_are_plain(place->name, place->name_len))
        return err_set(err, ERR_INVALID, "the blob's name holds a '.' or '..' segment");
    *out = (struct source_object){
        .kind = "az",
        .authority = place->authority,
        .canonical = canonical_make(place, version, arena, err),
        .display = url->display,
        .request_url = arena_printf(arena, "%s/%s/%s%s%s", place->base,
                                    url_encode(arena, place->container, strlen(place->container), false),
                                    url_encode(arena, place->name, place->name_len, false),
                                    version ? "?versionid=" : "", version ? version : ""),
    };
    return out->canonical ? 0 : -1;
}

static int az_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                      struct source_object *out, struct err *err)
{
    struct http_response response;
    struct source_object object;
    struct az_place place;
    size_t len;
    const char *key = url_key(arena, url, &len, err);
    if (!key || az_place_find(call->context, url, key, len, arena, &place, err) != 0 ||
        object_make(url, &place, arena, &object, err) != 0)
        return -1;
    if (source_probe(&source_az, call, arena, &object, &response, err) != 0)
        return az_refusal_explain(call, &place, err);
    *out = object;
    return 0;
}

static int az_member(const struct source_call *call, const struct url *url, const struct source_entry *entry,
                     struct arena *arena, struct source_object *out, struct err *err)
{
    struct url bucket = *url;
    struct az_place place;
    bucket.query = NULL;
    if (az_place_find(call->context, &bucket, entry->key, entry->key_len, arena, &place, err) != 0 ||
        object_make(&bucket, &place, arena, out, err) != 0)
        return -1;
    assert(strncmp(entry->validator, "etag:", 5) == 0);
    out->display = out->canonical;
    out->validator = arena_strdup(arena, entry->validator);
    out->etag = out->validator + 5;
    out->validator_is_strong = true;
    out->size = entry->size;
    out->size_is_known = true;
    out->ranges = entry->size > 0;
    out->mtime_s = entry->mtime_s;
    return 0;
}

static int az_authorize(const struct source_call *call, const struct source_object *object,
                        const struct source_range *range, struct arena *arena, struct http_request *out,
                        struct err *err)
{
    struct http_header *headers = arena_calloc(arena, AZ_HEADERS_MAX, sizeof(*headers));
    (void)err;
    size_t count = source_range_headers(object, range, arena, headers);
    *out = (struct http_request){.display = object->display,
                                 .takes_coding = true, /* metadata of the blob, whatever is asked for */
                                 .body_max = source_body_max(call->context, object, range->len)};
    az_request_make(call, object->request_url, range->now_s, headers, count, arena, out);
    return 0;
}

static const char *const schemes[] = {"az", NULL};

const struct source source_az = {.kind = "az",
                                 .schemes = schemes,
                                 .takes = azure_url_is_blob,
                                 .chain = &credential_chain_azure,
                                 .resolve = az_resolve,
                                 .list = az_list,
                                 .member = az_member,
                                 .authorize = az_authorize};
