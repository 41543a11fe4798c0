#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cachecore/store_internal.h"
#include "cachecore/store_open.h"

#define FORMAT_BYTES_MAX 65536u

/* 1: read, 0: there is none, -1: error. */
static int format_read(const struct store *store, struct store_format *out, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct err reading = ERR_INIT;
    if (fs_read_file(store->root, "FORMAT", FORMAT_BYTES_MAX, &text, &reading) != 0) {
        if (reading.code == ERR_NOT_FOUND)
            return 0;
        *err = reading;
        return -1;
    }
    return store_format_parse(text.len > 0 ? text.data : "", text.len, out, err) == 0 ? 1 : -1;
}

/* What a file server or file system puts into an empty directory by itself, and what a creator that died left. */
static bool is_harmless(const char *name)
{
    static const char *const names[] = {".", "..", "lost+found", ".snapshot", ".snapshots", ".zfs"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return str_starts_with(name, ".nfs") || str_starts_with(name, "tmp.");
}

/* Whoever mounts a share makes objects/ before the store is opened for the first time: views need its descriptor. */
static bool is_empty_objects(const struct store *store, const char *name)
{
    if (strcmp(name, "objects") != 0)
        return false;
    int fd = fs_open_beneath(store->root, name, O_RDONLY | O_DIRECTORY, 0);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return false;
    }
    return true;
}

/* 1: nothing foreign, 0: something (its name in out), -1: error. */
static int root_is_empty(const struct store *store, char out[STORE_NAME_SIZE], struct err *err)
{
    int fd = fs_open_beneath(store->root, ".", O_RDONLY | O_DIRECTORY, 0);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        store_error(store, errno, "cannot list the store's directory", err);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (is_harmless(entry->d_name) || is_empty_objects(store, entry->d_name))
            continue;
        snprintf(out, STORE_NAME_SIZE, "%s", entry->d_name);
        return 0;
    }
    return 1;
}

/* Made whole under a name of its own and linked: of two creators one wins and the other reads what that one wrote. */
static int format_create(const struct store *store, struct err *err)
{
    struct store_format format = {.version = STORE_VERSION, .created_s = (uint64_t)clock_wall_s()};
    uint8_t id[STORE_ID_LEN / 2];
    char name[STORE_NAME_SIZE];
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    digest_random(id, sizeof(id));
    str_hex(id, sizeof(id), format.id);
    store_format_write(&format, &text);
    store_temp_name(store, name);
    if (store_write_aside(store->root, name, text.data, text.len, 0444) != 0)
        return store_error(store, errno, "cannot make a store in the empty directory", err);
    int placed = store_place(store, store->root, name, store->root, "FORMAT");
    int saved = errno;
    if (placed != 1)
        unlinkat(store->root, name, 0);
    if (placed < 0 || store_dir_sync(store->root) != 0)
        return store_error(store, placed < 0 ? saved : errno, "cannot make a store in the empty directory", err);
    return 0;
}

int store_format_load(const struct store *store, struct store_format *out, struct err *err)
{
    char foreign[STORE_NAME_SIZE];
    int found = format_read(store, out, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    int is_empty = root_is_empty(store, foreign, err);
    if (is_empty < 0)
        return -1;
    /* What was seen may be the work of another creator, whose FORMAT came first. */
    found = is_empty && format_create(store, err) != 0 ? -1 : format_read(store, out, err);
    if (found == 0)
        return err_set(err, ERR_PRECONDITION,
                       "the directory holds no store (no FORMAT) but is not empty ('%.100s' is there): name an empty "
                       "directory or sub-path",
                       is_empty ? "" : foreign);
    return found < 0 ? -1 : 0;
}
