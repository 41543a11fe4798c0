#include "csi/guard.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/mem.h"

/* A waiter sleeps in poll(2) on an eventfd of its own, beside its caller's, so that both can wake it. */
struct waiter {
    struct waiter *next;
    int wake_fd;
    bool interrupt;
};

struct guard {
    struct guard *next;
    struct guards *guards;
    char *name;
    int cancel_fd;
    struct waiter *waiters;
};

struct guards {
    struct {
        pthread_mutex_t mutex;
        struct guard *held;
    } locked;
};

struct guards *guards_new(void)
{
    struct guards *guards = mem_alloc(sizeof(*guards));
    pthread_mutex_init(&guards->locked.mutex, NULL);
    return guards;
}

void guards_free(struct guards *guards)
{
    if (!guards)
        return;
    assert(!guards->locked.held);
    pthread_mutex_destroy(&guards->locked.mutex);
    free(guards);
}

static struct guard *find_locked(struct guards *guards, const char *name)
{
    for (struct guard *guard = guards->locked.held; guard; guard = guard->next)
        if (strcmp(guard->name, name) == 0)
            return guard;
    return NULL;
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t done = write(fd, &one, sizeof(one));
    (void)done; /* only a counter that is full already can refuse */
}

/* NULL when the name is held: the waiter is queued then. */
static struct guard *take_or_queue(struct guards *guards, struct guard *mine, struct waiter *waiter)
{
    pthread_mutex_lock(&guards->locked.mutex);
    struct guard *holder = find_locked(guards, mine->name);
    if (holder) {
        waiter->next = holder->waiters;
        holder->waiters = waiter;
        if (waiter->interrupt)
            signal_fd(holder->cancel_fd);
    } else {
        mine->next = guards->locked.held;
        guards->locked.held = mine;
    }
    pthread_mutex_unlock(&guards->locked.mutex);
    return holder ? NULL : mine;
}

/* The holder may have gone meanwhile and have emptied its queue: then there is nothing to leave. */
static void leave_queue(struct guards *guards, const char *name, const struct waiter *waiter)
{
    pthread_mutex_lock(&guards->locked.mutex);
    struct guard *holder = find_locked(guards, name);
    for (struct waiter **link = holder ? &holder->waiters : NULL; link && *link; link = &(*link)->next)
        if (*link == waiter) {
            *link = waiter->next;
            break;
        }
    pthread_mutex_unlock(&guards->locked.mutex);
}

static int wait_for_turn(const struct waiter *waiter, const struct guard_wait *wait, struct err *err)
{
    struct pollfd fds[] = {{.fd = waiter->wake_fd, .events = POLLIN}, {.fd = wait->cancel_fd, .events = POLLIN}};
    int ready = poll(fds, 2, clock_poll_timeout(wait->deadline_ms));
    if (ready < 0 && errno != EINTR)
        return err_set_errno(err, ERR_NONE, errno, "cannot wait");
    if (fds[1].revents)
        return err_set(err, ERR_CANCELLED, "the caller has gone");
    if (ready == 0 && clock_monotonic_ms() >= wait->deadline_ms)
        return err_set(err, ERR_BUSY, "another call for this is under way");
    return 0;
}

static void guard_free(struct guard *guard)
{
    if (guard->cancel_fd >= 0)
        close(guard->cancel_fd);
    free(guard->name);
    free(guard);
}

struct guard *guard_take(struct guards *guards, const char *name, const struct guard_wait *wait, struct err *err)
{
    struct guard *mine = mem_alloc(sizeof(*mine));
    *mine = (struct guard){.guards = guards, .name = mem_strdup(name), .cancel_fd = eventfd(0, EFD_CLOEXEC)};
    _cleanup_(closep) int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct waiter waiter = {.wake_fd = wake_fd, .interrupt = wait->interrupt};
    if (mine->cancel_fd < 0 || wake_fd < 0) {
        err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot make an eventfd");
        guard_free(mine);
        return NULL;
    }
    while (!take_or_queue(guards, mine, &waiter)) {
        int failed = wait_for_turn(&waiter, wait, err);
        leave_queue(guards, name, &waiter);
        if (failed) {
            guard_free(mine);
            return NULL;
        }
        uint64_t count = 0;
        ssize_t got = read(wake_fd, &count, sizeof(count));
        (void)got;
    }
    return mine;
}

void guard_release(struct guard *guard)
{
    if (!guard)
        return;
    struct guards *guards = guard->guards;
    pthread_mutex_lock(&guards->locked.mutex);
    for (struct guard **link = &guards->locked.held; *link; link = &(*link)->next)
        if (*link == guard) {
            *link = guard->next;
            break;
        }
    for (const struct waiter *waiter = guard->waiters; waiter; waiter = waiter->next)
        signal_fd(waiter->wake_fd);
    pthread_mutex_unlock(&guards->locked.mutex);
    guard_free(guard);
}

int guard_cancel_fd(const struct guard *guard)
{
    return guard->cancel_fd;
}
