/* Waiting on a condition by the monotonic clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"

struct signalled {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool is_told;
};

static void *tell(void *argument)
{
    struct signalled *signalled = argument;
    pthread_mutex_lock(&signalled->mutex);
    signalled->is_told = true;
    pthread_cond_signal(&signalled->cond);
    pthread_mutex_unlock(&signalled->mutex);
    return NULL;
}

static void a_deadline_ends_a_wait_and_never_early(void **state)
{
    (void)state;
    struct signalled nobody = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    thread_cond_init(&nobody.cond);
    pthread_mutex_lock(&nobody.mutex);
    assert_false(thread_cond_wait(&nobody.cond, &nobody.mutex, 0));
    int64_t deadline_ms = clock_monotonic_ms() + 30;
    while (thread_cond_wait(&nobody.cond, &nobody.mutex, deadline_ms)) /* woken for nothing */
        continue;
    assert_true(clock_monotonic_ms() >= deadline_ms);
    pthread_mutex_unlock(&nobody.mutex);
    pthread_cond_destroy(&nobody.cond);
}

static void a_signal_ends_a_wait(void **state)
{
    (void)state;
    const int64_t deadlines_ms[] = {CLOCK_NEVER, clock_monotonic_ms() + 3600000};
    for (size_t i = 0; i < 2; i++) {
        struct signalled signalled = {.mutex = PTHREAD_MUTEX_INITIALIZER};
        pthread_t thread;
        bool is_in_time = true;
        thread_cond_init(&signalled.cond);
        pthread_mutex_lock(&signalled.mutex);
        assert_int_equal(thread_start(&thread, 65536, tell, &signalled), 0);
        while (!signalled.is_told && is_in_time)
            is_in_time = thread_cond_wait(&signalled.cond, &signalled.mutex, deadlines_ms[i]);
        pthread_mutex_unlock(&signalled.mutex);
        assert_true(is_in_time && signalled.is_told);
        pthread_join(thread, NULL);
        pthread_cond_destroy(&signalled.cond);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_ends_a_wait_and_never_early),
        cmocka_unit_test(a_signal_ends_a_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
