#include "cachecore/fetcher.h"

#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/process.h"

#define PROGRESS_MS 500
#define JOB_STACK ((size_t)512 << 10)

struct job {
    struct job *next;
    struct loop *loop;
    struct wire_order order;
    int fds[2];
    struct arena *arena;
    struct identity *identity;
    struct fill_progress progress;
    struct wire_report last; /* as it was last reported */
    atomic_bool cancel;
};

struct loop {
    int channel;
    fetcher_run run;
    void *context;
    struct {
        pthread_mutex_t mutex;
        struct job *jobs;
        size_t count;
    } locked;
};

static void job_free(struct job *job)
{
    wire_order_deinit(&job->order);
    identity_free(job->identity);
    closep(&job->fds[0]);
    closep(&job->fds[1]);
    arena_wipe_free(job->arena);
    free(job);
}

static void report_send(const struct loop *loop, const struct wire_report *report, int fd)
{
    _cleanup_(str_deinitp) struct str packet = STR_INIT;
    struct err ignored = ERR_INIT; /* who does not listen has died, and end of file follows */
    wire_report_pack(report, &packet);
    channel_send(loop->channel, packet.data, packet.len, &fd, fd >= 0 ? 1 : 0, &ignored);
}

static void failure_send(const struct loop *loop, uint64_t id, const struct err *failure)
{
    struct wire_report report = {.kind = WIRE_FAILED, .job = id, .failure = *failure};
    report_send(loop, &report, -1);
}

static void job_unlink(struct loop *loop, const struct job *job)
{
    pthread_mutex_lock(&loop->locked.mutex);
    struct job **at = &loop->locked.jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    size_t left = --loop->locked.count;
    pthread_mutex_unlock(&loop->locked.mutex);
    if (left == 0)
        malloc_trim(0);
}

static struct wire_report progress_read(const struct job *job)
{
    return (struct wire_report){.kind = WIRE_PROGRESS,
                                .job = job->order.job,
                                .stage = (enum fill_stage)atomic_load(&job->progress.stage),
                                .bytes_done = atomic_load(&job->progress.bytes_done),
                                .bytes_total = atomic_load(&job->progress.bytes_total),
                                .bytes_fetched = atomic_load(&job->progress.bytes_fetched),
                                .inputs = atomic_load(&job->progress.inputs),
                                .store_size_bytes = atomic_load(&job->progress.store_size_bytes),
                                .store_free_bytes = atomic_load(&job->progress.store_free_bytes)};
}

static bool progress_changed(const struct wire_report *now, const struct wire_report *last)
{
    return now->stage != last->stage || now->bytes_done != last->bytes_done || now->bytes_total != last->bytes_total ||
           now->bytes_fetched != last->bytes_fetched || now->inputs != last->inputs ||
           now->store_free_bytes != last->store_free_bytes;
}

/* The mutex keeps a fill's reports in order. */
static void progress_report_locked(struct loop *loop, struct job *job)
{
    struct wire_report report = progress_read(job);
    if (progress_changed(&report, &job->last))
        report_send(loop, &report, -1);
    job->last = report;
}

static void job_run(struct job *job)
{
    struct fill_result result = {.inputs = NULL};
    struct err err = ERR_INIT;
    const struct fetcher_job view = {.order = &job->order,
                                     .identity = job->identity,
                                     .store_fd = job->fds[0],
                                     .local_store_fd = job->fds[1],
                                     .arena = job->arena,
                                     .progress = &job->progress,
                                     .cancel = &job->cancel};
    _cleanup_(closep) int fd = -1;
    if (job->loop->run(job->loop->context, &view, &result, &err) == 0)
        fd = wire_result_seal(&result, &err);
    fill_result_deinit(&result);
    /* What was fetched in the end is counted by the other side. */
    pthread_mutex_lock(&job->loop->locked.mutex);
    progress_report_locked(job->loop, job);
    pthread_mutex_unlock(&job->loop->locked.mutex);
    if (fd < 0) {
        failure_send(job->loop, job->order.job, &err);
        return;
    }
    struct wire_report report = {.kind = WIRE_DONE, .job = job->order.job};
    report_send(job->loop, &report, fd);
}

static void *job_thread(void *argument)
{
    struct job *job = argument;
    struct loop *loop = job->loop;
    job_run(job);
    job_unlink(loop, job);
    job_free(job);
    return NULL;
}

static int thread_start(struct job *job)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, JOB_STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int result = pthread_create(&thread, &attributes, job_thread, job);
    pthread_attr_destroy(&attributes);
    return result;
}

static bool job_link(struct loop *loop, struct job *job)
{
    pthread_mutex_lock(&loop->locked.mutex);
    bool fits = loop->locked.count < FETCHER_JOBS_MAX;
    if (fits) {
        job->next = loop->locked.jobs;
        loop->locked.jobs = job;
        loop->locked.count++;
    }
    pthread_mutex_unlock(&loop->locked.mutex);
    return fits;
}

static void job_start(struct loop *loop, struct job *job)
{
    struct err err = ERR_INIT;
    uint64_t id = job->order.job;
    if (!job_link(loop, job)) {
        err_set(&err, ERR_EXHAUSTED, "%u fills are running already", FETCHER_JOBS_MAX);
    } else {
        int result = thread_start(job);
        if (result == 0)
            return;
        job_unlink(loop, job);
        err_set_errno(&err, ERR_UNAVAILABLE, result, "cannot start a thread for the fill");
    }
    job_free(job);
    failure_send(loop, id, &err);
}

static void job_cancel(struct loop *loop, uint64_t id)
{
    pthread_mutex_lock(&loop->locked.mutex);
    for (struct job *job = loop->locked.jobs; job; job = job->next) {
        if (job->order.job == id)
            atomic_store(&job->cancel, true);
    }
    pthread_mutex_unlock(&loop->locked.mutex);
}

/* A job that has ended meanwhile needs no new secrets. */
static void job_renew(struct loop *loop, const struct wire_order *order)
{
    pthread_mutex_lock(&loop->locked.mutex);
    for (struct job *job = loop->locked.jobs; job; job = job->next) {
        if (job->order.job == order->job)
            identity_renew(job->identity, &order->secrets, &order->tokens);
    }
    pthread_mutex_unlock(&loop->locked.mutex);
}

static int order_handle(struct loop *loop, struct job *job, size_t fd_count, struct err *err)
{
    if (job->order.kind != WIRE_START && fd_count == 0) {
        if (job->order.kind == WIRE_CANCEL)
            job_cancel(loop, job->order.job);
        else
            job_renew(loop, &job->order);
        job_free(job);
        return 0;
    }
    if (job->order.kind != WIRE_START || fd_count != (job->order.has_local ? 2u : 1u)) {
        job_free(job);
        return err_set(err, ERR_CORRUPT, "an order came with %zu descriptors", fd_count);
    }
    job->identity = identity_new(&job->order.facts, &job->order.secrets, &job->order.tokens);
    wire_order_deinit(&job->order); /* the identity has them now, and the newest ones later */
    job_start(loop, job);
    return 0;
}

static int packet_handle(struct loop *loop, const void *data, size_t len, const int *fds, size_t fd_count,
                         struct err *err)
{
    struct job *job = mem_alloc(sizeof(*job));
    job->loop = loop;
    job->arena = arena_new();
    job->fds[0] = fd_count > 0 ? fds[0] : -1;
    job->fds[1] = fd_count > 1 ? fds[1] : -1;
    if (wire_order_parse(job->arena, data, len, &job->order, err) != 0) {
        job_free(job);
        return -1;
    }
    return order_handle(loop, job, fd_count, err);
}

/* Sends under the lock: the other side's reader never waits for us. Returns how many fills there are. */
static size_t progress_send(struct loop *loop)
{
    pthread_mutex_lock(&loop->locked.mutex);
    for (struct job *job = loop->locked.jobs; job; job = job->next)
        progress_report_locked(loop, job);
    size_t count = loop->locked.count;
    pthread_mutex_unlock(&loop->locked.mutex);
    return count;
}

/* 1: go on, 0: end of file, -1: error. */
static int order_receive(struct loop *loop, char *buffer, int64_t deadline_ms, struct err *err)
{
    int fds[2];
    size_t fd_count;
    struct err receive_err = ERR_INIT;
    ssize_t len = channel_receive(loop->channel, buffer, WIRE_PACKET_MAX, fds, 2, &fd_count, deadline_ms, &receive_err);
    if (len < 0 && receive_err.code == ERR_DEADLINE)
        return 1;
    if (len < 0) {
        *err = receive_err;
        return -1;
    }
    if (len == 0)
        return 0;
    int result = packet_handle(loop, buffer, (size_t)len, fds, fd_count, err);
    explicit_bzero(buffer, (size_t)len);
    return result == 0 ? 1 : -1;
}

int fetcher_serve(int channel, fetcher_run run, void *context, struct err *err)
{
    /* Not freed: fills may outlive this call, until the process ends. */
    struct loop *loop = mem_alloc(sizeof(*loop));
    *loop = (struct loop){.channel = channel, .run = run, .context = context};
    pthread_mutex_init(&loop->locked.mutex, NULL);
    char *buffer = mem_alloc(WIRE_PACKET_MAX);
    const struct wire_report hello = {.kind = WIRE_HELLO};
    report_send(loop, &hello, -1);
    int result;
    int64_t due_ms = 0;
    size_t jobs = 0;
    do {
        result = order_receive(loop, buffer, jobs > 0 ? due_ms : CLOCK_NEVER, err);
        if (clock_monotonic_ms() < due_ms && jobs > 0)
            continue;
        jobs = progress_send(loop);
        due_ms = clock_monotonic_ms() + PROGRESS_MS;
    } while (result > 0);
    free(buffer);
    return result;
}
