#include "csi/controller_main.h"

#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "csi/config.h"
#include "csi/controller.h"
#include "csi/daemon.h"
#include "csi/health.h"
#include "csi/identity.h"
#include "csi/metrics_process.h"

/* Everything that is opened, in the order in which it is; closed in the reverse one. */
struct plugin {
    struct arena *arena;
    struct config config;
    struct identity identity;
    struct controller controller;
    struct dispatch *dispatch;
    struct server *server;
    struct metrics *metrics;
    struct health *health; /* NULL without --http-endpoint */
};

static int serve(struct plugin *plugin, struct err *err)
{
    struct server_config config = {.endpoint = plugin->config.socket};
    const struct dispatch_service services[] = {
        {identity_methods, identity_method_count, &plugin->identity},
        {controller_methods, controller_method_count, &plugin->controller},
    };
    plugin->identity.driver_name = plugin->config.driver_name;
    plugin->dispatch =
        dispatch_new(services, sizeof(services) / sizeof(services[0]), plugin->config.driver_name, plugin->metrics);
    config.methods = dispatch_methods(plugin->dispatch, &config.method_count);
    plugin->server = server_new(&config, err);
    if (!plugin->server)
        return -1;
    log_event(LOG_INFO, "serving", "endpoint", plugin->config.socket, "driver", plugin->config.driver_name, "version",
              SC_VERSION, NULL);
    return 0;
}

static void refresh_metrics(void *context)
{
    metrics_process_refresh(((const struct plugin *)context)->metrics);
}

static int open_health(struct plugin *plugin, struct err *err)
{
    const struct health_config config = {
        .address = plugin->config.http_endpoint,
        .endpoint = plugin->config.socket,
        .metrics = plugin->metrics,
        .refresh = refresh_metrics,
        .context = plugin,
    };
    if (!config.address)
        return 0;
    plugin->health = health_new(&config, err);
    return plugin->health ? 0 : err_prefix(err, "--http-endpoint");
}

/* Without a cluster there are no claims to read; the log says so, as in a cluster it would be a mistake. */
static int connect_kube(struct plugin *plugin, struct err *err)
{
    struct kube_config config = plugin->config.kube;
    if (kube_config_complete(plugin->arena, &config, err) != 0)
        return -1;
    if (!config.url) {
        log_event(LOG_WARNING, "no_kubernetes", "cause",
                  "neither --kube-url nor KUBERNETES_SERVICE_HOST: inputs are taken from parameters, not from claims",
                  NULL);
        return 0;
    }
    plugin->controller.kube = kube_new(&config, err);
    return plugin->controller.kube ? 0 : -1;
}

static int start(struct plugin *plugin, struct err *err)
{
    plugin->metrics = metrics_new();
    if (connect_kube(plugin, err) != 0)
        return -1;
    plugin->controller.guards = guards_new();
    plugin->controller.records_fd = fs_open_dir(plugin->config.state_dir, 0700, err);
    if (plugin->controller.records_fd < 0)
        return err_prefix(err, "--state-dir");
    return serve(plugin, err) == 0 ? open_health(plugin, err) : -1;
}

static void stop(struct plugin *plugin)
{
    health_free(plugin->health);
    server_free(plugin->server);
    dispatch_free(plugin->dispatch);
    closep(&plugin->controller.records_fd);
    guards_free(plugin->controller.guards);
    metrics_free(plugin->metrics);
    kube_free(plugin->controller.kube);
    arena_free(plugin->arena);
}

static int run(struct plugin *plugin)
{
    sigset_t signals;
    struct err err = ERR_INIT;
    daemon_prepare(&signals);
    if (start(plugin, &err) != 0) {
        log_event(LOG_ERROR, "start_failed", "error", err.message, NULL);
        return err.code == ERR_INVALID ? CONFIG_EXIT_STATUS : DAEMON_RUN_FAILED;
    }
    daemon_wait(&signals);
    health_free(STEAL_PTR(plugin->health));
    daemon_drain(plugin->server);
    return 0;
}

int controller_main(int argc, char **argv)
{
    struct plugin plugin = {.arena = arena_new(), .controller = {.records_fd = -1}};
    int status = 0;
    if (!daemon_configure(CONFIG_CONTROLLER, argc, argv, plugin.arena, &plugin.config, &status)) {
        arena_free(plugin.arena);
        return status;
    }
    status = run(&plugin);
    stop(&plugin);
    return status;
}
