/* Locks by name: rows 94 and 95 of the table of faults rest on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "csi/guard.h"

static const struct guard_wait patient = {.deadline_ms = CLOCK_NEVER, .cancel_fd = -1};

static struct guard *take(struct guards *guards, const char *name, const struct guard_wait *wait)
{
    struct err err = ERR_INIT;
    struct guard *guard = guard_take(guards, name, wait, &err);
    assert_non_null(guard);
    return guard;
}

static int is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

static void test_deadline(void **state)
{
    (void)state;
    _cleanup_(guards_freep) struct guards *guards = guards_new();
    struct guard *held = take(guards, "a", &patient);
    struct guard *other = take(guards, "b", &patient);
    struct guard_wait brief = {.deadline_ms = clock_monotonic_ms() + 20, .cancel_fd = -1};
    struct err err = ERR_INIT;
    assert_null(guard_take(guards, "a", &brief, &err));
    assert_int_equal(err.code, ERR_BUSY);
    assert_false(is_readable(guard_cancel_fd(held)));
    guard_release(other);
    guard_release(held);
    guard_release(take(guards, "a", &brief)); /* free: taken at once, whatever the deadline */
}

static void test_caller_goes(void **state)
{
    (void)state;
    _cleanup_(guards_freep) struct guards *guards = guards_new();
    struct guard *held = take(guards, "a", &patient);
    int gone = eventfd(1, EFD_CLOEXEC);
    struct guard_wait wait = {.deadline_ms = CLOCK_NEVER, .cancel_fd = gone};
    struct err err = ERR_INIT;
    assert_null(guard_take(guards, "a", &wait, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    close(gone);
    guard_release(held);
}

struct job {
    struct guards *guards;
    int held_fd;
    int *inside;
    int *rounds;
};

/* Holds the name until somebody asks it to stop. */
static void *hold_until_interrupted(void *data)
{
    struct job *job = data;
    struct guard *guard = take(job->guards, "a", &patient);
    uint64_t one = 1;
    assert_int_equal(write(job->held_fd, &one, sizeof(one)), sizeof(one));
    struct pollfd fd = {.fd = guard_cancel_fd(guard), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 10000), 1);
    guard_release(guard);
    return NULL;
}

static void test_interrupt(void **state)
{
    (void)state;
    _cleanup_(guards_freep) struct guards *guards = guards_new();
    struct job job = {.guards = guards, .held_fd = eventfd(0, EFD_CLOEXEC)};
    struct guard_wait pushy = {.deadline_ms = CLOCK_NEVER, .cancel_fd = -1, .interrupt = true};
    uint64_t count;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_until_interrupted, &job), 0);
    assert_int_equal(read(job.held_fd, &count, sizeof(count)), sizeof(count));
    struct guard *guard = take(guards, "a", &pushy);
    assert_false(is_readable(guard_cancel_fd(guard)));
    guard_release(guard);
    pthread_join(thread, NULL);
    close(job.held_fd);
}

#define THREADS 8
#define ROUNDS 200

static void *count_alone(void *data)
{
    struct job *job = data;
    for (int i = 0; i < ROUNDS; i++) {
        struct guard *guard = take(job->guards, "a", &patient);
        int inside = ++*job->inside; /* a plain int: only the guard keeps threads apart */
        ++*job->rounds;
        --*job->inside;
        guard_release(guard);
        if (inside != 1)
            return data;
    }
    return NULL;
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    _cleanup_(guards_freep) struct guards *guards = guards_new();
    int inside = 0;
    int rounds = 0;
    struct job job = {.guards = guards, .inside = &inside, .rounds = &rounds};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_alone, &job), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(rounds, THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_caller_goes),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
