#include "cachecore/listing_internal.h"

#include <inttypes.h>
#include <string.h>

/* --- what is asked for --- */

static int job_prefix(struct listing_job *job, struct err *err)
{
    const struct url *url = job->request->url;
    size_t len;
    if (url->is_glob) {
        if (glob_parse(job->arena, url->glob, &job->glob, err) != 0)
            return -1;
        job->base = job->glob.base;
        job->prefix = job->glob.prefix;
    } else {
        job->base = url->path[1] == '\0' ? "" : url_key(job->arena, url, &len, err);
        job->prefix = job->base;
    }
    if (!job->base)
        return -1;
    job->base_len = strlen(job->base);
    job->prefix_len = strlen(job->prefix);
    return 0;
}

static int request_check(const struct listing_request *request, struct err *err)
{
    const struct url *url = request->url;
    size_t len = strlen(url->path);
    if (!request->source->list)
        return err_set(err, ERR_INVALID, "%s:// has no listings: name single objects", url->scheme);
    if (!url->is_glob && url->path[len - 1] != '/')
        return err_set(err, ERR_INVALID, "neither a prefix, which ends in '/', nor a glob");
    if (url->query)
        return err_set(err, ERR_INVALID, "a version names one object: leave it out of a prefix or glob");
    return 0;
}

/* --- the files --- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_file *)a)->path, ((const struct snapshot_file *)b)->path);
}

static int order_check(struct snapshot_file *files, size_t count, struct err *err)
{
    bool in_order = true;
    for (size_t i = 1; i < count && in_order; i++)
        in_order = strcmp(files[i - 1].path, files[i].path) < 0;
    if (!in_order)
        qsort(files, count, sizeof(*files), by_path);
    for (size_t i = 1; i < count && !in_order; i++) {
        if (strcmp(files[i - 1].path, files[i].path) == 0)
            return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a key twice");
    }
    return 0;
}

static struct snapshot_file *page_take(const struct listing_page *page, struct snapshot_file *out)
{
    for (size_t i = 0; i < page->count; i++) {
        const struct listing_record *record = &page->records[i];
        *out++ = (struct snapshot_file){.path = record->path,
                                        .size = record->size,
                                        .mtime_s = record->mtime_s,
                                        .mtime_ns = record->mtime_ns,
                                        .validator = record->path + strlen(record->path) + 1};
    }
    return out;
}

/* Each range's pages are given back as soon as they are taken over. */
static struct snapshot_file *files_take(struct listing_job *job, struct listing_range *ranges)
{
    struct snapshot_file *files = arena_calloc(job->arena, job->locked.files, sizeof(*files));
    struct snapshot_file *at = files;
    for (struct listing_range *range = ranges; range; range = range->next) {
        for (const struct listing_page *page = range->pages; page; page = page->next)
            at = page_take(page, at);
        listing_range_free(range);
    }
    return files;
}

static int nothing_error(const struct listing_job *job, struct err *err)
{
    if (!job->glob.tokens)
        return err_set(err, ERR_NOT_FOUND,
                       "no object is below this prefix: check its spelling, upper and lower case included");
    return err_set(err, ERR_NOT_FOUND, "none of the %" PRIu64 " keys that begin with '%.200s' matches this glob",
                   job->locked.keys, job->prefix);
}

static int listing_make(struct listing_job *job, struct listing_range *ranges, struct listing *out, struct err *err)
{
    uint64_t bad = 0;
    const char *first = NULL;
    for (const struct listing_range *range = ranges; range; range = range->next) {
        first = first ? first : range->bad_first;
        bad += range->bad;
    }
    if (bad > 0)
        return listing_bad_error(bad, first, err);
    if (job->locked.files == 0)
        return nothing_error(job, err);
    struct snapshot_file *files = files_take(job, ranges);
    if (order_check(files, job->locked.files, err) != 0 || listing_tree_check(files, job->locked.files, err) != 0)
        return -1;
    *out = (struct listing){.base = job->base, .files = files, .count = job->locked.files, .bytes = job->locked.bytes};
    return 0;
}

int listing_run(struct pool *pool, const struct listing_request *request, struct arena *arena, struct listing *out,
                struct err *err)
{
    struct listing_job job = {.request = request, .pool = pool, .arena = arena};
    struct listing_range whole = {0};
    if (request_check(request, err) != 0 || job_prefix(&job, err) != 0)
        return -1;
    pthread_mutex_init(&job.locked.mutex, NULL);
    listing_range_init(&whole);
    int result = listing_ranges_run(&job, &whole, err);
    if (result == 0)
        result = listing_make(&job, &whole, out, err);
    for (struct listing_range *range = &whole; range; range = range->next)
        listing_range_free(range);
    pthread_mutex_destroy(&job.locked.mutex);
    return result;
}

const char *listing_key(struct arena *arena, const char *base, const char *path, size_t *len)
{
    const char *key = arena_printf(arena, "%s%s", base, path);
    *len = strlen(key);
    return key;
}
