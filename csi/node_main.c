#include "csi/node_main.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "csi/class_kube.h"
#include "csi/daemon.h"
#include "csi/health.h"
#include "csi/identity.h"
#include "csi/node.h"
#include "csi/node_metrics.h"
#include "csi/reconcile.h"
#include "csi/registration.h"
#include "csi/startup_taint.h"

#define HELPERS_MAX 8
#define FILLS_MAX 256

/* Everything that is opened, in the order in which it is; closed in the reverse one. */
struct plugin {
    struct arena *arena;
    struct config config;
    struct node node;
    struct identity identity;
    struct dispatch *dispatch;
    struct server *server;
    struct health *health;               /* NULL without --http-endpoint */
    struct registration *registration;   /* NULL with --no-register */
    struct startup_taint *startup_taint; /* NULL when there is none to take away */
    int lock_fd;
};

/* Row 101 of the table of faults: during a rollout two plugins start on one node; the second waits for the first to go. The lock goes
 * with the process, whatever ends it. */
static int take_lock(struct plugin *plugin, struct err *err)
{
    plugin->lock_fd = fs_open_beneath(plugin->node.state_fd, "lock", O_RDWR | O_CREAT, 0600);
    if (plugin->lock_fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the lock file");
    if (flock(plugin->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    log_event(LOG_WARNING, "waiting_for_lock", "state_dir", plugin->config.state_dir, "cause",
              "another sharedcache node is running", NULL);
    while (flock(plugin->lock_fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return err_set_errno(err, ERR_NONE, errno, "cannot lock the state directory");
    return 0;
}

static void on_damaged(const char *name, const char *cause)
{
    log_event(LOG_ERROR, "record_damaged", "file", name, "cause", cause, NULL);
}

static int open_below(struct plugin *plugin, const char *name, int *out, struct err *err)
{
    if (fs_mkdir(plugin->node.state_fd, name, 0700, err) != 0)
        return -1;
    *out = fs_open_beneath(plugin->node.state_fd, name, O_RDONLY | O_DIRECTORY, 0);
    return *out < 0 ? err_set_errno(err, ERR_NONE, errno, "cannot open directory '%s'", name) : 0;
}

static int open_state(struct plugin *plugin, struct err *err)
{
    struct stat info;
    if (stat(plugin->config.kubelet_dir, &info) != 0 || !S_ISDIR(info.st_mode))
        return err_set(err, ERR_INVALID, "--kubelet-dir: '%s' is not a directory", plugin->config.kubelet_dir);
    plugin->node.state_fd = fs_open_dir(plugin->config.state_dir, 0700, err);
    if (plugin->node.state_fd < 0)
        return err_prefix(err, "--state-dir");
    return take_lock(plugin, err) != 0 ? -1 : open_below(plugin, "layers", &plugin->node.layers_fd, err);
}

static int open_machines(struct plugin *plugin, struct err *err)
{
    struct node *node = &plugin->node;
    struct mounts_config mounts = {arena_printf(plugin->arena, "%s/shares", plugin->config.state_dir), HELPERS_MAX};
    struct fills_config fills = {plugin->config.fetcher_uid, plugin->config.node_id, FILLS_MAX, node->metrics};
    node->guards = guards_new();
    node->records = records_open(node->state_fd, on_damaged, err);
    if (!node->records)
        return -1;
    node->mounts = mounts_new(&mounts, err);
    if (!node->mounts)
        return -1;
    struct shares_config shares = {node->mounts, node->guards, node->state_fd, plugin->config.secrets_dir,
                                   plugin->config.fetcher_uid};
    node->shares = shares_new(&shares, err);
    if (!node->shares || reconcile(node, err) != 0)
        return -1;
    node->fills = fills_new(&fills, err);
    return node->fills ? 0 : -1;
}

/* Tried at start, so that the log says what this node can do; a store that cannot be opened now fails a publish later. */
static void probe_own_store(struct plugin *plugin)
{
    _cleanup_(opened_store_deinitp) struct opened_store store = OPENED_STORE_INIT;
    struct err err = ERR_INIT;
    if (shares_open_local(plugin->node.shares, &store, &err) != 0)
        log_event(LOG_ERROR, "node_store_unusable", "error", err.message, NULL);
}

static int serve(struct plugin *plugin, struct err *err)
{
    struct server_config config = {.endpoint = plugin->config.socket};
    const struct dispatch_service services[] = {
        {identity_methods, identity_method_count, &plugin->identity},
        {node_methods, node_method_count, &plugin->node},
    };
    plugin->identity.driver_name = plugin->config.driver_name;
    plugin->dispatch = dispatch_new(services, sizeof(services) / sizeof(services[0]), plugin->config.driver_name,
                                    plugin->node.metrics);
    config.methods = dispatch_methods(plugin->dispatch, &config.method_count);
    plugin->server = server_new(&config, err);
    if (!plugin->server)
        return -1;
    log_event(LOG_INFO, "serving", "endpoint", plugin->config.socket, "node", plugin->config.node_id, "driver",
              plugin->config.driver_name, "version", SC_VERSION, NULL);
    return 0;
}

static struct registration_config registration_config(const struct plugin *plugin)
{
    const struct config *config = &plugin->config;
    const char *dir = config->registration_dir;
    return (struct registration_config){
        .dir = dir ? dir : arena_printf(plugin->arena, "%s/plugins_registry", config->kubelet_dir),
        .dir_must_exist = dir != NULL,
        .driver_name = config->driver_name,
        .socket = config->socket,
        .endpoint = config->kubelet_endpoint,
    };
}

/* The texts live as long as the plugin. */
static int announce(struct plugin *plugin, struct err *err)
{
    if (!plugin->config.registers)
        return 0;
    struct registration_config config = registration_config(plugin);
    plugin->registration = registration_new(&config, err);
    return plugin->registration ? 0 : -1;
}

/* Whoever has kubelet's registration is ready: shares and the API are looked at when a pod wants them. */
static bool is_ready(void *context, const char **why)
{
    const struct plugin *plugin = context;
    *why = "kubelet has not registered the plugin yet";
    return registration_is_done(plugin->registration);
}

static void refresh_metrics(void *context)
{
    const struct plugin *plugin = context;
    node_metrics_refresh(&plugin->node);
    if (plugin->registration)
        metrics_set(plugin->node.metrics, METRIC_REGISTERED, registration_is_done(plugin->registration), NULL);
}

static int open_health(struct plugin *plugin, struct err *err)
{
    const struct health_config config = {
        .address = plugin->config.http_endpoint,
        .endpoint = plugin->config.socket,
        .metrics = plugin->node.metrics,
        .refresh = refresh_metrics,
        .is_ready = is_ready,
        .context = plugin,
    };
    if (!config.address)
        return 0;
    plugin->health = health_new(&config, err);
    return plugin->health ? 0 : err_prefix(err, "--http-endpoint");
}

static int open_events(struct node *node, struct err *err)
{
    const struct events_config config = {
        .kube = node->kube,
        .source = {node->config->driver_name, node->config->node_id},
        .metrics = node->metrics,
    };
    if (!node->config->events)
        return 0;
    node->events = events_new(&config, err);
    return node->events ? 0 : -1;
}

/* Before anything is served: what the CSIDriver object says decides who may have a volume. */
static int open_kubernetes(struct plugin *plugin, struct err *err)
{
    struct node *node = &plugin->node;
    const struct config *config = &plugin->config;
    struct kube_config kube = config->kube;
    if (kube_config_complete(plugin->arena, &kube, err) != 0)
        return -1;
    if (!kube.url)
        return 0;
    node->kube = kube_new(&kube, err);
    if (!node->kube)
        return -1;
    node->service_accounts = service_accounts_new(node->kube);
    if (config->pod_info)
        node->driver_object = driver_object_new(node->kube, config->driver_name, err);
    return config->pod_info && !node->driver_object ? -1 : open_events(node, err);
}

static struct class_source *open_classes(const struct node *node, struct err *err)
{
    const struct config *config = node->config;
    if (node->kube && !config->class_dir)
        return class_source_kube(node->kube, config->driver_name, config->default_class);
    return class_source_directory(config->class_dir, config->driver_name, config->default_class, err);
}

static int remove_taint(struct plugin *plugin, struct err *err)
{
    const struct config *config = &plugin->config;
    struct startup_taint_config taint = {plugin->node.kube, config->startup_taint, config->node_id,
                                         config->driver_name};
    if (!plugin->node.kube || !config->startup_taint[0])
        return 0;
    plugin->startup_taint = startup_taint_new(&taint, err);
    return plugin->startup_taint ? 0 : -1;
}

static int start(struct plugin *plugin, struct err *err)
{
    struct node *node = &plugin->node;
    const struct config *config = &plugin->config;
    struct registration_config registration = registration_config(plugin);
    node->config = config;
    if (config->registers && registration_check(&registration, err) != 0)
        return -1;
    node->metrics = metrics_new();
    node_metrics_begin(node);
    node->selinux_context = access("/sys/fs/selinux/enforce", F_OK) == 0 ? config->selinux_context : NULL;
    if (open_kubernetes(plugin, err) != 0)
        return -1;
    node->classes = open_classes(node, err);
    if (!node->classes || open_state(plugin, err) != 0 || open_machines(plugin, err) != 0)
        return -1;
    probe_own_store(plugin);
    if (serve(plugin, err) != 0 || announce(plugin, err) != 0 || open_health(plugin, err) != 0)
        return -1;
    return remove_taint(plugin, err);
}

static void stop(struct plugin *plugin)
{
    struct node *node = &plugin->node;
    health_free(plugin->health);
    registration_free(plugin->registration);
    startup_taint_free(plugin->startup_taint);
    server_free(plugin->server);
    dispatch_free(plugin->dispatch);
    fills_free(node->fills);
    shares_free(node->shares);
    mounts_free(node->mounts);
    records_free(node->records);
    guards_free(node->guards);
    class_source_free(node->classes);
    service_accounts_free(node->service_accounts);
    events_free(node->events);
    metrics_free(node->metrics);
    driver_object_free(node->driver_object);
    kube_free(node->kube);
    closep(&node->layers_fd);
    closep(&node->state_fd);
    closep(&plugin->lock_fd);
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
    registration_free(STEAL_PTR(plugin->registration)); /* kubelet hears it before calls fail */
    daemon_drain(plugin->server);
    return 0;
}

int node_main(int argc, char **argv)
{
    struct plugin plugin = {.arena = arena_new(), .lock_fd = -1, .node = {.state_fd = -1, .layers_fd = -1}};
    int status = 0;
    if (!daemon_configure(CONFIG_NODE, argc, argv, plugin.arena, &plugin.config, &status)) {
        arena_free(plugin.arena);
        return status;
    }
    status = run(&plugin);
    stop(&plugin);
    return status;
}
