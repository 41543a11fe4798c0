/*
 * What sources said to whom, for a short while: so that a wave of pods of one identity asks once, and so that a class can serve
 * what it served lately while a source cannot be reached. An answer counts for the very question that was asked: the same identity,
 * input as written (with its query), rules and endpoints of the class. Thread-safe and bounded; nothing of it is on disk. A list's
 * files are kept only as long as a fill uses them: after that its snapshot's id stands for them, and a store gives them back.
 */
#pragma once

#include "cachecore/snapshot.h"
#include "cachecore/source.h"

struct answers;
struct answer_entry;

struct answers *answers_new(void);
void answers_free(struct answers *answers); /* no answer may be held; NULL is fine */

/* A question in two digests. */
struct answer_question {
    char whole[SHA256_HEX];   /* all that the answer depends on */
    char subject[SHA256_HEX]; /* this identity about this URL, whatever the class: what a refusal ends */
    char who[SHA256_HEX];     /* this identity as the class presents it, whatever is asked for */
    char identity[SHA256_HEX];
    uint64_t ttl_s, grace_s;
};
/* Pure. text: the input as it was written. */
void answer_question_make(const struct source_context *context, const struct url *url, const char *text,
                          struct answer_question *out);

/* What was said. Constant once it is given to answers_end; text is in its arena. */
struct answer {
    struct arena *arena;
    struct source_object
        found; /* one object; request_url without the query that the asker has himself, if is_url_cut */
    bool is_url_cut;
    bool is_list;
    const char *base; /* of a list: the decoded prefix that all its paths lie below */
    struct snapshot list;
    char snapshot[SHA256_HEX]; /* its id */
    bool is_faded;             /* list is not there any more: only its id is */
    bool is_private;           /* nobody else can use it (an object without any validator) */
    /* of answers alone, under their lock */
    struct {
        unsigned users;
        struct answer_entry *entry;
    } locked;
};
struct answer *answer_new(void); /* with one user and an arena, which is wiped with it */
/* Gives up the use of an answer; NULL is fine. */
void answers_put(struct answers *answers, struct answer *answer);

/* A question on its way. */
struct answer_asking {
    const struct answer_question *question;
    bool must_be_fresh; /* what was said before does not count */
    const atomic_bool *cancel;
    struct answer *answer; /* what was said; to be put by the caller */
    struct err err;        /* or why there is nothing */
    bool is_unreachable;   /* the source itself did not answer: with ERR_UNAVAILABLE */
};
enum answer_turn { ANSWER_ASK, ANSWER_HERE, ANSWER_ERROR };
/*
 * ANSWER_HERE: asking->answer still counts. ANSWER_ASK: it is the caller's turn to ask, and answers_end has to follow; others with
 * the same question wait for that. ANSWER_ERROR: err is what somebody who asked the same at the same time was told, or ERR_CANCELLED.
 */
enum answer_turn answers_begin(struct answers *answers, struct answer_asking *asking);
/* asking->answer, or NULL and err. A refusal ends what counted for the question's subject. */
void answers_end(struct answers *answers, const struct answer_asking *asking);
/* Another answer in the place of a faded one: the same list, read back. As old as that was. */
void answers_restore(struct answers *answers, const struct answer_question *question, struct answer *answer);
/* What counted within the question's time of grace, or NULL: for a source that cannot be reached. */
struct answer *answers_recall(struct answers *answers, const struct answer_question *question);
/* A refusal that came otherwise than by asking (during a download). */
void answers_refused(struct answers *answers, const struct answer_question *question);
/* Is this error a refusal: a source's word, not a source that does not answer, and not an end of our own? */
bool answer_is_refusal(const struct err *err);

/* Whether the source let this identity read this object lately (authorize: object). */
bool answers_may_read(struct answers *answers, const struct answer_question *question, const char *object);
void answers_read(struct answers *answers, const struct answer_question *question, const char *object);
