/*
 * A fill: resolve every input, plan, fetch what is missing, commit snapshots, all in the fetcher (or in the command-line tool).
 *
 *     resolve -> plan -> fetch -> commit (-> copy to the node-local store)
 *
 * Blocking; run one on a thread of its own. Fills in one engine share its transfer threads, and two fills that want the same
 * object wait for one download.
 */
#pragma once

#include "cachecore/input.h"
#include "cachecore/source.h"
#include "cachecore/store.h"

struct engine;

struct engine_config {
    unsigned transfers; /* threads that move bytes, started as needed, ended when idle; 0: 16 */
    uint64_t part_size; /* 0: 8 MiB */
};

struct engine *engine_new(const struct engine_config *config);
void engine_free(struct engine *engine);
DEFINE_CLEANUP(struct engine *, engine_free);

struct fill_request {
    const struct inputs *inputs;
    const char *inputs_from; /* URL of a list; NULL: inputs is the list */
    struct source_context context;
    struct store *store;       /* the share's (or the embedded one) */
    struct store *local_store; /* copy policy: objects end up here too; NULL: direct */
    uint64_t max_bytes, max_files;
};

/* Read by other threads while the fill runs. */
struct fill_progress {
    _Atomic uint64_t bytes_done;    /* of bytes_total: from the cache, fetched or copied */
    _Atomic uint64_t bytes_total;   /* 0 until all is resolved */
    _Atomic uint64_t bytes_fetched; /* left a source because of this fill */
    _Atomic int stage;              /* enum fill_stage */
    _Atomic uint32_t inputs;        /* how many; 0 until the list is read */
    /* The store's file system, as its server says, at the fill's start and end; 0: not known. */
    _Atomic uint64_t store_size_bytes, store_free_bytes;
};
enum fill_stage { FILL_RESOLVING, FILL_FETCHING, FILL_COPYING, FILL_DONE };

struct fill_input_result {
    const char *
        place; /* where the snapshot goes in the volume: a directory for a prefix, the file's full path for one object */
    bool is_file; /* one object: the snapshot has one file and place is its path */
    const char *display;
    char snapshot[SHA256_HEX];
    struct snapshot list;
    uint64_t bytes_hit, bytes_missed;
};

struct fill_result {
    struct fill_input_result *inputs;
    size_t count;
};

/* Errors are prefixed with "input N (<display>): ". *cancel true: stops soon with ERR_CANCELLED, partials kept. */
int fill_run(struct engine *engine, const struct fill_request *request, struct arena *arena,
             struct fill_progress *progress, struct fill_result *out, const atomic_bool *cancel, struct err *err);
