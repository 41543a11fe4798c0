/* The small pure rules beside publish: how long a call is held, which log lines are left out, logins and classes from files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "csi/class_source.h"
#include "csi/log_limit.h"
#include "csi/publish.h"
#include "csi/reconcile.h"
#include "csi/share_login.h"
#include "tests/unit/csi/scratch.h"

static void test_hold(void **state)
{
    (void)state;
    static const struct {
        int64_t left_ms; /* of the call; -1: no deadline */
        int64_t hold_ms;
    } cases[] = {{120000, 110000}, {-1, 110000}, {600000, 110000}, {60000, 50000}, {20000, 10000},
                 {19000, 9500},    {1000, 500},  {0, 0},           {-5000, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t deadline_ms = cases[i].left_ms == -1 ? CLOCK_NEVER : 5000 + cases[i].left_ms;
        assert_int_equal(publish_hold_ms(5000, deadline_ms) - 5000, cases[i].hold_ms);
    }
}

/* row 110 */
static void test_log_limit(void **state)
{
    (void)state;
    static struct log_limit limit;
    unsigned left_out = 7;
    char name[32];
    assert_true(log_limit_pass(&limit, "m", "v", 1000, &left_out));
    assert_int_equal(left_out, 0);
    for (int i = 0; i < 50; i++)
        assert_false(log_limit_pass(&limit, "m", "v", 1000 + i, &left_out));
    assert_true(log_limit_pass(&limit, "m", "other", 2000, &left_out));
    assert_true(log_limit_pass(&limit, "m", "v", 1000 + LOG_LIMIT_MS, &left_out));
    assert_int_equal(left_out, 50);
    log_limit_forget(&limit, "m", "v");
    assert_true(log_limit_pass(&limit, "m", "v", 1001 + LOG_LIMIT_MS, &left_out));
    assert_int_equal(left_out, 0);
    for (int i = 0; i < 1000; i++) { /* more volumes than slots: each first failure is told */
        snprintf(name, sizeof(name), "v%d", i);
        assert_true(log_limit_pass(&limit, "m", name, 200000 + i, &left_out));
    }
}

static void test_layer_of(void **state)
{
    (void)state;
    static const struct {
        struct mount_entry entry;
        const char *layer;
    } cases[] = {
        {{.fstype = "overlay", .source = "sharedcache:data-12", .root = "/"}, "data-12"},
        {{.fstype = "overlay", .source = "overlay", .root = "/"}, NULL},
        {{.fstype = "overlay", .source = "sharedcache:../x", .root = "/"}, NULL},
        {{.fstype = "overlay", .source = "sharedcache:", .root = "/"}, NULL},
        {{.fstype = "tmpfs", .source = "sharedcache:data-12", .root = "/"}, NULL},
        {{.fstype = "ext4", .source = "/dev/sda1", .root = "/var/lib/sharedcache/layers/bind-12"}, "bind-12"},
        {{.fstype = "ext4", .source = "/dev/sda1", .root = "/var/lib/sharedcache/layers/bind-12/x"}, NULL},
        {{.fstype = "ext4", .source = "/dev/sda1", .root = "/var/lib/sharedcache/store/objects/ab/cd"}, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *layer = reconcile_layer_of(&cases[i].entry);
        if (!cases[i].layer)
            assert_null(layer);
        else
            assert_string_equal(layer, cases[i].layer);
    }
}

static char directory[SCRATCH_PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    return scratch_make(directory);
}

static int tear_down(void **state)
{
    (void)state;
    return scratch_remove(directory);
}

static void put(const char *name, const char *text)
{
    char path[SCRATCH_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static void make_dir(const char *name)
{
    char path[SCRATCH_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void test_login(void **state)
{
    (void)state;
    _cleanup_(share_login_deinitp) struct login login = {NULL, NULL};
    struct err err = ERR_INIT;
    make_dir("smb");
    put("smb/username", "user\n");
    assert_int_equal(share_login_read(directory, "smb", &login, &err), -1);
    assert_int_equal(err.code, ERR_PRECONDITION);
    put("smb/password", "pass word\r\n");
    assert_int_equal(share_login_read(directory, "smb", &login, &err), 0);
    assert_string_equal(secret_reveal(login.username), "user");
    assert_string_equal(secret_reveal(login.password), "pass word");
    share_login_deinit(&login);
    put("smb/password", "two\nlines\n");
    assert_int_equal(share_login_read(directory, "smb", &login, &err), -1);
    make_dir("azure");
    put("azure/azurestorageaccountname", "account");
    put("azure/azurestorageaccountkey", "a2V5");
    assert_int_equal(share_login_read(directory, "azure", &login, &err), 0);
    assert_string_equal(secret_reveal(login.username), "account");
    static const char *const bad[] = {"..", "../x", "", "A", "a/b", "a..b", "none"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(share_login_read(directory, bad[i], &login, &err), -1);
    assert_int_equal(share_login_read(NULL, "smb", &login, &err), -1);
}

#define CLASS(name)                                                                                         \
    "{\"apiVersion\":\"storage.k8s.io/v1\",\"kind\":\"StorageClass\",\"metadata\":{\"name\":\"" name "\"}," \
    "\"provisioner\":\"csi.sharedcache.io\",\"parameters\":{\"maxFiles\":\"7\"}}"

static void test_classes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum err_code code;
    } cases[] = {{"good", ERR_NONE},       {NULL, ERR_NONE},           {"none", ERR_NOT_FOUND},
                 {"../good", ERR_INVALID}, {"Good", ERR_INVALID},      {"other", ERR_PRECONDITION},
                 {"", ERR_INVALID},        {"large", ERR_PRECONDITION}};
    struct err err = ERR_INIT;
    put("good.json", CLASS("good"));
    put("other.json", CLASS("good"));
    _cleanup_(str_deinitp) struct str large = STR_INIT;
    while (large.len <= CLASS_JSON_MAX)
        str_append_text(&large, "                                                                ");
    put("large.json", large.data);
    _cleanup_(class_source_freep) struct class_source *source =
        class_source_directory(directory, "csi.sharedcache.io", "good", &err);
    assert_non_null(source);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct class class;
        struct err cause = ERR_INIT;
        class_get(source, cases[i].name, arena, &class, &cause);
        if (cause.code != cases[i].code)
            fail_msg("class %s: %s '%s'", cases[i].name ? cases[i].name : "NULL", err_code_name(cause.code),
                     cause.message);
        if (cause.code == ERR_NONE)
            assert_true(class.max_files == 7);
    }
    assert_null(class_source_directory("/nonexistent/classes", "d", NULL, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_log_limit),
        cmocka_unit_test(test_layer_of),
        cmocka_unit_test_setup_teardown(test_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_classes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
