#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include "base/crash.h"
#include "base/fs.h"
#include "base/mem.h"
#include "cachecore/store_internal.h"

#define LOCK_TRIES 16
#define JOURNAL_TEXT_MAX (STORE_PARTS_MAX * 100u)
#define VERIFY_BUFFER (1u << 20)

void store_partial_name(const struct store *store, const char *object, char out[STORE_NAME_SIZE])
{
    snprintf(out, STORE_NAME_SIZE, "%s.%s.%s", object, store->node, store->boot);
}

static void journal_name(const char *partial_name, char out[STORE_NAME_SIZE])
{
    snprintf(out, STORE_NAME_SIZE, "%.240s.journal", partial_name);
}

static int lock_error(int errnum, struct err *err)
{
    if (errnum == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "another process of this node is filling this object");
    if (errnum == ENOLCK || errnum == EOPNOTSUPP || errnum == ENOSYS)
        return err_set_errno(err, ERR_UNSUPPORTED, errnum,
                             "the share takes no file locks (mount NFSv3 with 'nolock' or 'local_lock=flock')");
    return err_set_errno(err, ERR_NONE, errnum, "cannot lock a partial download");
}

static bool is_name_of(int dirfd, const char *name, int fd)
{
    struct stat open_file;
    struct stat named;
    return fstat(fd, &open_file) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

/* Whoever had the lock may have removed the file meanwhile: a lock counts only on the file that has the name. */
int store_journal_lock(const struct store *store, const char *partial_name, struct err *err)
{
    char name[STORE_NAME_SIZE];
    journal_name(partial_name, name);
    for (int i = 0; i < LOCK_TRIES; i++) {
        _cleanup_(closep) int fd =
            fs_open_beneath(store->incoming, name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0644);
        if (fd < 0)
            return store_error(store, errno, "cannot create a partial download", err);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0)
            return lock_error(errno, err);
        if (is_name_of(store->incoming, name, fd))
            return STEAL_FD(fd);
    }
    return err_set(err, ERR_BUSY, "another process of this node is filling this object");
}

int store_partial_unlink(const struct store *store, const char *partial_name, struct err *err)
{
    char name[STORE_NAME_SIZE];
    journal_name(partial_name, name);
    if ((unlinkat(store->incoming, partial_name, 0) != 0 && errno != ENOENT) ||
        (unlinkat(store->incoming, name, 0) != 0 && errno != ENOENT))
        return store_error(store, errno, "cannot remove a partial download", err);
    return 0;
}

static int full(const struct partial *partial, uint64_t free_bytes, struct err *err)
{
    char need[16];
    char has[16];
    str_human_bytes(partial->size, need);
    str_human_bytes(free_bytes, has);
    return err_set(err, ERR_EXHAUSTED, "the store's file system is full: an object needs %s, %s free", need, has);
}

/* Some servers state no sizes (all zero) or absurd ones: then only the write itself tells. Row 78. */
static int space_check(const struct partial *partial, struct err *err)
{
    struct statvfs info;
    struct stat data;
    if (fstatvfs(partial->data, &info) != 0 || info.f_blocks == 0 || fstat(partial->data, &data) != 0)
        return 0;
    uint64_t free_bytes;
    if (__builtin_mul_overflow((uint64_t)info.f_bavail, (uint64_t)info.f_frsize, &free_bytes))
        return 0;
    uint64_t held = (uint64_t)data.st_blocks * 512;
    return partial->size > held && partial->size - held > free_bytes ? full(partial, free_bytes, err) : 0;
}

static int reserve(const struct partial *partial, struct err *err)
{
    if (partial->size == STORE_SIZE_UNKNOWN || partial->size == 0)
        return 0;
    if (partial->size > INT64_MAX)
        return err_set(err, ERR_RANGE, "an object of more than 2^63-1 bytes");
    if (space_check(partial, err) != 0)
        return -1;
    while (fallocate(partial->data, 0, 0, (off_t)partial->size) != 0) {
        if (errno == EINTR)
            continue;
        if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
            return 0;
        return store_error(partial->store, errno, "cannot reserve room for an object", err);
    }
    return 0;
}

int partial_journal_append_locked(struct partial *partial, const struct str *lines, struct err *err)
{
    if (partial->locked.journal_is_torn && fs_write_all(partial->journal, "\n", 1) != 0)
        return store_error(partial->store, errno, "cannot write to a partial download's journal", err);
    partial->locked.journal_is_torn = true;
    if (fs_write_all(partial->journal, lines->data, lines->len) != 0)
        return store_error(partial->store, errno, "cannot write to a partial download's journal", err);
    partial->locked.journal_is_torn = false;
    return 0;
}

int partial_size_write_locked(struct partial *partial, struct err *err)
{
    _cleanup_(str_deinitp) struct str line = STR_INIT;
    journal_size(&line, partial->size);
    return partial_journal_append_locked(partial, &line, err);
}

/* Moved away first: an SMB server keeps the name of what is removed until the last who has it open has closed it. */
static int data_remove(const struct partial *partial, struct err *err)
{
    int dir = partial->store->incoming;
    char aside[STORE_NAME_SIZE];
    store_temp_name(partial->store, aside);
    const char *name = renameat(dir, partial->name, dir, aside) == 0 ? aside : partial->name;
    if (unlinkat(dir, name, 0) != 0 && errno != ENOENT)
        return store_error(partial->store, errno, "cannot remove a partial download", err);
    return 0;
}

/* The old file, should somebody still write to it, is not the one that the name means any more. */
static int data_create(struct partial *partial, struct err *err)
{
    int dir = partial->store->incoming;
    if (partial->data >= 0)
        close(partial->data);
    partial->data = -1;
    if (data_remove(partial, err) != 0)
        return -1;
    partial->data = openat(dir, partial->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (partial->data < 0)
        return store_error(partial->store, errno, "cannot create a partial download", err);
    return reserve(partial, err);
}

int partial_start_empty_locked(struct partial *partial, bool is_new, struct err *err)
{
    _cleanup_(str_deinitp) struct str lines = STR_INIT;
    parts_clear(&partial->locked.parts);
    if (is_new)
        journal_header(&lines, partial->object);
    else
        journal_reset(&lines);
    if (partial->size != STORE_SIZE_UNKNOWN)
        journal_size(&lines, partial->size);
    if (data_create(partial, err) != 0 || partial_journal_append_locked(partial, &lines, err) != 0)
        return -1;
    crash_point("fill.partial_created");
    return 0;
}

/* 1: the bytes are those that were recorded, 0: not, -1: the file cannot be read. */
static int part_verify(int fd, const struct part *part, uint8_t *buffer)
{
    uint32_t crc = 0;
    for (uint64_t done = 0; done < part->len;) {
        size_t want = part->len - done < VERIFY_BUFFER ? (size_t)(part->len - done) : VERIFY_BUFFER;
        ssize_t got = pread(fd, buffer, want, (off_t)(part->offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? 0 : -1;
        crc = crc32c(crc, buffer, (size_t)got);
        done += (uint64_t)got;
    }
    return crc == part->crc32c;
}

static int parts_verify(struct partial *partial, const struct parts *recorded, struct err *err)
{
    _cleanup_(freep) uint8_t *buffer = mem_alloc(VERIFY_BUFFER);
    for (size_t i = 0; i < recorded->count; i++) {
        const struct part *part = &recorded->items[i];
        bool fits = part->offset <= partial->size && part->len <= partial->size - part->offset;
        int good = fits ? part_verify(partial->data, part, buffer) : 0;
        if (good < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot read a partial download");
        if (good)
            (void)parts_replace(&partial->locked.parts, part);
    }
    return 0;
}

/* An SMB client may say one link where there are two, so the object's own place is looked at as well. */
static bool is_object(const struct partial *partial)
{
    struct stat info;
    char path[STORE_NAME_SIZE];
    store_path(partial->object, "", path);
    return fstatat(partial->store->objects, path, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/*
 * The data of an interrupted partial. A second link means that it has become an object and must never be written again; without
 * write permission it was about to. 1: open, 0: not usable, -1: error.
 */
static int data_reopen(struct partial *partial, struct err *err)
{
    struct stat info;
    int dir = partial->store->incoming;
    _cleanup_(closep) int look = fs_open_beneath(dir, partial->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (look < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : store_error(partial->store, errno, "cannot open a partial", err);
    if (fstat(look, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1 || is_object(partial))
        return 0;
    if (!(info.st_mode & S_IWUSR))
        (void)fchmod(look, 0644);
    partial->data = fs_open_beneath(dir, partial->name, O_RDWR | O_NOFOLLOW, 0);
    return partial->data >= 0;
}

static int resume(struct partial *partial, const struct journal *journal, struct err *err)
{
    bool same_size = journal->size == partial->size || journal->size == STORE_SIZE_UNKNOWN;
    int opened = same_size && journal->is_for_object ? data_reopen(partial, err) : 0;
    if (opened < 0)
        return -1;
    if (opened == 0)
        return partial_start_empty_locked(partial, !journal->is_for_object, err);
    if (parts_verify(partial, &journal->parts, err) != 0)
        return -1;
    if (journal->size != partial->size && partial_size_write_locked(partial, err) != 0)
        return -1;
    return reserve(partial, err);
}

/* Journals are only ever appended to, but for one that was never ours: its first line does not hold. */
static int journal_check(struct partial *partial, const struct str *text, const struct journal *journal,
                         struct err *err)
{
    partial->locked.journal_is_torn = journal->is_for_object && text->data[text->len - 1] != '\n';
    if (!journal->is_for_object && text->len > 0 && ftruncate(partial->journal, 0) != 0)
        return store_error(partial->store, errno, "cannot begin a partial download's journal", err);
    return 0;
}

static int journal_load(struct partial *partial, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct journal journal;
    struct err reading = ERR_INIT;
    if (fs_read_fd(partial->journal, JOURNAL_TEXT_MAX, &text, &reading) != 0 && reading.code != ERR_EXHAUSTED) {
        *err = reading;
        return err_prefix(err, "a partial download's journal");
    }
    bool is_too_large = reading.code != ERR_NONE;
    journal_parse(partial->object, text.len > 0 ? text.data : "", is_too_large ? 0 : text.len, &journal);
    int result = journal_check(partial, &text, &journal, err);
    result = result == 0 ? resume(partial, &journal, err) : -1;
    parts_deinit(&journal.parts);
    return result;
}

struct partial *store_partial_open(struct store *store, const char *object, uint64_t size, struct err *err)
{
    assert(store_is_id(object));
    if (store_require_writable(store, err) != 0)
        return NULL;
    _cleanup_(partial_closep) struct partial *partial = mem_alloc(sizeof(*partial));
    *partial = (struct partial){.store = store, .data = -1, .journal = -1, .size = size, .opened_size = size};
    pthread_mutex_init(&partial->locked.mutex, NULL);
    memcpy(partial->object, object, SHA256_HEX);
    store_partial_name(store, object, partial->name);
    partial->journal = store_journal_lock(store, partial->name, err);
    if (partial->journal < 0)
        return NULL;
    if (journal_load(partial, err) != 0) {
        struct err ignored = ERR_INIT;
        if (err->code == ERR_EXHAUSTED && partial->locked.parts.count == 0)
            store_partial_unlink(store, partial->name, &ignored);
        return NULL;
    }
    return STEAL_PTR(partial);
}

void partial_close(struct partial *partial)
{
    if (!partial)
        return;
    if (partial->data >= 0)
        close(partial->data);
    if (partial->journal >= 0)
        close(partial->journal);
    parts_deinit(&partial->locked.parts);
    pthread_mutex_destroy(&partial->locked.mutex);
    free(partial);
}
