/*
 * A fill: resolve every input, plan, fetch what is missing, commit snapshots, all in the fetcher (or in the command-line tool).
 *
 *     resolve -> plan -> fetch -> commit (-> copy to the node-local store)
 *
 * Blocking; run one on a thread of its own. Fills in one engine share its transfer threads, and two fills that want the same
 * object wait for one download; two that ask a source the same as the same identity wait for one answer (cachecore/answer.h).
 * No store is looked at before the sources have said yes to this identity, input by input, as the class's rule (authorize) wants it.
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

struct fill_stores {
    struct store *store;       /* the share's (or the embedded one) */
    struct store *local_store; /* copy policy: objects end up here too; NULL: direct */
};

struct fill_request {
    const struct inputs *inputs;
    const char *inputs_from; /* URL of a list; NULL: inputs is the list */
    struct source_context context;
    uint64_t max_bytes, max_files;
    /* Called once, and not before every source has said yes. Stores stay the caller's. */
    int (*open)(void *context, struct fill_stores *out, struct err *err);
    void *open_context;
};

/* Read by other threads while the fill runs. */
struct fill_progress {
    _Atomic uint64_t bytes_done;    /* of bytes_total: from the cache, fetched or copied */
    _Atomic uint64_t bytes_total;   /* 0 until all is resolved */
    _Atomic uint64_t bytes_fetched; /* left a source because of this fill */
    _Atomic int stage;              /* enum fill_stage */
    _Atomic uint32_t inputs;        /* how many; 0 until the list is read */
    /* The store's file system, as its server says, before and after the download; 0: not known. */
    _Atomic uint64_t store_size_bytes, store_free_bytes;
};
enum fill_stage { FILL_RESOLVING, FILL_FETCHING, FILL_COPYING, FILL_DONE };

struct fill_input_result {
    const char *
        place; /* where the snapshot goes in the volume: a directory for a prefix, the file's full path for one object */
    bool is_file; /* one object: the snapshot has one file and place is its path */
    const char *display;
    char snapshot[SHA256_HEX];
    struct snapshot list; /* borrowed from the result's answers, or the fill's arena */
    uint64_t bytes_hit, bytes_missed;
};

struct answer;

struct fill_result {
    struct fill_input_result *inputs;
    size_t count;
    struct engine *engine;   /* whose answers these are: */
    struct answer **answers; /* held until fill_result_deinit; NULL: none */
};
/* The lists are gone then. All zero is fine. */
void fill_result_deinit(struct fill_result *result);
static inline void fill_result_deinitp(struct fill_result *result)
{
    fill_result_deinit(result);
}

/* Errors are prefixed with "input N (<display>): ". *cancel true: stops soon with ERR_CANCELLED, partials kept. */
int fill_run(struct engine *engine, const struct fill_request *request, struct arena *arena,
             struct fill_progress *progress, struct fill_result *out, const atomic_bool *cancel, struct err *err);
