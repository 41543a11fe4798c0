#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "cachecore/store_internal.h"

#define TEMP_AGE_MIN_S 3600
#define FLOOR_MAX ((uint64_t)1 << 30)
#define FLOOR_SHARE 20

static int object_count(void *context, int fan, const char *id, struct err *err)
{
    (void)err;
    struct store_usage *usage = context;
    struct stat info;
    if (fstatat(fan, id, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode)) {
        usage->objects++;
        usage->object_bytes += (uint64_t)info.st_size;
    }
    return 0;
}

static int snapshot_count(void *context, int fan, const char *id, struct err *err)
{
    (void)fan, (void)id, (void)err;
    ((struct store_usage *)context)->snapshots++;
    return 0;
}

uint64_t store_floor_bytes(const struct store *store)
{
    struct statvfs info;
    uint64_t total;
    if (fstatvfs(store->root, &info) != 0 ||
        __builtin_mul_overflow((uint64_t)info.f_blocks, (uint64_t)info.f_frsize, &total))
        return 0;
    return total / FLOOR_SHARE < FLOOR_MAX ? total / FLOOR_SHARE : FLOOR_MAX;
}

void store_space(const struct store *store, uint64_t *size_bytes, uint64_t *free_bytes)
{
    struct statvfs info;
    *size_bytes = 0;
    *free_bytes = 0;
    if (fstatvfs(store->root, &info) != 0 || info.f_blocks == 0)
        return;
    if (__builtin_mul_overflow((uint64_t)info.f_blocks, (uint64_t)info.f_frsize, size_bytes))
        *size_bytes = UINT64_MAX;
    if (__builtin_mul_overflow((uint64_t)info.f_bavail, (uint64_t)info.f_frsize, free_bytes))
        *free_bytes = UINT64_MAX;
}

int store_usage(struct store *store, struct store_usage *out, struct err *err)
{
    struct store_usage usage = {.objects = 0};
    struct statvfs info;
    if (store_walk(store->objects, "", object_count, &usage, err) != 0 ||
        store_walk(store->snapshots, ".complete", snapshot_count, &usage, err) != 0)
        return -1;
    if (fstatvfs(store->root, &info) != 0)
        return store_error(store, errno, "cannot ask the store's file system for its size", err);
    if (__builtin_mul_overflow((uint64_t)info.f_bavail, (uint64_t)info.f_frsize, &usage.free_bytes))
        usage.free_bytes = UINT64_MAX;
    if (__builtin_mul_overflow((uint64_t)info.f_blocks, (uint64_t)info.f_frsize, &usage.total_bytes))
        usage.total_bytes = UINT64_MAX;
    *out = usage;
    return 0;
}

/* What time it is for the file system: ages are differences of its own stamps, never against this node's clock. Row 80. */
static int server_now(struct store *store, int64_t *out, struct err *err)
{
    char name[STORE_NAME_SIZE];
    struct stat info;
    store_temp_name(store, name);
    _cleanup_(closep) int fd =
        openat(store->incoming, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return store_error(store, errno, "cannot create a file in the store", err);
    int failed = fstat(fd, &info);
    int saved = errno;
    unlinkat(store->incoming, name, 0);
    if (failed)
        return store_error(store, saved, "cannot look at a file of the store", err);
    *out = (int64_t)info.st_mtim.tv_sec;
    return 0;
}

struct reap {
    struct store *store;
    int64_t now_s, age_s;
};

/* "<what>.<node>.<boot>[.<rest>]" of this node: what stands before the node, and whether the boot is this one. */
static bool is_mine(const struct store *store, const char *after, bool *is_this_boot)
{
    size_t node_len = strlen(store->node);
    if (strncmp(after, store->node, node_len) != 0 || after[node_len] != '.')
        return false;
    const char *boot = after + node_len + 1;
    if (strspn(boot, "0123456789abcdef") != 8 || (boot[8] != '\0' && boot[8] != '.'))
        return false;
    *is_this_boot = memcmp(boot, store->boot, 8) == 0;
    return true;
}

static bool is_old(const struct reap *reap, const char *name, int64_t age_s)
{
    struct stat info;
    return fstatat(reap->store->incoming, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           reap->now_s - (int64_t)info.st_mtim.tv_sec >= age_s;
}

/* The data's writes and the journal's lines both show life. */
static bool partial_is_old(const struct reap *reap, const char *data, const char *journal)
{
    struct stat info;
    bool has_data = fstatat(reap->store->incoming, data, &info, AT_SYMLINK_NOFOLLOW) == 0;
    return is_old(reap, journal, reap->age_s) && (!has_data || is_old(reap, data, reap->age_s));
}

/* Its object is in place: whoever wrote it died before tidying up. Nothing will ever open it again. */
static bool is_left_over(const struct reap *reap, const char *journal)
{
    char object[65];
    struct err ignored = ERR_INIT;
    snprintf(object, sizeof(object), "%.64s", journal);
    return store_object_find(reap->store, object, STORE_SIZE_UNKNOWN, &ignored) == 1;
}

static int partial_reap(const struct reap *reap, const char *journal, struct err *err)
{
    char data[STORE_NAME_SIZE];
    bool is_this_boot;
    struct err locking = ERR_INIT;
    if (!is_mine(reap->store, journal + 65, &is_this_boot))
        return 0;
    snprintf(data, sizeof(data), "%.*s", (int)(strlen(journal) - strlen(".journal")), journal);
    if (is_this_boot && !partial_is_old(reap, data, journal) && !is_left_over(reap, journal))
        return 0;
    _cleanup_(closep) int fd = store_journal_lock(reap->store, data, &locking);
    if (fd < 0 && locking.code == ERR_BUSY)
        return 0;
    if (fd < 0) {
        *err = locking;
        return -1;
    }
    return store_partial_unlink(reap->store, data, err);
}

static int temp_reap(const struct reap *reap, const char *name, struct err *err)
{
    bool is_this_boot;
    int64_t age_s = reap->age_s > TEMP_AGE_MIN_S ? reap->age_s : TEMP_AGE_MIN_S;
    if (!is_mine(reap->store, name + 4, &is_this_boot) || (is_this_boot && !is_old(reap, name, age_s)))
        return 0;
    if (unlinkat(reap->store->incoming, name, 0) != 0 && errno != ENOENT)
        return store_error(reap->store, errno, "cannot remove a temporary file", err);
    return 0;
}

static int name_reap(const struct reap *reap, const char *name, struct err *err)
{
    if (str_starts_with(name, "tmp."))
        return temp_reap(reap, name, err);
    bool is_partial = strspn(name, "0123456789abcdef") == 64 && name[64] == '.';
    return is_partial && str_ends_with(name, ".journal") ? partial_reap(reap, name, err) : 0;
}

int store_partials_reap(struct store *store, int64_t age_s, struct err *err)
{
    struct reap reap = {.store = store, .age_s = age_s};
    if (store_require_writable(store, err) != 0 || server_now(store, &reap.now_s, err) != 0)
        return -1;
    int fd = fs_open_beneath(store->incoming, ".", O_RDONLY | O_DIRECTORY, 0);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return store_error(store, errno, "cannot list partial downloads", err);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (name_reap(&reap, entry->d_name, err) != 0)
            return -1;
    }
    return 0;
}
