#include <assert.h>
#include <string.h>

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

static int http_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                        struct source_object *out, struct err *err)
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
    if (source_probe(&source_http, call, arena, &object, &response, err) != 0) {
        bool refused = err->code == ERR_DENIED && response.status == 403;
        return refused && url->is_signed ? err_prefix(err, "the URL is signed, and its signature may have expired")
                                         : -1;
    }
    canonical_keep_query(url, arena, &object);
    *out = object;
    return 0;
}

/* http.c drops credentials where a redirect leads elsewhere. */
static int http_authorize(const struct source_call *call, const struct source_object *object,
                          const struct source_range *range, struct arena *arena, struct http_request *out,
                          struct err *err)
{
    struct http_header *headers = arena_calloc(arena, 2 + CREDENTIALS_HEADERS_MAX, sizeof(*headers));
    (void)err;
    size_t count = source_range_headers(object, range, arena, headers);
    count += source_credential_headers(call->credentials, headers + count);
    *out = (struct http_request){
        .method = "GET",
        .url = object->request_url,
        .display = object->display,
        .headers = headers,
        .header_count = count,
        .body_max = source_body_max(call->context, object, range->len),
    };
    return 0;
}

static const char *const schemes[] = {"https", "http", NULL};

const struct source source_http = {.kind = "https",
                                   .schemes = schemes,
                                   .chain = &credential_chain_web,
                                   .resolve = http_resolve,
                                   .authorize = http_authorize};
