#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "mount/op.h"

#define DIR_MODE 0755 /* a squashed root reads through them */
#define STORE_OBJECTS "objects"

/* From here on the file system sees uid, until "as" goes out of scope. A squashed root has no rights of its own. */
struct as {
    bool changed;
};

static struct as as_user(uint64_t uid)
{
    if (uid == 0)
        return (struct as){.changed = false};
    setfsgid((gid_t)uid);
    setfsuid((uid_t)uid);
    return (struct as){.changed = true};
}

static void as_endp(const struct as *as)
{
    if (as->changed) {
        setfsuid(0);
        setfsgid(0);
    }
}

static int dir_open_as(int parent, const char *name, uint64_t uid)
{
    _cleanup_(as_endp) __attribute__((unused)) struct as as = as_user(uid);
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int dir_open(int parent, const char *name, uint64_t uid)
{
    int fd = dir_open_as(parent, name, uid);
    return fd >= 0 || errno != EACCES ? fd : dir_open_as(parent, name, 0);
}

static int dir_make_as(int parent, const char *name, uint64_t uid)
{
    _cleanup_(as_endp) __attribute__((unused)) struct as as = as_user(uid);
    return mkdirat(parent, name, DIR_MODE) == 0 || errno == EEXIST ? 0 : -1;
}

/* As root and given away: where the parent is root's and root is not squashed. */
static int dir_make_given(int parent, const char *name, uint64_t uid)
{
    if (mkdirat(parent, name, DIR_MODE) != 0)
        return errno == EEXIST ? 0 : -1;
    if (fchownat(parent, name, (uid_t)uid, (gid_t)uid, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    int saved = errno;
    unlinkat(parent, name, AT_REMOVEDIR);
    errno = saved;
    return -1;
}

static int not_writable(const struct plan *plan, const char *name, int errnum, struct err *err)
{
    return err_set_errno(
        err, ERR_PRECONDITION, errnum,
        "share not writable as uid %u: cannot make '%s' on '%s'; give that uid the directory, or name one "
        "that it owns with subPath",
        (unsigned)plan->uid, name, plan->source);
}

static int dir_open_or_make(int parent, const char *name, const struct plan *plan, struct err *err)
{
    int fd = dir_open(parent, name, plan->uid);
    if (fd < 0 && errno == ENOENT) {
        if (dir_make_as(parent, name, plan->uid) != 0 &&
            (errno != EACCES || dir_make_given(parent, name, plan->uid) != 0))
            return not_writable(plan, name, errno, err);
        fd = dir_open(parent, name, plan->uid);
    }
    if (fd < 0)
        return err_set_errno(err, errno == ENOTDIR || errno == ELOOP ? ERR_PRECONDITION : ERR_NONE, errno,
                             "cannot open directory '%s' on share '%s'", name, plan->source);
    return fd;
}

static int sub_path_open(int share_root, const struct plan *plan, struct err *err)
{
    char name[256];
    _cleanup_(closep) int dir = fcntl(share_root, F_DUPFD_CLOEXEC, 3);
    for (const char *p = plan->sub_path; dir >= 0 && *p;) {
        size_t len = strcspn(p, "/");
        if (len == 0 || len >= sizeof(name))
            return err_set(err, ERR_CORRUPT, "a sub path that is not fit");
        memcpy(name, p, len);
        name[len] = '\0';
        int next = dir_open_or_make(dir, name, plan, err);
        if (next < 0)
            return -1;
        close(dir);
        dir = next;
        p += len + (p[len] == '/');
    }
    return dir >= 0 ? STEAL_FD(dir) : err_set_errno(err, ERR_NONE, errno, "cannot open share '%s'", plan->source);
}

static bool is_writable(int dir, uint64_t uid)
{
    _cleanup_(as_endp) __attribute__((unused)) struct as as = as_user(uid);
    return faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) == 0;
}

/* What file servers put into the root of a fresh share themselves. */
static bool is_servers_own(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
           strcmp(name, ".snapshot") == 0;
}

static bool is_empty(int dir)
{
    int walk = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closedirp) DIR *list = walk >= 0 ? fdopendir(walk) : NULL;
    if (!list) {
        closep(&walk);
        return false;
    }
    for (struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        if (!is_servers_own(entry->d_name))
            return false;
    }
    return true;
}

/* A fresh share belongs to root (EFS, Filestore): an empty one is taken over, one in use is never touched. */
static void root_take_over(int root, uint64_t uid)
{
    if (!is_writable(root, uid) && is_empty(root) && fchown(root, (uid_t)uid, (gid_t)uid) == 0)
        fchmod(root, DIR_MODE);
}

int op_store_open(int share_root, const struct plan *plan, struct op_result *result, struct err *err)
{
    _cleanup_(closep) int root = sub_path_open(share_root, plan, err);
    if (root < 0)
        return -1;
    root_take_over(root, plan->uid);
    _cleanup_(closep) int objects = dir_open_or_make(root, STORE_OBJECTS, plan, err);
    if (objects < 0)
        return -1;
    result->reply.writable = is_writable(root, plan->uid) && is_writable(objects, plan->uid);
    result->fds[0] = STEAL_FD(root);
    result->fds[1] = STEAL_FD(objects);
    result->fd_count = 2;
    return 0;
}
