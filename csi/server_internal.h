/* What the server's parts share; for nobody else. Everything but the structs named locked, and a call that a handler
 * works on, belongs to the I/O thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "csi/h2.h"
#include "csi/listener.h"
#include "csi/server.h"
#include "csi/threads.h"

#define SERVER_THREAD_IDLE_MS (10 * 1000)
#define SERVER_TRIM_MS (SERVER_THREAD_IDLE_MS + 1000) /* after the last call: its thread has ended by then */

struct connection;

struct call {
    struct call *next; /* of its connection */
    struct call *previous;
    struct connection *connection; /* NULL: nobody waits for the answer any more */
    struct server *server;
    const struct rpc_method *method;
    int32_t stream;
    int64_t started_ms;
    bool cancelled;
    /* From here on the handler's until it is finished. */
    struct rpc_call rpc;
    struct str reply;
    struct err err;
    int result;
    struct call *finished_next;
};

struct connection {
    struct connection *next;
    struct connection *previous;
    struct server *server;
    int fd; /* -1: closed, to be freed after this round of events */
    struct h2 *h2;
    struct call *calls;
    bool requested;    /* at least one whole request came */
    uint32_t interest; /* epoll events asked for */
    int64_t opened_ms;
    int64_t last_ms;    /* the last request or answer */
    int64_t blocked_ms; /* since when the client does not read; 0: it does */
    int64_t leaving_ms; /* since when we say goodbye; 0: not */
    bool told;          /* the last GOAWAY was sent */
};

struct server {
    struct server_config config;
    struct listener listener;
    struct threads *threads;
    struct threads *quick;
    struct h2_budget budget;
    pthread_t io;
    bool joined;
    int epoll_fd;
    int wake_fd;
    struct connection *connections;
    struct connection *closed;
    unsigned connection_count;
    unsigned call_count;
    int64_t accept_ms; /* accepting pauses until then; 0: it does not */
    int64_t accept_pause_ms;
    int64_t refusal_log_ms; /* no line about refused calls or connections before then */
    int64_t trim_ms;        /* when the memory that calls used goes back to the system; 0: none to give */
    int64_t drain_ms;       /* the drain's deadline; 0: serving */
    int64_t grace_ms;       /* calls were cancelled; connections close then at the latest; 0: not yet */
    struct {
        pthread_mutex_t mutex;
        struct call *finished;
        int64_t stop_ms; /* server_stop's deadline; 0: serving */
    } locked;
};

/* server_call.c */
void call_start(struct connection *connection, struct h2_event *request, int64_t now_ms); /* takes what request owns */
void call_cancel(struct call *call);
void calls_collect(struct server *server, int64_t now_ms); /* answers those that are finished */

/* server_connection.c */
void connection_new(struct server *server, int fd, int64_t now_ms);
void connection_on_event(struct connection *connection, uint32_t events, int64_t now_ms);
void connection_flush(struct connection *connection, int64_t now_ms);
void connection_leave(struct connection *connection, int64_t now_ms);
void connection_close(struct connection *connection);
int64_t connection_due_ms(const struct connection *connection); /* when connection_expire has something to do */
void connection_expire(struct connection *connection, int64_t now_ms);
void connections_bury(struct server *server);
bool connections_evict(struct server *server); /* closes the one that is least missed; false: all are at work */
