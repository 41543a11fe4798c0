#include "cachecore/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cachecore/store_open.h"

/* A node's name as it stands in file names: kept when it is short and plain, else shortened and told apart by a digest. */
static void node_name_make(const char *node, char out[STORE_NODE_MAX + 1])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t len = strspn(node, plain);
    if (len > 0 && len <= STORE_NODE_MAX && node[len] == '\0') {
        memcpy(out, node, len + 1);
        return;
    }
    char digest[SHA256_HEX];
    digest_sha256_hex(node, strlen(node), digest);
    size_t kept = 0;
    for (; kept < 40 && node[kept] != '\0'; kept++)
        out[kept] = strchr(plain, node[kept]) ? node[kept] : '-';
    snprintf(out + kept, STORE_NODE_MAX + 1 - kept, "-%.16s", digest);
}

static int boot_id_read(char out[9], struct err *err)
{
    _cleanup_(closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, out, 8) != 8 || strspn(out, "0123456789abcdef") < 8)
        return err_set(err, ERR_INTERNAL, "cannot read /proc/sys/kernel/random/boot_id");
    out[8] = '\0';
    return 0;
}

static int dir_open(const struct store *store, const char *name, int *out, struct err *err)
{
    int made = store_mkdir(store->root, name);
    if (made < 0 && errno != EROFS && errno != EACCES && errno != EPERM)
        return store_error(store, errno, "cannot make the store's directories", err);
    *out = fs_open_beneath(store->root, name, O_RDONLY | O_DIRECTORY, 0);
    if (*out >= 0)
        return 0;
    store_error(store, errno == ENOENT ? EACCES : errno, "cannot open the store's directory", err);
    return err_prefix(err, "'%s'", name);
}

static int dirs_open(struct store *store, struct err *err)
{
    static const char *const unused_yet[] = {"claims", "nodes"};
    if (dir_open(store, "objects", &store->objects, err) != 0 ||
        dir_open(store, "snapshots", &store->snapshots, err) != 0 ||
        dir_open(store, "incoming", &store->incoming, err) != 0 ||
        dir_open(store, "quarantine", &store->quarantine, err) != 0)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        int fd = -1;
        if (dir_open(store, unused_yet[i], &fd, err) != 0)
            return -1;
        close(fd);
    }
    return 0;
}

/* Modes and mount flags do not tell what a squashing server thinks of this uid: only trying does. A full disk is writable. */
static int probe_writable(struct store *store, struct err *err)
{
    char name[STORE_NAME_SIZE];
    store_temp_name(store, name);
    int fd = openat(store->incoming, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))
        return 0;
    if (fd < 0 && errno != ENOSPC && errno != EDQUOT)
        return store_error(store, errno, "cannot create a file in the store", err);
    store->writable = true;
    if (fd >= 0) {
        close(fd);
        unlinkat(store->incoming, name, 0);
    }
    return 0;
}

static bool is_smb(int fd)
{
    struct statfs info;
    return fstatfs(fd, &info) == 0 &&
           ((uint32_t)info.f_type == SMB2_SUPER_MAGIC || (uint32_t)info.f_type == CIFS_SUPER_MAGIC);
}

static int store_init(struct store *store, const char *node, const char *expected_id, struct err *err)
{
    struct store_format format;
    node_name_make(node, store->node);
    store->is_smb = is_smb(store->root);
    if (boot_id_read(store->boot, err) != 0 || store_format_load(store, &format, err) != 0)
        return -1;
    memcpy(store->id, format.id, sizeof(store->id));
    if (expected_id && strcmp(expected_id, store->id) != 0)
        return err_set(err, ERR_PRECONDITION,
                       "the share holds store %s where store %.32s was before: was the share replaced?", store->id,
                       expected_id);
    if (dirs_open(store, err) != 0)
        return -1;
    return probe_writable(store, err);
}

struct store *store_open(int root_fd, const char *node, const char *expected_id, struct err *err)
{
    _cleanup_(store_freep) struct store *store = mem_alloc(sizeof(*store));
    store->objects = store->snapshots = store->incoming = store->quarantine = -1;
    store->root = fs_open_beneath(root_fd, ".", O_RDONLY | O_DIRECTORY, 0); /* also from a descriptor of O_PATH */
    if (store->root < 0) {
        store_read_error(errno, "cannot open the store's directory", err);
        return NULL;
    }
    if (store_init(store, node, expected_id, err) != 0)
        return NULL;
    return STEAL_PTR(store);
}

void store_free(struct store *store)
{
    if (!store)
        return;
    const int fds[] = {store->root, store->objects, store->snapshots, store->incoming, store->quarantine};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(store);
}

const char *store_id(const struct store *store)
{
    return store->id;
}

bool store_is_writable(const struct store *store)
{
    return store->writable;
}
