/* How the server of origin.h reads requests and answers them; for origin.h alone. */
#pragma once

#include "origin_object.h"

struct origin_connection {
    struct origin *origin;
    int fd;
};

struct origin_request {
    char path[256];
    char if_match[128];
    bool is_head, has_range, no_cache;
    bool is_probe; /* a read of the first byte: answered well and not counted, so that faults meet the download */
    size_t first, last;
};

static inline bool origin_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* One request's head. False at end of file or when the server stops. */
static inline bool origin_receive(const struct origin_connection *connection, struct origin_request *out)
{
    char head[16384];
    size_t len = 0;
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        struct pollfd poll_fd = {.fd = connection->fd, .events = POLLIN};
        if (atomic_load(&connection->origin->stop) || len + 1 >= sizeof(head))
            return false;
        if (poll(&poll_fd, 1, 20) <= 0)
            continue;
        if (recv(connection->fd, head + len, 1, 0) != 1)
            return false;
        len++;
    }
    head[len] = '\0';
    *out = (struct origin_request){.is_head = strncmp(head, "HEAD ", 5) == 0};
    sscanf(strchr(head, ' ') + 1, "%255[^ ?]", out->path);
    const char *range = strcasestr(head, "\r\nrange: bytes=");
    out->has_range = range && sscanf(range, "\r\n%*[^=]=%zu-%zu", &out->first, &out->last) == 2;
    out->is_probe = out->is_head || (out->has_range && out->first == 0 && out->last == 0);
    const char *match = strcasestr(head, "\r\nif-match: ");
    if (match)
        sscanf(match + 12, "%127[^\r]", out->if_match);
    out->no_cache = strcasestr(head, "\r\ncache-control: no-cache") != NULL;
    return true;
}

static inline struct origin_object *origin_find(struct origin *origin, const char *path)
{
    for (size_t i = 0; i < origin->locked.count; i++) {
        if (strcmp(origin->locked.objects[i].path, path) == 0)
            return &origin->locked.objects[i];
    }
    return NULL;
}

/* A copy of what the object is for this request; counters of the original move on. */
static inline struct origin_object origin_look(struct origin *origin, const struct origin_request *request)
{
    struct origin_object none = {.status = 404};
    pthread_mutex_lock(&origin->locked.mutex);
    struct origin_object *object = origin_find(origin, request->path);
    while (object && !request->is_probe && object->hold && object->gets >= object->hold_after &&
           !atomic_load(&origin->stop)) {
        pthread_mutex_unlock(&origin->locked.mutex);
        poll(NULL, 0, 2);
        pthread_mutex_lock(&origin->locked.mutex);
    }
    struct origin_object copy = object ? *object : none;
    if (object && !request->is_probe) {
        object->gets++;
        object->no_cache_gets += request->no_cache;
        object->fail_count -= object->fail_count > 0;
        object->cut_count -= object->cut_count > 0;
        object->wrong_count -= object->wrong_count > 0;
        if (object->next_data && --object->change_after == 0) {
            object->data = object->next_data;
            object->etag = object->next_etag;
            object->next_data = NULL;
        }
    }
    pthread_mutex_unlock(&origin->locked.mutex);
    if (request->is_probe) {
        copy.ignores_ranges = copy.shifts_ranges = copy.hides_etag = false;
        copy.fail_count = copy.cut_count = copy.wrong_count = 0;
    }
    return copy;
}

static inline void origin_count(struct origin *origin, const char *path, size_t bytes)
{
    pthread_mutex_lock(&origin->locked.mutex);
    origin_find(origin, path)->bytes += bytes;
    pthread_mutex_unlock(&origin->locked.mutex);
}

static inline bool origin_status(int fd, int status, const char *more)
{
    char head[256];
    int len = snprintf(head, sizeof(head), "HTTP/1.1 %d Status\r\nContent-Length: 0\r\n%s\r\n", status, more);
    return origin_send(fd, head, (size_t)len);
}

static inline bool origin_chunks(int fd, const struct origin_object *object)
{
    static const char zeros[65536];
    char size[32];
    snprintf(size, sizeof(size), "%zx\r\n", object->size);
    if (object->size > 0 && (!origin_send(fd, size, strlen(size)) || !origin_send(fd, object->data, object->size) ||
                             !origin_send(fd, "\r\n", 2)))
        return false;
    for (size_t sent = 0; sent < object->endless; sent += sizeof(zeros)) {
        if (!origin_send(fd, "10000\r\n", 7) || !origin_send(fd, zeros, sizeof(zeros)) || !origin_send(fd, "\r\n", 2))
            return false;
    }
    return origin_send(fd, "0\r\n\r\n", 5);
}

static inline bool origin_body(struct origin *origin, int fd, const struct origin_request *request,
                               const struct origin_object *object, size_t first, size_t len)
{
    bool is_cut = object->cut_count > 0 && len > object->cut_after;
    if (is_cut)
        len = object->cut_after;
    if (!request->is_probe)
        origin_count(origin, request->path, len);
    if (object->wrong_count > 0 && len > 0) {
        unsigned char flipped = object->data[first] ^ 1;
        return origin_send(fd, &flipped, 1) && origin_send(fd, object->data + first + 1, len - 1) && !is_cut;
    }
    for (size_t sent = 0; object->slow > 0 && sent < len; sent += 16384) {
        poll(NULL, 0, object->slow);
        size_t step = len - sent < 16384 ? len - sent : 16384;
        if (!origin_send(fd, object->data + first + sent, step))
            return false;
        atomic_fetch_add(&origin->sent, step);
    }
    return object->slow > 0 || (origin_send(fd, object->data + first, len) && !is_cut);
}

static inline bool origin_ok(struct origin *origin, int fd, const struct origin_request *request,
                             const struct origin_object *object)
{
    char head[1024];
    char tag[200] = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    bool is_range = request->has_range && !object->ignores_ranges && !object->chunked && object->etag;
    size_t first = is_range ? request->first + object->shifts_ranges : 0;
    size_t len = is_range ? request->last - request->first + 1 : object->size;
    if (is_range && object->hides_etag)
        tag[0] = '\0';
    else if (object->etag)
        snprintf(tag, sizeof(tag), "ETag: %s\r\n", object->etag);
    int used = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%s", is_range ? "206 Partial Content" : "200 OK", tag);
    used += snprintf(head + used, sizeof(head) - (size_t)used, "%s", object->headers ? object->headers : "");
    if (object->chunked)
        used += snprintf(head + used, sizeof(head) - (size_t)used, "Transfer-Encoding: chunked\r\n\r\n");
    else
        used += snprintf(head + used, sizeof(head) - (size_t)used, "Content-Length: %zu\r\n%s", len,
                         object->etag ? "Accept-Ranges: bytes\r\n" : "");
    if (is_range)
        used += snprintf(head + used, sizeof(head) - (size_t)used, "Content-Range: bytes %zu-%zu/%zu\r\n", first,
                         first + len - 1, object->size);
    if (!object->chunked)
        used += snprintf(head + used, sizeof(head) - (size_t)used, "\r\n");
    if (!origin_send(fd, head, (size_t)used) || request->is_head)
        return request->is_head;
    return object->chunked ? origin_chunks(fd, object) : origin_body(origin, fd, request, object, first, len);
}

static inline bool origin_answer(struct origin *origin, int fd, const struct origin_request *request)
{
    struct origin_object object = origin_look(origin, request);
    if (object.status != 0)
        return origin_status(fd, object.status, "");
    if (object.fail_count > 0)
        return origin_status(fd, 503, "Retry-After: 0\r\n");
    if (request->if_match[0] && !object.ignores_if_match &&
        (!object.etag || strcmp(request->if_match, object.etag) != 0))
        return origin_status(fd, 412, "");
    if (request->has_range && (request->first > request->last || request->last >= object.size))
        return origin_status(fd, 416, "");
    return origin_ok(origin, fd, request, &object);
}
