#include "csi/registration.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/client.h"
#include "csi/registration_service.h"
#include "csi/server.h"

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define SOCKET_SUFFIX "-reg.sock"
#define TICK_MS 2000 /* how often the socket is looked for: one lstat(2) */
#define RETRY_MS 2000
#define PROBE_MS 5000
#define GOODBYE_MS 1000
#define REFUSED_MIN_MS 1000
#define REFUSED_MAX_MS 60000
#define SILENCE_MS 60000
#define VERDICT_MS 150000 /* kubelet gives NodeGetInfo two minutes, then tells */

/* What kubelet's calls left for the thread. */
struct news {
    bool asked;
    bool refused;
};

struct registration {
    struct registration_config config;
    struct registration_service service;
    struct rpc_method methods[REGISTRATION_METHODS];
    pthread_t thread;
    int event;    /* eventfd: news or stop */
    bool is_done; /* atomic */
    /* The thread's own. */
    struct server *server; /* NULL: the socket is not there */
    struct stat identity;  /* of the socket */
    int64_t refused_ms;    /* the next pause after a refusal */
    bool silence_told;
    char trouble[ERR_MESSAGE_MAX]; /* told already */
    char path[SOCKET_PATH_MAX + 1];
    struct {
        pthread_mutex_t mutex;
        bool stop;
        struct news news;
    } locked;
};

enum ending { ENDING_STOP, ENDING_REFUSED, ENDING_GONE, ENDING_SILENT };

static void done_set(struct registration *registration, bool done)
{
    __atomic_store_n(&registration->is_done, done, __ATOMIC_RELEASE);
}

bool registration_is_done(const struct registration *registration)
{
    return !registration || __atomic_load_n(&registration->is_done, __ATOMIC_ACQUIRE);
}

static void on_asked(void *owner)
{
    struct registration *registration = owner;
    pthread_mutex_lock(&registration->locked.mutex);
    registration->locked.news.asked = true;
    pthread_mutex_unlock(&registration->locked.mutex);
    eventfd_write(registration->event, 1);
}

static void on_status(void *owner, bool registered, const char *text)
{
    struct registration *registration = owner;
    pthread_mutex_lock(&registration->locked.mutex);
    registration->locked.news.refused = !registered;
    done_set(registration, registered);
    pthread_mutex_unlock(&registration->locked.mutex);
    eventfd_write(registration->event, 1);
    if (registered)
        log_event(LOG_INFO, "registered", "socket", registration->path, "endpoint", registration->service.endpoint,
                  NULL);
    else
        log_event(LOG_WARNING, "registration_refused", "by", "kubelet", "error", text, NULL);
}

/* True when it is time to stop. */
static bool wait_for_news(struct registration *registration, int64_t until_ms, struct news *news)
{
    struct pollfd poller = {.fd = registration->event, .events = POLLIN};
    eventfd_t count;
    if (poll(&poller, 1, clock_poll_timeout(until_ms)) > 0)
        eventfd_read(registration->event, &count);
    pthread_mutex_lock(&registration->locked.mutex);
    bool stop = registration->locked.stop;
    *news = registration->locked.news;
    registration->locked.news = (struct news){false, false};
    pthread_mutex_unlock(&registration->locked.mutex);
    return stop;
}

/* kubelet calls back on the CSI socket right away, so that one must answer first. */
static int ask_ourselves(const struct registration *registration, struct err *err)
{
    struct client_result result;
    const struct str request = STR_INIT;
    _cleanup_(str_deinit) struct str reply = STR_INIT;
    int64_t deadline_ms = clock_monotonic_ms() + PROBE_MS;
    _cleanup_(client_closep) struct client *client = client_open(registration->config.socket, deadline_ms, err);
    if (!client || client_call(client, "/csi.v1.Identity/Probe", &request, deadline_ms, &reply, &result, err) != 0)
        return err_prefix(err, "our own CSI socket");
    return result.status == GRPC_OK ? 0
                                    : err_set(err, ERR_UNAVAILABLE, "our own CSI socket answers: %s", result.message);
}

/* The directory is kubelet's: it makes it, we do not. */
static int check_dir(const char *dir, struct err *err)
{
    struct stat info;
    if (stat(dir, &info) != 0)
        return err_set_errno(err, ERR_INVALID, errno, "'%s', where kubelet looks for plugins", dir);
    return S_ISDIR(info.st_mode) ? 0 : err_set(err, ERR_INVALID, "'%s' is not a directory", dir);
}

static int appear(struct registration *registration, struct err *err)
{
    const struct server_config config = {.endpoint = registration->path,
                                         .methods = registration->methods,
                                         .method_count = REGISTRATION_METHODS,
                                         .calls_max = 16,
                                         .connections_max = 16};
    if (check_dir(registration->config.dir, err) != 0 || ask_ourselves(registration, err) != 0)
        return -1;
    registration->server = server_new(&config, err);
    if (!registration->server)
        return -1;
    if (lstat(registration->path, &registration->identity) != 0)
        registration->identity = (struct stat){0}; /* gone already: the next look sees it */
    registration->trouble[0] = '\0';
    return 0;
}

static void disappear(struct registration *registration)
{
    done_set(registration, false);
    if (registration->server && server_stop(registration->server, clock_monotonic_ms() + GOODBYE_MS) == 0)
        server_free(registration->server);
    registration->server = NULL; /* if a call hangs, which none can, it keeps its server */
}

static bool is_there(const struct registration *registration)
{
    struct stat now;
    return lstat(registration->path, &now) == 0 && now.st_ino == registration->identity.st_ino &&
           now.st_dev == registration->identity.st_dev;
}

/* Told once, until it is another one or over. */
static void tell_trouble(struct registration *registration, const struct err *err)
{
    if (strcmp(registration->trouble, err->message) == 0)
        return;
    snprintf(registration->trouble, sizeof(registration->trouble), "%s", err->message);
    log_event(LOG_WARNING, "registration_waits", "socket", registration->path, "error", err->message, NULL);
}

/* Until when kubelet may be silent, after what it just said. */
static int64_t patience(struct registration *registration, const struct news *news, int64_t due_ms)
{
    if (news->asked)
        registration->silence_told = false;
    if (!registration_is_done(registration))
        return news->asked ? clock_monotonic_ms() + VERDICT_MS : due_ms;
    registration->refused_ms = REFUSED_MIN_MS;
    return CLOCK_NEVER;
}

static enum ending watch(struct registration *registration)
{
    struct news news;
    int64_t due_ms = clock_monotonic_ms() + registration->config.silence_ms;
    for (;;) {
        int64_t tick_ms = clock_monotonic_ms() + TICK_MS;
        if (wait_for_news(registration, due_ms < tick_ms ? due_ms : tick_ms, &news))
            return ENDING_STOP;
        if (news.refused)
            return ENDING_REFUSED;
        if (!is_there(registration))
            return ENDING_GONE;
        due_ms = patience(registration, &news, due_ms);
        if (clock_monotonic_ms() >= due_ms)
            return ENDING_SILENT;
    }
}

/* The pause before the next socket, in ms. */
static int64_t after(struct registration *registration, enum ending ending)
{
    int64_t pause_ms = 0;
    if (ending == ENDING_REFUSED) {
        pause_ms = registration->refused_ms;
        registration->refused_ms = pause_ms * 2 < REFUSED_MAX_MS ? pause_ms * 2 : REFUSED_MAX_MS;
    } else if (ending == ENDING_GONE) {
        log_event(LOG_WARNING, "registration_socket_removed", "socket", registration->path, "action", "made anew",
                  NULL);
    } else if (ending == ENDING_SILENT && !registration->silence_told) {
        registration->silence_told = true;
        log_event(LOG_WARNING, "registration_silence", "socket", registration->path, "cause",
                  "kubelet does not ask: does it watch this directory?", "action", "made anew", NULL);
    }
    return pause_ms;
}

/* One socket, from its appearance to its end. The pause that follows, or -1 to stop. */
static int64_t one_life(struct registration *registration)
{
    struct err err = ERR_INIT;
    if (appear(registration, &err) != 0) {
        tell_trouble(registration, &err);
        return RETRY_MS;
    }
    enum ending ending = watch(registration);
    disappear(registration);
    return ending == ENDING_STOP ? -1 : after(registration, ending);
}

static bool pause_for(struct registration *registration, int64_t ms)
{
    struct news ignored;
    int64_t until_ms = clock_monotonic_ms() + ms;
    do {
        if (wait_for_news(registration, until_ms, &ignored))
            return true;
    } while (clock_monotonic_ms() < until_ms);
    return false;
}

static void *registration_thread(void *argument)
{
    struct registration *registration = argument;
    int64_t pause_ms = 0;
    while (pause_ms >= 0 && !pause_for(registration, pause_ms))
        pause_ms = one_life(registration);
    return NULL;
}

int registration_check(const struct registration_config *config, struct err *err)
{
    size_t dir_len = strlen(config->dir);
    size_t len = dir_len + strlen(config->driver_name) + strlen("/" SOCKET_SUFFIX);
    if (strncmp(config->socket, config->dir, dir_len) == 0 && config->socket[dir_len] == '/')
        return err_set(err, ERR_INVALID,
                       "--endpoint: '%s' lies in '%s', where kubelet would take it for a registration socket",
                       config->socket, config->dir);
    if (len > SOCKET_PATH_MAX)
        return err_set(err, ERR_INVALID,
                       "--registration-dir: the path of the socket '%s/%s" SOCKET_SUFFIX
                       "' has %zu bytes, %zu are the most: use a shorter directory or driver name",
                       config->dir, config->driver_name, len, SOCKET_PATH_MAX);
    return config->dir_must_exist && check_dir(config->dir, err) != 0 ? err_prefix(err, "--registration-dir") : 0;
}

static int thread_start(struct registration *registration, struct err *err)
{
    registration->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (registration->event < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot make an event");
    int failed = pthread_create(&registration->thread, NULL, registration_thread, registration);
    if (failed)
        close(registration->event);
    return failed ? err_set_errno(err, ERR_UNAVAILABLE, failed, "cannot start the registration's thread") : 0;
}

struct registration *registration_new(const struct registration_config *config, struct err *err)
{
    struct registration *registration = mem_alloc(sizeof(*registration));
    *registration = (struct registration){.config = *config, .refused_ms = REFUSED_MIN_MS};
    registration->service = (struct registration_service){
        config->driver_name, config->endpoint ? config->endpoint : config->socket, on_asked, on_status, registration};
    if (config->silence_ms == 0)
        registration->config.silence_ms = SILENCE_MS;
    registration_service_methods(&registration->service, registration->methods);
    pthread_mutex_init(&registration->locked.mutex, NULL);
    snprintf(registration->path, sizeof(registration->path), "%s/%s" SOCKET_SUFFIX, config->dir, config->driver_name);
    if (registration_check(config, err) == 0 && thread_start(registration, err) == 0)
        return registration;
    pthread_mutex_destroy(&registration->locked.mutex);
    free(registration);
    return NULL;
}

void registration_free(struct registration *registration)
{
    if (!registration)
        return;
    pthread_mutex_lock(&registration->locked.mutex);
    registration->locked.stop = true;
    pthread_mutex_unlock(&registration->locked.mutex);
    eventfd_write(registration->event, 1);
    pthread_join(registration->thread, NULL);
    close(registration->event);
    pthread_mutex_destroy(&registration->locked.mutex);
    free(registration);
}
