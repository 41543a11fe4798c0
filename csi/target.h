/*
 * Target directories: made, opened and removed one level deep below a parent that kubelet made, reached without following
 * a link beneath the kubelet directory.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct target {
    int parent_fd;    /* O_PATH; -1: the parent is not there */
    const char *name; /* last component; borrowed from the path given */
};

#define TARGET_INIT     \
    {                   \
        .parent_fd = -1 \
    }
void target_deinit(struct target *target);
static inline void target_deinitp(struct target *target)
{
    target_deinit(target);
}

/* The kubelet directory as the mount table shows it (links above it resolved), joined with the relative target. */
const char *target_canonical(struct arena *arena, const char *kubelet_dir, const char *relative, struct err *err);

/* relative: as request.h checked it. ERR_INTERNAL "kubelet did not create ..." without a parent; ERR_INVALID when a link is in
 * the way. */
int target_open(const char *kubelet_dir, const char *relative, struct target *out, struct err *err);

/* Makes the directory or takes an empty one that is there; *made says which. The result is an O_PATH descriptor. ERR_INVALID
 * for a file or link (row 6 of the table of faults), ERR_PRECONDITION for a directory with contents. */
int target_make(const struct target *target, bool *made, struct err *err);

/* Is the path still the directory that was opened? Asked after mounting: then the parent is what is compared. */
bool target_parent_is_same(const struct target *target, const char *kubelet_dir, const char *relative);

/* Removes the empty directory; absent (also without a parent) is fine. ERR_PRECONDITION when it is not empty or no directory;
 * a busy one is ERR_UNAVAILABLE. */
int target_remove(const struct target *target, struct err *err);
