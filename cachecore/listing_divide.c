/* Ranges in rounds: what is left is listed side by side, a few pages each, and divided anew while it is few pieces. */
#include <string.h>

#include "cachecore/listing_internal.h"

#define WIDTH 16u      /* ranges at a time */
#define PAGES_FIRST 3u /* what is that small is not worth dividing */
#define PAGES_ROUND 2u /* of each range in each round */
#define PAUSE_MAX 8u   /* rounds */

struct round {
    struct listing_job *job;
    struct listing_range *open[WIDTH];
    size_t count;
    unsigned pages;
    const char *points[WIDTH];
    size_t point_count;
};

static void open_find(struct round *round, struct listing_range *ranges)
{
    round->count = 0;
    for (struct listing_range *range = ranges; range && round->count < WIDTH; range = range->next) {
        if (!range->is_done)
            round->open[round->count++] = range;
    }
}

static int range_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    struct round *round = context;
    return listing_range_run(round->job, round->open[index], worker, round->pages, err);
}

static int round_run(struct round *round, pool_each_run run, size_t count, struct err *err)
{
    size_t failed;
    return pool_each(round->job->pool, count, run, round, round->job->request->cancel, &failed, err);
}

/* --- dividing --- */

static void range_divide(struct listing_job *job, struct listing_range *range, const char *const *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct listing_range *rest = arena_alloc(job->arena, sizeof(*rest));
        listing_range_init(rest);
        rest->after = points[i];
        rest->until = range->until;
        rest->next = range->next;
        rest->is_new = true;
        range->until = points[i];
        range->next = rest;
        range = rest;
    }
}

static int directories_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    struct round *round = context;
    (void)index;
    return listing_directories(round->job, round->open[0], worker, WIDTH - 1, round->points, &round->point_count, err);
}

/* The first time directories tell how; else what the keys look like. */
static int whole_divide(struct round *round, struct err *err)
{
    if (round_run(round, directories_run, 1, err) != 0)
        return -1;
    if (round->point_count == 0)
        round->point_count =
            listing_split(round->job->arena, round->open[0], round->job->prefix_len, WIDTH - 1, round->points);
    range_divide(round->job, round->open[0], round->points, round->point_count);
    return 0;
}

static void rest_divide(struct round *round)
{
    struct listing_job *job = round->job;
    size_t pieces = WIDTH / round->count;
    for (size_t i = 0; pieces > 1 && i < round->count; i++) {
        size_t count = listing_split(job->arena, round->open[i], job->prefix_len, pieces - 1, round->points);
        range_divide(job, round->open[i], round->points, count);
    }
}

/* Most of the new ranges turned out to hold nothing. */
static bool was_in_vain(const struct round *round)
{
    size_t tried = 0, useful = 0;
    for (size_t i = 0; i < round->count; i++) {
        tried += round->open[i]->is_new;
        useful += round->open[i]->is_new && round->open[i]->last;
        round->open[i]->is_new = false;
    }
    return tried > 3 * useful;
}

int listing_ranges_run(struct listing_job *job, struct listing_range *ranges, struct err *err)
{
    bool divides = job->request->source->after_works;
    struct round round = {.job = job, .open = {ranges}, .count = 1, .pages = divides ? PAGES_FIRST : UINT32_MAX};
    if (round_run(&round, range_run, 1, err) != 0)
        return -1;
    if (!ranges->is_done && whole_divide(&round, err) != 0)
        return -1;
    round.pages = PAGES_ROUND;
    for (unsigned pause = 0, vain = 0; open_find(&round, ranges), round.count > 0;) {
        if (round_run(&round, range_run, round.count, err) != 0)
            return -1;
        bool in_vain = was_in_vain(&round);
        vain = in_vain && vain < PAUSE_MAX ? vain + 1 : vain;
        pause = in_vain ? vain : pause > 0 ? pause - 1 : 0;
        open_find(&round, ranges);
        if (pause == 0 && round.count > 0)
            rest_divide(&round);
    }
    return 0;
}
