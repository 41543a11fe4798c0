/*
 * Volume context: the attributes of a volume, an exact allow-list with exact case. Inline volumes (written by whoever may
 * make a pod) have few; volumes made by an admin or a controller may carry class parameters too. Keys below
 * csi.storage.k8s.io/ are kubelet's own. Pure.
 */
#pragma once

#include "csi/request.h"

/* Any of protobuf-c's map entries, reduced to pairs (borrowed). */
struct context_map {
    struct request_pair *pairs;
    size_t count;
};

#define CONTEXT_MAP(arena, message_entries, entry_count)                                                              \
    __extension__({                                                                                                   \
        struct context_map map_ = {arena_calloc(arena, (entry_count) + 1, sizeof(struct request_pair)), entry_count}; \
        for (size_t i_ = 0; i_ < map_.count; i_++)                                                                    \
            map_.pairs[i_] = (struct request_pair){(message_entries)[i_]->key, (message_entries)[i_]->value};         \
        map_;                                                                                                         \
    })

enum context_owner {
    CONTEXT_POD,   /* attributes of an inline volume */
    CONTEXT_ADMIN, /* of a PersistentVolume, or the parameters of a StorageClass */
};

/* Sizes, number of entries, and keys given twice or differing only in case. */
int context_check(const struct context_map *map, struct err *err);

/* ERR_INVALID lists the allowed keys. inputs or inputsFrom must be there, not both. Parameters are checked by class_set. */
int context_attributes(struct arena *arena, const struct context_map *map, enum context_owner owner,
                       struct volume_attributes *out, struct err *err);

/* NULL when it is not there. */
const char *context_get(const struct context_map *map, const char *key);

/* True for keys that kubelet or the provisioner own. */
bool context_is_reserved(const char *key);

/* The digest of all pairs that are not reserved, whatever their order. */
void context_digest(const struct context_map *map, const char *more, char out[SHA256_HEX]);
