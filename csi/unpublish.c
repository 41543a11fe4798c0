#include "csi/unpublish.h"

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "csi/publication.h"
#include "csi/record_text.h"
#include "csi/target.h"

/* Row 68 of the table of faults: an answer within thirty seconds, whatever the server does. */
#define UNPUBLISH_MS 25000

struct unpublication {
    struct node *node;
    const struct unpublish_request *request;
    const char *target; /* canonical */
    int64_t deadline_ms;
    struct arena *arena;
};

/* Without a parent the target is gone, too: kubelet removed it all. */
static int remove_target(const struct unpublication *unpublication, struct err *err)
{
    _cleanup_(target_deinitp) struct target directory = TARGET_INIT;
    struct err cause = ERR_INIT;
    if (target_open(unpublication->node->config->kubelet_dir, unpublication->request->target, &directory, &cause) == 0)
        return target_remove(&directory, err);
    if (cause.code == ERR_INTERNAL)
        return 0;
    *err = cause;
    return -1;
}

/* The record goes before what it stands for is dropped: a crash in between leaves what the next start sweeps up. */
static int forget(const struct unpublication *unpublication, struct err *err)
{
    struct node *node = unpublication->node;
    struct record record;
    if (!records_find_target(node->records, unpublication->target, unpublication->arena, &record))
        return 0;
    if (records_drop(node->records, RECORD_PUBLISHED, record.volume_id, record.target, err) != 0)
        return -1;
    crash_point("unpublish.record_dropped");
    if (publication_layer_release(node, record.layer, unpublication->deadline_ms, err) != 0)
        return -1;
    crash_point("unpublish.layer_dropped");
    return 0;
}

/* The volume is gone by now: a share that cannot be unmounted must not keep its pod. */
static void release_share(const struct unpublication *unpublication)
{
    char user[RECORD_FILE_MAX];
    struct err err = ERR_INIT;
    record_file_name(unpublication->request->volume_id, unpublication->target, user);
    if (shares_release(unpublication->node->shares, user, unpublication->deadline_ms, &err) != 0)
        log_event(LOG_WARNING, "share_not_closed", "volume", unpublication->request->volume_id, "error", err.message,
                  NULL);
}

static int run(const struct unpublication *unpublication, struct err *err)
{
    struct node *node = unpublication->node;
    fills_cancel(node->fills,
                 publication_fill_id(unpublication->arena, unpublication->request->volume_id, unpublication->target),
                 unpublication->deadline_ms);
    crash_point("unpublish.fill_cancelled");
    if (view_unmount(node->mounts, unpublication->target, unpublication->deadline_ms, err) != 0)
        return -1;
    crash_point("unpublish.unmounted");
    if (remove_target(unpublication, err) != 0)
        return -1;
    crash_point("unpublish.target_removed");
    if (forget(unpublication, err) != 0)
        return -1;
    release_share(unpublication);
    crash_point("unpublish.share_released");
    return 0;
}

int unpublish(struct node *node, const struct unpublish_request *request, const struct rpc_call *call, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    int64_t latest_ms = clock_monotonic_ms() + UNPUBLISH_MS;
    struct unpublication unpublication = {
        .node = node,
        .request = request,
        .target = target_canonical(arena, node->config->kubelet_dir, request->target, err),
        .deadline_ms = call->deadline_ms < latest_ms ? call->deadline_ms : latest_ms,
        .arena = arena,
    };
    if (!unpublication.target)
        return -1;
    struct guard_wait wait = {
        .deadline_ms = unpublication.deadline_ms, .cancel_fd = call->cancel_fd, .interrupt = true};
    _cleanup_(guard_releasep) struct guard *guard =
        guard_take(node->guards, publication_guard_name(arena, unpublication.target), &wait, err);
    return guard ? run(&unpublication, err) : -1;
}
