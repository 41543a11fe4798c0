#include <string.h>

#include "base/clock.h"
#include "cachecore/fill_internal.h"

int fill_item_error(const struct fill *fill, size_t index, struct err *err)
{
    return err_prefix(err, "input %zu (%s)", index + 1, fill->items[index].input->url.display);
}

/* --- the list --- */

struct list_job {
    struct fill *fill;
    const struct url *url;
    const struct source *source;
    struct str text;
};

static int list_sink(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    struct list_job *job = context;
    (void)err;
    if (response->status == 200 && len > 0)
        str_append(&job->text, data, len);
    return 0;
}

static int list_get(struct list_job *job, struct source_call *call, struct arena *arena,
                    const struct source_object *found, struct err *err)
{
    const struct source_range whole = {.now_s = clock_wall_s()};
    struct http_request request;
    struct http_response response;
    if (job->source->authorize(call, found, &whole, arena, &request, err) != 0)
        return -1;
    request.body_max = INPUTS_BYTES_MAX;
    if (http_perform(call->http, &request, list_sink, job, &response, call->cancel, err) != 0)
        return -1;
    return response.status == 200 ? 0 : source_status_error(&response, found->display, err);
}

struct source_asking fill_asking(const struct fill *fill, const struct source *source, const struct url *url,
                                 struct pool_worker *worker)
{
    const struct source_context *context = &fill->request->context;
    const struct http_rules rules = fetch_rules(context);
    return (struct source_asking){
        .source = source,
        .host = url->host,
        .call = {.context = context, .http = pool_worker_http(worker, &rules), .cancel = fill->cancel},
        .deadline_ms = clock_monotonic_ms() + FILL_ASK_MS};
}

static int list_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    (void)index;
    struct list_job *job = context;
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct source_asking asking = fill_asking(job->fill, job->source, job->url, worker);
    struct source_object found;
    if (source_resolve(&asking, job->url, arena, &found, err) != 0)
        return -1;
    if (found.size_is_known && found.size > INPUTS_BYTES_MAX)
        return err_set(err, ERR_INVALID, "the list has %llu bytes, at most %u are read", (unsigned long long)found.size,
                       INPUTS_BYTES_MAX);
    if (source_call_begin(job->source, job->url->host, &asking.call, err) != 0)
        return -1;
    int result = list_get(job, &asking.call, arena, &found, err);
    source_call_end(&asking.call);
    return result;
}

static int source_allowed(const struct fill *fill, const struct url *url, struct err *err)
{
    const struct class *class = fill->request->context.class;
    if (class_allows_source(class, url->canonical))
        return 0;
    return err_set(err, ERR_DENIED, "class %s does not allow this source; its allowedSources are %s", class->name,
                   class->allowed_sources ? class->allowed_sources : "all");
}

static int list_fetch(struct fill *fill, const struct url *url, struct err *err)
{
    struct list_job job = {.fill = fill, .url = url};
    size_t failed;
    job.source = source_allowed(fill, url, err) == 0 ? source_for(url, err) : NULL;
    int result = job.source ? pool_each(fill->engine->asks, 1, list_run, &job, fill->cancel, &failed, err) : -1;
    if (result == 0)
        result = inputs_parse(fill->arena, job.text.data ? job.text.data : "", job.text.len, &fill->inputs, err);
    str_deinit(&job.text);
    return result;
}

int fill_list(struct fill *fill, struct err *err)
{
    const char *from = fill->request->inputs_from;
    struct url url;
    if (!from) {
        fill->inputs = *fill->request->inputs;
        return 0;
    }
    if (url_parse(fill->arena, from, strlen(from), &url, err) != 0)
        return err_prefix(err, "inputsFrom");
    return list_fetch(fill, &url, err) == 0 ? 0 : err_prefix(err, "inputsFrom (%s)", url.display);
}

/* --- the items --- */

static int item_make(const struct fill *fill, const struct input *input, struct fill_item *out, struct err *err)
{
    *out = (struct fill_item){.input = input};
    if (source_allowed(fill, &input->url, err) != 0)
        return -1;
    out->source = source_for(&input->url, err);
    if (!out->source)
        return -1;
    if (input->is_prefix && (!out->source->list || !out->source->member))
        return err_set(err, ERR_UNSUPPORTED, "%s:// cannot be listed: name single objects", input->url.scheme);
    if (input->is_prefix && input->sha256)
        return err_set(err, ERR_INVALID, "sha256= is for one object, and this is a prefix");
    answer_question_make(&fill->request->context, &input->url, input->url_text, &out->question);
    return 0;
}

int fill_items(struct fill *fill, struct err *err)
{
    uint64_t max_files = fill->request->max_files;
    fill->count = fill->inputs.count;
    if (fill->count == 0)
        return err_set(err, ERR_INVALID, "the list of inputs is empty");
    if (max_files > 0 && fill->count > max_files)
        return err_set(err, ERR_EXHAUSTED, "the volume has %zu files, its class allows %llu", fill->count,
                       (unsigned long long)max_files);
    fill->items = arena_calloc(fill->arena, fill->count, sizeof(*fill->items));
    for (size_t i = 0; i < fill->count; i++) {
        if (item_make(fill, &fill->inputs.items[i], &fill->items[i], err) != 0)
            return fill_item_error(fill, i, err);
    }
    atomic_store(&fill->progress->inputs, (uint32_t)fill->count);
    return 0;
}
