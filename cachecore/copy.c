#include "cachecore/copy.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "cachecore/copy_job.h"

#define THREADS_DEFAULT 4u
#define THREADS_MAX 64u
#define PART_SIZE_DEFAULT (4u << 20)
#define BUFFER_SIZE ((size_t)1 << 20)
#define BUSY_WAIT_NS 100000000L

/* A thread opens a job only when no part of the open ones is left to hand out: so there are never more jobs than threads. */
struct slot {
    struct copy_job job;
    bool is_open;
    size_t next, running; /* parts handed out, and being carried */
};

struct copy {
    struct copy_way way;
    const struct plan_object *objects;
    size_t count;
    unsigned threads;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        struct slot slots[THREADS_MAX];
        size_t next_object;
        const struct plan_object **busy; /* filled by somebody else: tried again when all others are done */
        size_t busy_count;
        size_t opening;
        bool failed;
        struct err err;
    } locked;
};

struct task {
    const struct plan_object *object; /* to open, or NULL */
    bool is_retry;
    struct slot *slot; /* whose part is to be carried, or NULL */
    size_t part;
};

static void fail_locked(struct copy *copy, const struct err *err)
{
    if (!copy->locked.failed)
        copy->locked.err = *err;
    copy->locked.failed = true;
}

static bool part_take_locked(struct copy *copy, struct task *task)
{
    for (unsigned i = 0; i < copy->threads; i++) {
        struct slot *slot = &copy->locked.slots[i];
        if (!slot->is_open || slot->next == slot->job.sums.count)
            continue;
        *task = (struct task){.slot = slot, .part = slot->next++};
        slot->running++;
        return true;
    }
    return false;
}

static bool object_take_locked(struct copy *copy, struct task *task)
{
    if (copy->locked.next_object < copy->count)
        *task = (struct task){.object = &copy->objects[copy->locked.next_object++]};
    else if (copy->locked.busy_count > 0)
        *task = (struct task){.object = copy->locked.busy[--copy->locked.busy_count], .is_retry = true};
    else
        return false;
    copy->locked.opening++;
    return true;
}

/* False: nothing left to do. Waits only while another thread opens a job, whose parts may be work for this one. */
static bool task_take(struct copy *copy, struct task *task)
{
    bool is_taken = false;
    pthread_mutex_lock(&copy->locked.mutex);
    while (!copy->locked.failed) {
        is_taken = part_take_locked(copy, task) || object_take_locked(copy, task);
        if (is_taken || copy->locked.opening == 0)
            break;
        pthread_cond_wait(&copy->locked.changed, &copy->locked.mutex);
    }
    pthread_mutex_unlock(&copy->locked.mutex);
    return is_taken;
}

static void slot_fill_locked(struct copy *copy, const struct copy_job *job)
{
    for (unsigned i = 0; i < copy->threads; i++) {
        struct slot *slot = &copy->locked.slots[i];
        if (slot->is_open)
            continue;
        *slot = (struct slot){.job = *job, .is_open = true};
        return;
    }
    assert(!"every open job has a thread of its own");
}

/* An object without parts (empty, or here already) is finished at once; another one gets a slot. */
static int job_begin(struct copy *copy, const struct task *task, struct copy_job *job, struct err *err)
{
    if (task->is_retry)
        nanosleep(&(struct timespec){.tv_nsec = BUSY_WAIT_NS}, NULL);
    if (copy_is_cancelled(&copy->way))
        return err_set(err, ERR_CANCELLED, "the copy was cancelled");
    if (copy_job_open(&copy->way, task->object, job, err) != 0)
        return -1;
    if (!job->target || job->sums.count > 0)
        return 0;
    int result = copy_job_commit(job, err);
    copy_job_close(job);
    return result;
}

static void task_open(struct copy *copy, const struct task *task)
{
    struct copy_job job = {.source = -1};
    struct err err = ERR_INIT;
    int result = job_begin(copy, task, &job, &err);
    pthread_mutex_lock(&copy->locked.mutex);
    copy->locked.opening--;
    if (result == 0 && job.target)
        slot_fill_locked(copy, &job);
    else if (result != 0 && err.code == ERR_BUSY)
        copy->locked.busy[copy->locked.busy_count++] = task->object;
    else if (result != 0)
        fail_locked(copy, &err);
    pthread_cond_broadcast(&copy->locked.changed);
    pthread_mutex_unlock(&copy->locked.mutex);
}

static void job_end(struct copy *copy, struct copy_job *job)
{
    struct err err = ERR_INIT;
    int result = copy_job_commit(job, &err);
    copy_job_close(job);
    if (result == 0)
        return;
    pthread_mutex_lock(&copy->locked.mutex);
    fail_locked(copy, &err);
    pthread_mutex_unlock(&copy->locked.mutex);
}

/* Who carried the last part commits the object. After a failure the jobs are left for the end. */
static void task_part(struct copy *copy, const struct task *task, uint8_t *buffer)
{
    struct slot *slot = task->slot;
    assert(slot);
    struct err err = ERR_INIT;
    assert(slot);
    int result = copy_job_part(&copy->way, &slot->job, task->part, buffer, BUFFER_SIZE, &err);
    pthread_mutex_lock(&copy->locked.mutex);
    slot->running--;
    if (result != 0)
        fail_locked(copy, &err);
    bool is_last = !copy->locked.failed && slot->running == 0 && slot->next == slot->job.sums.count;
    struct copy_job job = slot->job;
    slot->is_open = !is_last;
    pthread_mutex_unlock(&copy->locked.mutex);
    if (is_last)
        job_end(copy, &job);
}

static void *worker_run(void *context)
{
    struct copy *copy = context;
    struct task task = {.object = NULL};
    _cleanup_(freep) uint8_t *buffer = mem_alloc(BUFFER_SIZE);
    while (task_take(copy, &task)) {
        if (task.object)
            task_open(copy, &task);
        else
            task_part(copy, &task, buffer);
    }
    return NULL;
}

/* The calling thread works too, so that a system without another thread to give copies all the same. Row 103. */
static void workers_run(struct copy *copy)
{
    pthread_t threads[THREADS_MAX];
    unsigned started = 0;
    while (started + 1 < copy->threads && pthread_create(&threads[started], NULL, worker_run, copy) == 0)
        started++;
    worker_run(copy);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

/* No more threads than there are parts. */
static unsigned threads_choose(const struct copy_config *config, const struct plan_object *objects, size_t count,
                               uint64_t part_size)
{
    uint64_t wanted = config->threads > 0 ? config->threads : THREADS_DEFAULT;
    uint64_t parts = 0;
    if (wanted > THREADS_MAX)
        wanted = THREADS_MAX;
    for (size_t i = 0; i < count && parts < wanted; i++)
        parts += objects[i].size / part_size + 1;
    return (unsigned)(parts < wanted ? parts : wanted);
}

/* What is unfinished stays for another try, but for what fills a full disk. Row 106. */
static int copy_finish(struct copy *copy, struct err *err)
{
    struct err ignored = ERR_INIT;
    for (unsigned i = 0; i < copy->threads; i++) {
        struct slot *slot = &copy->locked.slots[i];
        if (!slot->is_open)
            continue;
        if (copy->locked.err.code == ERR_EXHAUSTED)
            partial_discard(slot->job.target, &ignored);
        copy_job_close(&slot->job);
    }
    free(copy->locked.busy);
    pthread_cond_destroy(&copy->locked.changed);
    pthread_mutex_destroy(&copy->locked.mutex);
    if (copy->locked.failed)
        *err = copy->locked.err;
    return copy->locked.failed ? -1 : 0;
}

int copy_objects(struct store *from, struct store *to, const struct plan_object *objects, size_t count,
                 const struct copy_config *config, _Atomic uint64_t *bytes_done, const atomic_bool *cancel,
                 struct err *err)
{
    uint64_t part_size = config->part_size > 0 ? config->part_size : PART_SIZE_DEFAULT;
    struct copy copy = {
        .way = {from, to, part_size, config->floor_bytes, bytes_done, cancel},
        .objects = objects,
        .count = count,
        .threads = threads_choose(config, objects, count, part_size),
    };
    if (count == 0)
        return 0;
    copy.locked.busy = mem_calloc(count, sizeof(*copy.locked.busy));
    pthread_mutex_init(&copy.locked.mutex, NULL);
    pthread_cond_init(&copy.locked.changed, NULL);
    workers_run(&copy);
    return copy_finish(&copy, err);
}
