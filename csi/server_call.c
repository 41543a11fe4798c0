/* A call's way: from a request on a connection to a handler's thread and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/server_internal.h"
#include "csi/status.h"

static void call_free(struct call *call)
{
    if (call->rpc.cancel_fd >= 0)
        close(call->rpc.cancel_fd);
    mem_wipe_free((void *)(uintptr_t)call->rpc.request, call->rpc.request_len);
    str_deinit(&call->reply);
    free(call);
}

/* What happened is csi/dispatch.c's to tell, which knows the volume; here is what the transport saw. */
static void call_log(const struct call *call, enum grpc_status status, int64_t now_ms)
{
    char took[24];
    snprintf(took, sizeof(took), "%" PRId64, now_ms - call->started_ms);
    log_event(LOG_DEBUG, "call", "method", call->method->name, "code", grpc_status_name(status), "ms", took,
              "cancelled", call->cancelled ? "yes" : NULL, NULL);
}

static const struct rpc_method *method_find(const struct server *server, const char *path)
{
    for (size_t i = 0; i < server->config.method_count; i++) {
        if (strcmp(server->config.methods[i].name, path) == 0)
            return &server->config.methods[i];
    }
    return NULL;
}

/* On a handler's thread: the call goes back to the I/O thread, which may free it at once. */
static void call_run(void *job)
{
    struct call *call = job;
    struct server *server = call->server;
    call->result = call->method->handler(call->method->service, &call->rpc, &call->reply, &call->err);
    if (call->result != 0 && call->err.code == ERR_NONE)
        err_set(&call->err, ERR_INTERNAL, "the call failed without saying why");
    pthread_mutex_lock(&server->locked.mutex);
    call->finished_next = server->locked.finished;
    server->locked.finished = call;
    eventfd_write(server->wake_fd, 1);
    pthread_mutex_unlock(&server->locked.mutex);
}

static void call_attach(struct call *call, struct connection *connection)
{
    call->connection = connection;
    call->next = connection->calls;
    if (call->next)
        call->next->previous = call;
    connection->calls = call;
    call->server->call_count++;
}

static void call_detach(struct call *call)
{
    if (call->previous)
        call->previous->next = call->next;
    else if (call->connection)
        call->connection->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    call->connection = NULL;
    call->next = NULL;
    call->previous = NULL;
}

static struct call *call_new(struct server *server, const struct rpc_method *method, struct h2_event *request,
                             int64_t now_ms)
{
    struct call *call = mem_alloc(sizeof(*call));
    call->server = server;
    call->method = method;
    call->stream = request->stream;
    call->started_ms = now_ms;
    call->rpc = (struct rpc_call){
        .method = method->name,
        .request_len = request->len,
        .request = STEAL_PTR(request->message),
        .deadline_ms = request->timeout_ms < 0 ? CLOCK_NEVER : now_ms + request->timeout_ms,
        .cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    return call;
}

static void call_refuse(struct connection *connection, struct call *call, int64_t now_ms)
{
    enum grpc_status status = status_from_err(call->err.code);
    struct server *server = connection->server;
    h2_fail(connection->h2, call->stream, status, call->err.message);
    if (now_ms >= server->refusal_log_ms) { /* no handler will tell; once a second says enough of a storm */
        server->refusal_log_ms = now_ms + 1000;
        log_event(LOG_WARNING, "call_refused", "method", call->method->name, "code", grpc_status_name(status), "error",
                  call->err.message, NULL);
    }
    call_free(call);
}

void call_start(struct connection *connection, struct h2_event *request, int64_t now_ms)
{
    struct server *server = connection->server;
    const struct rpc_method *method = method_find(server, request->path);
    if (!method) {
        char text[512];
        snprintf(text, sizeof(text), "unknown method %s", request->path);
        h2_fail(connection->h2, request->stream, GRPC_UNIMPLEMENTED, text);
        return;
    }
    struct call *call = call_new(server, method, request, now_ms);
    int refused = 0;
    if (request->timeout_ms == 0)
        refused = err_set(&call->err, ERR_DEADLINE, "the call came without time left");
    else if (call->rpc.cancel_fd < 0)
        refused = err_set_errno(&call->err, ERR_UNAVAILABLE, errno, "cannot serve the call now");
    else
        refused = threads_submit(method->quick ? server->quick : server->threads, call_run, call, &call->err);
    if (refused)
        call_refuse(connection, call, now_ms);
    else
        call_attach(call, connection);
}

void call_cancel(struct call *call)
{
    if (call->cancelled)
        return;
    call->cancelled = true;
    eventfd_write(call->rpc.cancel_fd, 1);
}

static void call_answer(struct call *call, int64_t now_ms)
{
    struct connection *connection = call->connection;
    enum grpc_status status = call->result == 0 ? GRPC_OK : status_from_err(call->err.code);
    if (connection && call->result == 0)
        h2_reply(connection->h2, call->stream, call->reply.data, call->reply.len);
    else if (connection)
        h2_fail(connection->h2, call->stream, status, call->err.message);
    call_log(call, status, now_ms);
    call_detach(call);
    call->server->call_count--;
    call->server->trim_ms = now_ms + SERVER_TRIM_MS;
    call_free(call);
    if (!connection)
        return;
    connection->last_ms = now_ms;
    connection_flush(connection, now_ms);
}

void calls_collect(struct server *server, int64_t now_ms)
{
    pthread_mutex_lock(&server->locked.mutex);
    struct call *finished = server->locked.finished;
    server->locked.finished = NULL;
    pthread_mutex_unlock(&server->locked.mutex);
    while (finished) {
        struct call *call = finished;
        finished = call->finished_next;
        call_answer(call, now_ms);
    }
}
