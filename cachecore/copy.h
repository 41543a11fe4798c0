/*
 * Copies objects from one store to another (from the share to the node's disk), several at once, in bounded memory: each
 * thread has one buffer of a part. What is read is checked against the sums kept with the object on the way; a mismatch moves
 * the object to the source store's quarantine, if that is writable. Interrupted copies resume.
 */
#pragma once

#include <stdatomic.h>

#include "cachecore/plan.h"
#include "cachecore/store.h"

struct copy_config {
    unsigned threads;     /* 0: 4 */
    uint64_t part_size;   /* of objects without sums; 0: 4 MiB */
    uint64_t floor_bytes; /* keep so much free on the target's file system */
};

/*
 * Blocking. *bytes_done (NULL is fine) grows as bytes are in the target: found there, resumed or copied. An object that somebody
 * else is copying to the same target is waited for. The first error ends the copy: ERR_CORRUPT, ERR_EXHAUSTED (says the free
 * bytes), ERR_NOT_FOUND (not in the source), ERR_CANCELLED when *cancel became true (NULL: never).
 */
int copy_objects(struct store *from, struct store *to, const struct plan_object *objects, size_t count,
                 const struct copy_config *config, _Atomic uint64_t *bytes_done, const atomic_bool *cancel,
                 struct err *err);
