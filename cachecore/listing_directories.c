/* A wide tree is divided at its directories: one question tells up to a thousand of them. */
#include <string.h>

#include "base/mem.h"
#include "cachecore/listing_internal.h"

#define PREFIXES_MAX 10000u
#define LEVELS_MAX 8u /* of directories that stand alone */

struct directories {
    struct listing_job *job;
    const char *prefix;
    struct arena *arena; /* of one try */
    const char **found;
    size_t count;
    size_t keys; /* beside them */
    const char *next;
};

static int on_key(void *context, const struct source_entry *entry, struct err *err)
{
    struct directories *directories = context;
    (void)err;
    directories->keys += entry->key_len > strlen(directories->prefix); /* else it marks the directory itself */
    return 0;
}

/* What is out of order, or from elsewhere, is no use; what is in it is checked when it is listed. */
static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    struct directories *directories = context;
    const char *before = directories->count > 0 ? directories->found[directories->count - 1] : directories->prefix;
    (void)err;
    if (directories->count == PREFIXES_MAX || len > SNAPSHOT_PATH_MAX || memchr(prefix, '\0', len))
        return 0;
    const char *found = arena_strndup(directories->arena, prefix, len);
    if (strcmp(found, before) > 0 && strncmp(found, directories->prefix, strlen(directories->prefix)) == 0)
        directories->found[directories->count++] = found;
    return 0;
}

static int question(const struct source_call *call, void *context, struct err *err)
{
    struct directories *directories = context;
    const struct listing_request *request = directories->job->request;
    const struct source_page ask = {.url = request->url,
                                    .prefix = directories->prefix,
                                    .divides = true,
                                    .each = on_key,
                                    .each_prefix = on_prefix,
                                    .each_context = directories};
    directories->count = directories->keys = 0;
    return request->source->list(call, &ask, directories->arena, &directories->next, err);
}

/* Down to where there is more than one. */
static int levels_ask(struct directories *directories, const struct source_asking *asking, struct err *err)
{
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        if (source_ask(asking, question, directories, err) != 0)
            return -1;
        bool alone = directories->count == 1 && directories->keys == 0 && !directories->next;
        if (!alone)
            return 0;
        directories->prefix = directories->found[0];
        directories->found[0] = NULL;
    }
    directories->count = 0;
    return 0;
}

static size_t points_make(const struct directories *directories, const struct listing_range *range, size_t count_max,
                          const char **out)
{
    size_t first = 0;
    while (first < directories->count && range->last && strcmp(directories->found[first], range->last) <= 0)
        first++;
    size_t count = listing_spread(directories->found + first, directories->count - first, count_max);
    for (size_t i = 0; i < count; i++)
        out[i] = arena_strdup(directories->job->arena, directories->found[first + i]);
    return count;
}

int listing_directories(struct listing_job *job, const struct listing_range *range, struct pool_worker *worker,
                        size_t count_max, const char **out, size_t *count, struct err *err)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct source_asking asking = listing_asking(job, worker);
    struct directories directories = {.job = job, .prefix = job->prefix, .arena = arena};
    directories.found = arena_calloc(arena, PREFIXES_MAX, sizeof(*directories.found));
    if (levels_ask(&directories, &asking, err) != 0)
        return -1;
    *count = points_make(&directories, range, count_max, out);
    return 0;
}
