#include "cachecore/fetcher.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"

/* The list is the pod's text: wrong text is the request's fault. */
static int request_fill(const struct fetcher_job *job, struct inputs *inputs, struct fill_request *out, struct err *err)
{
    const struct wire_order *order = job->order;
    if (order->inputs && inputs_parse(job->arena, order->inputs, strlen(order->inputs), inputs, err) != 0)
        return -1;
    out->inputs = inputs;
    out->inputs_from = order->inputs_from;
    out->context = (struct source_context){.class = &order->rules, .identity = job->identity, .volume = order->volume};
    out->max_bytes = order->rules.max_bytes;
    out->max_files = order->rules.max_files;
    return 0;
}

#define REAP_AGE_S (24 * 3600)
#define REAP_EVERY_MS (10 * 60 * 1000)

/* Partial downloads that nobody came back for, with the first fill of a process and every ten minutes: it lists a directory. */
static void reap_now_and_then(struct store *store, struct store *local)
{
    static _Atomic int64_t next_ms;
    struct err ignored = ERR_INIT; /* what cannot be removed now is tried again */
    int64_t now_ms = clock_monotonic_ms();
    int64_t due_ms = atomic_load(&next_ms);
    if (now_ms < due_ms || !atomic_compare_exchange_strong(&next_ms, &due_ms, now_ms + REAP_EVERY_MS))
        return;
    store_partials_reap(store, REAP_AGE_S, &ignored);
    if (local)
        store_partials_reap(local, REAP_AGE_S, &ignored);
}

struct opening {
    const struct fetcher_job *job;
    struct fill_stores stores;
};

static int stores_open(void *context, struct fill_stores *out, struct err *err)
{
    struct opening *opening = context;
    const struct fetcher_job *job = opening->job;
    struct fill_stores *stores = &opening->stores;
    stores->store = store_open(job->store_fd, job->order->node, NULL, err);
    if (!stores->store)
        return err_prefix(err, "store");
    if (job->local_store_fd >= 0) {
        stores->local_store = store_open(job->local_store_fd, job->order->node, NULL, err);
        if (!stores->local_store)
            return err_prefix(err, "node-local store");
    }
    *out = *stores;
    return 0;
}

int fetcher_fill(void *context, const struct fetcher_job *job, struct fill_result *out, struct err *err)
{
    struct inputs inputs = {.items = NULL};
    struct opening opening = {.job = job};
    struct fill_request request = {.open = stores_open, .open_context = &opening};
    if (request_fill(job, &inputs, &request, err) != 0)
        return -1;
    int failed = fill_run(context, &request, job->arena, job->progress, out, job->cancel, err);
    if (opening.stores.store)
        reap_now_and_then(opening.stores.store, opening.stores.local_store);
    store_free(opening.stores.store);
    store_free(opening.stores.local_store);
    return failed;
}
