/*
 * The store: a directory with a fixed layout that holds immutable objects and snapshots (docs/STORE.md is its format). An
 * object appears complete or not at all and never changes. Safe for several processes on one directory; a partial download has
 * one writer and is resumable after a crash. Blocking calls that may hang with the share: only the fetcher makes them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "cachecore/snapshot.h"

struct store;

#define STORE_SIZE_UNKNOWN UINT64_MAX

/* root_fd is borrowed (O_PATH will do). Creates the layout and FORMAT when the directory is empty; ERR_PRECONDITION for a newer
 * format ("upgrade"), a foreign non-empty directory, or an id that is not expected_id (NULL: any; a share that was replaced).
 * node names this writer's partial files (with the boot id). */
struct store *store_open(int root_fd, const char *node, const char *expected_id, struct err *err);
void store_free(struct store *store);
DEFINE_CLEANUP(struct store *, store_free);
const char *store_id(const struct store *store);
/* Found by trying at open. False: what is there is found and read, every write is ERR_PRECONDITION. */
bool store_is_writable(const struct store *store);

/* 1: there (with the right size), 0: not, -1: error. A wrong size is moved to quarantine and counts as not there, and so does a
 * name that is not a regular file. STORE_SIZE_UNKNOWN takes any size. */
int store_object_find(struct store *store, const char *object, uint64_t size, struct err *err);
/* As store_object_find, and says the size. */
int store_object_stat(struct store *store, const char *object, uint64_t *size, struct err *err);

/* A partial object. Parts are byte ranges; a part is recorded after its bytes are written, with its CRC32C, in a journal beside
 * the data, so that a later process resumes where this one died; on resume each recorded part's bytes are read and checked. */
struct partial;
struct part {
    uint64_t offset;
    uint64_t len;
    uint32_t crc32c;
    bool has_crc64nvme; /* in memory only: of what this process brought, where it was asked for */
    uint64_t crc64nvme;
};

/* Creates or resumes this node's partial of the object. ERR_BUSY when another live process of this node holds it
 * (flock); ERR_EXHAUSTED when the store cannot hold size (says how much is free). fallocate(2) only. The size of a stream may be
 * STORE_SIZE_UNKNOWN until partial_set_size. */
struct partial *store_partial_open(struct store *store, const char *object, uint64_t size, struct err *err);
void partial_close(struct partial *partial); /* keeps what is on disk */
DEFINE_CLEANUP(struct partial *, partial_close);
/* For pwrite(2) at any offset; not to be used any more once commit, restart or discard is called. */
int partial_fd(const struct partial *partial);
/* Says the size of a partial opened with STORE_SIZE_UNKNOWN. */
int partial_set_size(struct partial *partial, uint64_t size, struct err *err);
/* Parts that are on disk and verified, sorted by offset, not overlapping; borrowed until the next call on this partial. */
const struct part *partial_parts(const struct partial *partial, size_t *count);
/* Thread-safe. */
int partial_record(struct partial *partial, const struct part *part, struct err *err);
/* Throws everything away and starts empty (the source changed, a digest did not match). */
int partial_restart(struct partial *partial, struct err *err);
/* Removes the partial for good (also after an unrecoverable error). */
int partial_discard(struct partial *partial, struct err *err);
/* All parts are there: fsync, close checked, mode 0444, sums written, linked (or renamed where links do not exist) to its
 * place; losing the race to another writer is success. The partial is gone afterwards (partial_close still to be called).
 * *crc is the CRC32C of the object that is there: when that is another writer's, it can differ from partial_crc32c (weak validators
 * only), and what was verified of one's own bytes does not hold for it. ERR_CORRUPT if parts do not cover the size. */
int partial_commit(struct partial *partial, uint32_t *crc, struct err *err);
uint32_t partial_crc32c(const struct partial *partial); /* composed; parts must cover the size */

/* A snapshot's list and its mark. 1: complete (its objects were all committed), 0: not, -1: error. */
int store_snapshot_find(struct store *store, const char *id, struct err *err);
int store_snapshot_read(struct store *store, const char *id, struct str *out, struct err *err);
/* Writes the list, then the completeness mark. Idempotent. Every object must be there: checked (ERR_NOT_FOUND). The description
 * is one line for people, kept beside the list; it must hold no secret. */
int store_snapshot_commit(struct store *store, const struct snapshot *snapshot, const char *description,
                          struct err *err);
/* Renews the last-used stamp (at most once a minute is written; nothing on a store that is not writable). */
int store_snapshot_touch(struct store *store, const char *id, struct err *err);

struct store_usage {
    uint64_t objects, object_bytes, snapshots;
    uint64_t free_bytes, total_bytes; /* as the file system says; some servers lie */
};
int store_usage(struct store *store, struct store_usage *out, struct err *err);

/* What the file system says of itself; both 0 when it says nothing. */
void store_space(const struct store *store, uint64_t *size_bytes, uint64_t *free_bytes);

/* What a node-local store leaves free for the rest of the node: 1 GiB, but no more than a twentieth of the file system; 0 when the file
 * system does not say how large it is. */
uint64_t store_floor_bytes(const struct store *store);

/* Calls back for each complete snapshot ("sharedcache ls"). Stops at a non-zero answer. */
typedef int (*store_each)(void *context, const char *id, const struct snapshot *snapshot, const char *description,
                          int64_t last_used_s);
int store_snapshots_each(struct store *store, store_each each, void *context, struct err *err);

/* Removes partials of this node that no process holds: all of its earlier boots, and those older than age_s. */
int store_partials_reap(struct store *store, int64_t age_s, struct err *err);

/* Opens an object for reading (to copy it to another store); -1 on error. */
int store_object_open(struct store *store, const char *object, struct err *err);

/* The checksums kept with an object: parts in order that cover it. 1: there, 0: none (an object without is fine), -1: error. */
struct sums {
    uint64_t size;
    uint32_t crc32c; /* of the whole */
    struct part *parts;
    size_t count;
};
int store_sums_read(struct store *store, const char *object, struct arena *arena, struct sums *out, struct err *err);

/* Moves an object that failed verification out of the way, with its sums. */
int store_object_quarantine(struct store *store, const char *object, struct err *err);
