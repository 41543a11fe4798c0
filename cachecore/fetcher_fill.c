#include "cachecore/fetcher.h"

#include <string.h>

/* The list is the pod's text: wrong text is the request's fault. */
static int request_fill(const struct fetcher_job *job, struct inputs *inputs, struct fill_request *out, struct err *err)
{
    const struct wire_order *order = job->order;
    if (order->inputs && inputs_parse(job->arena, order->inputs, strlen(order->inputs), inputs, err) != 0)
        return -1;
    char *identity = arena_alloc(job->arena, SHA256_HEX);
    source_identity(&order->secrets, identity);
    out->inputs = inputs;
    out->inputs_from = order->inputs_from;
    out->context = (struct source_context){
        .class = &order->rules, .secrets = &order->secrets, .identity = identity, .volume = order->volume};
    out->max_bytes = order->rules.max_bytes;
    out->max_files = order->rules.max_files;
    return 0;
}

int fetcher_fill(void *context, const struct fetcher_job *job, struct fill_result *out, struct err *err)
{
    struct inputs inputs = {.items = NULL};
    struct fill_request request = {.inputs = NULL};
    if (request_fill(job, &inputs, &request, err) != 0)
        return -1;
    _cleanup_(store_freep) struct store *store = store_open(job->store_fd, job->order->node, NULL, err);
    if (!store)
        return err_prefix(err, "store");
    _cleanup_(store_freep) struct store *local = NULL;
    if (job->local_store_fd >= 0) {
        local = store_open(job->local_store_fd, job->order->node, NULL, err);
        if (!local)
            return err_prefix(err, "node-local store");
    }
    request.store = store;
    request.local_store = local;
    return fill_run(context, &request, job->arena, job->progress, out, job->cancel, err);
}
