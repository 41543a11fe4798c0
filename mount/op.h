/*
 * The operations of a mount helper: what each does, and why it is safe to let it. They run in the helper process only, where
 * they may hang; results are the reply and the descriptors that go back with it.
 */
#pragma once

#include "mount/plan.h"

struct op_result {
    struct reply reply;
    int fds[2];
    size_t fd_count;
};

struct op_input {
    const struct plan *plan;
    const int *fds;
    size_t fd_count;
};

/* Mounts a share at <shares>/<key> unless it is mounted, and opens (or makes) the store below it. Source and options come from
 * share_plan_make, which has checked them; the target is a name below a held directory. */
int op_share_open(const struct op_input *input, struct op_result *result, struct err *err);

/* The store's root and objects directory below the share's root: opened, or made as plan->uid. */
int op_store_open(int share_root, const struct plan *plan, struct op_result *result, struct err *err);

/* Where the share's server is: appends ",addr=..." (NFS) or ",ip=..." (SMB) to options once a connection there was answered. */
int op_server_find(const struct plan *plan, struct str *options, struct err *err);

/* Mounts a view at a held descriptor: read-only, nosuid, nodev always. */
int op_view_mount(const struct op_input *input, struct err *err);
/* The same over a probe's data, looked at and unmounted again. ERR_UNSUPPORTED when this kernel cannot. */
int op_view_probe(const struct op_input *input, struct err *err);

/* Unmounts plan->target, which must be absolute; reads nothing but the mount table. */
int op_unmount(const struct op_input *input, struct err *err);
