/*
 * Brings objects from their sources into a store: in parts under If-Match where the validator is strong and the server honours
 * ranges, in one stream else; retried, resumed, checked. Two callers that want the same object of the same store wait for one
 * download; when the one that does it is cancelled, another carries on.
 */
#pragma once

#include "cachecore/fill.h"
#include "cachecore/pool.h"

#define FETCH_PART_SIZE ((uint64_t)8 << 20)

enum fetch_outcome {
    FETCH_DONE,
    FETCH_CHANGED, /* the source has another version now, or cannot stick to one: resolve again */
};

/* One object to be brought. All is borrowed until its outcome is known. */
struct fetch_want {
    struct store *store;
    char object[SHA256_HEX];
    const struct source *source;
    const struct source_context *context;
    const char *host;                  /* of the URL: whom credentials are for */
    const struct source_object *found; /* what resolve said, or member */
    const char *sha256;                /* hex: verified before the object appears; NULL: not asked for */
    uint64_t max_bytes;                /* of an object whose size the source does not state */
};

/* Many of them: each is made when its turn comes and given up when it is over, so that a list of a million costs no memory. */
struct fetch_list {
    size_t count;
    void *context;
    /* On the caller's thread, without a lock. What *out points to lives in arena, or longer than the list. */
    int (*make)(void *context, size_t index, struct arena *arena, struct fetch_want *out, struct err *err);
    /* The same thread, under the pool's lock. Not called after a failure. */
    void (*over)(void *context, size_t index, enum fetch_outcome outcome);
};

/*
 * Blocking. Adds to progress what arrives: bytes_done, bytes_fetched, and bytes_total of objects of unknown size. -1: the
 * first error that retries did not mend, *failed names its want: ERR_CANCELLED when *cancel became true (partials are kept),
 * ERR_EXHAUSTED (the store is full, or an endless stream), ERR_PRECONDITION (sha256, protocol), or what the source answered.
 */
int fetch_objects(struct engine *engine, const struct fetch_list *list, struct fill_progress *progress,
                  const atomic_bool *cancel, size_t *failed, struct err *err);

/* Does the stored object have this SHA-256? Reads it, unless this process has done so lately. 0, or ERR_PRECONDITION "sha256 expected
 * .. got ..", ERR_CANCELLED. */
int fetch_verify(struct engine *engine, struct store *store, const char *object, const char *sha256,
                 const atomic_bool *cancel, struct err *err);
