#include "csi/client.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "csi/h2_field.h"
#include "csi/listener.h"

#define ANSWER_SLACK_MS 1000

/* The one call under way. */
struct exchange {
    struct str request; /* with its prefix */
    size_t request_sent;
    struct grpc_reader reply;
    struct client_result *result;
    bool has_status;
    bool ended;
    const char *broken; /* what was wrong with the answer, or NULL */
};

struct client {
    int fd;
    nghttp2_session *session;
    struct exchange *exchange; /* NULL between calls */
};

static bool is(const uint8_t *data, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(data, word, len) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct exchange *exchange = ((struct client *)user_data)->exchange;
    if (!exchange)
        return 0;
    if (is(name, name_len, "grpc-status")) {
        uint64_t number;
        char digits[8] = "";
        memcpy(digits, value, value_len < sizeof(digits) ? value_len : 0);
        exchange->has_status = str_parse_u64(digits, GRPC_UNAUTHENTICATED, &number) == 0;
        exchange->result->status = exchange->has_status ? (enum grpc_status)number : GRPC_UNKNOWN;
    } else if (is(name, name_len, "grpc-message")) {
        grpc_message_decode((const char *)value, value_len, exchange->result->message,
                            sizeof(exchange->result->message));
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user_data)
{
    (void)session;
    (void)flags;
    (void)id;
    struct exchange *exchange = ((struct client *)user_data)->exchange;
    const char *reason;
    if (exchange && !exchange->broken &&
        grpc_reader_add(&exchange->reply, data, len, CLIENT_REPLY_MAX, &reason) != GRPC_OK)
        exchange->broken = reason;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user_data)
{
    (void)session;
    (void)id;
    struct exchange *exchange = ((struct client *)user_data)->exchange;
    if (!exchange)
        return 0;
    exchange->ended = true;
    if (!exchange->has_status && !exchange->broken)
        exchange->broken = error_code ? nghttp2_http2_strerror(error_code) : "the answer has no grpc-status";
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t len, uint32_t *flags,
                            nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)id;
    (void)user_data;
    struct exchange *exchange = source->ptr;
    size_t left = exchange->request.len - exchange->request_sent;
    size_t part = left < len ? left : len;
    memcpy(out, exchange->request.data + exchange->request_sent, part);
    exchange->request_sent += part;
    if (part == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

static void session_new(struct client *client)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        abort();
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    if (nghttp2_session_client_new(&client->session, callbacks, client) != 0)
        abort();
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

/* Connecting waits while the listener's queue is full, as long as a send may take. 0, or -1 with errno. */
static int connect_by(int fd, const struct sockaddr_un *address, int64_t deadline_ms)
{
    int left_ms = clock_poll_timeout(deadline_ms);
    struct timeval timeout = {.tv_sec = left_ms / 1000, .tv_usec = (suseconds_t)(left_ms % 1000) * 1000};
    if (left_ms == 0)
        timeout.tv_usec = 1000; /* none would be for good */
    if (left_ms >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0)
        return -1;
    return connect(fd, (const struct sockaddr *)address, sizeof(*address));
}

struct client *client_open(const char *endpoint, int64_t deadline_ms, struct err *err)
{
    struct sockaddr_un address;
    if (endpoint_parse(endpoint, &address, err) != 0)
        return NULL;
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect_by(fd, &address, deadline_ms) != 0) {
        enum err_code code = fd >= 0 && errno == EAGAIN ? ERR_DEADLINE : ERR_UNAVAILABLE;
        err_set_errno(err, code, errno, "cannot connect to '%s'", address.sun_path);
        return NULL;
    }
    struct client *client = mem_alloc(sizeof(*client));
    client->fd = STEAL_FD(fd);
    session_new(client);
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    nghttp2_session_del(client->session);
    close(client->fd);
    free(client);
}

/* Waits for any of events. 0, or -1 at the deadline. */
static int wait_for(const struct client *client, short events, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        struct pollfd poller = {.fd = client->fd, .events = events};
        int ready = poll(&poller, 1, clock_poll_timeout(deadline_ms));
        if (ready > 0)
            return 0;
        if (ready == 0)
            return err_set(err, ERR_DEADLINE, "no answer within the time given");
        if (errno != EINTR)
            return err_set_errno(err, ERR_INTERNAL, errno, "cannot wait for the server");
    }
}

static int send_all(struct client *client, const uint8_t *data, size_t len, int64_t deadline_ms, struct err *err)
{
    while (len > 0) {
        ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return err_set_errno(err, ERR_UNAVAILABLE, errno, "the server closed the connection");
        if (sent < 0 && wait_for(client, POLLOUT, deadline_ms, err) != 0)
            return -1;
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        }
    }
    return 0;
}

static int flush(struct client *client, int64_t deadline_ms, struct err *err)
{
    const uint8_t *data;
    ssize_t len;
    while ((len = nghttp2_session_mem_send(client->session, &data)) > 0) {
        if (send_all(client, data, (size_t)len, deadline_ms, err) != 0)
            return -1;
    }
    return len == 0 ? 0 : err_set(err, ERR_INTERNAL, "HTTP/2: %s", nghttp2_strerror((int)len));
}

static int receive(struct client *client, int64_t deadline_ms, struct err *err)
{
    uint8_t buffer[16 * 1024];
    if (wait_for(client, POLLIN, deadline_ms, err) != 0)
        return -1;
    ssize_t got = recv(client->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "the server closed the connection");
    if (got == 0)
        return err_set(err, ERR_UNAVAILABLE, "the server closed the connection before it answered");
    ssize_t used = nghttp2_session_mem_recv(client->session, buffer, (size_t)got);
    return used < 0 ? err_set(err, ERR_CORRUPT, "HTTP/2: %s", nghttp2_strerror((int)used)) : 0;
}

static int submit(struct client *client, const char *method, int64_t deadline_ms, struct err *err)
{
    char timeout[16];
    bool timed = deadline_ms != CLOCK_NEVER;
    grpc_timeout_print(timed ? deadline_ms - clock_monotonic_ms() : 0, timeout);
    const nghttp2_data_provider provider = {.source.ptr = client->exchange, .read_callback = read_request};
    const nghttp2_nv fields[] = {
        h2_field(":method", "POST"),
        h2_field(":scheme", "http"),
        h2_field(":path", method),
        h2_field(":authority", "localhost"),
        h2_field("te", "trailers"),
        h2_field("content-type", "application/grpc"),
        h2_field("user-agent", "sharedcache/" SC_VERSION),
        h2_field("grpc-timeout", timeout), /* the last: left out without a deadline */
    };
    size_t count = sizeof(fields) / sizeof(fields[0]) - (timed ? 0 : 1);
    int32_t id = nghttp2_submit_request(client->session, NULL, fields, count, &provider, NULL);
    return id > 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "HTTP/2: %s", nghttp2_strerror(id));
}

static int exchange_run(struct client *client, const char *method, int64_t deadline_ms, struct str *reply,
                        struct err *err)
{
    struct exchange *exchange = client->exchange;
    const char *reason;
    if (submit(client, method, deadline_ms, err) != 0)
        return -1;
    int64_t until_ms = deadline_ms == CLOCK_NEVER ? CLOCK_NEVER : deadline_ms + ANSWER_SLACK_MS;
    if (flush(client, until_ms, err) != 0)
        return -1;
    while (!exchange->ended) {
        if (receive(client, until_ms, err) != 0 || flush(client, until_ms, err) != 0)
            return -1;
    }
    if (!exchange->broken && exchange->result->status == GRPC_OK &&
        grpc_reader_finish(&exchange->reply, &reason) != GRPC_OK)
        exchange->broken = reason;
    if (exchange->broken)
        return err_set(err, ERR_CORRUPT, "the server's answer cannot be used: %s", exchange->broken);
    if (exchange->result->status == GRPC_OK)
        str_append(reply, exchange->reply.message, exchange->reply.len);
    return 0;
}

int client_call(struct client *client, const char *method, const struct str *request, int64_t deadline_ms,
                struct str *reply, struct client_result *result, struct err *err)
{
    uint8_t prefix[GRPC_PREFIX_LEN];
    struct exchange exchange = {.result = result};
    *result = (struct client_result){.status = GRPC_UNKNOWN};
    grpc_prefix_write(prefix, (uint32_t)request->len);
    str_reserve(&exchange.request, sizeof(prefix) + request->len);
    str_append(&exchange.request, prefix, sizeof(prefix));
    str_append(&exchange.request, request->data, request->len);
    client->exchange = &exchange;
    int failed = exchange_run(client, method, deadline_ms, reply, err);
    client->exchange = NULL;
    grpc_reader_deinit(&exchange.reply);
    mem_wipe_free(exchange.request.data, exchange.request.len);
    return failed;
}
