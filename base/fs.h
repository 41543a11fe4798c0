/*
 * Files beneath held directory descriptors. Paths given here are relative to dirfd and are opened with
 * openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS): nothing that somebody plants can lead out.
 * Errors name the path and carry errno's text.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* As openat2(2) with the rules above; flags gets O_CLOEXEC. Returns a descriptor, or -1 with errno set (no err: many
 * callers expect ENOENT). */
int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* Opens a directory by absolute path, creating it and missing parents with mode. -1 on error. */
int fs_open_dir(const char *path, mode_t mode, struct err *err);

/* mkdirat that accepts an existing directory. */
int fs_mkdir(int dirfd, const char *name, mode_t mode, struct err *err);

/* Reads a whole file of at most max bytes (ERR_EXHAUSTED beyond; ERR_NOT_FOUND when absent). */
int fs_read_file(int dirfd, const char *path, size_t max, struct str *out, struct err *err);
int fs_read_fd(int fd, size_t max, struct str *out, struct err *err);

/* Replaces name in dirfd atomically and durably: written aside, fsynced, renamed, directory fsynced. */
int fs_write_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, struct err *err);

/* write(2)/pwrite(2) until all is written. -1 with errno set. */
int fs_write_all(int fd, const void *data, size_t len);
int fs_pwrite_all(int fd, const void *data, size_t len, off_t offset);

/* Removes name and, if it is a directory, what is below it, without following links or crossing mounts. Absent is
 * fine. Only for directories that are ours. */
int fs_remove_tree(int dirfd, const char *name, struct err *err);
