#include "csi/events.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "csi/event_limit.h"
#include "csi/log_limit.h"

#define QUEUE_MAX 256u
#define KNOWN_MAX 256u
#define CALL_MS 3000
#define FAILED_EVERY_MS 60000
#define BURST 25u
#define PER_SECOND 5u
#define STACK_SIZE ((size_t)512 * 1024) /* TLS is done on it */

static const int64_t retry_pauses_ms[] = {1000, 4000};
#define RETRIES (sizeof(retry_pauses_ms) / sizeof(retry_pauses_ms[0]))

struct queued {
    struct queued *next;
    struct event event; /* texts are in arena */
    struct arena *arena;
    char name[EVENT_NAME_MAX + 1];
};

/* What was sent before, by the thread's own book; the one that was quiet for longest makes room. */
struct known {
    char name[EVENT_NAME_MAX + 1];
    unsigned count; /* 0: free */
    int64_t sent_ms;
};

struct events {
    struct events_config config;
    char *driver_name;
    char *node_id;
    pthread_t thread;
    struct event_bucket bucket; /* this and the rest down to the lock: the thread's own */
    struct known known[KNOWN_MAX];
    struct log_limit log_limit;
    bool is_away; /* the last event failed: no retries until one gets through */
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        struct queued *first;
        size_t count;
        bool is_stopping;
    } locked;
};

static void queued_free(struct queued *queued)
{
    arena_free(queued->arena);
    free(queued);
}

static struct queued *queued_new(const struct event *event)
{
    struct queued *queued = mem_alloc(sizeof(*queued));
    struct arena *arena = arena_new();
    queued->arena = arena;
    queued->event = (struct event){.reason = event->reason,
                                   .namespace = arena_strdup(arena, event->namespace),
                                   .pod = arena_strdup(arena, event->pod),
                                   .uid = arena_strdup(arena, event->uid),
                                   .volume = arena_strdup(arena, event->volume),
                                   .message = arena_strdup(arena, event->message)};
    event_name(event, queued->name);
    return queued;
}

static void count(const struct events *events, const char *result)
{
    metrics_add(events->config.metrics, METRIC_EVENTS, 1, result, NULL);
}

/* Takes the place of an older one of the same name, or the last place. NULL, or what is to be freed and counted as *result. */
static struct queued *queue_put_locked(struct events *events, struct queued *queued, const char **result)
{
    struct queued **at = &events->locked.first;
    while (*at && strcmp((*at)->name, queued->name) != 0)
        at = &(*at)->next;
    struct queued *old = *at;
    *result = old ? "merged" : "dropped";
    if (!old && events->locked.count == QUEUE_MAX)
        return queued;
    queued->next = old ? old->next : NULL;
    *at = queued;
    events->locked.count += old ? 0 : 1;
    pthread_cond_signal(&events->locked.changed);
    return old;
}

void events_post(struct events *events, const struct event *event)
{
    const char *result;
    if (!events || !event_is_sound(event))
        return;
    struct queued *queued = queued_new(event);
    pthread_mutex_lock(&events->locked.mutex);
    struct queued *rest = queue_put_locked(events, queued, &result);
    pthread_mutex_unlock(&events->locked.mutex);
    if (!rest)
        return;
    count(events, result);
    queued_free(rest);
}

/* False when it ends meanwhile. */
static bool pause_for(struct events *events, int64_t pause_ms)
{
    int64_t until_ms = clock_monotonic_ms() + pause_ms;
    pthread_mutex_lock(&events->locked.mutex);
    while (!events->locked.is_stopping && clock_monotonic_ms() < until_ms)
        thread_cond_wait(&events->locked.changed, &events->locked.mutex, until_ms);
    bool go_on = !events->locked.is_stopping;
    pthread_mutex_unlock(&events->locked.mutex);
    return go_on;
}

/* The next one, when there is one and it may be sent; NULL when all ends. */
static struct queued *queue_take(struct events *events)
{
    pthread_mutex_lock(&events->locked.mutex);
    while (!events->locked.first && !events->locked.is_stopping)
        pthread_cond_wait(&events->locked.changed, &events->locked.mutex);
    pthread_mutex_unlock(&events->locked.mutex);
    for (int64_t wait_ms; (wait_ms = event_bucket_take(&events->bucket, clock_monotonic_ms())) > 0;)
        if (!pause_for(events, wait_ms))
            return NULL;
    pthread_mutex_lock(&events->locked.mutex);
    struct queued *queued = events->locked.is_stopping ? NULL : events->locked.first;
    if (queued) {
        events->locked.first = queued->next;
        events->locked.count--;
    }
    pthread_mutex_unlock(&events->locked.mutex);
    return queued;
}

static struct known *known_find(struct events *events, const char *name)
{
    struct known *oldest = &events->known[0];
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        struct known *known = &events->known[i];
        if (known->count > 0 && strcmp(known->name, name) == 0)
            return known;
        if (oldest->count > 0 && (known->count == 0 || known->sent_ms < oldest->sent_ms))
            oldest = known;
    }
    memset(oldest, 0, sizeof(*oldest));
    memcpy(oldest->name, name, strlen(name) + 1);
    return oldest;
}

static int call(const struct events *events, enum kube_verb verb, const char *path, json_t *body, struct err *err)
{
    const struct kube_request request = {verb, path, body, clock_monotonic_ms() + CALL_MS};
    int failed = kube_call(events->config.kube, &request, NULL, err);
    json_decref(body);
    return failed;
}

static int create(const struct events *events, const struct queued *queued, struct err *err)
{
    _cleanup_(str_deinitp) struct str path = STR_INIT;
    str_printf(&path, "/api/v1/namespaces/%s/events", queued->event.namespace);
    return call(events, KUBE_POST, path.data, event_object(&queued->event, &events->config.source, clock_wall_s()),
                err);
}

static int renew(const struct events *events, const struct queued *queued, unsigned count, struct err *err)
{
    _cleanup_(str_deinitp) struct str path = STR_INIT;
    str_printf(&path, "/api/v1/namespaces/%s/events/%s", queued->event.namespace, queued->name);
    return call(events, KUBE_MERGE_PATCH, path.data, event_renewal(&queued->event, count, clock_wall_s()), err);
}

/* Events go after an hour; one that a plugin before us made is there already. */
static int send_once(const struct events *events, const struct queued *queued, unsigned sent, struct err *err)
{
    struct err cause = ERR_INIT;
    int failed = sent > 0 ? renew(events, queued, sent + 1, &cause) : create(events, queued, &cause);
    if (failed && sent > 0 && cause.code == ERR_NOT_FOUND)
        return create(events, queued, err);
    if (failed && sent == 0 && cause.code == ERR_EXISTS)
        return renew(events, queued, 2, err);
    if (failed)
        *err = cause;
    return failed;
}

static bool may_help(enum err_code code)
{
    return code == ERR_UNAVAILABLE || code == ERR_DEADLINE || code == ERR_EXHAUSTED;
}

static int send(struct events *events, const struct queued *queued, unsigned sent, struct err *err)
{
    for (size_t i = 0;; i++) {
        struct err cause = ERR_INIT;
        if (send_once(events, queued, sent, &cause) == 0)
            return 0;
        if (events->is_away || i == RETRIES || !may_help(cause.code) || !pause_for(events, retry_pauses_ms[i])) {
            *err = cause;
            return -1;
        }
    }
}

static void log_failure(struct events *events, const struct err *err)
{
    unsigned left_out = 0;
    char text[16];
    if (!log_limit_pass(&events->log_limit, "event", err_code_name(err->code), clock_monotonic_ms(), &left_out))
        return;
    snprintf(text, sizeof(text), "%u", left_out);
    log_event(LOG_WARNING, "event_failed", "error", err->message, "repeated", left_out > 0 ? text : NULL, NULL);
}

static void handle(struct events *events, const struct queued *queued)
{
    struct known *known = known_find(events, queued->name);
    struct err err = ERR_INIT;
    int64_t now_ms = clock_monotonic_ms();
    if (queued->event.reason == EVENT_FAILED && known->count > 0 && now_ms - known->sent_ms < FAILED_EVERY_MS) {
        count(events, "merged");
        return;
    }
    events->is_away = send(events, queued, known->count, &err) != 0 && may_help(err.code);
    if (err.code == ERR_NONE) {
        known->count++;
        known->sent_ms = now_ms;
    } else {
        log_failure(events, &err);
    }
    count(events, err.code == ERR_NONE ? "sent" : "failed");
}

static void *events_thread(void *argument)
{
    struct events *events = argument;
    pthread_setname_np(pthread_self(), "events");
    for (struct queued *queued; (queued = queue_take(events)) != NULL; queued_free(queued))
        handle(events, queued);
    return NULL;
}

static void destroy(struct events *events)
{
    for (struct queued *queued = events->locked.first, *next; queued; queued = next) {
        next = queued->next;
        queued_free(queued);
    }
    pthread_cond_destroy(&events->locked.changed);
    pthread_mutex_destroy(&events->locked.mutex);
    free(events->driver_name);
    free(events->node_id);
    free(events);
}

struct events *events_new(const struct events_config *config, struct err *err)
{
    struct events *events = mem_alloc(sizeof(*events));
    events->config = *config;
    events->config.source.driver_name = events->driver_name = mem_strdup(config->source.driver_name);
    events->config.source.node_id = events->node_id = mem_strdup(config->source.node_id);
    events->bucket = (struct event_bucket){.burst = BURST, .per_second = PER_SECOND};
    pthread_mutex_init(&events->locked.mutex, NULL);
    thread_cond_init(&events->locked.changed);
    int failed = thread_start(&events->thread, STACK_SIZE, events_thread, events);
    if (failed == 0)
        return events;
    err_set_errno(err, ERR_UNAVAILABLE, failed, "cannot start a thread");
    destroy(events);
    return NULL;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    pthread_mutex_lock(&events->locked.mutex);
    events->locked.is_stopping = true;
    pthread_cond_broadcast(&events->locked.changed);
    pthread_mutex_unlock(&events->locked.mutex);
    pthread_join(events->thread, NULL);
    destroy(events);
}
