#include "mount/view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "mount/job.h"

#define VIEWS_PARALLEL 4
#define CONTEXT_MAX 256

static const char *const form_names[] = {
    [VIEW_DATA_ONLY] = "data-only", [VIEW_WHITEOUTS] = "whiteouts", [VIEW_BINDS] = "binds"};

const char *view_form_name(enum view_form form)
{
    return form_names[form];
}

/* "system_u:object_r:container_file_t:s0:c1,c2": nothing that could end the quotes around it. */
static int context_check(const char *context, struct err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:,-";
    if (!context || (*context && strlen(context) <= CONTEXT_MAX && strspn(context, allowed) == strlen(context)))
        return 0;
    return err_set(err, ERR_INVALID, "'%.100s' is not an SELinux context", context);
}

int view_mount(struct mounts *mounts, const struct view_spec *spec, int target_fd, int64_t deadline_ms, struct err *err)
{
    char bucket[32];
    char label[128];
    int fds[PLAN_FDS_MAX];
    if (spec->data_count == 0 || spec->data_count > VIEW_DATA_MAX)
        return err_set(err, ERR_INTERNAL, "a view of %zu stores", spec->data_count);
    if (context_check(spec->selinux_context, err) != 0)
        return -1;
    _cleanup_(closep) int layer = openat(spec->layers_fd, spec->layer, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (layer < 0)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot open metadata layer '%.80s'", spec->layer);
    fds[0] = target_fd;
    fds[1] = layer;
    memcpy(fds + 2, spec->data_fds, spec->data_count * sizeof(int));
    mounts_bucket_of(spec->data_fds[spec->data_count - 1], bucket);
    snprintf(label, sizeof(label), "sharedcache:%.80s", spec->layer);
    struct plan plan = {.op = PLAN_VIEW_MOUNT,
                        .form = spec->form,
                        .noexec = spec->noexec,
                        .label = label,
                        .context = spec->selinux_context};
    struct job job = {.bucket = bucket,
                      .parallel = VIEWS_PARALLEL,
                      .plan = &plan,
                      .fds = fds,
                      .fd_count = 2 + spec->data_count,
                      .deadline_ms = deadline_ms,
                      .what = "the share below the view"};
    struct job_result result;
    return mounts_job_run(mounts, &job, &result, err);
}

int view_unmount(struct mounts *mounts, const char *target, int64_t deadline_ms, struct err *err)
{
    return mounts_unmount(mounts, target, target, deadline_ms, err);
}
