/*
 * The system calls that mount and unmount, as a mount helper uses them. File systems are mounted by libmount, without its
 * external helpers (/sbin/mount.nfs and the like are not needed in the image, and nothing secret is ever in an argument list
 * or an environment) and without utab. Descriptors stand for paths, so that no ',' or ':' in one matters.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct kernel_mount {
    const char *fstype;
    const char *source;
    const char *options;        /* flags and the file system's own, comma-separated, no secret */
    const char *secret_options; /* appended to the data as it is; NULL for none */
    int target_fd;
};

/* 0, or the errno of mount(2); the caller knows what it means. Changes the process's current directory and leaves it at "/". */
int kernel_mount(const struct kernel_mount *mount);

/* Unmounts the uppermost mount at path, not following a link there. lazy: MNT_DETACH. As umount2(2): 0 or -1 with errno. */
int kernel_unmount(const char *path, bool lazy);

/* Unmounts every mount at target and below, uppermost first; busy ones lazily. Reads the mount table only. */
int kernel_unmount_all(const char *target, bool lazy, struct err *err);

/* Attaches the file or directory source_fd/source ("" for itself) at target_fd/target ("" likewise), read-only, nosuid, nodev.
 * Returns a descriptor of the new mount's root; -1 with errno. */
int kernel_bind(int source_fd, const char *source, int target_fd, const char *target, bool noexec);
