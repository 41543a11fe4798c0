/*
 * A publish under way: what each stage finds out and the next ones need. The stages are in publication.c, their order in
 * publish.c. Each stage sets err and returns -1, or fills in its part and returns 0.
 */
#pragma once

#include "csi/node.h"
#include "csi/request.h"
#include "csi/target.h"
#include "csi/view_plan.h"

struct publication {
    struct node *node;
    const struct publish_request *request;
    struct rpc_call call; /* cancel_fd: readable when the caller goes or an unpublish wants this to end; -1: none */
    int64_t deadline_ms;
    int64_t hold_ms;
    struct arena *arena;
    const char *target;        /* canonical */
    char user[SHA256_HEX + 8]; /* record_file_name: names this publish among a share's users */
    const char *fill_id;       /* the volume as csi/fills.h knows it */

    struct class class;
    struct opened_store share; /* the class's store */
    struct opened_store local; /* copy policy: the node's own */
    struct fills_result filled;
    struct view_plan view;
    char layer[VIEW_LAYER_NAME];
    struct target directory;
    bool is_recorded;
    bool is_target_made;
};

void publication_init(struct publication *publication, struct node *node, const struct publish_request *request,
                      const struct rpc_call *call);
void publication_deinit(struct publication *publication);
static inline void publication_deinitp(struct publication *publication)
{
    publication_deinit(publication);
}

/* "target/<path>": the name that publish and unpublish of one target take turns by (csi/guard.h). */
const char *publication_guard_name(struct arena *arena, const char *target);
/* A fill belongs to one volume on one target: an inline volume has only one, a claim may be used by several pods. */
const char *publication_fill_id(struct arena *arena, const char *volume_id, const char *target);

/* Row 8 to 10 of the table of faults. 1: published already, 0: not, -1: an error. */
int publication_look(struct publication *publication, struct err *err);

int publication_class(struct publication *publication, struct err *err);
int publication_stores(struct publication *publication, struct err *err);
int publication_fill(struct publication *publication, struct err *err);
int publication_view(struct publication *publication, struct err *err);
int publication_record(struct publication *publication, struct err *err);
int publication_bind(struct publication *publication, struct err *err);

/* Takes everything back that this publish did. cause is the error that it answers with: while a fill goes on (ERR_BUSY,
 * ERR_CANCELLED) its share stays. When something cannot be taken back, cause becomes a non-final error. */
void publication_undo(struct publication *publication, struct err *cause);

/* Drops the layer when no record uses it; the caller has just dropped its own. */
int publication_layer_release(struct node *node, const char *layer, int64_t deadline_ms, struct err *err);
