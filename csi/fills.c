#include "csi/fills.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "csi/fills_job.h"

static void fills_destroy(struct fills *fills)
{
    closep(&fills->stop_event);
    pthread_cond_destroy(&fills->locked.started);
    pthread_mutex_destroy(&fills->locked.mutex);
    free(fills->node);
    free(fills);
}

static int start_await(struct fills *fills, struct err *err)
{
    pthread_mutex_lock(&fills->locked.mutex);
    while (!fills->locked.start_done)
        pthread_cond_wait(&fills->locked.started, &fills->locked.mutex);
    bool failed = fills->locked.start_error.code != ERR_NONE;
    if (failed)
        *err = fills->locked.start_error;
    pthread_mutex_unlock(&fills->locked.mutex);
    return failed ? -1 : 0;
}

struct fills *fills_new(const struct fills_config *config, struct err *err)
{
    int stop_event = eventfd(0, EFD_CLOEXEC);
    if (stop_event < 0) {
        err_set_errno(err, ERR_NONE, errno, "cannot make an event");
        return NULL;
    }
    struct fills *fills = mem_alloc(sizeof(*fills));
    *fills = (struct fills){.config = *config, .stop_event = stop_event, .process = PROCESS_INIT};
    fills->node = mem_strdup(config->node);
    fills->locked.channel = -1;
    pthread_mutex_init(&fills->locked.mutex, NULL);
    thread_cond_init(&fills->locked.started);
    int result = pthread_create(&fills->thread, NULL, fills_thread, fills);
    if (result != 0) {
        err_set_errno(err, ERR_UNAVAILABLE, result, "cannot start a thread");
        fills_destroy(fills);
        return NULL;
    }
    if (start_await(fills, err) != 0) {
        fills_free(fills);
        return NULL;
    }
    return fills;
}

static void jobs_end(struct fills *fills)
{
    struct err stopped = ERR_INIT;
    err_set(&stopped, ERR_UNAVAILABLE, "the plugin is stopping");
    while (fills->locked.jobs) {
        struct fills_job *job = fills->locked.jobs;
        assert(!job->waiters);
        if (job->state == FILLS_RUNNING)
            fills_job_fail_locked(fills, job, &stopped);
        if (fills->locked.jobs == job)
            fills_job_forget_locked(fills, job);
    }
}

void fills_free(struct fills *fills)
{
    if (!fills)
        return;
    uint64_t one = 1;
    pthread_mutex_lock(&fills->locked.mutex);
    fills->locked.stopping = true;
    pthread_mutex_unlock(&fills->locked.mutex);
    while (write(fills->stop_event, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
    pthread_join(fills->thread, NULL);
    jobs_end(fills);
    fills_destroy(fills);
}

/* Finds or starts the volume's job. NULL with err set. */
static struct fills_job *job_join_locked(struct fills *fills, const struct fills_request *request, struct err *err)
{
    struct fills_job *job = fills_job_find_locked(fills, request->volume_id);
    bool same = job && strcmp(job->arguments, request->arguments) == 0;
    if (job && job->state != FILLS_RUNNING && (!same || !fills_job_is_of(job, request))) {
        fills_job_forget_locked(fills, job);
        job = NULL;
    }
    if (!job)
        return fills_job_new_locked(fills, request, err);
    if (job->cancelled)
        err_set(err, ERR_BUSY, "an earlier fill of this volume is being cancelled; try again");
    else if (!same)
        err_set(err, ERR_EXISTS, "this volume is being filled with other inputs, class or secrets");
    else
        return job;
    return NULL;
}

static void waiter_wait(const struct fills_waiter *waiter, int cancel_fd, int64_t deadline_ms)
{
    struct pollfd fds[2] = {{.fd = waiter->event, .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
    int ready;
    do {
        ready = poll(fds, 2, clock_poll_timeout(deadline_ms));
    } while (ready < 0 && errno == EINTR);
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&poll_fd, 1, 0) > 0;
}

static int busy_locked(const struct fills_job *job, int cancel_fd, struct err *err)
{
    if (is_readable(cancel_fd))
        return err_set(err, ERR_CANCELLED, "the caller has gone; the fill goes on");
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    progress_text(&job->progress, clock_monotonic_ms(), &text);
    return err_set(err, ERR_BUSY, "%s", text.data);
}

static void result_convert(const struct fill_result *from, struct arena *arena, struct fills_result *out)
{
    out->count = from->count;
    out->inputs = arena_calloc(arena, from->count, sizeof(*out->inputs));
    for (size_t i = 0; i < from->count; i++) {
        const struct fill_input_result *input = &from->inputs[i];
        struct fills_input *to = &out->inputs[i];
        *to = (struct fills_input){.place = input->place,
                                   .is_file = input->is_file,
                                   .display = input->display,
                                   .list = input->list,
                                   .bytes_hit = input->bytes_hit,
                                   .bytes_missed = input->bytes_missed};
        memcpy(to->snapshot, input->snapshot, sizeof(to->snapshot));
    }
}

static int result_read(int fd, uint64_t max_files, struct arena *arena, struct fills_result *out, struct err *err)
{
    struct fill_result result;
    if (wire_result_read(fd, max_files, arena, &result, err) != 0)
        return -1;
    result_convert(&result, arena, out);
    return 0;
}

/* What became of the job: a copy of the result's descriptor in *result_fd, or -1. */
static int outcome_take_locked(const struct fills_job *job, int cancel_fd, int *result_fd, struct fills_result *out,
                               struct err *err)
{
    if (job->state == FILLS_RUNNING)
        return busy_locked(job, cancel_fd, err);
    if (job->state == FILLS_FAILED) {
        *err = job->failure;
        return -1;
    }
    *result_fd = dup(job->result_fd);
    if (*result_fd < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot take the fill's result");
    out->bytes_fetched = job->bytes_fetched;
    out->started_ms = job->started_ms;
    return 0;
}

int fills_wait(struct fills *fills, const struct fills_request *request, const struct rpc_call *call,
               int64_t deadline_ms, struct arena *arena, struct fills_result *out, struct err *err)
{
    _cleanup_(closep) int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot make an event");
    _cleanup_(closep) int result_fd = -1;
    struct fills_waiter waiter = {.event = event};
    struct err renewal = ERR_INIT;
    pthread_mutex_lock(&fills->locked.mutex);
    struct fills_job *job = job_join_locked(fills, request, err);
    bool renews = job && fills_job_renew_locked(fills, job, request, &renewal);
    if (renewal.code != ERR_NONE) {
        *err = renewal;
        job = NULL;
    }
    if (!job) {
        pthread_mutex_unlock(&fills->locked.mutex);
        return -1;
    }
    waiter.next = job->waiters;
    job->waiters = &waiter;
    bool ended = job->state != FILLS_RUNNING;
    uint64_t id = job->id;
    pthread_mutex_unlock(&fills->locked.mutex);

    if (!ended) {
        fills_send_start(fills, id);
        if (renews)
            fills_send_renewal(fills, id);
        waiter_wait(&waiter, call->cancel_fd, deadline_ms);
    }
    pthread_mutex_lock(&fills->locked.mutex);
    uint64_t max_files = job->max_files;
    int result = outcome_take_locked(job, call->cancel_fd, &result_fd, out, err);
    fills_waiter_remove_locked(fills, job, &waiter);
    pthread_mutex_unlock(&fills->locked.mutex);
    return result == 0 ? result_read(result_fd, max_files, arena, out, err) : -1;
}

int64_t fills_started_ms(struct fills *fills, const char *volume_id)
{
    pthread_mutex_lock(&fills->locked.mutex);
    const struct fills_job *job = fills_job_find_locked(fills, volume_id);
    int64_t started_ms = job ? job->started_ms : clock_monotonic_ms();
    pthread_mutex_unlock(&fills->locked.mutex);
    return started_ms;
}

size_t fills_running(struct fills *fills)
{
    pthread_mutex_lock(&fills->locked.mutex);
    size_t running = fills->locked.running;
    pthread_mutex_unlock(&fills->locked.mutex);
    return running;
}

void fills_cancel(struct fills *fills, const char *volume_id, int64_t deadline_ms)
{
    struct fills_waiter waiter = {.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_lock(&fills->locked.mutex);
    struct fills_job *job = fills_job_find_locked(fills, volume_id);
    if (job && job->state != FILLS_RUNNING) {
        fills_job_forget_locked(fills, job);
        job = NULL;
    }
    uint64_t id = job ? job->id : 0;
    if (job) {
        waiter.next = job->waiters;
        job->waiters = &waiter;
        fills_job_cancel_locked(fills, job);
    }
    pthread_mutex_unlock(&fills->locked.mutex);
    if (job) {
        fills_send_cancel(fills, id);
        waiter_wait(&waiter, -1, deadline_ms);
        pthread_mutex_lock(&fills->locked.mutex);
        fills_waiter_remove_locked(fills, job, &waiter);
        pthread_mutex_unlock(&fills->locked.mutex);
    }
    closep(&waiter.event);
}
