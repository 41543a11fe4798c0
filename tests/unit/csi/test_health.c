/* The endpoint for probes and metrics, over real sockets, before a real gRPC server whose Probe can be held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "csi/health.h"
#include "csi/health_listen.h"
#include "csi/server.h"

static char scratch[64];
static char endpoint[96];
static atomic_bool held;
static atomic_uint probes;

static int run_probe(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service, (void)call, (void)reply, (void)err;
    atomic_fetch_add(&probes, 1);
    while (atomic_load(&held))
        poll(NULL, 0, 10);
    return 0;
}

static const struct rpc_method methods[] = {{.name = "/csi.v1.Identity/Probe", .handler = run_probe, .quick = true}};

static bool ready_now;

static bool is_ready(void *context, const char **why)
{
    (void)context;
    *why = "kubelet has not registered the plugin yet";
    return ready_now;
}

static void refresh(void *context)
{
    metrics_set(context, METRIC_VOLUMES, 3, NULL);
}

static struct server *serve(void)
{
    struct err err = ERR_INIT;
    const struct server_config config = {.endpoint = endpoint, .methods = methods, .method_count = 1};
    struct server *server = server_new(&config, &err);
    assert_non_null(server);
    return server;
}

static struct health *listen_for(struct metrics *metrics)
{
    struct err err = ERR_INIT;
    const struct health_config config = {.address = "127.0.0.1:0",
                                         .endpoint = endpoint,
                                         .metrics = metrics,
                                         .refresh = refresh,
                                         .is_ready = is_ready,
                                         .context = metrics};
    struct health *health = health_new(&config, &err);
    if (!health)
        fail_msg("%s", err.message);
    return health;
}

static int connect_to(const struct health *health)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(health_port(health)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Everything until the other side closes, at most eight seconds. */
static void receive_all(int fd, struct str *out)
{
    int64_t deadline_ms = clock_monotonic_ms() + 8000;
    for (;;) {
        char buffer[4096];
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        assert_true(poll(&poller, 1, clock_poll_timeout(deadline_ms)) == 1);
        ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
        if (got <= 0)
            return;
        str_append(out, buffer, (size_t)got);
    }
}

/* The answer's status; its text in out. */
static int ask(const struct health *health, const char *request, struct str *out)
{
    _cleanup_(closep) int fd = connect_to(health);
    int status = 0;
    str_clear(out);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    receive_all(fd, out);
    assert_non_null(out->data);
    assert_int_equal(sscanf(out->data, "HTTP/1.1 %d ", &status), 1);
    return status;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static void test_pages(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = serve();
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(health_freep) struct health *health = listen_for(metrics);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(ask(health, GET("/healthz"), &text), 200);
    assert_true(str_ends_with(text.data, "\r\n\r\nok\n"));
    ready_now = false;
    assert_int_equal(ask(health, GET("/readyz"), &text), 503);
    assert_non_null(strstr(text.data, "kubelet has not registered"));
    ready_now = true;
    assert_int_equal(ask(health, GET("/readyz"), &text), 200);
    assert_int_equal(ask(health, GET("/metrics"), &text), 200);
    assert_non_null(strstr(text.data, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(text.data, "\nsharedcache_csi_volumes_published 3\n"));
    assert_int_equal(ask(health, "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &text), 200);
    assert_true(str_ends_with(text.data, "\r\n\r\n"));
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {GET("/"), 404},
        {GET("/healthz/"), 404},
        {GET("/../healthz"), 404},
        {GET("/metricsx"), 404},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", 405},
        {"DELETE /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
    };
    _cleanup_(server_freep) struct server *server = serve();
    _cleanup_(health_freep) struct health *health = listen_for(NULL);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = ask(health, rows[i].request, &text);
        if (status != rows[i].status)
            fail_msg("row %zu: %d", i, status);
    }
}

/* Nobody listens: told at once. A Probe that does not return: told after three seconds, however many ask, and one call is made. */
static void test_unhealthy(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(health_freep) struct health *health = listen_for(metrics);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(ask(health, GET("/healthz"), &text), 500);
    assert_non_null(strstr(text.data, "cannot connect"));
    struct server *server = serve();
    poll(NULL, 0, 1100); /* the answer counts for a second */
    int fds[8];
    unsigned before = atomic_load(&probes);
    int64_t start_ms = clock_monotonic_ms();
    atomic_store(&held, true);
    for (size_t i = 0; i < 8; i++) {
        fds[i] = connect_to(health);
        send(fds[i], GET("/healthz"), strlen(GET("/healthz")), MSG_NOSIGNAL);
    }
    assert_int_equal(ask(health, GET("/metrics"), &text), 200); /* nobody else waits */
    assert_true(clock_monotonic_ms() - start_ms < 1500);
    for (size_t i = 0; i < 8; i++) {
        str_clear(&text);
        receive_all(fds[i], &text);
        assert_true(str_starts_with(text.data, "HTTP/1.1 500 "));
        close(fds[i]);
    }
    int64_t took_ms = clock_monotonic_ms() - start_ms;
    assert_true(took_ms > 1900 && took_ms < 8000); /* one after the other would take longer */
    assert_int_equal(atomic_load(&probes) - before, 1);
    atomic_store(&held, false);
    poll(NULL, 0, 1100);
    assert_int_equal(ask(health, GET("/healthz"), &text), 200);
    server_free(server);
}

/* Ends while requests wait for the probe. */
static void test_stop(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = serve();
    struct health *health = listen_for(NULL);
    unsigned before = atomic_load(&probes);
    atomic_store(&held, true);
    _cleanup_(closep) int fd = connect_to(health);
    send(fd, GET("/healthz"), strlen(GET("/healthz")), MSG_NOSIGNAL);
    int64_t until_ms = clock_monotonic_ms() + 5000;
    while (atomic_load(&probes) == before) {
        assert_true(clock_monotonic_ms() < until_ms);
        poll(NULL, 0, 5);
    }
    int64_t start_ms = clock_monotonic_ms();
    health_free(health);
    assert_true(clock_monotonic_ms() - start_ms < 8000);
    atomic_store(&held, false);
}

/* From 127.0.0.<last>: each is an address of its own to the endpoint. */
static int silent_from(const struct health *health, uint8_t last)
{
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000000U | last)}};
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(health_port(health)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    send(fd, "GET /h", 6, MSG_NOSIGNAL);
    return fd;
}

static size_t ended(const int *fds, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        char byte;
        ssize_t got = recv(fds[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        n += got == 0 || (got < 0 && errno != EAGAIN);
    }
    return n;
}

static void wait_for_ends(const int *fds, size_t count, size_t wanted, int64_t within_ms)
{
    int64_t until_ms = clock_monotonic_ms() + within_ms;
    while (ended(fds, count) < wanted) {
        if (clock_monotonic_ms() > until_ms)
            fail_msg("%zu of %zu have ended, not %zu", ended(fds, count), count, wanted);
        poll(NULL, 0, 20);
    }
}

/* One address has 32 connections, and silent ones end after the idle time. */
static void test_silent_connections(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = serve();
    _cleanup_(health_freep) struct health *health = listen_for(NULL);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    int fds[60];
    for (size_t i = 0; i < 60; i++)
        fds[i] = silent_from(health, 2);
    wait_for_ends(fds, 60, 28, 3000);
    assert_int_equal(ask(health, GET("/readyz"), &text), 200); /* from another address */
    wait_for_ends(fds, 60, 60, 12000);
    for (size_t i = 0; i < 60; i++)
        close(fds[i]);
}

/* Many addresses together do not keep anybody out: the oldest make room. */
static void test_crowd(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = serve();
    _cleanup_(health_freep) struct health *health = listen_for(NULL);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    int fds[200];
    int64_t start_ms = clock_monotonic_ms();
    for (size_t i = 0; i < 200; i++)
        fds[i] = silent_from(health, (uint8_t)(2 + i / 20));
    assert_int_equal(ask(health, GET("/readyz"), &text), 200);
    assert_true(clock_monotonic_ms() - start_ms < 4000);
    wait_for_ends(fds, 104, 104, 1000); /* the oldest; 96 stay */
    for (size_t i = 0; i < 200; i++)
        close(fds[i]);
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:9808", "0.0.0.0:1", "[::1]:65535",
                                       "[::]:9808",      ":9808",     "[fe80::1]:0"};
    static const char *const bad[] = {"",           "9808",         "127.0.0.1",     "localhost:9808",
                                      "::1:9808",   "[::1]",        "[127.0.0.1]:1", ":",
                                      "127.0.0.1:", ":65536",       ":-1",           ":9808 ",
                                      "[]:1",       "1.2.3:1",      "[:1",           "[::1]x:9808",
                                      ":09808",     "[::1%lo]:9808"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct health_address address;
        struct err err = ERR_INIT;
        if (health_address_parse(good[i], &address, &err) != 0)
            fail_msg("'%s': %s", good[i], err.message);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct health_address address;
        struct err err = ERR_INIT;
        if (health_address_parse(bad[i], &address, &err) == 0 || err.code != ERR_INVALID)
            fail_msg("'%s' is taken", bad[i]);
    }
}

/* A port that somebody has: told with the address. */
static void test_taken(void **state)
{
    (void)state;
    _cleanup_(health_freep) struct health *health = listen_for(NULL);
    struct err err = ERR_INIT;
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", health_port(health));
    const struct health_config config = {.address = address, .endpoint = endpoint};
    assert_null(health_new(&config, &err));
    assert_non_null(strstr(err.message, address));
}

static int make_scratch(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    snprintf(scratch, sizeof(scratch), "/tmp/test-health.XXXXXX");
    if (!mkdtemp(scratch))
        return -1;
    snprintf(endpoint, sizeof(endpoint), "%s/csi.sock", scratch);
    return 0;
}

static int remove_scratch(void **state)
{
    (void)state;
    unlink(endpoint);
    return rmdir(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unhealthy),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_silent_connections),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_taken),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
