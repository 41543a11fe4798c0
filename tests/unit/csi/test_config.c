/* What "sharedcache node" and "sharedcache controller" accept on their command lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "csi/config.h"

#define ARGUMENTS_MAX 8

static int parse(const char *const *arguments, struct arena *arena, struct config *out, struct err *err)
{
    char *argv[ARGUMENTS_MAX + 3] = {(char *)(uintptr_t) "sharedcache", (char *)(uintptr_t) "node"};
    int argc = 2;
    for (; arguments[argc - 2]; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 2];
    return config_parse(CONFIG_NODE, argc, argv, arena, out, err);
}

static void clear_environment(void)
{
    unsetenv("CSI_ENDPOINT");
    unsetenv("NODE_ID");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

/* In a cluster, outside of one, and in one that is not to be used. */
static void test_kubernetes(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *plain[] = {"--endpoint=unix:/run/b.sock", "--driver-name=a.b", NULL};
    const char *flags[] = {"--endpoint=unix:/run/b.sock", "--kube-url=https://[::1]:6443", "--kube-token-file=/t",
                           "--kube-ca-file=/c",           "--startup-taint=a.b/c",         NULL};
    const char *without[] = {"--endpoint=unix:/run/b.sock", "--kube-url=", "--startup-taint=", NULL};
    struct config config;
    struct err err = ERR_INIT;
    clear_environment();
    assert_int_equal(parse(plain, arena, &config, &err), 0);
    assert_null(config.kube.url);
    assert_string_equal(config.startup_taint, "a.b/agent-not-ready");
    assert_int_equal(parse(flags, arena, &config, &err), 0);
    assert_string_equal(config.kube.url, "https://[::1]:6443");
    assert_string_equal(config.kube.token_file, "/t");
    assert_string_equal(config.kube.ca_file, "/c");
    assert_string_equal(config.startup_taint, "a.b/c");
    setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    assert_int_equal(parse(without, arena, &config, &err), 0);
    assert_int_equal(kube_config_complete(arena, &config.kube, &err), 0);
    assert_null(config.kube.url);
    assert_string_equal(config.startup_taint, "");
    clear_environment();
}

static void test_good(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *arguments[] = {"--endpoint",      "unix:///run/a/csi.sock",
                               "--node-id=n-1.a", "--no-pod-info",
                               "--fetcher-uid=0", "--log-level",
                               "debug",           NULL};
    struct config config;
    struct err err = ERR_INIT;
    clear_environment();
    assert_int_equal(parse(arguments, arena, &config, &err), 0);
    assert_string_equal(config.socket, "/run/a/csi.sock");
    assert_string_equal(config.node_id, "n-1.a");
    assert_string_equal(config.driver_name, "csi.sharedcache.io");
    assert_string_equal(config.state_dir, "/var/lib/sharedcache");
    assert_string_equal(config.kubelet_dir, "/var/lib/kubelet");
    assert_null(config.class_dir);
    assert_null(config.registration_dir);
    assert_true(config.registers);
    assert_false(config.pod_info);
    assert_int_equal(config.fetcher_uid, 0);
    assert_int_equal(config.log_level, LOG_DEBUG);
}

static void test_environment(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *none[] = {NULL};
    const char *flag[] = {"--endpoint=unix:/run/b.sock", "--no-register", NULL};
    struct config config;
    struct err err = ERR_INIT;
    setenv("CSI_ENDPOINT", "unix:///run/a.sock", 1);
    setenv("NODE_ID", "from-env", 1);
    assert_int_equal(parse(none, arena, &config, &err), 0);
    assert_string_equal(config.socket, "/run/a.sock");
    assert_string_equal(config.node_id, "from-env");
    assert_true(config.pod_info);
    assert_int_equal(config.fetcher_uid, 65532);
    assert_int_equal(parse(flag, arena, &config, &err), 0);
    assert_string_equal(config.socket, "/run/b.sock");
    assert_false(config.registers);
    clear_environment();
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[ARGUMENTS_MAX];
        const char *says;
    } cases[] = {
        {{NULL}, "--endpoint"},
        {{"--endpoint", NULL}, "--endpoint needs a value"},
        {{"--endpoint=tcp://0.0.0.0:1", NULL}, "--endpoint: must be unix"},
        {{"--endpoint=unix:///run/csi", NULL}, "--endpoint: must be unix"},
        {{"--endpoint=unix:///run/../csi.sock", NULL}, "--endpoint"},
        {{"--endpoint=unix://run/csi.sock", NULL}, "--endpoint"},
        {{"--endpoint=unix:///run/a.sock", "--driver-name=1abc", NULL}, "--driver-name"},
        {{"--endpoint=unix:///run/a.sock", "--kube-token-file=token", NULL}, "--kube-token-file"},
        {{"--endpoint=unix:///run/a.sock", "--startup-taint=a b", NULL}, "--startup-taint"},
        {{"--endpoint=unix:///run/a.sock", "--driver-name=csi.x.io1", NULL}, "--driver-name"},
        {{"--endpoint=unix:///run/a.sock", "--node-id=", NULL}, "--node-id"},
        {{"--endpoint=unix:///run/a.sock", "--node-id=a/b", NULL}, "--node-id"},
        {{"--endpoint=unix:///run/a.sock", "--state-dir=var", NULL}, "--state-dir"},
        {{"--endpoint=unix:///run/a.sock", "--kubelet-dir=/var/lib/kubelet/", NULL}, "--kubelet-dir"},
        {{"--endpoint=unix:///run/a.sock", "--kubelet-dir=/", NULL}, "--kubelet-dir"},
        {{"--endpoint=unix:///run/a.sock", "--default-class=A_b", NULL}, "--default-class"},
        {{"--endpoint=unix:///run/a.sock", "--fetcher-uid=-1", NULL}, "--fetcher-uid"},
        {{"--endpoint=unix:///run/a.sock", "--fetcher-uid=4294967296", NULL}, "--fetcher-uid"},
        {{"--endpoint=unix:///run/a.sock", "--selinux-context=a,b", NULL}, "--selinux-context"},
        {{"--endpoint=unix:///run/a.sock", "--log-level=loud", NULL}, "--log-level"},
        {{"--endpoint=unix:///run/a.sock", "--log-format=xml", NULL}, "--log-format: must be text or json"},
        {{"--endpoint=unix:///run/a.sock", "--http-endpoint=localhost:80", NULL},
         "--http-endpoint: must be ADDRESS:PORT"},
        {{"--endpoint=unix:///run/a.sock", "--no-pod-info=yes", NULL}, "takes no value"},
        {{"--endpoint=unix:///run/a.sock", "--no-register=1", NULL}, "takes no value"},
        {{"--endpoint=unix:///run/a.sock", "--registration-dir=reg", NULL}, "--registration-dir"},
        {{"--endpoint=unix:///run/a.sock", "--kubelet-endpoint=unix:///run/a.sock", NULL}, "--kubelet-endpoint"},
        {{"--endpoint=unix:///run/a.sock", "--kube-url=http://10.0.0.1:6443", NULL}, "--kube-url: must be https"},
        {{"--endpoint=unix:///run/a.sock", "--kube-url=https://10.0.0.1/api", NULL}, "--kube-url"},
        {{"--endpoint=unix:///run/a.sock", "--kube-ca-file=ca.crt", NULL}, "--kube-ca-file"},
        {{"--endpoint=unix:///run/a.sock", "--mystery", NULL}, "--mystery"},
        {{"--endpoint=unix:///run/a.sock", "extra", NULL}, "extra"},
    };
    clear_environment();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct config config;
        struct err err = ERR_INIT;
        assert_int_equal(parse(cases[i].arguments, arena, &config, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.message, cases[i].says))
            fail_msg("case %zu says '%s', not '%s'", i, err.message, cases[i].says);
    }
}

static void test_controller(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    char *good[] = {(char *)(uintptr_t) "sharedcache", (char *)(uintptr_t) "controller",
                    (char *)(uintptr_t) "--endpoint=unix:///run/a.sock", (char *)(uintptr_t) "--driver-name=csi.a.io"};
    struct config config;
    struct err err = ERR_INIT;
    clear_environment();
    assert_int_equal(config_parse(CONFIG_CONTROLLER, 4, good, arena, &config, &err), 0);
    assert_string_equal(config.state_dir, "/run/sharedcache");
    assert_string_equal(config.driver_name, "csi.a.io");
    assert_null(config.node_id);
    assert_null(config.kubelet_dir);
    good[3] = (char *)(uintptr_t) "--kube-url=https://[fd00::1]:6443";
    assert_int_equal(config_parse(CONFIG_CONTROLLER, 4, good, arena, &config, &err), 0);
    assert_string_equal(config.kube.url, "https://[fd00::1]:6443");
    assert_null(config.kube.token_file);
    good[3] = (char *)(uintptr_t) "--kubelet-dir=/var/lib/kubelet";
    assert_int_equal(config_parse(CONFIG_CONTROLLER, 4, good, arena, &config, &err), -1);
    assert_non_null(strstr(err.message, "--kubelet-dir"));
    assert_non_null(strstr(err.message, "sharedcache controller --help"));
}

static void help_of(enum config_command command, char *out, size_t size)
{
    FILE *file = fmemopen(out, size, "w");
    config_help(command, file);
    fclose(file);
}

/* Each command's help names its own flags and no other's. */
static void test_help(void **state)
{
    (void)state;
    char node[8192];
    char controller[8192];
    help_of(CONFIG_NODE, node, sizeof(node));
    help_of(CONFIG_CONTROLLER, controller, sizeof(controller));
    assert_non_null(strstr(node, "sharedcache node --endpoint"));
    assert_non_null(strstr(node, "--no-pod-info "));
    assert_non_null(strstr(node, "(default /var/lib/sharedcache)"));
    assert_null(strstr(node, "/run/sharedcache"));
    assert_non_null(strstr(controller, "sharedcache controller --endpoint"));
    assert_non_null(strstr(controller, "(default /run/sharedcache)"));
    assert_null(strstr(controller, "--node-id"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_environment), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_controller), cmocka_unit_test(test_help),        cmocka_unit_test(test_kubernetes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
