#include "csi/config.h"

#include <ctype.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "csi/health_listen.h"

/* A Unix socket's address holds 107 bytes. */
#define SOCKET_PATH_MAX 107

struct setting {
    struct arena *arena;
    const char *value;
    struct config *config;
};

typedef int (*setter)(const struct setting *setting, const char **field, struct err *err);

static bool is_clean_path(const char *path)
{
    size_t len = strlen(path);
    return path[0] == '/' && len > 1 && len < PATH_MAX / 2 && path[len - 1] != '/' && !strstr(path, "//") &&
           !strstr(path, "/../") && !strstr(path, "/./") && !str_ends_with(path, "/..") && !str_ends_with(path, "/.");
}

static int set_path(const struct setting *setting, const char **field, struct err *err)
{
    if (!is_clean_path(setting->value))
        return err_set(err, ERR_INVALID, "must be an absolute path without '.', '..' or a '/' at its end");
    *field = setting->value;
    return 0;
}

static int set_endpoint(const struct setting *setting, const char **field, struct err *err)
{
    const char *path = setting->value;
    if (!str_starts_with(path, "unix:"))
        return err_set(err, ERR_INVALID, "must be unix:///<path>.sock");
    path += strlen("unix:");
    if (str_starts_with(path, "//"))
        path += 2;
    if (!is_clean_path(path) || !str_ends_with(path, ".sock") || strlen(path) > SOCKET_PATH_MAX)
        return err_set(err, ERR_INVALID, "must be unix:///<path>.sock with an absolute path of at most %d bytes",
                       SOCKET_PATH_MAX);
    *field = path;
    return 0;
}

/* Unlike Kubernetes' own names this one allows capitals and '_': other orchestrators have them. */
static int set_node_id(const struct setting *setting, const char **field, struct err *err)
{
    const char *value = setting->value;
    size_t len = strlen(value);
    size_t fit = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (len == 0 || len > 192 || fit != len || !isalnum((unsigned char)value[0]))
        return err_set(err, ERR_INVALID, "must be 1 to 192 letters, digits, '.', '_' or '-', a letter or digit first");
    *field = value;
    return 0;
}

/* The specification's rule, and csi-sanity's stricter one: a letter first and last. */
static int set_driver_name(const struct setting *setting, const char **field, struct err *err)
{
    const char *value = setting->value;
    size_t len = strlen(value);
    size_t fit = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    if (len < 2 || len > 63 || fit != len || !isalpha((unsigned char)value[0]) ||
        !isalpha((unsigned char)value[len - 1]))
        return err_set(err, ERR_INVALID, "must be a domain name of at most 63 bytes, a letter first and last");
    *field = value;
    return 0;
}

static int set_name(const struct setting *setting, const char **field, struct err *err)
{
    size_t len = strlen(setting->value);
    size_t fit = strspn(setting->value, "abcdefghijklmnopqrstuvwxyz0123456789.-");
    if (len == 0 || len > 253 || fit != len || !isalnum((unsigned char)setting->value[0]))
        return err_set(err, ERR_INVALID, "must be the name of a StorageClass");
    *field = setting->value;
    return 0;
}

/* Empty: none, whatever the environment says. */
static int set_kube_url(const struct setting *setting, const char **field, struct err *err)
{
    if (setting->value[0] && kube_url_check(setting->value, err) != 0)
        return -1;
    *field = setting->value;
    return 0;
}

/* A label's key: an optional domain, a '/', a name. */
static int set_startup_taint(const struct setting *setting, const char **field, struct err *err)
{
    size_t len = strlen(setting->value);
    size_t fit = strspn(setting->value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/");
    if (len > 317 || fit != len)
        return err_set(err, ERR_INVALID, "must be the key of a taint, or empty");
    *field = setting->value;
    return 0;
}

static int set_selinux_context(const struct setting *setting, const char **field, struct err *err)
{
    size_t len = strlen(setting->value);
    size_t fit = strspn(setting->value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:");
    if (len == 0 || len > 255 || fit != len)
        return err_set(err, ERR_INVALID, "must be an SELinux context without ',' (user:role:type:level)");
    *field = setting->value;
    return 0;
}

static int set_fetcher_uid(const struct setting *setting, const char **field, struct err *err)
{
    uint64_t uid = 0;
    (void)field;
    if (str_parse_u64(setting->value, INT32_MAX, &uid) != 0)
        return err_set(err, ERR_INVALID, "must be a user's number");
    setting->config->fetcher_uid = (uid_t)uid;
    return 0;
}

static int set_log_level(const struct setting *setting, const char **field, struct err *err)
{
    (void)field;
    if (log_parse_level(setting->value, &setting->config->log_level) != 0)
        return err_set(err, ERR_INVALID, "must be error, warning, info or debug");
    return 0;
}

static int set_kubelet_endpoint(const struct setting *setting, const char **field, struct err *err)
{
    if (!is_clean_path(setting->value) || strlen(setting->value) > SOCKET_PATH_MAX)
        return err_set(err, ERR_INVALID, "must be the CSI socket's absolute path on the host, of at most %d bytes",
                       SOCKET_PATH_MAX);
    *field = setting->value;
    return 0;
}

static int set_no_register(const struct setting *setting, const char **field, struct err *err)
{
    (void)field;
    (void)err;
    setting->config->registers = false;
    return 0;
}

static int set_log_format(const struct setting *setting, const char **field, struct err *err)
{
    (void)field;
    if (log_parse_format(setting->value, &setting->config->log_format) != 0)
        return err_set(err, ERR_INVALID, "must be text or json");
    return 0;
}

static int set_http_endpoint(const struct setting *setting, const char **field, struct err *err)
{
    struct health_address address;
    if (health_address_parse(setting->value, &address, err) != 0)
        return -1;
    *field = setting->value;
    return 0;
}

static int set_no_events(const struct setting *setting, const char **field, struct err *err)
{
    (void)field;
    (void)err;
    setting->config->events = false;
    return 0;
}

static int set_no_pod_info(const struct setting *setting, const char **field, struct err *err)
{
    (void)field;
    (void)err;
    setting->config->pod_info = false;
    return 0;
}

#define FIELD(name) offsetof(struct config, name)
#define NO_FIELD ((size_t)-1)
#define BOTH ((unsigned)CONFIG_NODE | (unsigned)CONFIG_CONTROLLER)

/* One row for each flag; a row for each command where they differ. */
static const struct option {
    const char *name;
    const char *value;       /* what the help calls its value; NULL: a switch */
    const char *environment; /* NULL: none */
    const char *initial;     /* NULL: none */
    size_t field;
    setter set;
    unsigned commands;
    const char *help;
} options[] = {
    {"--endpoint", "URL", "CSI_ENDPOINT", NULL, FIELD(socket), set_endpoint, BOTH,
     "socket to serve CSI on (or CSI_ENDPOINT)"},
    {"--node-id", "NAME", "NODE_ID", NULL, FIELD(node_id), set_node_id, CONFIG_NODE,
     "this node's name (or NODE_ID; default: the host name)"},
    {"--driver-name", "NAME", NULL, "csi.sharedcache.io", FIELD(driver_name), set_driver_name, BOTH,
     "default csi.sharedcache.io"},
    {"--state-dir", "DIR", NULL, "/var/lib/sharedcache", FIELD(state_dir), set_path, CONFIG_NODE,
     "this node's state and store (default /var/lib/sharedcache)"},
    {"--state-dir", "DIR", NULL, "/run/sharedcache", FIELD(state_dir), set_path, CONFIG_CONTROLLER,
     "volumes that were made; may be lost (default /run/sharedcache)"},
    {"--kubelet-dir", "DIR", NULL, "/var/lib/kubelet", FIELD(kubelet_dir), set_path, CONFIG_NODE,
     "targets must lie beneath (default /var/lib/kubelet)"},
    {"--class-dir", "DIR", NULL, NULL, FIELD(class_dir), set_path, CONFIG_NODE,
     "directory of StorageClass objects, NAME.json each (default: the Kubernetes API)"},
    {"--default-class", "NAME", NULL, NULL, FIELD(default_class), set_name, CONFIG_NODE,
     "class of volumes that name none (default: the built-in one, this node's own store)"},
    {"--secrets-dir", "DIR", NULL, NULL, FIELD(secrets_dir), set_path, CONFIG_NODE,
     "where a class's shareSecret S is found: DIR/S/username and so on"},
    {"--selinux-context", "CTX", NULL, "system_u:object_r:container_file_t:s0", FIELD(selinux_context),
     set_selinux_context, CONFIG_NODE,
     "label of views where SELinux is on (default system_u:object_r:container_file_t:s0)"},
    {"--registration-dir", "DIR", NULL, NULL, FIELD(registration_dir), set_path, CONFIG_NODE,
     "kubelet's plugins_registry (default: that of --kubelet-dir, once it is there)"},
    {"--kubelet-endpoint", "PATH", NULL, NULL, FIELD(kubelet_endpoint), set_kubelet_endpoint, CONFIG_NODE,
     "the CSI socket's path on the host, where kubelet sees it (default: that of --endpoint)"},
    {"--no-register", NULL, NULL, NULL, NO_FIELD, set_no_register, CONFIG_NODE,
     "leave registration with kubelet to a registrar beside us"},
    {"--startup-taint", "KEY", NULL, NULL, FIELD(startup_taint), set_startup_taint, CONFIG_NODE,
     "taken from this node once kubelet knows the driver (default DRIVER/agent-not-ready; empty: none)"},
    {"--http-endpoint", "ADDR", NULL, NULL, FIELD(http_endpoint), set_http_endpoint, BOTH,
     "ADDRESS:PORT or :PORT to serve /healthz, /readyz and /metrics at (default: not served)"},
    {"--fetcher-uid", "UID", NULL, "65532", NO_FIELD, set_fetcher_uid, CONFIG_NODE,
     "user that downloads and owns the stores (default 65532)"},
    {"--no-events", NULL, NULL, NULL, NO_FIELD, set_no_events, CONFIG_NODE,
     "write no events on the pods that wait for their inputs"},
    {"--no-pod-info", NULL, NULL, NULL, NO_FIELD, set_no_pod_info, CONFIG_NODE,
     "do not insist on the pod's name in requests: for trying without Kubernetes"},
    {"--kube-url", "URL", NULL, NULL, FIELD(kube.url), set_kube_url, BOTH,
     "https://HOST[:PORT] of the Kubernetes API (default: that of the pod, if we are in one; empty: none)"},
    {"--kube-token-file", "FILE", NULL, NULL, FIELD(kube.token_file), set_path, BOTH,
     "token for it (default: the pod's service account)"},
    {"--kube-ca-file", "FILE", NULL, NULL, FIELD(kube.ca_file), set_path, BOTH,
     "certificates that it is checked by (default: the pod's)"},
    {"--log-level", "LEVEL", NULL, "info", NO_FIELD, set_log_level, BOTH,
     "error, warning, info or debug (default info)"},
    {"--log-format", "FORMAT", NULL, "text", NO_FIELD, set_log_format, BOTH,
     "text (logfmt) or json, one object a line (default text)"},
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static const char *command_name(enum config_command command)
{
    return command == CONFIG_NODE ? "node" : "controller";
}

void config_help(enum config_command command, FILE *to)
{
    fprintf(to, "usage: sharedcache %s --endpoint unix:///PATH.sock [flags]\n", command_name(command));
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "%s %s", options[i].name, options[i].value ? options[i].value : "");
        if (options[i].commands & (unsigned)command)
            fprintf(to, "  %-23s %s\n", flag, options[i].help);
    }
}

static int apply(const struct option *option, const struct setting *setting, struct err *err)
{
    const char **field =
        option->field == NO_FIELD ? NULL : (const char **)(void *)((char *)setting->config + option->field);
    if (option->set(setting, field, err) != 0)
        return err_prefix(err, "%s", option->name);
    return 0;
}

static int apply_initial(enum config_command command, struct arena *arena, struct config *config, struct err *err)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!(options[i].commands & (unsigned)command))
            continue;
        const char *value = options[i].environment ? getenv(options[i].environment) : NULL;
        if (!value || !value[0])
            value = options[i].initial;
        struct setting setting = {arena, value ? arena_strdup(arena, value) : NULL, config};
        if (value && apply(&options[i], &setting, err) != 0)
            return -1;
    }
    return 0;
}

static const struct option *find_option(enum config_command command, const char *argument)
{
    size_t len = strcspn(argument, "=");
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if ((options[i].commands & (unsigned)command) && strlen(options[i].name) == len &&
            strncmp(options[i].name, argument, len) == 0)
            return &options[i];
    return NULL;
}

static int apply_arguments(enum config_command command, int argc, char **argv, struct arena *arena,
                           struct config *config, struct err *err)
{
    for (int i = 2; i < argc; i++) {
        const struct option *option = find_option(command, argv[i]);
        const char *value = strchr(argv[i], '=');
        if (!option)
            return err_set(err, ERR_INVALID, "unknown argument '%.100s' (see sharedcache %s --help)", argv[i],
                           command_name(command));
        if (!option->value && value)
            return err_set(err, ERR_INVALID, "%s takes no value", option->name);
        if (option->value && !value && ++i >= argc)
            return err_set(err, ERR_INVALID, "%s needs a value", option->name);
        const char *text = !option->value ? "" : value ? value + 1 : argv[i];
        struct setting setting = {arena, arena_strdup(arena, text), config};
        if (apply(option, &setting, err) != 0)
            return -1;
    }
    return 0;
}

static int default_node_id(struct arena *arena, struct config *config, struct err *err)
{
    char name[HOST_NAME_MAX + 1] = "";
    if (gethostname(name, sizeof(name) - 1) != 0)
        return err_set(err, ERR_INVALID, "--node-id is needed: this host has no name");
    struct setting setting = {arena, arena_strdup(arena, name), config};
    if (set_node_id(&setting, &config->node_id, err) != 0)
        return err_prefix(err, "--node-id (from the host name)");
    return 0;
}

int config_parse(enum config_command command, int argc, char **argv, struct arena *arena, struct config *out,
                 struct err *err)
{
    struct config config = {.pod_info = true, .events = true, .registers = true};
    if (apply_initial(command, arena, &config, err) != 0 ||
        apply_arguments(command, argc, argv, arena, &config, err) != 0)
        return -1;
    if (command == CONFIG_NODE && !config.node_id && default_node_id(arena, &config, err) != 0)
        return -1;
    if (!config.startup_taint)
        config.startup_taint = arena_printf(arena, "%s/agent-not-ready", config.driver_name);
    if (!config.socket)
        return err_set(err, ERR_INVALID, "--endpoint (or CSI_ENDPOINT) is needed: unix:///<path>.sock");
    *out = config;
    return 0;
}
