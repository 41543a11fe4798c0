#include "csi/service_account.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define REFRESH_MS 1000 /* limit of a request when an older answer is at hand */
#define FIRST_MS 5000   /* and when none is */
#define NEVER_MS (INT64_MIN / 2)

struct entry {
    struct entry *next;
    char *key;           /* namespace/name */
    struct arena *arena; /* of answer; NULL: there is none */
    struct service_account answer;
    struct err error; /* of the last round */
    int64_t answered_ms, asked_ms, used_ms;
    uint64_t round; /* counts requests that ended */
    unsigned users;
    bool is_asked;
};

struct service_accounts {
    struct kube *kube;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t round_over;
        struct entry *entries;
        unsigned count;
    } locked;
};

struct service_accounts *service_accounts_new(struct kube *kube)
{
    struct service_accounts *accounts = mem_alloc(sizeof(*accounts));
    accounts->kube = kube;
    pthread_mutex_init(&accounts->locked.mutex, NULL);
    pthread_cond_init(&accounts->locked.round_over, NULL);
    return accounts;
}

static void entry_forget_locked(struct service_accounts *accounts, struct entry *entry)
{
    struct entry **link = &accounts->locked.entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    accounts->locked.count--;
    arena_free(entry->arena);
    free(entry->key);
    free(entry);
}

void service_accounts_free(struct service_accounts *accounts)
{
    if (!accounts)
        return;
    while (accounts->locked.entries)
        entry_forget_locked(accounts, accounts->locked.entries);
    pthread_cond_destroy(&accounts->locked.round_over);
    pthread_mutex_destroy(&accounts->locked.mutex);
    free(accounts);
}

/* --- answers --- */

static void note_add(struct arena *arena, const char *note, struct service_account *out)
{
    out->note = out->note ? arena_printf(arena, "%s; %s", out->note, note) : note;
}

void service_account_parse(struct arena *arena, const json_t *object, const struct service_account_key *key,
                           struct service_account *out)
{
    const json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");
    *out = (struct service_account){.note = NULL};
    for (size_t i = 0; i < IDENTITY_ROLES; i++) {
        struct err why = ERR_INIT;
        const char *value = json_string_value(json_object_get(annotations, role_names[i].account));
        if (!value)
            continue;
        if (identity_role_check((enum identity_role)i, value, &why) == 0)
            out->roles[i] = arena_strdup(arena, value);
        else
            note_add(arena,
                     arena_printf(arena, "the annotation '%s' of ServiceAccount %s/%s is not used: it %s",
                                  role_names[i].account, key->namespace, key->name, why.message),
                     out);
    }
}

/* True when there is an answer. */
static bool answer_make(const json_t *object, const struct err *error, const struct service_account_key *key,
                        struct arena *arena, struct service_account *out)
{
    *out = (struct service_account){.note = NULL};
    if (error->code == ERR_NONE)
        service_account_parse(arena, object, key, out);
    else if (error->code == ERR_DENIED)
        out->note =
            "annotations of ServiceAccounts are not used, as the plugin's ClusterRole lacks the rule {apiGroups: "
            "[''], resources: [serviceaccounts], verbs: [get]}";
    return error->code == ERR_NONE || error->code == ERR_DENIED || error->code == ERR_NOT_FOUND;
}

static void answer_copy(const struct service_account *from, struct arena *arena, struct service_account *out)
{
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        out->roles[i] = from->roles[i] ? arena_strdup(arena, from->roles[i]) : NULL;
    out->note = from->note ? arena_strdup(arena, from->note) : NULL;
}

/* --- entries --- */

static void bound_locked(struct service_accounts *accounts)
{
    struct entry *oldest = NULL;
    for (struct entry *entry = accounts->locked.entries; entry; entry = entry->next)
        if (entry->users == 0 && (!oldest || entry->used_ms < oldest->used_ms))
            oldest = entry;
    if (oldest && accounts->locked.count > SERVICE_ACCOUNTS_MAX)
        entry_forget_locked(accounts, oldest);
}

static struct entry *entry_take_locked(struct service_accounts *accounts, const char *key)
{
    struct entry *entry = accounts->locked.entries;
    while (entry && strcmp(entry->key, key) != 0)
        entry = entry->next;
    if (!entry) {
        entry = mem_alloc(sizeof(*entry));
        *entry = (struct entry){
            .key = mem_strdup(key), .next = accounts->locked.entries, .answered_ms = NEVER_MS, .asked_ms = NEVER_MS};
        accounts->locked.entries = entry;
        accounts->locked.count++;
    }
    entry->users++;
    entry->used_ms = clock_monotonic_ms();
    return entry;
}

static void round_run_locked(struct service_accounts *accounts, struct entry *entry,
                             const struct service_account_key *key)
{
    struct err error = ERR_INIT;
    json_auto_t *object = NULL;
    struct service_account answer;
    struct arena *arena = arena_new();
    struct kube_request request = {
        .verb = KUBE_GET,
        .path = arena_printf(arena, "/api/v1/namespaces/%s/serviceaccounts/%s", key->namespace, key->name),
        .deadline_ms = clock_monotonic_ms() + (entry->arena ? REFRESH_MS : FIRST_MS)};
    entry->is_asked = true;
    pthread_mutex_unlock(&accounts->locked.mutex);
    kube_call(accounts->kube, &request, &object, &error);
    bool is_answer = answer_make(object, &error, key, arena, &answer);
    pthread_mutex_lock(&accounts->locked.mutex);
    entry->is_asked = false;
    entry->round++;
    entry->error = error;
    entry->asked_ms = clock_monotonic_ms();
    if (is_answer) {
        arena_free(entry->arena);
        entry->arena = STEAL_PTR(arena);
        entry->answer = answer;
        entry->answered_ms = entry->asked_ms;
    }
    pthread_cond_broadcast(&accounts->locked.round_over);
    arena_free(arena);
}

static void entry_update_locked(struct service_accounts *accounts, struct entry *entry,
                                const struct service_account_key *key)
{
    int64_t now_ms = clock_monotonic_ms();
    uint64_t round = entry->round;
    if (entry->arena &&
        (now_ms - entry->answered_ms < SERVICE_ACCOUNT_FRESH_MS || now_ms - entry->asked_ms < SERVICE_ACCOUNT_PAUSE_MS))
        return;
    if (!entry->is_asked)
        round_run_locked(accounts, entry, key);
    else
        while (entry->round == round) /* as long as kube_call takes at most */
            pthread_cond_wait(&accounts->locked.round_over, &accounts->locked.mutex);
}

int service_account_get(struct service_accounts *accounts, const struct service_account_key *key, struct arena *arena,
                        struct service_account *out, struct err *err)
{
    const char *name = arena_printf(arena, "%s/%s", key->namespace, key->name);
    struct err error = ERR_INIT;
    pthread_mutex_lock(&accounts->locked.mutex);
    struct entry *entry = entry_take_locked(accounts, name);
    entry_update_locked(accounts, entry, key);
    bool is_known = entry->arena != NULL;
    if (is_known)
        answer_copy(&entry->answer, arena, out);
    else
        error = entry->error;
    entry->users--;
    if (!is_known && entry->users == 0)
        entry_forget_locked(accounts, entry);
    bound_locked(accounts);
    pthread_mutex_unlock(&accounts->locked.mutex);
    if (is_known)
        return 0;
    *err = error;
    err->code = ERR_UNAVAILABLE;
    return err_prefix(err, "ServiceAccount %s cannot be read", name);
}
