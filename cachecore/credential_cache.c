#include "cachecore/credential_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#define BUCKETS 1024u
#define CANCEL_CHECK_MS 100
#define SWEEP_MS 60000
#define LIFE_MIN_MS 10000 /* of what had ended when it came: a wrong clock must not flood token services */
#define STALE_MS 10000 /* the service does not answer: what has not ended counts for so long before it is asked again */
#define NEVER_MS (INT64_MIN / 2)

struct entry {
    struct entry *next; /* of its bucket */
    struct entry *newer, *older;
    uint8_t key[SHA256_LEN];
    unsigned users;
    bool is_asked;            /* somebody is finding them */
    uint64_t round;           /* counts the answers */
    bool is_direct;           /* they come out of a secret */
    struct credentials *held; /* NULL: none */
    int64_t renew_ms, end_ms; /* of held */
    struct err failure;       /* of the last round; ERR_NONE: it found some */
    int64_t failed_ms;
    uint8_t shown[SHA256_LEN]; /* digest of the tokens that were refused */
};

static struct {
    pthread_once_t once;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t round_over;
        struct entry *buckets[BUCKETS];
        struct entry *newest, *oldest;
        size_t count;
        int64_t swept_ms;
    } locked;
} cache = {.once = PTHREAD_ONCE_INIT, .locked = {.mutex = PTHREAD_MUTEX_INITIALIZER}};

/* One who wants credentials. */
struct wish {
    const struct credential_chain *chain;
    struct credentials_request request; /* but for the view */
    struct identity *identity;
    uint8_t key[SHA256_LEN];
};

static void cache_init(void)
{
    thread_cond_init(&cache.locked.round_over);
}

static void text_digest(const char *text, struct sha256 *sha)
{
    sha256_field(sha, text, text ? strlen(text) : 0);
}

static void key_make(struct wish *wish)
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    char id[SHA256_HEX];
    identity_id(wish->identity, id);
    text_digest(id, sha);
    text_digest(wish->chain->name, sha);
    text_digest(wish->request.host, sha);
    class_digest_access(wish->request.class, sha);
    sha256_final(sha, wish->key);
}

static void shown_digest(const struct identity_view *view, uint8_t out[SHA256_LEN])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    identity_digest_map(&view->tokens, sha);
    sha256_final(sha, out);
}

/* --- entries --- */

static struct entry **bucket_locked(const uint8_t key[SHA256_LEN])
{
    return &cache.locked.buckets[((unsigned)key[0] << 8 | key[1]) % BUCKETS];
}

static void order_remove_locked(struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &cache.locked.newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache.locked.oldest) = entry->newer;
}

static void order_add_locked(struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache.locked.newest;
    *(entry->older ? &entry->older->newer : &cache.locked.oldest) = entry;
    cache.locked.newest = entry;
}

static void entry_forget_locked(struct entry *entry)
{
    struct entry **at = bucket_locked(entry->key);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    order_remove_locked(entry);
    cache.locked.count--;
    credentials_unref(entry->held);
    free(entry);
}

/* What has ended lies in memory for no longer than it has to. */
static void sweep_locked(int64_t now_ms)
{
    if (now_ms - cache.locked.swept_ms < SWEEP_MS)
        return;
    cache.locked.swept_ms = now_ms;
    for (struct entry *entry = cache.locked.oldest, *newer; entry; entry = newer) {
        newer = entry->newer;
        if (entry->users == 0 && (!entry->held || entry->end_ms <= now_ms))
            entry_forget_locked(entry);
    }
}

static void bound_locked(void)
{
    struct entry *entry = cache.locked.oldest;
    while (entry && entry->users > 0)
        entry = entry->newer;
    if (entry && cache.locked.count > CREDENTIAL_CACHE_MAX)
        entry_forget_locked(entry);
}

static struct entry *entry_take_locked(const uint8_t key[SHA256_LEN])
{
    struct entry **bucket = bucket_locked(key);
    struct entry *entry = *bucket;
    while (entry && memcmp(entry->key, key, SHA256_LEN) != 0)
        entry = entry->next;
    if (entry) {
        order_remove_locked(entry);
    } else {
        sweep_locked(clock_monotonic_ms());
        entry = mem_alloc(sizeof(*entry));
        *entry = (struct entry){.next = *bucket, .failed_ms = NEVER_MS};
        memcpy(entry->key, key, SHA256_LEN);
        *bucket = entry;
        cache.locked.count++;
    }
    entry->users++;
    order_add_locked(entry);
    bound_locked();
    return entry;
}

/* --- what was found --- */

static void hold_locked(struct entry *entry, struct credentials *found, int64_t life_ms, int64_t margin_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    credentials_unref(entry->held);
    entry->held = credentials_ref(found);
    entry->end_ms = now_ms + life_ms;
    entry->renew_ms = entry->end_ms - margin_ms;
}

/* Wall clocks may jump: how long they live is asked once, and counted by the other clock from then on. */
static void found_locked(struct entry *entry, struct credentials *found)
{
    entry->is_direct = found->expires_s == 0 && found->kind != CREDENTIALS_NONE;
    if (entry->is_direct) {
        credentials_unref(entry->held);
        entry->held = NULL;
    } else if (found->expires_s == 0) {
        hold_locked(entry, found, CREDENTIAL_NOBODY_MS, 0);
    } else {
        int64_t life_s = found->expires_s - clock_wall_s();
        int64_t life_ms = life_s <= 0 ? LIFE_MIN_MS : life_s < INT32_MAX ? life_s * 1000 : (int64_t)INT32_MAX * 1000;
        int64_t margin_ms = life_ms / 5 < CREDENTIAL_MARGIN_S * 1000 ? life_ms / 5 : CREDENTIAL_MARGIN_S * 1000;
        hold_locked(entry, found, life_ms, margin_ms);
    }
}

static bool is_refusal(enum err_code code)
{
    return code == ERR_DENIED || code == ERR_UNAUTHENTICATED;
}

static bool is_refused_locked(const struct entry *entry, struct identity *identity)
{
    struct identity_view view;
    uint8_t shown[SHA256_LEN];
    if (!is_refusal(entry->failure.code) || clock_monotonic_ms() - entry->failed_ms >= CREDENTIAL_REFUSAL_MS)
        return false;
    identity_view(identity, &view);
    shown_digest(&view, shown);
    identity_view_deinit(&view);
    return memcmp(shown, entry->shown, SHA256_LEN) == 0;
}

static bool gives_held_locked(const struct entry *entry, struct credentials **out)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!entry->held || now_ms >= (entry->is_asked ? entry->end_ms : entry->renew_ms))
        return false;
    *out = credentials_ref(entry->held);
    return true;
}

/* --- finding --- */

/* Without the lock. */
static int find(const struct wish *wish, uint8_t shown[SHA256_LEN], struct credentials **out, struct err *err)
{
    struct identity_view view;
    struct credentials_request request = wish->request;
    identity_view(wish->identity, &view);
    request.identity = &view;
    shown_digest(&view, shown);
    int result = wish->chain->find(&request, out, err);
    identity_view_deinit(&view);
    return result;
}

static int failed_locked(struct entry *entry, const struct err *failure, struct credentials **out, struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    entry->failed_ms = now_ms;
    if (failure->code == ERR_UNAVAILABLE && entry->held && now_ms < entry->end_ms) {
        entry->renew_ms = now_ms + STALE_MS < entry->end_ms ? now_ms + STALE_MS : entry->end_ms;
        entry->failure.code = ERR_NONE;
        *out = credentials_ref(entry->held);
        return 0;
    }
    *err = *failure;
    return -1;
}

static int lead_locked(struct entry *entry, const struct wish *wish, struct credentials **out, struct err *err)
{
    struct err failure = ERR_INIT;
    struct credentials *found = NULL;
    uint8_t shown[SHA256_LEN];
    entry->is_asked = true;
    pthread_mutex_unlock(&cache.locked.mutex);
    int result = find(wish, shown, &found, &failure);
    pthread_mutex_lock(&cache.locked.mutex);
    entry->is_asked = false;
    entry->round++;
    entry->failure = failure;
    memcpy(entry->shown, shown, sizeof(shown));
    pthread_cond_broadcast(&cache.locked.round_over);
    if (result != 0)
        return failed_locked(entry, &failure, out, err);
    entry->failure.code = ERR_NONE;
    found_locked(entry, found);
    *out = found;
    return 0;
}

/* Nobody waits, as nobody is asked. */
static int direct_locked(struct entry *entry, const struct wish *wish, struct credentials **out, struct err *err)
{
    uint8_t shown[SHA256_LEN];
    pthread_mutex_unlock(&cache.locked.mutex);
    int result = find(wish, shown, out, err);
    pthread_mutex_lock(&cache.locked.mutex);
    if (result == 0 && entry->is_direct)
        found_locked(entry, *out);
    return result;
}

/* True when the round is over; false when cancelled. */
static bool round_await_locked(const struct entry *entry, const atomic_bool *cancel)
{
    for (uint64_t round = entry->round; entry->round == round;) {
        if (cancel && atomic_load(cancel))
            return false;
        thread_cond_wait(&cache.locked.round_over, &cache.locked.mutex, clock_monotonic_ms() + CANCEL_CHECK_MS);
    }
    return true;
}

static int get_locked(struct entry *entry, const struct wish *wish, struct credentials **out, struct err *err)
{
    for (;;) {
        if (gives_held_locked(entry, out))
            return 0;
        if (entry->is_direct)
            return direct_locked(entry, wish, out, err);
        if (is_refused_locked(entry, wish->identity)) {
            *err = entry->failure;
            return -1;
        }
        if (!entry->is_asked)
            return lead_locked(entry, wish, out, err);
        if (!round_await_locked(entry, wish->request.cancel))
            return err_set(err, ERR_CANCELLED, "cancelled while waiting for credentials");
        if (entry->failure.code != ERR_NONE && entry->failure.code != ERR_CANCELLED) {
            *err = entry->failure;
            return -1;
        }
    }
}

int credential_cache_get(const struct credential_chain *chain, const struct class *class, struct identity *identity,
                         const char *host, const atomic_bool *cancel, struct credentials **out, struct err *err)
{
    struct wish wish = {.chain = chain, .identity = identity};
    wish.request =
        (struct credentials_request){.class = class, .host = chain->any_host ? NULL : host, .cancel = cancel};
    pthread_once(&cache.once, cache_init);
    key_make(&wish);
    pthread_mutex_lock(&cache.locked.mutex);
    struct entry *entry = entry_take_locked(wish.key);
    int result = get_locked(entry, &wish, out, err);
    entry->users--;
    pthread_mutex_unlock(&cache.locked.mutex);
    return result;
}

void credential_cache_drop(const struct credentials *credentials)
{
    pthread_mutex_lock(&cache.locked.mutex);
    struct entry *entry = cache.locked.newest;
    while (entry && entry->held != credentials)
        entry = entry->older;
    if (entry) {
        credentials_unref(entry->held);
        entry->held = NULL;
    }
    pthread_mutex_unlock(&cache.locked.mutex);
}
