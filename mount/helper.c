#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/process.h"
#include "mount/mounts.h"
#include "mount/op.h"

static int op_run(const struct op_input *input, struct op_result *result, struct err *err)
{
    switch ((enum plan_op)input->plan->op) {
    case PLAN_SHARE_OPEN:
        return op_share_open(input, result, err);
    case PLAN_VIEW_MOUNT:
        return op_view_mount(input, err);
    case PLAN_VIEW_PROBE:
        return op_view_probe(input, err);
    case PLAN_UNMOUNT:
        return op_unmount(input, err);
    }
    return err_set(err, ERR_CORRUPT, "an operation that is not known");
}

static void fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

static int answer(const struct op_input *input, struct err *err)
{
    struct op_result result = {.fd_count = 0};
    if (op_run(input, &result, err) != 0) {
        result.reply.code = err->code;
        memcpy(result.reply.message, err->message, sizeof(result.reply.message));
    }
    struct err send_err = ERR_INIT;
    int failed =
        channel_send(PROCESS_CHANNEL_FD, &result.reply, sizeof(result.reply), result.fds, result.fd_count, &send_err);
    fds_close(result.fds, result.fd_count);
    return failed;
}

/* One plan after the other, so that a warm helper mounts at once; end of file is the end. */
static int serve_one(void)
{
    static char packet[PLAN_BYTES_MAX]; /* may hold a password: wiped */
    int fds[PLAN_FDS_MAX];
    size_t fd_count = 0;
    struct err err = ERR_INIT;
    ssize_t len =
        channel_receive(PROCESS_CHANNEL_FD, packet, sizeof(packet), fds, PLAN_FDS_MAX, &fd_count, CLOCK_NEVER, &err);
    if (len <= 0)
        return -1;
    struct arena *arena = arena_new();
    struct plan plan = {.password = NULL};
    int failed = plan_decode(arena, packet, (size_t)len, &plan, &err);
    if (!failed)
        failed = answer(&(struct op_input){.plan = &plan, .fds = fds, .fd_count = fd_count}, &err);
    if (plan.password)
        explicit_bzero((char *)(uintptr_t)plan.password, strlen(plan.password));
    explicit_bzero(packet, sizeof(packet));
    fds_close(fds, fd_count);
    arena_free(arena);
    return failed;
}

int mount_helper_main(void)
{
    /* One way to mount on every libmount: mount(2), whose data may hold what fsconfig(2) would split or cut. */
    setenv("LIBMOUNT_FORCE_MOUNT2", "always", 1);
    unsetenv("LIBMOUNT_DEBUG");
    prctl(PR_SET_DUMPABLE, 0);
    umask(0);
    if (chdir("/") != 0 || setgroups(0, NULL) != 0)
        return 1;
    while (serve_one() == 0)
        continue;
    return 0;
}
