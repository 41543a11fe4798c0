#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static int make_parents(char *path, mode_t mode)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(path, mode) != 0 && errno != EEXIST;
        *slash = '/';
        if (failed)
            return -1;
    }
    return mkdir(path, mode) != 0 && errno != EEXIST ? -1 : 0;
}

int fs_open_dir(const char *path, mode_t mode, struct err *err)
{
    char copy[PATH_MAX];
    if (path[0] != '/' || strlen(path) >= sizeof(copy))
        return err_set(err, ERR_INVALID, "'%.200s' is not an absolute path", path);
    memcpy(copy, path, strlen(path) + 1);
    if (make_parents(copy, mode) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot create directory '%s'", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open directory '%s'", path);
    return fd;
}

int fs_mkdir(int dirfd, const char *name, mode_t mode, struct err *err)
{
    if (mkdirat(dirfd, name, mode) == 0)
        return 0;
    struct stat info;
    if (errno == EEXIST && fstatat(dirfd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode))
        return 0;
    return err_set_errno(err, ERR_NONE, errno, "cannot create directory '%s'", name);
}

int fs_read_fd(int fd, size_t max, struct str *out, struct err *err)
{
    char buffer[16384];
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot read");
        if (got == 0)
            return 0;
        if (out->len + (size_t)got > max)
            return err_set(err, ERR_EXHAUSTED, "larger than the limit of %zu bytes", max);
        str_append(out, buffer, (size_t)got);
    }
}

int fs_read_file(int dirfd, const char *path, size_t max, struct str *out, struct err *err)
{
    _cleanup_(closep) int fd = fs_open_beneath(dirfd, path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open '%s'", path);
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return err_set(err, ERR_CORRUPT, "'%s' is not a regular file", path);
    if (fs_read_fd(fd, max, out, err) != 0)
        return err_prefix(err, "'%s'", path);
    return 0;
}

static int write_aside(int dirfd, const char *aside, const void *data, size_t len, mode_t mode)
{
    int fd = openat(dirfd, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return -1;
    int failed = fs_write_all(fd, data, len) != 0 || fsync(fd) != 0;
    int saved = errno;
    if (close(fd) != 0 && !failed) {
        failed = 1;
        saved = errno;
    }
    if (failed)
        unlinkat(dirfd, aside, 0);
    errno = saved;
    return failed ? -1 : 0;
}

int fs_write_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err)
{
    static atomic_uint counter;
    char aside[NAME_MAX + 1];
    int written = snprintf(aside, sizeof(aside), ".%.200s.%d.%u", name, (int)getpid(), atomic_fetch_add(&counter, 1));
    if (written < 0 || (size_t)written >= sizeof(aside) || strchr(name, '/'))
        return err_set(err, ERR_INVALID, "'%.200s' is not a file name", name);
    unlinkat(dirfd, aside, 0); /* left by an earlier process of the same number */
    if (write_aside(dirfd, aside, data, len, mode) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot write '%s'", name);
    if (renameat(dirfd, aside, dirfd, name) != 0 || fsync(dirfd) != 0) {
        int saved = errno;
        unlinkat(dirfd, aside, 0);
        return err_set_errno(err, ERR_NONE, saved, "cannot replace '%s'", name);
    }
    return 0;
}

int fs_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t done = write(fd, p, len);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        p += done;
        len -= (size_t)done;
    }
    return 0;
}

int fs_pwrite_all(int fd, const void *data, size_t len, off_t offset)
{
    const char *p = data;
    while (len > 0) {
        ssize_t done = pwrite(fd, p, len, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        p += done;
        offset += done;
        len -= (size_t)done;
    }
    return 0;
}

/* The open directory must lie on the device where the walk began: a mount inside is never emptied. */
static int remove_children(int fd, dev_t device, struct err *err)
{
    int walk = dup(fd);
    _cleanup_(closedirp) DIR *dir = walk >= 0 ? fdopendir(walk) : NULL;
    if (!dir)
        return err_set_errno(err, ERR_NONE, errno, "cannot list");
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return err_set_errno(err, ERR_NONE, errno, "cannot remove '%s'", entry->d_name);
        _cleanup_(closep) int child =
            openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        struct stat info;
        if (child < 0 || fstat(child, &info) != 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot open '%s'", entry->d_name);
        if (info.st_dev != device)
            return err_set(err, ERR_PRECONDITION, "'%s' is a mount point", entry->d_name);
        if (remove_children(child, device, err) != 0)
            return err_prefix(err, "'%s'", entry->d_name);
        if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot remove '%s'", entry->d_name);
    }
    return 0;
}

int fs_remove_tree(int dirfd, const char *name, struct err *err)
{
    struct stat parent;
    struct stat info;
    if (fstatat(dirfd, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_NONE, errno, "cannot stat '%s'", name);
    if (!S_ISDIR(info.st_mode)) {
        if (unlinkat(dirfd, name, 0) == 0)
            return 0;
        return err_set_errno(err, ERR_NONE, errno, "cannot remove '%s'", name);
    }
    if (fstat(dirfd, &parent) != 0 || parent.st_dev != info.st_dev)
        return err_set(err, ERR_PRECONDITION, "'%s' is a mount point", name);
    _cleanup_(closep) int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open '%s'", name);
    if (remove_children(fd, info.st_dev, err) != 0)
        return err_prefix(err, "'%s'", name);
    if (unlinkat(dirfd, name, AT_REMOVEDIR) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot remove '%s'", name);
    return 0;
}
