#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "mount/bind.h"
#include "mount/kernel.h"
#include "mount/layer.h"
#include "mount/op.h"

enum { FD_TARGET, FD_LAYER, FD_DATA };

static int view_refused(int errnum, struct err *err)
{
    if (errnum == ENOSPC)
        return err_set_errno(err, ERR_EXHAUSTED, errnum,
                             "cannot mount the view: the node is at its limit of mounts "
                             "(fs.mount-max)");
    if (errnum == EINVAL || errnum == ENODEV || errnum == EOPNOTSUPP || errnum == EREMOTE)
        return err_set_errno(err, ERR_UNSUPPORTED, errnum, "overlayfs of this kernel refuses the view");
    return err_set_errno(err, ERR_NONE, errnum, "cannot mount the view");
}

/* An SELinux label may hold ',' and is quoted; what it may hold is checked by view_mount. */
static void overlay_options(const struct plan *plan, const int *data, size_t data_count, int layer, struct str *out)
{
    const char *separator = plan->form == VIEW_DATA_ONLY ? "::" : ":";
    str_printf(out, "ro,nosuid,nodev%s,metacopy=on,redirect_dir=on", plan->noexec ? ",noexec" : "");
    if (plan->context)
        str_printf(out, ",context=\"%s\"", plan->context);
    str_printf(out, ",lowerdir=/proc/self/fd/%d", layer);
    for (size_t i = 0; i < data_count; i++)
        str_printf(out, "%s/proc/self/fd/%d", separator, data[i]);
}

static int overlay_mount(const struct plan *plan, const int *fds, size_t data_count, struct err *err)
{
    _cleanup_(str_deinitp) struct str options = STR_INIT;
    overlay_options(plan, fds + FD_DATA, data_count, fds[FD_LAYER], &options);
    struct kernel_mount mount = {
        .fstype = "overlay", .source = plan->label, .options = options.data, .target_fd = fds[FD_TARGET]};
    int failed = kernel_mount(&mount);
    return failed ? view_refused(failed, err) : 0;
}

static int forms_mount(const struct plan *plan, const int *fds, size_t data_count, struct err *err)
{
    if (plan->form == VIEW_BINDS)
        return bind_view_mount(fds[FD_TARGET], fds[FD_LAYER], fds + FD_DATA, data_count, plan->noexec != 0, err);
    return overlay_mount(plan, fds, data_count, err);
}

static int view_input_check(const struct op_input *input, size_t fds_beside_data, struct err *err)
{
    if (input->plan->label && input->fd_count > fds_beside_data && input->fd_count <= fds_beside_data + VIEW_DATA_MAX &&
        input->plan->form <= VIEW_BINDS)
        return 0;
    return err_set(err, ERR_CORRUPT, "an incomplete plan to mount a view");
}

int op_view_mount(const struct op_input *input, struct err *err)
{
    if (view_input_check(input, FD_DATA, err) != 0)
        return -1;
    return forms_mount(input->plan, input->fds, input->fd_count - FD_DATA, err);
}

/* The view must show the probe's one file, whole, and nothing of the data below. */
static int probe_look(int view, struct err *err)
{
    _cleanup_(closedirp) DIR *list = fdopendir(dup(view));
    if (!list)
        return err_set_errno(err, ERR_UNSUPPORTED, errno, "the view cannot be listed");
    for (struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, PROBE_FILE) != 0)
            return err_set(err, ERR_UNSUPPORTED, "the view shows names of the store");
    }
    char bytes[sizeof(PROBE_BYTES)] = "";
    _cleanup_(closep) int fd = openat(view, PROBE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || read(fd, bytes, sizeof(bytes)) != (ssize_t)strlen(PROBE_BYTES) || strcmp(bytes, PROBE_BYTES) != 0)
        return err_set_errno(err, ERR_UNSUPPORTED, errno, "the view does not show an object's bytes");
    return 0;
}

int op_view_probe(const struct op_input *input, struct err *err)
{
    if (view_input_check(input, FD_DATA + 1, err) != 0 || !input->plan->key)
        return err->code ? -1 : err_set(err, ERR_CORRUPT, "an incomplete plan to probe views");
    int parent = input->fds[input->fd_count - 1];
    if (forms_mount(input->plan, input->fds, input->fd_count - FD_DATA - 1, err) != 0)
        return -1;
    _cleanup_(closep) int view = openat(parent, input->plan->key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed =
        view < 0 ? err_set_errno(err, ERR_UNSUPPORTED, errno, "the view cannot be opened") : probe_look(view, err);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", view);
    if (view >= 0 && umount2(path, MNT_DETACH) != 0 && !failed)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot unmount the probe's view");
    return failed;
}

int op_unmount(const struct op_input *input, struct err *err)
{
    const struct plan *plan = input->plan;
    if (!plan->target || plan->target[0] != '/' || plan->target[1] == '\0')
        return err_set(err, ERR_CORRUPT, "an incomplete plan to unmount");
    return kernel_unmount_all(plan->target, plan->lazy != 0, err);
}
