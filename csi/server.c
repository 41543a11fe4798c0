#include "csi/server.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "csi/server_internal.h"

#define CALLS_MAX 256
#define CONNECTIONS_MAX 128
#define IDLE_MS (10 * 60 * 1000)
#define BUDGET_BYTES ((size_t)32 * 1024 * 1024)
#define STACK_SIZE ((size_t)256 * 1024)
#define QUICK_THREADS 2
#define QUICK_QUEUE 64
#define ACCEPT_BATCH 16
#define ACCEPT_PAUSE_MIN_MS 50
#define ACCEPT_PAUSE_MAX_MS 1000
#define GRACE_MS 2000
#define EVENTS_BATCH 32

static void listener_watch(struct server *server, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = &server->listener};
    epoll_ctl(server->epoll_fd, operation, server->listener.fd, &event);
}

/* Out of descriptors or memory: make room, and leave the queue alone for a moment instead of spinning on it. */
static void accept_pause(struct server *server, int errnum, int64_t now_ms)
{
    connections_evict(server);
    int64_t pause_ms = server->accept_pause_ms * 2;
    if (pause_ms < ACCEPT_PAUSE_MIN_MS)
        pause_ms = ACCEPT_PAUSE_MIN_MS;
    if (now_ms >= server->refusal_log_ms) {
        server->refusal_log_ms = now_ms + 1000;
        log_event(LOG_WARNING, "accept_paused", "reason", strerrordesc_np(errnum), NULL);
    }
    server->accept_pause_ms = pause_ms > ACCEPT_PAUSE_MAX_MS ? ACCEPT_PAUSE_MAX_MS : pause_ms;
    server->accept_ms = now_ms + server->accept_pause_ms;
    listener_watch(server, EPOLL_CTL_MOD, 0);
}

static void accept_resume(struct server *server, int64_t now_ms)
{
    if (server->accept_ms == 0 || server->accept_ms > now_ms || server->listener.fd < 0)
        return;
    server->accept_ms = 0;
    listener_watch(server, EPOLL_CTL_MOD, EPOLLIN);
}

static bool out_of_resources(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct server *server, int64_t now_ms)
{
    int fd = listener_accept(&server->listener);
    if (fd < 0 && out_of_resources(errno)) {
        accept_pause(server, errno, now_ms);
        return false;
    }
    if (fd < 0 && errno == EPERM)
        log_event(LOG_WARNING, "connection_refused", "reason", "the peer is neither root nor our own user", NULL);
    if (fd < 0)
        return errno != EAGAIN;
    server->accept_pause_ms = 0;
    if (server->connection_count < server->config.connections_max || connections_evict(server))
        connection_new(server, fd, now_ms);
    else
        close(fd);
    return true;
}

static void on_accept(struct server *server, int64_t now_ms)
{
    for (unsigned i = 0; i < ACCEPT_BATCH && server->listener.fd >= 0; i++) {
        if (!accept_one(server, now_ms))
            return;
    }
}

static void handle(struct server *server, const struct epoll_event *event, int64_t now_ms)
{
    eventfd_t count;
    if (event->data.ptr == &server->listener)
        on_accept(server, now_ms);
    else if (event->data.ptr == server)
        eventfd_read(server->wake_fd, &count);
    else
        connection_on_event(event->data.ptr, event->events, now_ms);
}

static void expire(struct server *server, int64_t now_ms)
{
    struct connection *next;
    for (struct connection *connection = server->connections; connection; connection = next) {
        next = connection->next;
        connection_expire(connection, now_ms);
    }
}

static void drain_begin(struct server *server, int64_t now_ms)
{
    pthread_mutex_lock(&server->locked.mutex);
    int64_t stop_ms = server->locked.stop_ms;
    pthread_mutex_unlock(&server->locked.mutex);
    if (stop_ms == 0 || server->drain_ms)
        return;
    server->drain_ms = stop_ms;
    listener_close(&server->listener);
    struct connection *next;
    for (struct connection *connection = server->connections; connection; connection = next) {
        next = connection->next;
        connection_leave(connection, now_ms);
    }
}

/* At the deadline calls are cancelled; their answers, or the end of the grace, are the end. */
static void drain_cancel(struct server *server, int64_t now_ms)
{
    if (server->drain_ms == 0 || server->grace_ms || now_ms < server->drain_ms)
        return;
    server->grace_ms = now_ms + GRACE_MS;
    for (struct connection *connection = server->connections; connection; connection = connection->next) {
        for (struct call *call = connection->calls; call; call = call->next)
            call_cancel(call);
    }
}

static bool drained(const struct server *server, int64_t now_ms)
{
    if (server->drain_ms == 0)
        return false;
    if (server->call_count == 0 && (server->connection_count == 0 || server->grace_ms))
        return true;
    return server->grace_ms && now_ms >= server->grace_ms;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int next_timeout(const struct server *server)
{
    int64_t due = server->accept_ms ? server->accept_ms : CLOCK_NEVER;
    if (server->trim_ms)
        due = earlier(due, server->trim_ms);
    if (server->grace_ms)
        due = earlier(due, server->grace_ms);
    else if (server->drain_ms)
        due = earlier(due, server->drain_ms);
    for (const struct connection *connection = server->connections; connection; connection = connection->next)
        due = earlier(due, connection_due_ms(connection));
    return clock_poll_timeout(due);
}

/* After a burst of calls the allocator keeps what they used, in the heaps of their threads: many times what we need when idle. */
static void memory_trim(struct server *server, int64_t now_ms)
{
    if (server->trim_ms == 0 || now_ms < server->trim_ms)
        return;
    server->trim_ms = 0;
    if (server->call_count == 0)
        malloc_trim(0);
}

static void round_of_events(struct server *server)
{
    struct epoll_event events[EVENTS_BATCH];
    int count = epoll_wait(server->epoll_fd, events, EVENTS_BATCH, next_timeout(server));
    int64_t now_ms = clock_monotonic_ms();
    for (int i = 0; i < count; i++)
        handle(server, &events[i], now_ms);
    calls_collect(server, now_ms);
    drain_begin(server, now_ms);
    drain_cancel(server, now_ms);
    expire(server, now_ms);
    accept_resume(server, now_ms);
    memory_trim(server, now_ms);
    connections_bury(server);
}

static void *io_main(void *argument)
{
    struct server *server = argument;
    pthread_setname_np(pthread_self(), "grpc-io");
    while (!drained(server, clock_monotonic_ms()))
        round_of_events(server);
    while (server->connections)
        connection_close(server->connections);
    connections_bury(server);
    return NULL;
}

static int threads_start(struct server *server, struct err *err)
{
    const struct threads_config quick = {
        .min = 1,
        .max = QUICK_THREADS,
        .queue_max = QUICK_QUEUE,
        .idle_ms = SERVER_THREAD_IDLE_MS,
        .stack_size = STACK_SIZE,
    };
    const struct threads_config calls = {
        .max = server->config.calls_max,
        .idle_ms = SERVER_THREAD_IDLE_MS,
        .stack_size = STACK_SIZE,
    };
    server->quick = threads_new(&quick, err);
    server->threads = server->quick ? threads_new(&calls, err) : NULL;
    return server->threads ? 0 : -1;
}

static int descriptors_open(struct server *server, struct err *err)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = server};
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_fd < 0 || server->wake_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->wake_fd, &wake) != 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot watch sockets");
    if (listener_open(server->config.endpoint, &server->listener, err) != 0)
        return -1;
    listener_watch(server, EPOLL_CTL_ADD, EPOLLIN);
    return 0;
}

static int io_start(struct server *server, struct err *err)
{
    int failed = thread_start(&server->io, STACK_SIZE, io_main, server);
    server->joined = failed != 0;
    return failed ? err_set_errno(err, ERR_UNAVAILABLE, failed, "cannot start the server's thread") : 0;
}

static struct server *server_alloc(const struct server_config *config)
{
    struct server *server = mem_alloc(sizeof(*server));
    server->config = *config;
    if (config->calls_max == 0)
        server->config.calls_max = CALLS_MAX;
    if (config->connections_max == 0)
        server->config.connections_max = CONNECTIONS_MAX;
    if (config->idle_ms == 0)
        server->config.idle_ms = IDLE_MS;
    server->listener.fd = -1;
    server->epoll_fd = -1;
    server->wake_fd = -1;
    server->joined = true;
    server->budget.left = BUDGET_BYTES;
    pthread_mutex_init(&server->locked.mutex, NULL);
    return server;
}

struct server *server_new(const struct server_config *config, struct err *err)
{
    struct server *server = server_alloc(config);
    if (threads_start(server, err) == 0 && descriptors_open(server, err) == 0 && io_start(server, err) == 0)
        return server;
    server_free(server);
    return NULL;
}

int server_stop(struct server *server, int64_t deadline_ms)
{
    assert(!server->joined);
    pthread_mutex_lock(&server->locked.mutex);
    server->locked.stop_ms = deadline_ms > 0 ? deadline_ms : 1;
    pthread_mutex_unlock(&server->locked.mutex);
    eventfd_write(server->wake_fd, 1);
    pthread_join(server->io, NULL);
    server->joined = true;
    return server->call_count == 0 ? 0 : -1;
}

void server_free(struct server *server)
{
    if (!server)
        return;
    if (!server->joined && server_stop(server, clock_monotonic_ms()) != 0)
        return; /* handlers still use it */
    threads_free(server->threads);
    threads_free(server->quick);
    listener_close(&server->listener);
    if (server->epoll_fd >= 0)
        close(server->epoll_fd);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    pthread_mutex_destroy(&server->locked.mutex);
    free(server);
}
