/* The fetcher process: drops everything that it does not need, then serves orders (cachecore/fetcher.h). */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/process.h"
#include "cachecore/fetcher.h"
#include "csi/fills.h"

#define FILES_MAX 8192u
#define CAPABILITIES_MAX 64

static int id_parse(const char *text, uid_t *out)
{
    uint64_t value;
    if (!text || str_parse_u64(text, UINT32_MAX - 1, &value) != 0)
        return -1;
    *out = (uid_t)value;
    return 0;
}

static int arguments_parse(int argc, char **argv, uid_t *uid, gid_t *gid)
{
    *uid = 0;
    *gid = 0;
    enum log_format format;
    for (int i = 2; i < argc; i += 2) {
        if (strcmp(argv[i], "--uid") == 0 && id_parse(argv[i + 1], uid) == 0)
            continue;
        if (strcmp(argv[i], "--gid") == 0 && id_parse(argv[i + 1], gid) == 0)
            continue;
        if (strcmp(argv[i], "--log-format") != 0 || !argv[i + 1] || log_parse_format(argv[i + 1], &format) != 0)
            return -1;
        log_set_format(format);
    }
    return 0;
}

static void limits_set(void)
{
    const struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
    struct rlimit files;
    setrlimit(RLIMIT_CORE, &no_core);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    umask(022);
    mallopt(M_ARENA_MAX, 2);
}

static int ids_set(uid_t uid, gid_t gid, struct err *err)
{
    if (uid == 0 || (uid == getuid() && gid == getgid()))
        return 0;
    if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot become user %u", (unsigned)uid);
    if (setresuid(0, 0, 0) == 0)
        return err_set(err, ERR_INTERNAL, "could become root again after giving it up");
    return 0;
}

static int capabilities_clear(struct err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{.effective = 0}};
    if (syscall(SYS_capset, &header, none) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot give up capabilities");
    return 0;
}

static int privileges_drop(uid_t uid, gid_t gid, struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot set no_new_privs");
    for (int capability = 0; capability < CAPABILITIES_MAX; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (ids_set(uid, gid, err) != 0 || capabilities_clear(err) != 0)
        return -1;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* Changing ids cleared it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return 0;
}

static int serve(struct err *err)
{
    struct engine *engine = engine_new(&(struct engine_config){.transfers = 0});
    return fetcher_serve(PROCESS_CHANNEL_FD, fetcher_fill, engine, err);
}

int fetcher_main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    uid_t uid;
    gid_t gid;
    if (arguments_parse(argc, argv, &uid, &gid) != 0) {
        log_event(LOG_ERROR, "fetcher_refused", "error",
                  "usage: fetcher [--uid N] [--gid N] [--log-format FORMAT]; started by the node only", NULL);
        return 2;
    }
    limits_set();
    if (privileges_drop(uid, gid, &err) != 0 || serve(&err) != 0) {
        log_event(LOG_ERROR, "fetcher_failed", "error", err.message, NULL);
        _exit(1);
    }
    /* At once: fills in progress hold nothing that is not on disk. */
    _exit(0);
}
