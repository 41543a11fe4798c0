#include "csi/ticker.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#define STACK_SIZE ((size_t)256 << 10)

struct ticker {
    ticker_step step;
    void *context;
    int64_t next_ms;
    pthread_t thread;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t stop;
        bool is_stopping;
    } locked;
};

/* False when it is time to end. */
static bool wait_for_turn(struct ticker *ticker)
{
    bool is_early = true;
    pthread_mutex_lock(&ticker->locked.mutex);
    while (!ticker->locked.is_stopping && is_early)
        is_early = thread_cond_wait(&ticker->locked.stop, &ticker->locked.mutex, ticker->next_ms);
    bool goes_on = !ticker->locked.is_stopping;
    pthread_mutex_unlock(&ticker->locked.mutex);
    return goes_on;
}

static void *ticker_main(void *argument)
{
    struct ticker *ticker = argument;
    while (wait_for_turn(ticker)) {
        int64_t pause_ms = ticker->step(ticker->context);
        if (pause_ms < 0)
            break;
        ticker->next_ms = clock_monotonic_ms() + pause_ms;
    }
    return NULL;
}

static void ticker_release(struct ticker *ticker)
{
    pthread_cond_destroy(&ticker->locked.stop);
    pthread_mutex_destroy(&ticker->locked.mutex);
    free(ticker);
}

struct ticker *ticker_new(ticker_step step, void *context, int64_t first_ms, struct err *err)
{
    struct ticker *ticker = mem_alloc(sizeof(*ticker));
    ticker->step = step;
    ticker->context = context;
    ticker->next_ms = clock_monotonic_ms() + first_ms;
    pthread_mutex_init(&ticker->locked.mutex, NULL);
    thread_cond_init(&ticker->locked.stop);
    int failed = thread_start(&ticker->thread, STACK_SIZE, ticker_main, ticker);
    if (!failed)
        return ticker;
    ticker_release(ticker);
    err_set_errno(err, ERR_UNAVAILABLE, failed, "cannot start a thread");
    return NULL;
}

void ticker_free(struct ticker *ticker)
{
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->locked.mutex);
    ticker->locked.is_stopping = true;
    pthread_cond_signal(&ticker->locked.stop);
    pthread_mutex_unlock(&ticker->locked.mutex);
    pthread_join(ticker->thread, NULL);
    ticker_release(ticker);
}
