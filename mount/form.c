#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "mount/job.h"
#include "mount/layer.h"

/* Below the scratch directory, while a probe runs: the view's layer, a store of one object, and a place to mount. */
#define PROBE_DIR "probe"
#define PROBE_LAYER "layer"
#define PROBE_OBJECTS "objects"
#define PROBE_TARGET "target"
#define PROBE_OBJECT "5ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac05ac0"

static int probe_object_write(int dir, struct err *err)
{
    if (fs_mkdir(dir, PROBE_OBJECTS, 0755, err) != 0)
        return -1;
    _cleanup_(closep) int objects = fs_open_beneath(dir, PROBE_OBJECTS, O_RDONLY | O_DIRECTORY, 0);
    if (objects < 0 || mkdirat(objects, "5a", 0755) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make the probe's store");
    _cleanup_(closep) int sub = fs_open_beneath(objects, "5a", O_RDONLY | O_DIRECTORY, 0);
    if (sub < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make the probe's store");
    return fs_write_file(sub, PROBE_OBJECT, PROBE_BYTES, strlen(PROBE_BYTES), 0444, err);
}

/* What an earlier probe left when it was killed, a mounted view too. */
static int probe_clear(struct mounts *mounts, int scratch_fd, int64_t deadline_ms, struct err *err)
{
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", scratch_fd);
    ssize_t len = readlink(link, path, sizeof(path) - sizeof("/" PROBE_DIR));
    if (len <= 0 || (size_t)len >= sizeof(path) - sizeof("/" PROBE_DIR))
        return err_set(err, ERR_INTERNAL, "the scratch directory has no path");
    snprintf(path + len, sizeof(path) - (size_t)len, "/%s", PROBE_DIR);
    if (mounts_unmount(mounts, path, path, deadline_ms, err) != 0)
        return -1;
    return fs_remove_tree(scratch_fd, PROBE_DIR, err);
}

static int probe_prepare(int scratch_fd, enum view_form form, struct err *err)
{
    const struct view_file file = {.path = PROBE_FILE, .object = PROBE_OBJECT, .size = strlen(PROBE_BYTES)};
    const struct view_tree tree = {.files = &file, .count = 1};
    if (fs_mkdir(scratch_fd, PROBE_DIR, 0700, err) != 0)
        return -1;
    _cleanup_(closep) int dir = fs_open_beneath(scratch_fd, PROBE_DIR, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the probe's directory");
    if (probe_object_write(dir, err) != 0 || fs_mkdir(dir, PROBE_TARGET, 0755, err) != 0)
        return -1;
    return view_layer_build(dir, PROBE_LAYER, &tree, form, err);
}

struct probe_fds {
    int all[5]; /* target, layer, real objects, own objects, parent of target */
};

static void probe_fds_closep(const struct probe_fds *fds)
{
    for (size_t i = 0; i < 5; i++) {
        if (i != 2)
            closep(&fds->all[i]);
    }
}

static int probe_mount(struct mounts *mounts, int scratch_fd, int objects_fd, enum view_form form, int64_t deadline_ms,
                       struct err *err)
{
    char bucket[32];
    int dir = fs_open_beneath(scratch_fd, PROBE_DIR, O_RDONLY | O_DIRECTORY, 0);
    _cleanup_(probe_fds_closep) struct probe_fds fds = {
        {fs_open_beneath(dir, PROBE_TARGET, O_PATH | O_DIRECTORY, 0),
         fs_open_beneath(dir, PROBE_LAYER, O_RDONLY | O_DIRECTORY, 0), objects_fd,
         fs_open_beneath(dir, PROBE_OBJECTS, O_RDONLY | O_DIRECTORY, 0), dir}};
    if (dir < 0 || fds.all[0] < 0 || fds.all[1] < 0 || fds.all[3] < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the probe's directories");
    mounts_bucket_of(objects_fd, bucket);
    struct plan plan = {.op = PLAN_VIEW_PROBE, .form = form, .label = "sharedcache:probe", .key = PROBE_TARGET};
    struct job job = {.bucket = bucket,
                      .parallel = 1,
                      .plan = &plan,
                      .fds = fds.all,
                      .fd_count = 5,
                      .deadline_ms = deadline_ms,
                      .what = "the share below the view"};
    struct job_result result;
    return mounts_job_run(mounts, &job, &result, err);
}

static int form_try(struct mounts *mounts, int scratch_fd, int objects_fd, enum view_form form, int64_t deadline_ms,
                    struct err *err)
{
    struct err ignored = ERR_INIT;
    if (probe_clear(mounts, scratch_fd, deadline_ms, err) != 0)
        return -1;
    int failed = probe_prepare(scratch_fd, form, err);
    if (!failed)
        failed = probe_mount(mounts, scratch_fd, objects_fd, form, deadline_ms, err);
    probe_clear(mounts, scratch_fd, deadline_ms, &ignored);
    return failed;
}

int view_form_probe(struct mounts *mounts, int scratch_fd, int objects_fd, int64_t deadline_ms, enum view_form *out,
                    struct err *err)
{
    for (enum view_form form = VIEW_DATA_ONLY; form <= VIEW_BINDS; form++) {
        struct err tried = ERR_INIT;
        if (form_try(mounts, scratch_fd, objects_fd, form, deadline_ms, &tried) == 0) {
            *out = form;
            return 0;
        }
        if (tried.code != ERR_UNSUPPORTED || form == VIEW_BINDS) {
            *err = tried;
            return err_prefix(err, "cannot find out how this kernel mounts views (%s)", view_form_name(form));
        }
    }
    return 0;
}
