/* What registration_check refuses before anything is touched. The life of the socket is tests/registration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "csi/registration.h"
#include "csi/server.h"
#include "tests/unit/csi/scratch.h"

#define DIR_75 "/var/lib/kubelet-of-a-node-whose-directories-have-rather-long-names/plugins"

static void test_check(void **state)
{
    (void)state;
    static const struct {
        struct registration_config config;
        const char *says; /* NULL: fine */
    } cases[] = {
        {{.dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/run/csi.sock"}, NULL},
        {{.dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/nowhere/registry-2/csi.sock"}, NULL},
        {{.dir = DIR_75, .driver_name = "abcdefghijklmnopqrstuv", .socket = "/run/csi.sock"}, NULL},
        {{.dir = DIR_75, .driver_name = "abcdefghijklmnopqrstuvw", .socket = "/run/csi.sock"}, "has 108 bytes, 107"},
        {{.dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/nowhere/registry/csi.sock"},
         "--endpoint: '/nowhere/registry/csi.sock' lies in"},
        {{.dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/nowhere/registry/csi/csi.sock"},
         "--endpoint"},
        {{.dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/run/csi.sock", .dir_must_exist = true},
         "--registration-dir: '/nowhere/registry', where kubelet looks for plugins: No such file"},
        {{.dir = "/dev/null", .driver_name = "csi.x.io", .socket = "/run/csi.sock", .dir_must_exist = true},
         "is not a directory"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        int result = registration_check(&cases[i].config, &err);
        if (result != (cases[i].says ? -1 : 0) || (cases[i].says && !strstr(err.message, cases[i].says)))
            fail_msg("case %zu: %d '%s'", i, result, err.message);
        if (cases[i].says)
            assert_int_equal(err.code, ERR_INVALID);
    }
}

/* Without a directory it waits for one, is not done, and ends at once. */
static void test_no_kubelet(void **state)
{
    (void)state;
    const struct registration_config config = {
        .dir = "/nowhere/registry", .driver_name = "csi.x.io", .socket = "/nowhere/csi.sock"};
    struct err err = ERR_INIT;
    struct registration *registration = registration_new(&config, &err);
    assert_non_null(registration);
    assert_false(registration_is_done(registration));
    registration_free(registration);
    assert_true(registration_is_done(NULL));
}

/* A directory with a CSI socket in it that answers Probe, and a registry beside. */
struct place {
    char dir[SCRATCH_PATH_MAX];
    char registry[SCRATCH_PATH_MAX + 32];
    char socket[SCRATCH_PATH_MAX + 32];
    char endpoint[SCRATCH_PATH_MAX + 64];
};

static void place_init(struct place *place)
{
    assert_int_equal(scratch_make(place->dir), 0);
    snprintf(place->registry, sizeof(place->registry), "%s/registry", place->dir);
    snprintf(place->socket, sizeof(place->socket), "%s/csi.sock", place->dir);
    snprintf(place->endpoint, sizeof(place->endpoint), "%s/csi.x.io-reg.sock", place->registry);
    assert_int_equal(mkdir(place->registry, 0755), 0);
}

static void place_deinit(struct place *place)
{
    assert_int_equal(rmdir(place->registry), 0); /* so nothing was left in it */
    assert_int_equal(scratch_remove(place->dir), 0);
}

static int probe(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    (void)call, (void)reply;
    return __atomic_load_n((bool *)service, __ATOMIC_SEQ_CST) ? 0 : err_set(err, ERR_UNAVAILABLE, "not yet");
}

static struct server *start_csi(struct place *place, struct rpc_method *method)
{
    struct err err = ERR_INIT;
    struct server_config config = {.endpoint = place->socket, .methods = method, .method_count = 1};
    struct server *server = server_new(&config, &err);
    assert_non_null(server);
    return server;
}

static bool is_socket(const char *path, struct stat *info)
{
    return lstat(path, info) == 0 && S_ISSOCK(info->st_mode);
}

/* True when the socket is there within the limit and is not the one that was known. */
static bool appears(const char *path, struct stat *known, int64_t limit_ms)
{
    struct stat now;
    for (int64_t end_ms = clock_monotonic_ms() + limit_ms; clock_monotonic_ms() < end_ms; usleep(10000)) {
        if (!is_socket(path, &now) ||
            (now.st_ctim.tv_sec == known->st_ctim.tv_sec && now.st_ctim.tv_nsec == known->st_ctim.tv_nsec))
            continue;
        *known = now;
        return true;
    }
    return false;
}

/* kubelet calls back at once, so the registration must not be seen before the CSI socket answers. */
static void test_csi_first(void **state)
{
    (void)state;
    struct place place;
    struct err err = ERR_INIT;
    struct stat seen = {0};
    bool ready = false;
    struct rpc_method method = {"/csi.v1.Identity/Probe", probe, &ready, true};
    place_init(&place);
    struct registration_config config = {
        .dir = place.registry, .dir_must_exist = true, .driver_name = "csi.x.io", .socket = place.socket};
    struct registration *registration = registration_new(&config, &err);
    assert_non_null(registration);
    assert_false(appears(place.endpoint, &seen, 500)); /* nobody listens */
    struct server *server = start_csi(&place, &method);
    assert_false(appears(place.endpoint, &seen, 3000)); /* it does not answer yet */
    __atomic_store_n(&ready, true, __ATOMIC_SEQ_CST);
    assert_true(appears(place.endpoint, &seen, 10000));
    registration_free(registration);
    server_free(server);
    place_deinit(&place);
}

/* kubelet that does not ask may have missed the socket: it is made anew, again and again. */
static void test_silence(void **state)
{
    (void)state;
    struct place place;
    struct err err = ERR_INIT;
    struct stat seen = {0};
    bool ready = true;
    struct rpc_method method = {"/csi.v1.Identity/Probe", probe, &ready, true};
    place_init(&place);
    struct server *server = start_csi(&place, &method);
    struct registration_config config = {
        .dir = place.registry, .driver_name = "csi.x.io", .socket = place.socket, .silence_ms = 300};
    struct registration *registration = registration_new(&config, &err);
    assert_non_null(registration);
    for (int i = 0; i < 3; i++)
        assert_true(appears(place.endpoint, &seen, 10000));
    assert_false(registration_is_done(registration));
    registration_free(registration);
    server_free(server);
    place_deinit(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_no_kubelet),
        cmocka_unit_test(test_csi_first),
        cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
