/*
 * A web server for tests that answers with the bytes it is given, right or wrong, on a loopback port of its own. Each connection
 * has a thread; what was asked last is kept as text. Responses are looked up by path.
 */
#pragma once

#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* REPEAT: the last bytes again, until the client goes. */
enum canned_after { CANNED_CLOSE, CANNED_KEEP, CANNED_STALL, CANNED_REPEAT };

struct canned {
    const char *path;
    const char *bytes; /* "%P" stands for the port */
    size_t len;        /* 0: strlen(bytes) */
    enum canned_after after;
    const char *repeat; /* of CANNED_REPEAT */
    bool once;          /* the next entry of the same path answers later requests */
};

#define CANNED_MAX 128
#define CANNED_CONNECTIONS_MAX 512

struct canned_server {
    const struct canned *table;
    size_t count;
    int fd;
    uint16_t port;
    pthread_t thread;
    atomic_uint connections, requests, stalls;
    struct {
        pthread_mutex_t mutex;
        bool used[CANNED_MAX];
        char last_request[16384];
    } locked;
};

static bool canned_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool canned_send_text(const struct canned_server *server, int fd, const struct canned *canned)
{
    char number[8];
    const char *port = canned->len ? NULL : strstr(canned->bytes, "%P");
    size_t whole = canned->len ? canned->len : strlen(canned->bytes);
    snprintf(number, sizeof(number), "%u", server->port);
    if (!port)
        return canned_send(fd, canned->bytes, whole);
    return canned_send(fd, canned->bytes, (size_t)(port - canned->bytes)) && canned_send(fd, number, strlen(number)) &&
           canned_send(fd, port + 2, strlen(port + 2));
}

/* One request's head. False at the end of the connection. */
static bool canned_read(struct canned_server *server, int fd, char *request, size_t size)
{
    size_t used = 0;
    while (used + 1 < size) {
        ssize_t got = recv(fd, request + used, size - used - 1, 0);
        if (got <= 0)
            return false;
        used += (size_t)got;
        request[used] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        pthread_mutex_lock(&server->locked.mutex);
        snprintf(server->locked.last_request, sizeof(server->locked.last_request), "%s", request);
        pthread_mutex_unlock(&server->locked.mutex);
        return true;
    }
    return false;
}

static const struct canned *canned_find(struct canned_server *server, const char *request)
{
    const char *path = strchr(request, ' ') + 1;
    size_t len = strcspn(path, " ?");
    size_t i = 0;
    pthread_mutex_lock(&server->locked.mutex);
    for (; i < server->count; i++) {
        const char *known = server->table[i].path;
        if (!server->locked.used[i] && strlen(known) == len && memcmp(known, path, len) == 0)
            break;
    }
    if (i < server->count)
        server->locked.used[i] = server->table[i].once;
    pthread_mutex_unlock(&server->locked.mutex);
    return i < server->count ? &server->table[i] : NULL;
}

/* Whether the last request held the text. */
static bool canned_was_asked(struct canned_server *server, const char *text)
{
    pthread_mutex_lock(&server->locked.mutex);
    bool found = strstr(server->locked.last_request, text) != NULL;
    pthread_mutex_unlock(&server->locked.mutex);
    return found;
}

static void canned_wait_for_end(int fd)
{
    for (char byte; recv(fd, &byte, 1, 0) > 0;)
        ;
}

/* False when the connection is to be closed. */
static bool canned_answer(struct canned_server *server, int fd)
{
    char request[16384];
    if (!canned_read(server, fd, request, sizeof(request)))
        return false;
    atomic_fetch_add(&server->requests, 1);
    const struct canned *canned = canned_find(server, request);
    if (!canned || !canned_send_text(server, fd, canned))
        return false;
    if (canned->after == CANNED_STALL) {
        atomic_fetch_add(&server->stalls, 1);
        canned_wait_for_end(fd);
    }
    while (canned->after == CANNED_REPEAT && canned_send(fd, canned->repeat, strlen(canned->repeat)))
        ;
    return canned->after == CANNED_KEEP;
}

struct canned_connection {
    struct canned_server *server;
    int fd;
    pthread_t thread;
};

static void *canned_serve(void *context)
{
    struct canned_connection *connection = context;
    while (canned_answer(connection->server, connection->fd))
        ;
    shutdown(connection->fd, SHUT_WR);
    canned_wait_for_end(connection->fd); /* so that no reset overtakes the answer */
    return NULL;
}

/* Accepts until the listening socket is shut down; then ends what is still open. */
static void *canned_run(void *context)
{
    struct canned_server *server = context;
    struct canned_connection *connections = calloc(CANNED_CONNECTIONS_MAX, sizeof(*connections));
    size_t count = 0;
    for (int fd; (fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; count++) {
        assert(count < CANNED_CONNECTIONS_MAX);
        atomic_fetch_add(&server->connections, 1);
        connections[count] = (struct canned_connection){.server = server, .fd = fd};
        assert(pthread_create(&connections[count].thread, NULL, canned_serve, &connections[count]) == 0);
    }
    for (size_t i = 0; i < count; i++) {
        shutdown(connections[i].fd, SHUT_RDWR);
        pthread_join(connections[i].thread, NULL);
        close(connections[i].fd);
    }
    free(connections);
    return NULL;
}

static void canned_start(struct canned_server *server, const struct canned *table, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    memset(server, 0, sizeof(*server));
    assert(count <= CANNED_MAX);
    pthread_mutex_init(&server->locked.mutex, NULL);
    server->table = table;
    server->count = count;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(server->fd >= 0 && bind(server->fd, (struct sockaddr *)&address, len) == 0 && listen(server->fd, 16) == 0);
    assert(getsockname(server->fd, (struct sockaddr *)&address, &len) == 0);
    server->port = ntohs(address.sin_port);
    assert(pthread_create(&server->thread, NULL, canned_run, server) == 0);
}

static void canned_stop(struct canned_server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}
