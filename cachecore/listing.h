/* A listing: what is below a prefix or matches a glob now, as the sorted files of one input. */
#pragma once

#include "cachecore/pool.h"
#include "cachecore/snapshot.h"
#include "cachecore/source.h"

struct listing_request {
    const struct source *source;
    const struct source_context *context;
    const struct url *url; /* ends in '/', or is a glob */
    uint64_t max_files,
        max_bytes; /* ERR_EXHAUSTED, with the numbers, as soon as they are passed: before any download */
    int64_t deadline_ms;
    const atomic_bool *cancel;
};

struct listing {
    const char *base;            /* decoded key prefix that all paths lie below; ends in '/' or is "" */
    struct snapshot_file *files; /* sorted by path (bytes): path, size, mtime, validator are set, object is "" */
    size_t count;
    uint64_t bytes;
};

/*
 * Blocking, on the pool's threads, several requests at a time where the key space can be divided. Text in arena. Directory markers (a key of
 * size 0 that ends in '/', or the prefix itself) are passed over.
 *
 * ERR_INVALID names a key that cannot be a file name (snapshot_path_check; one that is both file and directory; two that differ only in case)
 * and says how many there are; only keys that match are judged. ERR_NOT_FOUND: nothing is there. ERR_PRECONDITION: an archived object (names
 * it), a server that breaks the protocol. ERR_DENIED: a key that the class's allowedSources leave out. ERR_DEADLINE, ERR_CANCELLED, and what
 * source_ask says.
 */
int listing_run(struct pool *pool, const struct listing_request *request, struct arena *arena, struct listing *out,
                struct err *err);

/* The key of one of the files, of a listing with this base: for a source_entry. Length through len. */
const char *listing_key(struct arena *arena, const char *base, const char *path, size_t *len);
