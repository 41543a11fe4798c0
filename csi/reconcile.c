#include "csi/reconcile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "csi/record_text.h"
#include "csi/target.h"

#define VIEW_LABEL "sharedcache:"
#define CLOSE_MS 10000

static void warn(const char *event, const char *name, const struct err *err)
{
    log_event(LOG_WARNING, event, "name", name, "error", err->message, NULL);
}

static bool is_layer_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= RECORD_LAYER_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Overlay views say so in their source; a view of bind mounts has the layer's directory as its root. */
const char *reconcile_layer_of(const struct mount_entry *entry)
{
    const char *layer = NULL;
    if (strcmp(entry->fstype, "overlay") == 0 && str_starts_with(entry->source, VIEW_LABEL))
        layer = entry->source + strlen(VIEW_LABEL);
    else if (strstr(entry->root, "/layers/bind-"))
        layer = strstr(entry->root, "/layers/bind-") + strlen("/layers/");
    return layer && is_layer_name(layer) ? layer : NULL;
}

/* Nothing is mounted there, so that a look cannot hang on a share. Only a certain "no" counts. */
static bool is_gone(const char *path)
{
    struct stat info;
    return lstat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

static void check_record(struct node *node, const struct mount_table *table, const struct record *record)
{
    char user[RECORD_FILE_MAX];
    struct err err = ERR_INIT;
    bool is_mounted = record->kind == RECORD_PUBLISHED && mount_table_at(table, record->target);
    if (!is_mounted && is_gone(record->target)) {
        if (records_drop(node->records, record->kind, record->volume_id, record->target, &err) != 0)
            warn("record_not_dropped", record->volume_id, &err);
        else
            log_event(LOG_INFO, "record_dropped", "volume", record->volume_id, "target", record->target, NULL);
        return;
    }
    if (record->kind == RECORD_PUBLISHED && !is_mounted)
        log_event(LOG_INFO, "record_without_mount", "volume", record->volume_id, "target", record->target, NULL);
    record_file_name(record->volume_id, record->target, user);
    if (record->share[0])
        shares_use(node->shares, record->share, user);
}

/* Row 92 of the table of faults. Whose volume it is, the next call for the target says. */
static void adopt(struct node *node, const struct mount_entry *entry, const char *layer)
{
    struct err err = ERR_INIT;
    struct record record = {
        .kind = RECORD_PUBLISHED,
        .volume_id = "",
        .target = entry->target,
        .arguments = "",
        .class = "",
        .share = "",
        .layer = layer,
        .published_s = clock_wall_s(),
    };
    if (records_put(node->records, &record, &err) != 0)
        warn("view_not_adopted", entry->target, &err);
    else
        log_event(LOG_WARNING, "view_adopted", "target", entry->target, "layer", layer, NULL);
}

static void adopt_views(struct node *node, const struct mount_table *table, const char *kubelet_dir,
                        struct arena *arena)
{
    struct record record;
    const char *below = arena_printf(arena, "%s/", kubelet_dir);
    for (size_t i = 0; i < table->count; i++) {
        const char *layer = reconcile_layer_of(&table->entries[i]);
        if (layer && str_starts_with(table->entries[i].target, below) &&
            !records_find_target(node->records, table->entries[i].target, arena, &record))
            adopt(node, &table->entries[i], layer);
    }
}

struct sweep {
    struct node *node;
    const struct mount_table *table;
    int dir_fd;
};

/* Calls back for each name in the directory but "." and "..". */
static void each_name(const struct sweep *sweep, void (*call)(const struct sweep *sweep, const char *name))
{
    int fd = openat(sweep->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (const struct dirent *item = dir ? readdir(dir) : NULL; item; item = readdir(dir))
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            call(sweep, item->d_name);
}

static bool is_mounted_layer(const struct mount_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *layer = reconcile_layer_of(&table->entries[i]);
        if (layer && strcmp(layer, name) == 0)
            return true;
    }
    return false;
}

static void sweep_layer(const struct sweep *sweep, const char *name)
{
    struct err err = ERR_INIT;
    if (!is_mounted_layer(sweep->table, name) && fs_remove_tree(sweep->dir_fd, name, &err) != 0)
        warn("layer_not_removed", name, &err);
}

static void sweep_share(const struct sweep *sweep, const char *name)
{
    struct err err = ERR_INIT;
    if (shares_is_used(sweep->node->shares, name))
        return;
    if (mounts_share_close(sweep->node->mounts, name, clock_monotonic_ms() + CLOSE_MS, &err) != 0)
        warn("share_not_closed", name, &err);
}

int reconcile(struct node *node, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct record *list = NULL;
    size_t count = 0;
    if (mount_table_read(arena, &table, err) != 0)
        return -1;
    const char *kubelet_dir = target_canonical(arena, node->config->kubelet_dir, "", err);
    if (!kubelet_dir)
        return -1;
    records_list(node->records, arena, &list, &count);
    for (size_t i = 0; i < count; i++)
        check_record(node, &table, &list[i]);
    adopt_views(node, &table, arena_strndup(arena, kubelet_dir, strlen(kubelet_dir) - 1), arena);
    each_name(&(struct sweep){node, &table, node->layers_fd}, sweep_layer);
    _cleanup_(closep) int shares_fd = fs_open_beneath(node->state_fd, "shares", O_RDONLY | O_DIRECTORY, 0);
    if (shares_fd >= 0)
        each_name(&(struct sweep){node, &table, shares_fd}, sweep_share);
    return 0;
}
