#include "csi/health.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "csi/health_listen.h"
#include "csi/health_probe.h"

#define CONNECTIONS_MAX 128u
#define CONNECTIONS_FULL 96u /* from here on the oldest makes room */
#define CONNECTIONS_ADDRESS_MAX 32u
#define IDLE_S 5u
#define REQUEST_BYTES_MAX ((size_t)16 * 1024)
#define STACK_SIZE ((size_t)256 * 1024)

struct connection {
    int fd; /* -1: a free place */
    bool is_shut;
    uint64_t number; /* the smaller, the older */
};

struct health {
    struct health_config config;
    struct health_probe *probe;
    struct MHD_Daemon *daemon;
    struct connection connections[CONNECTIONS_MAX]; /* the endpoint's thread's own */
    size_t connection_count;
    uint64_t last_number;
    struct {
        pthread_mutex_t mutex;
        struct MHD_Connection *waiting[CONNECTIONS_MAX]; /* for the probe's answer; suspended */
        size_t count;
        bool is_stopping;
    } locked;
};

/* Shut, not closed: the library finds its end and closes it. */
static void oldest_shut(struct health *health)
{
    struct connection *oldest = NULL;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &health->connections[i];
        if (connection->fd >= 0 && !connection->is_shut && (!oldest || connection->number < oldest->number))
            oldest = connection;
    }
    if (!oldest)
        return;
    oldest->is_shut = true;
    shutdown(oldest->fd, SHUT_RDWR);
}

static void on_connection(void *context, struct MHD_Connection *handle, void **place,
                          enum MHD_ConnectionNotificationCode what)
{
    struct health *health = context;
    struct connection *connection = health->connections;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        connection = *place;
        if (connection) {
            connection->fd = -1;
            health->connection_count--;
        }
        return;
    }
    if (health->connection_count >= CONNECTIONS_FULL)
        oldest_shut(health);
    while (connection < health->connections + CONNECTIONS_MAX && connection->fd >= 0)
        connection++;
    if (connection == health->connections + CONNECTIONS_MAX)
        return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD);
    *connection = (struct connection){.fd = info->connect_fd, .number = ++health->last_number};
    health->connection_count++;
    *place = connection;
}

/* Takes over body (NULL: empty). */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, struct str *body)
{
    size_t len = body->len;
    struct MHD_Response *response = MHD_create_response_from_buffer(len, str_steal(body), MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
    struct str body = STR_INIT;
    str_printf(&body, "%s\n", text);
    return answer(connection, status, "text/plain; charset=utf-8", &body);
}

/* On the probe's thread. */
static void waiting_resume(void *context)
{
    struct health *health = context;
    pthread_mutex_lock(&health->locked.mutex);
    for (size_t i = 0; i < health->locked.count; i++)
        MHD_resume_connection(health->locked.waiting[i]);
    health->locked.count = 0;
    pthread_mutex_unlock(&health->locked.mutex);
}

/* Suspended first, then asked: an answer that comes at once must find the connection among those that wait. */
static enum MHD_Result run_healthz(struct health *health, struct MHD_Connection *connection)
{
    struct err cause = ERR_INIT;
    pthread_mutex_lock(&health->locked.mutex);
    bool is_stopping = health->locked.is_stopping;
    bool is_known = is_stopping || health_probe_get(health->probe, &cause);
    if (!is_known) {
        assert(health->locked.count < CONNECTIONS_MAX);
        MHD_suspend_connection(connection);
        health->locked.waiting[health->locked.count++] = connection;
    }
    pthread_mutex_unlock(&health->locked.mutex);
    if (!is_known)
        return MHD_YES;
    if (is_stopping)
        return MHD_NO;
    if (cause.code == ERR_NONE)
        return answer_text(connection, MHD_HTTP_OK, "ok");
    return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, cause.message);
}

static enum MHD_Result run_readyz(struct health *health, struct MHD_Connection *connection)
{
    const char *why = "not ready";
    bool is_ready = !health->config.is_ready || health->config.is_ready(health->config.context, &why);
    return answer_text(connection, is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, is_ready ? "ok" : why);
}

static enum MHD_Result run_metrics(struct health *health, struct MHD_Connection *connection)
{
    struct str body = STR_INIT;
    if (health->config.refresh)
        health->config.refresh(health->config.context);
    metrics_print(health->config.metrics, &body);
    return answer(connection, MHD_HTTP_OK, METRICS_CONTENT_TYPE, &body);
}

static const struct page {
    const char *path;
    enum MHD_Result (*run)(struct health *health, struct MHD_Connection *connection);
} pages[] = {{"/healthz", run_healthz}, {"/readyz", run_readyz}, {"/metrics", run_metrics}};

/* Called with the head, and again when a suspended connection goes on. A request with a body is answered before it is read. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *body, size_t *body_len,
                                  void **state)
{
    (void)version, (void)body, (void)body_len, (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD only");
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (strcmp(path, pages[i].path) == 0)
            return pages[i].run(context, connection);
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "there are /healthz, /readyz and /metrics");
}

static int daemon_start(struct health *health, struct err *err)
{
    int fd = health_listen(health->config.address, err); /* the library's from here on */
    if (fd < 0)
        return -1;
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, CONNECTIONS_ADDRESS_MAX, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, REQUEST_BYTES_MAX, NULL},
        {MHD_OPTION_THREAD_STACK_SIZE, STACK_SIZE, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, health},
        {MHD_OPTION_END, 0, NULL},
    };
    errno = 0;
    health->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                                      on_request, health, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!health->daemon)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot start the HTTP server");
    return 0;
}

struct health *health_new(const struct health_config *config, struct err *err)
{
    struct health *health = mem_alloc(sizeof(*health));
    health->config = *config;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        health->connections[i].fd = -1;
    pthread_mutex_init(&health->locked.mutex, NULL);
    health->probe = health_probe_new(config->endpoint, waiting_resume, health, err);
    if (health->probe && daemon_start(health, err) == 0)
        return health;
    health_free(health);
    return NULL;
}

/* Nobody asks the probe any more, and nobody waits for it: a suspended connection cannot be stopped. */
static void daemon_stop(struct health *health)
{
    int fd = MHD_quiesce_daemon(health->daemon);
    pthread_mutex_lock(&health->locked.mutex);
    health->locked.is_stopping = true;
    pthread_mutex_unlock(&health->locked.mutex);
    waiting_resume(health);
    MHD_stop_daemon(health->daemon);
    closep(&fd);
}

void health_free(struct health *health)
{
    if (!health)
        return;
    if (health->daemon)
        daemon_stop(health);
    health_probe_free(health->probe);
    pthread_mutex_destroy(&health->locked.mutex);
    free(health);
}

uint16_t health_port(const struct health *health)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(health->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    struct sockaddr_in6 address = {.sin6_family = AF_UNSPEC};
    socklen_t len = sizeof(address);
    if (getsockname(info->listen_fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return ntohs(address.sin6_port); /* where sin_port is, too */
}
