#include <assert.h>
#include <string.h>

#include "cachecore/credentials.h"
#include "cachecore/digest.h"
#include "cachecore/source_list.h"
#include "cachecore/source_probe.h"

/* Without a strong validator, what signs a URL may also say what it names: then the whole query counts, though nobody can read it. */
static void canonical_keep_query(const struct url *url, struct arena *arena, struct source_object *object)
{
    char digest[SHA256_HEX];
    if (object->validator_is_strong || !url->is_signed)
        return;
    assert(url->query);
    digest_sha256_hex(url->query, strlen(url->query), digest);
    object->canonical = arena_printf(arena, "%s#%s", object->canonical, digest);
}

static int http_resolve(struct http *http, const struct source_context *context, const struct url *url,
                        struct arena *arena, struct source_object *out, const atomic_bool *cancel, struct err *err)
{
    bool brackets = strchr(url->host, ':') != NULL;
    struct http_response response;
    struct source_object object = {
        .kind = url->scheme,
        .authority = arena_printf(arena, brackets ? "[%s]:%u" : "%s:%u", url->host, url->port),
        .canonical = url->canonical,
        .display = url->display,
        .request_url = url->query ? arena_printf(arena, "%s?%s", url->display, url->query) : url->display,
    };
    if (source_probe(&source_http, http, context, arena, &object, &response, cancel, err) != 0) {
        bool refused = err->code == ERR_DENIED && response.status == 403;
        return refused && url->is_signed ? err_prefix(err, "the URL is signed, and its signature may have expired")
                                         : -1;
    }
    canonical_keep_query(url, arena, &object);
    *out = object;
    return 0;
}

/* Only the host that the author named gets credentials; http.c drops them where a redirect leads elsewhere. */
static int http_authorize(const struct source_context *context, const struct source_object *object, uint64_t offset,
                          uint64_t len, int64_t now_s, struct arena *arena, struct http_request *out, struct err *err)
{
    struct http_header *headers = arena_calloc(arena, 3, sizeof(*headers));
    const char *authorization;
    char *host = arena_strdup(arena, object->authority);
    (void)now_s;
    *strrchr(host, ':') = '\0';
    if (credentials_web(context->secrets, host, arena, &authorization, err) != 0)
        return -1;
    size_t count = source_range_headers(object, offset, len, arena, headers);
    if (authorization)
        headers[count++] = (struct http_header){"Authorization", authorization, true};
    *out = (struct http_request){
        .method = "GET",
        .url = object->request_url,
        .display = object->display,
        .headers = headers,
        .header_count = count,
        .body_max = source_body_max(context, object, len),
    };
    return 0;
}

static const char *const schemes[] = {"https", "http", NULL};

const struct source source_http = {"https", schemes, http_resolve, http_authorize};
