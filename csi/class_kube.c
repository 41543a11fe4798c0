#include "csi/class_kube.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define WARN_EVERY_MS 60000
#define NEVER_MS (INT64_MIN / 2)

/* What the API said last about a name. It stays while calls hold it, and after that if it is a class of ours. */
struct entry {
    struct entry *next;
    char *name;
    char *text; /* the class as JSON; NULL: none */
    bool is_ours;
    int64_t answered_ms; /* when text came */
    int64_t asked_ms;    /* when the last round ended */
    int64_t used_ms;
    uint64_t round;   /* counts requests that ended */
    struct err error; /* of the last round, as the API's client has it; its code says whether it failed */
    unsigned users;
    bool is_asked; /* a request is on its way */
};

struct class_kube {
    struct kube *kube;
    char *driver_name;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t round_over;
        struct entry *entries;
        unsigned count;
        int64_t silent_ms; /* when a request, of any name, ended without an answer; NEVER_MS once one came */
        struct err silence;
        int64_t warned_ms;
    } locked;
};

static void entry_forget_locked(struct class_kube *source, struct entry *entry)
{
    struct entry **link = &source->locked.entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    source->locked.count--;
    free(entry->name);
    free(entry->text);
    free(entry);
}

/* The one that was unused for longest; NULL when all are in use. */
static struct entry *entry_oldest_locked(const struct class_kube *source)
{
    struct entry *oldest = NULL;
    for (struct entry *entry = source->locked.entries; entry; entry = entry->next)
        if (entry->users == 0 && (!oldest || entry->used_ms < oldest->used_ms))
            oldest = entry;
    return oldest;
}

static struct entry *entry_take_locked(struct class_kube *source, const char *name)
{
    struct entry *entry = source->locked.entries;
    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    if (!entry) {
        entry = mem_alloc(sizeof(*entry));
        entry->name = mem_strdup(name);
        entry->asked_ms = NEVER_MS;
        entry->next = source->locked.entries;
        source->locked.entries = entry;
        source->locked.count++;
    }
    entry->users++;
    entry->used_ms = clock_monotonic_ms();
    return entry;
}

/* Pods may name whatever they like: that pushes no class of ours out. */
static void entry_give_back_locked(struct class_kube *source, struct entry *entry)
{
    if (--entry->users == 0 && (!entry->text || !entry->is_ours))
        entry_forget_locked(source, entry);
    struct entry *oldest = source->locked.count > CLASS_KUBE_CLASSES_MAX ? entry_oldest_locked(source) : NULL;
    if (oldest)
        entry_forget_locked(source, oldest);
}

/* Only what a class is made of is kept, not who wrote which field when. */
static char *class_text(const json_t *object)
{
    static const char *const fields[] = {"kind", "provisioner", "parameters", "mountOptions"};
    json_auto_t *kept = json_object();
    json_t *name = json_object_get(json_object_get(object, "metadata"), "name");
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (json_object_get(object, fields[i]))
            json_object_set(kept, fields[i], json_object_get(object, fields[i]));
    json_object_set_new(kept, "metadata", json_pack("{s:O?}", "name", name));
    char *text = json_dumps(kept, JSON_COMPACT);
    assert(text);
    return text;
}

/* In words of classes, and with codes that fit a publish: what this plugin may not do is nobody's 403. */
static void error_translate(const char *name, struct err *error)
{
    switch (error->code) {
    case ERR_NOT_FOUND:
        err_set(error, ERR_NOT_FOUND, "StorageClass '%s' does not exist", name);
        return;
    case ERR_DENIED:
        err_prefix(
            error,
            "StorageClass '%s' cannot be read: the plugin's ClusterRole lacks the rule {apiGroups: [storage.k8s.io], "
            "resources: [storageclasses], verbs: [get]}",
            name);
        error->code = ERR_PRECONDITION;
        return;
    default:
        err_prefix(error, "StorageClass '%s' cannot be read", name);
        error->code = ERR_UNAVAILABLE;
    }
}

/* One request, without the lock. NULL with error. */
static char *ask(const struct class_kube *source, const struct entry *entry, bool has_older, bool *is_ours,
                 struct err *error)
{
    char path[512];
    json_auto_t *object = NULL;
    int64_t limit_ms = has_older ? CLASS_KUBE_REFRESH_MS : CLASS_KUBE_FIRST_MS;
    snprintf(path, sizeof(path), "/apis/storage.k8s.io/v1/storageclasses/%s", entry->name);
    struct kube_request request = {.verb = KUBE_GET, .path = path, .deadline_ms = clock_monotonic_ms() + limit_ms};
    if (kube_call(source->kube, &request, &object, error) != 0)
        return NULL;
    const char *provisioner = json_string_value(json_object_get(object, "provisioner"));
    *is_ours = provisioner && strcmp(provisioner, source->driver_name) == 0;
    return class_text(object);
}

/* A refusal is no class, but it is quick; all else means that nobody is there to answer. */
static bool is_silence(const struct err *error)
{
    return error->code != ERR_NONE && error->code != ERR_NOT_FOUND && error->code != ERR_DENIED;
}

static void round_run_locked(struct class_kube *source, struct entry *entry)
{
    struct err error = ERR_INIT;
    bool has_older = entry->text;
    bool is_ours = false;
    entry->is_asked = true;
    pthread_mutex_unlock(&source->locked.mutex);
    char *text = ask(source, entry, has_older, &is_ours, &error);
    pthread_mutex_lock(&source->locked.mutex);
    entry->is_asked = false;
    entry->error = error;
    entry->round++;
    entry->asked_ms = clock_monotonic_ms();
    if (text || error.code == ERR_NOT_FOUND) {
        free(entry->text);
        entry->text = text;
        entry->is_ours = is_ours;
        entry->answered_ms = entry->asked_ms;
    }
    source->locked.silent_ms = is_silence(&error) ? entry->asked_ms : NEVER_MS;
    if (is_silence(&error))
        source->locked.silence = error;
    pthread_cond_broadcast(&source->locked.round_over);
}

/* True when another request would only make a pod wait. */
static bool is_pause_locked(const struct class_kube *source, struct entry *entry, int64_t now_ms)
{
    if (entry->text && now_ms - entry->answered_ms < CLASS_KUBE_FRESH_MS)
        return true;
    if (entry->text && now_ms - entry->asked_ms < CLASS_KUBE_PAUSE_MS)
        return true;
    if (now_ms - source->locked.silent_ms >= CLASS_KUBE_PAUSE_MS)
        return false;
    entry->error = source->locked.silence;
    return true;
}

static void entry_update_locked(struct class_kube *source, struct entry *entry)
{
    uint64_t round = entry->round;
    if (!entry->is_asked) {
        if (!is_pause_locked(source, entry, clock_monotonic_ms()))
            round_run_locked(source, entry);
        return;
    }
    while (entry->round == round) /* as long as kube_call takes at most */
        pthread_cond_wait(&source->locked.round_over, &source->locked.mutex);
}

/* The age of an old answer that has to do, when it is time to say so again; -1 otherwise. */
static int64_t warning_locked(struct class_kube *source, const struct entry *entry)
{
    int64_t now_ms = clock_monotonic_ms();
    if (!entry->text || entry->error.code == ERR_NONE || now_ms - source->locked.warned_ms < WARN_EVERY_MS)
        return -1;
    source->locked.warned_ms = now_ms;
    return (now_ms - entry->answered_ms) / 1000;
}

static void warn_of_age(const char *name, int64_t age_s, const char *error)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)age_s);
    log_event(LOG_WARNING, "class_from_memory", "class", name, "age_s", text, "error", error, NULL);
}

/* The text in the arena; NULL with err. */
static char *text_get(struct class_kube *source, const char *name, struct arena *arena, struct err *err)
{
    struct err error = ERR_INIT;
    pthread_mutex_lock(&source->locked.mutex);
    struct entry *entry = entry_take_locked(source, name);
    entry_update_locked(source, entry);
    char *text = entry->text ? arena_strdup(arena, entry->text) : NULL;
    int64_t age_s = warning_locked(source, entry);
    error = entry->error;
    entry_give_back_locked(source, entry);
    pthread_mutex_unlock(&source->locked.mutex);
    if (age_s >= 0)
        warn_of_age(name, age_s, error.message);
    if (!text) {
        error_translate(name, &error);
        *err = error;
    }
    return text;
}

static int kube_get(void *backend, const char *name, struct arena *arena, struct class *out, struct err *err)
{
    struct class_kube *source = backend;
    struct class class;
    const char *text = text_get(source, name, arena, err);
    if (!text)
        return -1;
    if (class_parse_json(arena, text, strlen(text), source->driver_name, &class, err) != 0)
        return err_prefix(err, "StorageClass '%s'", name);
    if (strcmp(class.name, name) != 0)
        return err_set(err, ERR_UNAVAILABLE, "StorageClass '%s': the API answers with '%.100s'", name, class.name);
    *out = class;
    return 0;
}

static void kube_source_free(void *backend)
{
    struct class_kube *source = backend;
    while (source->locked.entries)
        entry_forget_locked(source, source->locked.entries);
    pthread_cond_destroy(&source->locked.round_over);
    pthread_mutex_destroy(&source->locked.mutex);
    free(source->driver_name);
    free(source);
}

struct class_source *class_source_kube(struct kube *kube, const char *driver_name, const char *default_class)
{
    static const struct class_source_ops ops = {kube_get, kube_source_free};
    struct class_kube *source = mem_alloc(sizeof(*source));
    source->kube = kube;
    source->driver_name = mem_strdup(driver_name);
    pthread_mutex_init(&source->locked.mutex, NULL);
    pthread_cond_init(&source->locked.round_over, NULL);
    source->locked.silent_ms = source->locked.warned_ms = NEVER_MS;
    return class_source_new(&ops, source, default_class);
}
