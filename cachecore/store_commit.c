#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/crash.h"
#include "cachecore/store_internal.h"

int partial_fd(const struct partial *partial)
{
    return partial->data;
}

const struct part *partial_parts(const struct partial *partial, size_t *count)
{
    *count = partial->locked.parts.count;
    return partial->locked.parts.items;
}

static int record_locked(struct partial *partial, const struct part *part, struct err *err)
{
    _cleanup_(str_deinitp) struct str line = STR_INIT;
    if (part->len == 0 || part->offset > partial->size || part->len > partial->size - part->offset ||
        parts_overlap(&partial->locked.parts, part->offset, part->len))
        return err_set(err, ERR_INTERNAL, "part %" PRIu64 "+%" PRIu64 " does not fit its object", part->offset,
                       part->len);
    journal_part(&line, part);
    if (partial_journal_append_locked(partial, &line, err) != 0)
        return -1;
    if (parts_replace(&partial->locked.parts, part) != 0)
        return err_set(err, ERR_EXHAUSTED, "an object of more than %u parts", STORE_PARTS_MAX);
    return 0;
}

int partial_record(struct partial *partial, const struct part *part, struct err *err)
{
    pthread_mutex_lock(&partial->locked.mutex);
    int result = record_locked(partial, part, err);
    pthread_mutex_unlock(&partial->locked.mutex);
    if (result == 0)
        crash_point("fill.part_recorded");
    return result;
}

int partial_set_size(struct partial *partial, uint64_t size, struct err *err)
{
    pthread_mutex_lock(&partial->locked.mutex);
    assert(partial->size == STORE_SIZE_UNKNOWN || partial->size == size);
    partial->size = size;
    int result = partial_size_write_locked(partial, err);
    pthread_mutex_unlock(&partial->locked.mutex);
    return result;
}

int partial_restart(struct partial *partial, struct err *err)
{
    pthread_mutex_lock(&partial->locked.mutex);
    partial->size = partial->opened_size;
    int result = partial_start_empty_locked(partial, false, err);
    pthread_mutex_unlock(&partial->locked.mutex);
    return result;
}

int partial_discard(struct partial *partial, struct err *err)
{
    if (partial->is_gone)
        return 0;
    partial->is_gone = true;
    return store_partial_unlink(partial->store, partial->name, err);
}

uint32_t partial_crc32c(const struct partial *partial)
{
    uint32_t crc = 0;
    bool covers = parts_cover(&partial->locked.parts, partial->size, &crc);
    assert(covers);
    return crc;
}

static int size_settle(const struct partial *partial, struct err *err)
{
    struct stat info;
    if (fstat(partial->data, &info) != 0)
        return store_error(partial->store, errno, "cannot finish an object", err);
    if ((uint64_t)info.st_size < partial->size)
        return err_set(err, ERR_CORRUPT, "an object's file is shorter than its parts");
    if ((uint64_t)info.st_size > partial->size && ftruncate(partial->data, (off_t)partial->size) != 0)
        return store_error(partial->store, errno, "cannot finish an object", err);
    return 0;
}

/*
 * Errors of earlier writes may come only now. After one, the kernel may take pages for clean that never reached the disk, and
 * reading them back would not tell: nothing of this file can be kept. Rows 71 and 72.
 */
static int sync_and_close(struct partial *partial, struct err *err)
{
    (void)fchmod(partial->data, 0444); /* the share may fix modes */
    int failed = fsync(partial->data) != 0;
    int saved = errno;
    crash_point("fill.object_synced");
    if (close(STEAL_FD(partial->data)) != 0 && !failed) {
        failed = 1;
        saved = errno;
    }
    return failed ? store_error(partial->store, saved, "cannot write an object to the store", err) : 0;
}

static int rename_try(const struct partial *partial, struct err *err)
{
    if (store_rename_try(partial->store, partial->name) == 0)
        return 0;
    return err_set_errno(err, ERR_UNAVAILABLE, errno,
                         "the share's server refuses a file that was written across a lost connection");
}

/* Sums are a help, not a promise: an object without them is read all the same. Nobody but who placed the object writes them. */
static void sums_keep(const struct partial *partial, int fan, uint32_t crc)
{
    const struct sums sums = {.size = partial->size,
                              .crc32c = crc,
                              .parts = partial->locked.parts.items,
                              .count = partial->locked.parts.count};
    char name[STORE_NAME_SIZE];
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    store_sums_write(partial->object, &sums, &text);
    snprintf(name, sizeof(name), "%s.sums", partial->object);
    unlinkat(fan, name, 0); /* of an object that is gone */
    int fd = openat(fan, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0)
        return;
    (void)fchmod(fd, 0444);
    bool written = write(fd, text.data, text.len) == (ssize_t)text.len;
    if (close(fd) != 0 || !written)
        unlinkat(fan, name, 0);
}

/* Another writer was first. Its bytes count now, and so does the CRC32C that it kept. */
static void adopt(struct partial *partial, uint32_t *crc)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct sums sums;
    struct err ignored = ERR_INIT;
    if (store_sums_read(partial->store, partial->object, arena, &sums, &ignored) == 1 && sums.size == partial->size)
        *crc = sums.crc32c;
}

/* 1: placed, 0: adopted what was there, -1: error. What stands there and is no such object goes to quarantine, once. */
static int place(struct partial *partial, int fan, struct err *err)
{
    struct store *store = partial->store;
    for (int i = 0; i < 2; i++) {
        int placed = store_place(store, store->incoming, partial->name, fan, partial->object);
        if (placed < 0)
            return store_error(store, errno, "cannot give an object its name", err);
        if (placed == 1)
            return 1;
        int found = store_object_find(store, partial->object, partial->size, err);
        if (found != 0)
            return found == 1 ? 0 : -1;
    }
    return err_set(err, ERR_UNAVAILABLE, "an object's name is taken and freed again by somebody else");
}

static int finish(struct partial *partial, uint32_t *crc, struct err *err)
{
    _cleanup_(closep) int fan = store_fan_open(partial->store, partial->store->objects, partial->object, err);
    if (fan < 0)
        return -1;
    int placed = place(partial, fan, err);
    if (placed < 0)
        return -1;
    crash_point("fill.object_linked");
    if (placed == 1)
        sums_keep(partial, fan, *crc);
    else
        adopt(partial, crc);
    return 0;
}

int partial_commit(struct partial *partial, uint32_t *crc, struct err *err)
{
    struct err ignored = ERR_INIT;
    uint32_t composed = 0;
    assert(!partial->is_gone);
    if (!parts_cover(&partial->locked.parts, partial->size, &composed))
        return err_set(err, ERR_CORRUPT, "an object's parts do not cover its size");
    if (size_settle(partial, err) != 0)
        return -1;
    if (sync_and_close(partial, err) != 0 || rename_try(partial, err) != 0) {
        partial_discard(partial, &ignored);
        return -1;
    }
    if (finish(partial, &composed, err) != 0)
        return -1;
    partial_discard(partial, &ignored); /* what stays is reaped later */
    *crc = composed;
    return 0;
}
