/* What the mounting tests share: a mount namespace and a scratch directory of their own. Root only. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "mount/mounts.h"
#include "mount/table.h"
#include "mount/view.h"

#define must(call)                                      \
    do {                                                \
        if (!(call))                                    \
            fail_msg("%s: %s", #call, strerror(errno)); \
    } while (0)
#define must_ok(call, err)                            \
    do {                                              \
        if ((call) != 0)                              \
            fail_msg("%s: %s", #call, (err).message); \
    } while (0)

struct world {
    char path[256]; /* on the machine's own disk; path/ram is a tmpfs */
    int fd;
    struct mounts *mounts;
};

static struct world world = {.fd = -1};

static inline char *world_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", world.path, name);
    return path;
}

static inline int world_dir(const char *name)
{
    struct err err = ERR_INIT;
    int fd = fs_open_dir(world_path(name), 0755, &err);
    if (fd < 0)
        fail_msg("%s", err.message);
    return fd;
}

static inline void world_write(const char *name, const char *bytes)
{
    _cleanup_(closep) int fd = open(world_path(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    must(fd >= 0);
    must(fs_write_all(fd, bytes, strlen(bytes)) == 0);
}

/* The text of a file, or "errno N". */
static inline const char *world_read(const char *name)
{
    static char text[4096];
    _cleanup_(closep) int fd = open(world_path(name), O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (len < 0)
        snprintf(text, sizeof(text), "errno %d", errno);
    else
        text[len] = '\0';
    return text;
}

static inline int64_t soon(void)
{
    return clock_monotonic_ms() + 20000;
}

/* The uppermost mount at a path of the world; NULL if none. Lives until the next call. */
static inline const struct mount_entry *world_mount_at(const char *name)
{
    static struct arena *arena;
    static struct mount_table table;
    struct err err = ERR_INIT;
    arena_free(arena);
    arena = arena_new();
    must_ok(mount_table_read(arena, &table, &err), err);
    return mount_table_at(&table, world_path(name));
}

static inline size_t world_mounts_below(const char *name)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    must_ok(mount_table_read(arena, &table, &err), err);
    return mount_table_below(&table, world_path(name));
}

/* The names in a directory, but hidden ones, sorted, each with a '|' behind it. Returns how many entries there are. */
static inline size_t names_in(const char *dir, char *out, size_t size)
{
    struct dirent **list;
    int count = scandir(world_path(dir), &list, NULL, alphasort);
    must(count >= 2);
    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (list[i]->d_name[0] != '.')
            snprintf(out + strlen(out), size - strlen(out), "%s|", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return (size_t)count - 2;
}

static inline int world_start(void **state)
{
    (void)state;
    const char *scratch = getenv("SC_SCRATCH");
    struct err err = ERR_INIT;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return -1;
    snprintf(world.path, sizeof(world.path), "%s/sc-mount-XXXXXX", scratch ? scratch : "/tmp");
    if (!mkdtemp(world.path) || chmod(world.path, 0755) != 0)
        return -1;
    world.fd = fs_open_dir(world.path, 0755, &err);
    if (mkdir(world_path("ram"), 0755) != 0 || mount("ram", world_path("ram"), "tmpfs", 0, "size=64m,mode=0755") != 0)
        return -1;
    world.mounts = mounts_new(&(struct mounts_config){.shares_dir = world_path("shares"), .helpers_max = 2}, &err);
    return world.mounts ? 0 : -1;
}

static inline int world_end(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    mounts_free(world.mounts);
    close(world.fd);
    umount2(world_path("ram"), MNT_DETACH);
    char *slash = strrchr(world.path, '/');
    *slash = '\0';
    _cleanup_(closep) int parent = open(world.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fs_remove_tree(parent, slash + 1, &err);
}
