/* What the files of a fill share with each other; nobody else includes this. */
#pragma once

#include "cachecore/answer.h"
#include "cachecore/fetch_internal.h"
#include "cachecore/plan.h"

#define FILL_ASK_MS 180000 /* one question with all its tries */

/* One input on its way through the fill: one object, or all that lies below a prefix. */
struct fill_item {
    const struct input *input;
    const struct source *source;
    struct answer_question question;
    struct answer *answer;      /* what the source said; held until the result is given up */
    struct source_object found; /* one object */
    char object[SHA256_HEX];    /* one object */
    struct snapshot list;       /* a prefix: at once; one object: when its size is known */
    char snapshot[SHA256_HEX];
    bool is_resolved;   /* the answer is right; false again when the source changed */
    bool must_be_fresh; /* what was said before is known to be out of date */
    bool has_list;      /* list and snapshot are right */
    bool is_looked_at;  /* the store was asked about the snapshot */
    bool is_complete;   /* the store has the snapshot with its mark */
    bool size_learned;  /* the source states none: the store does */
    uint64_t bytes_hit, bytes_missed;
};

struct fill {
    struct engine *engine;
    const struct fill_request *request;
    struct arena *arena; /* of the fill's own thread; others use it under the lock of the asking pool */
    struct fill_progress *progress;
    const atomic_bool *cancel;
    struct fill_stores stores; /* NULL before the sources have said yes */
    struct inputs inputs;
    struct fill_item *items;
    size_t count;
};

/* fill_items.c */
/* The list of inputs: the one given, or the one that inputs_from names. */
int fill_list(struct fill *fill, struct err *err);
/* What the class allows, before anybody is asked anything; makes the items. */
int fill_items(struct fill *fill, struct err *err);
/* How a question about url is asked on this thread. */
struct source_asking fill_asking(const struct fill *fill, const struct source *source, const struct url *url,
                                 struct pool_worker *worker);

/* fill_resolve.c */
/* Asks the sources about every item that is not resolved. */
int fill_resolve(struct fill *fill, struct err *err);

/* fill_prefix.c */
/* Lists the item's prefix into asking->answer, and has the source prove that this identity may read what is there, as the class wants
 * it. Does not look at the store. On the fill's own thread; -1 with asking->err. */
int fill_prefix_ask(const struct fill *fill, const struct fill_item *item, struct answer_asking *asking);
/* The item's list is its answer's. */
void fill_take_list(struct fill_item *item);

/* A file of a prefix. */
struct fill_file {
    const struct fill_item *item;
    const char *base; /* decoded: a key is base and path */
    const struct snapshot_file *file;
};
/* The object behind it, in arena. call has credentials. */
int fill_member(const struct source_call *call, const struct fill_file *file, struct arena *arena,
                struct source_object *out, struct err *err);

struct fill_members {
    const struct fill_item *item;
    const char *base;
    const struct snapshot_file *files;
    size_t count;
};
/* For each of them, with credentials looked for once. Non-zero ends it and is returned. */
typedef int (*fill_member_each)(const struct fill *fill, void *context, size_t index,
                                const struct source_object *object, struct err *err);
int fill_member_ids(const struct fill *fill, const struct fill_members *members, fill_member_each each, void *context,
                    struct err *err);
/* An object's id under this validator, for the identity of this fill. */
void fill_object_id(const struct fill *fill, const struct source_object *found, const char *validator,
                    char out[SHA256_HEX]);

/* fill_missing.c */
/* Plans, and brings what is missing. 1: all is there, 0: a source changed meanwhile, -1: error. */
int fill_fetch(struct fill *fill, struct err *err);

/* fill_pin.c */
/* 1: the pinned snapshot is there, is one of this input, and is taken; 0: not there; -1: error. */
int fill_pin_look(struct fill *fill, struct fill_item *item, struct err *err);
int fill_pin_check(const struct fill_item *item, struct err *err);

/* fill_snapshot.c */
/* Makes lists where sizes are known, reads back faded ones and pinned ones, and finds out what is complete. */
int fill_look(struct fill *fill, struct err *err);
/* After the download: lists of what had no size, digests of what was there before, pins. */
int fill_settle(struct fill *fill, struct err *err);
int fill_commit(struct fill *fill, struct err *err);
int fill_copy(struct fill *fill, struct err *err);
/* The class's limits on files and bytes, over all inputs. */
int fill_limits(const struct fill *fill, struct err *err);

/* "input 3 (https://example.com/a): " before the message. Returns -1. */
int fill_item_error(const struct fill *fill, size_t index, struct err *err);
