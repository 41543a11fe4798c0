/* A directory for one test, below SC_SCRATCH or /tmp, removed with what it holds. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fs.h"

#define SCRATCH_PATH_MAX 1024

static inline int scratch_make(char path[SCRATCH_PATH_MAX])
{
    const char *base = getenv("SC_SCRATCH");
    snprintf(path, SCRATCH_PATH_MAX, "%s/sharedcache-unit.XXXXXX", base ? base : "/tmp");
    return mkdtemp(path) ? 0 : -1;
}

static inline int scratch_remove(const char *path)
{
    struct err err = ERR_INIT;
    char parent[SCRATCH_PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    *slash = '\0';
    _cleanup_(closep) int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fs_remove_tree(fd, slash + 1, &err);
}
