#include "mount/runner.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/thread.h"

#define BUCKETS_MAX 4096
#define HELPERS_IDLE_MAX 2
#define KILL_WAIT_MS 500
#define UNDO_MORE 2 /* unmounting must be possible where mounting is refused */

struct bucket {
    char *name;
    unsigned users; /* jobs that run or wait; an entry without users or hanging helpers is free */
    unsigned running;
    int *hanging; /* pidfds of abandoned helpers */
    size_t hanging_count;
};

struct runner {
    unsigned helpers_max;
    pthread_cond_t changed;
    struct {
        pthread_mutex_t mutex;
        struct bucket **buckets;
        size_t bucket_count;
        struct process idle[HELPERS_IDLE_MAX];
        size_t idle_count;
    } locked;
};

struct runner *runner_new(unsigned helpers_max)
{
    struct runner *runner = mem_alloc(sizeof(*runner));
    runner->helpers_max = helpers_max;
    thread_cond_init(&runner->changed);
    pthread_mutex_init(&runner->locked.mutex, NULL);
    return runner;
}

static void bucket_free(struct bucket *bucket)
{
    for (size_t i = 0; i < bucket->hanging_count; i++)
        close(bucket->hanging[i]);
    free(bucket->hanging);
    free(bucket->name);
    free(bucket);
}

/* An idle helper ends at end of file; waiting for it is short. */
static void helper_dismiss(struct process *helper)
{
    closep(&helper->channel);
    helper->channel = -1;
    process_kill(helper, clock_monotonic_ms() + KILL_WAIT_MS);
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    for (size_t i = 0; i < runner->locked.idle_count; i++)
        helper_dismiss(&runner->locked.idle[i]);
    for (size_t i = 0; i < runner->locked.bucket_count; i++) {
        assert(runner->locked.buckets[i]->users == 0);
        bucket_free(runner->locked.buckets[i]);
    }
    free(runner->locked.buckets);
    pthread_mutex_destroy(&runner->locked.mutex);
    pthread_cond_destroy(&runner->changed);
    free(runner);
}

static bool has_ended(int pidfd)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) != 0;
}

/* Forgets the helpers that came back from the kernel meanwhile. */
static void bucket_refresh_locked(struct bucket *bucket)
{
    size_t kept = 0;
    for (size_t i = 0; i < bucket->hanging_count; i++) {
        if (has_ended(bucket->hanging[i]))
            close(bucket->hanging[i]);
        else
            bucket->hanging[kept++] = bucket->hanging[i];
    }
    bucket->hanging_count = kept;
}

static struct bucket *bucket_find_locked(struct runner *runner, const char *name)
{
    for (size_t i = 0; i < runner->locked.bucket_count; i++) {
        if (strcmp(runner->locked.buckets[i]->name, name) == 0)
            return runner->locked.buckets[i];
    }
    return NULL;
}

static void buckets_sweep_locked(struct runner *runner)
{
    size_t kept = 0;
    for (size_t i = 0; i < runner->locked.bucket_count; i++) {
        struct bucket *bucket = runner->locked.buckets[i];
        bucket_refresh_locked(bucket);
        if (bucket->users == 0 && bucket->hanging_count == 0)
            bucket_free(bucket);
        else
            runner->locked.buckets[kept++] = bucket;
    }
    runner->locked.bucket_count = kept;
}

static struct bucket *bucket_get_locked(struct runner *runner, const char *name, struct err *err)
{
    process_reap_abandoned();
    buckets_sweep_locked(runner);
    struct bucket *bucket = bucket_find_locked(runner, name);
    if (bucket)
        return bucket;
    if (runner->locked.bucket_count == BUCKETS_MAX) {
        err_set(err, ERR_EXHAUSTED, "more than %d mounts are being changed at a time", BUCKETS_MAX);
        return NULL;
    }
    size_t count = runner->locked.bucket_count + 1;
    runner->locked.buckets = mem_realloc(runner->locked.buckets, count * sizeof(struct bucket *));
    bucket = mem_alloc(sizeof(*bucket));
    bucket->name = mem_strdup(name);
    runner->locked.buckets[runner->locked.bucket_count++] = bucket;
    return bucket;
}

static int bucket_wait_locked(struct runner *runner, struct bucket *bucket, const struct job *job, struct err *err)
{
    size_t hanging_max = runner->helpers_max + (job->undoes ? UNDO_MORE : 0);
    for (;;) {
        bucket_refresh_locked(bucket);
        if (bucket->hanging_count >= hanging_max)
            return err_set(
                err, ERR_UNAVAILABLE,
                "%s does not answer: %zu earlier attempts still hang in the kernel; the server must come back, "
                "or the node be restarted",
                job->what, bucket->hanging_count);
        if (bucket->running < job->parallel)
            return 0;
        if (!thread_cond_wait(&runner->changed, &runner->locked.mutex, job->deadline_ms))
            return err_set(err, ERR_DEADLINE, "%s is being changed by another call", job->what);
    }
}

static struct bucket *bucket_enter(struct runner *runner, const struct job *job, struct err *err)
{
    pthread_mutex_lock(&runner->locked.mutex);
    struct bucket *bucket = bucket_get_locked(runner, job->bucket, err);
    if (bucket) {
        bucket->users++;
        if (bucket_wait_locked(runner, bucket, job, err) == 0) {
            bucket->running++;
        } else {
            bucket->users--;
            bucket = NULL;
        }
    }
    pthread_mutex_unlock(&runner->locked.mutex);
    return bucket;
}

/* hanging: the pidfd of a helper that was abandoned, or -1. */
static void bucket_leave(struct runner *runner, struct bucket *bucket, int hanging)
{
    pthread_mutex_lock(&runner->locked.mutex);
    if (hanging >= 0) {
        bucket->hanging = mem_realloc(bucket->hanging, (bucket->hanging_count + 1) * sizeof(int));
        bucket->hanging[bucket->hanging_count++] = hanging;
    }
    bucket->running--;
    bucket->users--;
    pthread_cond_broadcast(&runner->changed);
    pthread_mutex_unlock(&runner->locked.mutex);
}

static bool helper_take_idle(struct runner *runner, struct process *out)
{
    pthread_mutex_lock(&runner->locked.mutex);
    bool found = runner->locked.idle_count > 0;
    if (found)
        *out = runner->locked.idle[--runner->locked.idle_count];
    pthread_mutex_unlock(&runner->locked.mutex);
    return found;
}

static int helper_take(struct runner *runner, struct process *out, struct err *err)
{
    static const char *const argv[] = {"sharedcache", "mount-helper", NULL};
    while (helper_take_idle(runner, out)) {
        if (!has_ended(out->pidfd))
            return 0;
        helper_dismiss(out);
    }
    return process_start(argv, out, err);
}

static void helper_give_back(struct runner *runner, struct process *helper)
{
    pthread_mutex_lock(&runner->locked.mutex);
    bool kept = runner->locked.idle_count < HELPERS_IDLE_MAX;
    if (kept)
        runner->locked.idle[runner->locked.idle_count++] = *helper;
    pthread_mutex_unlock(&runner->locked.mutex);
    if (!kept)
        helper_dismiss(helper);
}

static void packet_wipep(struct str *packet)
{
    mem_wipe_free(packet->data, packet->capacity);
}

/* One packet there, one back. The error is the transport's; the helper's own is in the reply. */
static int helper_ask(const struct process *helper, const struct job *job, struct job_result *out, struct err *err)
{
    _cleanup_(packet_wipep) struct str packet = STR_INIT; /* may hold a password */
    struct reply raw;
    str_reserve(&packet, 2 * PLAN_BYTES_MAX);
    if (plan_encode(job->plan, &packet, err) != 0 ||
        channel_send(helper->channel, packet.data, packet.len, job->fds, job->fd_count, err) != 0)
        return -1;
    ssize_t len = channel_receive(helper->channel, &raw, sizeof(raw), out->fds, PLAN_FDS_MAX, &out->fd_count,
                                  job->deadline_ms, err);
    if (len < 0)
        return -1;
    if (len == 0)
        return err_set(err, ERR_INTERNAL, "the mount helper ended without an answer");
    return reply_decode(&raw, (size_t)len, &out->reply, err);
}

/* Ends a helper that failed. Returns its pidfd when it hangs in the kernel even so, else -1. */
static int helper_abandon(struct process *helper)
{
    int watch = fcntl(helper->pidfd, F_DUPFD_CLOEXEC, 3);
    if (process_kill(helper, clock_monotonic_ms() + KILL_WAIT_MS)) {
        closep(&watch);
        return -1;
    }
    return watch;
}

static int helper_failed(const struct job *job, int64_t started_ms, struct err *err)
{
    if (err->code != ERR_DEADLINE)
        return -1;
    double seconds = (double)(clock_monotonic_ms() - started_ms) / 1000;
    return err_set(err, ERR_UNAVAILABLE, "%s did not answer within %.1f s", job->what, seconds);
}

int runner_run(struct runner *runner, const struct job *job, struct job_result *out, struct err *err)
{
    struct process helper = PROCESS_INIT;
    struct job_result result = {.fd_count = 0};
    int hanging = -1;
    struct bucket *bucket = bucket_enter(runner, job, err);
    if (!bucket)
        return -1;
    int64_t started_ms = clock_monotonic_ms();
    int failed = helper_take(runner, &helper, err);
    if (!failed && helper_ask(&helper, job, &result, err) == 0) {
        helper_give_back(runner, &helper);
    } else if (!failed) {
        hanging = helper_abandon(&helper);
        failed = helper_failed(job, started_ms, err);
    }
    bucket_leave(runner, bucket, hanging);
    if (failed)
        return -1;
    if (result.reply.code != ERR_NONE)
        return err_set(err, (enum err_code)result.reply.code, "%s", result.reply.message);
    *out = result;
    return 0;
}

size_t runner_hanging(struct runner *runner)
{
    size_t count = 0;
    pthread_mutex_lock(&runner->locked.mutex);
    process_reap_abandoned();
    buckets_sweep_locked(runner);
    for (size_t i = 0; i < runner->locked.bucket_count; i++)
        count += runner->locked.buckets[i]->hanging_count;
    pthread_mutex_unlock(&runner->locked.mutex);
    return count;
}
