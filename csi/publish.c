#include "csi/publish.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/crash.h"
#include "csi/notices.h"
#include "csi/publication.h"

#define CALL_MAX_MS 120000 /* kubelet's own limit for a call */
#define ANSWER_MS 10000    /* kept for the answer */

int64_t publish_deadline_ms(int64_t now_ms, int64_t deadline_ms)
{
    return deadline_ms < now_ms + CALL_MAX_MS ? deadline_ms : now_ms + CALL_MAX_MS;
}

int64_t publish_hold_ms(int64_t now_ms, int64_t deadline_ms)
{
    int64_t end_ms = publish_deadline_ms(now_ms, deadline_ms);
    int64_t left_ms = end_ms > now_ms ? end_ms - now_ms : 0;
    return left_ms < 2 * ANSWER_MS ? now_ms + left_ms / 2 : end_ms - ANSWER_MS;
}

/* One descriptor that is readable when any of two is: an epoll instance can be polled itself. */
static int either(int a, int b, struct err *err)
{
    _cleanup_(closep) int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, a, &event) != 0 ||
        (b >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, b, &event) != 0))
        return err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot watch for a cancelled call");
    return STEAL_FD(fd);
}

static int run(struct publication *publication, struct err *err)
{
    if (driver_object_allows(publication->node->driver_object, err) != 0 || publication_class(publication, err) != 0)
        return -1;
    if (publication_stores(publication, err) != 0)
        return -1;
    crash_point("publish.stores_open");
    if (publication_fill(publication, err) != 0)
        return -1;
    crash_point("publish.filled");
    if (publication_view(publication, err) != 0)
        return -1;
    if (publication_record(publication, err) != 0)
        return -1;
    return publication_bind(publication, err);
}

static int publish_guarded(struct publication *publication, struct err *err)
{
    int64_t start_ms = clock_monotonic_ms();
    struct err cause = ERR_INIT;
    int found = publication_look(publication, err);
    if (found != 0)
        return found > 0 ? 0 : -1;
    if (run(publication, &cause) != 0) {
        publication_undo(publication, &cause);
        *err = cause;
        return -1;
    }
    notice_published(publication, start_ms);
    return 0;
}

int publish(struct node *node, const struct publish_request *request, const struct rpc_call *call, struct err *err)
{
    _cleanup_(publication_deinitp) struct publication publication;
    publication_init(&publication, node, request, call);
    publication.target = target_canonical(publication.arena, node->config->kubelet_dir, request->target, err);
    if (!publication.target)
        return -1;
    struct guard_wait wait = {.deadline_ms = publication.hold_ms, .cancel_fd = call->cancel_fd};
    _cleanup_(guard_releasep) struct guard *guard =
        guard_take(node->guards, publication_guard_name(publication.arena, publication.target), &wait, err);
    if (!guard)
        return -1;
    _cleanup_(closep) int cancel_fd = either(guard_cancel_fd(guard), call->cancel_fd, err);
    if (cancel_fd < 0)
        return -1;
    publication.call.cancel_fd = cancel_fd;
    return publish_guarded(&publication, err);
}
