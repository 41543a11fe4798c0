#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cachecore/answer_internal.h"

#define POLL_MS 100
#define SWEEP_MS 1000

struct answers *answers_new(void)
{
    struct answers *answers = mem_alloc(sizeof(*answers));
    pthread_mutex_init(&answers->locked.mutex, NULL);
    thread_cond_init(&answers->locked.ended);
    return answers;
}

struct answer *answer_new(void)
{
    struct answer *answer = mem_alloc(sizeof(*answer));
    answer->arena = arena_new();
    answer->locked.users = 1;
    return answer;
}

static void answer_free(struct answer *answer)
{
    arena_wipe_free(answer->arena);
    free(answer);
}

/* What an entry of its own holds is given up by the caller, after the lock where it is large. */
static struct answer *answer_unuse_locked(struct answer *answer)
{
    assert(answer->locked.users > 0);
    if (--answer->locked.users > 0)
        return NULL;
    if (answer->locked.entry)
        answer->locked.entry->answer = NULL;
    return answer;
}

void answers_put(struct answers *answers, struct answer *answer)
{
    if (!answer)
        return;
    pthread_mutex_lock(&answers->locked.mutex);
    struct answer *last = answer_unuse_locked(answer);
    pthread_mutex_unlock(&answers->locked.mutex);
    if (last)
        answer_free(last);
}

/* --- entries --- */

static struct answer_entry **bucket_of(struct answers *answers, const char *whole)
{
    uint8_t number[2];
    char digits[5] = {whole[0], whole[1], whole[2], whole[3], '\0'};
    int known = str_unhex(digits, number, 2);
    assert(known == 0);
    return &answers->locked.buckets[(number[0] << 8 | number[1]) % ANSWERS_BUCKETS];
}

static struct answer_entry *entry_find_locked(struct answers *answers, const char *whole)
{
    struct answer_entry *entry = *bucket_of(answers, whole);
    while (entry && strcmp(entry->whole, whole) != 0)
        entry = entry->next;
    return entry;
}

/* Nothing counts any more. */
static void entry_clear_locked(struct answers *answers, struct answer_entry *entry)
{
    struct answer *answer = entry->answer;
    entry->answer = NULL;
    entry->answered_ms = 0;
    answers->locked.bytes -= entry->bytes;
    entry->bytes = 0;
    free(entry->base);
    entry->base = NULL;
    if (!answer)
        return;
    answer->locked.entry = NULL;
    if (!answer->is_list && --answer->locked.users == 0)
        answer_free(answer);
}

static void entry_remove_locked(struct answers *answers, struct answer_entry *entry)
{
    struct answer_entry **at = bucket_of(answers, entry->whole);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry_clear_locked(answers, entry);
    answers->locked.count--;
    free(entry);
}

void answers_free(struct answers *answers)
{
    if (!answers)
        return;
    for (size_t i = 0; i < ANSWERS_BUCKETS; i++) {
        while (answers->locked.buckets[i])
            entry_remove_locked(answers, answers->locked.buckets[i]);
    }
    free(answers->locked.reads);
    pthread_cond_destroy(&answers->locked.ended);
    pthread_mutex_destroy(&answers->locked.mutex);
    free(answers);
}

/* The oldest that nobody asks gives way. */
static void room_make_locked(struct answers *answers)
{
    while (answers->locked.count >= ANSWERS_MAX || answers->locked.bytes > ANSWERS_BYTES_MAX) {
        struct answer_entry *oldest = NULL;
        for (size_t i = 0; i < ANSWERS_BUCKETS; i++) {
            for (struct answer_entry *entry = answers->locked.buckets[i]; entry; entry = entry->next) {
                if (entry->users == 0 && (!oldest || entry->answered_ms < oldest->answered_ms))
                    oldest = entry;
            }
        }
        if (!oldest)
            return;
        entry_remove_locked(answers, oldest);
    }
}

static void sweep_locked(struct answers *answers)
{
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms - answers->locked.swept_ms < SWEEP_MS)
        return;
    answers->locked.swept_ms = now_ms;
    for (size_t i = 0; i < ANSWERS_BUCKETS; i++) {
        for (struct answer_entry *entry = answers->locked.buckets[i], *next; entry; entry = next) {
            next = entry->next;
            if (entry->users == 0 && (uint64_t)(now_ms - entry->answered_ms) / 1000 >= entry->keep_s)
                entry_remove_locked(answers, entry);
        }
    }
}

static struct answer_entry *entry_use_locked(struct answers *answers, const struct answer_question *question)
{
    sweep_locked(answers);
    struct answer_entry *entry = entry_find_locked(answers, question->whole);
    if (!entry) {
        room_make_locked(answers);
        struct answer_entry **bucket = bucket_of(answers, question->whole);
        entry = mem_alloc(sizeof(*entry));
        memcpy(entry->whole, question->whole, sizeof(entry->whole));
        memcpy(entry->subject, question->subject, sizeof(entry->subject));
        entry->next = *bucket;
        *bucket = entry;
        answers->locked.count++;
    }
    entry->users++;
    return entry;
}

static void entry_unuse_locked(struct answers *answers, struct answer_entry *entry)
{
    if (--entry->users == 0 && entry->answered_ms == 0)
        entry_remove_locked(answers, entry);
}

/* --- what counts --- */

static struct answer *faded_make(const struct answer_entry *entry)
{
    struct answer *answer = answer_new();
    answer->is_list = answer->is_faded = true;
    answer->base = arena_strdup(answer->arena, entry->base);
    memcpy(answer->snapshot, entry->snapshot, sizeof(answer->snapshot));
    return answer;
}

/* NULL when nothing is said, or too long ago. */
static struct answer *entry_answer_locked(const struct answer_entry *entry, uint64_t valid_s)
{
    int64_t age_ms = clock_monotonic_ms() - entry->answered_ms;
    if (entry->answered_ms == 0 || (uint64_t)age_ms / 1000 >= valid_s)
        return NULL;
    if (!entry->answer)
        return faded_make(entry);
    entry->answer->locked.users++;
    return entry->answer;
}

static bool is_cancelled(const atomic_bool *cancel)
{
    return cancel && atomic_load(cancel);
}

/* Until the turn of who asks now is over. -1: cancelled. */
static int turn_await_locked(struct answers *answers, const struct answer_entry *entry, const atomic_bool *cancel)
{
    while (entry->is_asking) {
        if (is_cancelled(cancel))
            return -1;
        thread_cond_wait(&answers->locked.ended, &answers->locked.mutex, clock_monotonic_ms() + POLL_MS);
    }
    return 0;
}

/* Who waited takes what the other was told, but for that one's own end. */
static bool failure_is_shared(const struct answer_entry *entry, uint64_t seen)
{
    return entry->asked != seen && entry->why.code != ERR_NONE && entry->why.code != ERR_CANCELLED;
}

static enum answer_turn turn_take_locked(struct answers *answers, struct answer_entry *entry,
                                         struct answer_asking *asking)
{
    uint64_t seen = entry->asked;
    bool waited = entry->is_asking;
    if (turn_await_locked(answers, entry, asking->cancel) != 0) {
        err_set(&asking->err, ERR_CANCELLED, "the fill was cancelled");
        return ANSWER_ERROR;
    }
    if (waited && !asking->must_be_fresh && failure_is_shared(entry, seen)) {
        asking->err = entry->why;
        asking->is_unreachable = entry->is_unreachable;
        return ANSWER_ERROR;
    }
    if (!asking->must_be_fresh)
        asking->answer = entry_answer_locked(entry, asking->question->ttl_s);
    if (asking->answer)
        return ANSWER_HERE;
    entry->is_asking = true;
    return ANSWER_ASK;
}

enum answer_turn answers_begin(struct answers *answers, struct answer_asking *asking)
{
    asking->answer = NULL;
    asking->is_unreachable = false;
    if (asking->question->ttl_s == 0)
        return ANSWER_ASK;
    pthread_mutex_lock(&answers->locked.mutex);
    struct answer_entry *entry = entry_use_locked(answers, asking->question);
    enum answer_turn turn = turn_take_locked(answers, entry, asking);
    if (turn != ANSWER_ASK)
        entry_unuse_locked(answers, entry);
    pthread_mutex_unlock(&answers->locked.mutex);
    return turn;
}

static size_t answer_bytes(const struct answer *answer)
{
    return answer->is_list ? strlen(answer->base) : sizeof(*answer) + arena_used(answer->arena);
}

static void entry_set_locked(struct answers *answers, struct answer_entry *entry,
                             const struct answer_question *question, struct answer *answer)
{
    entry_clear_locked(answers, entry);
    if (answer->is_private)
        return;
    entry->keep_s = question->ttl_s > question->grace_s ? question->ttl_s : question->grace_s;
    entry->answered_ms = clock_monotonic_ms();
    entry->answer = answer;
    entry->is_list = answer->is_list;
    entry->base = answer->is_list ? mem_strdup(answer->base) : NULL;
    entry->bytes = answer_bytes(answer);
    answers->locked.bytes += entry->bytes;
    memcpy(entry->snapshot, answer->snapshot, sizeof(entry->snapshot));
    answer->locked.entry = entry;
    answer->locked.users += !answer->is_list;
}

bool answer_is_refusal(const struct err *err)
{
    switch (err->code) {
    case ERR_DENIED:
    case ERR_UNAUTHENTICATED:
    case ERR_NOT_FOUND:
    case ERR_PRECONDITION:
    case ERR_INVALID:
        return true;
    default:
        return false;
    }
}

static void subject_drop_locked(struct answers *answers, const struct answer_question *question)
{
    for (size_t i = 0; i < ANSWERS_BUCKETS; i++) {
        for (struct answer_entry *entry = answers->locked.buckets[i], *next; entry; entry = next) {
            next = entry->next;
            if (strcmp(entry->subject, question->subject) != 0)
                continue;
            entry_clear_locked(answers, entry);
            if (entry->users == 0)
                entry_remove_locked(answers, entry);
        }
    }
    answer_reads_drop_locked(answers, question->identity);
}

void answers_refused(struct answers *answers, const struct answer_question *question)
{
    pthread_mutex_lock(&answers->locked.mutex);
    subject_drop_locked(answers, question);
    pthread_mutex_unlock(&answers->locked.mutex);
}

void answers_end(struct answers *answers, const struct answer_asking *asking)
{
    const struct answer_question *question = asking->question;
    pthread_mutex_lock(&answers->locked.mutex);
    if (!asking->answer && answer_is_refusal(&asking->err))
        subject_drop_locked(answers, question);
    struct answer_entry *entry = NULL;
    if (question->ttl_s > 0)
        entry = entry_find_locked(answers, question->whole); /* answers_begin made it, and we are its user */
    else if (asking->answer && question->grace_s > 0)
        entry = entry_use_locked(answers, question);
    if (entry && asking->answer)
        entry_set_locked(answers, entry, question, asking->answer);
    if (entry) {
        entry->is_asking = false;
        entry->asked++;
        entry->why = asking->err;
        entry->is_unreachable = asking->is_unreachable;
        entry_unuse_locked(answers, entry);
        pthread_cond_broadcast(&answers->locked.ended);
    }
    pthread_mutex_unlock(&answers->locked.mutex);
}

void answers_restore(struct answers *answers, const struct answer_question *question, struct answer *answer)
{
    pthread_mutex_lock(&answers->locked.mutex);
    struct answer_entry *entry = entry_find_locked(answers, question->whole);
    bool fits = entry && entry->answered_ms > 0 && !entry->answer && strcmp(entry->snapshot, answer->snapshot) == 0;
    if (fits) {
        entry->answer = answer;
        answer->locked.entry = entry;
    }
    pthread_mutex_unlock(&answers->locked.mutex);
}

struct answer *answers_recall(struct answers *answers, const struct answer_question *question)
{
    struct answer *answer = NULL;
    pthread_mutex_lock(&answers->locked.mutex);
    struct answer_entry *entry = entry_find_locked(answers, question->whole);
    if (entry)
        answer = entry_answer_locked(entry, question->grace_s);
    pthread_mutex_unlock(&answers->locked.mutex);
    return answer;
}
