#include "mount/layer.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/crash.h"
#include "base/fs.h"

#define NAME_LEN_MAX 80
#define BUILDING ".building-"
#define DIR_MTIME_S 946684800 /* 2000-01-01: layers are a function of their tree */

/* The directories from the layer's root down to the file that was made last: files come sorted, so each directory is made once. */
struct builder {
    enum view_form form;
    const char *path; /* of the directory on top of the stack; borrowed from the tree */
    size_t path_len;
    unsigned depth;
    int fds[VIEW_DEPTH_MAX + 1];
};

static void builder_deinit(struct builder *builder)
{
    for (unsigned i = 0; i <= builder->depth; i++)
        closep(&builder->fds[i]);
}

static int times_set(int fd, int64_t seconds, uint32_t nanoseconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds},
                                      {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    return futimens(fd, times);
}

static int layer_refused(int errnum, const char *path, struct err *err)
{
    if (errnum == EOPNOTSUPP || errnum == EPERM)
        return err_set_errno(
            err, ERR_PRECONDITION, errnum,
            "the file system of the state directory cannot hold overlayfs attributes: put it on ext4, xfs, "
            "btrfs or tmpfs");
    return err_set_errno(err, ERR_NONE, errnum, "cannot make '%.200s' in a metadata layer", path);
}

/* A directory is finished when it leaves the stack: making entries in it changes its time. */
static int dir_pop(struct builder *builder, struct err *err)
{
    int fd = builder->fds[builder->depth];
    int failed = times_set(fd, DIR_MTIME_S, 0);
    if (builder->depth > 0) {
        close(fd);
        builder->depth--;
    }
    return failed ? layer_refused(errno, "a directory", err) : 0;
}

/* Does a name at the top hide behind one of the 256 directories of a store? */
static bool is_store_name(const char *name)
{
    return strlen(name) == 2 && strspn(name, "0123456789abcdef") == 2;
}

static int dir_push(struct builder *builder, const char *name, struct err *err)
{
    int parent = builder->fds[builder->depth];
    if (mkdirat(parent, name, 0755) != 0 && errno != EEXIST)
        return layer_refused(errno, name, err);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) != 0) {
        int saved = errno;
        closep(&fd);
        return layer_refused(saved, name, err);
    }
    builder->fds[++builder->depth] = fd;
    bool hides = builder->form == VIEW_WHITEOUTS && builder->depth == 1 && is_store_name(name);
    if (hides && fsetxattr(fd, LAYER_XATTR_OPAQUE, "y", 1, 0) != 0)
        return layer_refused(errno, name, err);
    return 0;
}

/* The number of leading directories that two paths share. */
static unsigned shared_depth(const char *a, const char *b)
{
    unsigned depth = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        depth += a[i] == '/';
    return depth;
}

static int dirs_enter(struct builder *builder, const char *before, const char *path, struct err *err)
{
    char name[256];
    unsigned keep = shared_depth(before, path);
    while (builder->depth > keep) {
        if (dir_pop(builder, err) != 0)
            return -1;
    }
    unsigned level = 0;
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(path, '/')) {
        size_t len = (size_t)(slash - path);
        memcpy(name, path, len);
        name[len] = '\0';
        path = slash + 1;
        if (level++ >= keep && dir_push(builder, name, err) != 0)
            return -1;
    }
    return 0;
}

static int attributes_set(int fd, const struct builder *builder, const struct view_file *file)
{
    char redirect[LAYER_REDIRECT_MAX + 1];
    int len = snprintf(redirect, sizeof(redirect), "/%.2s/%s", file->object, file->object);
    if (fsetxattr(fd, LAYER_XATTR_REDIRECT, redirect, (size_t)len, 0) != 0)
        return -1;
    if (builder->form != VIEW_BINDS &&
        (fsetxattr(fd, LAYER_XATTR_METACOPY, "", 0, 0) != 0 || ftruncate(fd, (off_t)file->size) != 0))
        return -1;
    return times_set(fd, file->mtime_s, file->mtime_ns);
}

static int file_make(struct builder *builder, const struct view_file *file, struct err *err)
{
    const char *slash = strrchr(file->path, '/');
    const char *name = slash ? slash + 1 : file->path;
    _cleanup_(closep) int fd =
        openat(builder->fds[builder->depth], name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0 || fchmod(fd, 0444) != 0 || attributes_set(fd, builder, file) != 0)
        return layer_refused(errno, file->path, err);
    return 0;
}

static int files_make(struct builder *builder, const struct view_tree *tree, struct err *err)
{
    const char *before = "";
    for (size_t i = 0; i < tree->count; i++) {
        const struct view_file *file = &tree->files[i];
        if (dirs_enter(builder, before, file->path, err) != 0 || file_make(builder, file, err) != 0)
            return -1;
        before = file->path;
    }
    return 0;
}

/* Hides the store's 256 directories. A file or directory of the user's with such a name hides its one itself. */
static int whiteouts_make(int root, struct err *err)
{
    char name[3];
    for (unsigned i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "%02x", i);
        if (mknodat(root, name, S_IFCHR, makedev(0, 0)) != 0 && errno != EEXIST)
            return layer_refused(errno, name, err);
    }
    return 0;
}

static int layer_fill(int root, const struct view_tree *tree, enum view_form form, struct err *err)
{
    struct builder builder = {.form = form, .fds = {root}};
    int failed = files_make(&builder, tree, err);
    if (!failed && form == VIEW_WHITEOUTS)
        failed = whiteouts_make(root, err);
    while (!failed && builder.depth > 0)
        failed = dir_pop(&builder, err);
    if (!failed && times_set(root, DIR_MTIME_S, 0) != 0)
        failed = layer_refused(errno, "a directory", err);
    builder_deinit(&builder);
    return failed;
}

/* Tells this process' unfinished layers from those of an earlier one, also where both have the same pid (in a container). */
static uint64_t process_token;

static void process_token_make(void)
{
    while (getrandom(&process_token, sizeof(process_token), 0) != sizeof(process_token))
        continue;
}

static const char *building_suffix(char out[64])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, process_token_make);
    snprintf(out, 64, BUILDING "%016llx-", (unsigned long long)process_token);
    return out;
}

/* Layers that an earlier process left unfinished. One plugin works on a state directory at a time (its lock file). */
static int leftovers_reap(int layers_fd, struct err *err)
{
    char own[64];
    building_suffix(own);
    int walk = openat(layers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closedirp) DIR *list = walk >= 0 ? fdopendir(walk) : NULL;
    if (!list) {
        closep(&walk);
        return err_set_errno(err, ERR_NONE, errno, "cannot list the metadata layers");
    }
    for (struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        if (!strstr(entry->d_name, BUILDING) || strstr(entry->d_name, own))
            continue;
        if (fs_remove_tree(layers_fd, entry->d_name, err) != 0)
            return err_prefix(err, "cannot remove an unfinished metadata layer");
    }
    return 0;
}

static int name_check(const char *name, struct err *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_LEN_MAX || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return err_set(err, ERR_INTERNAL, "a layer name that is not [a-z0-9-]{1,%d}", NAME_LEN_MAX);
    return 0;
}

bool view_layer_exists(int layers_fd, const char *name)
{
    struct stat info;
    return fstatat(layers_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
}

int view_layer_remove(int layers_fd, const char *name, struct err *err)
{
    return name_check(name, err) != 0 ? -1 : fs_remove_tree(layers_fd, name, err);
}

static int layer_make_aside(int layers_fd, const char *aside, const struct view_tree *tree, enum view_form form,
                            struct err *err)
{
    if (mkdirat(layers_fd, aside, 0755) != 0)
        return layer_refused(errno, aside, err);
    int root = openat(layers_fd, aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0 || fchmod(root, 0755) != 0) {
        int saved = errno;
        closep(&root);
        return layer_refused(saved, aside, err);
    }
    return layer_fill(root, tree, form, err);
}

int view_layer_build(int layers_fd, const char *name, const struct view_tree *tree, enum view_form form,
                     struct err *err)
{
    static atomic_uint counter;
    char suffix[64];
    char aside[NAME_LEN_MAX + 96];
    struct err ignored = ERR_INIT;
    if (name_check(name, err) != 0 || view_tree_check(tree, err) != 0)
        return -1;
    if (view_layer_exists(layers_fd, name))
        return 0;
    if (leftovers_reap(layers_fd, err) != 0)
        return -1;
    snprintf(aside, sizeof(aside), "%s%s%u", name, building_suffix(suffix), atomic_fetch_add(&counter, 1));
    if (layer_make_aside(layers_fd, aside, tree, form, err) != 0) {
        fs_remove_tree(layers_fd, aside, &ignored);
        return -1;
    }
    crash_point("publish.layer_built");
    if (renameat2(layers_fd, aside, layers_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    int saved = errno;
    fs_remove_tree(layers_fd, aside, &ignored);
    return saved == EEXIST ? 0 : err_set_errno(err, ERR_NONE, saved, "cannot put a metadata layer in place");
}
