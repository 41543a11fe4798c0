/*
 * The node's mounts. Whatever may hang on a dead server runs in a killable helper process (the binary itself, "sharedcache
 * mount-helper") with a deadline; a helper that SIGKILL does not end is abandoned, counted, and capped for each share. So a
 * call here returns by its deadline, whatever the server does. Thread-safe; calls for one share key wait for each other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/secret.h"
#include "mount/share.h"

struct mounts;

struct mounts_config {
    const char *shares_dir; /* absolute, ours: each share is mounted at shares_dir/<key> */
    unsigned helpers_max;   /* abandoned helpers for one share before new ones are refused (ERR_UNAVAILABLE) */
};

struct mounts *mounts_new(const struct mounts_config *config, struct err *err);
void mounts_free(struct mounts *mounts);
DEFINE_CLEANUP(struct mounts *, mounts_free);

struct share_login { /* SMB only */
    const struct secret *username;
    const struct secret *password;
};

struct share_root {
    int fd;         /* directory (O_RDONLY): the store's root, plan->sub_path below the share; owned by the caller */
    int objects_fd; /* directory: <root>/objects, for view_mount; owned by the caller */
    bool writable;  /* store_uid may write there */
    unsigned
        read_ahead_kb; /* NFS: the read-ahead now in force; 0: not NFS, or it could not be raised (say so in the log) */
};

/*
 * Mounts the share once on this node (key: at most 64 of [a-z0-9-], one for each plan->identity; already mounted is fine),
 * raises the read-ahead on NFS, and opens the store's root, creating sub_path and objects/ as store_uid (directly, or as
 * that uid where root is squashed). ERR_UNAVAILABLE "share not reachable"; ERR_DEADLINE; ERR_PRECONDITION when the store
 * cannot be made ("share not writable as uid N": only when there is no store yet; else writable is false).
 */
int mounts_share_open(struct mounts *mounts, const char *key, const struct share_plan *plan,
                      const struct share_login *login, uid_t store_uid, int64_t deadline_ms, struct share_root *out,
                      struct err *err);

/* Unmounts shares_dir/<key> and removes the mount point; not mounted is fine. Never waits for the server (MNT_DETACH after
 * a plain attempt), never stats the mount point. */
int mounts_share_close(struct mounts *mounts, const char *key, int64_t deadline_ms, struct err *err);

/* How many helpers hang in the kernel now: for logs and metrics. */
size_t mounts_helpers_abandoned(struct mounts *mounts);

/* The helper's own main: argv[1] is "mount-helper"; the plan of enumerated operations comes over descriptor 3. */
int mount_helper_main(void);
