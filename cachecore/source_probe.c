#include "cachecore/source_probe.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

/* What the headers of one answer said; the body is not wanted. */
struct glance {
    struct http_response response;
    bool is_stopped;
    bool wants_range;
};

static int range_check(const struct http_response *response, struct err *err)
{
    if (!response->has_range || response->range_first != 0 || response->range_last != 0)
        return err_set(err, ERR_PRECONDITION,
                       "HTTP protocol error: status 206 with another Content-Range than asked for");
    return 0;
}

static int on_answer(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    struct glance *glance = context;
    (void)data;
    if (len > 0)
        return 0;
    glance->response = *response;
    bool is_empty = response->content_length == 0 && !response->has_range; /* azurite: then the whole is looked at */
    if (response->status == 206 && glance->wants_range && !is_empty)
        return range_check(response, err);
    glance->is_stopped = true; /* a whole object may follow */
    return -1;
}

static int glance_at(const struct source *source, const struct source_call *call, struct arena *arena,
                     const struct source_object *object, struct glance *glance, struct err *err)
{
    struct source_range range = {.len = glance->wants_range ? 1 : 0, .now_s = clock_wall_s()};
    struct http_request request;
    struct http_response response;
    struct err why = ERR_INIT;
    *glance = (struct glance){.wants_range = glance->wants_range};
    if (source->authorize(call, object, &range, arena, &request, err) != 0)
        return -1;
    int result = http_perform(call->http, &request, on_answer, glance, &response, call->cancel, &why);
    if (result == 0)
        glance->response = response;
    if (result == 0 || (glance->is_stopped && why.code == ERR_CANCELLED))
        return 0;
    *err = why;
    return -1;
}

/* Strong ETags only (RFC 9110, 8.8.3): quoted, not empty. */
static bool etag_is_strong(const char *etag)
{
    size_t len = strlen(etag);
    return len > 2 && etag[0] == '"' && etag[len - 1] == '"' && !memchr(etag + 1, '"', len - 2);
}

static void validator_make(const struct source_context *context, const struct http_response *response,
                           struct arena *arena, struct source_object *object)
{
    object->validator_is_strong = false;
    object->etag = NULL;
    object->version_id = response->version_id[0] && strcmp(response->version_id, "null") != 0
                             ? arena_strdup(arena, response->version_id)
                             : NULL;
    if (etag_is_strong(response->etag)) {
        object->etag = arena_strdup(arena, response->etag);
        object->validator_is_strong = true;
    }
    if (object->etag)
        object->validator = arena_printf(arena, "etag:%s", object->etag);
    else if (response->last_modified_s > 0 && object->size_is_known)
        object->validator =
            arena_printf(arena, "modified:%" PRId64 ":%" PRIu64, response->last_modified_s, object->size);
    else
        object->validator = arena_printf(arena, "unversioned:%s", context->volume);
}

static void object_complete(const struct source_context *context, const struct http_response *response,
                            struct arena *arena, struct source_object *object)
{
    object->ranges = response->status == 206;
    object->size_is_known = object->ranges || response->content_length >= 0;
    object->size = object->ranges          ? response->range_total
                   : object->size_is_known ? (uint64_t)response->content_length
                                           : 0;
    object->mtime_s = response->last_modified_s;
    object->mtime_ns = 0;
    object->stated = response->checksums;
    validator_make(context, response, arena, object);
}

/* A range of nothing cannot be asked for, and a total may be unknown: then the whole is asked for, and not read. */
static bool needs_whole(const struct http_response *response)
{
    return response->status == 416 || (response->status == 206 && response->range_total == UINT64_MAX);
}

static bool range_is_whole(const struct http_response *response)
{
    return response->range_first == 0 && response->range_last + 1 == response->range_total;
}

int source_probe(const struct source *source, const struct source_call *call, struct arena *arena,
                 struct source_object *object, struct http_response *response, struct err *err)
{
    struct glance glance = {.wants_range = true};
    response->status = 0;
    if (glance_at(source, call, arena, object, &glance, err) != 0)
        return -1;
    if (needs_whole(&glance.response)) {
        glance.wants_range = false;
        if (glance_at(source, call, arena, object, &glance, err) != 0)
            return -1;
    }
    *response = glance.response;
    bool is_range = glance.wants_range && response->status == 206;
    if (response->status != 200 && !is_range)
        return source_status_error(response, object->display, err);
    if (response->status == 200 && response->has_range && !range_is_whole(response))
        return err_set(err, ERR_PRECONDITION,
                       "HTTP protocol error: status 200 with a Content-Range: is it the whole object, or a part?");
    object_complete(call->context, response, arena, object);
    return 0;
}

size_t source_range_headers(const struct source_object *object, const struct source_range *range, struct arena *arena,
                            struct http_header *headers)
{
    size_t count = 0;
    if (range->len > 0)
        headers[count++] = (struct http_header){
            "Range", arena_printf(arena, "bytes=%" PRIu64 "-%" PRIu64, range->offset, range->offset + range->len - 1),
            false};
    if (object->etag)
        headers[count++] = (struct http_header){"If-Match", object->etag, false};
    return count;
}

size_t source_credential_headers(const struct credentials *credentials, struct http_header *headers)
{
    for (size_t i = 0; i < credentials->header_count; i++)
        headers[i] =
            (struct http_header){credentials->headers[i].name, secret_reveal(credentials->headers[i].value), true};
    return credentials->header_count;
}

uint64_t source_body_max(const struct source_context *context, const struct source_object *object, uint64_t len)
{
    if (len > 0)
        return len;
    return object->size_is_known ? object->size : context->class->max_bytes;
}
