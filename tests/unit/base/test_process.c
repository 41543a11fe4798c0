/* The test program is its own child: argv[1] says what the child does. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"

static int child_echo(void)
{
    char data[256];
    int fds[CHANNEL_FDS_MAX];
    size_t fd_count;
    struct err err = ERR_INIT;
    for (;;) {
        ssize_t got =
            channel_receive(PROCESS_CHANNEL_FD, data, sizeof(data), fds, CHANNEL_FDS_MAX, &fd_count, CLOCK_NEVER, &err);
        if (got <= 0)
            return got == 0 ? 7 : 8;
        if (channel_send(PROCESS_CHANNEL_FD, data, (size_t)got, fds, fd_count, &err) != 0)
            return 9;
        for (size_t i = 0; i < fd_count; i++)
            close(fds[i]);
    }
}

/* Any descriptor of the parent above the channel would be a leak. */
static int child_fds(void)
{
    for (int fd = PROCESS_CHANNEL_FD + 1; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            return 1;
    }
    return 0;
}

static struct process start(const char *what)
{
    const char *argv[] = {"test", what, NULL};
    struct process process = PROCESS_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(process_start(argv, &process, &err), 0);
    return process;
}

static void packets_and_descriptors_cross(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct process process = start("echo");
    int memfd = memfd_create("x", MFD_CLOEXEC);
    assert_int_equal(write(memfd, "shared", 6), 6);
    assert_int_equal(channel_send(process.channel, "hello", 5, &memfd, 1, &err), 0);
    char data[16];
    int fds[2];
    size_t fd_count = 0;
    ssize_t got =
        channel_receive(process.channel, data, sizeof(data), fds, 2, &fd_count, clock_monotonic_ms() + 10000, &err);
    assert_int_equal(got, 5);
    assert_memory_equal(data, "hello", 5);
    assert_int_equal(fd_count, 1);
    assert_int_equal(pread(fds[0], data, sizeof(data), 0), 6);
    close(fds[0]);
    close(memfd);
    shutdown(process.channel, SHUT_RDWR);
    int status = process_wait(&process, clock_monotonic_ms() + 10000);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void too_large_a_packet_is_refused(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct process process = start("echo");
    assert_int_equal(channel_send(process.channel, "0123456789", 10, NULL, 0, &err), 0);
    char data[4];
    size_t fd_count = 0;
    assert_int_equal(
        channel_receive(process.channel, data, sizeof(data), NULL, 0, &fd_count, clock_monotonic_ms() + 10000, &err),
        -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_true(process_kill(&process, clock_monotonic_ms() + 10000));
}

static void deadline_passes_and_kill_ends_it(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct process process = start("hang");
    char data[4];
    size_t fd_count = 0;
    int64_t begin = clock_monotonic_ms();
    assert_int_equal(channel_receive(process.channel, data, sizeof(data), NULL, 0, &fd_count, begin + 50, &err), -1);
    assert_int_equal(err.code, ERR_DEADLINE);
    assert_true(clock_monotonic_ms() - begin >= 50);
    assert_true(process_kill(&process, clock_monotonic_ms() + 10000));
    assert_int_equal(process_reap_abandoned(), 0);
}

static void abandoned_children_are_collected_later(void **state)
{
    (void)state;
    struct process process = start("hang");
    pid_t pid = process.pid;
    if (!process_kill(&process, 0)) { /* no time at all: usually too short for the kernel to end it */
        while (process_reap_abandoned() > 0)
            sched_yield();
    }
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void nothing_leaks_into_a_child(void **state)
{
    (void)state;
    int leak = open("/dev/null", O_RDONLY); /* deliberately without O_CLOEXEC */
    struct process process = start("fds");
    int status = process_wait(&process, clock_monotonic_ms() + 10000);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(leak);
}

static void echo_one(const struct process *process)
{
    struct err err = ERR_INIT;
    char data[16];
    size_t fd_count;
    assert_int_equal(channel_send(process->channel, "x", 1, NULL, 0, &err), 0);
    assert_int_equal(
        channel_receive(process->channel, data, sizeof(data), NULL, 0, &fd_count, clock_monotonic_ms() + 10000, &err),
        1);
}

static void *start_on_a_thread(void *argument)
{
    struct process *process = argument;
    *process = start("echo");
    echo_one(process); /* it runs, and has said what it wants to die with */
    return NULL;
}

/* PR_SET_PDEATHSIG means the thread that forked, not the process: an RPC's thread must not take its children with it. */
static void a_child_outlives_the_thread_that_started_it(void **state)
{
    (void)state;
    struct process process = PROCESS_INIT;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, start_on_a_thread, &process), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct pollfd poll_fd = {.fd = process.pidfd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 200), 0); /* it would be dead at once */
    echo_one(&process);
    assert_true(process_kill(&process, clock_monotonic_ms() + 10000));
}

/* Programs that fork without exec (tests do) can start children all the same. */
static void a_forked_copy_starts_its_own(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* it knows no threads in a forked copy */
#endif
    struct process process = start("echo");
    assert_true(process_kill(&process, clock_monotonic_ms() + 10000));
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        const char *argv[] = {"test", "echo", NULL};
        struct err err = ERR_INIT;
        bool started = process_start(argv, &process, &err) == 0;
        _exit(started && process_kill(&process, clock_monotonic_ms() + 10000) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "echo") == 0)
        return child_echo();
    if (argc > 1 && strcmp(argv[1], "fds") == 0)
        return child_fds();
    if (argc > 1) {
        for (;;)
            pause();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forked_copy_starts_its_own),
        cmocka_unit_test(a_child_outlives_the_thread_that_started_it),
        cmocka_unit_test(packets_and_descriptors_cross),
        cmocka_unit_test(too_large_a_packet_is_refused),
        cmocka_unit_test(deadline_passes_and_kill_ends_it),
        cmocka_unit_test(abandoned_children_are_collected_later),
        cmocka_unit_test(nothing_leaks_into_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
