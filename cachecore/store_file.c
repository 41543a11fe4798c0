#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "cachecore/store_internal.h"

bool store_is_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == 64 && text[64] == '\0';
}

void store_path(const char *id, const char *suffix, char out[STORE_NAME_SIZE])
{
    snprintf(out, STORE_NAME_SIZE, "%.2s/%s%s", id, id, suffix);
}

void store_temp_name(const struct store *store, char out[STORE_NAME_SIZE])
{
    uint8_t random[8];
    char hex[17];
    digest_random(random, sizeof(random));
    str_hex(random, sizeof(random), hex);
    snprintf(out, STORE_NAME_SIZE, "tmp.%s.%s.%s", store->node, store->boot, hex);
}

static int full_error(const struct store *store, int errnum, const char *what, struct err *err)
{
    struct statvfs info;
    char free_text[16] = "unknown size";
    if (errnum == EDQUOT)
        return err_set(err, ERR_EXHAUSTED, "%s: the quota of the store's owner (uid %u) is used up", what, geteuid());
    if (fstatvfs(store->root, &info) == 0)
        str_human_bytes((uint64_t)info.f_bavail * info.f_frsize, free_text);
    return err_set(err, ERR_EXHAUSTED, "%s: the store's file system is full, %s free", what, free_text);
}

int store_error(const struct store *store, int errnum, const char *what, struct err *err)
{
    if (errnum == ENOSPC || errnum == EDQUOT)
        return full_error(store, errnum, what, err);
    if (errnum == EROFS || errnum == EACCES || errnum == EPERM)
        return err_set_errno(err, ERR_PRECONDITION, errnum, "%s: store not writable as uid %u", what, geteuid());
    if (errnum == EBUSY || errnum == ETXTBSY)
        return err_set_errno(err, ERR_UNAVAILABLE, errnum, "%s", what);
    return store_read_error(errnum, what, err);
}

int store_read_error(int errnum, const char *what, struct err *err)
{
    if (errnum == EACCES || errnum == EPERM)
        return err_set_errno(err, ERR_PRECONDITION, errnum, "%s: store not readable as uid %u", what, geteuid());
    if (errnum == ELOOP || errnum == ENOTDIR)
        return err_set_errno(err, ERR_PRECONDITION, errnum, "%s: something else stands where the store has a directory",
                             what);
    return err_set_errno(err, ERR_NONE, errnum, "%s", what);
}

int store_require_writable(const struct store *store, struct err *err)
{
    if (store->writable)
        return 0;
    return err_set(err, ERR_PRECONDITION, "store not writable as uid %u", geteuid());
}

int store_write_aside(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    int failed = fs_write_all(fd, data, len) != 0;
    (void)fchmod(fd, mode); /* the share may fix modes: what counts is that it can be read */
    failed = failed || fsync(fd) != 0;
    int saved = errno;
    if (close(fd) != 0 && !failed) {
        failed = 1;
        saved = errno;
    }
    if (!failed)
        return 0;
    unlinkat(dirfd, name, 0);
    errno = saved;
    return -1;
}

int store_dir_sync(int fd)
{
    if (fsync(fd) == 0 || errno == EINVAL || errno == EOPNOTSUPP)
        return 0;
    return -1;
}

int store_mkdir(int dirfd, const char *name)
{
    if (mkdirat(dirfd, name, 0755) == 0) {
        /* Against a tight umask. Where it does not work (an SMB share), the share's own modes hold. */
        int ignored __attribute__((unused)) = fchmodat(dirfd, name, 0755, 0);
        return 1;
    }
    return errno == EEXIST ? 0 : -1;
}

int store_fan_open(const struct store *store, int parent, const char *id, struct err *err)
{
    char fan[3] = {id[0], id[1], '\0'};
    int fd = fs_open_beneath(parent, fan, O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT || store_mkdir(parent, fan) < 0)
        return store_error(store, errno, "cannot make a directory in the store", err);
    fd = fs_open_beneath(parent, fan, O_RDONLY | O_DIRECTORY, 0);
    return fd >= 0 ? fd : store_error(store, errno, "cannot open a directory of the store", err);
}

int store_look(int dirfd, const char *path, uint64_t *size)
{
    struct stat info;
    _cleanup_(closep) int fd = fs_open_beneath(dirfd, path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &info) != 0)
        return -1;
    if (!S_ISREG(info.st_mode)) {
        errno = ENOTSUP;
        return -1;
    }
    *size = (uint64_t)info.st_size;
    return 1;
}

int store_quarantine(const struct store *store, int dirfd, const char *path, struct err *err)
{
    uint8_t random[8];
    char hex[17];
    char name[STORE_NAME_SIZE];
    const char *slash = strrchr(path, '/');
    digest_random(random, sizeof(random));
    str_hex(random, sizeof(random), hex);
    snprintf(name, sizeof(name), "%.200s.%s", slash ? slash + 1 : path, hex);
    if (renameat(dirfd, path, store->quarantine, name) == 0 || errno == ENOENT)
        return 0;
    return store_error(store, errno, "cannot move a damaged file to quarantine", err);
}
