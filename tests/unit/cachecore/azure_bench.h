/* What the tests of source az share: a canned server that answers as Azure does, and all that one question needs. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "cachecore/source.h"
#include "tests/unit/cachecore/canned_server.h"

#define PART(headers) \
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1234\r\nContent-Length: 1\r\n" headers "\r\nx"
#define ETAG "ETag: \"0x8D1\"\r\n"
#define CODED(status, code) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nx-ms-error-code: " code "\r\n\r\n"
#define BODIED(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body
#define TOKEN "{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"t0ken.s3cret\"}"
#define REFUSED(code) \
    "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS" code ": s3cret\",\"error_codes\":[" code "]}"
#define KEY "czNjcmV0IGtleQ==" /* "s3cret key" */
#define SAS "sv=2022-11-02&sr=c&se=2030-01-01T00:00:00Z&sig=s3cret%3D"
#define LIST                                                                                                          \
    "<?xml version=\"1.0\"?><EnumerationResults><Blobs><Blob><Name>d/a</Name><Properties><Last-Modified>Sun, 06 Nov " \
    "1994 08:49:37 GMT</Last-Modified><Etag>0x8D1</Etag><Content-Length>1234</Content-Length></Properties></Blob>"    \
    "<Blob><Name>d/b c</Name><Properties><Etag>0x8D2</Etag><Content-Length>0</Content-Length><AccessTier>Archive"     \
    "</AccessTier></Properties></Blob><BlobPrefix><Name>d/e/</Name></BlobPrefix></Blobs><NextMarker>2!x&amp;y"        \
    "</NextMarker></EnumerationResults>"

static const struct canned table[] = {
    {"/acme/data/d/a", PART(ETAG "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-ms-version-id: v1\r\n"), 0,
     CANNED_KEEP, NULL, false},
    {"/acme/data/a%20b/%2Bc%C3%A9%3D", PART(ETAG), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/empty",
     "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0--1/0\r\nContent-Length: 0\r\n" ETAG "\r\n", 0, CANNED_KEEP,
     NULL, true},
    {"/acme/data/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" ETAG "\r\n", 0, CANNED_KEEP, NULL, false},
    {"/acme/data/short", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 0\r\n\r\n", 0,
     CANNED_KEEP, NULL, false},
    {"/acme/data/missing", CODED("404 The specified blob does not exist.", "BlobNotFound"), 0, CANNED_KEEP, NULL,
     false},
    {"/acme/nowhere/x", CODED("404 Not Found", "ContainerNotFound"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/archived", CODED("409 Conflict", "BlobArchived"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/rehydrating", CODED("409 Conflict", "BlobBeingRehydrated"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/network", CODED("403 Forbidden", "AuthorizationFailure"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/role", CODED("403 Forbidden", "AuthorizationPermissionMismatch"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/auth", CODED("403 Forbidden", "AuthenticationFailed"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/none", CODED("401 Unauthorized", "NoAuthenticationInformation"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/public", CODED("409 Conflict", "PublicAccessNotPermitted"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/busy", CODED("503 Server Busy", "ServerBusy"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/body",
     BODIED("404 Not Found", "<Error><Code>ContainerNotFound</Code><Message>s3cret</Message></Error>"), 0, CANNED_CLOSE,
     NULL, false},
    {"/acme/data/odd", CODED("418 Teapot", "a s3cret"), 0, CANNED_KEEP, NULL, false},
    {"/acme/data/moved",
     "HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%P/acme/data/d/a\r\n\r\n", 0, CANNED_KEEP,
     NULL, false},
    {"/acme/data", BODIED("200 OK", LIST), 0, CANNED_CLOSE, NULL, false},
    {"/acme/empty", BODIED("200 OK", "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>"), 0, CANNED_CLOSE,
     NULL, false},
    {"/acme/nowhere", CODED("404 Not Found", "ContainerNotFound"), 0, CANNED_KEEP, NULL, false},
    {"/acme/html", BODIED("200 OK", "<html><body>s3cret</body></html>"), 0, CANNED_CLOSE, NULL, false},
    {"/good/oauth2/v2.0/token", BODIED("200 OK", TOKEN), 0, CANNED_CLOSE, NULL, false},
    {"/unmatched/oauth2/v2.0/token", BODIED("401 Unauthorized", REFUSED("700213")), 0, CANNED_CLOSE, NULL, false},
    {"/unknown/oauth2/v2.0/token", BODIED("400 Bad Request", REFUSED("99999")), 0, CANNED_CLOSE, NULL, false},
    {"/busy/oauth2/v2.0/token", BODIED("503 Busy", "s3cret"), 0, CANNED_CLOSE, NULL, false},
    {"/html/oauth2/v2.0/token", BODIED("200 OK", "<html>s3cret"), 0, CANNED_CLOSE, NULL, false},
    {"/metadata/identity/oauth2/token", BODIED("200 OK", TOKEN), 0, CANNED_CLOSE, NULL, false},
};

static struct canned_server server;

struct pair {
    const char *key, *value;
};

struct bench {
    struct arena *arena;
    struct http *http;
    struct class class;
    struct identity_facts facts;
    struct secret_map secrets, tokens;
    struct source_context context;
    struct source_call call;
    const struct source *source;
    struct url url;
};

static inline void bench_class(struct bench *bench, const char *key, const char *value)
{
    struct err err = ERR_INIT;
    if (class_set(bench->arena, &bench->class, key, value, &err) != 0)
        fail_msg("%s", err.message);
}

static inline void bench_init(struct bench *bench)
{
    static const struct http_rules rules = {.allowed_addresses = "127.0.0.0/8", .connect_timeout_ms = 2000};
    *bench = (struct bench){.arena = arena_new(),
                            .http = http_new(&rules),
                            .secrets = SECRET_MAP_INIT,
                            .tokens = SECRET_MAP_INIT,
                            .facts = {.namespace = "ml", .service_account = "train"}};
    class_default(&bench->class);
    const char *endpoint = arena_printf(bench->arena, "http://127.0.0.1:%u", server.port);
    bench_class(bench, "azureEndpoint", endpoint);
    bench_class(bench, "azureAuthority", endpoint);
    bench_class(bench, "azureMetadataEndpoint", endpoint);
    bench_class(bench, "allowedAddresses", "127.0.0.0/8");
}

static inline void bench_deinit(struct bench *bench)
{
    source_call_end(&bench->call);
    identity_free(bench->context.identity);
    secret_map_deinit(&bench->secrets);
    secret_map_deinit(&bench->tokens);
    http_free(bench->http);
    arena_free(bench->arena);
}

static inline void map_put(struct secret_map *map, const char *key, const char *value)
{
    secret_map_add(map, key, value, strlen(value));
}

/* Parses the URL and finds credentials. */
static inline int bench_begin(struct bench *bench, const char *url, struct err *err)
{
    if (url_parse(bench->arena, url, strlen(url), &bench->url, err) != 0)
        return -1;
    bench->source = source_for(&bench->url, err);
    assert_non_null(bench->source);
    bench->context = (struct source_context){
        .class = &bench->class,
        .volume = "vol",
        .identity = identity_new(&bench->facts, &bench->secrets, &bench->tokens),
    };
    bench->call = (struct source_call){.context = &bench->context, .http = bench->http};
    return source_call_begin(bench->source, bench->url.host, &bench->call, err);
}

static inline int bench_resolve(struct bench *bench, const char *url, struct source_object *out, struct err *err)
{
    if (bench_begin(bench, url, err) != 0)
        return -1;
    return bench->source->resolve(&bench->call, &bench->url, bench->arena, out, err);
}

static inline int group_setup(void **state)
{
    (void)state;
    canned_start(&server, table, sizeof(table) / sizeof(table[0]));
    return 0;
}

static inline int group_teardown(void **state)
{
    (void)state;
    canned_stop(&server);
    return 0;
}
