#include "csi/stage.h"

#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "csi/policy.h"
#include "csi/publish.h"
#include "csi/record_text.h"

static struct guard *guard_staging(struct node *node, const char *path, const struct rpc_call *call,
                                   struct arena *arena, struct err *err)
{
    struct guard_wait wait = {.deadline_ms = publish_hold_ms(clock_monotonic_ms(), call->deadline_ms),
                              .cancel_fd = call->cancel_fd};
    return guard_take(node->guards, arena_printf(arena, "staging/%s", path), &wait, err);
}

static int record_stage(struct node *node, const struct stage_request *request, const struct class *class,
                        struct arena *arena, struct err *err)
{
    char key[RECORD_SHARE_MAX + 1] = "";
    struct share_plan plan;
    if (class->share && shares_key(class, arena, &plan, key, err) != 0)
        return -1;
    struct record record = {
        .kind = RECORD_STAGED,
        .volume_id = request->volume_id,
        .target = request->staging_path,
        .arguments = request->arguments,
        .class = class->name ? class->name : "",
        .share = key,
        .layer = "",
        .published_s = clock_wall_s(),
    };
    return records_put(node->records, &record, err);
}

static void undo(struct node *node, const struct stage_request *request, const char *user, struct err *cause)
{
    struct err err = ERR_INIT;
    if (shares_release(node->shares, user, clock_monotonic_ms() + 5000, &err) != 0)
        log_event(LOG_WARNING, "share_not_closed", "volume", request->volume_id, "error", err.message, NULL);
    if (records_drop(node->records, RECORD_STAGED, request->volume_id, request->staging_path, &err) != 0) {
        err_prefix(cause, "(not all was undone: %s)", err.message);
        cause->code = ERR_UNAVAILABLE;
    }
}

static int stage_guarded(struct node *node, const struct stage_request *request, const struct rpc_call *call,
                         struct arena *arena, struct err *err)
{
    _cleanup_(opened_store_deinitp) struct opened_store store = OPENED_STORE_INIT;
    char user[RECORD_FILE_MAX];
    struct record record;
    struct class class;
    if (records_find(node->records, RECORD_STAGED, request->volume_id, request->staging_path, arena, &record) &&
        strcmp(record.arguments, request->arguments) != 0)
        return err_set(err, ERR_EXISTS, "the volume is staged at this path with other arguments");
    if (policy_class(node->classes, &request->attributes, request->mount_flags, arena, &class, err) != 0 ||
        record_stage(node, request, &class, arena, err) != 0)
        return -1;
    crash_point("stage.recorded");
    record_file_name(request->volume_id, request->staging_path, user);
    if (shares_open(node->shares, &class, user, publish_hold_ms(clock_monotonic_ms(), call->deadline_ms), &store,
                    err) != 0) {
        undo(node, request, user, err);
        return -1;
    }
    crash_point("stage.share_open");
    return 0;
}

int stage(struct node *node, const struct stage_request *request, const struct rpc_call *call, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(guard_releasep) struct guard *guard = guard_staging(node, request->staging_path, call, arena, err);
    return guard ? stage_guarded(node, request, call, arena, err) : -1;
}

int unstage(struct node *node, const char *volume_id, const char *staging_path, const struct rpc_call *call,
            struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    char user[RECORD_FILE_MAX];
    struct err closing = ERR_INIT;
    _cleanup_(guard_releasep) struct guard *guard = guard_staging(node, staging_path, call, arena, err);
    if (!guard || records_drop(node->records, RECORD_STAGED, volume_id, staging_path, err) != 0)
        return -1;
    crash_point("stage.record_dropped");
    record_file_name(volume_id, staging_path, user);
    if (shares_release(node->shares, user, publish_hold_ms(clock_monotonic_ms(), call->deadline_ms), &closing) != 0)
        log_event(LOG_WARNING, "share_not_closed", "volume", volume_id, "error", closing.message, NULL);
    crash_point("stage.share_released");
    return 0;
}
