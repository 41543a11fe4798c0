#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "cachecore/store_internal.h"

#define SUMS_TEXT_MAX (64u << 20)

/* A wrong size is judged by a second, fresh look at the open file before anything is moved: attributes may be stale. */
static int wrong_object(struct store *store, const char *path, uint64_t size, struct err *err)
{
    struct stat info;
    _cleanup_(closep) int fd = fs_open_beneath(store->objects, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == size)
        return 1;
    if (!store->writable)
        return 0;
    char sums[STORE_NAME_SIZE];
    snprintf(sums, sizeof(sums), "%.67s.sums", path);
    return store_quarantine(store, store->objects, path, err) != 0 ||
                   store_quarantine(store, store->objects, sums, err) != 0
               ? -1
               : 0;
}

int store_object_find(struct store *store, const char *object, uint64_t size, struct err *err)
{
    assert(store_is_id(object));
    char path[STORE_NAME_SIZE];
    uint64_t found_size = 0;
    store_path(object, "", path);
    int found = store_look(store->objects, path, &found_size);
    if (found == 0 || (found == 1 && (size == STORE_SIZE_UNKNOWN || size == found_size)))
        return found;
    if (found < 0 && errno != ENOTSUP)
        return store_read_error(errno, "cannot look for an object", err);
    return wrong_object(store, path, size, err);
}

int store_object_stat(struct store *store, const char *object, uint64_t *size, struct err *err)
{
    int found = store_object_find(store, object, STORE_SIZE_UNKNOWN, err);
    if (found != 1)
        return found;
    char path[STORE_NAME_SIZE];
    store_path(object, "", path);
    found = store_look(store->objects, path, size);
    return found < 0 ? store_read_error(errno, "cannot look for an object", err) : found;
}

int store_object_open(struct store *store, const char *object, struct err *err)
{
    assert(store_is_id(object));
    char path[STORE_NAME_SIZE];
    struct stat info;
    store_path(object, "", path);
    _cleanup_(closep) int fd = fs_open_beneath(store->objects, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "object %.16s is not in the store", object);
    if (fd < 0 || fstat(fd, &info) != 0)
        return store_read_error(errno, "cannot open an object", err);
    if (!S_ISREG(info.st_mode))
        return err_set(err, ERR_NOT_FOUND, "what stands at object %.16s is not a regular file", object);
    return STEAL_FD(fd);
}

int store_object_quarantine(struct store *store, const char *object, struct err *err)
{
    assert(store_is_id(object));
    char path[STORE_NAME_SIZE];
    if (store_require_writable(store, err) != 0)
        return -1;
    store_path(object, "", path);
    if (store_quarantine(store, store->objects, path, err) != 0)
        return -1;
    store_path(object, ".sums", path);
    return store_quarantine(store, store->objects, path, err);
}

int store_sums_read(struct store *store, const char *object, struct arena *arena, struct sums *out, struct err *err)
{
    assert(store_is_id(object));
    char path[STORE_NAME_SIZE];
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct err reading = ERR_INIT;
    store_path(object, ".sums", path);
    if (fs_read_file(store->objects, path, SUMS_TEXT_MAX, &text, &reading) != 0) {
        if (reading.code == ERR_UNAVAILABLE) {
            *err = reading;
            return -1;
        }
        return 0;
    }
    return text.len > 0 && store_sums_parse(arena, object, text.data, text.len, out) == 0;
}
