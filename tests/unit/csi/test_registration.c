/* What registration_check refuses before anything is touched. The life of the socket is tests/registration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "csi/registration.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_no_kubelet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
