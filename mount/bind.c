#include "mount/bind.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "mount/kernel.h"
#include "mount/layer.h"

struct binds {
    const int *data_fds;
    size_t data_count;
    bool noexec;
    int root; /* of the mounted tree */
    unsigned count;
};

/* The object that a file of the layer stands for, as a path below objects/: "ab/<id>". */
static int object_of(int file, char out[LAYER_REDIRECT_MAX], struct err *err)
{
    char value[LAYER_REDIRECT_MAX + 1];
    ssize_t len = fgetxattr(file, LAYER_XATTR_REDIRECT, value, LAYER_REDIRECT_MAX);
    if (len < 2 || value[0] != '/')
        return err_set(err, ERR_CORRUPT, "a file of the metadata layer names no object");
    memcpy(out, value + 1, (size_t)len - 1);
    out[len - 1] = '\0';
    return 0;
}

static int bind_refused(const char *path, int errnum, struct err *err)
{
    if (errnum == ENOSPC)
        return err_set_errno(err, ERR_EXHAUSTED, errnum,
                             "cannot mount '%.200s': the node is at its limit of mounts "
                             "(fs.mount-max)",
                             path);
    return err_set_errno(err, ERR_NONE, errnum, "cannot mount '%.200s'", path);
}

static int bind_file(struct binds *binds, int file, const char *path, struct err *err)
{
    char object[LAYER_REDIRECT_MAX];
    if (++binds->count > VIEW_BINDS_MAX)
        return err_set(err, ERR_UNSUPPORTED,
                       "more than %d files cannot be mounted one by one on this share: choose copyPolicy: copy",
                       VIEW_BINDS_MAX);
    if (object_of(file, object, err) != 0)
        return -1;
    for (size_t i = 0; i < binds->data_count; i++) {
        _cleanup_(closep) int mounted = kernel_bind(binds->data_fds[i], object, binds->root, path, binds->noexec);
        if (mounted >= 0)
            return 0;
        if (errno != ENOENT)
            return bind_refused(path, errno, err);
    }
    return err_set(err, ERR_NOT_FOUND, "no store has the object of '%.200s'", path);
}

static int bind_children(struct binds *binds, int dir, const char *path, struct err *err);

static int bind_entry(struct binds *binds, int dir, const char *path, const struct dirent *entry, struct err *err)
{
    char child[PATH_MAX];
    if ((size_t)snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "", entry->d_name) >= sizeof(child))
        return err_set(err, ERR_INVALID, "a path below '%.200s' is too long", path);
    _cleanup_(closep) int fd = openat(dir, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open '%.200s' of the metadata layer", child);
    return S_ISDIR(info.st_mode) ? bind_children(binds, fd, child, err) : bind_file(binds, fd, child, err);
}

static int bind_children(struct binds *binds, int dir, const char *path, struct err *err)
{
    int walk = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closedirp) DIR *list = walk >= 0 ? fdopendir(walk) : NULL;
    if (!list) {
        closep(&walk);
        return err_set_errno(err, ERR_NONE, errno, "cannot list '%.200s' of the metadata layer", path);
    }
    for (struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (bind_entry(binds, dir, path, entry, err) != 0)
            return -1;
    }
    return 0;
}

int bind_view_mount(int target_fd, int layer_fd, const int *data_fds, size_t data_count, bool noexec, struct err *err)
{
    struct binds binds = {.data_fds = data_fds, .data_count = data_count, .noexec = noexec};
    _cleanup_(closep) int root = kernel_bind(layer_fd, "", target_fd, "", noexec);
    if (root < 0)
        return bind_refused("", errno, err);
    binds.root = root;
    if (bind_children(&binds, layer_fd, "", err) == 0)
        return 0;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", root);
    umount2(path, MNT_DETACH);
    return -1;
}
