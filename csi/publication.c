#include "csi/publication.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "csi/notices.h"
#include "csi/policy.h"
#include "csi/publish.h"
#include "csi/record_text.h"
#include "csi/requester.h"
#include "mount/table.h"

#define UNDO_MS 8000 /* from the ten seconds that are kept for the answer */

void publication_init(struct publication *publication, struct node *node, const struct publish_request *request,
                      const struct rpc_call *call)
{
    int64_t now_ms = clock_monotonic_ms();
    *publication = (struct publication){
        .node = node,
        .request = request,
        .call = *call,
        .deadline_ms = publish_deadline_ms(now_ms, call->deadline_ms),
        .hold_ms = publish_hold_ms(now_ms, call->deadline_ms),
        .arena = arena_new(),
        .share = OPENED_STORE_INIT,
        .local = OPENED_STORE_INIT,
        .directory = TARGET_INIT,
    };
}

void publication_deinit(struct publication *publication)
{
    opened_store_deinit(&publication->share);
    opened_store_deinit(&publication->local);
    target_deinit(&publication->directory);
    arena_free(publication->arena);
}

const char *publication_guard_name(struct arena *arena, const char *target)
{
    return arena_printf(arena, "target/%s", target);
}

const char *publication_fill_id(struct arena *arena, const char *volume_id, const char *target)
{
    char digest[SHA256_HEX];
    if (volume_id_is_inline(volume_id))
        return arena_strdup(arena, volume_id);
    digest_sha256_hex(target, strlen(target), digest);
    return arena_printf(arena, "%s@%.16s", volume_id, digest);
}

/* A record that lost its arguments (row 92 of the table of faults) takes those of the first call that comes. */
static int look_at_record(struct publication *publication, struct record *record, struct err *err)
{
    const struct publish_request *request = publication->request;
    if (record->volume_id[0] && strcmp(record->volume_id, request->volume_id) != 0)
        return err_set(err, ERR_EXISTS, "target_path holds another volume");
    if (record->arguments[0] && strcmp(record->arguments, request->arguments) != 0)
        return err_set(err, ERR_EXISTS, "the volume is published at target_path with other arguments");
    if (record->arguments[0])
        return 1;
    const char *lost_id = record->volume_id;
    record->volume_id = request->volume_id;
    record->arguments = request->arguments;
    record->is_exclusive = request->is_exclusive;
    if (records_put(publication->node->records, record, err) != 0)
        return -1;
    return lost_id[0] || records_drop(publication->node->records, RECORD_PUBLISHED, "", record->target, err) == 0 ? 1
                                                                                                                  : -1;
}

int publication_look(struct publication *publication, struct err *err)
{
    struct mount_table table;
    struct record record;
    struct records *records = publication->node->records;
    record_file_name(publication->request->volume_id, publication->target, publication->user);
    publication->fill_id =
        publication_fill_id(publication->arena, publication->request->volume_id, publication->target);
    if (mount_table_read(publication->arena, &table, err) != 0)
        return -1;
    const struct mount_entry *entry = mount_table_at(&table, publication->target);
    bool is_known = records_find_target(records, publication->target, publication->arena, &record);
    if (entry && is_known)
        return look_at_record(publication, &record, err);
    if (entry)
        return err_set(err, ERR_PRECONDITION, "target_path holds a mount that is not ours (file system type %.32s)",
                       entry->fstype);
    if (records_find_other(records, RECORD_PUBLISHED, publication->request->volume_id, publication->target,
                           publication->arena, &record) &&
        (record.is_exclusive || publication->request->is_exclusive))
        return err_set(err, ERR_PRECONDITION,
                       "the volume is published at another target_path, and its access mode "
                       "allows one only");
    return 0;
}

int publication_class(struct publication *publication, struct err *err)
{
    if (policy_class(publication->node->classes, &publication->request->attributes, publication->request->mount_flags,
                     publication->arena, &publication->class, err) != 0)
        return -1;
    return policy_volume(&publication->class, &publication->request->attributes, publication->request->pod_namespace,
                         publication->arena, err);
}

/* With the copy policy over the node's own store there is nothing to copy: it is where the copies would go. */
int publication_stores(struct publication *publication, struct err *err)
{
    int failed = shares_open(publication->node->shares, &publication->class, publication->user, publication->hold_ms,
                             &publication->share, err);
    notice_share(publication, failed == 0);
    if (failed)
        return -1;
    if (publication->class.copy_policy != COPY_LOCAL || !publication->share.key[0])
        return 0;
    return shares_open_local(publication->node->shares, &publication->local, err);
}

int publication_fill(struct publication *publication, struct err *err)
{
    const struct publish_request *request = publication->request;
    struct requester requester;
    if (requester_find(publication->node->service_accounts, request, publication->arena, &requester, err) != 0)
        return -1;
    struct fills_request fill = {
        .volume_id = publication->fill_id,
        .arguments = request->content,
        .inputs = request->attributes.inputs,
        .inputs_from = request->attributes.inputs_from,
        .class = &publication->class,
        .facts = &requester.facts,
        .secrets = &request->secrets,
        .tokens = &request->tokens,
        .store_fd = publication->share.root_fd,
        .local_store_fd = publication->local.root_fd,
    };
    int64_t started_ms = fills_started_ms(publication->node->fills, publication->fill_id);
    for (;;) {
        struct err cause = ERR_INIT;
        int64_t until_ms = notice_due_ms(publication, started_ms);
        if (fills_wait(publication->node->fills, &fill, &publication->call, until_ms, publication->arena,
                       &publication->filled, &cause) == 0)
            return 0;
        if (cause.code == ERR_BUSY && until_ms < publication->hold_ms && clock_monotonic_ms() >= until_ms) {
            notice_progress(publication, cause.message);
            continue;
        }
        *err = cause;
        requester_explain(&requester, err);
        notice_failed(publication, err);
        return -1;
    }
}

/* The store that the pod's reads go to. */
static const struct opened_store *data_store(const struct publication *publication)
{
    return publication->local.root_fd >= 0 ? &publication->local : &publication->share;
}

int publication_view(struct publication *publication, struct err *err)
{
    if (view_plan_make(publication->arena, &publication->filled, publication->class.max_files, &publication->view,
                       err) != 0)
        return -1;
    view_plan_layer(&publication->view.tree, data_store(publication)->form, publication->layer);
    return 0;
}

static struct record make_record(const struct publication *publication)
{
    const char **snapshots = arena_calloc(publication->arena, publication->filled.count + 1, sizeof(char *));
    for (size_t i = 0; i < publication->filled.count; i++)
        snapshots[i] = publication->filled.inputs[i].snapshot;
    return (struct record){
        .kind = RECORD_PUBLISHED,
        .volume_id = publication->request->volume_id,
        .target = publication->target,
        .arguments = publication->request->arguments,
        .class = publication->class.name ? publication->class.name : "",
        .share = publication->share.key,
        .layer = publication->layer,
        .snapshots = snapshots,
        .snapshot_count = publication->filled.count,
        .bytes = publication->view.bytes,
        .files = publication->view.tree.count,
        .published_s = clock_wall_s(),
        .is_exclusive = publication->request->is_exclusive,
    };
}

static struct guard *guard_layer(struct node *node, const char *layer, int64_t deadline_ms, struct err *err)
{
    char name[VIEW_LAYER_NAME + 16];
    struct guard_wait wait = {.deadline_ms = deadline_ms, .cancel_fd = -1};
    snprintf(name, sizeof(name), "layer/%s", layer);
    return guard_take(node->guards, name, &wait, err);
}

/* The record comes first: it is what keeps the layer from being dropped as unused, and what a crash from here on is known by. */
int publication_record(struct publication *publication, struct err *err)
{
    struct node *node = publication->node;
    struct record record = make_record(publication);
    _cleanup_(guard_releasep) struct guard *guard =
        guard_layer(node, publication->layer, publication->deadline_ms, err);
    if (!guard || records_put(node->records, &record, err) != 0)
        return -1;
    publication->is_recorded = true;
    crash_point("publish.recorded");
    if (view_layer_build(node->layers_fd, publication->layer, &publication->view.tree, data_store(publication)->form,
                         err) != 0)
        return err_prefix(err, "cannot build the view");
    crash_point("publish.layer_ready");
    return 0;
}

static int mount_at(struct publication *publication, int target_fd, struct err *err)
{
    const struct opened_store *data = data_store(publication);
    struct view_spec spec = {
        .layers_fd = publication->node->layers_fd,
        .layer = publication->layer,
        .data_fds = {data->objects_fd},
        .data_count = 1,
        .form = data->form,
        .noexec = publication->class.noexec,
        .selinux_context = publication->node->selinux_context,
    };
    return view_mount(publication->node->mounts, &spec, target_fd, publication->deadline_ms, err);
}

/* Somebody may have exchanged a directory on the way while we mounted: what counts is where the path leads now. */
static int check_place(struct publication *publication, struct err *err)
{
    struct mount_table table;
    if (mount_table_read(publication->arena, &table, err) != 0)
        return -1;
    if (!mount_table_at(&table, publication->target) ||
        !target_parent_is_same(&publication->directory, publication->node->config->kubelet_dir,
                               publication->request->target))
        return err_set(err, ERR_INTERNAL, "target_path was exchanged during the mount");
    return 0;
}

/* The directory that was mounted on, wherever it is now. */
static void unmount_astray(struct publication *publication, int target_fd)
{
    char link[64];
    char path[PATH_MAX];
    struct err err = ERR_INIT;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", target_fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    if (len <= 0 || view_unmount(publication->node->mounts, path, publication->deadline_ms, &err) != 0)
        log_event(LOG_ERROR, "mount_astray", "volume", publication->request->volume_id, "path", path, "error",
                  err.message, NULL);
}

int publication_bind(struct publication *publication, struct err *err)
{
    if (target_open(publication->node->config->kubelet_dir, publication->request->target, &publication->directory,
                    err) != 0)
        return -1;
    _cleanup_(closep) int target_fd = target_make(&publication->directory, &publication->is_target_made, err);
    if (target_fd < 0)
        return -1;
    crash_point("publish.target_made");
    if (mount_at(publication, target_fd, err) != 0)
        return -1;
    crash_point("publish.mounted");
    if (check_place(publication, err) == 0)
        return 0;
    unmount_astray(publication, target_fd);
    return -1;
}

int publication_layer_release(struct node *node, const char *layer, int64_t deadline_ms, struct err *err)
{
    if (!layer[0])
        return 0;
    _cleanup_(guard_releasep) struct guard *guard = guard_layer(node, layer, deadline_ms, err);
    if (!guard)
        return -1;
    return records_using_layer(node->records, layer) > 0 ? 0 : view_layer_remove(node->layers_fd, layer, err);
}

static int undo_record(struct publication *publication, int64_t deadline_ms, struct err *err)
{
    struct node *node = publication->node;
    if (!publication->is_recorded)
        return 0;
    if (records_drop(node->records, RECORD_PUBLISHED, publication->request->volume_id, publication->target, err) != 0)
        return -1;
    return publication_layer_release(node, publication->layer, deadline_ms, err);
}

/*
 * Building a large layer can outlast the call. Were it thrown away with the call, the next one would build it again, and be late again:
 * so the record stays, as after a crash, and keeps the layer for the retry. Unpublish finds both.
 */
static bool is_late(const struct publication *publication, const struct err *cause)
{
    bool is_final = cause->code != ERR_UNAVAILABLE && cause->code != ERR_DEADLINE;
    return !is_final && clock_monotonic_ms() >= publication->deadline_ms;
}

void publication_undo(struct publication *publication, struct err *cause)
{
    int64_t deadline_ms = clock_monotonic_ms() + UNDO_MS;
    struct err err = ERR_INIT;
    bool fill_goes_on = cause->code == ERR_BUSY || cause->code == ERR_CANCELLED;
    int failed = publication->is_target_made ? target_remove(&publication->directory, &err) : 0;
    if (!failed && !is_late(publication, cause))
        failed = undo_record(publication, deadline_ms, &err);
    if (!fill_goes_on && shares_release(publication->node->shares, publication->user, deadline_ms, &err) != 0)
        log_event(LOG_WARNING, "share_not_closed", "volume", publication->request->volume_id, "error", err.message,
                  NULL);
    if (failed) {
        err_prefix(cause, "(not all was undone: %s)", err.message);
        cause->code = ERR_UNAVAILABLE;
    }
}
