#include "csi/fills_job.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define RATE_BYTES_MIN ((uint64_t)1 << 20)

struct fills_job *fills_job_find_locked(struct fills *fills, const char *volume_id)
{
    struct fills_job *job = fills->locked.jobs;
    while (job && strcmp(job->volume_id, volume_id) != 0)
        job = job->next;
    return job;
}

struct fills_job *fills_job_by_id_locked(struct fills *fills, uint64_t id)
{
    struct fills_job *job = fills->locked.jobs;
    while (job && job->id != id)
        job = job->next;
    return job;
}

static void job_release(struct fills_job *job)
{
    wire_wipe(&job->packet);
    wire_wipe(&job->renewal);
    for (size_t i = 0; i < 2; i++) {
        closep(&job->fds[i]);
        job->fds[i] = -1;
    }
}

static void job_free(struct fills_job *job)
{
    job_release(job);
    closep(&job->result_fd);
    free(job->volume_id);
    free(job->arguments);
    free(job->class_name);
    free(job);
}

static void maps_borrow(const struct fills_request *request, struct wire_order *order)
{
    if (request->secrets)
        order->secrets = *request->secrets;
    if (request->tokens)
        order->tokens = *request->tokens;
}

static void shown_digest(const struct fills_request *request, char out[SHA256_HEX])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    struct wire_order order = {.kind = WIRE_RENEW};
    maps_borrow(request, &order);
    identity_digest_map(&order.secrets, sha);
    sha256_field(sha, NULL, 0);
    identity_digest_map(&order.tokens, sha);
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
}

bool fills_job_is_of(const struct fills_job *job, const struct fills_request *request)
{
    char shown[SHA256_HEX];
    shown_digest(request, shown);
    return strcmp(shown, job->shown) == 0;
}

static int packet_build(const struct fills *fills, const struct fills_request *request, uint64_t id, struct str *out,
                        struct err *err)
{
    char volume[SHA256_HEX];
    digest_sha256_hex(request->volume_id, strlen(request->volume_id), volume);
    struct wire_order order = {.kind = WIRE_START,
                               .job = id,
                               .inputs = request->inputs,
                               .inputs_from = request->inputs_from,
                               .volume = volume,
                               .node = fills->node,
                               .has_local = request->local_store_fd >= 0,
                               .rules = *request->class};
    if (request->facts)
        order.facts = *request->facts;
    maps_borrow(request, &order);
    return wire_order_pack(&order, out, err);
}

bool fills_job_renew_locked(const struct fills *fills, struct fills_job *job, const struct fills_request *request,
                            struct err *err)
{
    char shown[SHA256_HEX];
    struct str packet = STR_INIT;
    struct str renewal = STR_INIT;
    struct wire_order order = {.kind = WIRE_RENEW, .job = job->id};
    shown_digest(request, shown);
    if (job->state != FILLS_RUNNING || strcmp(shown, job->shown) == 0)
        return false;
    maps_borrow(request, &order);
    if (packet_build(fills, request, job->id, &packet, err) != 0 || wire_order_pack(&order, &renewal, err) != 0) {
        wire_wipe(&packet);
        return false;
    }
    wire_wipe(&job->packet);
    wire_wipe(&job->renewal);
    job->packet = packet;
    job->renewal = renewal;
    job->version++;
    memcpy(job->shown, shown, sizeof(shown));
    return true;
}

static int stores_hold(const struct fills_request *request, struct fills_job *job, struct err *err)
{
    const int from[2] = {request->store_fd, request->local_store_fd};
    job->fd_count = request->local_store_fd >= 0 ? 2 : 1;
    for (size_t i = 0; i < job->fd_count; i++) {
        job->fds[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3);
        if (job->fds[i] < 0)
            return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot hold the store's directory");
    }
    return 0;
}

struct fills_job *fills_job_new_locked(struct fills *fills, const struct fills_request *request, struct err *err)
{
    if (fills->locked.running >= fills->config.fills_max) {
        err_set(err, ERR_EXHAUSTED, "%zu fills are running on this node, as many as may be; try again later",
                fills->locked.running);
        return NULL;
    }
    struct fills_job *job = mem_alloc(sizeof(*job));
    *job = (struct fills_job){.id = ++fills->locked.last_id, .fds = {-1, -1}, .result_fd = -1, .linked = true};
    job->volume_id = mem_strdup(request->volume_id);
    job->arguments = mem_strdup(request->arguments);
    job->max_files = request->class->max_files;
    job->class_name = mem_strdup(metrics_class(request->class->name));
    job->has_share = request->class->share != NULL;
    shown_digest(request, job->shown);
    job->started_ms = job->watched_ms = clock_monotonic_ms();
    if (packet_build(fills, request, job->id, &job->packet, err) != 0 || stores_hold(request, job, err) != 0) {
        job_free(job);
        return NULL;
    }
    job->next = fills->locked.jobs;
    fills->locked.jobs = job;
    fills->locked.running++;
    return job;
}

static void job_unlink(struct fills *fills, struct fills_job *job)
{
    if (!job->linked)
        return;
    struct fills_job **at = &fills->locked.jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job->linked = false;
}

void fills_job_progress_locked(struct fills *fills, struct fills_job *job, const struct wire_report *report)
{
    struct metrics *metrics = fills->config.metrics;
    progress_add(&job->progress, report, clock_monotonic_ms());
    if (report->bytes_fetched > job->bytes_seen) {
        job->bytes_fetched += report->bytes_fetched - job->bytes_seen;
        metrics_add(metrics, METRIC_FILL_BYTES, (double)(report->bytes_fetched - job->bytes_seen), job->class_name,
                    NULL);
        job->bytes_seen = report->bytes_fetched;
    }
    if (job->has_share && report->store_size_bytes > 0) {
        metrics_set(metrics, METRIC_SHARE_SIZE, (double)report->store_size_bytes, job->class_name, NULL);
        metrics_set(metrics, METRIC_SHARE_FREE, (double)report->store_free_bytes, job->class_name, NULL);
    }
}

static void end_count(struct metrics *metrics, const struct fills_job *job)
{
    double seconds = (double)(job->ended_ms - job->started_ms) / 1000;
    bool is_cancelled = job->cancelled || (job->state == FILLS_FAILED && job->failure.code == ERR_CANCELLED);
    const char *result = job->state == FILLS_DONE ? "done" : is_cancelled ? "cancelled" : "failed";
    metrics_observe(metrics, METRIC_FILL_SECONDS, seconds, job->class_name, result, NULL);
    if (job->state == FILLS_FAILED && !is_cancelled)
        metrics_add(metrics, METRIC_FILL_FAILURES, 1, job->class_name, metrics_cause(job->failure.code), NULL);
    if (job->state == FILLS_DONE && job->bytes_fetched >= RATE_BYTES_MIN && seconds > 0)
        metrics_observe(metrics, METRIC_FILL_RATE, (double)job->bytes_fetched / seconds, job->class_name, NULL);
}

/* Those who wait now take the end with them; without any it is kept for the next call. */
static void job_end(struct fills *fills, struct fills_job *job, enum fills_state state)
{
    job->state = state;
    job->ended_ms = clock_monotonic_ms();
    fills->locked.running--;
    job_release(job);
    end_count(fills->config.metrics, job);
    for (struct fills_waiter *waiter = job->waiters; waiter; waiter = waiter->next) {
        uint64_t one = 1;
        /* An eventfd that nobody has read takes any number of ones. */
        while (write(waiter->event, &one, sizeof(one)) < 0 && errno == EINTR)
            continue;
    }
    if (job->waiters || job->cancelled)
        fills_job_forget_locked(fills, job);
}

void fills_job_done_locked(struct fills *fills, struct fills_job *job, int result_fd)
{
    job->result_fd = result_fd;
    job_end(fills, job, FILLS_DONE);
}

void fills_job_fail_locked(struct fills *fills, struct fills_job *job, const struct err *failure)
{
    job->failure = *failure;
    job_end(fills, job, FILLS_FAILED);
}

void fills_job_cancel_locked(struct fills *fills, struct fills_job *job)
{
    job->cancelled = true;
    if (fills->locked.channel >= 0 && job->sent_generation == fills->locked.generation)
        return;
    struct err err = ERR_INIT;
    err_set(&err, ERR_CANCELLED, "the fill was cancelled");
    fills_job_fail_locked(fills, job, &err);
}

void fills_job_forget_locked(struct fills *fills, struct fills_job *job)
{
    job_unlink(fills, job);
    if (!job->waiters)
        job_free(job);
}

void fills_waiter_remove_locked(struct fills *fills, struct fills_job *job, struct fills_waiter *waiter)
{
    struct fills_waiter **at = &job->waiters;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    job->watched_ms = clock_monotonic_ms();
    if (!job->waiters && (!job->linked || job->state != FILLS_RUNNING))
        fills_job_forget_locked(fills, job);
}

uint64_t fills_sweep_locked(struct fills *fills, int64_t now_ms)
{
    for (struct fills_job *job = fills->locked.jobs, *next; job; job = next) {
        next = job->next;
        if (job->waiters || job->cancelled)
            continue;
        if (job->state != FILLS_RUNNING && now_ms - job->ended_ms > FILLS_KEEP_MS) {
            fills_job_forget_locked(fills, job);
        } else if (job->state == FILLS_RUNNING && now_ms - job->watched_ms > FILLS_UNWATCHED_MS) {
            job->cancelled = true;
            return job->id;
        }
    }
    return 0;
}
