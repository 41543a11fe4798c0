#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fs.h"
#include "base/mem.h"
#include "mount/kernel.h"
#include "mount/op.h"
#include "mount/table.h"

/* What Azure, NetApp and Amazon set for NFS; the kernel's 128 KiB costs up to two thirds of the speed. */
#define READ_AHEAD_KIB 15360u

struct refusal {
    int errnum;
    enum err_code code;
    const char *text; /* what it means, and the way out */
};

static const struct refusal refusals[] = {
    {EACCES, ERR_PRECONDITION, "the server refuses this node or login: check the export's clients, or shareSecret"},
    {EPERM, ERR_PRECONDITION,
     "the server or kernel refuses: check the export's clients, and noresvport in mountOptions"},
    {ENOKEY, ERR_PRECONDITION, "the server wants Kerberos, which is not supported"},
    {EKEYREJECTED, ERR_PRECONDITION, "the server refuses the login: check shareSecret"},
    {ENOENT, ERR_PRECONDITION, "the server has no such share or directory: check the class parameter share"},
    {ENOTDIR, ERR_PRECONDITION, "the share is not a directory: check the class parameter share"},
    {ENODEV, ERR_UNSUPPORTED, "this node's kernel has no such file system: install its nfs or cifs module"},
    {EINVAL, ERR_INVALID, "the kernel does not know one of the mount options: check mountOptions"},
    {EPROTONOSUPPORT, ERR_PRECONDITION,
     "the server does not speak this version: choose another with vers= in mountOptions"},
    /* Of NFS 3 also while the server's rpcbind answers and its nfsd does not run. */
    {EOPNOTSUPP, ERR_PRECONDITION,
     "the server does not speak this version, or not yet: choose another with vers= in mountOptions"},
    {ENOSPC, ERR_EXHAUSTED, "the node is at its limit of mounts (fs.mount-max)"},
    {E2BIG, ERR_INVALID, "the mount options are longer than a page: shorten mountOptions"},
};

static int mount_refused(const struct plan *plan, int errnum, struct err *err)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].errnum == errnum)
            return err_set_errno(err, refusals[i].code, errnum, "cannot mount share '%s': %s", plan->source,
                                 refusals[i].text);
    }
    return err_set_errno(err, ERR_UNAVAILABLE, errnum, "share not reachable: cannot mount '%s'", plan->source);
}

/* Inside an option a ',' is doubled, as cifs undoes it (smb3_fs_context_parse_monolithic). */
static void value_append(struct str *out, const char *name, const char *value, size_t len)
{
    str_printf(out, "%s%s=", out->len > 0 ? "," : "", name);
    for (size_t i = 0; i < len; i++) {
        str_append_char(out, value[i]);
        if (value[i] == ',')
            str_append_char(out, ',');
    }
}

/* "DOMAIN\user" is written in two options. */
static void login_append(struct str *out, const char *username, const char *password)
{
    const char *backslash = strchr(username, '\\');
    if (backslash)
        value_append(out, "domain", username, (size_t)(backslash - username));
    username = backslash ? backslash + 1 : username;
    value_append(out, "username", username, strlen(username));
    value_append(out, "password", password, strlen(password));
}

static void wipep(struct str *str)
{
    mem_wipe_free(str->data, str->capacity);
}

static int share_mount(int shares_fd, const struct plan *plan, struct err *err)
{
    _cleanup_(str_deinitp) struct str options = STR_INIT;
    _cleanup_(wipep) struct str login = STR_INIT;
    str_append_text(&options, plan->options);
    if (op_server_find(plan, &options, err) != 0)
        return -1;
    if (plan->username && plan->password) {
        str_reserve(&login, 2 * PLAN_BYTES_MAX); /* never moved: a copy left behind would not be wiped */
        login_append(&login, plan->username, plan->password);
    }
    _cleanup_(closep) int target = openat(shares_fd, plan->key, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the mount point '%s'", plan->target);
    struct kernel_mount mount = {.fstype = plan->fstype,
                                 .source = plan->source,
                                 .options = options.data,
                                 .secret_options = login.len > 0 ? login.data : NULL,
                                 .target_fd = target};
    int failed = kernel_mount(&mount);
    return failed ? mount_refused(plan, failed, err) : 0;
}

static int is_mounted(const char *target, bool *out, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    if (mount_table_read(arena, &table, err) != 0)
        return -1;
    *out = mount_table_at(&table, target) != NULL;
    return 0;
}

static int mounted_root_open(int shares_fd, const struct plan *plan, struct err *err)
{
    bool mounted;
    if (fs_mkdir(shares_fd, plan->key, 0700, err) != 0 || is_mounted(plan->target, &mounted, err) != 0)
        return -1;
    if (!mounted && share_mount(shares_fd, plan, err) != 0)
        return -1;
    int root = openat(shares_fd, plan->key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root >= 0 || errno != ESTALE || !mounted)
        return root >= 0 ? root : err_set_errno(err, ERR_UNAVAILABLE, errno, "share '%s' not usable", plan->source);
    /* The server forgot the root (restored, failed over): row 69, once. */
    if (kernel_unmount_all(plan->target, true, err) != 0 || share_mount(shares_fd, plan, err) != 0)
        return -1;
    root = openat(shares_fd, plan->key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return root >= 0 ? root : err_set_errno(err, ERR_UNAVAILABLE, errno, "share '%s' not usable", plan->source);
}

static int local_root_open(const struct plan *plan, struct err *err)
{
    int root = open(plan->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0)
        return root;
    return err_set_errno(err, errno == ENOENT || errno == ENOTDIR ? ERR_PRECONDITION : ERR_NONE, errno,
                         "share: cannot open directory '%s' on this node", plan->source);
}

/* The value now in force; 0 when it cannot be read or raised (a read-only /sys): slower, never wrong. */
static unsigned read_ahead_raise(int root)
{
    struct stat info;
    char path[96];
    char text[16] = "";
    if (fstat(root, &info) != 0)
        return 0;
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(info.st_dev), minor(info.st_dev));
    _cleanup_(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return 0;
    unsigned long now = strtoul(text, NULL, 10);
    if (now >= READ_AHEAD_KIB)
        return (unsigned)now;
    snprintf(text, sizeof(text), "%u", READ_AHEAD_KIB);
    return fs_pwrite_all(fd, text, strlen(text), 0) == 0 ? READ_AHEAD_KIB : 0;
}

int op_share_open(const struct op_input *input, struct op_result *result, struct err *err)
{
    const struct plan *plan = input->plan;
    bool local = plan->fstype == NULL;
    if (!plan->source || !plan->sub_path ||
        (!local && (input->fd_count != 1 || !plan->key || !plan->target || !plan->options || !plan->host)))
        return err_set(err, ERR_CORRUPT, "an incomplete plan to open a share");
    _cleanup_(closep) int root = local ? local_root_open(plan, err) : mounted_root_open(input->fds[0], plan, err);
    if (root < 0)
        return -1;
    if (!local && strcmp(plan->fstype, "nfs") == 0)
        result->reply.read_ahead_kb = read_ahead_raise(root);
    return op_store_open(root, plan, result, err);
}
