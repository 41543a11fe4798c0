/*
 * The server of the transport tests: transport_server SOCKET [connections_max]. SIGTERM drains for at most five seconds. Requests and
 * replies of test.Test are plain bytes; /csi.v1.Node/NodePublishVolume takes a CSI message apart, as the plugin does.
 */
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "csi/message.h"
#include "csi/proto/csi.pb-c.h"
#include "csi/server.h"

static atomic_uint running;
static atomic_uint cancelled;

static int echo(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)err;
    str_append(reply, call->request, call->request_len);
    return 0;
}

/* "NAME message": fails with that code. */
static int fail_as_told(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)reply;
    char name[32] = "";
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    str_append(&text, call->request, call->request_len);
    const char *message = strchr(text.data, ' ');
    if (!message || (size_t)(message - text.data) >= sizeof(name))
        return err_set(err, ERR_INVALID, "NAME message is wanted");
    memcpy(name, text.data, (size_t)(message - text.data));
    return err_set(err, err_code_parse(name), "%s", message + 1);
}

/* Until cancelled or the deadline; at most a minute. */
static int wait_for_end(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)reply;
    int64_t limit_ms = clock_monotonic_ms() + 60000;
    struct pollfd poller = {.fd = call->cancel_fd, .events = POLLIN};
    atomic_fetch_add(&running, 1);
    int ready = poll(&poller, 1, clock_poll_timeout(call->deadline_ms < limit_ms ? call->deadline_ms : limit_ms));
    atomic_fetch_sub(&running, 1);
    if (ready == 0)
        return err_set(err, ERR_BUSY, "29%% done, about 5 min left");
    atomic_fetch_add(&cancelled, 1);
    return err_set(err, ERR_CANCELLED, "cancelled");
}

/* "MS": takes that long, whatever happens. */
static int take_time(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    char digits[8] = "";
    uint64_t time_ms;
    memcpy(digits, call->request, call->request_len < sizeof(digits) ? call->request_len : 0);
    if (str_parse_u64(digits, 60000, &time_ms) != 0)
        return err_set(err, ERR_INVALID, "milliseconds are wanted");
    atomic_fetch_add(&running, 1);
    poll(NULL, 0, (int)time_ms);
    atomic_fetch_sub(&running, 1);
    str_append_text(reply, "slept");
    return 0;
}

/* "N": until N calls of this have been running at one time; for at most a minute. */
static int gather(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    static atomic_uint gathered;
    char digits[8] = "";
    uint64_t wanted;
    memcpy(digits, call->request, call->request_len < sizeof(digits) ? call->request_len : 0);
    if (str_parse_u64(digits, 1000, &wanted) != 0)
        return err_set(err, ERR_INVALID, "a number of calls is wanted");
    int64_t limit_ms = clock_monotonic_ms() + 60000;
    atomic_fetch_add(&gathered, 1);
    while (atomic_load(&gathered) < wanted) {
        if (clock_monotonic_ms() > limit_ms)
            return err_set(err, ERR_DEADLINE, "%u of them came", atomic_load(&gathered));
        poll(NULL, 0, 5);
    }
    str_append_text(reply, "gathered");
    return 0;
}

static int count(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    (void)call;
    (void)err;
    str_printf(reply, "{\"running\": %u, \"cancelled\": %u}", atomic_load(&running), atomic_load(&cancelled));
    return 0;
}

static int publish(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)service;
    ProtobufCMessage *message =
        message_unpack(&csi__v1__node_publish_volume_request__descriptor, call->request, call->request_len, err);
    if (!message)
        return -1;
    Csi__V1__NodePublishVolumeResponse response;
    csi__v1__node_publish_volume_response__init(&response);
    message_pack(&response.base, reply);
    message_free(message);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct rpc_method methods[] = {
        {.name = "/test.Test/Echo", .handler = echo},
        {.name = "/test.Test/Fail", .handler = fail_as_told},
        {.name = "/test.Test/Wait", .handler = wait_for_end},
        {.name = "/test.Test/Sleep", .handler = take_time},
        {.name = "/test.Test/Gather", .handler = gather},
        {.name = "/test.Test/Count", .handler = count, .quick = true},
        {.name = "/csi.v1.Node/NodePublishVolume", .handler = publish},
    };
    struct err err = ERR_INIT;
    sigset_t stops;
    int got;
    uint64_t connections_max = 0;
    if (argc < 2 || (argc > 2 && str_parse_u64(argv[2], 100000, &connections_max) != 0))
        return 2;
    mallopt(M_ARENA_MAX, 2); /* as the program itself does */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    log_set_level(LOG_ERROR);
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    const struct server_config config = {
        .endpoint = argv[1],
        .methods = methods,
        .method_count = sizeof(methods) / sizeof(methods[0]),
        .connections_max = (unsigned)connections_max,
    };
    _cleanup_(server_freep) struct server *server = server_new(&config, &err);
    if (!server) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    sigwait(&stops, &got);
    return server_stop(server, clock_monotonic_ms() + 5000) == 0 ? 0 : 3;
}
