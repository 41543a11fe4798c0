/* What the files of a fill share with each other; nobody else includes this. */
#pragma once

#include "cachecore/fetch_internal.h"
#include "cachecore/plan.h"

/* One input on its way through the fill. */
struct fill_item {
    const struct input *input;
    const struct source *source;
    struct source_object found; /* text in the fill's arena */
    char object[SHA256_HEX];
    struct snapshot list; /* once the size is known */
    char snapshot[SHA256_HEX];
    bool is_resolved;  /* found and object are right; false again when the source changed */
    bool has_list;     /* list and snapshot are right */
    bool is_complete;  /* the store has the snapshot with its mark */
    bool size_learned; /* the source states none: the store does */
    uint64_t bytes_hit, bytes_missed;
};

struct fill {
    struct engine *engine;
    const struct fill_request *request;
    struct arena *arena; /* of the fill's own thread; others use it under the lock of the asking pool */
    struct fill_progress *progress;
    const atomic_bool *cancel;
    struct inputs inputs;
    struct fill_item *items;
    size_t count;
};

/* fill_resolve.c */
/* The list of inputs: the one given, or the one that inputs_from names. */
int fill_list(struct fill *fill, struct err *err);
/* What the class allows, before anybody is asked anything; makes the items. */
int fill_items(struct fill *fill, struct err *err);
/* Asks the sources about every item that is not resolved. */
int fill_resolve(struct fill *fill, struct err *err);

/* fill_snapshot.c */
/* Makes lists where sizes are known, reads pinned ones, and finds out what is complete. */
int fill_look(struct fill *fill, struct err *err);
/* After the download: lists of what had no size, digests of what was there before, pins. */
int fill_settle(struct fill *fill, struct err *err);
int fill_commit(struct fill *fill, struct err *err);
int fill_copy(struct fill *fill, struct err *err);
int fill_limits(const struct fill *fill, struct err *err);

/* "input 3 (https://example.com/a): " before the message. Returns -1. */
int fill_item_error(const struct fill *fill, size_t index, struct err *err);
