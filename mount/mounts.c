#include "mount/mounts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "mount/job.h"
#include "mount/table.h"

#define KEY_MAX 64
#define PLAIN_UNMOUNT_MS 3000

struct mounts {
    char *shares_dir; /* as the mount table has it: without links */
    int shares_fd;
    struct runner *runner;
};

struct mounts *mounts_new(const struct mounts_config *config, struct err *err)
{
    _cleanup_(closep) int fd = fs_open_dir(config->shares_dir, 0700, err);
    if (fd < 0)
        return NULL;
    char *real = realpath(config->shares_dir, NULL);
    if (!real) {
        err_set_errno(err, ERR_NONE, errno, "cannot resolve '%s'", config->shares_dir);
        return NULL;
    }
    struct mounts *mounts = mem_alloc(sizeof(*mounts));
    mounts->shares_dir = real;
    mounts->shares_fd = STEAL_FD(fd);
    mounts->runner = runner_new(config->helpers_max);
    return mounts;
}

void mounts_free(struct mounts *mounts)
{
    if (!mounts)
        return;
    runner_free(mounts->runner);
    close(mounts->shares_fd);
    free(mounts->shares_dir);
    free(mounts);
}

int mounts_job_run(struct mounts *mounts, const struct job *job, struct job_result *out, struct err *err)
{
    return runner_run(mounts->runner, job, out, err);
}

size_t mounts_helpers_abandoned(struct mounts *mounts)
{
    return runner_hanging(mounts->runner);
}

void mounts_bucket_of(int fd, char out[32])
{
    char path[64];
    unsigned long mount_id = 0;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    struct err ignored = ERR_INIT;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    _cleanup_(closep) int info = open(path, O_RDONLY | O_CLOEXEC);
    if (info >= 0 && fs_read_fd(info, 4096, &text, &ignored) == 0 && text.data) {
        const char *line = strstr(text.data, "mnt_id:");
        mount_id = line ? strtoul(line + strlen("mnt_id:"), NULL, 10) : 0;
    }
    snprintf(out, 32, "mount %lu", mount_id);
}

static int key_check(const char *key, struct err *err)
{
    size_t len = strlen(key);
    if (len == 0 || len > KEY_MAX || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return err_set(err, ERR_INTERNAL, "a share key that is not [a-z0-9-]{1,%d}", KEY_MAX);
    return 0;
}

static const char *login_text(const struct secret *secret)
{
    return secret && !memchr(secret_reveal(secret), '\0', secret_len(secret)) ? secret_reveal(secret) : NULL;
}

static int login_check(const struct share_plan *share, const struct share_login *login, struct err *err)
{
    if (!share->wants_password)
        return 0;
    if (!login || !login->username || !login->password)
        return err_set(err, ERR_PRECONDITION,
                       "share '%s' needs a user name and a password: set the class parameter shareSecret",
                       share->source);
    if (!login_text(login->username) || !login_text(login->password))
        return err_set(err, ERR_INVALID, "shareSecret: the user name or password of share '%s' holds a NUL byte",
                       share->source);
    return 0;
}

int mounts_share_open(struct mounts *mounts, const char *key, const struct share_plan *plan,
                      const struct share_login *login, uid_t store_uid, int64_t deadline_ms, struct share_root *out,
                      struct err *err)
{
    char what[256];
    char target[PATH_MAX];
    if (key_check(key, err) != 0 || login_check(plan, login, err) != 0)
        return -1;
    assert(plan->source); /* the embedded default has a directory too: the caller's */
    snprintf(what, sizeof(what), "share not reachable: '%.200s'", plan->source);
    snprintf(target, sizeof(target), "%s/%s", mounts->shares_dir, key);
    struct plan open_plan = {.op = PLAN_SHARE_OPEN,
                             .uid = store_uid,
                             .key = key,
                             .target = target,
                             .fstype = plan->fstype,
                             .source = plan->source,
                             .options = plan->options,
                             .host = plan->host,
                             .sub_path = plan->sub_path,
                             .username = plan->wants_password ? login_text(login->username) : NULL,
                             .password = plan->wants_password ? login_text(login->password) : NULL};
    struct job job = {.bucket = key,
                      .parallel = 1,
                      .plan = &open_plan,
                      .fds = &mounts->shares_fd,
                      .fd_count = plan->is_local ? 0 : 1,
                      .deadline_ms = deadline_ms,
                      .what = what};
    struct job_result result;
    if (mounts_job_run(mounts, &job, &result, err) != 0)
        return -1;
    assert(result.fd_count == 2);
    *out = (struct share_root){.fd = result.fds[0],
                               .objects_fd = result.fds[1],
                               .writable = result.reply.writable != 0,
                               .read_ahead_kb = (unsigned)result.reply.read_ahead_kb};
    return 0;
}

/* 1 when something is mounted at target or below. */
static int is_mounted(const char *target, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    if (mount_table_read(arena, &table, err) != 0)
        return -1;
    return mount_table_below(&table, target) > 0;
}

static int unmount_once(struct mounts *mounts, struct job *job, bool lazy, struct err *err)
{
    struct plan plan = {.op = PLAN_UNMOUNT, .target = job->what, .lazy = lazy};
    struct job_result result;
    job->plan = &plan;
    int failed = mounts_job_run(mounts, job, &result, err);
    job->plan = NULL;
    return failed;
}

int mounts_unmount(struct mounts *mounts, const char *bucket, const char *target, int64_t deadline_ms, struct err *err)
{
    struct err first = ERR_INIT;
    int mounted = is_mounted(target, err);
    if (mounted <= 0)
        return mounted;
    int64_t plain_ms = clock_monotonic_ms() + PLAIN_UNMOUNT_MS;
    struct job job = {.bucket = bucket, .parallel = 1, .undoes = true, .what = target};
    job.deadline_ms = plain_ms < deadline_ms ? plain_ms : deadline_ms;
    if (unmount_once(mounts, &job, false, &first) == 0)
        return 0;
    /* It hung, or failed in an unforeseen way: lazily, with what time is left. */
    job.deadline_ms = deadline_ms;
    if (unmount_once(mounts, &job, true, err) == 0)
        return 0;
    /* A helper may hang in what follows a lazy unmount: what counts is that nothing is mounted there any more. */
    struct err again = ERR_INIT;
    return is_mounted(target, &again) == 0 ? 0 : err_prefix(err, "cannot unmount");
}

int mounts_share_close(struct mounts *mounts, const char *key, int64_t deadline_ms, struct err *err)
{
    char target[PATH_MAX];
    if (key_check(key, err) != 0)
        return -1;
    snprintf(target, sizeof(target), "%s/%s", mounts->shares_dir, key);
    if (mounts_unmount(mounts, key, target, deadline_ms, err) != 0)
        return -1;
    if (unlinkat(mounts->shares_fd, key, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    return err_set_errno(err, ERR_NONE, errno, "cannot remove the mount point '%s'", target);
}
