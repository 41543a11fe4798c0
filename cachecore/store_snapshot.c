#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/fs.h"
#include "cachecore/store_internal.h"

#define INFO_MAX 4096u
#define DESCRIPTION_MAX 1024u
#define TOUCH_SECONDS 60

/* The mark is opened, not only looked up: that asks an NFS server, whatever names this node remembers. */
int store_snapshot_find(struct store *store, const char *id, struct err *err)
{
    assert(store_is_id(id));
    char path[STORE_NAME_SIZE];
    struct stat info;
    store_path(id, ".complete", path);
    _cleanup_(closep) int fd =
        fs_open_beneath(store->snapshots, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 && (errno == ENOENT || errno == ELOOP))
        return 0;
    if (fd < 0 || fstat(fd, &info) != 0)
        return store_read_error(errno, "cannot look for a snapshot", err);
    return S_ISREG(info.st_mode);
}

/* The mark first: a snapshot without its list must not count as complete. */
static void list_quarantine(struct store *store, const char *id)
{
    struct err ignored = ERR_INIT;
    char path[STORE_NAME_SIZE];
    if (!store->writable)
        return;
    store_path(id, ".complete", path);
    _cleanup_(closep) int fan = fs_open_beneath(store->snapshots, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fan < 0 || (unlinkat(fan, path, 0) != 0 && errno != ENOENT))
        return;
    store_path(id, "", path);
    store_quarantine(store, store->snapshots, path, &ignored);
}

int store_snapshot_read(struct store *store, const char *id, struct str *out, struct err *err)
{
    assert(store_is_id(id));
    char path[STORE_NAME_SIZE];
    char digest[SHA256_HEX];
    store_path(id, "", path);
    if (fs_read_file(store->snapshots, path, STORE_SNAPSHOT_TEXT_MAX, out, err) != 0)
        return err_prefix(err, "snapshot %.16s", id);
    digest_sha256_hex(out->len > 0 ? out->data : "", out->len, digest);
    if (strcmp(digest, id) == 0)
        return 0;
    list_quarantine(store, id);
    return err_set(err, ERR_CORRUPT, "snapshot %.16s: the list in the store does not match its id", id);
}

static int objects_check(struct store *store, const struct snapshot *snapshot, struct err *err)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct snapshot_file *file = &snapshot->files[i];
        int found = store_object_find(store, file->object, file->size, err);
        if (found < 0)
            return -1;
        if (found == 0)
            return err_set(err, ERR_NOT_FOUND, "object %.16s of '%.200s' is not in the store", file->object,
                           file->path);
    }
    return 0;
}

/*
 * An object's bytes are on disk before it gets its name; the names are written out here, once for each directory. A power cut
 * before that loses names, which costs a download; the mark must not outlive them.
 */
static int names_sync(struct store *store, const struct snapshot *snapshot, struct err *err)
{
    bool is_synced[256] = {false};
    for (size_t i = 0; i < snapshot->count; i++) {
        uint8_t fan_number;
        char fan[3] = {snapshot->files[i].object[0], snapshot->files[i].object[1], '\0'};
        if (str_unhex(fan, &fan_number, 1) != 0 || is_synced[fan_number])
            continue;
        is_synced[fan_number] = true;
        _cleanup_(closep) int fd = fs_open_beneath(store->objects, fan, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 || store_dir_sync(fd) != 0)
            return store_error(store, errno, "cannot write a directory of the store", err);
    }
    if (store_dir_sync(store->objects) != 0 || store_dir_sync(store->snapshots) != 0)
        return store_error(store, errno, "cannot write a directory of the store", err);
    return 0;
}

/* Writes a file aside and gives it its name. 1: done, 0: the name was taken, -1: error. */
static int file_publish(struct store *store, int fan, const char *name, const struct str *text, struct err *err)
{
    char temp[STORE_NAME_SIZE];
    store_temp_name(store, temp);
    if (store_write_aside(store->incoming, temp, text->data, text->len, 0444) != 0)
        return store_error(store, errno, "cannot write a snapshot", err);
    int placed = store_place(store, store->incoming, temp, fan, name);
    int saved = errno;
    if (placed != 1)
        unlinkat(store->incoming, temp, 0);
    return placed < 0 ? store_error(store, saved, "cannot give a snapshot its name", err) : placed;
}

static int list_write(struct store *store, int fan, const char *id, const struct str *text, struct err *err)
{
    for (int i = 0; i < 2; i++) {
        int placed = file_publish(store, fan, id, text, err);
        if (placed != 0)
            return placed == 1 ? 0 : -1;
        _cleanup_(str_deinitp) struct str there = STR_INIT;
        struct err reading = ERR_INIT;
        if (store_snapshot_read(store, id, &there, &reading) == 0)
            return 0;
        if (reading.code != ERR_CORRUPT) {
            *err = reading;
            return -1;
        }
    }
    return err_set(err, ERR_CORRUPT, "snapshot %.16s: a damaged list is in its place and cannot be moved away", id);
}

/* For people, and of no effect on anything: not having it is no error. */
static void info_write(struct store *store, int fan, const char *id, const char *description)
{
    struct err ignored = ERR_INIT;
    char name[STORE_NAME_SIZE];
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    str_append_text(&text, "sharedcache-info 1\ndescription ");
    for (size_t i = 0; i < DESCRIPTION_MAX && description[i] != '\0'; i++) {
        unsigned char c = (unsigned char)description[i];
        str_append_char(&text, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
    str_append_char(&text, '\n');
    store_text_seal(&text);
    snprintf(name, sizeof(name), "%s.info", id);
    (void)file_publish(store, fan, name, &text, &ignored);
}

/* An empty file beside the list, and on disk when this returns. */
static int empty_file_make(struct store *store, int fan, const char *id, const char *suffix, struct err *err)
{
    char name[STORE_NAME_SIZE];
    snprintf(name, sizeof(name), "%s%s", id, suffix);
    int fd = openat(fan, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 && errno != EEXIST)
        return store_error(store, errno, "cannot mark a snapshot", err);
    if (fd >= 0)
        (void)fchmod(fd, 0644);
    if ((fd >= 0 && close(fd) != 0) || store_dir_sync(fan) != 0)
        return store_error(store, errno, "cannot mark a snapshot", err);
    return 0;
}

static int snapshot_write_out(struct store *store, const struct snapshot *snapshot, const char *id,
                              const char *description, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(closep) int fan = store_fan_open(store, store->snapshots, id, err);
    if (fan < 0 || names_sync(store, snapshot, err) != 0)
        return -1;
    snapshot_write(snapshot, &text);
    if (list_write(store, fan, id, &text, err) != 0)
        return -1;
    info_write(store, fan, id, description);
    if (empty_file_make(store, fan, id, ".used", err) != 0)
        return -1;
    crash_point("fill.snapshot_written");
    if (empty_file_make(store, fan, id, ".complete", err) != 0)
        return -1;
    crash_point("fill.snapshot_marked");
    return 0;
}

int store_snapshot_commit(struct store *store, const struct snapshot *snapshot, const char *description,
                          struct err *err)
{
    char id[SHA256_HEX];
    snapshot_id(snapshot, id);
    if (objects_check(store, snapshot, err) != 0)
        return -1;
    int found = store_snapshot_find(store, id, err);
    if (found != 0)
        return found == 1 ? 0 : -1;
    if (store_require_writable(store, err) != 0)
        return -1;
    return snapshot_write_out(store, snapshot, id, description, err);
}

/* Only the interval is judged by this node's clock; a stamp from the future, by a server ahead of us, is renewed. */
static bool is_recent(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    int64_t age = clock_wall_s() - (int64_t)info.st_mtim.tv_sec;
    return age >= 0 && age < TOUCH_SECONDS;
}

/* The time is the server's: many nodes' stamps are compared with each other, never with a node's clock. */
int store_snapshot_touch(struct store *store, const char *id, struct err *err)
{
    assert(store_is_id(id));
    char path[STORE_NAME_SIZE];
    if (!store->writable)
        return 0;
    store_path(id, ".used", path);
    _cleanup_(closep) int fd =
        fs_open_beneath(store->snapshots, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0)
        return store_error(store, errno, "cannot stamp a snapshot as used", err);
    const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    if (!is_recent(fd) && futimens(fd, now) != 0)
        return store_error(store, errno, "cannot stamp a snapshot as used", err);
    return 0;
}

struct each {
    struct store *store;
    store_each call;
    void *context;
};

static void description_read(int fan, const char *id, struct str *out)
{
    static const char prefix[] = "sharedcache-info 1\ndescription ";
    char name[STORE_NAME_SIZE];
    struct err ignored = ERR_INIT;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    size_t len;
    snprintf(name, sizeof(name), "%s.info", id);
    str_append_text(out, "");
    if (fs_read_file(fan, name, INFO_MAX, &text, &ignored) != 0 || text.len == 0 ||
        store_text_unseal(text.data, text.len, &len) != 0 || !str_starts_with(text.data, prefix) ||
        text.data[len - 1] != '\n')
        return;
    str_append(out, text.data + strlen(prefix), len - strlen(prefix) - 1);
}

static int64_t used_read(int fan, const char *id)
{
    char name[STORE_NAME_SIZE];
    struct stat info;
    snprintf(name, sizeof(name), "%s.used", id);
    return fstatat(fan, name, &info, AT_SYMLINK_NOFOLLOW) == 0 ? (int64_t)info.st_mtim.tv_sec : 0;
}

/* One that is damaged, or was evicted meanwhile, is passed over. */
static int each_one(void *context, int fan, const char *id, struct err *err)
{
    (void)err;
    const struct each *each = context;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(str_deinitp) struct str description = STR_INIT;
    struct snapshot snapshot;
    struct err ignored = ERR_INIT;
    if (store_snapshot_read(each->store, id, &text, &ignored) != 0 ||
        snapshot_parse(arena, text.data, text.len, SNAPSHOT_FILES_MAX, &snapshot, &ignored) != 0)
        return 0;
    description_read(fan, id, &description);
    return each->call(each->context, id, &snapshot, description.data, used_read(fan, id));
}

int store_snapshots_each(struct store *store, store_each call, void *context, struct err *err)
{
    struct each each = {.store = store, .call = call, .context = context};
    return store_walk(store->snapshots, ".complete", each_one, &each, err);
}
