/* What the files of the fetch engine share with each other; nobody else includes this. */
#pragma once

#include "cachecore/answer.h"
#include "cachecore/fetch.h"

#define FETCH_WINDOW 64u                     /* objects of one caller in work at a time */
#define FETCH_TRIES 6u                       /* in a row without getting anywhere */
#define FETCH_RESTARTS 3u                    /* of one object from its first byte */
#define FETCH_MEMO 256u                      /* verified digests that are remembered */
#define FETCH_HEADWAY ((uint64_t)64 << 10)   /* what counts as getting somewhere */
#define FETCH_PIECE_SIZE ((uint64_t)1 << 20) /* of a part, recorded by itself; or more: */
#define FETCH_PIECES 65536u                  /* of an object, about so many at most */
#define FETCH_POLL_MS 100                    /* how soon a cancel is seen */

/* Bytes that are not there yet. */
struct gap {
    uint64_t offset, end; /* UINT64_MAX: until the source ends */
    unsigned tries;
    int64_t not_before_ms;
};

enum download_phase { DOWNLOAD_BEGIN, DOWNLOAD_MOVING, DOWNLOAD_ENDING, DOWNLOAD_OVER };

/* One object on its way. The owner's want is used until the phase is OVER; then only waiters look at it. */
struct download {
    struct download *next; /* in the engine's list */
    struct engine *engine;
    const struct fetch_want *want; /* the owner's */
    const void *owner;
    struct fill_progress *progress; /* the owner's */
    char store_id[65];
    char object[SHA256_HEX];
    atomic_bool stop;        /* cancels what moves */
    _Atomic uint64_t bytes;  /* that are there */
    struct partial *partial; /* of the unit that begins or ends; parts in between only write and record */
    bool is_stream;          /* one request for all, without ranges */
    bool bypass_caches;      /* after a digest that did not match */
    unsigned restarts;
    /* under the pool's lock */
    struct {
        enum download_phase phase;
        unsigned users;  /* callers that hold it */
        unsigned active; /* units that run */
        struct gap *gaps;
        size_t gap_count, gap_capacity;
        int64_t begin_not_before_ms;
        bool is_cancelled, is_changed, is_restart;
        struct checksums stated; /* by resolve and by the answers so far */
        struct err err;          /* the first that ends it */
    } locked;
};

struct engine {
    struct pool *pool; /* moves bytes */
    struct pool *asks; /* asks sources what they have: short requests that must not wait behind long ones */
    struct answers *answers;
    uint8_t pick_key[16]; /* random: which object of a prefix proves the right to it */
    uint64_t part_size;
    /* under the pool's lock */
    struct {
        struct download *downloads; /* not OVER */
        struct {
            char object[SHA256_HEX];
            char sha256[SHA256_HEX];
        } * memo;
        size_t memo_next;
    } locked;
};

enum part_verdict {
    PART_DONE,
    PART_RETRY,     /* what is missing, later */
    PART_CHANGED,   /* the source has another version */
    PART_NO_RANGES, /* the source does not honour ranges after all */
    PART_FAILED,
};

struct part_result {
    enum part_verdict verdict;
    uint64_t got; /* bytes from the start of the part that are written and recorded (streams: written) */
    int64_t retry_after_s;
    struct err err;
};

/* fetch_part.c: moves one part, [offset, end), without the lock. */
void fetch_part_run(struct pool_worker *worker, struct download *download, const struct gap *part,
                    struct part_result *out);
/* The class's rules for connections. */
struct http_rules fetch_rules(const struct source_context *context);

/* fetch_download.c: the life of one object. */
struct download *download_new(struct engine *engine, const struct fetch_want *want, struct fill_progress *progress,
                              const void *owner);
void download_free(struct download *download);
bool download_take_locked(struct download *download, int64_t now_ms, struct pool_unit *out, int64_t *due_ms);
void download_cancel_locked(struct download *download);

/* fetch_stated.c: what the source states about the bytes, against what came. */
void fetch_stated_begin(struct pool_worker *worker, struct download *download);
/* What an answer states; true where CRC-64/NVME is to be computed as the bytes come. */
bool fetch_stated_note(struct download *download, const struct checksums *checksums);
/* 0: nothing is stated, or it is so. 1: it is not, *err says what (ERR_PRECONDITION). -1: error. */
int fetch_stated_check(struct download *download, struct err *err);

/* fetch_verify.c */
int fetch_sha256(int fd, const atomic_bool *cancel, char out[SHA256_HEX], struct err *err);
void fetch_memo_add(struct engine *engine, const char *object, const char *sha256);
int fetch_sha256_error(const char *expected, const char *got, struct err *err);
