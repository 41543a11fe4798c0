/* What the files of a listing share with each other; nobody else includes this. */
#pragma once

#include <pthread.h>

#include "base/str.h"
#include "cachecore/glob.h"
#include "cachecore/listing.h"

/* One file that was listed. The validator's text follows the path's NUL. */
struct listing_record {
    const char *path;
    uint64_t size;
    int64_t mtime_s;
    uint32_t mtime_ns;
};

struct listing_page {
    struct listing_page *next;
    size_t count;
    struct listing_record records[];
};

/* The keys in (after, until]: a part of the work, listed page by page. Whoever lists it is the only one who touches it. */
struct listing_range {
    struct listing_range *next; /* the range that follows in the order of the keys */
    const char *after;          /* NULL: from the first key */
    const char *until;          /* NULL: to the last */
    const char *token;          /* of the next page; NULL: none yet */
    const char *first, *last;   /* key of the last page that had any; NULL: there was none */
    struct listing_page *pages, **pages_end;
    uint64_t bad; /* keys that cannot be files */
    const char *bad_first;
    unsigned empty_pages; /* in a row */
    bool is_new;          /* not listed yet: cut off another range */
    bool is_done;
};

/* One listing on its way. */
struct listing_job {
    const struct listing_request *request;
    struct pool *pool;
    struct arena *arena; /* the caller's; under the mutex */
    struct glob glob;    /* tokens NULL: a prefix */
    const char *base, *prefix;
    size_t base_len, prefix_len;
    struct {
        pthread_mutex_t mutex;
        uint64_t keys, files, bytes;
    } locked;
};

/* listing_range.c */
/* Lists up to so many pages of the range. */
int listing_range_run(struct listing_job *job, struct listing_range *range, struct pool_worker *worker, unsigned pages,
                      struct err *err);
struct source_asking listing_asking(const struct listing_job *job, struct pool_worker *worker);
void listing_range_init(struct listing_range *range);
void listing_range_free(struct listing_range *range); /* its pages */

/* listing_directories.c */
/* Keys at which the rest of a range may be divided: directories, asked for with the delimiter. At most count_max, ascending, all behind
 * range->last. Text in the job's arena. */
int listing_directories(struct listing_job *job, const struct listing_range *range, struct pool_worker *worker,
                        size_t count_max, const char **out, size_t *count, struct err *err);

/* listing_divide.c */
/* Lists the range and all that it is divided into, which then follow it in order. */
int listing_ranges_run(struct listing_job *job, struct listing_range *ranges, struct err *err);

/* listing_check.c */
enum listing_verdict {
    LISTING_FILE,
    LISTING_PASSED, /* does not match, or marks a directory */
    LISTING_BAD,    /* cannot be a file: counted, and told of at the end; why is set */
    LISTING_ERROR,  /* ends the listing; why is set */
};
enum listing_verdict listing_judge(const struct listing_job *job, const struct source_entry *entry, struct err *why);
/* Files and directories of one name, names that differ only in case, of sorted files. ERR_INVALID. */
int listing_tree_check(const struct snapshot_file *files, size_t count, struct err *err);
/* ERR_INVALID: how many keys cannot be files, and the first. */
int listing_bad_error(uint64_t bad, const char *first, struct err *err);
/* "a/b\x07": a key for a message; cut after 200 bytes. */
const char *listing_shown(struct arena *arena, const char *key, size_t len);

/* listing_split.c */
/* Keys between last and until (NULL: no end) at which a range whose last page went from first to last may be divided: at most count_max,
 * ascending. They are valid UTF-8 where last is. Text in arena. Pure. */
size_t listing_split(struct arena *arena, const struct listing_range *range, size_t prefix_len, size_t count_max,
                     const char **out);
/* Leaves count_max of the keys, evenly chosen, in front. Returns how many there are then. */
size_t listing_spread(const char **keys, size_t count, size_t count_max);
