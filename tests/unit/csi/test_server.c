/* csi/server.h and csi/client.h together, over a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "csi/client.h"
#include "csi/listener.h"
#include "csi/server.h"

static char scratch[64];
static char endpoint[96];
static atomic_uint cancelled;
static atomic_uint waiting;

static int echo(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)err;
    str_append(reply, call->request, call->request_len);
    return 0;
}

static int fail_busy(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)call;
    (void)reply;
    return err_set(err, ERR_BUSY, "cached 41%% of it, caf\xc3\xa9");
}

/* Waits until it is cancelled or its deadline comes. */
static int wait_long(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)reply;
    struct pollfd poller = {.fd = call->cancel_fd, .events = POLLIN};
    atomic_fetch_add(&waiting, 1);
    int ready = poll(&poller, 1, clock_poll_timeout(call->deadline_ms));
    atomic_fetch_sub(&waiting, 1);
    if (ready == 0)
        return err_set(err, ERR_DEADLINE, "waited in vain");
    atomic_fetch_add(&cancelled, 1);
    return err_set(err, ERR_CANCELLED, "cancelled");
}

static const struct rpc_method methods[] = {
    {.name = "/test.Test/Echo", .handler = echo},
    {.name = "/test.Test/Fail", .handler = fail_busy},
    {.name = "/test.Test/Wait", .handler = wait_long},
    {.name = "/test.Test/Quick", .handler = echo, .quick = true},
};

static struct server *start(unsigned calls_max, unsigned connections_max)
{
    struct err err = ERR_INIT;
    const struct server_config config = {
        .endpoint = endpoint,
        .methods = methods,
        .method_count = sizeof(methods) / sizeof(methods[0]),
        .calls_max = calls_max,
        .connections_max = connections_max,
    };
    struct server *server = server_new(&config, &err);
    if (!server)
        print_error("%s\n", err.message);
    assert_non_null(server);
    return server;
}

static struct client *connected(void)
{
    struct err err = ERR_INIT;
    struct client *client = client_open(endpoint, CLOCK_NEVER, &err);
    assert_non_null(client);
    return client;
}

static enum grpc_status call_with(struct client *client, const char *method, const char *text, int64_t timeout_ms,
                                  struct str *reply, struct client_result *result)
{
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str request = STR_INIT;
    str_append_text(&request, text);
    if (client_call(client, method, &request, clock_monotonic_ms() + timeout_ms, reply, result, &err) != 0) {
        print_error("%s: %s\n", method, err.message);
        fail();
    }
    return result->status;
}

static void wait_until(atomic_uint *counter, unsigned value)
{
    int64_t until = clock_monotonic_ms() + 10000;
    while (atomic_load(counter) != value) {
        assert_true(clock_monotonic_ms() < until);
        poll(NULL, 0, 5);
    }
}

static void test_calls(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(0, 0);
    _cleanup_(client_closep) struct client *client = connected();
    struct client_result result;
    for (int i = 0; i < 100; i++) {
        _cleanup_(str_deinitp) struct str reply = STR_INIT;
        assert_int_equal(call_with(client, "/test.Test/Echo", "hello", 5000, &reply, &result), GRPC_OK);
        assert_int_equal(reply.len, 5);
        assert_memory_equal(reply.data, "hello", 5);
    }
    _cleanup_(str_deinitp) struct str none = STR_INIT;
    assert_int_equal(call_with(client, "/test.Test/Fail", "", 5000, &none, &result), GRPC_ABORTED);
    assert_string_equal(result.message, "cached 41% of it, caf\xc3\xa9");
    assert_int_equal(call_with(client, "/test.Test/None", "", 5000, &none, &result), GRPC_UNIMPLEMENTED);
    assert_string_equal(result.message, "unknown method /test.Test/None");
    assert_int_equal(call_with(client, "/test.Test/Wait", "", 150, &none, &result), GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(none.len, 0);
}

static void test_socket(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat info;
    struct listener listener = LISTENER_INIT;
    struct sockaddr_un address;
    assert_int_equal(endpoint_parse(endpoint, &address, &err), 0);
    mode_t mask = umask(0);
    struct server *server = start(0, 0);
    umask(mask);
    assert_int_equal(stat(address.sun_path, &info), 0);
    assert_int_equal(info.st_mode, S_IFSOCK | 0600);
    assert_int_equal(listener_open(endpoint, &listener, &err), -1); /* a live one is refused */
    assert_int_equal(err.code, ERR_EXISTS);
    server_free(server);
    assert_int_equal(stat(address.sun_path, &info), -1);

    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof(address)), 0);
    close(stale);
    server_free(start(0, 0)); /* a stale one is replaced */

    int file = open(address.sun_path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(listener_open(endpoint, &listener, &err), -1);
    assert_int_equal(err.code, ERR_PRECONDITION);
    unlink(address.sun_path);
}

static void test_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        const char *path;
    } cases[] = {
        {"unix:///a/b.sock", "/a/b.sock"},
        {"unix:/a/b.sock", "/a/b.sock"},
        {"/a/b.sock", "/a/b.sock"},
        {"unix://a/b.sock", NULL},
        {"tcp://1.2.3.4:5", NULL},
        {"", NULL},
        {"unix:///a/", NULL},
        {"a.sock", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        struct sockaddr_un address;
        int failed = endpoint_parse(cases[i].endpoint, &address, &err);
        assert_int_equal(failed, cases[i].path ? 0 : -1);
        if (cases[i].path)
            assert_string_equal(address.sun_path, cases[i].path);
    }
}

struct background {
    pthread_t thread;
    struct client *client;
    const char *method;
    int64_t timeout_ms;
    struct client_result result;
    struct err err;
    int failed;
};

static void *background_main(void *argument)
{
    struct background *job = argument;
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    const struct str request = STR_INIT;
    job->failed = client_call(job->client, job->method, &request, clock_monotonic_ms() + job->timeout_ms, &reply,
                              &job->result, &job->err);
    return NULL;
}

static void background_start(struct background *job, const char *method, int64_t timeout_ms)
{
    *job = (struct background){.client = connected(), .method = method, .timeout_ms = timeout_ms};
    assert_int_equal(pthread_create(&job->thread, NULL, background_main, job), 0);
}

static void background_end(struct background *job)
{
    pthread_join(job->thread, NULL);
    client_close(job->client);
}

/* Slow calls take all threads; quick ones are served all the same, others get RESOURCE_EXHAUSTED. */
static void test_limits_and_quick(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(3, 0);
    struct background jobs[3];
    struct client_result result;
    for (int i = 0; i < 3; i++)
        background_start(&jobs[i], "/test.Test/Wait", 20000);
    wait_until(&waiting, 3);
    _cleanup_(client_closep) struct client *client = connected();
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    assert_int_equal(call_with(client, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(call_with(client, "/test.Test/Quick", "x", 5000, &reply, &result), GRPC_OK);
    assert_int_equal(server_stop(server, clock_monotonic_ms() + 50), 0);
    for (int i = 0; i < 3; i++) {
        background_end(&jobs[i]);
        assert_int_equal(jobs[i].failed, 0);
        assert_int_equal(jobs[i].result.status, GRPC_CANCELLED);
    }
}

/* row 100, the call's side: a lost connection makes cancel_fd readable, once. */
static void test_lost_connection_cancels(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(0, 0);
    struct background job;
    atomic_store(&cancelled, 0);
    background_start(&job, "/test.Test/Wait", 300);
    background_end(&job); /* its own deadline: it hangs up or gets the answer */
    struct background other;
    background_start(&other, "/test.Test/Wait", 60000);
    wait_until(&waiting, 1);
    shutdown(*(int *)other.client, SHUT_RDWR); /* the descriptor is the client's first member */
    wait_until(&cancelled, 1);
    background_end(&other);
    assert_int_equal(other.failed, -1);
}

/* Drain: a call that ends in time is answered; new connections are refused. */
static void test_drain(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(0, 0);
    struct background job;
    background_start(&job, "/test.Test/Wait", 400);
    wait_until(&waiting, 1);
    int64_t began = clock_monotonic_ms();
    assert_int_equal(server_stop(server, began + 20000), 0);
    assert_true(clock_monotonic_ms() - began < 10000);
    background_end(&job);
    struct err err = ERR_INIT;
    assert_null(client_open(endpoint, CLOCK_NEVER, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static int raw_connect(void)
{
    struct err err = ERR_INIT;
    struct sockaddr_un address;
    assert_int_equal(endpoint_parse(endpoint, &address, &err), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* row 109: more idle connections than the cap; the one with a history and new ones are served. */
static void test_idle_connections(void **state)
{
    (void)state;
    enum { CAP = 16, IDLE = 200 };
    _cleanup_(server_freep) struct server *server = start(0, CAP);
    _cleanup_(client_closep) struct client *old = connected();
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    struct client_result result;
    int fds[IDLE];
    assert_int_equal(call_with(old, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_OK);
    for (int i = 0; i < IDLE; i++)
        fds[i] = raw_connect();
    _cleanup_(client_closep) struct client *fresh = connected();
    assert_int_equal(call_with(fresh, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_OK);
    assert_int_equal(call_with(old, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_OK);
    int open_count = 0;
    for (int i = 0; i < IDLE; i++) {
        struct pollfd poller = {.fd = fds[i], .events = POLLRDHUP};
        open_count += poll(&poller, 1, 0) == 0;
        close(fds[i]);
    }
    assert_true(open_count <= CAP - 2);
}

/* row 103: no descriptors left; accepting pauses and goes on when there are some again. */
static void test_out_of_descriptors(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(0, 0);
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    struct client_result result;
    struct rlimit old;
    int fd = raw_connect();
    close(fd);
    int spare = raw_connect(); /* made while there are some */
    _cleanup_(client_closep) struct client *client = connected();
    assert_int_equal(call_with(client, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct sockaddr_un address;
    struct err err = ERR_INIT;
    assert_int_equal(endpoint_parse(endpoint, &address, &err), 0);
    int late = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int connected_now = connect(late, (struct sockaddr *)&address, sizeof(address)); /* waits in the backlog */
    enum grpc_status starved = call_with(client, "/test.Test/Echo", "x", 5000, &reply, &result);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(connected_now, 0);
    assert_int_equal(starved, GRPC_UNAVAILABLE);
    char settings[9];
    assert_int_equal(recv(late, settings, sizeof(settings), MSG_WAITALL), sizeof(settings)); /* accepted after all */
    assert_int_equal(call_with(client, "/test.Test/Echo", "x", 5000, &reply, &result), GRPC_OK);
    close(late);
    close(spare);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    const char *base = getenv("SC_SCRATCH");
    snprintf(scratch, sizeof(scratch), "%s/sc-server-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
    assert_non_null(mkdtemp(scratch));
    snprintf(endpoint, sizeof(endpoint), "unix://%s/run/csi.sock", scratch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char directory[80];
    snprintf(directory, sizeof(directory), "%s/run", scratch);
    return rmdir(directory) == 0 && rmdir(scratch) == 0 ? 0 : -1; /* not empty: a socket was left behind */
}

static int64_t cpu_ms(void)
{
    struct timespec time;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), 0);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* A child between fork and exec holds every socket of ours: closing one does not take it out of epoll then, and events of a
 * connection that is gone came back again and again. */
static void test_closed_while_a_child_holds_it(void **state)
{
    (void)state;
    _cleanup_(server_freep) struct server *server = start(0, 0);
    _cleanup_(client_closep) struct client *client = connected();
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    struct client_result result;
    char settings[9];
    int fd = raw_connect();
    assert_int_equal(recv(fd, settings, sizeof(settings), MSG_WAITALL), sizeof(settings)); /* it was accepted */
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(call_with(client, "/test.Test/Quick", "x", 5000, &reply, &result), GRPC_OK);
    int64_t before_ms = cpu_ms();
    assert_int_equal(poll(NULL, 0, 300), 0);
    assert_true(cpu_ms() - before_ms < 150);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_limits_and_quick),
        cmocka_unit_test(test_lost_connection_cancels),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_closed_while_a_child_holds_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
