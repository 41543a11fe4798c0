/* Where a bucket is, and which region it said it is in. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/aws_partition.h"
#include "cachecore/digest.h"
#include "cachecore/source_s3.h"

#define REGION_DEFAULT "us-east-1"
#define MEMORY_SIZE 512u /* buckets */

/* --- places --- */

/* scheme://host[:port], divided where a bucket's name may have to stand. */
struct server {
    const char *scheme;
    const char *host;
    uint16_t port;
    const char *port_text; /* "" for the scheme's own */
    bool path_style;
};

static int server_custom(const struct class *class, struct arena *arena, struct server *out, struct err *err)
{
    struct url url;
    if (url_parse(arena, class->s3_endpoint, strlen(class->s3_endpoint), &url, err) != 0)
        return err_prefix(err, "class parameter 's3Endpoint'");
    bool brackets = strchr(url.host, ':') != NULL;
    bool is_usual = url.port == (strcmp(url.scheme, "https") == 0 ? 443 : 80);
    *out = (struct server){.scheme = url.scheme,
                           .host = brackets ? arena_printf(arena, "[%s]", url.host) : url.host,
                           .port = url.port,
                           .port_text = is_usual ? "" : arena_printf(arena, ":%u", url.port),
                           .path_style = class->s3_path_style};
    return 0;
}

/* A dot in a bucket's name breaks the certificate's wildcard, and '_' is no part of a host name. */
static void server_aws(const char *bucket, const char *region, struct arena *arena, struct server *out)
{
    *out = (struct server){.scheme = "https",
                           .host = arena_printf(arena, "s3.%s.%s", region, aws_partition_of_region(region)->suffix),
                           .port = 443,
                           .port_text = "",
                           .path_style = strpbrk(bucket, "._") != NULL};
}

/* Access point aliases (-s3alias) are asked like buckets. */
static int bucket_check(const char *bucket, struct err *err)
{
    if (str_ends_with(bucket, "--x-s3") || str_ends_with(bucket, "--xa-s3"))
        return err_set(err, ERR_UNSUPPORTED,
                       "S3 Express directory buckets are not supported: use a general purpose bucket");
    if (str_ends_with(bucket, ".mrap"))
        return err_set(err, ERR_UNSUPPORTED,
                       "Multi-Region Access Points are not supported: use a bucket or an access point's alias");
    if (str_ends_with(bucket, "--ol-s3"))
        return err_set(err, ERR_UNSUPPORTED,
                       "Object Lambda Access Points are not supported: use a bucket or an access point's alias");
    return 0;
}

int s3_place_find(const struct source_context *context, const struct url *url, const char *region, struct arena *arena,
                  struct s3_place *out, struct err *err)
{
    struct server server = {.scheme = NULL};
    if (!context->class->s3_endpoint) {
        if (bucket_check(url->host, err) != 0)
            return -1;
        server_aws(url->host, region, arena, &server);
    } else if (server_custom(context->class, arena, &server, err) != 0) {
        return -1;
    }
    const char *host = server.path_style ? server.host : arena_printf(arena, "%s.%s", url->host, server.host);
    *out = (struct s3_place){
        .base = arena_printf(arena, "%s://%s%s%s%s", server.scheme, host, server.port_text,
                             server.path_style ? "/" : "", server.path_style ? url->host : ""),
        .authority = arena_printf(arena, "%s:%u", host, server.port),
        .region = arena_strdup(arena, region),
    };
    return 0;
}

/* --- regions --- */

bool s3_region_is_plain(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= S3_REGION_MAX && text[len] == '\0';
}

/* What servers said about their buckets: a guess that saves a request, so that old entries just go. */
static struct {
    pthread_mutex_t mutex;
    struct {
        char key[SHA256_HEX];
        char region[S3_REGION_MAX + 1];
    } entries[MEMORY_SIZE];
    size_t next;
} locked = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void key_make(const struct source_call *call, const struct url *url, char out[SHA256_HEX])
{
    const char *endpoint = call->context->class->s3_endpoint;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    str_printf(&text, "%s %s", url->host, endpoint ? endpoint : "");
    digest_sha256_hex(text.data, text.len, out);
}

static bool memory_read(const char *key, char out[S3_REGION_MAX + 1])
{
    bool found = false;
    pthread_mutex_lock(&locked.mutex);
    for (size_t i = 0; i < MEMORY_SIZE && !found; i++) {
        found = strcmp(locked.entries[i].key, key) == 0;
        if (found)
            memcpy(out, locked.entries[i].region, S3_REGION_MAX + 1);
    }
    pthread_mutex_unlock(&locked.mutex);
    return found;
}

static void memory_write(const char *key, const char *region)
{
    size_t at = 0;
    pthread_mutex_lock(&locked.mutex);
    while (at < MEMORY_SIZE && strcmp(locked.entries[at].key, key) != 0)
        at++;
    if (at == MEMORY_SIZE)
        at = locked.next++ % MEMORY_SIZE;
    memcpy(locked.entries[at].key, key, SHA256_HEX);
    snprintf(locked.entries[at].region, sizeof(locked.entries[at].region), "%s", region);
    pthread_mutex_unlock(&locked.mutex);
}

static const char *region_said(const struct source_call *call)
{
    if (call->context->class->s3_region)
        return call->context->class->s3_region;
    return call->credentials->region ? call->credentials->region : REGION_DEFAULT;
}

static bool is_elsewhere(const struct http_response *response, const char *region)
{
    return response->status >= 300 && response->status < 500 && s3_region_is_plain(response->region) &&
           strcmp(response->region, region) != 0;
}

/* Who was refused is half of the answer. */
static int who_prefix(const struct credentials *credentials, struct err *err)
{
    if (err->code != ERR_DENIED && err->code != ERR_UNAUTHENTICATED)
        return -1;
    if (credentials->kind == CREDENTIALS_NONE)
        return err_prefix(err, "asked without credentials (no access keys in a secret, no role of a service account)");
    return err_prefix(err, "asked with %s", credentials->origin);
}

void s3_region_now(const struct source_call *call, const struct url *url, char out[S3_REGION_MAX + 1])
{
    char key[SHA256_HEX];
    key_make(call, url, key);
    if (!memory_read(key, out))
        snprintf(out, S3_REGION_MAX + 1, "%s", region_said(call));
}

int s3_ask_in_region(const struct source_call *call, const struct url *url, s3_question question, void *context,
                     struct err *err)
{
    struct http_response response = {.status = 0};
    struct err why = ERR_INIT;
    char key[SHA256_HEX], region[S3_REGION_MAX + 1];
    key_make(call, url, key);
    s3_region_now(call, url, region);
    int result = question(context, region, &response, &why);
    if (result != 0 && is_elsewhere(&response, region)) {
        memcpy(region, response.region, sizeof(region));
        why = (struct err)ERR_INIT;
        response.status = 0;
        result = question(context, region, &response, &why);
        if (result == 0 || (response.status > 0 && !is_elsewhere(&response, region)))
            memory_write(key, region);
    }
    if (result == 0)
        return 0;
    *err = why;
    return who_prefix(call->credentials, err);
}
