#include "base/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/mem.h"

static struct {
    pthread_mutex_t mutex;
    struct {
        pid_t *pids;
        size_t count;
    } locked;
} abandoned = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Between fork and exec: async-signal-safe calls only. */
static void child_exec(const char *const argv[], int channel, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (channel == PROCESS_CHANNEL_FD)
        fcntl(channel, F_SETFD, 0);
    else if (dup2(channel, PROCESS_CHANNEL_FD) < 0)
        _exit(127);
    syscall(SYS_close_range, PROCESS_CHANNEL_FD + 1, ~0U, 0);
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

struct spawn {
    const char *const *argv;
    int channel; /* the child's end */
    pid_t pid;   /* -1 with errnum */
    int errnum;
    bool done;
};

/*
 * PR_SET_PDEATHSIG means the thread that forked. Threads here come and go with calls, so one that stays does the forking:
 * started with the first child, never ended.
 */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct {
        pid_t owner; /* the process that has the thread: not a forked copy of it */
        struct spawn *wanted;
    } locked;
} spawner = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void spawn_do(struct spawn *spawn)
{
    pid_t parent = getpid();
    spawn->pid = fork();
    spawn->errnum = errno;
    if (spawn->pid == 0)
        child_exec(spawn->argv, spawn->channel, parent);
}

static void *spawner_main(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&spawner.mutex);
    for (;;) {
        while (!spawner.locked.wanted)
            pthread_cond_wait(&spawner.changed, &spawner.mutex);
        spawn_do(spawner.locked.wanted);
        spawner.locked.wanted->done = true;
        spawner.locked.wanted = NULL;
        pthread_cond_broadcast(&spawner.changed);
    }
    return NULL;
}

/* A forked copy of the process has the memory of the thread's waiting but not the thread. */
static void spawner_forget(void)
{
    pthread_mutex_init(&spawner.mutex, NULL);
    pthread_cond_init(&spawner.changed, NULL);
    spawner.locked.owner = 0;
    spawner.locked.wanted = NULL;
}

/* Signals are for the threads of the program. */
static int spawner_start_locked(void)
{
    static bool watches_forks;
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    if (spawner.locked.owner == getpid())
        return 0;
    if (!watches_forks && pthread_atfork(NULL, NULL, spawner_forget) != 0)
        return ENOMEM;
    watches_forks = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread, NULL, spawner_main, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return failed;
    pthread_detach(thread);
    spawner.locked.owner = getpid();
    return 0;
}

static void spawn_on_thread(struct spawn *spawn)
{
    pthread_mutex_lock(&spawner.mutex);
    spawn->errnum = spawner_start_locked();
    if (spawn->errnum == 0) {
        while (spawner.locked.wanted)
            pthread_cond_wait(&spawner.changed, &spawner.mutex);
        spawner.locked.wanted = spawn;
        pthread_cond_broadcast(&spawner.changed);
        while (!spawn->done)
            pthread_cond_wait(&spawner.changed, &spawner.mutex);
    }
    pthread_mutex_unlock(&spawner.mutex);
}

int process_start(const char *const argv[], struct process *out, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make a socket pair");
    struct spawn spawn = {.argv = argv, .channel = pair[1], .pid = -1};
    spawn_on_thread(&spawn);
    close(pair[1]);
    if (spawn.pid < 0) {
        close(pair[0]);
        return err_set_errno(err, ERR_UNAVAILABLE, spawn.errnum, "cannot start a process");
    }
    int pidfd = (int)syscall(SYS_pidfd_open, spawn.pid, 0);
    if (pidfd < 0) {
        int saved = errno;
        close(pair[0]);
        kill(spawn.pid, SIGKILL);
        waitpid(spawn.pid, NULL, 0);
        return err_set_errno(err, ERR_UNAVAILABLE, saved, "cannot watch a process");
    }
    *out = (struct process){.pid = spawn.pid, .pidfd = pidfd, .channel = pair[0]};
    return 0;
}

static void process_forget(struct process *process)
{
    closep(&process->pidfd);
    closep(&process->channel);
    *process = (struct process)PROCESS_INIT;
}

static void abandon(pid_t pid)
{
    pthread_mutex_lock(&abandoned.mutex);
    size_t count = abandoned.locked.count;
    abandoned.locked.pids = mem_realloc(abandoned.locked.pids, (count + 1) * sizeof(pid_t));
    abandoned.locked.pids[count] = pid;
    abandoned.locked.count++;
    pthread_mutex_unlock(&abandoned.mutex);
}

static bool ended_by(int pidfd, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&poll_fd, 1, clock_poll_timeout(deadline_ms));
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
}

int process_wait(struct process *process, int64_t deadline_ms)
{
    int status = -1;
    if (!ended_by(process->pidfd, deadline_ms) || waitpid(process->pid, &status, 0) != process->pid)
        return -1;
    process_forget(process);
    return status;
}

bool process_kill(struct process *process, int64_t deadline_ms)
{
    if (process->pid < 0)
        return true;
    kill(process->pid, SIGKILL);
    if (process_wait(process, deadline_ms) >= 0)
        return true;
    abandon(process->pid);
    process_forget(process);
    return false;
}

size_t process_reap_abandoned(void)
{
    pthread_mutex_lock(&abandoned.mutex);
    size_t kept = 0;
    for (size_t i = 0; i < abandoned.locked.count; i++) {
        if (waitpid(abandoned.locked.pids[i], NULL, WNOHANG) == 0)
            abandoned.locked.pids[kept++] = abandoned.locked.pids[i];
    }
    abandoned.locked.count = kept;
    pthread_mutex_unlock(&abandoned.mutex);
    return kept;
}

union fd_control {
    char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
    struct cmsghdr align;
};

int channel_send(int channel, const void *data, size_t len, const int *fds, size_t fd_count, struct err *err)
{
    assert(fd_count <= CHANNEL_FDS_MAX);
    union fd_control control = {.bytes = {0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do {
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot send to the other process");
    return 0;
}

static size_t fds_collect(struct msghdr *message, int *fds, size_t fd_max, bool *overflow)
{
    size_t count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < received; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (count < fd_max)
                fds[count++] = fd;
            else {
                close(fd);
                *overflow = true;
            }
        }
    }
    return count;
}

ssize_t channel_receive(int channel, void *data, size_t size, int *fds, size_t fd_max, size_t *fd_count,
                        int64_t deadline_ms, struct err *err)
{
    union fd_control control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    *fd_count = 0;
    if (!ended_by(channel, deadline_ms))
        return err_set(err, ERR_DEADLINE, "the other process did not answer in time");
    ssize_t got;
    do {
        got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == ECONNRESET)
        return 0;
    if (got < 0)
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot receive from the other process");
    bool overflow = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    size_t count = fds_collect(&message, fds, fd_max, &overflow);
    if (overflow) {
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return err_set(err, ERR_CORRUPT, "a message from the other process is too large");
    }
    *fd_count = count;
    return got;
}
