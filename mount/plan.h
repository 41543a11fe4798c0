/*
 * What the node asks a mount helper to do, and what comes back: one packet each way. A helper does one of the operations
 * listed here and nothing else; every one is bounded, and what it needs arrives in the packet or as descriptors. Encoding
 * is a private matter of one binary (the helper is /proc/self/exe), but it is checked as if it came from a stranger. Pure.
 *
 *     operation          descriptors in                             descriptors out
 *     PLAN_SHARE_OPEN    shares directory (none for local)          store root, objects directory
 *     PLAN_VIEW_MOUNT    target, layer, data...                     -
 *     PLAN_VIEW_PROBE    target, layer, data..., parent of target   -
 *     PLAN_UNMOUNT       -                                          -
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define PLAN_BYTES_MAX 16384
#define PLAN_FDS_MAX 8

enum plan_op { PLAN_SHARE_OPEN = 1, PLAN_VIEW_MOUNT, PLAN_VIEW_PROBE, PLAN_UNMOUNT };

struct plan {
    /* numbers */
    uint64_t op;
    uint64_t uid;    /* store_uid; also for SMB's uid= and gid= */
    uint64_t form;   /* enum view_form */
    uint64_t noexec; /* bool */
    uint64_t lazy;   /* PLAN_UNMOUNT: MNT_DETACH at once */
    /* texts; NULL stays NULL */
    const char *key;    /* name below the shares directory; of the target below its parent */
    const char *target; /* absolute, as the mount table has it */
    const char *fstype; /* NULL: local */
    const char *source;
    const char *options;
    const char *host;
    const char *sub_path;
    const char *username;
    const char *password;
    const char *label; /* of a view, in the mount table's source column */
    const char *context;
};

struct reply {
    int64_t code; /* enum err_code; ERR_NONE is success */
    uint64_t writable;
    uint64_t read_ahead_kb;
    char message[ERR_MESSAGE_MAX];
};

/* ERR_INVALID when it would be larger than PLAN_BYTES_MAX. */
int plan_encode(const struct plan *plan, struct str *out, struct err *err);
/* ERR_CORRUPT on anything that plan_encode does not write. Texts lie in arena. */
int plan_decode(struct arena *arena, const void *data, size_t len, struct plan *out, struct err *err);
/* ERR_CORRUPT unless data is a whole reply. */
int reply_decode(const void *data, size_t len, struct reply *out, struct err *err);
