#include "csi/startup_taint.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/ticker.h"

#define LIMIT_MS 3000
#define FIRST_MS 200
#define MOST_MS 10000
#define PATIENCE_MS ((int64_t)5 * 60 * 1000)
#define RARELY_MS 60000

struct startup_taint {
    struct startup_taint_config config;
    struct ticker *ticker;
    int64_t start_ms;
    int64_t pause_ms;
    enum err_code cause; /* of the last failure: told when it changes */
};

bool startup_taint_is_listed(const json_t *csinode, const char *driver_name)
{
    const json_t *drivers = json_object_get(json_object_get(csinode, "spec"), "drivers");
    for (size_t i = 0; i < json_array_size(drivers); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(drivers, i), "name"));
        if (name && strcmp(name, driver_name) == 0)
            return true;
    }
    return false;
}

json_t *startup_taint_patch(const json_t *node, const char *key)
{
    json_t *taints = json_object_get(json_object_get(node, "spec"), "taints");
    json_auto_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(taints); i++) {
        json_t *taint = json_array_get(taints, i);
        const char *found = json_string_value(json_object_get(taint, "key"));
        if (!found || strcmp(found, key) != 0)
            json_array_append(kept, taint);
    }
    if (json_array_size(kept) == json_array_size(taints))
        return NULL;
    return json_pack("[{s:s,s:s,s:O},{s:s,s:s,s:O}]", "op", "test", "path", "/spec/taints", "value", taints, "op",
                     "replace", "path", "/spec/taints", "value", kept);
}

static int call(const struct startup_taint *taint, enum kube_verb verb, const char *path, const json_t *body,
                json_t **out, struct err *err)
{
    struct kube_request request = {verb, path, body, clock_monotonic_ms() + LIMIT_MS};
    return kube_call(taint->config.kube, &request, out, err);
}

static void log_failure(struct startup_taint *taint, const struct err *err)
{
    static const char rules[] = "the plugin's ClusterRole needs {apiGroups: [storage.k8s.io], resources: [csinodes], "
                                "verbs: [get]} and {apiGroups: [\"\"], resources: [nodes], verbs: [get, patch]}, or "
                                "--startup-taint ''";
    if (taint->cause == err->code)
        return;
    taint->cause = err->code;
    log_event(LOG_WARNING, "startup_taint_not_removed", "error", err->message, "hint",
              err->code == ERR_DENIED ? rules : NULL, NULL);
}

static int64_t later(struct startup_taint *taint)
{
    int64_t pause_ms = taint->pause_ms;
    if (clock_monotonic_ms() - taint->start_ms > PATIENCE_MS)
        return RARELY_MS;
    taint->pause_ms = pause_ms * 2 < MOST_MS ? pause_ms * 2 : MOST_MS;
    return pause_ms;
}

static int64_t after_failure(struct startup_taint *taint, const struct err *err)
{
    log_failure(taint, err);
    return later(taint);
}

/* Another one changed the taints between our read and our write: 422 when the test fails, 409 when the object moved. */
static bool is_conflict(const struct err *err)
{
    return err->code == ERR_EXISTS || err->code == ERR_INVALID;
}

static int64_t taint_remove(struct startup_taint *taint, struct arena *arena)
{
    const char *path = arena_printf(arena, "/api/v1/nodes/%s", taint->config.node_name);
    struct err err = ERR_INIT;
    json_auto_t *node = NULL;
    if (call(taint, KUBE_GET, path, NULL, &node, &err) != 0)
        return after_failure(taint, &err);
    json_auto_t *patch = startup_taint_patch(node, taint->config.key);
    if (!patch) {
        log_event(LOG_DEBUG, "startup_taint_absent", "key", taint->config.key, NULL);
        return TICKER_DONE;
    }
    if (call(taint, KUBE_JSON_PATCH, path, patch, NULL, &err) == 0) {
        log_event(LOG_INFO, "startup_taint_removed", "key", taint->config.key, "node", taint->config.node_name, NULL);
        return TICKER_DONE;
    }
    return is_conflict(&err) ? later(taint) : after_failure(taint, &err);
}

/* No CSINode object yet is what a new node looks like. */
static int64_t step(void *context)
{
    struct startup_taint *taint = context;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *path = arena_printf(arena, "/apis/storage.k8s.io/v1/csinodes/%s", taint->config.node_name);
    struct err err = ERR_INIT;
    json_auto_t *csinode = NULL;
    if (call(taint, KUBE_GET, path, NULL, &csinode, &err) != 0)
        return err.code == ERR_NOT_FOUND ? later(taint) : after_failure(taint, &err);
    if (!startup_taint_is_listed(csinode, taint->config.driver_name))
        return later(taint);
    return taint_remove(taint, arena);
}

static int64_t step_for_no_name(void *context)
{
    const struct startup_taint *taint = context;
    log_event(LOG_WARNING, "startup_taint_not_removed", "error", "--node-id is not the name of a Kubernetes node",
              "node", taint->config.node_name, NULL);
    return TICKER_DONE;
}

static bool is_node_name(const char *name)
{
    size_t len = strlen(name);
    return len <= 253 && isalnum((unsigned char)name[0]) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

struct startup_taint *startup_taint_new(const struct startup_taint_config *config, struct err *err)
{
    struct startup_taint *taint = mem_alloc(sizeof(*taint));
    taint->config = *config;
    taint->start_ms = clock_monotonic_ms();
    taint->pause_ms = FIRST_MS;
    taint->ticker = ticker_new(is_node_name(config->node_name) ? step : step_for_no_name, taint, 0, err);
    if (taint->ticker)
        return taint;
    free(taint);
    return NULL;
}

void startup_taint_free(struct startup_taint *taint)
{
    if (!taint)
        return;
    ticker_free(taint->ticker);
    free(taint);
}
