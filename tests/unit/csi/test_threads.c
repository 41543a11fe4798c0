/* csi/threads.h: limits, the queue, the end of idle threads, and a system that gives no thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "csi/threads.h"

static atomic_uint started;
static atomic_uint ended;

/* Blocks until the other end of the pipe is closed. */
static void block(void *job)
{
    char byte;
    atomic_fetch_add(&started, 1);
    while (read(*(int *)job, &byte, 1) > 0) {
    }
    atomic_fetch_add(&ended, 1);
}

static void wait_until(atomic_uint *counter, unsigned value)
{
    int64_t until = clock_monotonic_ms() + 10000;
    while (atomic_load(counter) != value) {
        assert_true(clock_monotonic_ms() < until);
        poll(NULL, 0, 2);
    }
}

static struct threads *new_threads(unsigned min, unsigned max, unsigned queue_max, int64_t idle_ms)
{
    struct err err = ERR_INIT;
    const struct threads_config config = {
        .min = min, .max = max, .queue_max = queue_max, .idle_ms = idle_ms, .stack_size = (size_t)256 * 1024};
    struct threads *threads = threads_new(&config, &err);
    assert_non_null(threads);
    atomic_store(&started, 0);
    atomic_store(&ended, 0);
    return threads;
}

static void test_limit_and_queue(void **state)
{
    (void)state;
    int ends[2];
    struct err err = ERR_INIT;
    struct threads *threads = new_threads(0, 3, 2, 60000);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(threads_count(threads), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(threads_submit(threads, block, &ends[0], &err), 0);
    wait_until(&started, 3);
    assert_int_equal(threads_submit(threads, block, &ends[0], &err), -1);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    assert_int_equal(threads_count(threads), 3);
    close(ends[1]);
    threads_free(threads); /* waits for all five */
    assert_int_equal(atomic_load(&ended), 5);
    close(ends[0]);
}

static void test_idle_threads_end(void **state)
{
    (void)state;
    int ends[2];
    struct err err = ERR_INIT;
    struct threads *threads = new_threads(1, 8, 0, 20);
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(threads_submit(threads, block, &ends[0], &err), 0);
    wait_until(&started, 8);
    close(ends[1]);
    int64_t until = clock_monotonic_ms() + 10000;
    while (threads_count(threads) != 1) {
        assert_true(clock_monotonic_ms() < until);
        poll(NULL, 0, 2);
    }
    assert_int_equal(threads_submit(threads, block, &ends[0], &err), 0); /* the last one still works */
    wait_until(&ended, 9);
    threads_free(threads);
    close(ends[0]);
}

/* row 103: no thread can be started, as no address space holds such a stack, whatever the kernel may overcommit. Without a waiting
 * place the job is refused; threads that were to be there are missed at once. */
static void test_no_thread_to_be_had(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    int unused = -1;
    struct threads_config config = {.max = 4, .queue_max = 4, .idle_ms = 1000, .stack_size = (size_t)1 << 52};
    struct threads *threads = threads_new(&config, &err);
    assert_non_null(threads);
    assert_int_equal(threads_submit(threads, block, &unused, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_int_equal(threads_count(threads), 0);
    threads_free(threads);
    config.min = 1;
    assert_null(threads_new(&config, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit_and_queue),
        cmocka_unit_test(test_idle_threads_end),
        cmocka_unit_test(test_no_thread_to_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
