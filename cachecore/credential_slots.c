#include "cachecore/credential_slots.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/thread.h"

#define CANCEL_CHECK_MS 100

static struct {
    pthread_once_t once;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t given_back;
        unsigned busy;
    } locked;
} slots = {.once = PTHREAD_ONCE_INIT, .locked = {.mutex = PTHREAD_MUTEX_INITIALIZER}};

static void slots_init(void)
{
    thread_cond_init(&slots.locked.given_back);
}

int credential_slot_take(const atomic_bool *cancel, struct err *err)
{
    bool is_cancelled = false;
    pthread_once(&slots.once, slots_init);
    pthread_mutex_lock(&slots.locked.mutex);
    while (slots.locked.busy >= CREDENTIAL_QUESTIONS_MAX && !is_cancelled) {
        thread_cond_wait(&slots.locked.given_back, &slots.locked.mutex, clock_monotonic_ms() + CANCEL_CHECK_MS);
        is_cancelled = cancel && atomic_load(cancel);
    }
    if (!is_cancelled)
        slots.locked.busy++;
    pthread_mutex_unlock(&slots.locked.mutex);
    return is_cancelled ? err_set(err, ERR_CANCELLED, "cancelled while waiting for a token service") : 0;
}

void credential_slot_give_back(void)
{
    pthread_mutex_lock(&slots.locked.mutex);
    slots.locked.busy--;
    pthread_cond_signal(&slots.locked.given_back);
    pthread_mutex_unlock(&slots.locked.mutex);
}
