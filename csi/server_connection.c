/* One client's connection: bytes between its socket and h2, events to calls, and when to let it go. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/server_internal.h"

#define READ_SIZE (16 * 1024)
#define HANDSHAKE_MS (10 * 1000)
#define BLOCKED_MS (30 * 1000)
#define GOODBYE_MS 1000      /* for the client to hear the first GOAWAY */
#define GOODBYE_LAST_MS 5000 /* for the rest */

static int watch(struct connection *connection, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    connection->interest = interest;
    return epoll_ctl(connection->server->epoll_fd, operation, connection->fd, &event);
}

void connection_new(struct server *server, int fd, int64_t now_ms)
{
    struct connection *connection = mem_alloc(sizeof(*connection));
    connection->server = server;
    connection->fd = fd;
    connection->h2 = h2_new(&server->budget, now_ms);
    connection->opened_ms = now_ms;
    connection->last_ms = now_ms;
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    server->connection_count++;
    if (watch(connection, EPOLL_CTL_ADD, EPOLLIN) != 0)
        connection_close(connection);
    else
        connection_flush(connection, now_ms);
}

static void calls_abandon(struct connection *connection)
{
    struct call *next;
    for (struct call *call = connection->calls; call; call = next) {
        next = call->next;
        call_cancel(call);
        call->connection = NULL;
        call->next = NULL;
        call->previous = NULL;
    }
    connection->calls = NULL;
}

/* Freed only after the round: the same round may hold another event of it. */
void connection_close(struct connection *connection)
{
    struct server *server = connection->server;
    if (connection->fd < 0)
        return;
    calls_abandon(connection);
    /* close(2) alone is not enough: a child that was just forked holds the socket until it execs, and events would still come. */
    epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    close(STEAL_FD(connection->fd));
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->connection_count--;
    connection->next = server->closed;
    server->closed = connection;
}

void connections_bury(struct server *server)
{
    while (server->closed) {
        struct connection *connection = server->closed;
        server->closed = connection->next;
        h2_free(connection->h2);
        free(connection);
    }
}

/* While the client does not read, we do not read either: what it can make us hold stays bounded. */
static void blocked(struct connection *connection, int64_t now_ms)
{
    if (connection->blocked_ms == 0)
        connection->blocked_ms = now_ms;
    if (connection->interest != EPOLLOUT)
        watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
}

static void unblocked(struct connection *connection)
{
    connection->blocked_ms = 0;
    if (connection->interest != EPOLLIN)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    if (h2_is_finished(connection->h2))
        connection_close(connection);
}

void connection_flush(struct connection *connection, int64_t now_ms)
{
    const uint8_t *data;
    size_t len;
    if (connection->fd < 0)
        return;
    while ((len = h2_output(connection->h2, &data)) > 0) {
        ssize_t sent = send(connection->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            blocked(connection, now_ms);
            return;
        }
        if (sent < 0) {
            connection_close(connection);
            return;
        }
        connection->blocked_ms = 0;
        h2_sent(connection->h2, (size_t)sent);
    }
    unblocked(connection);
}

static void cancel_stream(struct connection *connection, int32_t stream)
{
    for (struct call *call = connection->calls; call; call = call->next) {
        if (call->stream == stream)
            call_cancel(call);
    }
}

static void take_events(struct connection *connection, int64_t now_ms)
{
    struct h2_event event;
    for (h2_next(connection->h2, &event); event.kind != H2_NONE; h2_next(connection->h2, &event)) {
        if (event.kind == H2_CANCEL) {
            cancel_stream(connection, event.stream);
        } else {
            connection->requested = true;
            connection->last_ms = now_ms;
            call_start(connection, &event, now_ms);
        }
        h2_event_deinit(&event);
    }
}

static void receive(struct connection *connection, const uint8_t *data, size_t len, int64_t now_ms)
{
    struct err err = ERR_INIT;
    int failed = h2_receive(connection->h2, data, len, now_ms, &err);
    take_events(connection, now_ms);
    connection_flush(connection, now_ms);
    if (!failed)
        return;
    log_event(LOG_WARNING, "connection_closed", "reason", err.message, NULL);
    connection_close(connection);
}

void connection_on_event(struct connection *connection, uint32_t events, int64_t now_ms)
{
    uint8_t buffer[READ_SIZE];
    if (connection->fd < 0)
        return;
    if (events & EPOLLOUT)
        connection_flush(connection, now_ms);
    if (connection->fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t got = recv(connection->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        connection_close(connection);
        return;
    }
    receive(connection, buffer, (size_t)got, now_ms);
    explicit_bzero(buffer, (size_t)got); /* requests hold secrets */
}

void connection_leave(struct connection *connection, int64_t now_ms)
{
    if (connection->fd < 0 || connection->leaving_ms)
        return;
    connection->leaving_ms = now_ms;
    h2_shutdown(connection->h2);
    connection_flush(connection, now_ms);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t connection_due_ms(const struct connection *connection)
{
    int64_t due = CLOCK_NEVER;
    if (connection->blocked_ms)
        due = earlier(due, connection->blocked_ms + BLOCKED_MS);
    if (!h2_is_ready(connection->h2))
        due = earlier(due, connection->opened_ms + HANDSHAKE_MS);
    if (connection->leaving_ms && !connection->calls)
        due = earlier(due, connection->leaving_ms + (connection->told ? GOODBYE_LAST_MS : GOODBYE_MS));
    else if (!connection->calls)
        due = earlier(due, connection->last_ms + connection->server->config.idle_ms);
    return due;
}

static bool is_hopeless(const struct connection *connection, int64_t now_ms)
{
    return connection->blocked_ms || !h2_is_ready(connection->h2) ||
           (connection->told && connection->leaving_ms + GOODBYE_LAST_MS <= now_ms);
}

/* The second GOAWAY waits for the client's PING to come back, but not for long. */
void connection_expire(struct connection *connection, int64_t now_ms)
{
    if (connection->fd < 0 || connection_due_ms(connection) > now_ms)
        return;
    if (is_hopeless(connection, now_ms)) {
        log_event(LOG_DEBUG, "connection_dropped", "reason", "it does not read or does not speak", NULL);
        connection_close(connection);
    } else if (!connection->leaving_ms) {
        connection_leave(connection, now_ms);
    } else {
        connection->told = true;
        h2_goaway(connection->h2);
        connection_flush(connection, now_ms);
    }
}

static bool missed_less(const struct connection *a, const struct connection *b)
{
    if (a->requested != b->requested)
        return !a->requested;
    return a->last_ms <= b->last_ms;
}

bool connections_evict(struct server *server)
{
    struct connection *least = NULL;
    for (struct connection *connection = server->connections; connection; connection = connection->next) {
        if (!connection->calls && (!least || missed_less(connection, least)))
            least = connection;
    }
    if (!least)
        return false;
    connection_close(least);
    return true;
}
