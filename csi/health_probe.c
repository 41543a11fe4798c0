#include "csi/health_probe.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "csi/client.h"

#define PROBE_MS 2000 /* the client waits a second longer for the server's own answer: three in all */
#define FRESH_MS 1000
#define STACK_SIZE ((size_t)256 * 1024)
#define METHOD "/csi.v1.Identity/Probe"

struct health_probe {
    char *endpoint;
    void (*answered)(void *context);
    void *context;
    pthread_t thread;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t wanted;
        bool is_wanted;
        bool stopping;
        int64_t fresh_until_ms; /* of cause */
        struct err cause;
    } locked;
};

static int ask(const char *endpoint, struct err *err)
{
    const struct str request = STR_INIT;
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    struct client_result result;
    int64_t deadline_ms = clock_monotonic_ms() + PROBE_MS;
    _cleanup_(client_closep) struct client *client = client_open(endpoint, deadline_ms, err);
    if (!client || client_call(client, METHOD, &request, deadline_ms, &reply, &result, err) != 0)
        return -1;
    if (result.status != GRPC_OK)
        return err_set(err, ERR_UNAVAILABLE, "Probe answered %s", grpc_status_name(result.status));
    return 0;
}

static bool wait_for_work(struct health_probe *probe)
{
    pthread_mutex_lock(&probe->locked.mutex);
    while (!probe->locked.is_wanted && !probe->locked.stopping)
        pthread_cond_wait(&probe->locked.wanted, &probe->locked.mutex);
    bool go_on = !probe->locked.stopping;
    pthread_mutex_unlock(&probe->locked.mutex);
    return go_on;
}

static void *probe_thread(void *argument)
{
    struct health_probe *probe = argument;
    pthread_setname_np(pthread_self(), "health-probe");
    while (wait_for_work(probe)) {
        struct err cause = ERR_INIT;
        ask(probe->endpoint, &cause);
        pthread_mutex_lock(&probe->locked.mutex);
        probe->locked.cause = cause;
        probe->locked.fresh_until_ms = clock_monotonic_ms() + FRESH_MS;
        probe->locked.is_wanted = false;
        pthread_mutex_unlock(&probe->locked.mutex);
        probe->answered(probe->context);
    }
    return NULL;
}

static void probe_destroy(struct health_probe *probe)
{
    pthread_cond_destroy(&probe->locked.wanted);
    pthread_mutex_destroy(&probe->locked.mutex);
    free(probe->endpoint);
    free(probe);
}

struct health_probe *health_probe_new(const char *endpoint, void (*answered)(void *context), void *context,
                                      struct err *err)
{
    struct health_probe *probe = mem_alloc(sizeof(*probe));
    probe->endpoint = mem_strdup(endpoint);
    probe->answered = answered;
    probe->context = context;
    pthread_mutex_init(&probe->locked.mutex, NULL);
    pthread_cond_init(&probe->locked.wanted, NULL);
    int failed = thread_start(&probe->thread, STACK_SIZE, probe_thread, probe);
    if (failed == 0)
        return probe;
    err_set_errno(err, ERR_UNAVAILABLE, failed, "cannot start a thread");
    probe_destroy(probe);
    return NULL;
}

void health_probe_free(struct health_probe *probe)
{
    if (!probe)
        return;
    pthread_mutex_lock(&probe->locked.mutex);
    probe->locked.stopping = true;
    pthread_cond_signal(&probe->locked.wanted);
    pthread_mutex_unlock(&probe->locked.mutex);
    pthread_join(probe->thread, NULL);
    probe_destroy(probe);
}

bool health_probe_get(struct health_probe *probe, struct err *cause)
{
    pthread_mutex_lock(&probe->locked.mutex);
    bool is_fresh = clock_monotonic_ms() < probe->locked.fresh_until_ms;
    if (is_fresh) {
        *cause = probe->locked.cause;
    } else if (!probe->locked.is_wanted) {
        probe->locked.is_wanted = true;
        pthread_cond_signal(&probe->locked.wanted);
    }
    pthread_mutex_unlock(&probe->locked.mutex);
    return is_fresh;
}
