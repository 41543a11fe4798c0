#include "mount/kernel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libmount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "mount/table.h"

/* The kernel takes one page of data; beyond it mount(2) says ENOENT or cuts it off. */
#define MOUNT_DATA_MAX 4095
#define UNMOUNT_STEPS_MAX 4096

static void contextp(struct libmnt_context **context)
{
    mnt_free_context(*context);
}

static void wipep(struct str *str)
{
    mem_wipe_free(str->data, str->capacity);
}

/* The target is the current directory: newer libmounts use move_mount(2), which does not follow /proc/self/fd/N. */
static int context_prepare(struct libmnt_context *context, const struct kernel_mount *mount)
{
    return mnt_context_disable_helpers(context, 1) || mnt_context_disable_canonicalize(context, 1) ||
           mnt_context_disable_mtab(context, 1) || mnt_context_set_fstype(context, mount->fstype) ||
           mnt_context_set_source(context, mount->source) || mnt_context_set_target(context, ".") ||
           mnt_context_set_options(context, mount->options);
}

/* With a secret the data is put together here, as libmount would take a ',' or '"' in it for syntax. */
static int secret_data_set(struct libmnt_context *context, const struct kernel_mount *mount, struct str *data)
{
    _cleanup_(freep) char *own = NULL;
    str_reserve(data, 2 * MOUNT_DATA_MAX);
    if (mnt_split_optstr(mount->options, NULL, NULL, &own, 0, 0) != 0)
        return EINVAL;
    str_printf(data, "%s%s%s", own ? own : "", own ? "," : "", mount->secret_options);
    if (data->len > MOUNT_DATA_MAX)
        return E2BIG;
    return mnt_context_set_mountdata(context, data->data) != 0 ? ENOMEM : 0;
}

int kernel_mount(const struct kernel_mount *mount)
{
    _cleanup_(wipep) struct str data = STR_INIT;
    _cleanup_(contextp) struct libmnt_context *context = mnt_new_context();
    if (strlen(mount->options) > MOUNT_DATA_MAX)
        return E2BIG;
    if (!context || context_prepare(context, mount) != 0)
        return ENOMEM;
    int failed = mount->secret_options ? secret_data_set(context, mount, &data) : 0;
    if (failed)
        return failed;
    if (fchdir(mount->target_fd) != 0)
        return errno;
    int status = mnt_context_mount(context);
    failed = chdir("/"); /* a directory that is stood in cannot be unmounted or removed */
    assert(failed == 0);
    if (status == 0 && mnt_context_get_status(context))
        return 0;
    if (mnt_context_syscall_called(context) && mnt_context_get_syscall_errno(context) != 0)
        return mnt_context_get_syscall_errno(context);
    return status < 0 ? -status : EINVAL;
}

int kernel_unmount(const char *path, bool lazy)
{
    return umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0));
}

/* The next to go: what lies uppermost at target itself, as a lazy unmount takes along whatever is mounted inside. */
static int unmount_one(const char *target, bool lazy, struct err *err)
{
    if (!lazy && kernel_unmount(target, false) == 0)
        return 0;
    if (kernel_unmount(target, true) == 0)
        return 0;
    return err_set_errno(err, ERR_NONE, errno, "cannot unmount '%s'", target);
}

static const char *mounted_below(const struct mount_table *table, const char *target)
{
    size_t len = strlen(target);
    for (size_t i = 0; i < table->count; i++) {
        const char *other = table->entries[i].target;
        if (strncmp(other, target, len) == 0 && other[len] == '/')
            return other;
    }
    return NULL;
}

int kernel_unmount_all(const char *target, bool lazy, struct err *err)
{
    for (unsigned step = 0; step < UNMOUNT_STEPS_MAX; step++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct mount_table table;
        if (mount_table_read(arena, &table, err) != 0)
            return -1;
        const char *next = mount_table_at(&table, target) ? target : mounted_below(&table, target);
        if (!next)
            return 0;
        if (unmount_one(next, lazy, err) != 0)
            return -1;
    }
    return err_set(err, ERR_INTERNAL, "'%s' has more than %d mounts on it", target, UNMOUNT_STEPS_MAX);
}

int kernel_bind(int source_fd, const char *source, int target_fd, const char *target, bool noexec)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                (noexec ? MOUNT_ATTR_NOEXEC : 0)};
    _cleanup_(closep) int tree =
        open_tree(source_fd, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) != 0)
        return -1;
    if (move_mount(tree, "", target_fd, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
        return -1;
    return STEAL_FD(tree);
}
