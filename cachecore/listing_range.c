/* The pages of one range of keys. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/fetch_internal.h"
#include "cachecore/listing_internal.h"

#define KEYS_MAX UINT64_C(100000000) /* matching or not */
#define EMPTY_PAGES_MAX 1000u
#define TOKEN_MAX 4096u

/* A page while it comes in: nothing of it counts before it is complete. */
struct incoming {
    struct listing_job *job;
    struct listing_range *range;
    struct arena *arena; /* of one try */
    struct str text;     /* path NUL validator NUL ...; records say where until it stays where it is */
    struct listing_record *records;
    size_t count, capacity;
    uint64_t keys, bytes, bad;
    char *bad_first; /* malloc'ed, as are the keys */
    struct str first, last;
    bool is_past;     /* beyond the range's end */
    const char *next; /* token */
};

static void incoming_reset(struct incoming *page)
{
    arena_wipe_free(page->arena);
    page->arena = arena_new();
    str_clear(&page->text);
    str_clear(&page->first);
    str_clear(&page->last);
    free(page->bad_first);
    page->bad_first = NULL;
    page->count = page->keys = page->bytes = page->bad = 0;
    page->is_past = false;
    page->next = NULL;
}

static void incoming_deinit(struct incoming *page)
{
    arena_wipe_free(page->arena);
    str_deinit(&page->text);
    str_deinit(&page->first);
    str_deinit(&page->last);
    free(page->bad_first);
    free(page->records);
}

static const char *last_key(const struct incoming *page)
{
    if (page->keys > 0)
        return page->last.data;
    return page->range->last ? page->range->last : page->range->after;
}

static int entry_check(const struct incoming *page, const struct source_entry *entry, struct err *err)
{
    const struct listing_job *job = page->job;
    const char *before = last_key(page);
    if (strlen(entry->key) != entry->key_len || entry->key_len == 0)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a key with a NUL, or an empty one");
    if (strncmp(entry->key, job->prefix, job->prefix_len) != 0)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists keys that do not begin as asked for");
    if (job->request->source->after_works && before && strcmp(entry->key, before) <= 0)
        return err_set(
            err, ERR_PRECONDITION,
            "protocol error: the server lists keys that are not in order, or twice, or from before the start");
    return 0;
}

static void key_keep(struct str *out, const struct source_entry *entry)
{
    str_clear(out);
    str_append(out, entry->key, entry->key_len);
}

static void file_keep(struct incoming *page, const struct source_entry *entry)
{
    if (page->count == page->capacity) {
        page->capacity = page->capacity > 0 ? 2 * page->capacity : 64;
        page->records = mem_realloc(page->records, page->capacity * sizeof(*page->records));
    }
    page->records[page->count++] = (struct listing_record){.path = (const char *)(uintptr_t)page->text.len,
                                                           .size = entry->size,
                                                           .mtime_s = entry->mtime_s,
                                                           .mtime_ns = entry->mtime_ns};
    page->bytes += entry->size;
    str_append(&page->text, entry->key + page->job->base_len, entry->key_len - page->job->base_len + 1);
    str_append(&page->text, entry->validator, strlen(entry->validator) + 1);
}

static int limits_check(const struct listing_job *job, uint64_t files, uint64_t bytes, struct err *err)
{
    const struct listing_request *request = job->request;
    char shown[16], allowed[16];
    if (request->max_files > 0 && files > request->max_files)
        return err_set(err, ERR_EXHAUSTED, "more than the %" PRIu64 " files that the class allows a volume (maxFiles)",
                       request->max_files);
    str_human_bytes(bytes, shown);
    str_human_bytes(request->max_bytes, allowed);
    if (bytes > INT64_MAX || (request->max_bytes > 0 && bytes > request->max_bytes))
        return err_set(err, ERR_EXHAUSTED,
                       "the first %" PRIu64 " files have %s, the class allows a volume %s (maxBytes)", files, shown,
                       allowed);
    return 0;
}

static int on_entry(void *context, const struct source_entry *entry, struct err *err)
{
    struct incoming *page = context;
    struct err why = ERR_INIT;
    if (entry_check(page, entry, err) != 0)
        return -1;
    if (page->is_past || (page->range->until && strcmp(entry->key, page->range->until) > 0)) {
        page->is_past = true;
        return 0;
    }
    if (page->keys++ == 0)
        key_keep(&page->first, entry);
    key_keep(&page->last, entry);
    switch (listing_judge(page->job, entry, &why)) {
    case LISTING_FILE:
        file_keep(page, entry);
        break;
    case LISTING_BAD:
        if (page->bad++ == 0)
            page->bad_first = mem_strdup(why.message);
        break;
    case LISTING_ERROR:
        *err = why;
        return -1;
    case LISTING_PASSED:
        break;
    }
    return limits_check(page->job, page->count, page->bytes, err);
}

static int page_question(const struct source_call *call, void *context, struct err *err)
{
    struct incoming *page = context;
    const struct listing_range *range = page->range;
    const struct source_page ask = {
        .url = page->job->request->url,
        .prefix = page->job->prefix,
        .after = range->token  ? NULL
                 : range->last ? range->last
                               : range->after,
        .token = range->token,
        .each = on_entry,
        .each_context = page,
    };
    incoming_reset(page);
    return page->job->request->source->list(call, &ask, page->arena, &page->next, err);
}

struct source_asking listing_asking(const struct listing_job *job, struct pool_worker *worker)
{
    const struct listing_request *request = job->request;
    const struct http_rules rules = fetch_rules(request->context);
    return (struct source_asking){
        .source = request->source,
        .host = request->url->host,
        .call = {.context = request->context, .http = pool_worker_http(worker, &rules), .cancel = request->cancel},
        .deadline_ms = request->deadline_ms};
}

/* --- a page that is complete --- */

static int totals_add_locked(struct listing_job *job, const struct incoming *page, struct err *err)
{
    job->locked.keys += page->keys;
    job->locked.files += page->count;
    if (__builtin_add_overflow(job->locked.bytes, page->bytes, &job->locked.bytes))
        job->locked.bytes = UINT64_MAX;
    if (job->locked.keys > KEYS_MAX)
        return err_set(err, ERR_EXHAUSTED, "more than %" PRIu64 " keys were looked at: narrow the prefix", KEYS_MAX);
    return limits_check(job, job->locked.files, job->locked.bytes, err);
}

static void records_place(struct incoming *page, struct listing_range *range, const char *text)
{
    struct listing_page *kept = mem_alloc(sizeof(*kept) + page->count * sizeof(*kept->records));
    kept->count = page->count;
    for (size_t i = 0; i < page->count; i++) {
        kept->records[i] = page->records[i];
        kept->records[i].path = text + (uintptr_t)page->records[i].path;
    }
    *range->pages_end = kept;
    range->pages_end = &kept->next;
}

static int page_keep(struct incoming *page, struct err *err)
{
    struct listing_job *job = page->job;
    struct listing_range *range = page->range;
    pthread_mutex_lock(&job->locked.mutex);
    int result = totals_add_locked(job, page, err);
    if (result == 0 && page->count > 0)
        records_place(page, range, arena_memdup(job->arena, page->text.data, page->text.len));
    if (result == 0 && page->bad > 0 && range->bad == 0)
        range->bad_first = arena_strdup(job->arena, page->bad_first);
    if (page->keys > 0) {
        range->first = arena_strdup(job->arena, page->first.data);
        range->last = arena_strdup(job->arena, page->last.data);
    }
    range->bad += page->bad;
    pthread_mutex_unlock(&job->locked.mutex);
    return result;
}

static int range_go_on(struct incoming *page, struct err *err)
{
    struct listing_range *range = page->range;
    range->is_done = !page->next || page->is_past;
    range->empty_pages = page->keys > 0 ? 0 : range->empty_pages + 1;
    if (range->is_done)
        return 0;
    if (strlen(page->next) > TOKEN_MAX)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server's token for the next page has %zu bytes",
                       strlen(page->next));
    if ((range->token && strcmp(range->token, page->next) == 0) || range->empty_pages == EMPTY_PAGES_MAX)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server's listing does not come to an end");
    pthread_mutex_lock(&page->job->locked.mutex);
    range->token = arena_strdup(page->job->arena, page->next);
    pthread_mutex_unlock(&page->job->locked.mutex);
    return 0;
}

static int page_list(struct incoming *page, const struct source_asking *asking, struct err *err)
{
    const struct listing_request *request = page->job->request;
    if (request->cancel && atomic_load_explicit(request->cancel, memory_order_relaxed))
        return err_set(err, ERR_CANCELLED, "the listing was cancelled");
    if (clock_monotonic_ms() >= request->deadline_ms)
        return err_set(err, ERR_DEADLINE, "the listing took too long");
    if (source_ask(asking, page_question, page, err) != 0 || page_keep(page, err) != 0)
        return -1;
    return range_go_on(page, err);
}

int listing_range_run(struct listing_job *job, struct listing_range *range, struct pool_worker *worker, unsigned pages,
                      struct err *err)
{
    const struct source_asking asking = listing_asking(job, worker);
    struct incoming page = {.job = job, .range = range};
    int result = 0;
    for (unsigned i = 0; result == 0 && i < pages && !range->is_done; i++)
        result = page_list(&page, &asking, err);
    incoming_deinit(&page);
    return result;
}

void listing_range_init(struct listing_range *range)
{
    range->pages_end = &range->pages;
}

void listing_range_free(struct listing_range *range)
{
    for (struct listing_page *page = range->pages, *next; page; page = next) {
        next = page->next;
        free(page);
    }
    range->pages = NULL;
}
