/*
 * From a fill's snapshots to the tree that a pod sees: every file at its place, sorted as mount/view.h wants it. Pure.
 */
#pragma once

#include "csi/fills.h"
#include "mount/view.h"

#define VIEW_LAYER_NAME 72 /* room for view_plan_layer's result */

struct view_plan {
    struct view_tree tree;
    uint64_t bytes;
};

/* ERR_INVALID names both inputs when they put different things at one path, or a file where another has a directory. The same
 * object at the same path is fine. ERR_EXHAUSTED above max_files. Paths are in arena or borrowed from result. */
int view_plan_make(struct arena *arena, const struct fills_result *result, uint64_t max_files, struct view_plan *out,
                   struct err *err);

/* The layer's name: a digest of the tree and the form it is built for. */
void view_plan_layer(const struct view_tree *tree, enum view_form form, char out[VIEW_LAYER_NAME]);
