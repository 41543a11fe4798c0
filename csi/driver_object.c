#include "csi/driver_object.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/ticker.h"

#define FIRST_LIMIT_MS 2000
#define LIMIT_MS 3000
#define EVERY_MS 60000
#define SOON_MS 5000 /* while refused, or unknown */

enum verdict { UNKNOWN, ALLOWED, FORGEABLE, ABSENT };

static const char *const verdict_names[] = {"unknown", "allowed", "no_pod_info", "absent"};

struct driver_object {
    struct kube *kube;
    const char *driver_name;
    struct ticker *ticker;
    atomic_int verdict;  /* enum verdict; written by the looks alone */
    enum err_code cause; /* of the last look that got no answer, for the log: it is told when it changes */
};

static bool is_true(const json_t *spec, const char *field)
{
    return json_is_true(json_object_get(spec, field));
}

static bool has_mode(const json_t *spec, const char *mode)
{
    const json_t *modes = json_object_get(spec, "volumeLifecycleModes");
    for (size_t i = 0; i < json_array_size(modes); i++) {
        const char *text = json_string_value(json_array_get(modes, i));
        if (text && strcmp(text, mode) == 0)
            return true;
    }
    return false;
}

static void advise(const char *field, const char *advice)
{
    log_event(LOG_WARNING, "csidriver_field", "field", field, "cause", advice, NULL);
}

/* What makes no volume unsafe, and yet is wrong. */
static void fields_check(const json_t *spec)
{
    const char *group = json_string_value(json_object_get(spec, "fsGroupPolicy"));
    if (!json_is_false(json_object_get(spec, "attachRequired")))
        advise("attachRequired", "must be false: pods with claims wait for an attacher that does not exist");
    if (!group || strcmp(group, "None") != 0)
        advise("fsGroupPolicy", "should be None: kubelet would change the owner of every file of a shared cache");
    if (!has_mode(spec, "Ephemeral"))
        advise("volumeLifecycleModes", "lacks Ephemeral: inline volumes are refused by kubelet");
    if (!has_mode(spec, "Persistent"))
        advise("volumeLifecycleModes", "lacks Persistent: claims are refused by kubelet");
    if (is_true(spec, "requiresRepublish"))
        advise("requiresRepublish", "should be false: a published volume never changes");
}

/* Each cause is told when it is new. */
static void log_no_answer(struct driver_object *object, const struct err *cause)
{
    static const char rule[] = "the plugin's ClusterRole lacks the rule {apiGroups: [storage.k8s.io], resources: "
                               "[csidrivers], verbs: [get]}";
    if (object->cause == cause->code)
        return;
    object->cause = cause->code;
    log_event(LOG_WARNING, "csidriver_not_read", "error", cause->message, "hint",
              cause->code == ERR_DENIED ? rule : NULL, NULL);
}

static void look(struct driver_object *object, int64_t limit_ms)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct kube_request request = {
        .verb = KUBE_GET,
        .path = arena_printf(arena, "/apis/storage.k8s.io/v1/csidrivers/%s", object->driver_name),
        .deadline_ms = clock_monotonic_ms() + limit_ms,
    };
    struct err err = ERR_INIT;
    json_auto_t *answer = NULL;
    enum verdict before = (enum verdict)atomic_load(&object->verdict);
    enum verdict verdict = before;
    if (kube_call(object->kube, &request, &answer, &err) == 0)
        verdict = is_true(json_object_get(answer, "spec"), "podInfoOnMount") ? ALLOWED : FORGEABLE;
    else if (err.code == ERR_NOT_FOUND)
        verdict = ABSENT;
    else
        log_no_answer(object, &err);
    if (answer || err.code == ERR_NOT_FOUND)
        object->cause = ERR_NONE;
    if (verdict == before)
        return;
    if (answer)
        fields_check(json_object_get(answer, "spec"));
    atomic_store(&object->verdict, verdict);
    log_event(verdict == ALLOWED ? LOG_INFO : LOG_ERROR, "csidriver", "driver", object->driver_name, "state",
              verdict_names[verdict], NULL);
}

static int64_t look_again(void *context)
{
    struct driver_object *object = context;
    look(object, LIMIT_MS);
    return atomic_load(&object->verdict) == ALLOWED ? EVERY_MS : SOON_MS;
}

struct driver_object *driver_object_new(struct kube *kube, const char *driver_name, struct err *err)
{
    struct driver_object *object = mem_alloc(sizeof(*object));
    object->kube = kube;
    object->driver_name = driver_name;
    look(object, FIRST_LIMIT_MS);
    bool is_allowed = atomic_load(&object->verdict) == ALLOWED;
    object->ticker = ticker_new(look_again, object, is_allowed ? EVERY_MS : SOON_MS, err);
    if (object->ticker)
        return object;
    free(object);
    return NULL;
}

void driver_object_free(struct driver_object *object)
{
    if (!object)
        return;
    ticker_free(object->ticker);
    free(object);
}

int driver_object_allows(const struct driver_object *object, struct err *err)
{
    switch (object ? (enum verdict)atomic_load(&object->verdict) : ALLOWED) {
    case FORGEABLE:
        return err_set(err, ERR_PRECONDITION,
                       "the CSIDriver object '%s' does not say podInfoOnMount: true, so that a pod could forge its "
                       "namespace: an admin has to set it (the Helm chart does)",
                       object->driver_name);
    case ABSENT:
        return err_set(err, ERR_PRECONDITION,
                       "there is no CSIDriver object '%s', so that a pod could forge its namespace: an admin has to "
                       "make it (the Helm chart does)",
                       object->driver_name);
    default:
        return 0;
    }
}
