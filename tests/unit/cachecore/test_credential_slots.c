/* Few questions are on their way to token services at a time, whoever asks. Meant for the thread sanitizer, too. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cachecore/credential_slots.h"

#define THREADS 64u

static void *slot_run(void *argument)
{
    struct err err = ERR_INIT;
    atomic_int *running = argument;
    for (unsigned i = 0; i < 200; i++) {
        if (credential_slot_take(NULL, &err) != 0)
            return argument;
        int now = atomic_fetch_add(running, 1) + 1;
        sched_yield();
        atomic_fetch_sub(running, 1);
        credential_slot_give_back();
        if (now > (int)CREDENTIAL_QUESTIONS_MAX)
            return argument;
    }
    return NULL;
}

static void few_questions_are_on_their_way(void **state)
{
    (void)state;
    static atomic_int running;
    static const atomic_bool cancelled = true;
    pthread_t threads[THREADS];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, slot_run, &running), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (unsigned i = 0; i < CREDENTIAL_QUESTIONS_MAX; i++)
        assert_int_equal(credential_slot_take(NULL, &err), 0);
    assert_int_equal(credential_slot_take(&cancelled, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    for (unsigned i = 0; i < CREDENTIAL_QUESTIONS_MAX; i++)
        credential_slot_give_back();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_questions_are_on_their_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
