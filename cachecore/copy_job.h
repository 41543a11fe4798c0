/* One object on its way from store to store, as parts that several threads can carry. Used by copy.c alone. */
#pragma once

#include "cachecore/copy.h"

struct copy_job {
    const struct plan_object *object;
    struct arena *arena;
    struct sums sums; /* what the source keeps, or parts without checksums when it keeps none */
    bool has_sums;
    bool *is_done; /* parts that an earlier try left in the target */
    int source;
    struct partial *target; /* NULL: the object is in the target already */
};

struct copy_way {
    struct store *from, *to;
    uint64_t part_size, floor_bytes;
    _Atomic uint64_t *bytes_done;
    const atomic_bool *cancel;
};

bool copy_is_cancelled(const struct copy_way *way);

/* Opens both ends. ERR_BUSY when somebody else fills the object in the target. */
int copy_job_open(const struct copy_way *way, const struct plan_object *object, struct copy_job *out, struct err *err);
void copy_job_close(struct copy_job *job);

/* Copies one part through the buffer and records it; different parts at once on different threads are fine. */
int copy_job_part(const struct copy_way *way, struct copy_job *job, size_t index, uint8_t *buffer, size_t size,
                  struct err *err);
int copy_job_commit(struct copy_job *job, struct err *err);
