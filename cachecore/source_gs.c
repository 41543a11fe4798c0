/*
 * Objects of Google Cloud Storage. A version is a generation: requests name it as a condition (x-goog-if-generation-match), so that an
 * object that was replaced answers 412 and not with other bytes; a URL that pins one asks for it by name.
 */
#include "cachecore/source_gs.h"

#include <string.h>

#include "cachecore/source_list.h"
#include "cachecore/source_probe.h"
#include "cachecore/url_text.h"

#define HEADERS_MAX (4u + CREDENTIALS_HEADERS_MAX)

int gs_place_find(const struct class *class, struct arena *arena, struct gs_place *out, struct err *err)
{
    const char *endpoint = class->gcs_endpoint ? class->gcs_endpoint : "https://storage.googleapis.com";
    struct url url;
    if (url_parse(arena, endpoint, strlen(endpoint), &url, err) != 0)
        return err_prefix(err, "class parameter 'gcsEndpoint'");
    bool brackets = strchr(url.host, ':') != NULL;
    size_t len = strlen(url.display);
    while (url.display[len - 1] == '/')
        len--;
    out->base = arena_strndup(arena, url.display, len);
    out->authority = arena_printf(arena, brackets ? "[%s]:%u" : "%s:%u", url.host, url.port);
    return 0;
}

bool gs_is_generation(const char *text)
{
    size_t len = strspn(text, "0123456789");
    return len > 0 && len <= 19 && text[len] == '\0' && text[strspn(text, "0")] != '\0';
}

static int pin_take(const struct url *url, struct arena *arena, const char **out, struct err *err)
{
    *out = url->query ? url_query_get(arena, url->query, "generation") : NULL;
    if (*out && !gs_is_generation(*out))
        return err_set(err, ERR_INVALID, "the URL's 'generation' is not a number");
    return 0;
}

/* What is asked for and who it is. A generation is named by the validator alone, so that one object has one name, pinned or not. */
static int object_make(const struct source_context *context, const char *bucket, const char *path, struct arena *arena,
                       struct source_object *out, struct err *err)
{
    struct gs_place place;
    if (gs_place_find(context->class, arena, &place, err) != 0)
        return -1;
    const char *display = arena_printf(arena, "gs://%s%s", bucket, path);
    *out = (struct source_object){.kind = "gs",
                                  .authority = place.authority,
                                  .canonical = display,
                                  .display = display,
                                  .request_url = arena_printf(arena, "%s/%s%s", place.base, bucket, path)};
    return 0;
}

static void version_set(struct source_object *object, const char *generation, struct arena *arena)
{
    object->etag = NULL; /* of some objects that of their bytes, which says nothing of their version */
    object->version_id = arena_strdup(arena, generation);
    object->validator = arena_printf(arena, "generation:%s", generation);
    object->validator_is_strong = true;
}

/* As the server was asked: with no query but a pin, and the key's own escapes. */
static int url_object(const struct source_call *call, const struct url *url, struct arena *arena,
                      struct source_object *out, struct err *err)
{
    size_t len;
    const char *pin;
    const char *key = url_key(arena, url, &len, err);
    if (!key || pin_take(url, arena, &pin, err) != 0)
        return -1;
    if (len > GS_KEY_MAX)
        return err_set(err, ERR_INVALID, "the object's name has %zu bytes, more than Cloud Storage's limit of %u", len,
                       GS_KEY_MAX);
    const char *encoded = arena_printf(arena, "/%s", url_encode(arena, key, len, false));
    if (object_make(call->context, url->host, encoded, arena, out, err) != 0)
        return -1;
    out->canonical = out->display = url->display;
    if (pin)
        out->request_url = arena_printf(arena, "%s?generation=%s", out->request_url, pin);
    return 0;
}

/* Cloud Storage says who lacks what only to those who may know; so say at least who asked. */
static int refusal(const struct source_call *call, const struct http_response *response, struct err *err)
{
    if (response->status != 401 && response->status != 403)
        return -1;
    return err_prefix(err, "asked with %s, which needs storage.objects.get", call->credentials->origin);
}

static int gs_resolve(const struct source_call *call, const struct url *url, struct arena *arena,
                      struct source_object *out, struct err *err)
{
    struct source_object object;
    struct http_response response;
    if (url_object(call, url, arena, &object, err) != 0)
        return -1;
    if (source_probe(&source_gs, call, arena, &object, &response, err) != 0)
        return refusal(call, &response, err);
    if (!gs_is_generation(response.version_id))
        return err_set(err, ERR_PRECONDITION,
                       "HTTP protocol error: the answer has no x-goog-generation: the server is not Cloud Storage");
    version_set(&object, response.version_id, arena);
    *out = object;
    return 0;
}

static int gs_member(const struct source_call *call, const struct url *url, const struct source_entry *entry,
                     struct arena *arena, struct source_object *out, struct err *err)
{
    struct source_object object;
    const char *generation = entry->validator + strlen("generation:");
    const char *encoded = arena_printf(arena, "/%s", url_encode(arena, entry->key, entry->key_len, false));
    const char *path = url_path_canonical(arena, encoded, strlen(encoded), true, err);
    if (!path || object_make(call->context, url->host, encoded, arena, &object, err) != 0)
        return -1;
    object.canonical = object.display = arena_printf(arena, "gs://%s%s", url->host, path);
    version_set(&object, generation, arena);
    object.size = entry->size;
    object.size_is_known = true;
    object.ranges = true;
    object.mtime_s = entry->mtime_s;
    *out = object;
    return 0;
}

/* Objects that are stored compressed are wanted as they are stored: gzip is accepted so that nobody decompresses them on the way, and
 * ranges and checksums are those of their bytes. */
static int gs_authorize(const struct source_call *call, const struct source_object *object,
                        const struct source_range *range, struct arena *arena, struct http_request *out,
                        struct err *err)
{
    struct http_header *headers = arena_calloc(arena, HEADERS_MAX, sizeof(*headers));
    (void)err;
    size_t count = source_range_headers(object, range, arena, headers);
    headers[count++] = (struct http_header){"Accept-Encoding", "gzip", false};
    if (object->version_id)
        headers[count++] = (struct http_header){"x-goog-if-generation-match", object->version_id, false};
    count += source_credential_headers(call->credentials, headers + count);
    *out = (struct http_request){
        .method = "GET",
        .url = object->request_url,
        .display = object->display,
        .headers = headers,
        .header_count = count,
        .body_max = source_body_max(call->context, object, range->len),
        .no_redirects = true,
        .takes_coding = true,
    };
    return 0;
}

static const char *const schemes[] = {"gs", NULL};

const struct source source_gs = {.kind = "gs",
                                 .schemes = schemes,
                                 .chain = &credential_chain_google,
                                 .after_works = true,
                                 .resolve = gs_resolve,
                                 .list = gs_list,
                                 .member = gs_member,
                                 .authorize = gs_authorize};
