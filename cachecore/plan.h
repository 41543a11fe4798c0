/*
 * A plan: what a set of snapshots needs that is not there yet. A pure diff: whether an object is there is asked through a
 * function, once for each object, however often it stands in the snapshots.
 */
#pragma once

#include "cachecore/snapshot.h"

struct plan_object {
    const char *object; /* borrowed from the snapshots */
    uint64_t size;
    uint32_t snapshot, file; /* where it stands first: a place in the list of snapshots, and in its files */
};

struct plan {
    struct plan_object *missing; /* no object twice; the largest first, so that no large one is left for the end */
    size_t count;
    uint64_t files;        /* of all snapshots */
    uint64_t bytes;        /* as the volume shows them: an object that stands twice counts twice */
    uint64_t bytes_hit;    /* of distinct objects that are there */
    uint64_t bytes_missed; /* of distinct objects that are not */
};

struct plan_limits {
    uint64_t max_bytes, max_files; /* of the whole volume; 0: no limit */
};

/* 1: there, 0: not, -1: error; as store_object_find. */
typedef int (*plan_present)(void *context, const char *object, uint64_t size, struct err *err);

/* ERR_EXHAUSTED with the sizes when a limit is passed (before present is asked anything); ERR_CORRUPT for one object with two
 * sizes; what present says otherwise. */
int plan_make(struct arena *arena, const struct snapshot *const *snapshots, size_t count,
              const struct plan_limits *limits, plan_present present, void *context, struct plan *out, struct err *err);
