#include "csi/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"

void target_deinit(struct target *target)
{
    if (target->parent_fd >= 0)
        close(target->parent_fd);
    target->parent_fd = -1;
}

const char *target_canonical(struct arena *arena, const char *kubelet_dir, const char *relative, struct err *err)
{
    char real[PATH_MAX];
    if (!realpath(kubelet_dir, real)) {
        err_set_errno(err, ERR_INTERNAL, errno, "cannot resolve the kubelet directory '%.200s'", kubelet_dir);
        return NULL;
    }
    return arena_printf(arena, "%s/%s", real, relative);
}

/* -1 with errno set. The kubelet directory itself may be a link of the admin's; nothing below it may. */
static int open_parent(const char *kubelet_dir, const char *relative)
{
    const char *slash = strrchr(relative, '/');
    _cleanup_(closep) int base = open(kubelet_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (base < 0 || !slash)
        return STEAL_FD(base);
    char path[PATH_MAX];
    size_t len = (size_t)(slash - relative);
    if (len >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(path, relative, len);
    path[len] = '\0';
    return fs_open_beneath(base, path, O_PATH | O_DIRECTORY, 0);
}

int target_open(const char *kubelet_dir, const char *relative, struct target *out, struct err *err)
{
    const char *slash = strrchr(relative, '/');
    int fd = open_parent(kubelet_dir, relative);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_INTERNAL, "kubelet did not create the parent directory of target_path");
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return err_set(err, ERR_INVALID, "target_path: a parent is a symbolic link or no directory");
    if (fd < 0)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot open the parent directory of target_path");
    *out = (struct target){.parent_fd = fd, .name = slash ? slash + 1 : relative};
    return 0;
}

/* O_PATH descriptors cannot be listed: opened anew through the parent, whose entry was just checked to be no link. */
static int check_empty(int parent_fd, const char *name, struct err *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot list the target directory");
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return err_set(err, ERR_PRECONDITION, "the target directory is not empty and not a mount: clear it first");
    return 0;
}

int target_make(const struct target *target, bool *made, struct err *err)
{
    bool is_new = mkdirat(target->parent_fd, target->name, 0750) == 0;
    if (!is_new && errno != EEXIST)
        return err_set_errno(err, errno == ENOSPC || errno == EDQUOT ? ERR_EXHAUSTED : ERR_INTERNAL, errno,
                             "cannot create the target directory");
    _cleanup_(closep) int fd = openat(target->parent_fd, target->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return err_set(err, ERR_INVALID, "target_path is a file or a symbolic link, not a directory");
    if (fd < 0)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot open the target directory");
    if (!is_new && check_empty(target->parent_fd, target->name, err) != 0)
        return -1;
    *made = is_new;
    return STEAL_FD(fd);
}

bool target_parent_is_same(const struct target *target, const char *kubelet_dir, const char *relative)
{
    struct stat held;
    struct stat now;
    _cleanup_(closep) int fd = open_parent(kubelet_dir, relative);
    return fd >= 0 && fstat(fd, &now) == 0 && fstat(target->parent_fd, &held) == 0 && now.st_dev == held.st_dev &&
           now.st_ino == held.st_ino;
}

int target_remove(const struct target *target, struct err *err)
{
    if (target->parent_fd < 0 || unlinkat(target->parent_fd, target->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return err_set(err, ERR_PRECONDITION, "the target directory is not empty: it is left alone");
    if (errno == ENOTDIR || errno == ELOOP)
        return err_set(err, ERR_PRECONDITION, "target_path is not a directory: it is left alone");
    if (errno == EBUSY)
        return err_set(err, ERR_UNAVAILABLE, "the target directory is still in use");
    return err_set_errno(err, ERR_INTERNAL, errno, "cannot remove the target directory");
}
