#include "csi/threads.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

struct job {
    struct job *next;
    void (*run)(void *job);
    void *argument;
};

struct threads {
    struct threads_config config;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t work; /* a job waits, or stopping is set */
        pthread_cond_t gone; /* a thread ended */
        struct job *first;
        struct job **last;
        unsigned count;
        unsigned jobs; /* that run or wait */
        bool stopping;
    } locked;
};

static void push_locked(struct threads *threads, struct job *job)
{
    *threads->locked.last = job;
    threads->locked.last = &job->next;
    threads->locked.jobs++;
    pthread_cond_signal(&threads->locked.work);
}

static struct job *pop_locked(struct threads *threads)
{
    struct job *job = threads->locked.first;
    if (!job)
        return NULL;
    threads->locked.first = job->next;
    if (!job->next)
        threads->locked.last = &threads->locked.first;
    return job;
}

/* The next job, or NULL when this thread is to end. */
static struct job *wait_locked(struct threads *threads)
{
    int64_t until_ms = clock_monotonic_ms() + threads->config.idle_ms;
    bool is_idle = false;
    while (!threads->locked.first && !threads->locked.stopping) {
        if (is_idle && threads->locked.count > threads->config.min)
            break;
        if (is_idle)
            until_ms = clock_monotonic_ms() + threads->config.idle_ms;
        is_idle = !thread_cond_wait(&threads->locked.work, &threads->locked.mutex, until_ms);
    }
    return pop_locked(threads);
}

static void *thread_main(void *argument)
{
    struct threads *threads = argument;
    pthread_mutex_lock(&threads->locked.mutex);
    for (struct job *job = wait_locked(threads); job; job = wait_locked(threads)) {
        pthread_mutex_unlock(&threads->locked.mutex);
        job->run(job->argument);
        free(job);
        pthread_mutex_lock(&threads->locked.mutex);
        threads->locked.jobs--;
    }
    threads->locked.count--;
    pthread_cond_signal(&threads->locked.gone);
    pthread_mutex_unlock(&threads->locked.mutex);
    return NULL;
}

static int start_locked(struct threads *threads, struct err *err)
{
    int failed = thread_start(NULL, threads->config.stack_size, thread_main, threads);
    if (failed)
        return err_set_errno(err, ERR_UNAVAILABLE, failed,
                             "cannot start a thread; the node is short of processes or memory");
    threads->locked.count++;
    return 0;
}

struct threads *threads_new(const struct threads_config *config, struct err *err)
{
    struct threads *threads = mem_alloc(sizeof(*threads));
    threads->config = *config;
    threads->locked.last = &threads->locked.first;
    pthread_mutex_init(&threads->locked.mutex, NULL);
    thread_cond_init(&threads->locked.work);
    thread_cond_init(&threads->locked.gone);
    int failed = 0;
    pthread_mutex_lock(&threads->locked.mutex);
    for (unsigned i = 0; i < config->min && !failed; i++)
        failed = start_locked(threads, err);
    pthread_mutex_unlock(&threads->locked.mutex);
    if (!failed)
        return threads;
    threads_free(threads);
    return NULL;
}

void threads_free(struct threads *threads)
{
    if (!threads)
        return;
    pthread_mutex_lock(&threads->locked.mutex);
    threads->locked.stopping = true;
    pthread_cond_broadcast(&threads->locked.work);
    while (threads->locked.count > 0)
        pthread_cond_wait(&threads->locked.gone, &threads->locked.mutex);
    assert(!threads->locked.first);
    pthread_mutex_unlock(&threads->locked.mutex);
    pthread_cond_destroy(&threads->locked.work);
    pthread_cond_destroy(&threads->locked.gone);
    pthread_mutex_destroy(&threads->locked.mutex);
    free(threads);
}

/* A place for one more job: a thread that idles or just starts, a new one, or the queue. */
static int place_locked(struct threads *threads, struct err *err)
{
    struct err refused = ERR_INIT;
    if (threads->locked.jobs < threads->locked.count)
        return 0;
    bool full = threads->locked.count >= threads->config.max;
    if (!full && start_locked(threads, &refused) == 0)
        return 0;
    if (threads->locked.count > 0 && threads->locked.jobs < threads->locked.count + threads->config.queue_max)
        return 0;
    if (full)
        return err_set(err, ERR_EXHAUSTED, "%u calls are at work already, which is the limit", threads->config.max);
    *err = refused;
    return -1;
}

int threads_submit(struct threads *threads, void (*run)(void *job), void *argument, struct err *err)
{
    struct job *job = mem_alloc(sizeof(*job));
    job->run = run;
    job->argument = argument;
    pthread_mutex_lock(&threads->locked.mutex);
    int result = place_locked(threads, err);
    if (result == 0)
        push_locked(threads, job);
    pthread_mutex_unlock(&threads->locked.mutex);
    if (result != 0)
        free(job);
    return result;
}

unsigned threads_count(struct threads *threads)
{
    pthread_mutex_lock(&threads->locked.mutex);
    unsigned count = threads->locked.count;
    pthread_mutex_unlock(&threads->locked.mutex);
    return count;
}
