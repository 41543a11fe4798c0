#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/fills_job.h"

#define HELLO_MS 10000
#define KILL_MS 2000
#define HEALTHY_MS 10000
#define BACKOFF_MS 100
#define BACKOFF_MAX_MS 10000

/* The thread's own state; it starts every fetcher, because a child dies with the thread that forked it. */
struct runner {
    struct fills *fills;
    char *buffer;
    unsigned failures; /* in a row, without a healthy run between */
    int64_t started_ms;
};

/* A packet for the fetcher with what it takes to send it without the mutex. */
struct parcel {
    struct str packet;
    int channel;
    int fds[2];
    size_t fd_count;
    uint64_t version; /* of the job's secrets and tokens */
};

static void parcel_send(struct parcel *parcel)
{
    struct err ignored = ERR_INIT; /* a fetcher that died is seen by the reader, which sends all again */
    if (parcel->channel >= 0)
        channel_send(parcel->channel, parcel->packet.data, parcel->packet.len, parcel->fds, parcel->fd_count, &ignored);
    wire_wipe(&parcel->packet);
    closep(&parcel->channel);
    closep(&parcel->fds[0]);
    closep(&parcel->fds[1]);
}

static void start_take_locked(struct fills *fills, struct fills_job *job, struct parcel *out)
{
    if (fills->locked.channel < 0 || job->state != FILLS_RUNNING || job->cancelled ||
        job->sent_generation == fills->locked.generation)
        return;
    job->sent_generation = fills->locked.generation;
    out->version = job->version;
    out->channel = fcntl(fills->locked.channel, F_DUPFD_CLOEXEC, 3);
    str_reserve(&out->packet, job->packet.len);
    str_append(&out->packet, job->packet.data, job->packet.len);
    out->fd_count = job->fd_count;
    for (size_t i = 0; i < job->fd_count; i++)
        out->fds[i] = fcntl(job->fds[i], F_DUPFD_CLOEXEC, 3);
    if (out->channel < 0 || out->fds[0] < 0 || (out->fd_count > 1 && out->fds[1] < 0)) {
        struct err err = ERR_INIT;
        err_set(&err, ERR_UNAVAILABLE, "no file descriptors are left to pass the fill on");
        out->fd_count = 0;
        closep(&out->channel);
        out->channel = -1;
        fills_job_fail_locked(fills, job, &err);
    }
}

void fills_send_cancel(struct fills *fills, uint64_t id)
{
    struct parcel parcel = {.packet = STR_INIT, .channel = -1, .fds = {-1, -1}};
    struct err ignored = ERR_INIT;
    const struct wire_order order = {.kind = WIRE_CANCEL, .job = id};
    wire_order_pack(&order, &parcel.packet, &ignored);
    pthread_mutex_lock(&fills->locked.mutex);
    if (fills->locked.channel >= 0)
        parcel.channel = fcntl(fills->locked.channel, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&fills->locked.mutex);
    parcel_send(&parcel);
}

static bool is_cancelled(struct fills *fills, uint64_t id)
{
    pthread_mutex_lock(&fills->locked.mutex);
    const struct fills_job *job = fills_job_by_id_locked(fills, id);
    bool cancelled = job && job->cancelled;
    pthread_mutex_unlock(&fills->locked.mutex);
    return cancelled;
}

/* False when the fetcher has what is newest, or none has the job. */
static bool renewal_take(struct fills *fills, uint64_t id, uint64_t version, struct parcel *out)
{
    pthread_mutex_lock(&fills->locked.mutex);
    const struct fills_job *job = fills_job_by_id_locked(fills, id);
    bool is_due = job && job->state == FILLS_RUNNING && job->version != version && fills->locked.channel >= 0 &&
                  job->sent_generation == fills->locked.generation;
    if (is_due) {
        out->version = job->version;
        out->channel = fcntl(fills->locked.channel, F_DUPFD_CLOEXEC, 3);
        str_reserve(&out->packet, job->renewal.len);
        str_append(&out->packet, job->renewal.data, job->renewal.len);
    }
    pthread_mutex_unlock(&fills->locked.mutex);
    return is_due;
}

/* Until nothing newer came while it was sent: orders of two threads may overtake each other. */
static void renewals_send(struct fills *fills, uint64_t id, uint64_t version)
{
    for (;;) {
        struct parcel parcel = {.packet = STR_INIT, .channel = -1, .fds = {-1, -1}};
        if (!renewal_take(fills, id, version, &parcel))
            return;
        version = parcel.version;
        parcel_send(&parcel);
    }
}

void fills_send_renewal(struct fills *fills, uint64_t id)
{
    renewals_send(fills, id, 0);
}

void fills_send_start(struct fills *fills, uint64_t id)
{
    struct parcel parcel = {.packet = STR_INIT, .channel = -1, .fds = {-1, -1}};
    pthread_mutex_lock(&fills->locked.mutex);
    struct fills_job *job = fills_job_by_id_locked(fills, id);
    if (job)
        start_take_locked(fills, job, &parcel);
    pthread_mutex_unlock(&fills->locked.mutex);
    bool is_sent = parcel.channel >= 0;
    parcel_send(&parcel);
    if (is_sent)
        renewals_send(fills, id, parcel.version);
    /* Whoever cancelled between the taking and the sending was faster than the order that it cancels. */
    if (is_cancelled(fills, id))
        fills_send_cancel(fills, id);
}

static void send_outstanding(struct fills *fills)
{
    for (uint64_t after = 0;;) {
        uint64_t next = 0;
        pthread_mutex_lock(&fills->locked.mutex);
        for (struct fills_job *job = fills->locked.jobs; job; job = job->next) {
            if (job->state == FILLS_RUNNING && job->id > after && (next == 0 || job->id < next))
                next = job->id;
        }
        pthread_mutex_unlock(&fills->locked.mutex);
        if (next == 0)
            return;
        fills_send_start(fills, next);
        after = next;
    }
}

static void report_apply_locked(struct fills *fills, const struct wire_report *report, int *fd)
{
    struct fills_job *job = fills_job_by_id_locked(fills, report->job);
    if (!job || job->state != FILLS_RUNNING)
        return;
    if (report->kind == WIRE_PROGRESS) {
        fills_job_progress_locked(fills, job, report);
    } else if (report->kind == WIRE_DONE && *fd >= 0) {
        fills_job_done_locked(fills, job, STEAL_FD(*fd));
    } else {
        struct err failure = report->failure;
        if (report->kind == WIRE_DONE)
            err_set(&failure, ERR_INTERNAL, "the fetcher's result came without its list");
        fills_job_fail_locked(fills, job, &failure);
    }
}

/* 1: a report was handled, 0: end of file or nonsense. */
static int report_receive(struct runner *runner, int64_t deadline_ms, bool *hello)
{
    struct err err = ERR_INIT;
    _cleanup_(closep) int fd = -1;
    size_t fd_count;
    struct wire_report report;
    struct fills *fills = runner->fills;
    ssize_t len =
        channel_receive(fills->process.channel, runner->buffer, WIRE_PACKET_MAX, &fd, 1, &fd_count, deadline_ms, &err);
    if (len == 0)
        return 0;
    if (len < 0 || wire_report_parse(runner->buffer, (size_t)len, &report, &err) != 0) {
        log_event(LOG_WARNING, "fetcher_refused", "error", err.message, NULL);
        return 0;
    }
    *hello = report.kind == WIRE_HELLO;
    if (*hello)
        return 1;
    pthread_mutex_lock(&fills->locked.mutex);
    report_apply_locked(fills, &report, &fd);
    pthread_mutex_unlock(&fills->locked.mutex);
    return 1;
}

static int process_begin(struct runner *runner, struct err *err)
{
    struct fills *fills = runner->fills;
    char id[16];
    snprintf(id, sizeof(id), "%u", (unsigned)fills->config.uid);
    const char *const argv[] = {"sharedcache",  "fetcher",         "--uid", id, "--gid", id,
                                "--log-format", log_format_name(), NULL};
    if (process_start(argv, &fills->process, err) != 0)
        return -1;
    int size = 2 * (int)WIRE_PACKET_MAX;
    setsockopt(fills->process.channel, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    bool hello = false;
    runner->started_ms = clock_monotonic_ms();
    if (report_receive(runner, runner->started_ms + HELLO_MS, &hello) == 1 && hello)
        return 0;
    process_kill(&fills->process, clock_monotonic_ms() + KILL_MS);
    return err_set(err, ERR_UNAVAILABLE, "the fetcher process did not come up (its own log line says why)");
}

static void start_tell(struct fills *fills, const struct err *err)
{
    pthread_mutex_lock(&fills->locked.mutex);
    if (!fills->locked.start_done) {
        fills->locked.start_done = true;
        fills->locked.start_error = *err;
        pthread_cond_broadcast(&fills->locked.started);
    }
    pthread_mutex_unlock(&fills->locked.mutex);
}

static void channel_open(struct fills *fills)
{
    pthread_mutex_lock(&fills->locked.mutex);
    fills->locked.channel = fills->process.channel;
    fills->locked.generation++;
    pthread_mutex_unlock(&fills->locked.mutex);
    send_outstanding(fills);
}

/* The fetcher has gone. Fills that it has killed too often are given up, cancelled ones have what they wanted. */
static void channel_close(struct fills *fills)
{
    struct err err = ERR_INIT;
    pthread_mutex_lock(&fills->locked.mutex);
    fills->locked.channel = -1;
    for (struct fills_job *job = fills->locked.jobs, *next; job; job = next) {
        next = job->next;
        if (job->state != FILLS_RUNNING || job->sent_generation != fills->locked.generation)
            continue;
        job->deaths++;
        job->bytes_seen = 0;
        if (job->cancelled) {
            err_set(&err, ERR_CANCELLED, "the fill was cancelled");
            fills_job_fail_locked(fills, job, &err);
        } else if (job->deaths >= FILLS_DEATHS_MAX) {
            err_set(&err, ERR_INTERNAL, "the fetcher process died %u times while it worked on this volume",
                    job->deaths);
            fills_job_fail_locked(fills, job, &err);
        }
    }
    pthread_mutex_unlock(&fills->locked.mutex);
}

static int next_wake_ms(struct fills *fills)
{
    pthread_mutex_lock(&fills->locked.mutex);
    int timeout = fills->locked.jobs ? FILLS_SWEEP_MS : -1;
    pthread_mutex_unlock(&fills->locked.mutex);
    return timeout;
}

static void sweep(struct fills *fills)
{
    pthread_mutex_lock(&fills->locked.mutex);
    uint64_t stale = fills_sweep_locked(fills, clock_monotonic_ms());
    pthread_mutex_unlock(&fills->locked.mutex);
    if (stale != 0)
        fills_send_cancel(fills, stale);
}

/* Reads reports until the fetcher ends (true) or the plugin stops (false). */
static bool reports_read(struct runner *runner)
{
    struct fills *fills = runner->fills;
    for (;;) {
        struct pollfd fds[2] = {{.fd = fills->process.channel, .events = POLLIN},
                                {.fd = fills->stop_event, .events = POLLIN}};
        int ready = poll(fds, 2, next_wake_ms(fills));
        bool hello;
        if (fds[1].revents != 0)
            return false;
        if (ready > 0 && fds[0].revents != 0 && report_receive(runner, CLOCK_NEVER, &hello) == 0)
            return true;
        sweep(fills);
    }
}

/* False when the plugin stops meanwhile. */
static bool backoff_wait(struct runner *runner)
{
    if (runner->failures == 0)
        return true;
    unsigned shift = runner->failures < 8 ? runner->failures - 1 : 7;
    int wait_ms = BACKOFF_MS << shift;
    if (wait_ms > BACKOFF_MAX_MS)
        wait_ms = BACKOFF_MAX_MS;
    int64_t until_ms = clock_monotonic_ms() + wait_ms;
    struct pollfd stop = {.fd = runner->fills->stop_event, .events = POLLIN};
    int ready;
    do {
        ready = poll(&stop, 1, clock_poll_timeout(until_ms));
    } while (ready < 0 && errno == EINTR);
    return ready == 0;
}

static bool process_run(struct runner *runner)
{
    struct fills *fills = runner->fills;
    channel_open(fills);
    bool died = reports_read(runner);
    channel_close(fills);
    process_kill(&fills->process, clock_monotonic_ms() + KILL_MS);
    process_reap_abandoned();
    bool healthy = clock_monotonic_ms() - runner->started_ms >= HEALTHY_MS;
    runner->failures = healthy ? 0 : runner->failures + 1;
    if (died) {
        log_event(LOG_WARNING, "fetcher_restarted", "error", "the fetcher process ended", NULL);
        metrics_add(fills->config.metrics, METRIC_FETCHER_RESTARTS, 1, NULL);
    }
    return died;
}

void *fills_thread(void *argument)
{
    struct fills *fills = argument;
    struct runner runner = {.fills = fills, .buffer = mem_alloc(WIRE_PACKET_MAX)};
    bool go_on = true;
    while (go_on && backoff_wait(&runner)) {
        struct err err = ERR_INIT;
        int started = process_begin(&runner, &err);
        bool is_first = !fills->locked.start_done; /* only this thread writes it */
        start_tell(fills, &err);
        if (started == 0) {
            go_on = process_run(&runner);
        } else {
            log_event(LOG_ERROR, "fetcher_failed", "error", err.message, NULL);
            runner.failures++;
            go_on = !is_first;
        }
    }
    free(runner.buffer);
    return NULL;
}
