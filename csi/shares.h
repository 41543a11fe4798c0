/*
 * The node's stores: its own, and those on mounted shares. A share is mounted while somebody uses it: a published or staged
 * volume (by its record), or a publish whose fill still runs. Users are names (record_file_name), so that a restart counts
 * them anew from the records. Thread-safe.
 */
#pragma once

#include <sys/types.h>

#include "cachecore/class.h"
#include "csi/guard.h"
#include "csi/records.h"
#include "mount/mounts.h"
#include "mount/view.h"

struct shares;

struct shares_config {
    struct mounts *mounts;
    struct guards *guards;
    int state_fd;            /* store/ and probe/ are made below it */
    const char *secrets_dir; /* NULL: none */
    uid_t store_uid;
};

struct shares *shares_new(const struct shares_config *config, struct err *err);
void shares_free(struct shares *shares); /* leaves mounts as they are */
DEFINE_CLEANUP(struct shares *, shares_free);

struct opened_store {
    char key[RECORD_SHARE_MAX + 1]; /* "": the node's own store */
    int root_fd;
    int objects_fd;
    bool writable;
    enum view_form form; /* what the kernel can do over it */
};

#define OPENED_STORE_INIT               \
    {                                   \
        .root_fd = -1, .objects_fd = -1 \
    }
void opened_store_deinit(struct opened_store *store);
static inline void opened_store_deinitp(struct opened_store *store)
{
    opened_store_deinit(store);
}

/* The node's own store. */
int shares_open_local(struct shares *shares, struct opened_store *out, struct err *err);

/* The class's share (the node's own store when it names none), mounted if it is not; user counts as its user from before
 * the mount on, also when this fails (shares_release). */
int shares_open(struct shares *shares, const struct class *class, const char *user, int64_t deadline_ms,
                struct opened_store *out, struct err *err);

/* For records found at start. */
void shares_use(struct shares *shares, const char *key, const char *user);

/* user uses no share any more; those without users are unmounted. One that cannot be unmounted now stays
 * until the next start; the first such error is told. */
int shares_release(struct shares *shares, const char *user, int64_t deadline_ms, struct err *err);

/* True while somebody uses the key. */
bool shares_is_used(struct shares *shares, const char *key);

/* The key of a class's share: a function of what is mounted and as whom. */
int shares_key(const struct class *class, struct arena *arena, struct share_plan *plan, char key[RECORD_SHARE_MAX + 1],
               struct err *err);
