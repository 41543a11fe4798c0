/* What the files of the answers share with each other; nobody else includes this. */
#pragma once

#include <pthread.h>

#include "cachecore/answer.h"

#define ANSWERS_MAX 4096u                   /* questions that are remembered */
#define ANSWERS_BYTES_MAX ((size_t)8 << 20) /* and what was answered */
#define ANSWERS_BUCKETS 1024u
#define ANSWERS_READS_MAX 65536u /* objects that were let read; the oldest of four neighbours gives way */
#define ANSWERS_WAYS 4u

struct answer_read {
    uint8_t key[16]; /* of who and object */
    uint8_t identity[8];
    int64_t at_ms; /* 0: empty */
};

struct answer_entry {
    struct answer_entry *next;
    char whole[SHA256_HEX];
    char subject[SHA256_HEX];
    size_t bytes;
    unsigned users; /* callers that ask, or wait for who asks */
    bool is_asking;
    uint64_t asked; /* how often: who waits sees that it is over */
    struct err why; /* of the last time, if it failed */
    bool is_unreachable;
    int64_t answered_ms;   /* 0: nothing counts */
    uint64_t keep_s;       /* after that it goes */
    struct answer *answer; /* one object: held. A list: only while a fill holds it */
    bool is_list;
    char *base; /* of a list */
    char snapshot[SHA256_HEX];
};

struct answers {
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t ended; /* somebody's turn to ask is over */
        struct answer_entry *buckets[ANSWERS_BUCKETS];
        size_t count, bytes;
        int64_t swept_ms;
        struct answer_read *reads; /* made with the first */
    } locked;
};

/* answer_read.c */
void answer_reads_drop_locked(struct answers *answers, const char *identity);
