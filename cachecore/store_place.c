/*
 * Giving a file its final name. On a network file system an error does not mean that nothing happened: the server may have done the
 * work and the reply was lost. So every error is followed by a look at both names.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <time.h>

#include "cachecore/store_internal.h"

#define RENAME_TRIES 10 /* about three seconds in all */
#define GUARD_TRIES 30
#define GUARD_WAIT_NS 100000000L

struct seen {
    bool is_there;
    uint64_t device, inode;
};

/* Asks the server, not the cache. */
static struct seen look(int dirfd, const char *name)
{
    struct statx info;
    struct seen seen = {.is_there = false};
    if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC, STATX_INO, &info) == 0) {
        seen.is_there = true;
        seen.device = (uint64_t)info.stx_dev_major << 32 | info.stx_dev_minor;
        seen.inode = info.stx_ino;
    }
    return seen;
}

static bool link_is_unsupported(int errnum)
{
    return errnum == EPERM || errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == EMLINK || errnum == EINVAL ||
           errnum == EACCES;
}

enum outcome { FAILED = -1, OCCUPIED = 0, DONE = 1, UNSUPPORTED = 2 };

static enum outcome failed(int errnum)
{
    errno = errnum;
    return FAILED;
}

static enum outcome by_link(int from_dir, const char *from, int to_dir, const char *to)
{
    int errnum = linkat(from_dir, from, to_dir, to, 0) == 0 ? 0 : errno;
    if (errnum != 0) {
        struct seen source = look(from_dir, from);
        struct seen target = look(to_dir, to);
        bool is_same = source.inode == target.inode && source.device == target.device;
        if (target.is_there && !(source.is_there && is_same))
            return OCCUPIED;
        if (!target.is_there)
            return link_is_unsupported(errnum) ? UNSUPPORTED : failed(errnum);
    }
    unlinkat(from_dir, from, 0); /* a leftover name is harmless and reaped later */
    return DONE;
}

/* Only this writer ever removes "from": when it is gone and the target is there, the rename was done. */
static enum outcome rename_judge(int errnum, int from_dir, const char *from, int to_dir, const char *to)
{
    if (!look(to_dir, to).is_there)
        return failed(errnum);
    return look(from_dir, from).is_there ? OCCUPIED : DONE;
}

/* An SMB server refuses to rename what it still takes for open, or onto a name whose removal is pending: that passes. Row 79. */
static int renameat2_patiently(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    for (int i = 0;; i++) {
        if (renameat2(from_dir, from, to_dir, to, flags) == 0)
            return 0;
        if ((errno != EACCES && errno != EBUSY && errno != ETXTBSY) || i == RENAME_TRIES)
            return -1;
        uint8_t jitter;
        int saved = errno;
        digest_random(&jitter, sizeof(jitter));
        nanosleep(&(struct timespec){.tv_nsec = (1 + i) * 50000000L + jitter * 200000L}, NULL);
        errno = saved;
    }
}

static enum outcome by_rename_noreplace(int from_dir, const char *from, int to_dir, const char *to)
{
    if (renameat2_patiently(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
        return DONE;
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
        return UNSUPPORTED;
    return rename_judge(errno, from_dir, from, to_dir, to);
}

/*
 * An exclusive lock name beside the target. One that stays for seconds is a dead writer's and is removed; should its owner only
 * have been asleep, it replaces the file by its own complete one.
 */
static int guard_take(int to_dir, const char *to, const char *guard)
{
    for (int i = 0; i < GUARD_TRIES; i++) {
        int fd = openat(to_dir, guard, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd >= 0)
            return close(fd);
        if (errno != EEXIST || look(to_dir, to).is_there)
            return errno == EEXIST ? 0 : -1;
        nanosleep(&(struct timespec){.tv_nsec = GUARD_WAIT_NS}, NULL);
    }
    return 0;
}

static enum outcome by_guarded_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    char guard[STORE_NAME_SIZE];
    snprintf(guard, sizeof(guard), "%.240s.lock", to);
    if (guard_take(to_dir, to, guard) != 0)
        return FAILED;
    enum outcome outcome = OCCUPIED;
    if (!look(to_dir, to).is_there) {
        outcome = DONE;
        if (renameat2_patiently(from_dir, from, to_dir, to, 0) != 0)
            outcome = rename_judge(errno, from_dir, from, to_dir, to);
    }
    int saved = errno;
    unlinkat(to_dir, guard, 0);
    errno = saved;
    return outcome;
}

int store_rename_try(const struct store *store, const char *name)
{
    int dir = store->incoming;
    char aside[STORE_NAME_SIZE];
    if (!store->is_smb)
        return 0;
    store_temp_name(store, aside);
    if (renameat2_patiently(dir, name, dir, aside, 0) != 0)
        return -1;
    int fd = openat(dir, aside, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && close(fd) == 0)
        return renameat2_patiently(dir, aside, dir, name, 0);
    int saved = errno;
    unlinkat(dir, aside, 0);
    errno = saved;
    return -1;
}

/* Not by link on SMB: a second name of a file that a server may still have a lease for cannot be opened (store_rename_try). */
int store_place(const struct store *store, int from_dir, const char *from, int to_dir, const char *to)
{
    enum outcome outcome = store->is_smb ? UNSUPPORTED : by_link(from_dir, from, to_dir, to);
    if (outcome == UNSUPPORTED)
        outcome = by_rename_noreplace(from_dir, from, to_dir, to);
    if (outcome == UNSUPPORTED)
        outcome = by_guarded_rename(from_dir, from, to_dir, to);
    return (int)outcome;
}
