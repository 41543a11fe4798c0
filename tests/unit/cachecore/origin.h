/*
 * A web server on a thread of the test: real sockets, ranges, If-Match, and misbehaviour on demand. Counts what leaves it.
 */
#pragma once

#include "origin_answer.h"

static inline void *origin_connection_run(void *argument)
{
    struct origin_connection *connection = argument;
    struct origin_request request;
    while (origin_receive(connection, &request) && origin_answer(connection->origin, connection->fd, &request))
        continue;
    close(connection->fd);
    free(connection);
    return NULL;
}

static inline void *origin_run(void *argument)
{
    struct origin *origin = argument;
    while (!atomic_load(&origin->stop)) {
        struct pollfd poll_fd = {.fd = origin->listener, .events = POLLIN};
        if (poll(&poll_fd, 1, 20) <= 0)
            continue;
        struct origin_connection *connection = malloc(sizeof(*connection));
        assert(connection);
        *connection = (struct origin_connection){.origin = origin, .fd = accept(origin->listener, NULL, NULL)};
        assert(origin->locked.connection_count < ORIGIN_CONNECTIONS);
        pthread_t *thread = &origin->locked.connections[origin->locked.connection_count++];
        int result = pthread_create(thread, NULL, origin_connection_run, connection);
        assert(result == 0);
    }
    return NULL;
}

static inline struct origin *origin_start(void)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    assert(origin);
    origin->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = bind(origin->listener, (struct sockaddr *)&address, sizeof(address));
    assert(result == 0);
    result = listen(origin->listener, 128);
    assert(result == 0);
    getsockname(origin->listener, (struct sockaddr *)&address, &len);
    origin->port = ntohs(address.sin_port);
    pthread_mutex_init(&origin->locked.mutex, NULL);
    result = pthread_create(&origin->thread, NULL, origin_run, origin);
    assert(result == 0);
    return origin;
}

static inline void origin_stop(struct origin *origin)
{
    atomic_store(&origin->stop, true);
    pthread_join(origin->thread, NULL);
    for (size_t i = 0; i < origin->locked.connection_count; i++)
        pthread_join(origin->locked.connections[i], NULL);
    close(origin->listener);
    pthread_mutex_destroy(&origin->locked.mutex);
    free(origin);
}

static inline void origin_add(struct origin *origin, const struct origin_object *object)
{
    pthread_mutex_lock(&origin->locked.mutex);
    struct origin_object *at = origin_find(origin, object->path);
    if (!at)
        at = &origin->locked.objects[origin->locked.count++];
    *at = *object;
    pthread_mutex_unlock(&origin->locked.mutex);
}

static inline struct origin_object origin_seen(struct origin *origin, const char *path)
{
    pthread_mutex_lock(&origin->locked.mutex);
    struct origin_object copy = *origin_find(origin, path);
    pthread_mutex_unlock(&origin->locked.mutex);
    return copy;
}

static inline size_t origin_sent(struct origin *origin)
{
    return atomic_load(&origin->sent);
}

static inline void origin_hold(struct origin *origin, const char *path, int hold)
{
    pthread_mutex_lock(&origin->locked.mutex);
    origin_find(origin, path)->hold = hold;
    pthread_mutex_unlock(&origin->locked.mutex);
}
