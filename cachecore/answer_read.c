#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/answer_internal.h"

struct read_key {
    uint8_t key[16];
    uint8_t identity[8];
    size_t set; /* of ANSWERS_WAYS neighbours */
};

static void identity_short(const char *identity, uint8_t out[8])
{
    memset(out, 0, 8); /* of nobody: "" */
    if (identity[0] == '\0')
        return;
    char digits[17];
    memcpy(digits, identity, 16);
    digits[16] = '\0';
    (void)str_unhex(digits, out, 8);
}

static void key_make(const struct answer_question *question, const char *object, struct read_key *out)
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    sha256_field(sha, question->who, strlen(question->who));
    sha256_field(sha, object, strlen(object));
    sha256_final(sha, digest);
    memcpy(out->key, digest, sizeof(out->key));
    identity_short(question->identity, out->identity);
    size_t number = (size_t)digest[16] | (size_t)digest[17] << 8 | (size_t)digest[18] << 16;
    out->set = number % (ANSWERS_READS_MAX / ANSWERS_WAYS);
}

bool answers_may_read(struct answers *answers, const struct answer_question *question, const char *object)
{
    struct read_key key;
    bool may = false;
    if (question->ttl_s == 0)
        return false;
    key_make(question, object, &key);
    pthread_mutex_lock(&answers->locked.mutex);
    const struct answer_read *reads = answers->locked.reads;
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; reads && i < ANSWERS_WAYS && !may; i++) {
        const struct answer_read *read = &reads[key.set * ANSWERS_WAYS + i];
        may = read->at_ms > 0 && memcmp(read->key, key.key, sizeof(key.key)) == 0 &&
              (uint64_t)(now_ms - read->at_ms) / 1000 < question->ttl_s;
    }
    pthread_mutex_unlock(&answers->locked.mutex);
    return may;
}

void answers_read(struct answers *answers, const struct answer_question *question, const char *object)
{
    struct read_key key;
    if (question->ttl_s == 0)
        return;
    key_make(question, object, &key);
    pthread_mutex_lock(&answers->locked.mutex);
    if (!answers->locked.reads)
        answers->locked.reads = mem_calloc(ANSWERS_READS_MAX, sizeof(*answers->locked.reads));
    struct answer_read *set = &answers->locked.reads[key.set * ANSWERS_WAYS];
    struct answer_read *at = set;
    for (size_t i = 0; i < ANSWERS_WAYS; i++) {
        bool is_same = memcmp(set[i].key, key.key, sizeof(key.key)) == 0;
        if (is_same || set[i].at_ms < at->at_ms)
            at = &set[i];
        if (is_same)
            break;
    }
    memcpy(at->key, key.key, sizeof(at->key));
    memcpy(at->identity, key.identity, sizeof(at->identity));
    at->at_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&answers->locked.mutex);
}

void answer_reads_drop_locked(struct answers *answers, const char *identity)
{
    uint8_t wanted[8];
    identity_short(identity, wanted);
    for (size_t i = 0; answers->locked.reads && i < ANSWERS_READS_MAX; i++) {
        struct answer_read *read = &answers->locked.reads[i];
        if (memcmp(read->identity, wanted, sizeof(wanted)) == 0)
            read->at_ms = 0;
    }
}
