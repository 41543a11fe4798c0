/*
 * The life of one object: BEGIN (is it there by now? open or resume the partial) -> MOVING (parts, by several threads) -> ENDING
 * (nothing moves any more: commit, start over, or give up) -> MOVING or OVER. A unit of work is one of these steps.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/fetch_internal.h"

#define BACKOFF_MS 250
#define BACKOFF_MAX_MS 8000
#define BUSY_MS 500 /* how soon to look again when another process of this node fetches the object */

/* A part on its way to a thread. */
struct part_unit {
    struct download *download;
    struct gap part;
};

struct download *download_new(struct engine *engine, const struct fetch_want *want, struct fill_progress *progress,
                              const void *owner)
{
    struct download *download = mem_alloc(sizeof(*download));
    download->engine = engine;
    download->want = want;
    download->owner = owner;
    download->progress = progress;
    snprintf(download->store_id, sizeof(download->store_id), "%s", store_id(want->store));
    memcpy(download->object, want->object, sizeof(download->object));
    const struct source_object *found = want->found;
    download->locked.stated = found->stated;
    download->is_stream = !found->validator_is_strong || !found->ranges || !found->size_is_known;
    return download;
}

void download_free(struct download *download)
{
    partial_close(download->partial);
    free(download->locked.gaps);
    free(download);
}

static void gap_add_locked(struct download *download, const struct gap *gap)
{
    if (download->locked.gap_count == download->locked.gap_capacity) {
        size_t capacity = download->locked.gap_capacity * 2 + 8;
        download->locked.gaps = mem_realloc(download->locked.gaps, capacity * sizeof(*gap));
        download->locked.gap_capacity = capacity;
    }
    download->locked.gaps[download->locked.gap_count++] = *gap;
}

static void over_locked(struct download *download)
{
    download->locked.phase = DOWNLOAD_OVER;
    pool_tell_locked(download->engine->pool);
}

static void fail_locked(struct download *download, const struct err *err)
{
    if (download->locked.err.code == ERR_NONE)
        download->locked.err = *err;
    atomic_store(&download->stop, true);
}

void download_cancel_locked(struct download *download)
{
    download->locked.is_cancelled = true;
    atomic_store(&download->stop, true);
    if (download->locked.phase == DOWNLOAD_BEGIN && download->locked.active == 0) {
        /* Nothing is open; and there may be no thread at all to end it. */
        err_set(&download->locked.err, ERR_CANCELLED, "the fill was cancelled");
        over_locked(download);
        return;
    }
    struct err ignored = ERR_INIT;
    pool_wake_locked(download->engine->pool, &ignored);
}

/* --- BEGIN --- */

/* The gaps between what is there already. */
static void gaps_find_locked(struct download *download)
{
    const struct source_object *found = download->want->found;
    uint64_t end = found->size_is_known ? found->size : UINT64_MAX;
    uint64_t at = 0;
    uint64_t there = 0;
    size_t count;
    const struct part *parts = partial_parts(download->partial, &count);
    download->locked.gap_count = 0;
    for (size_t i = 0; i <= count; i++) {
        uint64_t next = i < count ? parts[i].offset : end;
        if (next > at)
            gap_add_locked(download, &(struct gap){.offset = at, .end = next});
        if (i < count) {
            at = parts[i].offset + parts[i].len;
            there += parts[i].len;
        }
    }
    atomic_store(&download->bytes, there);
}

/* Without a strong validator only one attempt's own bytes make an object: all of them, or none. */
static int attempts_separate(struct download *download, struct err *err)
{
    const struct source_object *found = download->want->found;
    size_t count;
    const struct part *parts = partial_parts(download->partial, &count);
    bool is_whole = found->size_is_known && count == 1 && parts[0].offset == 0 && parts[0].len == found->size;
    if (found->validator_is_strong && found->size_is_known && found->ranges)
        return 0;
    return count == 0 || is_whole ? 0 : partial_restart(download->partial, err);
}

/* 1: the object is there, 0: the partial is open, -1: error. */
static int partial_begin(struct download *download, struct err *err)
{
    const struct fetch_want *want = download->want;
    uint64_t size = want->found->size_is_known ? want->found->size : STORE_SIZE_UNKNOWN;
    int there = store_object_find(want->store, want->object, size, err);
    if (there != 0)
        return there;
    download->partial = store_partial_open(want->store, want->object, size, err);
    return download->partial && attempts_separate(download, err) == 0 ? 0 : -1;
}

static void begin_run(struct pool_worker *worker, void *context)
{
    struct download *download = context;
    struct err err = ERR_INIT;
    int there = partial_begin(download, &err);
    if (there == 0)
        fetch_stated_begin(worker, download);
    pool_lock(download->engine->pool);
    download->locked.active--;
    if (there > 0) {
        over_locked(download);
    } else if (there == 0) {
        download->locked.phase = DOWNLOAD_MOVING;
        gaps_find_locked(download);
    } else if (err.code == ERR_BUSY) {
        download->locked.begin_not_before_ms = clock_monotonic_ms() + BUSY_MS;
    } else {
        fail_locked(download, &err);
        download->locked.phase = DOWNLOAD_MOVING; /* and from there to its end */
    }
    pool_unlock(download->engine->pool);
}

/* --- MOVING --- */

static int64_t backoff_ms(unsigned tries, int64_t retry_after_s)
{
    int64_t wait_ms = BACKOFF_MS << (tries < 6 ? tries : 6);
    if (wait_ms > BACKOFF_MAX_MS)
        wait_ms = BACKOFF_MAX_MS;
    uint16_t random;
    digest_random(&random, sizeof(random));
    wait_ms += wait_ms * random / (2 * UINT16_MAX);
    return retry_after_s * 1000 > wait_ms ? retry_after_s * 1000 : wait_ms;
}

static void retry_locked(struct download *download, const struct gap *part, const struct part_result *result)
{
    struct gap rest = *part;
    /* Only what is kept is headway: a stream that always breaks off would go on for ever. */
    rest.tries = !download->is_stream && result->got >= FETCH_HEADWAY ? 1 : part->tries + 1;
    if (rest.tries >= FETCH_TRIES) {
        fail_locked(download, &result->err);
        return;
    }
    rest.not_before_ms = clock_monotonic_ms() + backoff_ms(rest.tries - 1, result->retry_after_s);
    if (download->is_stream)
        atomic_fetch_sub(&download->bytes, result->got); /* thrown away: the next attempt begins at 0 */
    else
        rest.offset += result->got;
    if (rest.offset < rest.end)
        gap_add_locked(download, &rest);
}

static void part_judge_locked(struct download *download, const struct gap *part, const struct part_result *result)
{
    switch (result->verdict) {
    case PART_DONE:
        break;
    case PART_RETRY:
        if (!atomic_load(&download->stop))
            retry_locked(download, part, result);
        break;
    case PART_CHANGED:
        download->locked.is_changed = true;
        atomic_store(&download->stop, true);
        break;
    case PART_NO_RANGES:
        download->locked.is_restart = true;
        atomic_store(&download->stop, true);
        break;
    case PART_FAILED:
        fail_locked(download, &result->err);
        break;
    }
}

static void part_run(struct pool_worker *worker, void *context)
{
    struct part_unit *unit = context;
    struct download *download = unit->download;
    struct part_result result;
    fetch_part_run(worker, download, &unit->part, &result);
    pool_lock(download->engine->pool);
    download->locked.active--;
    part_judge_locked(download, &unit->part, &result);
    pool_unlock(download->engine->pool);
    free(unit);
}

/* --- ENDING --- */

/* 0: the bytes are those that the author and the source say, 1: not, *err says why, -1: error. */
static int digests_check(struct download *download, struct err *err)
{
    const char *expected = download->want->sha256;
    char got[SHA256_HEX];
    if (expected && fetch_sha256(partial_fd(download->partial), &download->stop, got, err) != 0)
        return -1;
    if (expected && strcmp(expected, got) != 0) {
        fetch_sha256_error(expected, got, err);
        return 1;
    }
    return fetch_stated_check(download, err);
}

/* 1: committed, 0: to be started over, -1: error. */
static int download_finish(struct download *download, struct err *err)
{
    const char *expected = download->want->sha256;
    struct err why = ERR_INIT;
    int differs = digests_check(download, &why);
    if (differs > 0 && !download->bypass_caches) {
        download->bypass_caches = true;
        return 0;
    }
    if (differs != 0) {
        *err = why;
        return -1;
    }
    uint32_t ours = partial_crc32c(download->partial);
    uint32_t crc;
    if (partial_commit(download->partial, &crc, err) != 0)
        return -1;
    /* Another writer may have been first, under a weak validator with other bytes: what is there is then verified by reading it. */
    if (expected && crc == ours)
        fetch_memo_add(download->engine, download->object, expected);
    return 1;
}

static int download_restart(struct download *download, struct err *err)
{
    if (++download->restarts > FETCH_RESTARTS)
        return err_set(err, ERR_UNAVAILABLE, "the server's answers do not fit together");
    return partial_restart(download->partial, err);
}

/* Why nothing moves any more, as it was when the ending began: a cancel may come at any time. */
struct ending {
    bool is_cancelled, is_changed, is_restart;
    struct err err;
};

static struct ending ending_read(struct download *download)
{
    pool_lock(download->engine->pool);
    struct ending ending = {.is_cancelled = download->locked.is_cancelled,
                            .is_changed = download->locked.is_changed,
                            .is_restart = download->locked.is_restart,
                            .err = download->locked.err};
    pool_unlock(download->engine->pool);
    return ending;
}

/* What can never be used again goes; what a later attempt can resume stays. */
static void partial_end(struct download *download, bool is_changed, const struct err *err)
{
    struct err ignored = ERR_INIT; /* the download has its own error; what is left is reaped by age */
    bool is_useless =
        is_changed || err->code == ERR_EXHAUSTED || err->code == ERR_PRECONDITION || err->code == ERR_CORRUPT;
    if (download->partial && is_useless)
        partial_discard(download->partial, &ignored);
    partial_close(download->partial);
    download->partial = NULL;
}

/* 1: over, 0: goes on from its first byte, -1: over with an error. Nothing else of this download runs. */
static int ending_decide(struct download *download, const struct ending *ending, struct err *err)
{
    if (ending->err.code != ERR_NONE) {
        *err = ending->err;
        return -1;
    }
    if (ending->is_cancelled)
        return err_set(err, ERR_CANCELLED, "the fill was cancelled");
    if (ending->is_changed)
        return 1;
    if (ending->is_restart) {
        download->is_stream = true;
        return download_restart(download, err);
    }
    int finished = download_finish(download, err);
    return finished == 0 ? download_restart(download, err) : finished;
}

static void ending_run(struct pool_worker *worker, void *context)
{
    (void)worker;
    struct download *download = context;
    struct err err = ERR_INIT;
    const struct ending ending = ending_read(download);
    int decision = ending_decide(download, &ending, &err);
    if (decision != 0)
        partial_end(download, ending.is_changed, &err);
    pool_lock(download->engine->pool);
    download->locked.active--;
    if (decision == 0) {
        download->locked.is_restart = false;
        atomic_store(&download->stop, download->locked.is_cancelled);
        gaps_find_locked(download);
        download->locked.phase = DOWNLOAD_MOVING;
    } else {
        if (decision < 0)
            download->locked.err = err;
        over_locked(download);
    }
    pool_unlock(download->engine->pool);
}

/* --- what a thread may do next --- */

static bool unit_take_locked(struct download *download, void (*run)(struct pool_worker *, void *), void *context,
                             struct pool_unit *out)
{
    download->locked.active++;
    *out = (struct pool_unit){.run = run, .context = context};
    return true;
}

static struct part_unit *part_cut_locked(struct download *download, size_t index)
{
    struct gap *gap = &download->locked.gaps[index];
    struct part_unit *unit = mem_alloc(sizeof(*unit));
    *unit = (struct part_unit){.download = download, .part = *gap};
    if (!download->is_stream && gap->end - gap->offset > download->engine->part_size) {
        unit->part.end = gap->offset + download->engine->part_size;
        gap->offset = unit->part.end;
        gap->tries = 0;
        return unit;
    }
    /* The order of the others stays: parts go out from the front, as readers want them. */
    memmove(gap, gap + 1, (--download->locked.gap_count - index) * sizeof(*gap));
    return unit;
}

static bool part_take_locked(struct download *download, int64_t now_ms, struct pool_unit *out, int64_t *due_ms)
{
    for (size_t i = 0; i < download->locked.gap_count; i++) {
        int64_t from_ms = download->locked.gaps[i].not_before_ms;
        if (from_ms <= now_ms)
            return unit_take_locked(download, part_run, part_cut_locked(download, i), out);
        if (from_ms < *due_ms)
            *due_ms = from_ms;
    }
    return false;
}

static bool begin_take_locked(struct download *download, int64_t now_ms, struct pool_unit *out, int64_t *due_ms)
{
    if (download->locked.active > 0)
        return false;
    if (download->locked.is_cancelled) {
        download->locked.phase = DOWNLOAD_ENDING;
        return unit_take_locked(download, ending_run, download, out);
    }
    int64_t from_ms = download->locked.begin_not_before_ms;
    if (from_ms <= now_ms)
        return unit_take_locked(download, begin_run, download, out);
    if (from_ms < *due_ms)
        *due_ms = from_ms;
    return false;
}

bool download_take_locked(struct download *download, int64_t now_ms, struct pool_unit *out, int64_t *due_ms)
{
    if (download->locked.phase == DOWNLOAD_BEGIN)
        return begin_take_locked(download, now_ms, out, due_ms);
    if (download->locked.phase != DOWNLOAD_MOVING)
        return false;
    bool stop = atomic_load(&download->stop);
    if (!stop && part_take_locked(download, now_ms, out, due_ms))
        return true;
    if (download->locked.active > 0 || (!stop && download->locked.gap_count > 0))
        return false;
    download->locked.phase = DOWNLOAD_ENDING;
    return unit_take_locked(download, ending_run, download, out);
}
